//! A setting of a cluster: a line of a script's header, and what `reconfigure` changes on one node.

use std::fmt;
use std::time::Duration;

use super::script_words::{ScriptError, ScriptLine};
use crate::model::cluster::{Cluster, GroupSpec, QuorumPolicy};
use crate::model::{GroupName, NodeName};
use crate::text::duration_in_files;

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptSetting {
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

impl ScriptSetting {
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
    pub(super) fn read(
        word: &str,
        words: &mut ScriptLine<'_>,
    ) -> Result<Option<ScriptSetting>, ScriptError> {
        Ok(Some(match word {
            "keepalive" => ScriptSetting::Keepalive(positive(words)?),
            "warntime" => ScriptSetting::Warntime(positive(words)?),
            "deadtime" => ScriptSetting::Deadtime(positive(words)?),
            "initdead" => ScriptSetting::Initdead(positive(words)?),
            "deadping" => ScriptSetting::Deadping(positive(words)?),
            "margin" => ScriptSetting::Margin(positive(words)?),
            "quorum" => {
                let policy = words.one_of("policy", &["stop", "freeze", "ignore", "off"])?;
                ScriptSetting::Quorum(match policy {
                    "stop" => QuorumPolicy::Stop,
                    "freeze" => QuorumPolicy::Freeze,
                    "ignore" => QuorumPolicy::Ignore,
                    _ => QuorumPolicy::Off,
                })
            }
            "auto_failback" => ScriptSetting::AutoFailback(words.on_or_off()?),
            "failback_delay" => ScriptSetting::FailbackDelay(words.time("a time")?),
            "follow_connectivity" => ScriptSetting::FollowConnectivity(words.on_or_off()?),
            _ => return Ok(None),
        }))
    }

    /// Makes it so. `whole` is the cluster as the header has it.
    pub(super) fn set(&self, cluster: &mut Cluster, whole: &Cluster) {
        let timing = &mut cluster.timing;
        match self {
            ScriptSetting::Keepalive(time) => timing.keepalive = *time,
            ScriptSetting::Warntime(time) => timing.warntime = *time,
            ScriptSetting::Deadtime(time) => timing.deadtime = *time,
            ScriptSetting::Initdead(time) => timing.initdead = *time,
            ScriptSetting::Deadping(time) => timing.deadping = *time,
            ScriptSetting::Margin(time) => timing.margin = *time,
            ScriptSetting::Quorum(policy) => cluster.quorum = *policy,
            ScriptSetting::AutoFailback(on) => cluster.auto_failback = *on,
            ScriptSetting::FailbackDelay(time) => cluster.failback_delay = *time,
            ScriptSetting::FollowConnectivity(on) => cluster.follow_connectivity = *on,
            ScriptSetting::Preferred(group, node) => {
                if let Some(group) = cluster.groups.iter_mut().find(|g| g.name == *group) {
                    group.preferred = node.clone();
                }
            }
            ScriptSetting::Whole => ScriptSetting::set_whole(cluster, whole),
            ScriptSetting::Without(group) => cluster.groups.retain(|g| g.name != *group),
            ScriptSetting::With(group) => {
                let mine = |g: &GroupSpec| cluster.groups.iter().find(|m| m.name == g.name);
                let again = |g: &GroupSpec| (g.name == *group).then(|| g.clone());
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
    pub(super) fn shared(cluster: &Cluster) -> [ScriptSetting; 10] {
        let t = &cluster.timing;
        [
            ScriptSetting::Keepalive(t.keepalive),
            ScriptSetting::Warntime(t.warntime),
            ScriptSetting::Deadtime(t.deadtime),
            ScriptSetting::Initdead(t.initdead),
            ScriptSetting::Deadping(t.deadping),
            ScriptSetting::Margin(t.margin),
            ScriptSetting::Quorum(cluster.quorum),
            ScriptSetting::AutoFailback(cluster.auto_failback),
            ScriptSetting::FailbackDelay(cluster.failback_delay),
            ScriptSetting::FollowConnectivity(cluster.follow_connectivity),
        ]
    }

    /// Whether nodes that differ in it may judge silence and rights differently.
    pub(super) fn is_about_rights(&self) -> bool {
        match self {
            ScriptSetting::Keepalive(_)
            | ScriptSetting::Warntime(_)
            | ScriptSetting::Deadtime(_)
            | ScriptSetting::Initdead(_)
            | ScriptSetting::Deadping(_)
            | ScriptSetting::Margin(_)
            | ScriptSetting::Quorum(_) => true,
            ScriptSetting::AutoFailback(_)
            | ScriptSetting::FailbackDelay(_)
            | ScriptSetting::FollowConnectivity(_)
            | ScriptSetting::Preferred(..)
            | ScriptSetting::Without(_)
            | ScriptSetting::With(_)
            | ScriptSetting::Whole => false,
        }
    }
}

fn positive(words: &mut ScriptLine<'_>) -> Result<Duration, ScriptError> {
    let mut again = words.clone();
    let time = words.time("a time")?;
    if time.is_zero() {
        let word = again.next("a time")?;
        return Err(words.at_word(word, "this time must be greater than 0", ""));
    }
    Ok(time)
}

/// A hash of all that nodes must agree on, as the daemon makes one of its files. (FNV-1a.)
pub(super) fn digest(cluster: &Cluster) -> u64 {
    let settings = ScriptSetting::shared(cluster)
        .map(|s| s.to_string())
        .join("\n");
    let text = format!("{settings} {:?} {:?}", cluster.nodes, cluster.groups);
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    text.bytes().fold(0xCBF2_9CE4_8422_2325, mix)
}

impl fmt::Display for ScriptSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let switch = |on: &bool| if *on { "on" } else { "off" };
        match self {
            ScriptSetting::Keepalive(time) => write!(f, "keepalive {}", duration_in_files(*time)),
            ScriptSetting::Warntime(time) => write!(f, "warntime {}", duration_in_files(*time)),
            ScriptSetting::Deadtime(time) => write!(f, "deadtime {}", duration_in_files(*time)),
            ScriptSetting::Initdead(time) => write!(f, "initdead {}", duration_in_files(*time)),
            ScriptSetting::Deadping(time) => write!(f, "deadping {}", duration_in_files(*time)),
            ScriptSetting::Margin(time) => write!(f, "margin {}", duration_in_files(*time)),
            ScriptSetting::Quorum(policy) => f.write_str(match policy {
                QuorumPolicy::Stop => "quorum stop",
                QuorumPolicy::Freeze => "quorum freeze",
                QuorumPolicy::Ignore => "quorum ignore",
                QuorumPolicy::Off => "quorum off",
            }),
            ScriptSetting::AutoFailback(on) => write!(f, "auto_failback {}", switch(on)),
            ScriptSetting::FailbackDelay(time) => {
                write!(f, "failback_delay {}", duration_in_files(*time))
            }
            ScriptSetting::FollowConnectivity(on) => {
                write!(f, "follow_connectivity {}", switch(on))
            }
            ScriptSetting::Preferred(group, node) => write!(f, "preferred {group} {node}"),
            ScriptSetting::Without(group) => write!(f, "without {group}"),
            ScriptSetting::With(group) => write!(f, "with {group}"),
            ScriptSetting::Whole => f.write_str("whole"),
        }
    }
}
