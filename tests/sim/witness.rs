//! Two nodes and a witness: a member that has a vote and runs nothing.

use crate::*;
use had::engine::Command;
use had::model::NodeName;
use had::model::heartbeat::GroupState;
use had::model::status::Liveness;
use had::sim::{Weather, World};

/// The group db on alice, and a witness.
fn two_and_witness() -> World {
    let world = World::new(&["alice", "bob", "w"]).witness("w");
    started(world.group("db", "alice", 1))
}

fn takeover_db(world: &mut World, node: &str) -> Result<String, String> {
    let groups = vec![GroupName::new("db")];
    let force = false;
    let id = world.command(node, Command::Takeover { groups, force });
    until(world, secs(60), |w| w.answer(node, id).is_some());
    world.answer(node, id).unwrap()
}

/// Puts the witness far away: its heartbeats take this long each way, and so many of a thousand are lost.
fn put_far_away(world: &mut World, one_way: Duration, loss: u32) {
    let weather = Weather {
        delay: one_way,
        loss,
        ..Weather::CALM
    };
    for node in ["alice", "bob"] {
        world.weather_between(node, "w", 0, weather);
        world.weather_between("w", node, 0, weather);
    }
}

fn assert_runs_throughout(world: &mut World, time: Duration, owner: &str) {
    let starts = world.at(owner).starts;
    world.run_for(time);
    assert_eq!(world.runs_on("db"), [owner], "{}", story(world));
    let told = "it is not started again";
    assert_eq!(world.at(owner).starts, starts, "{told}\n{}", story(world));
    assert_eq!(world.at(owner).stops, 0, "{}", story(world));
}

#[test]
fn a_dead_owner_is_replaced_at_deadtime() {
    let mut world = two_and_witness();
    let crashed = world.now;
    world.crash("alice");
    until(&mut world, secs(5), |w| w.runs_on("db") == ["bob"]);
    let took = world.now.since(crashed);
    assert!(took <= DEADTIME + ms(100), "{took:?}\n{}", story(&world));
    world.run_for(secs(20));
    assert_eq!(world.runs_on("db"), ["bob"]);
    no_double(&world);
}

#[test]
fn an_owner_that_is_cut_off_stops_before_the_other_node_starts() {
    let mut world = two_and_witness();
    world.cut_all_links("alice", "bob");
    world.cut_all_links("alice", "w");
    until(&mut world, secs(5), |w| w.runs_on("db") == ["bob"]);
    world.run_for(secs(10));
    assert_eq!(world.runs_on("db"), ["bob"], "{}", story(&world));
    world.heal();
    world.run_for(secs(10));
    assert_eq!(world.runs_on("db"), ["bob"], "{}", story(&world));
    no_double(&world);
}

#[test]
fn a_cut_between_the_nodes_moves_nothing_while_the_owner_hears_the_witness() {
    let mut world = two_and_witness();
    world.cut_all_links("alice", "bob");
    assert_runs_throughout(&mut world, secs(30), "alice");
    world.heal();
    assert_runs_throughout(&mut world, secs(30), "alice");
    no_double(&world);
}

#[test]
fn of_two_nodes_that_are_cut_apart_the_one_that_hears_the_witness_goes_on() {
    for (lonely, served) in [("alice", "bob"), ("bob", "alice")] {
        let mut world = two_and_witness();
        world.cut_all_links("alice", "bob");
        world.cut_all_links(lonely, "w");
        world.run_for(secs(10));
        assert_eq!(world.runs_on("db"), [served], "{}", story(&world));
        no_double(&world);
    }
}

#[test]
fn the_loss_of_the_witness_moves_nothing_and_a_handover_still_works() {
    let mut world = two_and_witness();
    world.crash("w");
    assert_runs_throughout(&mut world, secs(30), "alice");
    let status = world.status("alice").unwrap();
    let witness = status.nodes.iter().find(|n| n.witness).unwrap();
    assert_eq!(witness.liveness, Liveness::Dead);
    let told = world.now;
    assert_eq!(takeover_db(&mut world, "bob"), Ok("db runs on bob".into()));
    let took = world.now.since(told);
    assert!(took < ms(30), "no wait and no probe: {took:?}");
    world.start("w");
    world.run_for(secs(20));
    assert_eq!(world.runs_on("db"), ["bob"], "{}", story(&world));
    no_double(&world);
}

#[test]
fn two_nodes_that_boot_without_the_witness_do_not_wait_for_it() {
    let world = World::new(&["alice", "bob", "w"]).witness("w");
    let mut world = world.group("db", "alice", 1);
    let begun = world.now;
    world.start("alice");
    world.start("bob");
    settle_on(&mut world, "db", "alice");
    assert!(world.now.since(begun) < ms(500), "{}", story(&world));
    assert_eq!(world.status("alice").unwrap().waiting, None);
    assert_eq!(takeover_db(&mut world, "bob"), Ok("db runs on bob".into()));
    world.start("w");
    world.run_for(secs(20));
    assert_eq!(world.runs_on("db"), ["bob"], "{}", story(&world));
    no_double(&world);
}

#[test]
fn one_node_that_boots_with_the_witness_waits_for_the_other() {
    let world = World::new(&["alice", "bob", "w"]).witness("w");
    let mut world = world.group("db", "alice", 1);
    world.start("w");
    world.start("bob");
    world.run_for(ms(3900));
    assert!(world.runs_on("db").is_empty(), "not before initdead");
    settle_on(&mut world, "db", "bob");
}

/// The node that stays needs the word of the witness for its quorum: one exchange, but nothing more.
#[test]
fn a_node_that_leaves_hands_over_within_an_exchange_with_the_witness() {
    let mut world = two_and_witness();
    put_far_away(&mut world, ms(40), 0);
    world.run_for(secs(10));
    let told = world.now;
    world.command("alice", Command::Leave);
    settle_on(&mut world, "db", "bob");
    let took = world.now.since(told);
    assert!(took < ms(100), "{took:?}\n{}", story(&world));
    no_double(&world);
}

/// Where a node is dead, the witnesses are asked. One that is dead too has nothing that it could still be stopping.
#[test]
fn a_dead_witness_is_not_waited_for_like_a_node_with_shared_storage() {
    let world = World::new(&["alice", "bob", "carol", "w"]).witness("w");
    let world = world.group("db", "alice", 1);
    let mut world = started(world.with(|c| c.groups[0].steps[1].removal = secs(60)));
    world.crash("carol");
    world.run_for(secs(70));
    world.crash("w");
    world.run_for(secs(5));
    let told = world.now;
    assert_eq!(takeover_db(&mut world, "bob"), Ok("db runs on bob".into()));
    let took = world.now.since(told);
    assert!(took < secs(5), "{took:?}\n{}", story(&world));
    no_double(&world);
}

#[test]
fn a_witness_that_starts_again_vouches_for_the_owner_at_once() {
    let mut world = two_and_witness();
    world.crash("bob");
    world.run_for(secs(10));
    for _ in 0..5 {
        world.kill("w");
        world.run_for(ms(200));
        world.start("w");
        assert_runs_throughout(&mut world, secs(10), "alice");
    }
    no_double(&world);
}

#[test]
fn a_witness_shows_each_group_as_offline_and_is_no_candidate() {
    let mut world = two_and_witness();
    assert_eq!(world.state("w", "db"), Some(GroupState::Offline));
    let status = world.status("w").unwrap();
    assert_eq!(status.groups[0].owners, [NodeName::new("alice")]);
    let seen = &world.status("alice").unwrap();
    let differs = |s: &had::model::status::Status| s.nodes.iter().any(|n| !n.notes.is_empty());
    assert!(!differs(&status) && !differs(seen), "{status:?} {seen:?}");
    world.crash("alice");
    world.crash("bob");
    world.run_for(secs(30));
    assert!(world.runs_on("db").is_empty());
    world.start("bob");
    settle_on(&mut world, "db", "bob");
    standby_db(&mut world, "bob");
    world.run_for(secs(10));
    let stays = "a witness is nobody to hand it to";
    assert_eq!(world.runs_on("db"), ["bob"], "{stays}\n{}", story(&world));
    no_double(&world);
}

#[test]
fn a_group_that_no_node_names_any_more_is_forgotten() {
    let mut world = two_and_witness();
    for node in ["alice", "bob"] {
        let mut cluster = world.config_of(&NodeName::new(node));
        cluster.groups.clear();
        world.reload(node, cluster);
    }
    world.run_for(secs(10));
    assert!(world.status("w").unwrap().groups.is_empty());
}

#[test]
fn commands_for_groups_are_refused_on_a_witness() {
    let mut world = two_and_witness();
    let groups = || vec![GroupName::new("db")];
    let refused = "w is a witness: it has a vote and runs no groups; run this command on a node";
    let lasting = true;
    for command in [
        Command::Takeover {
            groups: groups(),
            force: true,
        },
        Command::Standby {
            groups: groups(),
            lasting,
        },
        Command::Unstandby(groups()),
        Command::Clear(GroupName::new("db")),
        Command::Maintenance {
            groups: groups(),
            on: true,
        },
    ] {
        let id = world.command("w", command);
        assert_eq!(world.answer("w", id), Some(Err(refused.to_owned())));
    }
    world.command("w", Command::Leave);
    assert_runs_throughout(&mut world, secs(10), "alice");
    assert!(world.at("w").engine.is_none(), "it leaves");
}

/// Two nodes that hear each other do not wait for a witness: a handover takes no longer than without it.
#[test]
fn a_witness_far_away_does_not_slow_a_handover() {
    let mut without = pair(1);
    let told = without.now;
    takeover_db(&mut without, "bob").unwrap();
    let usual = without.now.since(told);
    for (one_way, loss) in [(ms(40), 0), (ms(100), 0), (ms(40), 300), (ms(300), 100)] {
        let mut world = two_and_witness();
        put_far_away(&mut world, one_way, loss);
        world.run_for(secs(10));
        for node in ["bob", "alice", "bob", "alice"] {
            let told = world.now;
            assert_eq!(
                takeover_db(&mut world, node),
                Ok(format!("db runs on {node}"))
            );
            let took = world.now.since(told);
            let far = format!("{one_way:?} away, {loss} of 1000 lost");
            assert!(took <= usual + ms(1), "{far}: {took:?}, usually {usual:?}");
            world.run_for(ms(500));
        }
        world.run_for(secs(10));
        assert_eq!(world.runs_on("db"), ["alice"], "{}", story(&world));
        no_double(&world);
    }
}
