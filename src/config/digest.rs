//! The hash of all that must agree on every node.

use sha2::{Digest as _, Sha256};

use super::Config;
use crate::model::cluster::QuorumPolicy;

/// The first eight bytes of the SHA-256 of [`canonical`]. Does not depend on the build; `config.digest` is not read.
pub(super) fn digest(config: &Config) -> u64 {
    let hash = Sha256::digest(canonical(config).as_bytes());
    let first = hash.iter().take(8);
    first.fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// One line per fact. Words contain neither blanks nor line ends, so no two configurations share a text.
/// Media and logs are not in it: interfaces and paths may differ from node to node.
fn canonical(config: &Config) -> String {
    let mut text = String::from("had-config 1\n");
    let mut line = |parts: &[&str]| {
        text.push_str(&parts.join(" "));
        text.push('\n');
    };
    for node in &config.nodes {
        line(&["node", node.as_str()]);
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
    let t = &config.timing;
    for (name, time) in [
        ("keepalive", t.keepalive),
        ("warntime", t.warntime),
        ("deadtime", t.deadtime),
        ("initdead", t.initdead),
        ("deadping", t.deadping),
        ("margin", t.margin),
        ("failback_delay", config.failback_delay),
    ] {
        line(&[name, &time.as_millis().to_string()]);
    }
    let quorum = match config.quorum {
        QuorumPolicy::Stop => "stop",
        QuorumPolicy::Freeze => "freeze",
        QuorumPolicy::Ignore => "ignore",
        QuorumPolicy::Off => "off",
    };
    line(&["quorum", quorum]);
    line(&["auto_failback", &config.auto_failback.to_string()]);
    line(&["ipfail", &config.follow_connectivity.to_string()]);
    text
}
