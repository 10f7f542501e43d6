//! Everything that can happen to the engine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Voters;
use crate::model::cluster::Cluster;
use crate::model::fencing::Power;
use crate::model::hardware_address::HardwareAddress;
use crate::model::heartbeat::{Heartbeat, UnreadableHeartbeat};
use crate::model::identity::{Identity, Instance};
use crate::model::peer_message::PeerMessage;
use crate::model::readiness::Readiness;
use crate::model::{Generation, GroupName, LinkName, NodeName, Term, Time};

/// Something that has happened. Each event comes with the time at which it was noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// An authenticated heartbeat of a peer came in on a link.
    Heard {
        /// Where it came in.
        link: LinkName,
        /// The address of its sender on that link; none for a relayed one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<IpAddr>,
        /// What it says.
        heartbeat: Box<Heartbeat>,
    },
    /// An authenticated heartbeat of a member came in that cannot be read: it is of another version.
    HeardUnreadable {
        /// Where it came in.
        link: LinkName,
        /// What could be read of it.
        heartbeat: UnreadableHeartbeat,
    },
    /// The carrier of an interface came or went.
    Carrier {
        /// The link on that interface.
        link: LinkName,
        /// Whether there is a carrier.
        up: bool,
    },
    /// The kernel of a peer refused a heartbeat: the daemon there is gone, the machine is not.
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
    /// An order for a group has ended.
    Done {
        /// The group.
        group: GroupName,
        /// Which order.
        order: OrderId,
        /// How it ended.
        outcome: Outcome,
    },
    /// Another host answered for an address of a group whose addresses are watched.
    AddressAnswered {
        /// The group.
        group: GroupName,
        /// The address, and the hardware address that answered.
        who: String,
        /// That hardware address.
        #[serde(default)]
        hardware: Option<HardwareAddress>,
    },
    /// Nobody answered a round of address probes in time.
    AddressSilent {
        /// The group.
        group: GroupName,
        /// When that round was sent.
        sent: Time,
    },
    /// From now on these are the hardware addresses from which this node may answer for the addresses of groups.
    OwnHardware(Vec<HardwareAddress>),
    /// From now on this is what this node says of its readiness.
    OwnReadiness {
        /// What was found.
        readiness: Box<Readiness>,
        /// Whether the look ended; otherwise only what hangs is new.
        complete: bool,
    },
    /// The machine of a node that is being probed was really asked: at least one request went out.
    MachineAsked {
        /// The node.
        node: NodeName,
        /// When the request was sent.
        sent: Time,
    },
    /// The machine of a node that is being probed has answered.
    MachineAnswered {
        /// The node.
        node: NodeName,
        /// What answered.
        by: MachineAnswer,
        /// When the request was sent.
        sent: Time,
    },
    /// What [`super::Action::Fence`] ordered has ended.
    FenceDone {
        /// The node.
        node: NodeName,
        /// Which order.
        order: OrderId,
        /// Whether its machine has power now, or what went wrong.
        result: Result<Power, String>,
    },
    /// A power switch was asked whether it answers, with no intent to use it.
    FenceTested {
        /// The node.
        node: NodeName,
        /// What went wrong, if something did.
        result: Result<(), String>,
    },
    /// A resource that ran was found down, or could not be kept running.
    ResourceLost {
        /// The group.
        group: GroupName,
        /// Which step.
        step: usize,
        /// What was found.
        text: String,
    },
    /// A running resource was monitored.
    Monitored {
        /// The group.
        group: GroupName,
        /// Which step.
        step: usize,
        /// Whether it is well, or what is wrong.
        result: Result<(), String>,
    },
    /// A check of this node has a result.
    Checked {
        /// Its name.
        check: String,
        /// Whether it passed, with its output.
        result: Result<String, String>,
    },
    /// From now on, exactly these messages go out with every heartbeat.
    PeerMessages(Vec<PeerMessage>),
    /// What [`super::Action::Save`] ordered is on disk, or cannot be saved: then the engine goes on without.
    Saved {
        /// The version in that order.
        version: u64,
    },
    /// An administrator gave a command.
    Command {
        /// Comes back in [`super::Action::Reply`].
        id: u64,
        /// The command.
        command: Command,
        /// Who gave it.
        #[serde(default)]
        asker: Asker,
    },
    /// The configuration was read again and is valid.
    Reconfigured(Box<Cluster>),
    /// The time that the engine asked for has come, and everything that arrived before was read.
    DeadlineReached,
}

/// How a machine answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MachineAnswer {
    /// It has said which hardware address has its address (ARP, neighbour discovery).
    Neighbour,
    /// It has sent an echo reply.
    Echo,
}

/// Numbers the orders of one engine.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct OrderId(pub u64);

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The start or stop succeeded.
    Succeeded,
    /// The probe: for each step, whether it runs. `None` where the probe of the step failed.
    Seen(Vec<Option<bool>>),
    /// It failed, with the reason for an administrator.
    Failed(String),
    /// It was killed at its deadline; the text says what hung.
    TimedOut(String),
}

impl Event {
    /// Whether the decision that follows from it may wait for other events that have arrived too. What a person asks for,
    /// another configuration and a deadline are decided by themselves.
    pub fn can_wait(&self) -> bool {
        !matches!(
            self,
            Event::Command { .. } | Event::Reconfigured(_) | Event::DeadlineReached
        )
    }
}

/// A command of an administrator. Groups are given by their full names; an empty list never means "all".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Give these groups up.
    Standby {
        /// Which.
        groups: Vec<GroupName>,
        /// Whether this node takes them no more until told otherwise (`hactl standby`), or only when no other node can
        /// (`hb_standby`).
        lasting: bool,
    },
    /// End standby for these groups. It moves nothing by itself.
    Unstandby(Vec<GroupName>),
    /// Take these groups over.
    Takeover {
        /// Which.
        groups: Vec<GroupName>,
        /// Also against an address that still answers on the wire, and against a dead node that may still run it.
        force: bool,
    },
    /// Forget failures and stuck stops of this group on this node.
    Clear(GroupName),
    /// Suspend or resume the control of these groups: nobody starts, stops or moves them meanwhile.
    Maintenance {
        /// Which.
        groups: Vec<GroupName>,
        /// On or off.
        on: bool,
    },
    /// This node is gone for good.
    Forget(NodeName),
    /// This node is dead for certain: its machine is off. That holds until it is heard.
    ConfirmDead(NodeName),
    /// Fence this node, whatever its state is.
    Fence(NodeName),
    /// Stop every group in order, say goodbye and end.
    Leave,
    /// The same, unless it costs the other nodes quorum or leaves a group without a node.
    Stop,
    /// End without touching a resource. The peers hear within what time the next daemon will be there.
    Restart {
        /// How long the peers shall wait.
        back_within: std::time::Duration,
    },
}

/// Who gave a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    /// Such as `root`; empty when that is not known.
    pub who: String,
    /// Whether it waits for the outcome. Otherwise it is answered as soon as the command is accepted.
    pub waits: bool,
}

impl Default for Asker {
    fn default() -> Self {
        Asker {
            who: String::new(),
            waits: true,
        }
    }
}

impl Asker {
    /// The command with who gave it, as the journal has it.
    pub fn asks(&self, command: &str) -> String {
        if self.who.is_empty() {
            command.to_owned()
        } else {
            format!("{command} (by {})", self.who)
        }
    }
}

/// What outlives this node's daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PersistentState {
    /// The generation of this daemon.
    pub generation: Generation,
    /// For each group, the highest term that may be used before something is saved again.
    pub ceilings: BTreeMap<GroupName, Term>,
    /// The term of the last ownership of each group here.
    pub terms: BTreeMap<GroupName, Term>,
    /// When the right to each group ends, as of its last renewal, on the clock of this boot.
    pub leases: BTreeMap<GroupName, Time>,
    /// Groups in lasting standby here.
    pub standby: Vec<GroupName>,
    /// Groups that were given away on request.
    pub yielding: Vec<GroupName>,
    /// Groups in maintenance.
    pub maintenance: Vec<GroupName>,
    /// The deadtimes of peers that differ from ours. Their rights last that long.
    #[serde(default)]
    pub deadtimes: BTreeMap<NodeName, Duration>,
    /// The machines of the peers.
    #[serde(default)]
    pub machines: BTreeMap<NodeName, MachineRecord>,
    /// Who this life of the daemon is. Not kept for the next one.
    #[serde(default)]
    pub identity: Identity,
    /// The lists of voters by which this node counts quorum.
    #[serde(default)]
    pub voters: Option<Box<Voters>>,
    /// For each group, a digest of the members that it had in the configuration that ran.
    #[serde(default)]
    pub definitions: Option<BTreeMap<GroupName, u64>>,
}

/// Rule 32. What the next daemon must know of a peer whose daemon it may never hear.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MachineRecord {
    /// The addresses from which its fresh heartbeats came directly, the newest last.
    pub addresses: Vec<IpAddr>,
    /// Where its newest heartbeat came from, while none of them was fresh.
    #[serde(default)]
    pub unproved_address: Option<IpAddr>,
    /// Its hardware addresses, as it published them.
    #[serde(default)]
    pub hardware: Vec<HardwareAddress>,
    /// Groups on shared storage that it may run, each with the term that it showed.
    pub may_run: BTreeMap<GroupName, Term>,
    /// Whether it may run something by a definition that our configuration no longer has.
    #[serde(default)]
    pub runs_former: bool,
    /// Which life of the node is known.
    #[serde(default)]
    pub instance: Option<Instance>,
    /// The node, if another machine has its name now.
    #[serde(default)]
    pub former_of: Option<NodeName>,
}
