//! `ha.cf`, `haresources` and `authkeys` to a [`Config`], or to every problem at once.
//!
//! Each file has a reader that takes text and collects problems; [`load`] reads the files, checks what one says
//! against what another says, and decides. Nothing here acts: who has a `Config` has one that was judged good.

pub mod authkeys;
mod digest;
mod directory;
pub mod ha_cf;
pub mod haresources;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::directory::{load, load_on};
pub use self::haresources::GroupLine;
use crate::model::cluster::{PingNode, QuorumPolicy, Timing};
use crate::model::health::{CheckPolicy, Pace, Policy, Probe};
use crate::model::keys::Keys;
use crate::model::medium::Medium;
use crate::model::{LinkName, NodeName};
use crate::text::{Place, Problems};

/// A configuration without errors, and what is to be said about it all the same.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings and notes.
    pub warnings: Problems,
}

/// All that the three files say, with defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the files are.
    pub dir: PathBuf,
    /// This node; one of `nodes`.
    pub node: NodeName,
    /// Every directive that heartbeat recorded, as given, and its defaults: scripts get `HA_<directive>=value`.
    pub directives: Vec<(String, String)>,
    /// The members in the order of ha.cf.
    pub nodes: Vec<NodeName>,
    /// How heartbeats travel.
    pub media: Vec<Medium>,
    /// The links of the media, each once, in the order of ha.cf.
    pub links: Vec<LinkName>,
    /// Ping nodes and ping groups.
    pub pings: Vec<PingNode>,
    /// The times.
    pub timing: Timing,
    /// What a side without quorum does.
    pub quorum: QuorumPolicy,
    /// Whether groups go back to their preferred node.
    pub auto_failback: bool,
    /// How long that node must have been a candidate before.
    pub failback_delay: Duration,
    /// Whether groups move to the node that sees more ping nodes: `respawn ... ipfail`, whatever its path.
    /// It is not run as a child.
    pub follow_connectivity: bool,
    /// UDP port of `bcast` and `ucast` media.
    pub udpport: u16,
    /// Name of the cluster, which keeps two clusters on one network apart.
    pub cluster_name: String,
    /// Logs.
    pub logging: Logging,
    /// Children to run and to run again.
    pub respawn: Vec<Respawn>,
    /// Who is told what becomes of a group here.
    pub notify: Vec<NotifyRule>,
    /// Variables for scripts, which get them as `HA_<name>`.
    pub env: Vec<(String, String)>,
    /// Whether the kernel has addresses on loan, so that it takes them from a daemon that was killed or stands still.
    pub lease: bool,
    /// Whether to run with real-time priority and locked memory.
    pub realtime: bool,
    /// The priority, 1 to 99.
    pub rtprio: Option<i32>,
    /// Whether the generation comes from the clock instead of a file.
    pub generation_from_clock: bool,
    /// Whether the node's uuid is made from its name instead of kept in a file.
    pub uuid_from_name: bool,
    /// Whether datagrams that cannot be read are logged.
    pub log_badpack: bool,
    /// How many bytes of disk may be taken to record what the engine is told.
    pub record: Option<u64>,
    /// A heartbeat's `ttl` is the number of nodes plus this.
    pub hopfudge: u8,
    /// Deadlines of actions, as set; the more particular rule is to win over `*`.
    pub timeouts: Vec<TimeoutRule>,
    /// What is watched. Nodes may differ in this.
    pub health: HealthRules,
    /// The groups in the order of haresources.
    pub groups: Vec<GroupLine>,
    /// The shared secrets.
    pub keys: Keys,
    /// Hash of all that must agree on every node.
    pub digest: u64,
}

/// Where logs go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// `logfile`.
    pub logfile: Option<PathBuf>,
    /// `debugfile`.
    pub debugfile: Option<PathBuf>,
    /// `logfacility`, a name that syslog knows.
    pub logfacility: Option<String>,
    /// `debug`, 0 to 255.
    pub debug: u8,
}

/// A child that the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respawn {
    /// As whom.
    pub user: String,
    /// Program (a whole path) and arguments.
    pub command: Vec<String>,
    /// Whether the node must not live on when it dies abnormally.
    pub failfast: bool,
}

/// `timeout NAME start T stop T monitor T`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeoutRule {
    /// Name or whole word of a resource, or `*`.
    pub name: String,
    /// Deadline of a start.
    pub start: Option<Duration>,
    /// Deadline of a stop.
    pub stop: Option<Duration>,
    /// Deadline of a look.
    pub monitor: Option<Duration>,
}

/// `monitor RESOURCE [PROBE] ...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorRule {
    /// Name or whole word of a resource, or `*`.
    pub name: String,
    /// How to look; the resource's own `status` where it is not said.
    pub probe: Option<Probe>,
    /// From look to look.
    pub every: Duration,
    /// Deadline of a look; that of `timeout ... monitor` where it is not said.
    pub timeout: Option<Duration>,
    /// What failed looks lead to.
    pub policy: Policy,
    /// Where the name stands.
    pub place: Place,
}

/// `check NAME PROBE ...`, and `failback_when PROBE ...` under its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRule {
    /// Its name and how many results count.
    pub policy: CheckPolicy,
    /// How to look.
    pub probe: Probe,
    /// How often, and how long one may take.
    pub pace: Pace,
    /// Where the name stands.
    pub place: Place,
}

/// `notify PATH [timeout T]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyRule {
    /// A program or a folder of programs.
    pub path: PathBuf,
    /// The deadline of each.
    pub timeout: Duration,
    /// Where the path stands.
    pub place: Place,
}

/// What is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthRules {
    /// What of the resources; the more particular rule is to win over `*`.
    pub monitors: Vec<MonitorRule>,
    /// What of the node.
    pub checks: Vec<CheckRule>,
    /// When a group may go back to this node.
    pub failback_when: Option<CheckRule>,
}

/// What of the machine a configuration is judged against; tests pretend one.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Network interfaces.
    pub interfaces: Vec<String>,
    /// Whether a user of that name exists.
    pub user_exists: fn(&str) -> bool,
    /// Whether that is a file to execute.
    pub executable: fn(&Path) -> bool,
}
