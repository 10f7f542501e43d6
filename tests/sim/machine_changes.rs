//! Rule 32, while other things change: the configuration, who has a name, and what the node does that goes on.

use crate::machine::{HELD, force, on_storage, three};
use crate::*;
use had::model::NodeName;
use had::model::cluster::{Cluster, GroupSpec};
use had::sim::{CloneKind, World};

/// The configuration of `node` where the group db is called x: another word stands first on its line.
fn renamed(world: &World, node: &str) -> Cluster {
    changed(world, node, |groups| {
        groups[0].name = GroupName::new("x");
        groups[0].steps[0].members = vec!["x".to_owned()];
    })
}

fn changed(world: &World, node: &str, change: impl FnOnce(&mut Vec<GroupSpec>)) -> Cluster {
    let mut cluster = world.cluster.clone();
    cluster.me = NodeName::new(node);
    change(&mut cluster.groups);
    cluster.digest += 1;
    cluster
}

fn take(world: &mut World, node: &str, cluster: Cluster, restart: bool) {
    if restart {
        world.kill(node);
        world.start_with(node, cluster);
    } else {
        world.reload(node, cluster);
    }
}

fn assert_nowhere(world: &mut World, group: &str) {
    world.run_for(secs(300));
    assert!(world.runs_on(group).is_empty(), "{}", story(world));
    let said = decisions(world, "b").into_iter();
    let said = said.filter(|d| d.starts_with(group) && d.contains(HELD));
    assert_eq!(said.count(), 1, "{}", story(world));
}

#[test]
fn a_group_that_is_held_is_held_under_another_name_too() {
    for (restart, silent_first) in [(false, true), (true, true), (false, false), (true, false)] {
        let mut world = three();
        if silent_first {
            world.kill("a");
            world.run_for(secs(30));
        }
        for node in ["b", "c"] {
            let cluster = renamed(&world, node);
            take(&mut world, node, cluster, restart);
            world.run_for(secs(1));
        }
        world.kill("a");
        assert_nowhere(&mut world, "x");
        // Both know it after a restart.
        for node in ["b", "c"] {
            let cluster = renamed(&world, node);
            take(&mut world, node, cluster, true);
        }
        world.run_for(secs(100));
        assert!(world.runs_on("x").is_empty(), "{}", story(&world));
        world.crash("a");
        settle_on_one_of(&mut world, "x", &["b", "c"]);
    }
}

/// The storage is taken out of the one line, and put into another one by a second reload.
#[test]
fn storage_that_moves_to_another_group_is_held_there() {
    let mut world = three();
    world.kill("a");
    world.run_for(secs(30));
    let mut storage = None;
    let without = |groups: &mut Vec<GroupSpec>| storage = groups[0].steps.pop();
    let mut cluster = changed(&world, "b", without);
    for node in ["b", "c"] {
        cluster.me = NodeName::new(node);
        world.reload(node, cluster.clone());
    }
    // Nothing of it is on shared storage any more.
    until(&mut world, secs(30), |w| !w.runs_on("db").is_empty());
    world.run_for(secs(30));
    let mut web = cluster.groups[0].clone();
    web.name = GroupName::new("web");
    web.steps[0].members = vec!["web".to_owned()];
    web.steps.extend(storage);
    cluster.groups.push(web);
    cluster.digest += 1;
    for node in ["b", "c"] {
        cluster.me = NodeName::new(node);
        world.reload(node, cluster.clone());
    }
    assert_nowhere(&mut world, "web");
    world.crash("a");
    settle_on_one_of(&mut world, "web", &["b", "c"]);
}

/// A group that is not new is no other name of the one that is held.
#[test]
fn a_group_that_did_not_change_is_not_held_beside_another_one() {
    let mut world = three();
    let mut cluster = world.cluster.clone();
    let mut web = cluster.groups[0].clone();
    web.name = GroupName::new("web");
    web.preferred = NodeName::new("b");
    web.steps[0].members = vec!["web".to_owned()];
    cluster.groups.push(web);
    cluster.digest += 1;
    for node in ["a", "b", "c"] {
        cluster.me = NodeName::new(node);
        world.reload(node, cluster.clone());
    }
    settle_on(&mut world, "web", "b");
    world.kill("a");
    world.run_for(secs(30));
    cluster.groups[0].name = GroupName::new("x");
    cluster.groups[0].steps[0].members = vec!["x".to_owned()];
    cluster.digest += 1;
    for node in ["b", "c"] {
        cluster.me = NodeName::new(node);
        world.reload(node, cluster.clone());
    }
    world.run_for(secs(30));
    let groups = vec![GroupName::new("web")];
    let id = world.command(
        "c",
        Command::Takeover {
            groups,
            force: false,
        },
    );
    until(&mut world, secs(30), |w| w.answer("c", id).is_some());
    assert_eq!(world.runs_on("web"), ["c"], "{}", story(&world));
    assert!(world.runs_on("x").is_empty(), "{}", story(&world));
}

/// It had the group and the ping node all along, so the other node cannot have started it.
#[test]
fn a_dead_daemon_that_never_had_it_does_not_keep_its_owner_from_starting_it_again() {
    for later in [false, true] {
        let mut world = on_storage(World::new(&["a", "b"]).ping("gateway"));
        world.kill("b");
        world.run_for(secs(30));
        if later {
            // The right goes on through a gap in the answers of the ping node.
            world.set_ping_visible("a", 0, false);
            world.run_for(ms(700));
            world.set_ping_visible("a", 0, true);
            world.run_for(secs(30));
        }
        assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
        let cluster = changed(&world, "a", |groups| {
            groups[0].steps[0].members.push("db2".to_owned());
        });
        world.reload("a", cluster);
        until(&mut world, secs(5), |w| w.runs_on("db").is_empty());
        world.run_for(secs(20));
        assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
        no_double(&world);
    }
}

/// Nobody can say whether the other one started it while neither the ping node nor the group was here.
#[test]
fn after_a_time_without_the_ping_node_it_is_held() {
    let mut world = on_storage(World::new(&["a", "b"]).ping("gateway"));
    world.kill("b");
    world.run_for(secs(10));
    world.set_ping_visible("a", 0, false);
    until(&mut world, secs(60), |w| w.runs_on("db").is_empty());
    world.set_ping_visible("a", 0, true);
    world.run_for(secs(100));
    assert!(world.runs_on("db").is_empty(), "{}", story(&world));
    force(&mut world, "a");
    // It holds it under a later term now.
    let id = world.command("a", Command::Clear(GroupName::new("db")));
    until(&mut world, secs(5), |w| w.answer("a", id).is_some());
    let cluster = renamed(&world, "a");
    world.reload("a", cluster);
    settle_on(&mut world, "x", "a");
}

const TAKEN: &str = "another machine has the name a now, and the one that had it before answers";

#[test]
fn another_machine_that_takes_the_name_does_not_end_the_hold() {
    for (kind, restart) in [
        (CloneKind::Configuration, false),
        (CloneKind::Disk, false),
        (CloneKind::Configuration, true),
    ] {
        let mut world = three();
        world.kill("a");
        world.run_for(secs(20));
        if restart {
            for node in ["b", "c"] {
                world.crash(node);
                world.start(node);
            }
        }
        world.clone_machine("a", kind);
        world.run_for(secs(300));
        assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
        let notes = world.status("b").unwrap().groups[0].notes.join("\n");
        assert!(notes.contains(TAKEN), "{notes}\n{}", story(&world));
        if restart {
            for node in ["b", "c"] {
                world.crash(node);
                world.start(node);
            }
            world.run_for(secs(100));
            assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
        }
        no_double(&world);
        world.crash("a");
        settle_on_one_of(&mut world, "db", &["a'", "b", "c"]);
    }
}

/// It finds what it had, and stops it: another machine takes part under its name.
#[test]
fn the_daemon_of_the_machine_that_had_the_name_before_ends_the_hold() {
    let mut world = three();
    world.kill("a");
    world.run_for(secs(20));
    world.clone_machine("a", CloneKind::Configuration);
    world.run_for(secs(60));
    assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
    world.start("a");
    settle_on_one_of(&mut world, "db", &["a'", "b", "c"]);
    no_double(&world);
}

#[test]
fn a_machine_that_boots_again_ends_the_hold() {
    let mut world = three();
    world.kill("a");
    world.run_for(secs(20));
    world.crash("a");
    world.machine("a").kept.identity = had::model::identity::Identity::default();
    let booted = world.now;
    world.start("a");
    until(&mut world, secs(60), |w| !w.runs_on("db").is_empty());
    let took = world.now.since(booted);
    assert!(took < secs(3), "{took:?}\n{}", story(&world));
    no_double(&world);
}
