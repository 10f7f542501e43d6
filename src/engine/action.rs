//! All orders that the engine can give. Every order that takes time ends in an event.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::{OrderId, PersistentState};
use crate::model::decision::Decision;
use crate::model::fencing::FenceCall;
use crate::model::heartbeat::Heartbeat;
use crate::model::peer_message::PeerMessage;
use crate::model::{GroupName, NodeName, Time};

/// An order to the runtime.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Send this heartbeat on every link, now.
    Send(Box<Heartbeat>),
    /// Send this heartbeat to these nodes through every ping node, now.
    Relay {
        /// The nodes.
        to: Vec<NodeName>,
        /// The same as in the [`Action::Send`] before it.
        heartbeat: Box<Heartbeat>,
    },
    /// Pass on what a peer says to other layers; an empty list once it has nothing more to say.
    PeerMessages {
        /// The peer.
        from: NodeName,
        /// All of it.
        messages: Vec<PeerMessage>,
    },
    /// Send an echo request to every ping node. Each answer is an [`super::Event::Pong`].
    Ping,
    /// Do this to a group. It ends in [`super::Event::Done`]. There are never two at a time for one group.
    Run {
        /// The group.
        group: GroupName,
        /// Comes back in the event.
        order: OrderId,
        /// What to do.
        call: Call,
    },
    /// Kill what runs for this group. Its `Done` still comes.
    Abort(GroupName),
    /// Begin or end to ask on the wire who answers for the addresses of this group, again and again.
    WatchAddresses {
        /// The group.
        group: GroupName,
        /// The time from round to round; none: end.
        every: Option<Duration>,
    },
    /// Begin to ask on the wire whether the machine of a node answers, again and again. Each answer is an
    /// [`super::Event::MachineAnswered`].
    WatchMachine {
        /// The node.
        node: NodeName,
        /// Its addresses.
        addresses: Vec<IpAddr>,
    },
    /// End that.
    UnwatchMachine(NodeName),
    /// Tell or ask the power switch of a node's machine. It ends in [`super::Event::FenceDone`]. There are never two at a time
    /// for one node.
    Fence {
        /// The node.
        node: NodeName,
        /// Comes back in the event.
        order: OrderId,
        /// What to do.
        call: FenceCall,
    },
    /// Kill what runs for that. Its `FenceDone` still comes.
    AbortFence(NodeName),
    /// Begin or end to monitor the steps of this group. Each result is an [`super::Event::Monitored`]. Any call on the
    /// group ends it too, before the call begins.
    Monitor {
        /// The group.
        group: GroupName,
        /// Begin or end.
        on: bool,
    },
    /// Announce the addresses of this group again (gratuitous ARP, neighbour advertisements).
    Announce(GroupName),
    /// From here on, calls on this group are meant for its newest definition. Nothing of the old one runs.
    Redefined(GroupName),
    /// The right to hold this group was renewed.
    Renew {
        /// The group.
        group: GroupName,
        /// When the right ends, on our clock. [`Time::NEVER`] in maintenance. Where no votes are counted, this is the
        /// time until which no peer can have taken us for dead.
        until: Time,
    },
    /// Save this for the next daemon. It ends in [`super::Event::Saved`].
    Save {
        /// Comes back in the event.
        version: u64,
        /// Everything; it replaces what was saved before.
        kept: PersistentState,
    },
    /// Write this to the log and to the journal.
    Record(Decision),
    /// A command has ended.
    Reply {
        /// The command's number.
        id: u64,
        /// Whether it was done, with a sentence for the administrator.
        result: Result<String, String>,
    },
    /// Everything is stopped and the goodbyes are sent: end the process.
    Exit,
}

/// What to do to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Call {
    /// Find out which steps run; change nothing.
    Probe,
    /// Start this step, unless it already runs.
    Start(usize),
    /// Stop this step, whatever its state is.
    Stop(usize),
}
