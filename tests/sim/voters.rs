//! Rule 31: the list of voters changes while nodes read the new one one after the other.

use crate::*;
use had::model::NodeName;
use had::model::cluster::{Cluster, PingNode, QuorumPolicy};
use had::sim::World;

/// How nodes get the new file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rollout {
    Reload,
    Restart,
}

/// A change of the list that a cut interrupts. Names that begin with `w` are witnesses.
struct Change {
    old: &'static [&'static str],
    new: &'static [&'static str],
    /// The nodes that have the new file when the cut comes.
    ready: &'static [&'static str],
    /// One side of the cut; all others are on the other.
    side: &'static [&'static str],
}

/// Each cut leaves a majority of the old list, without the new file, on one side, and one of the new list on the other.
const CHANGES: [Change; 9] = [
    Change {
        old: &["alice", "bob", "carol"],
        new: &["alice", "bob", "carol", "dave", "erin"],
        ready: &["carol", "dave", "erin"],
        side: &["carol", "dave", "erin"],
    },
    Change {
        old: &["alice", "bob", "carol", "dave", "erin"],
        new: &["alice", "bob", "carol"],
        ready: &["alice", "bob"],
        side: &["alice", "bob"],
    },
    Change {
        old: &["alice", "bob"],
        new: &["alice", "bob", "carol"],
        ready: &["alice", "carol"],
        side: &["alice", "carol"],
    },
    Change {
        old: &["alice", "bob", "carol"],
        new: &["alice", "bob"],
        ready: &["alice"],
        side: &["alice"],
    },
    Change {
        old: &["alice", "bob", "carol"],
        new: &["alice", "bob", "dave"],
        ready: &["alice", "dave"],
        side: &["alice", "dave"],
    },
    Change {
        old: &["alice", "bob"],
        new: &["alice", "bob", "w"],
        ready: &["bob", "w"],
        side: &["bob", "w"],
    },
    Change {
        old: &["alice", "bob", "w"],
        new: &["alice", "bob"],
        ready: &["bob"],
        side: &["bob"],
    },
    // Only the order changes, and with it who has two votes.
    Change {
        old: &["alice", "bob", "carol", "dave"],
        new: &["dave", "carol", "bob", "alice"],
        ready: &["dave", "carol"],
        side: &["dave", "carol"],
    },
    Change {
        old: &["alice", "bob", "carol"],
        new: &["bob"],
        ready: &["bob"],
        side: &["bob"],
    },
];

/// A configuration with these voters. A pair has the gateway as arbiter.
fn config(world: &World, me: &str, voters: &[&str]) -> Cluster {
    let mut cluster = world.cluster.clone();
    cluster.me = NodeName::new(me);
    cluster.nodes = voters.iter().map(|n| NodeName::new(n)).collect();
    cluster.witnesses = cluster.nodes.clone();
    cluster.witnesses.retain(|n| n.as_str().starts_with('w'));
    if cluster.this_node_is_witness() {
        cluster.groups.clear();
    }
    cluster.relay = Cluster::relays_by_default(voters.len(), cluster.pings.len());
    let sum: usize = voters
        .iter()
        .enumerate()
        .map(|(i, n)| (i + 1) * n.len())
        .sum();
    cluster.digest = (sum * 1000 + cluster.groups.len()) as u64;
    cluster
}

fn all(change: &Change) -> Vec<&'static str> {
    let mut all = change.old.to_vec();
    all.extend(change.new.iter().filter(|n| !change.old.contains(n)));
    all
}

/// The cluster with the old list, with the group on this node.
fn before(change: &Change, owner: &str) -> World {
    let mut world = World::new(&all(change))
        .ping("gateway")
        .group("db", owner, 0)
        .with(|c| c.quorum = QuorumPolicy::Stop);
    for name in change.old {
        let config = config(&world, name, change.old);
        world.start_with(name, config);
    }
    settle_on(&mut world, "db", owner);
    world.run_for(secs(1));
    world
}

fn read_new_list(world: &mut World, change: &Change, name: &str, how: Rollout) {
    let config = config(world, name, change.new);
    if how == Rollout::Restart && world.at(name).engine.is_some() {
        world.kill(name);
    }
    if world.at(name).engine.is_some() {
        world.reload(name, config);
    } else {
        world.start_with(name, config);
    }
}

fn cut_off(world: &mut World, side: &[&str], rest: &[&str]) {
    for one in side {
        for other in rest {
            world.cut_all_links(one, other);
        }
    }
}

fn waits(world: &World, name: &str) -> String {
    let status = world.status(name).unwrap();
    let own = status.nodes.into_iter().find(|n| n.name.as_str() == name);
    let mut notes = own.map(|n| n.notes).unwrap_or_default();
    notes.retain(|n| n.starts_with("the list of voters changes"));
    notes.join("\n")
}

#[test]
fn a_cut_in_the_middle_of_a_change_never_makes_two_owners() {
    for change in &CHANGES {
        let runs_groups = |n: &&&str| !n.starts_with('w');
        for owner in change.old.iter().filter(runs_groups) {
            for how in [Rollout::Reload, Rollout::Restart] {
                cut_in_the_middle(change, owner, how);
            }
        }
    }
}

fn cut_in_the_middle(change: &Change, owner: &str, how: Rollout) {
    let told = format!("{:?} to {:?}, {owner}, {how:?}", change.old, change.new);
    let mut world = before(change, owner);
    let rest: Vec<&str> = all(change)
        .into_iter()
        .filter(|n| !change.side.contains(n))
        .collect();
    for name in change.ready {
        read_new_list(&mut world, change, name, how);
    }
    // The cut comes at once: nobody has seen who has read what.
    cut_off(&mut world, change.side, &rest);
    world.run_for(secs(15));
    let owners = world.runs_on("db");
    assert!(owners.len() <= 1, "{told}: {owners:?}\n{}", story(&world));
    no_double(&world);
    // The cut heals, the rollout goes on, and the machines that were removed are switched off.
    world.heal();
    world.run_for(secs(5));
    for name in &rest {
        if change.new.contains(name) {
            read_new_list(&mut world, change, name, how);
        } else {
            world.crash(name);
        }
    }
    world.run_for(secs(5));
    for removed in change.old.iter().filter(|n| !change.new.contains(n)) {
        let forget = had::engine::Command::Forget(NodeName::new(removed));
        world.command(change.new[0], forget);
    }
    let reached = world.run_until_condition(secs(60), |w| w.runs_on("db").len() == 1);
    assert!(reached, "{told}\n{}", story(&world));
    world.run_for(secs(10));
    no_double(&world);
}

/// Three nodes that become three others: carol is gone, and erin comes in her place.
const REPLACED: Change = Change {
    old: &["alice", "bob", "carol"],
    new: &["alice", "bob", "erin"],
    ready: &["alice", "bob", "erin"],
    side: &[],
};

#[test]
fn a_change_that_every_member_has_read_ends_by_itself() {
    for change in &CHANGES {
        let mut world = before(change, "bob");
        let removed = change.old.iter().filter(|n| !change.new.contains(n));
        for name in removed {
            world.command(name, had::engine::Command::Leave);
            world.run_for(secs(2));
        }
        for name in change.new {
            read_new_list(&mut world, change, name, Rollout::Reload);
            world.run_for(secs(1));
        }
        world.run_for(secs(5));
        if change.new.len() > 1 {
            assert_eq!(
                world.at("bob").starts,
                1,
                "{:?}\n{}",
                change.new,
                story(&world)
            );
        }
        for name in change.new {
            // Where those who went had quorum among themselves, only a person can say that they are gone.
            let by_old = change.new == ["bob"];
            let said = waits(&world, name);
            assert_eq!(
                !said.is_empty(),
                by_old,
                "{name}: {said}\n{}",
                story(&world)
            );
        }
        no_double(&world);
    }
}

#[test]
fn a_node_that_has_not_shown_the_new_list_is_named_and_can_be_forgotten() {
    let mut world = before(&REPLACED, "alice");
    world.crash("bob");
    world.run_for(secs(5));
    for name in ["alice", "carol", "erin"] {
        let change = Change {
            new: &["alice", "bob", "carol", "erin"],
            ..REPLACED
        };
        read_new_list(&mut world, &change, name, Rollout::Reload);
    }
    world.run_for(secs(10));
    let expected = "the list of voters changes: bob has not shown the new one; quorum is counted by the new list and by each old one; start bob with the new ha.cf, or `hactl forget bob --yes`";
    assert_eq!(waits(&world, "alice"), expected);
    assert!(
        decisions(&world, "alice")
            .iter()
            .any(|d| d.starts_with("the list of voters changes: "))
    );
    let forget = |world: &mut World, node: &str, gone: &str| {
        let id = world.command(node, had::engine::Command::Forget(NodeName::new(gone)));
        world.run_for(secs(2));
        world.answer(node, id).unwrap()
    };
    for (gone, why) in [
        ("carol", "carol is heard"),
        ("alice", "is this node"),
        ("zoe", "names zoe, so nothing waits for it"),
    ] {
        let refused = forget(&mut world, "alice", gone).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    // One node is told, and all of them end the change.
    forget(&mut world, "carol", "bob").unwrap();
    for name in ["alice", "carol", "erin"] {
        assert_eq!(waits(&world, name), "", "{name}\n{}", story(&world));
    }
    // It is remembered again when it comes back.
    let change = Change {
        new: &["alice", "bob", "carol", "erin"],
        ..REPLACED
    };
    read_new_list(&mut world, &change, "bob", Rollout::Reload);
    world.run_for(secs(5));
    let report = world.at("carol").engine.as_ref().unwrap();
    assert_eq!(report.cluster().nodes.len(), 4);
    world.crash("alice");
    settle_on_one_of(&mut world, "db", &["bob", "carol", "erin"]);
    no_double(&world);
}

/// Reads a list of nodes that only grows.
fn read(world: &mut World, nodes: &[&str], new: &'static [&'static str]) {
    let change = Change { new, ..REPLACED };
    for name in nodes {
        read_new_list(world, &change, name, Rollout::Reload);
    }
    world.run_for(secs(4));
}

/// Carol does not hear that the change has ended. Her word on bob is about that change, not about the next one.
#[test]
fn the_word_that_a_node_is_gone_ends_with_its_change() {
    const FOUR: &[&str] = &["alice", "bob", "carol", "erin"];
    const FIVE: &[&str] = &["alice", "bob", "carol", "erin", "dave"];
    for cut in [false, true] {
        let mut world = before(&REPLACED, "alice");
        world.crash("bob");
        world.run_for(secs(5));
        read(&mut world, &["carol"], FOUR);
        let forget = |gone: &str| had::engine::Command::Forget(NodeName::new(gone));
        world.command("carol", forget("bob"));
        world.run_for(secs(2));
        if cut {
            cut_off(&mut world, &["carol"], &["alice", "erin"]);
            world.run_for(secs(5));
        }
        read(&mut world, &["alice", "erin"], FOUR);
        if cut {
            world.command("alice", forget("bob"));
            world.command("alice", forget("carol"));
        }
        world.run_for(secs(4));
        assert_eq!(waits(&world, "alice"), "", "{cut}\n{}", story(&world));
        read(&mut world, &["alice"], FIVE);
        world.heal();
        world.run_for(secs(5));
        read(&mut world, &["carol", "erin"], FIVE);
        world.run_for(secs(5));
        let expected = "the list of voters changes: bob has not shown the new one;";
        let said = waits(&world, "alice");
        assert!(
            said.starts_with(expected),
            "{cut}: {said}\n{}",
            story(&world)
        );
        no_double(&world);
    }
}

#[test]
fn each_awaited_node_is_named_with_what_to_do_there() {
    let mut world = before(&REPLACED, "alice");
    world.crash("bob");
    world.run_for(secs(5));
    read(&mut world, &["alice"], &["alice", "bob", "carol", "erin"]);
    assert_eq!(
        waits(&world, "alice"),
        "the list of voters changes: bob and carol have not shown the new one; quorum is counted by the new list and by each old one; run `hactl reload` on carol; start bob with the new ha.cf, or `hactl forget bob --yes`"
    );
    read(&mut world, &["alice"], &["alice"]);
    let said = waits(&world, "alice");
    assert!(
        said.contains("carol is no longer in ha.cf: switch it off"),
        "{said}"
    );
    assert!(said.contains("bob is no longer in ha.cf"), "{said}");
}

/// A last node of a pair gets another ping node: the other could still act by the old one.
#[test]
fn a_lone_node_changes_its_list_after_the_other_is_forgotten() {
    for forgets in [false, true] {
        let mut world = World::new(&["alice", "bob"])
            .ping("gateway")
            .group("db", "alice", 0)
            .with(|c| c.quorum = QuorumPolicy::Stop);
        world.start_all();
        settle_on(&mut world, "db", "alice");
        world.run_for(secs(2));
        world.crash("bob");
        world.run_for(secs(5));
        if forgets {
            world.command("alice", had::engine::Command::Forget(NodeName::new("bob")));
        }
        let mut other = world.cluster.clone();
        other.me = NodeName::new("alice");
        other.pings = vec![PingNode {
            name: "router".to_owned(),
            addresses: Vec::new(),
        }];
        other.digest += 1;
        world.reload("alice", other);
        world.run_for(secs(10));
        let owners = world.runs_on("db");
        assert_eq!(owners.len(), usize::from(forgets), "{}", story(&world));
    }
}

/// Bob confirms carol, whom alice does not hear. Bob's new file has no carol: he must not confirm alice at once.
#[test]
fn a_node_that_was_confirmed_a_moment_ago_keeps_its_right_when_it_is_removed() {
    let change = Change {
        old: &["alice", "bob", "carol"],
        new: &["alice", "bob"],
        ready: &[],
        side: &[],
    };
    let mut world = before(&change, "carol");
    world.cut_all_links("alice", "carol");
    world.run_for(secs(10));
    assert_eq!(world.runs_on("db"), ["carol"], "{}", story(&world));
    for name in ["alice", "bob"] {
        read_new_list(&mut world, &change, name, Rollout::Reload);
    }
    world.run_for(secs(30));
    no_double(&world);
    settle_on_one_of(&mut world, "db", &["alice", "bob"]);
}

/// A resource moves to another group while its owner restarts with the new file instead of reloading it.
#[test]
fn a_restart_with_another_file_starts_nothing_that_others_may_run() {
    let mut world = World::new(&["alice", "bob"])
        .group("web", "alice", 1)
        .group("mail", "bob", 0);
    world.start_all();
    settle_on(&mut world, "web", "alice");
    settle_on(&mut world, "mail", "bob");
    world.run_for(secs(2));
    let mut moved = world.cluster.clone();
    moved.digest += 1;
    let script = moved.groups[0].steps.pop().unwrap();
    moved.groups[1].steps.push(script);
    moved.groups[1].preferred = NodeName::new("bob");
    moved.me = NodeName::new("bob");
    world.command("bob", had::engine::Command::Leave);
    world.run_for(secs(3));
    // Alice has mail meanwhile, and dies as soon as she has given it back.
    world.start_with("bob", moved.clone());
    world.run_for(secs(3));
    let runs = |world: &World, node: &str, group: &str| {
        let steps = world
            .at(node)
            .running
            .get(&had::model::GroupName::new(group))
            .cloned();
        steps.unwrap_or_default().iter().filter(|up| **up).count()
    };
    assert_eq!(runs(&world, "bob", "mail"), 0, "{}", story(&world));
    moved.me = NodeName::new("alice");
    world.reload("alice", moved);
    until(&mut world, secs(30), |w| {
        runs(w, "bob", "mail") + runs(w, "alice", "mail") == 2
    });
    no_double(&world);
}
