//! The channels between the heartbeat thread and the slow half of the daemon.
//!
//! Both are unbounded, because no order may be lost. Their load is bounded by the engine, which gives one order for each
//! group at a time, and by the number of control clients.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{mpsc, oneshot};

use crate::engine::{Action, Event};
use crate::model::cluster::Cluster;
use crate::model::decision::{Because, Decision, Level, What};
use crate::model::keys::Keys;
use crate::model::peer_message::PeerMessage;
use crate::model::status::Status;
use crate::model::{GroupName, NodeName};
use crate::store::recording_writer::RecordingFeed;

/// A message from the slow half to the heartbeat thread.
#[derive(Debug)]
pub enum Input {
    /// An event for the engine.
    Event(Event),
    /// A request for the state of the cluster.
    Status(oneshot::Sender<Status>),
    /// A request to judge a configuration that may be taken over: why it should not be.
    JudgeConfiguration(Box<Cluster>, oneshot::Sender<Vec<String>>),
    /// An interface appeared, disappeared, or changed its carrier.
    Interface {
        /// The interface.
        name: String,
        /// Whether heartbeats can pass.
        up: bool,
    },
    /// An interface got an address, or lost one.
    Addresses {
        /// The interface.
        interface: String,
    },
    /// A reloaded configuration.
    Reconfigure(Box<NewConfiguration>),
    /// Something that the slow half has noticed and that belongs into the log and the journal.
    Note(Decision),
    /// Where to record from now on; nowhere for none.
    Record(Option<RecordingFeed>),
}

/// The part of a reloaded configuration that the heartbeat thread uses.
#[derive(Debug)]
pub struct NewConfiguration {
    /// What the engine decides by.
    pub cluster: Cluster,
    /// The shared secrets.
    pub keys: Keys,
    /// See [`super::heartbeat_thread::HeartbeatSetup::hopfudge`].
    pub hopfudge: u8,
    /// See [`super::heartbeat_thread::HeartbeatSetup::log_bad_packets`].
    pub log_bad_packets: bool,
}

/// A message from the heartbeat thread to the slow half.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // most are orders, and few are under way
pub enum Output {
    /// An order of the engine.
    Action(Action),
    /// A line for the log.
    Log(Level, String),
    /// The status may have changed.
    StatusChanged,
    /// The messages in the newest heartbeat of a node, when it carries some or the one before did.
    PeerMessages(NodeName, Vec<PeerMessage>),
    /// Asks whether the slow half still runs. It answers by setting this to false.
    AreYouAlive(Arc<AtomicBool>),
}

/// The heartbeat thread's end of its output channel.
#[derive(Clone, Debug)]
pub struct OutputSender(mpsc::UnboundedSender<Output>);

impl OutputSender {
    /// Sends an output. The receiver is gone only when the daemon ends; then nobody needs it.
    pub fn send(&self, output: Output) {
        drop(self.0.send(output));
    }

    /// Writes a line to the log, by way of the slow half: a log may block.
    pub fn log(&self, level: Level, text: String) {
        self.send(Output::Log(level, text));
    }
}

/// The slow half's end: sends inputs to the heartbeat thread and its engine.
#[derive(Clone, Debug)]
pub struct EngineHandle(mpsc::UnboundedSender<Input>);

impl EngineHandle {
    /// Sends an input. After the heartbeat thread has ended, inputs are dropped.
    pub fn send(&self, input: Input) {
        if self.0.send(input).is_err() {
            tracing::debug!("the heartbeat thread has ended");
        }
    }

    /// Sends an event to the engine.
    pub fn send_event(&self, event: Event) {
        self.send(Input::Event(event));
    }

    /// Has something written to the log and the journal.
    pub fn note(&self, group: Option<&GroupName>, what: What) {
        let group = group.cloned();
        let because = Because::SaidSo;
        self.send(Input::Note(Decision {
            group,
            what,
            because,
        }));
    }

    /// Asks for the state of the cluster; none once the heartbeat thread has ended.
    pub async fn status(&self) -> Option<Status> {
        let (ask, answer) = oneshot::channel();
        self.send(Input::Status(ask));
        answer.await.ok()
    }

    /// Asks why this configuration should not be taken over; nothing is known once the heartbeat thread has ended.
    pub async fn judge_configuration(&self, cluster: Cluster) -> Vec<String> {
        let (ask, answer) = oneshot::channel();
        self.send(Input::JudgeConfiguration(Box::new(cluster), ask));
        answer.await.unwrap_or_default()
    }
}

/// Both channels: the slow half's two ends, then the heartbeat thread's two.
pub fn channels() -> (
    (EngineHandle, mpsc::UnboundedReceiver<Output>),
    (mpsc::UnboundedReceiver<Input>, OutputSender),
) {
    let (inputs, inbox) = mpsc::unbounded_channel();
    let (outbox, outputs) = mpsc::unbounded_channel();
    (
        (EngineHandle(inputs), outputs),
        (inbox, OutputSender(outbox)),
    )
}
