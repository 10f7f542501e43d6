//! The heartbeat thread: sockets, clock and engine, and nothing that can wait for a disk, an agent or a client.
//!
//! It has a thread and a tokio runtime of its own. It sends by itself; all other orders of the engine go over a channel
//! to the slow half ([`super::perform`]), which reports back through an [`Input`]. Sockets that are opened while it runs are
//! opened by another thread ([`super::socket_opener`]). It also watches whether the slow half moves
//! ([`super::slow_half`]), and is silent while that stands still.

mod priority;
mod sockets;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use priority::raise_priority;

use super::counters::Counters;
use super::engine_handle::{self, EngineHandle, Input, Output, OutputSender};
use super::lateness::Lateness;
use super::listeners::{Listener, open_listeners};
use super::ping::PingNodes;
use super::receive::{Authenticator, Received};
use super::recording_engine::RecordingEngine;
use super::relay::HeartbeatRelay;
use super::send::HeartbeatSender;
use super::service_manager::ServiceWatchdog;
use super::slow_half::{LastWords, Notice, SlowHalfWatch};
use super::socket_opener::{OpenedSocket, SocketOpener};
use crate::engine::{Action, Event, PersistentState};
use crate::model::Time;
use crate::model::cluster::Cluster;
use crate::model::decision::Level;
use crate::model::keys::Keys;
use crate::model::medium::Medium;
use crate::store::recording_writer::RecordingFeed;
use crate::sys::clock::{self, Alarm};

/// Authenticated heartbeats that may wait for the engine: more than one round of a large cluster. One that is dropped is
/// made up for by the next of that peer.
const RECEIVED_DEPTH: usize = 1024;
/// Turns of tasks between two checks of sockets and timer. One turn of a listener takes well under a millisecond.
const TURNS: u32 = 4;
/// Heartbeats handled before deadlines are checked again.
const BATCH: usize = 64;

/// What the heartbeat thread starts with.
pub struct HeartbeatSetup {
    /// The cluster that the engine decides for.
    pub cluster: Cluster,
    /// What the engine kept from the last life of the daemon.
    pub kept: PersistentState,
    /// Where heartbeats are sent and received.
    pub media: Vec<Medium>,
    /// The shared secrets.
    pub keys: Keys,
    /// The cluster's name.
    pub cluster_name: String,
    /// This node's UUID.
    pub uuid: [u8; 16],
    /// Added to the number of nodes for a heartbeat's `ttl`.
    pub hopfudge: u8,
    /// The real-time priority, if any.
    pub priority: Option<i32>,
    /// Whether the first rejected datagram of each kind is logged.
    pub log_bad_packets: bool,
    /// Where the engine's inputs are recorded.
    pub feed: Option<RecordingFeed>,
}

/// Starts the heartbeat thread. Its outputs end when it ends.
///
/// # Errors
/// A sentence, when the thread, its runtime or a socket cannot be had.
pub fn start(
    setup: HeartbeatSetup,
    last_words: LastWords,
) -> Result<(EngineHandle, mpsc::UnboundedReceiver<Output>), String> {
    let (ours, (inbox, out)) = engine_handle::channels();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let body = move || match open(setup, last_words, inbox, out) {
        Ok((runtime, heartbeat_loop)) => {
            if ready.send(Ok(())).is_ok() {
                runtime.block_on(heartbeat_loop.run());
            }
        }
        Err(text) => drop(ready.send(Err(text))),
    };
    std::thread::Builder::new()
        .name("heartbeat".into())
        .stack_size(512 * 1024)
        .spawn(body)
        .map_err(|e| format!("cannot start the heartbeat thread: {e}"))?;
    is_ready
        .recv()
        .map_err(|_| "the heartbeat thread ended at once".to_owned())??;
    Ok(ours)
}

fn open(
    setup: HeartbeatSetup,
    last_words: LastWords,
    inbox: mpsc::UnboundedReceiver<Input>,
    out: OutputSender,
) -> Result<(tokio::runtime::Runtime, HeartbeatLoop), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Under a flood some task is always ready; the timer must be checked all the same.
        .event_interval(TURNS)
        .build()
        .map_err(|e| format!("cannot create the heartbeat runtime: {e}"))?;
    let heartbeat_loop =
        runtime.block_on(async { HeartbeatLoop::open(setup, last_words, inbox, out) })?;
    Ok((runtime, heartbeat_loop))
}

/// The loop of the heartbeat thread.
struct HeartbeatLoop {
    engine: RecordingEngine,
    alarm: Alarm,
    inbox: mpsc::UnboundedReceiver<Input>,
    /// Inputs that came while this node was silent.
    held_back: VecDeque<Input>,
    out: OutputSender,
    received: mpsc::Receiver<Received>,
    opener: SocketOpener,
    opened: mpsc::UnboundedReceiver<OpenedSocket>,
    sender: HeartbeatSender,
    pings: Option<PingNodes>,
    relay: Option<HeartbeatRelay>,
    cluster_name: String,
    watchdog: Option<ServiceWatchdog>,
    authenticator: Arc<Authenticator>,
    listeners: Vec<Listener>,
    media: Vec<Medium>,
    counters: Arc<Counters>,
    first_actions: Vec<Action>,
    /// When the engine gave the orders that are carried out now.
    ordered_at: Time,
    warntime: Duration,
    /// When the engine must be called again.
    engine_due: Time,
    /// The moment that the alarm is set to.
    alarm_at: Time,
    lateness: Lateness,
    slow_half: SlowHalfWatch,
    last_words: LastWords,
    /// Numbers the lists of ping nodes, so that a socket for an old one is not used.
    pings_wanted: u64,
    /// The same of the relay.
    relays_wanted: u64,
    /// When the last silence ended.
    resumed_at: Time,
}

impl HeartbeatLoop {
    fn open(
        setup: HeartbeatSetup,
        last_words: LastWords,
        inbox: mpsc::UnboundedReceiver<Input>,
        out: OutputSender,
    ) -> Result<HeartbeatLoop, String> {
        raise_priority(setup.priority, &out);
        let alarm = Alarm::new().map_err(|e| format!("cannot create a timer: {e}"))?;
        let counters = Arc::new(Counters::default());
        let (accepted, received) = mpsc::channel(RECEIVED_DEPTH);
        let authenticator = Arc::new(Authenticator::new(
            &setup,
            Arc::clone(&counters),
            accepted,
            out.clone(),
        ));
        let listeners = open_listeners(&setup.media, &authenticator, &out)?;
        let (opener, opened) = SocketOpener::start()?;
        let sender = HeartbeatSender::open(&setup, opener.clone());
        let pings = PingNodes::open(&setup.cluster, &authenticator)?;
        let relay = HeartbeatRelay::open(
            &setup.cluster,
            &setup.cluster_name,
            &setup.media,
            &authenticator,
        )?;
        let timing = setup.cluster.timing;
        let now = clock::now();
        let lateness = Lateness::new(now, timing, setup.priority.is_some());
        let (engine, first_actions) =
            RecordingEngine::new(setup.feed, setup.cluster, setup.kept, now);
        Ok(HeartbeatLoop {
            engine,
            alarm,
            inbox,
            held_back: VecDeque::new(),
            out,
            received,
            opener,
            opened,
            sender,
            pings,
            relay,
            cluster_name: setup.cluster_name,
            watchdog: ServiceWatchdog::from_environment(),
            authenticator,
            listeners,
            media: setup.media,
            counters,
            first_actions,
            ordered_at: clock::now(),
            warntime: timing.warntime,
            engine_due: Time::ZERO,
            alarm_at: Time::ZERO,
            lateness,
            slow_half: SlowHalfWatch::new(now, timing),
            last_words,
            pings_wanted: 0,
            relays_wanted: 0,
            resumed_at: Time::ZERO,
        })
    }

    /// Runs until the engine has ended or the slow half is gone.
    async fn run(mut self) {
        let first_actions = std::mem::take(&mut self.first_actions);
        let mut go_on = self.perform(first_actions);
        while go_on && self.watch_slow_half() {
            self.set_alarm();
            go_on = if self.slow_half.is_silent() {
                self.wait_in_silence().await
            } else {
                self.wait_and_handle().await
            };
        }
    }

    fn set_alarm(&mut self) {
        self.alarm_at = self.slow_half.next_look();
        if !self.slow_half.is_silent() {
            // What was due in a silence is not late.
            self.engine_due = self.engine.next_deadline().max(self.resumed_at);
            let lateness_due = self.lateness.next_measurement(clock::now());
            self.alarm_at = self.alarm_at.min(self.engine_due).min(lateness_due);
        }
        if let Err(e) = self.alarm.set(Some(self.alarm_at)) {
            let text = format!("cannot set the timer: {e}");
            self.out.log(Level::Error, text);
        }
    }

    /// Notices whether the slow half moves; false when this process must end.
    fn watch_slow_half(&mut self) -> bool {
        let Some(notice) = self.slow_half.look(clock::now(), &self.out) else {
            return true;
        };
        if matches!(notice, Notice::Moves(_)) {
            self.resumed_at = clock::now();
        }
        let goes_on = !matches!(notice, Notice::End(_));
        self.last_words.say(notice);
        goes_on
    }

    /// Waits for one thing and handles it; false when the loop ends.
    async fn wait_and_handle(&mut self) -> bool {
        tokio::select! {
            biased;
            Some(first) = self.received.recv() => self.handle_received(first).await,
            Some(opened) = self.opened.recv() => {
                self.use_opened(opened);
                self.run_deadline_if_due().await
            }
            input = next_input(&mut self.held_back, &mut self.inbox) => match input {
                // Clients must not delay deadlines either.
                Some(input) => self.handle_input(input) && self.run_deadline_if_due().await,
                None => false,
            },
            rang = self.alarm.wait_for_ring() => {
                if let Err(e) = rang {
                    self.out.log(Level::Error, format!("the timer failed: {e}"));
                }
                self.measure_lateness();
                self.run_deadline_if_due().await
            }
        }
    }

    /// While the slow half stands still: as if this node were stopped. What arrives is dropped, or it would be taken for
    /// news later; inputs wait. Only the status is given, because the slow half may be waiting for it.
    async fn wait_in_silence(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.alarm.wait_for_ring() => true,
            input = self.inbox.recv() => match input {
                Some(status @ Input::Status(_)) => self.handle_input(status),
                Some(input) => {
                    self.held_back.push_back(input);
                    true
                }
                None => false,
            },
            Some(_dropped) = self.received.recv() => true,
        }
    }

    /// Handles what was received, a batch at most, so that a flood does not delay deadlines.
    async fn handle_received(&mut self, first: Received) -> bool {
        let mut last = first;
        for _ in 1..BATCH {
            let Ok(next) = self.received.try_recv() else {
                break;
            };
            let before = std::mem::replace(&mut last, next);
            self.take_received(before);
        }
        self.learn_address(&last);
        self.give_event(last.into_event()) && self.run_deadline_if_due().await
    }

    async fn run_deadline_if_due(&mut self) -> bool {
        clock::now() < self.engine_due || self.run_deadline().await
    }

    /// A deadline has come. What has already arrived is handled first; only then is silence judged.
    async fn run_deadline(&mut self) -> bool {
        // The listening tasks take from the kernel what is there, and then that is handled. Two yields, because after the
        // first the runtime may only just have asked the kernel which sockets are readable.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        for _ in 0..RECEIVED_DEPTH {
            let Ok(received) = self.received.try_recv() else {
                break;
            };
            self.take_received(received);
        }
        self.lateness.record_action(clock::now(), self.engine_due);
        for listener in &mut self.listeners {
            listener.retry(&self.opener);
        }
        self.give_event(Event::DeadlineReached)
    }

    /// Measures how late the alarm came, and logs that when it matters.
    fn measure_lateness(&mut self) {
        let now = clock::now();
        if now < self.engine_due {
            self.lateness.record_action(now, self.alarm_at);
        }
        if let Some((level, text)) = self.lateness.log_line(now) {
            self.out.log(level, text);
        }
    }

    /// Lets the engine take in what was received, before the event that it decides after.
    fn take_received(&mut self, received: Received) {
        self.learn_address(&received);
        self.engine.take(clock::now(), received.into_event());
    }

    fn learn_address(&mut self, received: &Received) {
        if let Received::Heartbeat {
            link,
            from,
            heartbeat,
        } = received
            && !link.is_relay()
            && heartbeat.src != *self.engine.name()
        {
            self.sender.learn_peer_address(*from, &heartbeat.src);
        }
    }

    /// Gives an event to the engine, and what else the slow half has reported meanwhile.
    fn give_events(&mut self, first: Event) -> bool {
        let mut last = first;
        for _ in 1..BATCH {
            let next = self.held_back.pop_front();
            let next = next.or_else(|| self.inbox.try_recv().ok());
            match next {
                Some(Input::Event(next)) if last.can_wait() && next.can_wait() => {
                    self.engine
                        .take(clock::now(), std::mem::replace(&mut last, next));
                }
                Some(other) => {
                    self.held_back.push_front(other);
                    break;
                }
                None => break,
            }
        }
        self.give_event(last)
    }

    fn give_event(&mut self, event: Event) -> bool {
        self.ordered_at = clock::now();
        let actions = self.engine.handle(self.ordered_at, event);
        self.perform(actions)
    }

    fn handle_input(&mut self, input: Input) -> bool {
        match input {
            Input::Event(event) => self.give_events(event),
            Input::Status(reply) => {
                let mut status = self.engine.status(clock::now());
                self.counters.add_to(&mut status, clock::now());
                let me = status.nodes.iter_mut().find(|n| n.name == status.node);
                let problems = self.listeners.iter().filter_map(Listener::problem);
                if let Some(me) = me {
                    me.notes.extend(problems);
                }
                status.lateness = Some(self.lateness.status(clock::now()));
                // The client may have gone away.
                drop(reply.send(status));
                true
            }
            Input::JudgeConfiguration(cluster, reply) => {
                drop(reply.send(self.engine.judge_configuration(&cluster)));
                true
            }
            Input::Interface { name, up } => self.interface_changed(&name, up),
            Input::Addresses { interface } => {
                self.sender.check_addresses(&interface);
                true
            }
            Input::Note(decision) => self.perform(vec![Action::Record(decision)]),
            Input::Record(feed) => {
                self.engine.feed = feed;
                true
            }
            Input::Reconfigure(new) => self.reconfigure(*new),
        }
    }

    /// Carries out orders or hands them to the slow half, and never waits; false when the engine has ended.
    fn perform(&mut self, actions: Vec<Action>) -> bool {
        let mut ended = false;
        let mut refusals = Vec::new();
        for action in actions {
            match action {
                // This node stood still after the engine wrote it. Others may have acted since: it is out of date.
                Action::Send(_) | Action::Relay { .. }
                    if clock::now().since(self.ordered_at) > self.warntime => {}
                Action::Send(heartbeat) => {
                    self.authenticator.note_sent(&heartbeat);
                    refusals.extend(self.sender.send(&heartbeat, &self.out));
                    self.counters.heartbeat_sent();
                }
                Action::Relay { to, heartbeat } => {
                    if let Some(relay) = &mut self.relay {
                        let bytes = self.sender.encode(&heartbeat);
                        let heard_from = to.iter().map(|peer| self.engine.heard_from(peer));
                        let heard_from: Vec<&[std::net::IpAddr]> = heard_from.collect();
                        relay.send(&heard_from, &bytes, &self.opener, &self.out);
                    }
                }
                Action::PeerMessages { from, messages } => {
                    self.out.send(Output::PeerMessages(from, messages));
                }
                Action::Ping => {
                    if let Some(pings) = &mut self.pings {
                        pings.send_requests();
                    }
                    self.notify_watchdog();
                }
                other => {
                    ended = ended || matches!(other, Action::Exit);
                    let decided = matches!(other, Action::Record(_));
                    self.out.send(Output::Action(other));
                    if decided {
                        self.out.send(Output::StatusChanged);
                    }
                }
            }
        }
        let go_on = !ended;
        let refusals = refusals.into_iter();
        refusals.fold(go_on, |go_on, event| go_on && self.give_event(event))
    }

    /// Gives the service manager a sign of life, but only while the slow half moves. When it hangs, no group can be stopped,
    /// and a new daemon is better than this one.
    fn notify_watchdog(&mut self) {
        if let Some(watchdog) = &mut self.watchdog
            && self.slow_half.answers()
            && let Some((level, text)) = watchdog.notify_if_due(clock::now())
        {
            self.out.log(level, text);
        }
    }
}

/// The oldest input that was not handled.
async fn next_input(
    held_back: &mut VecDeque<Input>,
    inbox: &mut mpsc::UnboundedReceiver<Input>,
) -> Option<Input> {
    match held_back.pop_front() {
        Some(input) => Some(input),
        None => inbox.recv().await,
    }
}
