//! The hash of everything on which all nodes must agree.

use sha2::{Digest as _, Sha256};

use super::Config;
use crate::model::cluster::Cluster;
use crate::model::cluster_setting::{CLUSTER_SETTINGS, ClusterSetting, SettingValue};

/// The first eight bytes of the SHA-256 of [`canonical_text`]. It does not depend on the build or on `config.digest`.
pub(super) fn config_digest(config: &Config) -> u64 {
    let hash = Sha256::digest(canonical_text(config).as_bytes());
    let first = hash.iter().take(8);
    first.fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// One line per fact. Words contain neither blanks nor line ends, so two different configurations have different texts.
/// Media and logs are left out: interfaces and paths may differ between nodes.
fn canonical_text(config: &Config) -> String {
    let mut text = String::from("had-config 1\n");
    let mut line = |parts: &[&str]| {
        text.push_str(&parts.join(" "));
        text.push('\n');
    };
    for node in &config.nodes {
        line(&["node", node.as_str()]);
    }
    for witness in &config.witnesses {
        line(&["witness", witness.as_str()]);
    }
    for group in &config.groups {
        line(&["group", group.preferred.as_str()]);
        for (token, _) in &group.tokens {
            line(&["resource", &token.text]);
        }
    }
    for ping in &config.pings {
        line(&["ping", &ping.name]);
        for address in &ping.addresses {
            line(&["address", &address.to_string()]);
        }
    }
    let mut rules: Vec<_> = config.timeouts.iter().collect();
    rules.sort_by(|a, b| a.name.cmp(&b.name));
    for rule in rules {
        let times = [rule.start, rule.stop, rule.monitor];
        let times = times.map(|t| t.map_or("-".to_owned(), |t| t.as_millis().to_string()));
        line(&["timeout", &rule.name, &times.join(" ")]);
    }
    let mut waits: Vec<_> = config.takeover_waits.iter().collect();
    waits.sort_by(|a, b| a.name.cmp(&b.name));
    for rule in waits {
        line(&["takeover_waits", &rule.name, &rule.waits.to_string()]);
    }
    let cluster = config.cluster(Vec::new());
    let usual_relay = Cluster::relays_by_default(config.nodes.len(), config.pings.len());
    // Left out where it is as usual, so that a version without it agrees.
    let counts =
        |setting: &&ClusterSetting| setting.name != "relay" || cluster.relay != usual_relay;
    for setting in CLUSTER_SETTINGS.iter().filter(counts) {
        let value = match (setting.value)(&cluster) {
            SettingValue::Time(time) => time.as_millis().to_string(),
            SettingValue::Switch(on) => on.to_string(),
            SettingValue::Quorum(policy) => policy.as_str().to_owned(),
        };
        line(&[setting.name, &value]);
    }
    let fencing = &cluster.fencing;
    // Left out where no node is fenced, so that a version without it agrees.
    for node in &fencing.nodes {
        line(&["fence", node.as_str()]);
        let (delay, all) = (fencing.delay.as_millis(), fencing.for_all);
        line(&["fencing", &delay.to_string(), &all.to_string()]);
    }
    line(&["ipfail", &config.follow_connectivity.to_string()]);
    text
}
