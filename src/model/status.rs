//! What `hactl status` shows: one node's view of the whole, as plain data. `--json` prints exactly this.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::heartbeat::{GroupState, Phase, Reach};
use super::{Generation, GroupName, LinkName, NodeName, Term};

/// The counter of heartbeats that were not newer than the last of their sender.
pub const OLD_HEARTBEATS: &str = "heartbeats dropped as late copies or replays";

/// One node's view of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whose view this is.
    pub node: NodeName,
    /// That node's generation.
    pub generation: Generation,
    /// How far it has come.
    pub phase: Phase,
    /// What it waits for before it takes part, when it does not yet.
    pub waiting: Option<String>,
    /// All members in the order of ha.cf, itself included.
    pub nodes: Vec<NodeStatus>,
    /// Ping nodes as seen from here.
    pub pings: Vec<PingStatus>,
    /// Votes as seen from here.
    pub quorum: QuorumStatus,
    /// All groups in the order of haresources.
    pub groups: Vec<GroupStatus>,
    /// Checks of this node, in the order of ha.cf.
    #[serde(default)]
    pub checks: Vec<CheckStatus>,
    /// What is counted rather than logged, by what it is; zeros are left out.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// How late the heartbeat loop of this node is.
    #[serde(default)]
    pub lateness: Option<LatenessStatus>,
}

/// How late the heartbeat loop acts, after its own deadlines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatenessStatus {
    /// The lateness up to which the times of ha.cf hold what they promise.
    pub carries: Duration,
    /// In the last minute.
    pub recent: Spread,
    /// Since the start of the daemon.
    pub life: Spread,
}

/// What was measured: half, 999 of 1000, and all were at most so late.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// How often it was measured.
    pub count: u64,
    /// The median.
    pub p50: Duration,
    /// The 99.9th percentile.
    pub p999: Duration,
    /// The greatest.
    pub max: Duration,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: NodeName,
    /// What is known of its life.
    pub liveness: Liveness,
    /// Time since it was last heard; none for ourselves and for one never heard.
    pub silent_for: Option<Duration>,
    /// Its generation, once heard.
    pub generation: Option<Generation>,
    /// The ping nodes it reaches.
    pub reach: Option<Reach>,
    /// Its links as seen from here; empty for ourselves.
    pub links: Vec<LinkStatus>,
    /// Whatever is not normal about it, a sentence each, with what to do.
    pub notes: Vec<String>,
}

/// What is known of a member's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Liveness {
    /// This node itself.
    Here,
    /// Not heard since our start.
    Init,
    /// Heard within warntime.
    Active,
    /// Silent longer than warntime.
    Late,
    /// Silent longer than deadtime.
    Dead,
    /// Said goodbye with every group offline.
    Left,
}

impl Liveness {
    /// The word in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Init => "init",
            Self::Active => "active",
            Self::Late => "late",
            Self::Dead => "dead",
            Self::Left => "left",
        }
    }
}

/// One peer on one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// The link.
    pub link: LinkName,
    /// Whether we hear the peer on it.
    pub hears: bool,
    /// Whether the peer hears us on it; unknown when the peer is silent.
    pub heard: Option<bool>,
}

/// One ping node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingStatus {
    /// The address or group name as configured.
    pub name: String,
    /// Whether it answers us.
    pub up: bool,
    /// How long ago the newest request that it answered was sent.
    #[serde(default)]
    pub answered: Option<Duration>,
}

/// Votes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumStatus {
    /// Whether this side has enough; always true when votes are not counted.
    pub held: bool,
    /// Whether votes are counted at all.
    pub counted: bool,
    /// Votes of this side.
    pub votes: u32,
    /// Votes in all.
    pub total: u32,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: GroupName,
    /// The node named first on its line.
    pub preferred: NodeName,
    /// Who runs it, as far as known here. Two names mean a split.
    pub owners: Vec<NodeName>,
    /// Its state at each node that is heard, this one first.
    pub states: Vec<(NodeName, GroupState)>,
    /// Its term here.
    pub term: Term,
    /// Its members in order, with what is known of each on this node.
    pub resources: Vec<ResourceStatus>,
    /// Whatever is not normal about it, a sentence each, with what to do.
    pub notes: Vec<String>,
}

/// One member of a group on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceStatus {
    /// Its word in haresources.
    pub token: String,
    /// Its state on this node.
    pub state: ResourceState,
    /// What its last failure said.
    pub error: Option<String>,
    /// What looks at it while it runs have told, where it has a `monitor`.
    #[serde(default)]
    pub watch: Option<WatchStatus>,
}

/// What looks at a running resource have told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchStatus {
    /// Time since the last look.
    pub looked: Option<Duration>,
    /// For how long looks have come to the same result.
    pub lasts: Option<Duration>,
    /// What the last look said, when it failed.
    pub error: Option<String>,
    /// Failed looks that are not forgotten.
    pub failing: u32,
    /// So many are believed.
    pub fall: u32,
    /// Restarts in place that still count.
    pub restarts: u32,
    /// So many are allowed.
    pub budget: u32,
    /// When the oldest of them no longer counts.
    pub forgotten_in: Option<Duration>,
}

/// One check of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// Its name in ha.cf; `failback_when` for that.
    pub name: String,
    /// What it has come to.
    pub state: CheckState,
    /// For how long.
    pub lasts: Duration,
    /// Results in a row that speak against that.
    pub against: u32,
    /// Time since its last result.
    pub looked: Option<Duration>,
    /// What it said then.
    pub text: String,
}

/// What a check has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// It has never passed, and not failed often enough.
    Pending,
    /// It passes.
    Good,
    /// It has failed.
    Failed,
}

impl CheckState {
    /// Of one result.
    pub fn of(good: bool) -> Self {
        if good { Self::Good } else { Self::Failed }
    }
}

/// The state of a resource on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceState {
    /// Not looked yet, or the last action on it left it unclear.
    Unknown,
    /// Known to be down.
    Stopped,
    /// Being started.
    Starting,
    /// Known to be up.
    Running,
    /// Being stopped.
    Stopping,
    /// Its last action failed.
    Failed,
}
