//! The settings of a [`Cluster`] by their names in ha.cf: one table for whatever compares, changes or prints them.

use std::fmt;
use std::time::Duration;

use super::cluster::{Cluster, QuorumPolicy};
use crate::text::duration_in_files;

/// A directive of ha.cf with one value on which the engine decides. All nodes must agree on it, and a running daemon
/// takes a new value.
pub struct ClusterSetting {
    /// Its name in ha.cf.
    pub name: &'static str,
    /// Its value in a cluster.
    pub value: fn(&Cluster) -> SettingValue,
    /// Changes it. A value of another kind changes nothing.
    pub set: fn(&mut Cluster, SettingValue),
}

/// The value of a [`ClusterSetting`]. It is shown as ha.cf has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingValue {
    /// A time.
    Time(Duration),
    /// on or off.
    Switch(bool),
    /// What a side without quorum does.
    Quorum(QuorumPolicy),
}

macro_rules! setting {
    ($name:literal, $kind:ident, $($field:ident).+) => {
        ClusterSetting {
            name: $name,
            value: |cluster| SettingValue::$kind(cluster.$($field).+),
            set: |cluster, value| {
                if let SettingValue::$kind(value) = value {
                    cluster.$($field).+ = value;
                }
            },
        }
    };
}

/// All of them. The order is that of the digest which nodes compare, so it stays.
pub const CLUSTER_SETTINGS: [ClusterSetting; 10] = [
    setting!("keepalive", Time, timing.keepalive),
    setting!("warntime", Time, timing.warntime),
    setting!("deadtime", Time, timing.deadtime),
    setting!("initdead", Time, timing.initdead),
    setting!("deadping", Time, timing.deadping),
    setting!("margin", Time, timing.margin),
    setting!("failback_delay", Time, failback_delay),
    setting!("quorum", Quorum, quorum),
    setting!("auto_failback", Switch, auto_failback),
    setting!("relay", Switch, relay),
];

/// Changes the setting of this name.
pub fn change_setting(cluster: &mut Cluster, name: &str, value: SettingValue) {
    if let Some(setting) = CLUSTER_SETTINGS.iter().find(|s| s.name == name) {
        (setting.set)(cluster, value);
    }
}

/// What differs between two clusters: name, old value, new value.
pub fn changed_settings(
    old: &Cluster,
    new: &Cluster,
) -> impl Iterator<Item = (&'static str, SettingValue, SettingValue)> {
    let values = CLUSTER_SETTINGS.map(|s| (s.name, (s.value)(old), (s.value)(new)));
    values.into_iter().filter(|(_, old, new)| old != new)
}

impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingValue::Time(time) => f.write_str(&duration_in_files(*time)),
            SettingValue::Switch(on) => f.write_str(if *on { "on" } else { "off" }),
            SettingValue::Quorum(policy) => f.write_str(policy.as_str()),
        }
    }
}
