//! What `hactl status` shows: one node's view of the cluster, as plain data. `--json` prints exactly this, and the list of
//! problems. All lengths of time are numbers of milliseconds.

mod activity;
mod distribution;
mod problems;
mod readiness;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fencing::FencingStatus;
use super::heartbeat::{GroupState, Phase, Reach};
use super::voter_list::VoterList;
use super::{Generation, GroupName, LinkName, NodeName, Term};
use super::{maybe_milliseconds, milliseconds};

pub use activity::{CLAIM_REASONS, GroupActivity};
pub use distribution::{Bucket, Distribution};
pub use problems::{Note, StatusProblem};

/// Name of the counter of heartbeats that were not newer than the sender's last one.
pub const OLD_HEARTBEATS: &str = "heartbeats dropped as late copies or replays";

/// One node's view of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The node whose view this is.
    pub node: NodeName,
    /// That node's generation.
    pub generation: Generation,
    /// Whether that node takes part in the cluster.
    pub phase: Phase,
    /// What it waits for, while it does not take part yet; continues a sentence after "waits".
    pub waiting: Option<String>,
    /// All nodes and witnesses in the order of ha.cf, that node included.
    pub nodes: Vec<NodeStatus>,
    /// The ping nodes, as that node sees them.
    pub pings: Vec<PingStatus>,
    /// The votes, as that node counts them.
    pub quorum: QuorumStatus,
    /// Lists of voters by which quorum is counted too, while that list changes.
    #[serde(default)]
    pub former_voters: Vec<VoterList>,
    /// All groups in the order of haresources.
    pub groups: Vec<GroupStatus>,
    /// The nodes that can be fenced, in the order of ha.cf.
    #[serde(default)]
    pub fencing: Vec<FencingStatus>,
    /// The checks of that node, in the order of ha.cf.
    #[serde(default)]
    pub checks: Vec<CheckStatus>,
    /// Counters by name, for what is too frequent to log. Counters of zero are left out.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// How late the heartbeat loop of that node runs.
    #[serde(default)]
    pub lateness: Option<LatenessStatus>,
    /// What happened to the groups on that node since its daemon started; those to which nothing happened are left out.
    #[serde(default)]
    pub activity: Vec<GroupActivity>,
}

/// How long after its own deadlines the heartbeat loop acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatenessStatus {
    /// The delay that the times in ha.cf tolerate.
    #[serde(with = "milliseconds")]
    pub carries: Duration,
    /// Delays in the last minute.
    pub recent: Spread,
    /// Delays since the start of the daemon.
    pub life: Spread,
    /// The same by size.
    #[serde(default)]
    pub delays: Distribution,
}

/// The distribution of measured delays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// The number of measurements.
    pub count: u64,
    /// The median.
    #[serde(with = "milliseconds")]
    pub p50: Duration,
    /// The 99.9th percentile.
    #[serde(with = "milliseconds")]
    pub p999: Duration,
    /// The maximum.
    #[serde(with = "milliseconds")]
    pub max: Duration,
}

/// One node of ha.cf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: NodeName,
    /// Whether it is a witness: it has a vote and runs no groups.
    #[serde(default)]
    pub witness: bool,
    /// Whether it is alive.
    pub liveness: Liveness,
    /// Time since it was last heard; `None` for the node itself and for one never heard.
    #[serde(with = "maybe_milliseconds", default)]
    pub silent_for: Option<Duration>,
    /// Its generation, once heard.
    pub generation: Option<Generation>,
    /// The ping nodes it reaches.
    pub reach: Option<Reach>,
    /// Its links, as the viewing node sees them; empty for the node itself.
    pub links: Vec<LinkStatus>,
    /// Its problems, one sentence each, with what to do.
    pub notes: Vec<Note>,
}

/// Whether a node is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Liveness {
    /// The viewing node itself.
    Here,
    /// Not heard since the daemon started, or since a gap in its own time.
    Init,
    /// Heard within warntime.
    Active,
    /// Silent longer than warntime.
    Late,
    /// Silent longer than deadtime.
    Dead,
    /// It announced its shutdown, with all its groups stopped.
    Left,
}

impl Liveness {
    /// The word that status shows.
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

/// One link to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// The link.
    pub link: LinkName,
    /// Whether the viewing node hears the peer on it.
    pub hears: bool,
    /// Whether the peer hears the viewing node on it; `None` if the peer is silent.
    pub heard: Option<bool>,
    /// Whether it goes through a ping node.
    #[serde(default)]
    pub relay: bool,
    /// Time since the peer was last heard on it.
    #[serde(with = "maybe_milliseconds", default)]
    pub silent_for: Option<Duration>,
}

/// One ping node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingStatus {
    /// The address or group name as configured.
    pub name: String,
    /// Whether it answers the viewing node.
    pub up: bool,
    /// Time since the newest request that it answered was sent.
    #[serde(with = "maybe_milliseconds", default)]
    pub answered: Option<Duration>,
    /// The node that sends heartbeats from its address. It has no vote then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<NodeName>,
}

/// The votes of a node's side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumStatus {
    /// Whether this side has enough votes; always true when votes are not counted.
    pub held: bool,
    /// Whether votes are counted at all.
    pub counted: bool,
    /// Whether they change nothing (`quorum ignore`).
    #[serde(default)]
    pub ignored: bool,
    /// Votes of this side.
    pub votes: u32,
    /// Votes of the whole cluster.
    pub total: u32,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: GroupName,
    /// Its preferred node: the one named first on its line of haresources. Empty in the view of a witness, which does not
    /// read that file.
    pub preferred: NodeName,
    /// The nodes that run it, as far as known. Two names mean a split.
    pub owners: Vec<NodeName>,
    /// Its state on each node that is heard, the viewing node first.
    pub states: Vec<(NodeName, GroupState)>,
    /// Its term on the viewing node.
    pub term: Term,
    /// Its resources in order, with their state on the viewing node.
    pub resources: Vec<ResourceStatus>,
    /// The living nodes that do not have it, in the order of ha.cf, and whether each could take it over.
    #[serde(default)]
    pub standbys: Vec<StandbyStatus>,
    /// How long a takeover after a crash takes about: deadtime, and as long as the last start on the viewing node took. None
    /// before its daemon has started the group.
    #[serde(with = "maybe_milliseconds", default)]
    pub takeover: Option<Duration>,
    /// Its problems, one sentence each, with what to do.
    pub notes: Vec<Note>,
    /// When it last came to another node, as far as the viewing node noticed: milliseconds since 1970, by its wall clock.
    #[serde(default)]
    pub last_switch_ms: Option<u64>,
    /// When it was last drilled from the viewing node.
    #[serde(default)]
    pub last_drill_ms: Option<u64>,
}

/// The kind of a reason that concerns one group on one standby only.
pub const STANDBY_LACKS: &str = "standby-lacks";

/// The kind of a reason that says that nothing is known.
pub const READINESS_UNKNOWN: &str = "readiness-unknown";

/// Whether a node could take a group over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyStatus {
    /// The node.
    pub node: NodeName,
    /// Whether the cluster may choose it if the owner fails or gives the group away. It does not look at all that makes a node
    /// ready.
    #[serde(default)]
    pub candidate: bool,
    /// Whether nothing is known that would stop it.
    pub ready: bool,
    /// What would stop it; each reads on after the name of the node.
    pub reasons: Vec<Note>,
}

/// One resource of a group on the viewing node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceStatus {
    /// Its word in haresources.
    pub token: String,
    /// Its state.
    pub state: ResourceState,
    /// The message of its last failure.
    pub error: Option<String>,
    /// The results of its monitor, if it has one and runs.
    #[serde(default)]
    pub watch: Option<WatchStatus>,
    /// Whether nobody would notice its end: it has no monitor, and is no address, which the kernel watches.
    #[serde(default)]
    pub unwatched: bool,
}

/// The results of the monitor of a running resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchStatus {
    /// Time since the last monitor.
    #[serde(with = "maybe_milliseconds", default)]
    pub looked: Option<Duration>,
    /// How long monitors have had the same result.
    #[serde(with = "maybe_milliseconds", default)]
    pub lasts: Option<Duration>,
    /// The message of the last monitor, if it failed.
    pub error: Option<String>,
    /// Failed monitors that still count.
    pub failing: u32,
    /// This many count as a failure.
    pub fall: u32,
    /// Restarts in place that still count.
    pub restarts: u32,
    /// This many restarts are allowed.
    pub budget: u32,
    /// Time until the oldest of them no longer counts.
    #[serde(with = "maybe_milliseconds", default)]
    pub forgotten_in: Option<Duration>,
}

/// One check of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// Its name in ha.cf, or `failback_when`.
    pub name: String,
    /// Its state.
    pub state: CheckState,
    /// How long it has been in this state.
    #[serde(with = "milliseconds")]
    pub lasts: Duration,
    /// Results in a row that contradict the state.
    pub against: u32,
    /// Time since its last result.
    #[serde(with = "maybe_milliseconds", default)]
    pub looked: Option<Duration>,
    /// How far behind its source the replica was at the last look, if the check watches one and the lag is known.
    #[serde(with = "maybe_milliseconds", default)]
    pub lag: Option<Duration>,
    /// The message of its last result.
    pub text: String,
}

/// The state of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// It has not passed yet, and not failed often enough.
    Pending,
    /// It passes.
    Good,
    /// It failed often enough in a row.
    Failed,
}

impl CheckState {
    /// The state that one result speaks for.
    pub fn of(good: bool) -> Self {
        if good { Self::Good } else { Self::Failed }
    }
}

/// The state of a resource on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceState {
    /// Not probed yet, or unclear after the last action.
    Unknown,
    /// Known to be stopped.
    Stopped,
    /// Being started.
    Starting,
    /// Known to run.
    Running,
    /// Being stopped.
    Stopping,
    /// Its last action failed.
    Failed,
}
