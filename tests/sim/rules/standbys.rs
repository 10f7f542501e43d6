//! What status says of nodes that could take a group over. Nothing follows from it.

use had::engine::Event;
use had::model::heartbeat::GroupState;
use had::model::readiness::{ComparedTree, DefaultRoutes, Lack, Readiness};
use had::model::status::Status;

use super::alone::{Alone, g, report};
use crate::secs;

const V4: DefaultRoutes = DefaultRoutes {
    v4: true,
    v6: false,
};

fn sound() -> Readiness {
    Readiness {
        version: "1".to_owned(),
        routes: V4,
        usual_routes: V4,
        ..Readiness::default()
    }
}

fn looked(readiness: Readiness) -> Event {
    Event::OwnReadiness {
        readiness: Box::new(readiness),
        complete: true,
    }
}

/// What is said against a node, by kinds; none where it is no standby.
fn against(status: &Status, node: &str) -> Option<Vec<String>> {
    let mut standbys = status.groups[0].standbys.iter();
    let standby = standbys.find(|s| s.node.as_str() == node)?;
    assert_eq!(standby.ready, standby.reasons.is_empty());
    Some(standby.reasons.iter().map(|r| r.id.to_string()).collect())
}

/// `a` holds the group and has looked at itself, `b` and `c` hear it.
fn holder() -> Alone {
    let mut a = Alone::holding(&["b", "c"]);
    a.tell(looked(sound()));
    for peer in ["b", "c"] {
        a.voice(peer).readiness = sound();
    }
    a.run_for(secs(1));
    a
}

#[test]
fn each_living_node_that_does_not_have_it_is_a_standby() {
    let mut a = holder();
    assert_eq!(against(&a.status(), "a"), None, "it has it");
    for peer in ["b", "c"] {
        assert_eq!(against(&a.status(), peer), Some(vec![]));
    }
    assert_eq!(a.status().problems(), []);
    a.voice("c").silent = true;
    a.run_for(secs(5));
    assert_eq!(against(&a.status(), "c"), None, "it is dead");
}

#[test]
fn what_a_node_lacks_is_told_once_and_moves_nothing() {
    let mut a = holder();
    let lack = |group, text: &str| Lack {
        group,
        text: text.to_owned(),
    };
    a.voice("b").readiness.lacks =
        vec![lack(None, "the disk is full"), lack(Some(g()), "no script")];
    a.run_for(secs(1));
    let status = a.status();
    let said = against(&status, "b").unwrap();
    assert_eq!(said, ["node-lacks", "standby-lacks"]);
    let problems = status.problems();
    let kinds: Vec<&str> = problems.iter().map(|p| &*p.id).collect();
    assert_eq!(kinds, ["node-lacks", "standby-lacks"]);
    assert_eq!(a.ours().state, GroupState::Online);
    // A lack for another group does not matter here.
    let other = had::model::GroupName::new("other");
    a.voice("b").readiness.lacks = vec![lack(Some(other), "no script")];
    a.run_for(secs(1));
    assert_eq!(against(&a.status(), "b"), Some(vec![]));
}

#[test]
fn a_route_counts_as_lost_where_nodes_without_groups_have_one() {
    let mut a = holder();
    a.voice("b").readiness.routes = DefaultRoutes::default();
    a.run_for(secs(1));
    let lost = Some(vec!["no-route".to_owned()]);
    assert_eq!(against(&a.status(), "b"), lost);
    // The route comes with the group, and nobody else ever had one.
    for peer in ["b", "c"] {
        a.voice(peer).readiness.routes = DefaultRoutes::default();
        a.voice(peer).readiness.usual_routes = DefaultRoutes::default();
    }
    a.run_for(secs(1));
    assert_eq!(against(&a.status(), "b"), Some(vec![]));
}

#[test]
fn a_node_that_has_said_nothing_is_neither_ready_nor_a_problem() {
    let mut a = holder();
    a.voice("b").readiness = Readiness::default();
    a.run_for(secs(1));
    let unknown = Some(vec!["readiness-unknown".to_owned()]);
    assert_eq!(against(&a.status(), "b"), unknown);
    assert_eq!(a.status().problems(), []);
}

#[test]
fn trees_versions_and_what_a_node_says_of_itself_count() {
    let mut a = holder();
    let tree = |digest| ComparedTree::of("/etc/nginx", Some(digest));
    let mut own = sound();
    own.trees = vec![tree(1)];
    a.tell(looked(own));
    let b = a.voice("b");
    b.readiness.trees = vec![tree(2)];
    b.readiness.version = "2".to_owned();
    b.report.can = false;
    let c = a.voice("c");
    c.readiness.trees = vec![tree(1)];
    c.report = report(GroupState::Offline, 0);
    c.report.can = false;
    a.run_for(secs(1));
    assert_eq!(
        against(&a.status(), "b").unwrap(),
        ["tree-differs", "cannot-run"]
    );
    // Each takes groups over from the other, so that is told with the node only.
    let problems = a.status().problems();
    assert!(
        problems.iter().any(|p| p.id == "version-differs"),
        "{problems:?}"
    );
    assert_eq!(against(&a.status(), "c").unwrap(), ["cannot-run"]);
}

/// Whether the cluster may choose a node.
fn is_candidate(status: &Status, node: &str) -> bool {
    let mut standbys = status.groups[0].standbys.iter();
    standbys.any(|s| s.node.as_str() == node && s.candidate)
}

#[test]
fn a_node_that_the_cluster_does_not_choose_is_not_ready() {
    let mut a = holder();
    a.voice("b").readiness.lacks = vec![Lack {
        group: None,
        text: "the disk is full".to_owned(),
    }];
    a.run_for(secs(1));
    let status = a.status();
    assert!(
        is_candidate(&status, "b"),
        "a lack keeps no node from the choice"
    );
    assert!(is_candidate(&status, "c"));
    a.deafen("c");
    a.run_for(secs(5));
    let status = a.status();
    assert!(!is_candidate(&status, "c"));
    assert_eq!(against(&status, "c").unwrap(), ["cannot-run"]);
}

#[test]
fn what_a_peer_lacks_is_told_before_this_node_has_looked_at_itself() {
    let mut a = Alone::holding(&["b", "c"]);
    let b = a.voice("b");
    b.readiness = sound();
    b.readiness.lacks = vec![Lack {
        group: None,
        text: "the disk is full".to_owned(),
    }];
    a.run_for(secs(1));
    let problems = a.status().problems();
    let kinds: Vec<&str> = problems.iter().map(|p| &*p.id).collect();
    assert_eq!(kinds, ["node-lacks"]);
}
