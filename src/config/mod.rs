//! Turns `ha.cf`, `haresources` and `authkeys` into a [`Config`], or reports every problem at once.
//!
//! Each file has a reader that takes its text and collects problems. [`load`] reads the files and checks them against each
//! other. Nothing here acts, and a [`Config`] has no errors.

pub mod authkeys;
mod digest;
mod directory;
pub mod ha_cf;
pub mod haresources;
pub mod reload;
mod values;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::directory::{load, load_on};
pub use self::haresources::GroupLine;
use crate::model::cluster::{Cluster, GroupSpec, PingNode, QuorumPolicy, Timing};
use crate::model::fence_device::FenceDevice;
use crate::model::fencing::Fencing;
use crate::model::health::{CheckPolicy, Health, Pace, Policy, Probe};
use crate::model::keys::Keys;
use crate::model::medium::Medium;
use crate::model::webhook::Webhook;
use crate::model::{LinkName, NodeName};
use crate::text::{Place, Problems};

/// A configuration without errors, and the warnings about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings and notes.
    pub warnings: Problems,
}

/// The contents of the three files, with defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The folder of the files.
    pub dir: PathBuf,
    /// This node; one of `nodes`.
    pub node: NodeName,
    /// The directives that scripts get as `HA_<directive>=value`, as given, and heartbeat's defaults.
    pub directives: Vec<(String, String)>,
    /// The members in the order of ha.cf, witnesses too.
    pub nodes: Vec<NodeName>,
    /// Those of `nodes` that have a vote and run no groups.
    pub witnesses: Vec<NodeName>,
    /// The media that carry heartbeats.
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
    /// How long the preferred node must have been a candidate before that.
    pub failback_delay: Duration,
    /// Whether groups move to the node that reaches more ping nodes: `respawn ... ipfail`, whatever its path. It is not run
    /// as a child.
    pub follow_connectivity: bool,
    /// Whether heartbeats also go through the ping nodes, where two nodes do not reach each other.
    pub relay: bool,
    /// UDP port of `bcast` and `ucast` media.
    pub udpport: u16,
    /// Name of the cluster. It separates two clusters on one network.
    pub cluster_name: String,
    /// Where logs go.
    pub logging: Logging,
    /// Programs that run as children and are started again when they end.
    pub respawn: Vec<Respawn>,
    /// Programs that are notified of what happens to a group here.
    pub notify: Vec<NotifyRule>,
    /// Files and folders that must have the same content on every node (`compare`).
    pub compare: Vec<PathBuf>,
    /// Variables for scripts, which get them as `HA_<name>`.
    pub env: Vec<(String, String)>,
    /// Whether addresses have a lease in the kernel, so that it removes them when the daemon was killed or stands still.
    pub lease: bool,
    /// Whether to run with real-time priority and locked memory.
    pub realtime: bool,
    /// The priority, 1 to 99.
    pub rtprio: Option<i32>,
    /// Whether the node's uuid is made from its name instead of kept in a file.
    pub uuid_from_name: bool,
    /// Whether datagrams that cannot be read are logged.
    pub log_badpack: bool,
    /// The size in bytes of the recording of the engine's inputs.
    pub record: Option<u64>,
    /// A heartbeat's `ttl` is the number of nodes plus this.
    pub hopfudge: u8,
    /// Deadlines of actions as set. A rule for a name wins over `*`.
    pub timeouts: Vec<TimeoutRule>,
    /// For which resources a takeover waits, and for which it does not. A rule for a whole word wins over one for its name.
    pub takeover_waits: Vec<TakeoverWaitRule>,
    /// Monitors and checks. Nodes may differ in these.
    pub health: HealthRules,
    /// How nodes are fenced. Nodes may differ in this.
    pub fence_devices: Vec<FenceDevice>,
    /// Which nodes can be fenced, and when that is done.
    pub fencing: Fencing,
    /// The groups in the order of haresources.
    pub groups: Vec<GroupLine>,
    /// The shared secrets.
    pub keys: Keys,
    /// Hash of everything on which all nodes must agree.
    pub digest: u64,
}

impl Config {
    /// What the engine needs to know, with these groups.
    pub fn cluster(&self, groups: Vec<GroupSpec>) -> Cluster {
        let checks = self.health.checks.iter().map(|c| c.policy.clone());
        Cluster {
            me: self.node.clone(),
            nodes: self.nodes.clone(),
            witnesses: self.witnesses.clone(),
            links: self.links.clone(),
            pings: self.pings.clone(),
            relay: self.relay,
            timing: self.timing,
            quorum: self.quorum,
            auto_failback: self.auto_failback,
            failback_delay: self.failback_delay,
            follow_connectivity: self.follow_connectivity,
            health: Health {
                checks: checks.collect(),
                failback_when: self.health.failback_when.is_some(),
            },
            fencing: self.fencing.clone(),
            groups,
            digest: self.digest,
        }
    }
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
#[derive(Clone, Debug)]
pub struct Respawn {
    /// The user as whom it runs.
    pub user: String,
    /// The whole path of the program, and its arguments.
    pub command: Vec<String>,
    /// Whether the node must not go on when it ends abnormally.
    pub failfast: bool,
    /// Where the program stands in ha.cf.
    pub place: Place,
}

/// It is the same child wherever its line stands.
impl PartialEq for Respawn {
    fn eq(&self, other: &Self) -> bool {
        (&self.user, &self.command, self.failfast) == (&other.user, &other.command, other.failfast)
    }
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
    /// Deadline of a monitor.
    pub monitor: Option<Duration>,
}

/// `takeover_waits RESOURCE yes|no`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeoverWaitRule {
    /// Name or whole word of a resource.
    pub name: String,
    /// Whether a takeover from a dead node waits until the resource must have stopped there.
    pub waits: bool,
}

/// `monitor RESOURCE [PROBE] ...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorRule {
    /// Name or whole word of a resource, or `*`.
    pub name: String,
    /// The probe. `None` asks the resource for its own status.
    pub probe: Option<Probe>,
    /// The interval.
    pub every: Duration,
    /// Deadline of one probe. `None` takes that of `timeout ... monitor`.
    pub timeout: Option<Duration>,
    /// What follows when it fails.
    pub policy: Policy,
    /// The place of the name.
    pub place: Place,
}

/// `check NAME PROBE ...`, and `failback_when PROBE ...` under its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRule {
    /// Its name and how many results in a row count.
    pub policy: CheckPolicy,
    /// The probe.
    pub probe: Probe,
    /// Its interval and deadline.
    pub pace: Pace,
    /// The place of the name.
    pub place: Place,
}

/// `notify PATH ...` or `notify URL ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyRule {
    /// Who is told.
    pub target: NotifyTarget,
    /// The place of the path or the URL.
    pub place: Place,
}

/// Who is told what happens to groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotifyTarget {
    /// A program or a folder of programs, and the deadline of each.
    Programs(PathBuf, Duration),
    /// A server.
    Webhook(Webhook),
}

/// Monitors and checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthRules {
    /// The monitors of resources. A rule for a name wins over `*`.
    pub monitors: Vec<MonitorRule>,
    /// The checks of the node.
    pub checks: Vec<CheckRule>,
    /// The check that a group waits for before it goes back to this node.
    pub failback_when: Option<CheckRule>,
}

/// The machine that a configuration is checked for.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// The network interfaces. `None` accepts every name.
    pub interfaces: Option<Vec<String>>,
    /// Whether a user of that name exists.
    pub user_exists: fn(&str) -> bool,
    /// Whether the path is an executable file.
    pub executable: fn(&Path) -> bool,
    /// Whether the modes of the files matter.
    pub checks_modes: bool,
    /// Its addresses.
    pub own_addresses: Vec<IpAddr>,
    /// The broadcast addresses of its networks.
    pub broadcasts: Vec<IpAddr>,
}
