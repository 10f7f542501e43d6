//! The heartbeat thread: sockets, clock and engine, and nothing that can wait for a disk, an agent or a client.
//!
//! It has a thread and a tokio runtime of its own. It sends by itself; all other orders of the engine go over a channel
//! to the slow half ([`super::perform`]), which reports back through an [`Input`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::counters::Counters;
use super::engine_handle::{self, EngineHandle, Input, NewConfiguration, Output, OutputSender};
use super::lateness::Lateness;
use super::listeners::{Listener, open_listeners};
use super::ping::PingNodes;
use super::receive::{Authenticator, Received};
use super::recording_engine::RecordingEngine;
use super::relay::HeartbeatRelay;
use super::send::HeartbeatSender;
use super::service_manager::ServiceWatchdog;
use crate::engine::{Action, Event, PersistentState};
use crate::model::Time;
use crate::model::cluster::Cluster;
use crate::model::decision::Level;
use crate::model::keys::Keys;
use crate::model::medium::Medium;
use crate::store::recording_writer::RecordingFeed;
use crate::sys::clock::{self, Alarm};
use crate::sys::realtime;

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
) -> Result<(EngineHandle, mpsc::UnboundedReceiver<Output>), String> {
    let (ours, (inbox, out)) = engine_handle::channels();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let body = move || match open(setup, inbox, out) {
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
    inbox: mpsc::UnboundedReceiver<Input>,
    out: OutputSender,
) -> Result<(tokio::runtime::Runtime, HeartbeatLoop), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Under a flood some task is always ready; the timer must be checked all the same.
        .event_interval(TURNS)
        .build()
        .map_err(|e| format!("cannot create the heartbeat runtime: {e}"))?;
    let heartbeat_loop = runtime.block_on(async { HeartbeatLoop::open(setup, inbox, out) })?;
    Ok((runtime, heartbeat_loop))
}

/// The loop of the heartbeat thread.
struct HeartbeatLoop {
    engine: RecordingEngine,
    alarm: Alarm,
    inbox: mpsc::UnboundedReceiver<Input>,
    out: OutputSender,
    received: mpsc::Receiver<Received>,
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
    /// Whether the slow half was asked if it runs and has not answered yet.
    asked_alive: Arc<AtomicBool>,
}

impl HeartbeatLoop {
    fn open(
        setup: HeartbeatSetup,
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
        let sender = HeartbeatSender::open(&setup);
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
            out,
            received,
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
            asked_alive: Arc::default(),
        })
    }

    /// Runs until the engine has ended or the slow half is gone.
    async fn run(mut self) {
        let first_actions = std::mem::take(&mut self.first_actions);
        let mut go_on = self.perform(first_actions);
        while go_on {
            self.engine_due = self.engine.next_deadline();
            let lateness_due = self.lateness.next_measurement(clock::now());
            self.alarm_at = self.engine_due.min(lateness_due);
            let alarm_at = (self.alarm_at != Time::NEVER).then_some(self.alarm_at);
            if let Err(e) = self.alarm.set(alarm_at) {
                self.out
                    .log(Level::Error, format!("cannot set the timer: {e}"));
            }
            go_on = self.wait_and_handle().await;
        }
    }

    /// Waits for one thing and handles it; false when the loop ends.
    async fn wait_and_handle(&mut self) -> bool {
        tokio::select! {
            biased;
            Some(first) = self.received.recv() => self.handle_received(first).await,
            input = self.inbox.recv() => match input {
                // Clients must not delay deadlines either.
                Some(input) => self.handle_input(input).await && self.run_deadline_if_due().await,
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

    /// Handles what was received, a batch at most, so that a flood does not delay deadlines.
    async fn handle_received(&mut self, first: Received) -> bool {
        let mut next = Some(first);
        let mut handled = 0;
        while let Some(received) = next {
            if !self.give_received(received) {
                return false;
            }
            handled += 1;
            next = if handled < BATCH {
                self.received.try_recv().ok()
            } else {
                None
            };
        }
        self.run_deadline_if_due().await
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
        let mut handled = 0;
        while handled < RECEIVED_DEPTH
            && let Ok(received) = self.received.try_recv()
        {
            if !self.give_received(received) {
                return false;
            }
            handled += 1;
        }
        self.lateness.record_action(clock::now(), self.engine_due);
        for listener in &mut self.listeners {
            if listener.retry(&self.authenticator) {
                let text = format!("listening on {} again", listener.interface());
                self.out.log(Level::Info, text);
            }
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

    fn give_received(&mut self, received: Received) -> bool {
        if let Received::Heartbeat {
            link,
            from,
            heartbeat,
        } = &received
        {
            let peer = &heartbeat.src;
            if !link.is_relay() {
                self.sender.learn_peer_address(*from, peer);
                if let Some(relay) = &mut self.relay {
                    relay.learn(peer, *from);
                }
            }
        }
        self.give_event(received.into_event())
    }

    fn give_event(&mut self, event: Event) -> bool {
        self.ordered_at = clock::now();
        let actions = self.engine.handle(self.ordered_at, event);
        self.perform(actions)
    }

    async fn handle_input(&mut self, input: Input) -> bool {
        match input {
            Input::Event(event) => self.give_event(event),
            Input::Status(reply) => {
                let mut status = self.engine.status(clock::now());
                for (name, count) in self.counters.non_zero() {
                    *status.counters.entry(name).or_default() += count;
                }
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
            Input::Interface { name, up } => self.interface_changed(&name, up).await,
            Input::Record(feed) => {
                self.engine.feed = feed;
                true
            }
            Input::Reconfigure(new) => self.reconfigure(*new),
        }
    }

    fn reconfigure(&mut self, new: NewConfiguration) -> bool {
        self.authenticator.reconfigure(&new);
        // The old socket is closed before the new one is opened.
        self.pings = None;
        match PingNodes::open(&new.cluster, &self.authenticator) {
            Ok(pings) => self.pings = pings,
            Err(text) => self.out.log(Level::Error, text),
        }
        self.relay = None;
        let (name, media) = (&self.cluster_name, &self.media);
        match HeartbeatRelay::open(&new.cluster, name, media, &self.authenticator) {
            Ok(relay) => self.relay = relay,
            Err(text) => self.out.log(Level::Error, text),
        }
        self.sender
            .reconfigure(&new.cluster, new.hopfudge, new.keys);
        self.warntime = new.cluster.timing.warntime;
        self.lateness.reconfigure(new.cluster.timing);
        self.give_event(Event::Reconfigured(Box::new(new.cluster)))
    }

    /// An interface changed. Where it is a new interface of the same name, its sockets are opened again.
    async fn interface_changed(&mut self, name: &str, up: bool) -> bool {
        if up {
            self.sender.reopen(name);
            let on_it = |l: &&mut Listener| l.interface() == name;
            for listener in self.listeners.iter_mut().filter(on_it) {
                if let Err(text) = listener.reopen_if_replaced(&self.authenticator).await {
                    self.out
                        .log(Level::Warning, format!("{text}; trying again every second"));
                }
            }
        }
        let on_it = self.media.iter().filter(|m| m.interface == name);
        let links: Vec<_> = on_it.map(|m| m.link.clone()).collect();
        links
            .into_iter()
            .all(|link| self.give_event(Event::Carrier { link, up }))
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
                    refusals.extend(self.sender.send(&heartbeat, &self.out));
                    self.counters.heartbeat_sent();
                }
                Action::Relay { to, heartbeat } => {
                    if let Some(relay) = &mut self.relay {
                        relay.send(&to, &self.sender.encode(&heartbeat));
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

    /// Gives the service manager a sign of life, but only after the slow half has answered since the last one. When the
    /// slow half hangs, no group can be stopped, and a new daemon is better than this one.
    fn notify_watchdog(&mut self) {
        if self.asked_alive.load(Ordering::Relaxed) {
            return;
        }
        let watchdog = self.watchdog.as_mut();
        if watchdog.is_some_and(|w| w.notify_if_due(clock::now())) {
            self.asked_alive.store(true, Ordering::Relaxed);
            let asked = Arc::clone(&self.asked_alive);
            self.out.send(Output::AreYouAlive(asked));
        }
    }
}

/// Gets real-time priority and locks memory, as far as allowed; logs a warning for each that is refused.
fn raise_priority(priority: Option<i32>, out: &OutputSender) {
    let Some(priority) = priority else { return };
    for (what, result) in [
        ("real-time priority", realtime::raise_priority(priority)),
        ("locked memory", realtime::lock_memory()),
    ] {
        if let Err(e) = result {
            let text = format!(
                "cannot get {what}: {e}; heartbeats may be late on a busy machine (`realtime off` in ha.cf ends this warning)"
            );
            out.log(Level::Warning, text);
        }
    }
}
