//! The heartbeat: the complete state of its sender, never a delta. Bytes are made of it in [`crate::wire`].

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hardware_address::HardwareAddress;
use super::health::FailedCheck;
use super::identity::{Identity, Instance, Namesake};
use super::peer_message::PeerMessage;
use super::readiness::Readiness;
use super::{Generation, GroupName, LinkName, NodeName, Sequence, Term};

/// One heartbeat. Where the groups do not fit one datagram there are several, each whole but for the groups,
/// of which each carries a part.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Who sent it.
    pub src: NodeName,
    /// The sender's generation.
    pub generation: Generation,
    /// Its number within that generation.
    pub sequence: Sequence,
    /// How far the sender has come.
    pub phase: Phase,
    /// The sender's deadtime (`dt`).
    pub deadtime: Duration,
    /// What the sender has heard of each peer: an acknowledgement.
    pub heard: Vec<Heard>,
    /// What the sender says of each group.
    pub groups: Vec<GroupReport>,
    /// Ping nodes that answer the sender, of those configured.
    pub reach: Reach,
    /// Whether the sender counts enough votes.
    pub quorate: bool,
    /// What an administrator wants of the sender. Of many groups each datagram has the wishes for those that it reports; only
    /// `maintenance` is complete in each.
    pub intent: Intent,
    /// Groups that a silent node may still run, because its machine answers, or may answer: nobody starts them. Only of the
    /// groups that this heartbeat names.
    #[serde(default)]
    pub withheld: Vec<Withheld>,
    /// The hardware addresses from which the sender may answer for the addresses of groups.
    #[serde(default)]
    pub hardware: Vec<HardwareAddress>,
    /// Checks of the sender that have not passed. With one of them, other than `failback_when`, it is no candidate.
    #[serde(default)]
    pub failed_checks: Vec<FailedCheck>,
    /// Questions and answers between daemons that have nothing to do with ownership.
    #[serde(default)]
    pub peer_messages: Vec<PeerMessage>,
    /// Whether the sender could take groups over.
    #[serde(default)]
    pub readiness: Readiness,
    /// Hash of what must be configured alike.
    pub digest: u64,
    /// Which life of which machine sent it.
    #[serde(default)]
    pub identity: Identity,
    /// Second lives that the sender hears under the name of a node.
    #[serde(default)]
    pub namesakes: Vec<Namesake>,
    /// The lists of voters by which the sender counts quorum.
    #[serde(default)]
    pub voters: VotersReport,
    /// Nodes that have said goodbye to the sender, and are not heard since.
    #[serde(default)]
    pub left: Vec<LeftNode>,
}

impl Heartbeat {
    /// The heartbeat of an active node with quorum that says nothing else.
    pub fn new(src: NodeName, generation: Generation, sequence: Sequence) -> Self {
        Heartbeat {
            src,
            generation,
            sequence,
            phase: Phase::Active,
            deadtime: Duration::ZERO,
            heard: Vec::new(),
            groups: Vec::new(),
            reach: Reach::default(),
            quorate: true,
            intent: Intent::default(),
            withheld: Vec::new(),
            hardware: Vec::new(),
            failed_checks: Vec::new(),
            peer_messages: Vec::new(),
            readiness: Readiness::default(),
            digest: 0,
            identity: Identity::default(),
            namesakes: Vec::new(),
            voters: VotersReport::default(),
            left: Vec::new(),
        }
    }
}

/// The versions of the protocol that this daemon reads and writes.
pub const PROTOCOL_VERSIONS: RangeInclusive<u32> = 1..=1;

/// An authentic heartbeat of a member that cannot be read: it is of another version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UnreadableHeartbeat {
    /// Who sent it.
    pub src: NodeName,
    /// The sender's generation.
    pub generation: Generation,
    /// Its number within that generation.
    pub sequence: Sequence,
    /// The lowest and the highest version that the sender speaks, if it says so.
    pub versions: Option<(u32, u32)>,
}

impl UnreadableHeartbeat {
    /// What is wrong, and what to do.
    pub fn in_words(&self) -> String {
        let (src, ours) = (
            &self.src,
            (*PROTOCOL_VERSIONS.start(), *PROTOCOL_VERSIONS.end()),
        );
        match self.versions {
            Some(theirs) if theirs.1 < ours.0 || ours.1 < theirs.0 => format!(
                "{src} speaks {} of the protocol, this node speaks {}: upgrade one of them",
                in_words(theirs),
                in_words(ours)
            ),
            _ => format!(
                "{src} sends heartbeats that this node cannot read: run the same version of had on both"
            ),
        }
    }
}

/// `version 2`, or `version 2 to 3`.
fn in_words((least, most): (u32, u32)) -> String {
    if least == most {
        format!("version {least}")
    } else {
        format!("version {least} to {most}")
    }
}

/// The lists of voters of a node, by their digests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VotersReport {
    /// The list of its configuration; 0 if it does not say.
    pub current: u64,
    /// The lists before it by which it counts quorum too.
    pub former: Vec<u64>,
    /// Nodes that are gone for good, by the word of an administrator (`hactl forget`).
    #[serde(default)]
    pub gone: Vec<GoneNode>,
}

/// A node that no longer acts by a list, by the word of an administrator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GoneNode {
    /// Which.
    pub node: NodeName,
    /// The digest of the list.
    pub list: u64,
}

/// A life of a node that has said goodbye with every group down.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeftNode {
    /// Which node.
    pub node: NodeName,
    /// The generation of that life.
    pub generation: Generation,
}

/// How far a node has come (`st`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Has not heard from everybody yet, nor waited initdead.
    Init,
    /// Takes part in all.
    Active,
    /// Is stopping its groups and will be gone.
    Leaving,
    /// Said goodbye with every group offline.
    Left,
}

/// What was last heard of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Heard {
    /// Of whom.
    pub node: NodeName,
    /// That peer's generation.
    pub generation: Generation,
    /// Which life of it.
    #[serde(default)]
    pub instance: Option<Instance>,
    /// The newest sequence heard on any link.
    pub sequence: Sequence,
    /// Of a thousand of that peer's heartbeats so many were missed lately.
    pub loss: u16,
    /// The links on which that peer is heard at present; the others are silent.
    pub links: Vec<LinkName>,
}

/// What a node says of one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupReport {
    /// Of which group.
    pub group: GroupName,
    /// Its state at the sender.
    pub state: GroupState,
    /// The term of the sender's claim or ownership; of the last one it had, otherwise.
    pub term: Term,
    /// Whether the group may run at the sender.
    pub can: bool,
    /// To whom the owner wants to hand it over.
    pub offer: Option<NodeName>,
    /// The one node that the sender recognises for this group. This published field is the promise.
    pub to: Option<Recognition>,
}

/// A group that a silent node may still run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Withheld {
    /// The group.
    pub group: GroupName,
    /// The silent node.
    pub node: NodeName,
    /// Whether its machine answers; otherwise that is not known yet.
    pub answers: bool,
}

/// A group's state at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupState {
    /// Just started, not looked yet.
    Unknown,
    /// Nothing of it runs here, and nothing will be started without a claim.
    Offline,
    /// This node wants it and asks all others.
    Claiming,
    /// Being started.
    Starting,
    /// Runs here.
    Online,
    /// Being stopped.
    Stopping,
    /// Failed here and was stopped cleanly; no candidate until cleared or expired.
    Failed,
    /// A stop failed: what runs here is not known.
    Stuck,
}

impl GroupState {
    /// Whether something of the group may run at a node in this state.
    pub fn holds(self) -> bool {
        match self {
            Self::Starting | Self::Online | Self::Stopping | Self::Stuck => true,
            Self::Unknown | Self::Offline | Self::Claiming | Self::Failed => false,
        }
    }

    /// The word on the wire and in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Offline => "offline",
            Self::Claiming => "claiming",
            Self::Starting => "starting",
            Self::Online => "online",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
            Self::Stuck => "stuck",
        }
    }
}

/// Whom a node recognises as the holder or the rightful claimant of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recognition {
    /// The recognised node.
    pub node: NodeName,
    /// Its generation.
    pub generation: Generation,
    /// The term of its claim or ownership.
    pub term: Term,
    /// Whether it holds the group (or only claims it).
    pub held: bool,
}

/// Ping nodes that answer, of those configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reach {
    /// That answer.
    pub answering: u16,
    /// That are configured.
    pub configured: u16,
}

/// What an administrator wants of the sender. Of many groups each datagram has the wishes for those that it reports; only
/// `maintenance` is complete in each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Intent {
    /// Groups that must not run at the sender (`hactl standby`).
    pub standby: Vec<GroupName>,
    /// Groups that the sender gave away on request: it takes them only when nobody else can.
    pub yielding: Vec<GroupName>,
    /// Groups that the sender is told to take (`hactl takeover`).
    pub wanted: Vec<GroupName>,
    /// Those of them that it takes even if it fails a check (`hactl takeover --force`).
    #[serde(default)]
    pub forced: Vec<GroupName>,
    /// Groups that nobody shall start, stop or move.
    pub maintenance: Vec<GroupName>,
    /// The sender restarts and will be back within this time; until then it is late, not dead.
    pub back_within: Option<Duration>,
}
