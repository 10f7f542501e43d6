//! Rule 15: two sides of a cluster never both have quorum, whatever each of them reaches.

use crate::*;
use had::engine::Command;
use had::model::cluster::QuorumPolicy;
use had::sim::World;

const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "eve"];

/// So many nodes and ping nodes that have started, with the group db on alice.
fn cluster(nodes: usize, pings: usize) -> World {
    let mut world = World::new(&NAMES[..nodes]);
    for ping in 0..pings {
        world = world.ping(&format!("gateway{ping}"));
    }
    let mut world = world
        .group("db", "alice", 0)
        .with(|c| c.quorum = QuorumPolicy::Stop);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(2));
    world
}

/// Cuts all links between the first nodes and the others. Ping nodes stay in reach of all.
fn cut_after(world: &mut World, nodes: usize, first: usize) {
    for one in &NAMES[..first] {
        for other in &NAMES[first..nodes] {
            world.cut_all_links(one, other);
        }
    }
}

fn leave(world: &mut World, name: &str) {
    world.command(name, Command::Leave);
    world.run_for(secs(5));
}

#[test]
fn ping_nodes_that_both_sides_reach_give_no_side_quorum() {
    for (nodes, pings, first) in [(3, 2, 1), (3, 1, 1), (4, 1, 2), (4, 2, 2), (5, 3, 2)] {
        let mut world = cluster(nodes, pings);
        cut_after(&mut world, nodes, first);
        world.run_for(secs(30));
        no_double(&world);
        let owners = world.runs_on("db").len();
        assert_eq!(owners, 1, "{nodes} {pings} {first}\n{}", story(&world));
    }
}

#[test]
fn an_even_cluster_that_is_cut_in_half_goes_on_where_the_first_node_is() {
    for (first, owner) in [(1, "bob"), (2, "alice")] {
        let mut world = cluster(4, 0);
        cut_after(&mut world, 4, first);
        world.run_for(secs(30));
        no_double(&world);
        assert_eq!(world.runs_on("db"), [owner], "{}", story(&world));
    }
}

#[test]
fn a_goodbye_changes_no_count() {
    // One of three leaves, then a cut parts the two that are left, which both reach the gateway.
    let mut world = cluster(3, 1);
    leave(&mut world, "carol");
    world.cut_all_links("alice", "bob");
    world.run_for(secs(30));
    no_double(&world);
    assert!(world.runs_on("db").is_empty(), "{}", story(&world));
    // She comes back where only bob hears her: the two are more than half.
    world.cut_all_links("alice", "carol");
    world.start("carol");
    world.run_for(secs(60));
    no_double(&world);
    assert_eq!(world.runs_on("db").len(), 1, "{}", story(&world));
}

#[test]
fn nodes_that_left_and_return_unheard_find_no_second_majority() {
    for nodes in [3, 4, 5] {
        let mut world = cluster(nodes, 1);
        let (stay, go) = NAMES[..nodes].split_at(nodes / 2);
        for name in go {
            leave(&mut world, name);
        }
        for one in stay {
            for other in go {
                world.cut_all_links(one, other);
            }
        }
        for name in go {
            world.start(name);
        }
        world.run_for(secs(60));
        no_double(&world);
        assert_eq!(world.runs_on("db").len(), 1, "{nodes}\n{}", story(&world));
    }
}
