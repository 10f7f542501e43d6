//! Groups and their resources.

use std::time::Duration;

use had::model::heartbeat::GroupState;
use had::model::status::{
    CLAIM_REASONS, GroupActivity, GroupStatus, ResourceState, ResourceStatus, StandbyStatus, Status,
};

use super::{Families, Labels, label, number};

/// All states of a group on a node.
const STATES: [GroupState; 8] = [
    GroupState::Unknown,
    GroupState::Offline,
    GroupState::Claiming,
    GroupState::Starting,
    GroupState::Online,
    GroupState::Stopping,
    GroupState::Failed,
    GroupState::Stuck,
];

/// Adds everything about groups.
pub(super) fn add(to: &mut Families, status: &Status) {
    add_places(to, status);
    add_states(to, status);
    add_activity(to, status);
    add_moves(to, status);
    add_resources(to, status);
}

fn group_label(group: &GroupStatus) -> Labels {
    vec![label("group", &group.name)]
}

fn add_places(to: &mut Families, status: &Status) {
    let groups = status.groups.iter();
    to.gauge(
        "group_runs",
        "Whether a group runs on exactly one node of the cluster, as this node sees it.",
        groups.clone().map(|g| (group_label(g), number(g.runs()))),
    );
    to.gauge(
        "group_owners",
        "The number of nodes on which a group may run; 2 is a split.",
        groups.clone().map(|g| {
            let owners = u32::try_from(g.owners.len()).unwrap_or(u32::MAX);
            (group_label(g), f64::from(owners))
        }),
    );
    let members = || status.nodes.iter().filter(|n| !n.witness);
    to.gauge(
        "group_owner",
        "Whether a node is the one on which a group runs, as this node sees it.",
        groups.clone().flat_map(|g| {
            members().map(|n| {
                let labels = vec![label("group", &g.name), label("node", &n.name)];
                (labels, number(g.owners.contains(&n.name)))
            })
        }),
    );
    to.gauge(
        "group_preferred",
        "Whether a group runs on its preferred node.",
        groups
            .clone()
            // A witness does not know it.
            .filter(|g| !g.preferred.as_str().is_empty())
            .map(|g| (group_label(g), number(g.owners.contains(&g.preferred)))),
    );
    to.gauge(
        "group_standby_ready",
        "Whether a living node that does not have a group could take it over, as far as this node knows.",
        groups.flat_map(|g| {
            // Who is in standby on purpose need not be ready.
            let on_purpose = |s: &&StandbyStatus| s.reasons.iter().any(|r| r.id == "standby");
            let known = g.standbys.iter().filter(|s| s.is_known());
            let known = known.filter(move |s| !on_purpose(s));
            known.map(|s| {
                let labels = vec![label("group", &g.name), label("node", &s.node)];
                (labels, number(s.ready))
            })
        }),
    );
}

fn add_states(to: &mut Families, status: &Status) {
    let states = status.groups.iter().flat_map(|g| {
        let here = g.states.iter().find(|(node, _)| *node == status.node);
        let here = here.map(|(_, state)| *state);
        STATES.into_iter().map(move |state| {
            let labels = vec![label("group", &g.name), label("state", state.as_str())];
            (labels, number(here == Some(state)))
        })
    });
    to.gauge(
        "group_state",
        "The state of a group on this node: 1 for the one that it is in.",
        states,
    );
}

/// What never happened has no sample.
fn add_moves(to: &mut Families, status: &Status) {
    let mut time = |name, help, of: fn(&GroupStatus) -> Option<u64>| {
        let groups = status.groups.iter();
        let known = groups.filter_map(|g| Some((group_label(g), Duration::from_millis(of(g)?))));
        to.seconds(name, help, known);
    };
    time(
        "last_switch_timestamp",
        "When a group last came to another node, as far as this node noticed.",
        |g| g.last_switch_ms,
    );
    time(
        "last_drill_timestamp",
        "When a group was last drilled from this node (hactl drill).",
        |g| g.last_drill_ms,
    );
}

/// What never happened is counted as 0, so that the first time is an increase.
fn add_activity(to: &mut Families, status: &Status) {
    let all: Vec<GroupActivity> = status
        .groups
        .iter()
        .map(|g| {
            let known = status.activity.iter().find(|a| a.group == g.name);
            known.map_or_else(|| GroupActivity::new(g.name.clone()), Clone::clone)
        })
        .collect();
    let group = |a: &GroupActivity| vec![label("group", &a.group)];
    to.seconds(
        "group_unchanged",
        "Time since a group came up, went down or failed on this node.",
        all.iter().filter_map(|a| Some((group(a), a.changed?))),
    );
    to.seconds(
        "group_last_start",
        "How long the last start of a group on this node took, from its claim until everything ran.",
        all.iter().filter_map(|a| Some((group(a), a.last_start?))),
    );
    to.histogram(
        "group_start_duration",
        "How long starts of a group on this node took, from the claim until everything ran.",
        all.iter().map(|a| (group(a), a.start_times.clone())),
    );
    let mut count = |name, help, of: fn(&GroupActivity) -> u64| {
        to.counter(name, help, all.iter().map(|a| (group(a), of(a))));
    };
    count(
        "group_starts",
        "Starts of a group on this node after which everything ran.",
        |a| a.starts,
    );
    count(
        "group_stops",
        "Stops of a group on this node after which nothing ran.",
        |a| a.stops,
    );
    count("group_failures", "Failures of a group on this node.", |a| {
        a.failures
    });
    count(
        "group_stuck",
        "Stops of a group on this node that failed.",
        |a| a.stuck,
    );
    count(
        "group_restarts",
        "Restarts of a resource of a group in place.",
        |a| a.restarts,
    );
    to.counter(
        "group_claims",
        "How often this node began to take a group, by reason; owner-dead is a failover.",
        all.iter().flat_map(|a| {
            CLAIM_REASONS.map(|reason| {
                let count = a.claims.get(reason).copied().unwrap_or_default();
                (
                    vec![label("group", &a.group), label("reason", reason)],
                    count,
                )
            })
        }),
    );
}

fn add_resources(to: &mut Families, status: &Status) {
    let all = || {
        let of = |g: &'_ GroupStatus, r: &'_ ResourceStatus| {
            vec![label("group", &g.name), label("resource", &r.token)]
        };
        status
            .groups
            .iter()
            .flat_map(move |g| g.resources.iter().map(move |r| (of(g, r), r)))
    };
    to.gauge(
        "resource_running",
        "Whether a resource runs on this node.",
        all().map(|(labels, r)| (labels, number(r.state == ResourceState::Running))),
    );
    to.gauge(
        "resource_failed",
        "Whether the last action on a resource on this node failed.",
        all().map(|(labels, r)| (labels, number(r.state == ResourceState::Failed))),
    );
    to.gauge(
        "resource_unwatched",
        "Whether nobody would notice the end of a resource, because it has no monitor.",
        all().map(|(labels, r)| (labels, number(r.unwatched))),
    );
    let watched = || all().filter_map(|(labels, r)| Some((labels, r.watch.as_ref()?)));
    to.gauge(
        "resource_monitor_failing",
        "Failed monitors of a resource on this node that still count.",
        watched().map(|(labels, w)| (labels, f64::from(w.failing))),
    );
    to.gauge(
        "resource_restarts_counted",
        "Restarts in place of a resource on this node that still count against its budget.",
        watched().map(|(labels, w)| (labels, f64::from(w.restarts))),
    );
    to.seconds(
        "resource_monitor_age",
        "Time since the last monitor of a resource on this node.",
        watched().filter_map(|(labels, w)| Some((labels, w.looked?))),
    );
}
