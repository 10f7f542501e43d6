//! The heartbeat thread: sockets, clock and engine, and nothing that can wait for a disk, an agent or a client.
//!
//! It runs on a thread and a tokio runtime of its own. What the engine orders, other than to send, goes over a channel
//! to the slow side ([`super::perform`]); what happens there comes back as an [`Input`]. Both channels are unbounded,
//! because an order must not be lost; what goes through them is bounded by the engine, which gives one order for each
//! group at a time, and by the number of control clients.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::counters::Counters;
use super::lateness::Lateness;
use super::listeners::{Listener, open_listeners};
use super::receive::{Authenticator, Heard};
use super::recording_engine::RecordingEngine;
use super::send::HeartbeatSender;
use crate::engine::{Action, Event, PersistentState};
use crate::model::cluster::Cluster;
use crate::model::decision::Level;
use crate::model::keys::Keys;
use crate::model::medium::Medium;
use crate::model::peer_message::PeerMessage;
use crate::model::status::Status;
use crate::model::{NodeName, Time};
use crate::store::recording_writer::RecordingFeed;
use crate::sys::clock::{self, Alarm};
use crate::sys::realtime;

/// Believed heartbeats that wait for the engine. More than one round of a large cluster; a peer's next one repairs a loss.
const HEARD_DEPTH: usize = 1024;
/// Turns of tasks between two looks at sockets and timer. One turn of a listener takes well under a millisecond.
const TURNS: u32 = 4;
/// Heartbeats taken in before deadlines are looked at again.
const BATCH: usize = 64;

/// What the heartbeat thread needs to begin.
pub struct HeartbeatSetup {
    /// What decisions rest on.
    pub cluster: Cluster,
    /// What outlived our last life.
    pub kept: PersistentState,
    /// How heartbeats travel.
    pub media: Vec<Medium>,
    /// The secrets.
    pub keys: Keys,
    /// The cluster's name.
    pub cluster_name: String,
    /// This node's UUID.
    pub uuid: [u8; 16],
    /// Added to the number of nodes for a heartbeat's `ttl`.
    pub hopfudge: u8,
    /// Real-time priority, when it is wanted.
    pub priority: Option<i32>,
    /// Whether each kind of unusable datagram is told once.
    pub tell_bad_packets: bool,
    /// Where what the engine is told is recorded.
    pub feed: Option<RecordingFeed>,
}

/// What the slow side tells the heartbeat thread.
#[derive(Debug)]
pub enum Input {
    /// A fact for the engine.
    Event(Event),
    /// Somebody wants to see the state.
    Status(oneshot::Sender<Status>),
    /// The interface came, went, or changed its carrier.
    Interface {
        /// Which.
        name: String,
        /// Whether heartbeats can pass.
        up: bool,
    },
    /// The configuration was read anew.
    Reconfigure(Box<Reconfigured>),
    /// Record from now on, or no longer.
    Record(Option<RecordingFeed>),
}

/// A new configuration for the running heartbeat thread.
#[derive(Debug)]
pub struct Reconfigured {
    /// For the engine.
    pub cluster: Cluster,
    /// The secrets.
    pub keys: Keys,
}

/// What the heartbeat thread tells the slow side.
#[derive(Debug)]
pub enum Output {
    /// An order of the engine.
    Action(Action),
    /// Something for the log.
    Note(Level, String),
    /// The state may look different now.
    Changed,
    /// The peer_messages in the newest heartbeat of a node, where it has some or had some before.
    PeerMessages(NodeName, Vec<PeerMessage>),
    /// A question whether the slow side moves, answered by setting it to false.
    Alive(Arc<AtomicBool>),
}

/// A running heartbeat thread, seen from the slow side.
#[derive(Clone, Debug)]
pub struct EngineHandle(mpsc::UnboundedSender<Input>);

impl EngineHandle {
    /// Tells the heartbeat thread. Once it has ended nobody needs to know any more.
    pub fn tell(&self, input: Input) {
        if self.0.send(input).is_err() {
            tracing::debug!("the heartbeat thread has ended");
        }
    }

    /// Tells it a fact.
    pub fn event(&self, event: Event) {
        self.tell(Input::Event(event));
    }

    /// Asks for the state.
    pub async fn status(&self) -> Option<Status> {
        let (ask, answer) = oneshot::channel();
        self.tell(Input::Status(ask));
        answer.await.ok()
    }
}

/// Starts the heartbeat thread. Its outputs end when it ends.
///
/// # Errors
/// When the thread, its runtime or a socket cannot be had; the text says which.
pub fn start(
    setup: HeartbeatSetup,
) -> Result<(EngineHandle, mpsc::UnboundedReceiver<Output>), String> {
    let (inputs, inbox) = mpsc::unbounded_channel();
    let (outbox, outputs) = mpsc::unbounded_channel();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let body = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Under a flood some task is always ready; the timer must be looked at all the same.
            .event_interval(TURNS)
            .build();
        let opened = runtime
            .map_err(|e| format!("cannot make the heartbeat runtime: {e}"))
            .and_then(|rt| {
                rt.block_on(async { HeartbeatLoop::open(setup, inbox, outbox) })
                    .map(|b| (rt, b))
            });
        match opened {
            Ok((runtime, heartbeat_loop)) => {
                if ready.send(Ok(())).is_ok() {
                    runtime.block_on(heartbeat_loop.beat());
                }
            }
            Err(text) => drop(ready.send(Err(text))),
        }
    };
    std::thread::Builder::new()
        .name("heartbeat".into())
        .stack_size(512 * 1024)
        .spawn(body)
        .map_err(|e| format!("cannot start the heartbeat thread: {e}"))?;
    is_ready
        .recv()
        .map_err(|_| "the heartbeat thread ended at once".to_owned())??;
    Ok((EngineHandle(inputs), outputs))
}

/// The heartbeat thread at work.
struct HeartbeatLoop {
    engine: RecordingEngine,
    alarm: Alarm,
    inbox: mpsc::UnboundedReceiver<Input>,
    out: mpsc::UnboundedSender<Output>,
    heard: mpsc::Receiver<Heard>,
    sender: HeartbeatSender,
    authenticator: Arc<Authenticator>,
    listeners: Vec<Listener>,
    media: Vec<Medium>,
    counters: Arc<Counters>,
    /// Nodes whose last heartbeat carried peer_messages.
    wrote: BTreeSet<NodeName>,
    first: Vec<Action>,
    /// When the engine gave the orders that are carried out now.
    written: Time,
    warntime: Duration,
    /// When the engine must be asked again.
    due: Time,
    /// The moment that the alarm is set to.
    wake: Time,
    lateness: Lateness,
    /// The slow side was asked whether it moves, and has not answered yet.
    asked: Arc<AtomicBool>,
}

impl HeartbeatLoop {
    fn open(
        setup: HeartbeatSetup,
        inbox: mpsc::UnboundedReceiver<Input>,
        out: mpsc::UnboundedSender<Output>,
    ) -> Result<HeartbeatLoop, String> {
        be_quick(setup.priority, &out);
        let alarm = Alarm::new().map_err(|e| format!("cannot make a timer: {e}"))?;
        let counters = Arc::new(Counters::default());
        let (hear, heard) = mpsc::channel(HEARD_DEPTH);
        let names: Vec<NodeName> = setup.cluster.nodes.clone();
        let me = setup.cluster.me.clone();
        let authenticator = Arc::new(Authenticator::new(
            me,
            names,
            setup.cluster_name.clone(),
            setup.keys.clone(),
            Arc::clone(&counters),
            hear,
            setup.tell_bad_packets.then(|| out.clone()),
        ));
        let listeners = open_listeners(&setup.media, &authenticator)?;
        let sender = HeartbeatSender::open(&setup, &authenticator)?;
        let warntime = setup.cluster.timing.warntime;
        let now = clock::now();
        let lateness = Lateness::new(now, setup.cluster.timing, setup.priority.is_some());
        let (engine, first) = RecordingEngine::new(setup.feed, setup.cluster, setup.kept, now);
        let media = setup.media;
        Ok(HeartbeatLoop {
            engine,
            alarm,
            inbox,
            out,
            heard,
            sender,
            authenticator,
            listeners,
            media,
            counters,
            wrote: BTreeSet::new(),
            first,
            written: clock::now(),
            warntime,
            due: Time::ZERO,
            wake: Time::ZERO,
            lateness,
            asked: Arc::default(),
        })
    }

    async fn beat(mut self) {
        let first = std::mem::take(&mut self.first);
        let mut go_on = self.perform(first);
        while go_on {
            self.due = self.engine.next_deadline();
            self.wake = self.due.min(self.lateness.next_look(clock::now()));
            if let Err(e) = self
                .alarm
                .set((self.wake != Time::NEVER).then_some(self.wake))
            {
                self.note(Level::Error, format!("cannot set the timer: {e}"));
            }
            go_on = self.once().await;
        }
    }

    /// Waits for one thing and takes it in; false when all is over.
    async fn once(&mut self) -> bool {
        tokio::select! {
            biased;
            Some(heard) = self.heard.recv() => self.hear(heard).await,
            input = self.inbox.recv() => match input {
                // Clients must not keep deadlines from being judged either.
                Some(input) => self.take(input).await && self.judge_if_due().await,
                None => false,
            },
            rang = self.alarm.wait_for_ring() => {
                if let Err(e) = rang {
                    self.note(Level::Error, format!("the timer failed: {e}"));
                }
                self.look_at_lateness();
                self.judge_if_due().await
            }
        }
    }

    /// Takes in what was heard, some of it at a time, so that a flood does not keep deadlines from being judged.
    async fn hear(&mut self, first: Heard) -> bool {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(heard) = next {
            if !self.give_heard(heard) {
                return false;
            }
            taken += 1;
            next = if taken < BATCH {
                self.heard.try_recv().ok()
            } else {
                None
            };
        }
        self.judge_if_due().await
    }

    async fn judge_if_due(&mut self) -> bool {
        clock::now() < self.due || self.judge().await
    }

    /// A deadline has come: what has already arrived is heard first, then silence is judged.
    async fn judge(&mut self) -> bool {
        // Lets the listening tasks take from the kernel what is there; then what they took is heard.
        // Twice, because after the first the runtime may only just have asked the kernel which sockets have something.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let mut taken = 0;
        while taken < HEARD_DEPTH
            && let Ok(heard) = self.heard.try_recv()
        {
            if !self.give_heard(heard) {
                return false;
            }
            taken += 1;
        }
        self.lateness.acted(clock::now(), self.due);
        for listener in &mut self.listeners {
            if listener.try_again(&self.authenticator) {
                let text = format!("listening on {} again", listener.interface());
                drop(self.out.send(Output::Note(Level::Info, text)));
            }
        }
        self.give(Event::DeadlineReached)
    }

    /// The alarm rang: how late? What the log shall know of that is told.
    fn look_at_lateness(&mut self) {
        let now = clock::now();
        if now < self.due {
            self.lateness.acted(now, self.wake);
        }
        if let Some((level, text)) = self.lateness.tell(now) {
            self.note(level, text);
        }
    }

    fn give_heard(&mut self, heard: Heard) -> bool {
        if let Heard::Heartbeat {
            from, heartbeat, ..
        } = &heard
        {
            self.sender.knows(*from, &heartbeat.src);
            let (from, peer_messages) = (&heartbeat.src, &heartbeat.peer_messages);
            let told = if peer_messages.is_empty() {
                self.wrote.remove(from)
            } else {
                self.wrote.insert(from.clone());
                true
            };
            if told {
                let peer_messages = Output::PeerMessages(from.clone(), peer_messages.clone());
                drop(self.out.send(peer_messages));
            }
        }
        self.give(heard.event())
    }

    fn give(&mut self, event: Event) -> bool {
        self.written = clock::now();
        let actions = self.engine.handle(self.written, event);
        self.perform(actions)
    }

    async fn take(&mut self, input: Input) -> bool {
        match input {
            Input::Event(event) => self.give(event),
            Input::Status(ask) => {
                let mut status = self.engine.status(clock::now());
                for (name, count) in self.counters.shown() {
                    *status.counters.entry(name).or_default() += count;
                }
                status.lateness = Some(self.lateness.shown(clock::now()));
                // The one who asked may have gone away meanwhile.
                drop(ask.send(status));
                true
            }
            Input::Interface { name, up } => self.interface(&name, up).await,
            Input::Record(feed) => {
                self.engine.feed = feed;
                true
            }
            Input::Reconfigure(new) => {
                self.authenticator
                    .change(new.cluster.nodes.clone(), new.keys.clone());
                if let Err(text) =
                    self.sender
                        .reconfigure(&new.cluster, new.keys, &self.authenticator)
                {
                    self.note(Level::Error, text);
                }
                self.warntime = new.cluster.timing.warntime;
                self.lateness.change(new.cluster.timing);
                self.give(Event::Reconfigured(Box::new(new.cluster)))
            }
        }
    }

    /// An interface changed: sockets on it are opened anew where it is another one now.
    async fn interface(&mut self, name: &str, up: bool) -> bool {
        if up {
            self.sender.reopen(name);
            for listener in self.listeners.iter_mut().filter(|e| e.interface() == name) {
                if let Err(text) = listener.renew(&self.authenticator).await {
                    let text = format!("{text}; it is tried again each second");
                    drop(self.out.send(Output::Note(Level::Warning, text)));
                }
            }
        }
        let links: Vec<_> = self
            .media
            .iter()
            .filter(|m| m.interface == name)
            .map(|m| m.link.clone())
            .collect();
        links
            .into_iter()
            .all(|link| self.give(Event::Carrier { link, up }))
    }

    /// Carries orders out or hands them over, never waiting; false when the engine has ended.
    fn perform(&mut self, actions: Vec<Action>) -> bool {
        let mut ended = false;
        let mut refused = Vec::new();
        for action in actions {
            match action {
                // We stood still after it was written: others may have acted since, and it speaks of the past.
                Action::Send(_) if clock::now().since(self.written) > self.warntime => {}
                Action::Send(heartbeat) => {
                    self.sender.send(&heartbeat, &mut refused, &self.out);
                    self.counters.sent();
                }
                Action::Ping => {
                    self.sender.ping();
                    self.tell_watchdog();
                }
                Action::Exit => {
                    ended = true;
                    self.hand_over(Action::Exit);
                }
                Action::Record(decision) => {
                    self.hand_over(Action::Record(decision));
                    // The slow side is gone only at the very end.
                    drop(self.out.send(Output::Changed));
                }
                other => self.hand_over(other),
            }
        }
        let go_on = !ended;
        refused
            .into_iter()
            .fold(go_on, |go_on, event| go_on && self.give(event))
    }

    /// Tells the service manager that we live, when the slow side has answered since the last time: where that hangs,
    /// no group can be stopped, and a new daemon is better than this one.
    fn tell_watchdog(&mut self) {
        if !self.asked.load(Ordering::Relaxed) && self.sender.tell_watchdog() {
            self.asked.store(true, Ordering::Relaxed);
            drop(self.out.send(Output::Alive(Arc::clone(&self.asked))));
        }
    }

    fn hand_over(&self, action: Action) {
        drop(self.out.send(Output::Action(action)));
    }

    fn note(&self, level: Level, text: String) {
        drop(self.out.send(Output::Note(level, text)));
    }
}

/// Real-time priority and locked memory, as far as allowed; one warning each when not.
fn be_quick(priority: Option<i32>, out: &mpsc::UnboundedSender<Output>) {
    let Some(priority) = priority else { return };
    for (what, result) in [
        ("real-time priority", realtime::raise_priority(priority)),
        ("locked memory", realtime::lock_memory()),
    ] {
        if let Err(e) = result {
            let text = format!(
                "{what} is refused: {e}; heartbeats may be late on a busy machine (`realtime off` ends this warning)"
            );
            drop(out.send(Output::Note(Level::Warning, text)));
        }
    }
}
