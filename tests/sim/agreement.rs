//! Rule 25 and leases among nodes whose configurations differ, for a while or by mistake.

use crate::*;
use had::model::cluster::{Cluster, GroupSpec, QuorumPolicy};
use had::model::{GroupName, NodeName};
use had::sim::{CutDirection, World};

fn three() -> World {
    let mut world = World::new(&["alice", "bob", "carol"])
        .group("db", "alice", 0)
        .with(|c| c.quorum = QuorumPolicy::Stop);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(2));
    world
}

/// The configuration of a node, changed.
fn changed(world: &World, name: &str, change: impl Fn(&mut Cluster)) -> Cluster {
    let mut cluster = world.cluster.clone();
    cluster.me = NodeName::new(name);
    cluster.digest += 1;
    change(&mut cluster);
    cluster
}

#[test]
fn an_owner_that_is_removed_from_the_files_of_the_others_keeps_its_groups_to_itself() {
    let mut world = three();
    for name in ["bob", "carol"] {
        let without = changed(&world, name, |c| c.nodes.retain(|n| n.as_str() != "alice"));
        world.reload(name, without);
    }
    world.run_for(secs(30));
    no_double(&world);
    // It is out of the cluster now: nobody confirms its right.
    settle_on_one_of(&mut world, "db", &["bob", "carol"]);
    no_double(&world);
}

/// A resource moves from the line of one group to that of another, and the nodes read that one after the other.
#[test]
fn a_resource_that_moves_to_another_group_runs_once() {
    for first in ["alice", "bob"] {
        let mut world = World::new(&["alice", "bob"])
            .group("web", "alice", 1)
            .group("mail", "bob", 0);
        world.start_all();
        settle_on(&mut world, "web", "alice");
        settle_on(&mut world, "mail", "bob");
        world.run_for(secs(2));
        let moved = |c: &mut Cluster| {
            let script = c.groups[0].steps.pop().unwrap();
            c.groups[1].steps.push(script);
        };
        let second = if first == "alice" { "bob" } else { "alice" };
        for name in [first, second] {
            let cluster = changed(&world, name, moved);
            world.reload(name, cluster);
            // The slow stop of the old line goes on for a while.
            for _ in 0..500 {
                world.run_for(ms(10));
                let runs = |node: &str, group: &str, step: usize| {
                    let steps = world.at(node).running.get(&GroupName::new(group));
                    steps.and_then(|s| s.get(step)).is_some_and(|up| *up)
                };
                let old = runs("alice", "web", 1) || runs("bob", "web", 1);
                let new = runs("alice", "mail", 1) || runs("bob", "mail", 1);
                assert!(!(old && new), "{first} first\n{}", story(&world));
            }
        }
        settle_on(&mut world, "mail", "bob");
        assert_eq!(world.runs_on("mail"), ["bob"], "{}", story(&world));
    }
}

#[test]
fn an_owner_that_dies_in_the_middle_of_a_rollout_is_taken_over() {
    let mut world = three();
    let more = |c: &mut Cluster| {
        let spec = GroupSpec {
            name: GroupName::new("new"),
            ..c.groups[0].clone()
        };
        c.groups.push(spec);
    };
    let cluster = changed(&world, "bob", more);
    world.reload("bob", cluster);
    world.run_for(secs(2));
    assert!(world.runs_on("new").is_empty(), "{}", story(&world));
    world.crash("alice");
    world.run_for(DEADTIME + secs(2));
    assert_eq!(world.runs_on("db").len(), 1, "{}", story(&world));
    no_double(&world);
}

/// The owner has a longer deadtime than its peers, then a shorter one; each time it is cut off.
#[test]
fn different_deadtimes_do_not_make_two_owners() {
    for (owner, others) in [(15, 3), (3, 15), (15, 2)] {
        for reloads in [false, true] {
            let mut world = three();
            let slower = |s: u64| move |c: &mut Cluster| c.timing.deadtime = secs(s);
            for (name, time) in [("alice", owner), ("bob", others), ("carol", others)] {
                let cluster = changed(&world, name, slower(time));
                world.reload(name, cluster);
            }
            if reloads {
                world.run_for(secs(5));
            }
            for other in ["bob", "carol"] {
                world.cut("alice", other, 0, CutDirection::Both);
            }
            world.run_for(secs(60));
            no_double(&world);
            assert_eq!(
                world.runs_on("db").len(),
                1,
                "{owner} {others}\n{}",
                story(&world)
            );
        }
    }
}

/// A group in maintenance runs on without a daemon. When its machine is silent, the end of maintenance elsewhere must not start
/// it: only somebody who has looked can.
/// Maintenance that another node began, ended while the owner is cut off, or in the moment in which it is.
#[test]
fn the_end_of_maintenance_starts_nothing_that_an_owner_may_run_who_has_not_heard_of_it() {
    use had::engine::Command;
    for cut_before in [secs(8), ms(0)] {
        let mut world = pair_with_gateway(1);
        let maintenance = |on| Command::Maintenance {
            groups: vec![GroupName::new("db")],
            on,
        };
        world.command("bob", maintenance(true));
        world.run_for(secs(2));
        world.cut_all_links("alice", "bob");
        world.set_ping_visible("alice", 0, false);
        world.run_for(cut_before);
        world.command("bob", maintenance(false));
        world.run_for(secs(30));
        assert_eq!(world.runs_on("db"), ["alice"], "{}", story(&world));
        assert_counts_as_stuck(&world);
        no_double(&world);
    }
}

/// Its stop did not fail.
fn assert_counts_as_stuck(world: &World) {
    let notes = world.status("bob").unwrap().groups[0].notes.join("\n");
    assert!(
        notes.contains("stuck on alice: it was in maintenance"),
        "{notes}"
    );
    assert!(!notes.contains("stop failed"), "{notes}");
}

#[test]
fn the_end_of_maintenance_does_not_start_what_a_silent_node_had_in_maintenance() {
    use had::engine::Command;
    let db = || vec![GroupName::new("db")];
    let mut world = pair_with_gateway(1);
    world.command(
        "alice",
        Command::Maintenance {
            groups: db(),
            on: true,
        },
    );
    world.run_for(secs(1));
    world.kill("alice");
    world.run_for(secs(10));
    world.command(
        "bob",
        Command::Maintenance {
            groups: db(),
            on: false,
        },
    );
    world.run_for(secs(30));
    assert_eq!(world.runs_on("db"), ["alice"], "{}", story(&world));
    assert_counts_as_stuck(&world);
    world.crash("alice");
    let force = Command::Takeover {
        groups: db(),
        force: true,
    };
    world.command("bob", force);
    settle_on(&mut world, "db", "bob");
    no_double(&world);
}
