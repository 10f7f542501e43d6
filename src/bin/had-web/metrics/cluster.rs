//! Nodes, links, ping nodes, votes, checks, and how late this node acts.

use had::model::heartbeat::Phase;
use had::model::status::{CheckState, LinkStatus, Liveness, NodeStatus, Status};

use super::{Families, Labels, label, number};

/// Adds everything that is not about groups.
pub(super) fn add(to: &mut Families, status: &Status) {
    add_nodes(to, status);
    add_links(to, status);
    add_pings(to, status);
    add_votes(to, status);
    add_checks(to, status);
    add_delay(to, status);
}

fn add_nodes(to: &mut Families, status: &Status) {
    let joined = number(status.phase == Phase::Active);
    to.gauge(
        "joined",
        "Whether this node takes part in the cluster.",
        [(vec![], joined)],
    );
    let node = |n: &NodeStatus| vec![label("node", &n.name)];
    to.gauge(
        "node_up",
        "Whether a node is heard, as this node sees it; the node itself included.",
        status.nodes.iter().map(|n| (node(n), number(is_heard(n)))),
    );
    to.gauge(
        "node_left",
        "Whether a node has said goodbye: its daemon was stopped in order.",
        status
            .nodes
            .iter()
            .map(|n| (node(n), number(n.liveness == Liveness::Left))),
    );
    to.seconds(
        "node_silence",
        "Time since a node was last heard.",
        status
            .nodes
            .iter()
            .filter_map(|n| Some((node(n), n.silent_for?))),
    );
    let problems = status.problems();
    let about = |n: &NodeStatus| {
        let of_node = problems.iter().filter(|p| p.node.as_ref() == Some(&n.name));
        count(of_node.count())
    };
    to.gauge(
        "node_problems",
        "Problems of a node that the status page names.",
        status.nodes.iter().map(|n| (node(n), about(n))),
    );
}

fn is_heard(node: &NodeStatus) -> bool {
    matches!(
        node.liveness,
        Liveness::Here | Liveness::Active | Liveness::Late
    )
}

#[allow(clippy::cast_precision_loss)] // of problems by the billion
fn count(number: usize) -> f64 {
    number as f64
}

fn add_links(to: &mut Families, status: &Status) {
    let links = || {
        let of = |n| move |l| (link_labels(n, l), l);
        status
            .nodes
            .iter()
            .flat_map(move |n| n.links.iter().map(of(n)))
    };
    to.gauge(
        "link_up",
        "Whether heartbeats pass both ways between this node and another on a link, as far as known.",
        links().map(|(labels, l)| (labels, number(l.hears && l.heard != Some(false)))),
    );
    to.gauge(
        "link_hears",
        "Whether this node hears another on a link.",
        links().map(|(labels, l)| (labels, number(l.hears))),
    );
    to.seconds(
        "link_silence",
        "Time since another node was last heard on a link.",
        links().filter_map(|(labels, l)| Some((labels, l.silent_for?))),
    );
}

fn link_labels(node: &NodeStatus, link: &LinkStatus) -> Labels {
    vec![
        label("node", &node.name),
        label("link", &link.link),
        label("relay", &link.relay),
    ]
}

fn add_pings(to: &mut Families, status: &Status) {
    let pings = || {
        status
            .pings
            .iter()
            .map(|p| (vec![label("ping", &p.name)], p))
    };
    to.gauge(
        "ping_up",
        "Whether a ping node answers this node.",
        pings().map(|(labels, p)| (labels, number(p.up))),
    );
    to.seconds(
        "ping_silence",
        "Time since the newest request that a ping node answered was sent.",
        pings().filter_map(|(labels, p)| Some((labels, p.answered?))),
    );
}

fn add_votes(to: &mut Families, status: &Status) {
    let quorum = &status.quorum;
    let one = |value| [(vec![], value)];
    to.gauge(
        "quorum",
        "Whether this node's side has enough votes; always 1 where votes are not counted.",
        one(number(quorum.held)),
    );
    to.gauge(
        "quorum_counted",
        "Whether votes are counted.",
        one(number(quorum.counted)),
    );
    to.gauge(
        "quorum_votes",
        "Votes of this node's side.",
        one(f64::from(quorum.votes)),
    );
    to.gauge(
        "quorum_votes_possible",
        "Votes of the whole cluster.",
        one(f64::from(quorum.total)),
    );
}

fn add_checks(to: &mut Families, status: &Status) {
    let checks = || {
        let named = |c: &'_ had::model::status::CheckStatus| vec![label("check", &c.name)];
        status.checks.iter().map(move |c| (named(c), c))
    };
    to.gauge(
        "check_passes",
        "Whether a check of this node passes; 0 also before its first result.",
        checks().map(|(labels, c)| (labels, number(c.state == CheckState::Good))),
    );
    to.gauge(
        "check_failed",
        "Whether a check of this node has failed often enough to count.",
        checks().map(|(labels, c)| (labels, number(c.state == CheckState::Failed))),
    );
    to.seconds(
        "check_age",
        "Time since a check of this node gave a result.",
        checks().filter_map(|(labels, c)| Some((labels, c.looked?))),
    );
    to.seconds(
        "check_replica_lag",
        "How far behind its source the replica was that a check of this node watches, at the last look; none if unknown.",
        checks().filter_map(|(labels, c)| Some((labels, c.lag?))),
    );
}

fn add_delay(to: &mut Families, status: &Status) {
    let late = status.lateness.as_ref();
    let spreads = late.into_iter().flat_map(|l| {
        let of = |window: &'static str, spread: &had::model::status::Spread| {
            let measures = [
                ("median", spread.p50),
                ("p999", spread.p999),
                ("maximum", spread.max),
            ];
            measures.map(|(measure, time)| {
                (
                    vec![label("window", window), label("measure", measure)],
                    time,
                )
            })
        };
        of("minute", &l.recent)
            .into_iter()
            .chain(of("life", &l.life))
    });
    to.seconds(
        "scheduling_delay",
        "How long after its own deadlines the daemon acts: in the last minute, and since it started.",
        spreads,
    );
    to.histogram(
        "scheduling_delays",
        "How long after its own deadlines the daemon acted since it started, by size.",
        late.map(|l| (vec![], l.delays.clone())),
    );
    to.seconds(
        "scheduling_delay_tolerated",
        "The scheduling delay that the times in ha.cf tolerate.",
        late.map(|l| (vec![], l.carries)),
    );
}
