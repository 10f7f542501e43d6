//! A setting of a cluster: a line of a script's header, and what `reconfigure` changes on one node.

use std::fmt;
use std::time::Duration;

use super::script_words::ScriptLine;
use crate::model::cluster::{Cluster, GroupSpec, QuorumPolicy};
use crate::model::cluster_setting::{CLUSTER_SETTINGS, SettingValue, change_setting};
use crate::model::{GroupName, NodeName};
use crate::text::Problem;

const FOLLOW_CONNECTIVITY: &str = "follow_connectivity";

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptSetting {
    /// One of [`CLUSTER_SETTINGS`], by its name.
    Cluster(&'static str, SettingValue),
    /// Whether groups follow the ping nodes.
    FollowConnectivity(bool),
    /// The preferred node of a group.
    Preferred(GroupName, NodeName),
    /// The node no longer has this group.
    Without(GroupName),
    /// It has it again, as the header says.
    With(GroupName),
    /// The node has this list of nodes and witnesses; the others of the header are not in it.
    Voters(Vec<NodeName>),
    /// All of its configuration is as the header says again.
    Whole,
}

impl ScriptSetting {
    /// The words of those that a header can have.
    pub(super) fn words() -> impl Iterator<Item = &'static str> {
        let names = CLUSTER_SETTINGS.map(|setting| setting.name);
        names.into_iter().chain([FOLLOW_CONNECTIVITY])
    }

    /// Reads the value after `word`. `None` if that is not a setting of a header.
    pub(super) fn read(
        word: &str,
        words: &mut ScriptLine<'_>,
    ) -> Result<Option<ScriptSetting>, Problem> {
        if word == FOLLOW_CONNECTIVITY {
            let on = words.on_or_off()?;
            return Ok(Some(ScriptSetting::FollowConnectivity(on)));
        }
        let Some(name) = ScriptSetting::words().find(|name| *name == word) else {
            return Ok(None);
        };
        let value = match name {
            "quorum" => {
                let known = QuorumPolicy::ALL.map(QuorumPolicy::as_str);
                let policy = words.one_of("policy", &known)?;
                SettingValue::Quorum(QuorumPolicy::parse(policy).unwrap_or(QuorumPolicy::Off))
            }
            "auto_failback" | "relay" => SettingValue::Switch(words.on_or_off()?),
            "failback_delay" => SettingValue::Time(words.time("a time")?),
            _ => SettingValue::Time(positive(words)?),
        };
        Ok(Some(ScriptSetting::Cluster(name, value)))
    }

    /// Changes the cluster. `whole` is the cluster as the header has it.
    pub(super) fn set(&self, cluster: &mut Cluster, whole: &Cluster) {
        match self {
            ScriptSetting::Cluster(name, value) => change_setting(cluster, name, *value),
            ScriptSetting::FollowConnectivity(on) => cluster.follow_connectivity = *on,
            ScriptSetting::Preferred(group, node) => {
                if let Some(group) = cluster.groups.iter_mut().find(|g| g.name == *group) {
                    group.preferred = node.clone();
                }
            }
            // A file without the node itself is no configuration.
            ScriptSetting::Voters(names) if !names.contains(&cluster.me) => {}
            ScriptSetting::Voters(names) => {
                cluster.nodes.clone_from(names);
                cluster.witnesses.clone_from(&whole.witnesses);
                cluster.witnesses.retain(|w| names.contains(w));
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
    pub(super) fn shared(cluster: &Cluster) -> impl Iterator<Item = ScriptSetting> {
        let values = CLUSTER_SETTINGS.map(|s| ScriptSetting::Cluster(s.name, (s.value)(cluster)));
        let follow = ScriptSetting::FollowConnectivity(cluster.follow_connectivity);
        values.into_iter().chain([follow])
    }

    /// Whether nodes that differ in it may judge rights differently. Times are no such setting: they are published.
    pub(super) fn is_about_rights(&self) -> bool {
        match self {
            ScriptSetting::Cluster(name, _) => ["quorum", "relay"].contains(name),
            ScriptSetting::FollowConnectivity(_)
            | ScriptSetting::Preferred(..)
            | ScriptSetting::Without(_)
            | ScriptSetting::With(_)
            | ScriptSetting::Voters(_)
            | ScriptSetting::Whole => false,
        }
    }
}

fn positive(words: &mut ScriptLine<'_>) -> Result<Duration, Problem> {
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
    let settings: Vec<String> = ScriptSetting::shared(cluster)
        .map(|s| s.to_string())
        .collect();
    let settings = settings.join("\n");
    let mut text = format!("{settings} {:?} {:?}", cluster.nodes, cluster.groups);
    for witness in &cluster.witnesses {
        text += witness.as_str();
    }
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    text.bytes().fold(0xCBF2_9CE4_8422_2325, mix)
}

impl fmt::Display for ScriptSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScriptSetting::Cluster(name, value) => write!(f, "{name} {value}"),
            ScriptSetting::FollowConnectivity(on) => {
                write!(f, "{FOLLOW_CONNECTIVITY} {}", SettingValue::Switch(*on))
            }
            ScriptSetting::Preferred(group, node) => write!(f, "preferred {group} {node}"),
            ScriptSetting::Without(group) => write!(f, "without {group}"),
            ScriptSetting::With(group) => write!(f, "with {group}"),
            ScriptSetting::Voters(names) => {
                let names: Vec<&str> = names.iter().map(NodeName::as_str).collect();
                write!(f, "voters {}", names.join(" "))
            }
            ScriptSetting::Whole => f.write_str("whole"),
        }
    }
}
