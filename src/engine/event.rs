//! All that can happen to the engine. Events are past facts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::cluster::Cluster;
use crate::model::heartbeat::Heartbeat;
use crate::model::peer_message::PeerMessage;
use crate::model::{Generation, GroupName, LinkName, NodeName, Term, Time};

/// A past fact. Each comes with the time at which it was noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A believed heartbeat of a peer came in on a link.
    Heard {
        /// Where it came in.
        link: LinkName,
        /// What it says.
        heartbeat: Box<Heartbeat>,
    },
    /// An interface's carrier came or went.
    Carrier {
        /// The link on that interface.
        link: LinkName,
        /// Whether it is there.
        up: bool,
    },
    /// The kernel of a peer refused a heartbeat: its daemon is gone, its machine is not.
    Refused {
        /// That peer.
        peer: NodeName,
        /// The link on which it refused.
        link: LinkName,
    },
    /// A ping node answered.
    Pong {
        /// Which of `Cluster::pings`.
        ping: usize,
        /// When the echo request that it answers was sent.
        sent: Time,
    },
    /// An ordered action on a group ended.
    Done {
        /// The group.
        group: GroupName,
        /// Which order this ends.
        order: OrderId,
        /// How it ended.
        outcome: Outcome,
    },
    /// Somebody else answered for an address of a group that is being watched.
    AddressAnswered {
        /// The group.
        group: GroupName,
        /// Which address, and which hardware address answered.
        who: String,
    },
    /// A round of address probes was sent and its time to answer ran out in silence.
    AddressSilent {
        /// The group.
        group: GroupName,
        /// When that round was sent.
        sent: Time,
    },
    /// A resource that ran was found not to run, or could not be kept running.
    ResourceLost {
        /// The group.
        group: GroupName,
        /// Which step.
        step: usize,
        /// What was seen.
        text: String,
    },
    /// A look at a resource that runs has ended; what it says when that is not well.
    Monitored {
        /// The group.
        group: GroupName,
        /// Which step.
        step: usize,
        /// Whether it is well.
        result: Result<(), String>,
    },
    /// A check of this node has a result, with what it said.
    Checked {
        /// Its name.
        check: String,
        /// Whether it passed.
        result: Result<String, String>,
    },
    /// These messages go out with every heartbeat from now on, and no others.
    PeerMessages(Vec<PeerMessage>),
    /// What [`super::Action::Save`] ordered is on disk (or cannot be brought there: then the engine goes on without).
    Saved {
        /// The number of that order.
        version: u64,
    },
    /// An administrator wants something.
    Command {
        /// Comes back in [`super::Action::Reply`].
        id: u64,
        /// What is wanted.
        command: Command,
    },
    /// The configuration was read anew and is good.
    Reconfigured(Box<Cluster>),
    /// The deadline that the engine gave has come.
    DeadlineReached,
}

/// Numbers the orders of one engine.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct OrderId(pub u64);

/// How an ordered action ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// A start or stop did what it should.
    Succeeded,
    /// A look at every step: for each, whether it runs. `None` where the look itself failed.
    Seen(Vec<Option<bool>>),
    /// It failed; the text says how, for an administrator.
    Failed(String),
    /// It was ended at its deadline; the text says what hung.
    TimedOut(String),
}

/// What an administrator wants. Group lists are full names; an empty list never means "all".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Give these groups up. Lasting: take them no more until told. Else: only when nobody else can.
    Standby {
        /// Which.
        groups: Vec<GroupName>,
        /// Whether to abstain until told otherwise (`hactl standby`), or only to yield (`hb_standby`).
        lasting: bool,
    },
    /// End standby for these groups; moves nothing by itself.
    Unstandby(Vec<GroupName>),
    /// Take these groups over.
    Takeover {
        /// Which.
        groups: Vec<GroupName>,
        /// Whether also against an address that still answers on the wire, and against a stuck dead node.
        force: bool,
    },
    /// Forget failures and stuck stops of this group on this node.
    Clear(GroupName),
    /// Nobody shall start, stop or move these groups (or: may again).
    Maintenance {
        /// Which.
        groups: Vec<GroupName>,
        /// On or off.
        on: bool,
    },
    /// Give up every group in order, say goodbye and end.
    Leave,
    /// End without touching a resource; the peers hear that we are back within the time.
    Restart {
        /// How long the peers shall wait.
        back_within: std::time::Duration,
    },
}

/// What outlived the last life of this node's daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PersistentState {
    /// The generation of this life, already saved.
    pub generation: Generation,
    /// The greatest term that may be used without saving anew.
    pub ceilings: BTreeMap<GroupName, Term>,
    /// The term of the last ownership of each group here.
    pub terms: BTreeMap<GroupName, Term>,
    /// When the right to each group ends that was held at the last renewal, on the clock of this boot.
    pub leases: BTreeMap<GroupName, Time>,
    /// Lasting standby.
    pub standby: Vec<GroupName>,
    /// Yielding after a handover that an administrator asked for.
    pub yielding: Vec<GroupName>,
    /// Maintenance.
    pub maintenance: Vec<GroupName>,
}
