//! A setting of a cluster: a line of a script's header, and what `reconfigure` changes on one node.

use std::fmt;
use std::time::Duration;

use super::words::{Mistake, Words};
use crate::model::cluster::{Cluster, Group, QuorumPolicy};
use crate::model::{GroupName, NodeName};
use crate::text::duration_in_files;

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The interval of heartbeats.
    Keepalive(Duration),
    /// Silence that earns a warning.
    Warntime(Duration),
    /// Silence that means dead.
    Deadtime(Duration),
    /// The same after our own start.
    Initdead(Duration),
    /// Silence of a ping node.
    Deadping(Duration),
    /// How much sooner an isolated owner gives up.
    Margin(Duration),
    /// What a side without quorum does.
    Quorum(QuorumPolicy),
    /// Whether groups go back.
    AutoFailback(bool),
    /// After how long.
    FailbackDelay(Duration),
    /// Whether groups follow the ping nodes.
    FollowConnectivity(bool),
    /// The preferred node of a group.
    Preferred(GroupName, NodeName),
    /// The node no longer has this group.
    Without(GroupName),
    /// It has it again, as the header says.
    With(GroupName),
    /// All of its configuration is as the header says again.
    Whole,
}

impl Setting {
    /// The words of those that stand in a header.
    pub(super) const WORDS: [&'static str; 10] = [
        "keepalive",
        "warntime",
        "deadtime",
        "initdead",
        "deadping",
        "margin",
        "quorum",
        "auto_failback",
        "failback_delay",
        "follow_connectivity",
    ];

    /// Reads what stands behind `word`; nothing where that is no setting of a header.
    pub(super) fn read(word: &str, words: &mut Words<'_>) -> Result<Option<Setting>, Mistake> {
        Ok(Some(match word {
            "keepalive" => Setting::Keepalive(positive(words)?),
            "warntime" => Setting::Warntime(positive(words)?),
            "deadtime" => Setting::Deadtime(positive(words)?),
            "initdead" => Setting::Initdead(positive(words)?),
            "deadping" => Setting::Deadping(positive(words)?),
            "margin" => Setting::Margin(positive(words)?),
            "quorum" => {
                let policy = words.one_of("policy", &["stop", "freeze", "ignore", "off"])?;
                Setting::Quorum(match policy {
                    "stop" => QuorumPolicy::Stop,
                    "freeze" => QuorumPolicy::Freeze,
                    "ignore" => QuorumPolicy::Ignore,
                    _ => QuorumPolicy::Off,
                })
            }
            "auto_failback" => Setting::AutoFailback(words.on_or_off()?),
            "failback_delay" => Setting::FailbackDelay(words.time("a time")?),
            "follow_connectivity" => Setting::FollowConnectivity(words.on_or_off()?),
            _ => return Ok(None),
        }))
    }

    /// Makes it so. `whole` is the cluster as the header has it.
    pub(super) fn set(&self, cluster: &mut Cluster, whole: &Cluster) {
        let timing = &mut cluster.timing;
        match self {
            Setting::Keepalive(time) => timing.keepalive = *time,
            Setting::Warntime(time) => timing.warntime = *time,
            Setting::Deadtime(time) => timing.deadtime = *time,
            Setting::Initdead(time) => timing.initdead = *time,
            Setting::Deadping(time) => timing.deadping = *time,
            Setting::Margin(time) => timing.margin = *time,
            Setting::Quorum(policy) => cluster.quorum = *policy,
            Setting::AutoFailback(on) => cluster.auto_failback = *on,
            Setting::FailbackDelay(time) => cluster.failback_delay = *time,
            Setting::FollowConnectivity(on) => cluster.follow_connectivity = *on,
            Setting::Preferred(group, node) => {
                if let Some(group) = cluster.groups.iter_mut().find(|g| g.name == *group) {
                    group.preferred = node.clone();
                }
            }
            Setting::Whole => Setting::set_whole(cluster, whole),
            Setting::Without(group) => cluster.groups.retain(|g| g.name != *group),
            Setting::With(group) => {
                let mine = |g: &Group| cluster.groups.iter().find(|m| m.name == g.name);
                let again = |g: &Group| (g.name == *group).then(|| g.clone());
                let groups = whole
                    .groups
                    .iter()
                    .filter_map(|g| mine(g).cloned().or_else(|| again(g)));
                cluster.groups = groups.collect();
            }
        }
        cluster.digest = digest(cluster);
    }

    fn set_whole(cluster: &mut Cluster, whole: &Cluster) {
        *cluster = Cluster {
            me: cluster.me.clone(),
            ..whole.clone()
        };
    }

    /// Those that a header prints, in its order.
    pub(super) fn of(cluster: &Cluster) -> [Setting; 10] {
        let t = &cluster.timing;
        [
            Setting::Keepalive(t.keepalive),
            Setting::Warntime(t.warntime),
            Setting::Deadtime(t.deadtime),
            Setting::Initdead(t.initdead),
            Setting::Deadping(t.deadping),
            Setting::Margin(t.margin),
            Setting::Quorum(cluster.quorum),
            Setting::AutoFailback(cluster.auto_failback),
            Setting::FailbackDelay(cluster.failback_delay),
            Setting::FollowConnectivity(cluster.follow_connectivity),
        ]
    }

    /// Whether nodes that differ in it may judge silence and rights differently.
    pub(super) fn is_about_rights(&self) -> bool {
        match self {
            Setting::Keepalive(_)
            | Setting::Warntime(_)
            | Setting::Deadtime(_)
            | Setting::Initdead(_)
            | Setting::Deadping(_)
            | Setting::Margin(_)
            | Setting::Quorum(_) => true,
            Setting::AutoFailback(_)
            | Setting::FailbackDelay(_)
            | Setting::FollowConnectivity(_)
            | Setting::Preferred(..)
            | Setting::Without(_)
            | Setting::With(_)
            | Setting::Whole => false,
        }
    }
}

fn positive(words: &mut Words<'_>) -> Result<Duration, Mistake> {
    let mut again = words.clone();
    let time = words.time("a time")?;
    if time.is_zero() {
        let word = again.next("a time")?;
        return Err(words.at_word(word, "this time must be longer than nothing", ""));
    }
    Ok(time)
}

/// A hash of all that nodes must agree on, as the daemon makes one of its files. (FNV-1a.)
pub(super) fn digest(cluster: &Cluster) -> u64 {
    let settings = Setting::of(cluster).map(|s| s.to_string()).join("\n");
    let text = format!("{settings} {:?} {:?}", cluster.nodes, cluster.groups);
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    text.bytes().fold(0xCBF2_9CE4_8422_2325, mix)
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let switch = |on: &bool| if *on { "on" } else { "off" };
        match self {
            Setting::Keepalive(time) => write!(f, "keepalive {}", duration_in_files(*time)),
            Setting::Warntime(time) => write!(f, "warntime {}", duration_in_files(*time)),
            Setting::Deadtime(time) => write!(f, "deadtime {}", duration_in_files(*time)),
            Setting::Initdead(time) => write!(f, "initdead {}", duration_in_files(*time)),
            Setting::Deadping(time) => write!(f, "deadping {}", duration_in_files(*time)),
            Setting::Margin(time) => write!(f, "margin {}", duration_in_files(*time)),
            Setting::Quorum(policy) => f.write_str(match policy {
                QuorumPolicy::Stop => "quorum stop",
                QuorumPolicy::Freeze => "quorum freeze",
                QuorumPolicy::Ignore => "quorum ignore",
                QuorumPolicy::Off => "quorum off",
            }),
            Setting::AutoFailback(on) => write!(f, "auto_failback {}", switch(on)),
            Setting::FailbackDelay(time) => {
                write!(f, "failback_delay {}", duration_in_files(*time))
            }
            Setting::FollowConnectivity(on) => write!(f, "follow_connectivity {}", switch(on)),
            Setting::Preferred(group, node) => write!(f, "preferred {group} {node}"),
            Setting::Without(group) => write!(f, "without {group}"),
            Setting::With(group) => write!(f, "with {group}"),
            Setting::Whole => f.write_str("whole"),
        }
    }
}
