//! The kinds of clusters, each with the faults under which it promises that nothing runs twice.

use std::time::Duration;

use crate::random::PlanRandom;
use crate::step::Node;

/// The addresses that are sampled and pinged. Those of the third group come and go with it.
pub const ADDRESSES: [&str; 4] = ["10.0.0.100", "10.0.0.110", "10.0.0.111", "10.0.0.120"];
/// The group with the script.
pub const WEB: &str = "10.0.0.100/24/eth0";
/// The group of nothing but addresses.
pub const PLAIN: &str = "10.0.0.110/24/eth0";
/// The group that comes and goes.
pub const EXTRA: &str = "10.0.0.120/24/eth0";

pub struct ChaosClass {
    pub name: &'static str,
    pub nodes: &'static [Node],
    pub links: &'static [&'static str],
    /// Further lines of ha.cf.
    pub ha_cf: &'static str,
    /// Any two nodes may be cut off from each other while both reach the rest.
    pub any_cut: bool,
    /// A node may be cut off on all links.
    pub isolation: bool,
    /// Faults of any kind may overlap. Otherwise only commands and script failures come in between.
    pub overlap: bool,
    /// This node has its state on a small disk of its own, which a power cut empties.
    pub small_disk: Option<Node>,
}

/// Two nodes and a gateway. Nothing is promised when faults overlap within one deadtime, or when both nodes reach the
/// gateway but not each other; so whole nodes are cut off, one fault at a time, and the cluster settles in between.
pub const PAIR: ChaosClass = ChaosClass {
    name: "pair",
    nodes: &["alice", "bob"],
    links: &["eth0", "eth1"],
    ha_cf: "ping 10.0.0.254\nquorum stop\n",
    any_cut: false,
    isolation: true,
    overlap: false,
    small_disk: None,
};

/// Three nodes: the majority decides.
pub const TRIO: ChaosClass = ChaosClass {
    name: "trio",
    nodes: &["alice", "bob", "carol"],
    links: &["eth0"],
    ha_cf: "",
    any_cut: true,
    isolation: true,
    overlap: true,
    small_disk: Some("carol"),
};

/// Two nodes without votes: the promise holds as long as an address probe reaches the other node.
pub const OFF: ChaosClass = ChaosClass {
    name: "off",
    nodes: &["alice", "bob"],
    links: &["eth0", "eth1"],
    ha_cf: "quorum off\n",
    any_cut: false,
    isolation: false,
    overlap: false,
    small_disk: Some("bob"),
};

/// Settings that are drawn for each cluster, and that reloads change.
#[derive(Clone, Debug, PartialEq)]
pub struct ChaosConfig {
    pub deadtime: Duration,
    pub failback: bool,
    pub extra: bool,
}

impl ChaosConfig {
    pub fn draw(random: &mut PlanRandom) -> ChaosConfig {
        ChaosConfig {
            deadtime: Duration::from_millis(*random.pick(&[600, 800, 1000, 1500])),
            failback: random.percent(30),
            extra: random.percent(50),
        }
    }

    pub fn ha_cf(&self, class: &ChaosClass) -> String {
        let mut text = format!("node {}\nudpport 694\n", class.nodes.join(" "));
        for (number, link) in class.links.iter().enumerate() {
            for host in 1..=class.nodes.len() {
                text += &format!("ucast {link} 10.0.{number}.{host}\n");
            }
        }
        let ms = self.deadtime.as_millis();
        let failback = if self.failback { "on" } else { "off" };
        text += &format!(
            "keepalive {}ms\nwarntime {}ms\ndeadtime {ms}ms\ninitdead 4s\nauto_failback {failback}\n",
            ms / 10,
            ms / 2
        );
        text + "timeout svc start 2s stop 2s monitor 2s\n" + class.ha_cf
    }

    pub fn haresources(&self, class: &ChaosClass) -> String {
        let mut text = format!("alice {WEB} svc::web\nbob {PLAIN} 10.0.0.111/24/eth0\n");
        if self.extra {
            text += &format!("{} {EXTRA} svc::side\n", class.nodes.last().unwrap());
        }
        text
    }

    /// The groups, each with its addresses.
    pub fn groups(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        let mut groups = vec![
            (WEB, vec!["10.0.0.100"]),
            (PLAIN, vec!["10.0.0.110", "10.0.0.111"]),
        ];
        if self.extra {
            groups.push((EXTRA, vec!["10.0.0.120"]));
        }
        groups
    }
}
