//! Rule 32: the daemon of the owner is gone, and its machine is not. What stands on shared storage may run on there.

use std::net::IpAddr;

use crate::*;
use had::engine::{Action, Asker, Command, Event};
use had::model::cluster::QuorumPolicy;
use had::model::heartbeat::Heartbeat;
use had::model::{Generation, LinkName, NodeName, Sequence};
use had::sim::{ClusterSetup, FaultScript, World, run};

/// How long a stop of the storage may take.
const STOP: Duration = Duration::from_secs(20);
pub const HELD: &str = "the daemon of a is silent but its machine answers";
/// A machine that does not answer for so long is taken for off.
const PATIENCE: Duration = Duration::from_secs(10);

/// Three nodes that have started, with the group db on a: an address and shared storage.
pub fn three() -> World {
    on_storage(World::new(&["a", "b", "c"]).with(|c| c.quorum = QuorumPolicy::Stop))
}

pub fn on_storage(world: World) -> World {
    let mut world = world.group("db", "a", 1).with(|c| {
        let storage = &mut c.groups[0].steps[1];
        (storage.shared_storage, storage.removal) = (true, STOP);
        storage.stop = STOP;
    });
    world.kernel_leases = true;
    world.start_all();
    settle_on(&mut world, "db", "a");
    world.run_for(secs(2));
    world
}

fn assert_held(world: &mut World) {
    world.run_for(secs(600));
    assert_eq!(world.runs_on("db"), ["a"], "{}", story(world));
    no_double(world);
    for node in ["b", "c"] {
        let said = decisions(world, node);
        let said = said.iter().filter(|d| d.contains(HELD)).count();
        assert_eq!(said, 1, "{node} says it once\n{}", story(world));
        let notes = world.status(node).unwrap().groups[0].notes.join("\n");
        assert!(notes.contains(HELD), "{node}: {notes}");
        assert!(notes.contains("hactl takeover --force"), "{notes}");
    }
}

/// Takes over by force at this node, which must succeed at once.
pub fn force(world: &mut World, node: &str) {
    let groups = vec![GroupName::new("db")];
    let id = world.command(
        node,
        Command::Takeover {
            groups,
            force: true,
        },
    );
    until(world, secs(1), |w| w.answer(node, id).is_some());
    let done = Ok(format!("db runs on {node}"));
    assert_eq!(world.answer(node, id), Some(done), "{}", story(world));
}

#[test]
fn what_a_killed_daemon_left_on_shared_storage_is_not_started_elsewhere() {
    let mut world = three();
    world.kill("a");
    assert_held(&mut world);
    // Its daemon is started: it finds its group and what is left of it, and the group runs once again.
    world.start("a");
    let whole = |w: &mut World| {
        let owners = w.runs_on("db").len() == 1;
        let online = |n: &&str| w.state(n, "db") == Some(had::model::heartbeat::GroupState::Online);
        owners && ["a", "b", "c"].iter().any(online)
    };
    until(&mut world, secs(30), whole);
    no_double(&world);
}

#[test]
fn what_a_frozen_daemon_left_on_shared_storage_is_not_started_elsewhere() {
    let mut world = three();
    world.freeze("a");
    assert_held(&mut world);
    world.thaw("a");
    until(
        &mut world,
        secs(60),
        |w| matches!(w.runs_on("db")[..], [one] if w.state(one, "db") == Some(had::model::heartbeat::GroupState::Online)),
    );
    no_double(&world);
}

#[test]
fn without_power_a_machine_is_taken_over_as_soon_as_its_stops_are_over() {
    let mut world = three();
    let crashed = world.now;
    world.crash("a");
    settle_on(&mut world, "db", "b");
    let took = world.now.since(crashed);
    assert!(
        took <= DEADTIME + STOP + ms(200),
        "{took:?}\n{}",
        story(&world)
    );
    let quiet = decisions(&world, "b").iter().all(|d| !d.contains(HELD));
    assert!(quiet, "{}", story(&world));
    no_double(&world);
}

#[test]
fn a_machine_that_cannot_be_reached_is_taken_over_after_its_stops() {
    let mut world = three();
    let cut = world.now;
    for other in ["b", "c"] {
        world.cut_all_links("a", other);
    }
    settle_on(&mut world, "db", "b");
    let took = world.now.since(cut);
    assert!(
        took <= DEADTIME + STOP + ms(200),
        "{took:?}\n{}",
        story(&world)
    );
    no_double(&world);
}

#[test]
fn a_machine_that_is_switched_off_later_is_taken_over_ten_seconds_later() {
    let mut world = three();
    world.kill("a");
    assert_held(&mut world);
    let off = world.now;
    world.crash("a");
    settle_on(&mut world, "db", "b");
    let took = world.now.since(off);
    assert!(took <= PATIENCE + ms(500), "{took:?}\n{}", story(&world));
    no_double(&world);
}

#[test]
fn a_machine_that_only_names_its_hardware_address_holds_for_twice_the_stop_deadlines() {
    let mut world = three();
    world.machine("a").sends_no_echo = true;
    let killed = world.now;
    world.kill("a");
    let end = DEADTIME + STOP * 2;
    world.run_for(end.saturating_sub(secs(1)));
    assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
    until(&mut world, secs(5), |w| w.runs_on("db").contains(&"b"));
    let took = world.now.since(killed);
    assert!(took <= end + secs(2), "{took:?}\n{}", story(&world));
}

#[test]
fn a_takeover_by_force_overrides_it_on_each_node() {
    for node in ["b", "c"] {
        let mut world = three();
        world.kill("a");
        assert_held(&mut world);
        force(&mut world, node);
        assert!(world.runs_on("db").contains(&node));
        // It moves on between the living without asking again.
        world.run_for(secs(5));
        let other = if node == "b" { "c" } else { "b" };
        let groups = vec![GroupName::new("db")];
        let id = world.command(
            other,
            Command::Takeover {
                groups,
                force: false,
            },
        );
        until(&mut world, secs(5), |w| w.answer(other, id).is_some());
        let done = Ok(format!("db runs on {other}"));
        assert_eq!(world.answer(other, id), Some(done), "{}", story(&world));
    }
}

#[test]
fn without_force_a_takeover_is_answered_with_the_reason() {
    let mut world = three();
    world.kill("a");
    world.run_for(secs(20));
    let groups = vec![GroupName::new("db")];
    let id = world.command(
        "b",
        Command::Takeover {
            groups,
            force: false,
        },
    );
    let answer = world
        .answer("b", id)
        .expect("an answer at once")
        .unwrap_err();
    assert!(answer.contains(HELD), "{answer}");
    no_double(&world);
}

/// Why bob should not take over a configuration without a.
fn reasons_not_to_remove_a(world: &World) -> Vec<String> {
    let mut cluster = world.cluster.clone();
    cluster.me = NodeName::new("b");
    cluster.nodes.retain(|n| n.as_str() != "a");
    let engine = world.at("b").engine.as_ref().unwrap();
    engine.judge_configuration(&cluster)
}

#[test]
fn a_silent_node_that_may_run_a_group_is_not_removed_from_the_configuration() {
    const REFUSED: &str =
        "a is not heard, is not in the new ha.cf, and may still run db: switch a off first";
    let refused = |w: &World| reasons_not_to_remove_a(w).iter().any(|r| r == REFUSED);
    let mut world = three();
    world.kill("a");
    assert_held(&mut world);
    assert!(refused(&world), "{:?}", reasons_not_to_remove_a(&world));
    // Its machine is off and the group runs elsewhere.
    world.crash("a");
    settle_on(&mut world, "db", "b");
    world.run_for(secs(2));
    assert!(!refused(&world), "{:?}", reasons_not_to_remove_a(&world));
}

#[test]
fn a_node_whose_stop_may_not_be_over_is_not_removed_from_the_configuration() {
    let mut world = three();
    world.crash("a");
    world.run_for(DEADTIME + secs(1));
    let reasons = reasons_not_to_remove_a(&world);
    assert!(
        reasons.iter().any(|r| r.contains("may still run db")),
        "{reasons:?}"
    );
}

/// An address that was learned before a reload without the node counts no more: it is learned again.
#[test]
fn the_address_of_a_node_that_was_removed_and_added_again_is_learned_anew() {
    let mut world = three();
    let cluster = |w: &World, without: &str| {
        let mut cluster = w.cluster.clone();
        cluster.me = NodeName::new("b");
        cluster.nodes.retain(|n| n.as_str() != without);
        cluster
    };
    let small = cluster(&world, "a");
    world.reload("b", small);
    world.run_for(secs(1));
    let whole = cluster(&world, "nobody");
    world.reload("b", whole);
    world.run_for(secs(10));
    world.cut_all_links("a", "c");
    world.kill("a");
    assert_held(&mut world);
}

/// A recorded heartbeat proves nothing: who sends it again would choose where the machine is asked.
#[test]
fn addresses_are_learned_from_fresh_heartbeats_only() {
    let world = three();
    let mut engine = world.at("b").engine.clone().unwrap();
    let [own, other] = [[10, 0, 0, 1], [10, 0, 0, 99]].map(IpAddr::from);
    let heartbeat = Heartbeat::new(NodeName::new("a"), Generation(99), Sequence(1));
    let heard = Event::Heard {
        link: LinkName::new("eth0"),
        from: Some(other),
        heartbeat: Box::new(heartbeat),
    };
    let mut orders = engine.handle(world.now, heard);
    for tenth in 1..100 {
        let now = world.now + ms(100) * tenth;
        orders.extend(engine.handle(now, Event::DeadlineReached));
    }
    let asked = orders.into_iter().find_map(|order| match order {
        Action::WatchMachine { addresses, .. } => Some(addresses),
        _ => None,
    });
    assert_eq!(asked, Some(vec![own]));
}

#[test]
fn a_node_that_leaves_says_nothing_of_a_silent_machine() {
    let mut world = three();
    world.kill("a");
    world.run_for(secs(60));
    let engine = world.at("c").engine.clone().unwrap();
    let withheld = |event: Event| -> usize {
        let orders = engine.clone().handle(world.now + secs(2), event);
        let sent = orders.into_iter().filter_map(|order| match order {
            Action::Send(heartbeat) => Some(heartbeat.withheld.len()),
            _ => None,
        });
        sent.max().expect("a heartbeat")
    };
    assert_eq!(withheld(Event::DeadlineReached), 1);
    let command = Command::Leave;
    let asker = Asker::default();
    let leave = Event::Command {
        id: 1,
        command,
        asker,
    };
    assert_eq!(withheld(leave), 0);
}

#[test]
fn addresses_and_stateless_services_are_taken_over_as_before() {
    let mut world = World::new(&["a", "b", "c"]).with(|c| c.quorum = QuorumPolicy::Stop);
    world.kernel_leases = true;
    let mut world = world.group("db", "a", 0);
    world.start_all();
    settle_on(&mut world, "db", "a");
    world.run_for(secs(2));
    let killed = world.now;
    world.kill("a");
    settle_on(&mut world, "db", "b");
    let took = world.now.since(killed);
    assert!(took <= DEADTIME + ms(200), "{took:?}\n{}", story(&world));
    no_double(&world);
}

#[test]
fn a_node_that_has_nothing_holds_nothing_when_its_daemon_dies() {
    let mut world = three();
    world.kill("c");
    world.run_for(secs(20));
    let groups = vec![GroupName::new("db")];
    let id = world.command(
        "b",
        Command::Takeover {
            groups,
            force: false,
        },
    );
    until(&mut world, secs(60), |w| w.answer("b", id).is_some());
    assert_eq!(world.runs_on("db"), ["b"], "{}", story(&world));
    no_double(&world);
}

#[test]
fn a_node_that_left_holds_nothing() {
    let mut world = three();
    world.command("a", Command::Leave);
    settle_on(&mut world, "db", "b");
    world.run_for(secs(30));
    world.crash("b");
    // c alone has one vote of three; b comes back and finds nobody that could have it.
    world.start("b");
    settle_on_one_of(&mut world, "db", &["b", "c"]);
    no_double(&world);
}

/// Who asks the machine is not the only one that knows: one node cannot reach it, the other can.
#[test]
fn one_node_that_reaches_the_machine_holds_it_for_all() {
    let mut world = three();
    world.kill("a");
    world.cut_all_links("a", "b");
    assert_held(&mut world);
}

#[test]
fn nodes_that_start_again_still_know_what_a_silent_node_may_run() {
    for both in [false, true] {
        let mut world = three();
        world.kill("a");
        world.run_for(secs(30));
        world.crash("b");
        if both {
            world.crash("c");
        }
        for node in ["b", "c"] {
            if !world.at(node).alive() {
                world.start(node);
            }
        }
        world.run_for(secs(300));
        assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
        no_double(&world);
        force(&mut world, "c");
    }
}

#[test]
fn a_gap_in_our_own_time_is_no_silence_of_the_machine() {
    let mut world = three();
    world.kill("a");
    world.run_for(secs(30));
    for node in ["b", "c"] {
        world.suspend(node);
    }
    world.run_for(secs(60));
    for node in ["b", "c"] {
        world.thaw(node);
    }
    world.run_for(secs(120));
    assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
    no_double(&world);
}

#[test]
fn two_nodes_and_a_witness_hold_it_too() {
    let mut world = on_storage(World::new(&["a", "b", "w"]).witness("w"));
    world.kill("a");
    world.cut_all_links("a", "b");
    world.run_for(secs(300));
    assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
    let notes = world.status("b").unwrap().groups[0].notes.join("\n");
    assert!(notes.contains(HELD), "{notes}");
    world.crash("a");
    settle_on(&mut world, "db", "b");
    no_double(&world);
}

#[test]
fn two_nodes_without_quorum_hold_it_too() {
    let mut world = on_storage(World::new(&["a", "b"]));
    world.kill("a");
    world.run_for(secs(300));
    assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
    world.crash("a");
    settle_on(&mut world, "db", "b");
    no_double(&world);
}

/// The other node may have started it with the ping node alone, while this one was cut off.
#[test]
fn what_a_node_may_have_started_with_the_ping_node_alone_is_held() {
    let mut world = on_storage(World::new(&["a", "b"]).ping("gateway"));
    world.cut_all_links("a", "b");
    world.set_ping_visible("a", 0, false);
    settle_on(&mut world, "db", "b");
    world.kill("b");
    world.heal();
    world.set_ping_visible("a", 0, true);
    world.run_for(secs(300));
    assert_eq!(world.runs_on("db"), ["b"], "{}", story(&world));
    no_double(&world);
}

#[test]
fn the_promise_is_excused_only_where_the_dead_daemon_is_cut_off_too() {
    let setup = ClusterSetup::new(three().cluster);
    let script = |faults: &str| {
        let text =
            format!("{setup}for 120s\nat 0s start a\nat 0s start b\nat 0s start c\n{faults}");
        FaultScript::read(&text).unwrap()
    };
    for faults in ["at 5s kill a\n", "at 5s freeze a\n", "at 5s isolate a\n"] {
        let report = run(&script(faults));
        assert_eq!(report.not_promised, None, "{faults}");
        assert!(report.violations.is_empty(), "{faults} {report:?}");
    }
    let report = run(&script("at 5s kill a\nat 6s isolate a\n"));
    let why = report.not_promised.unwrap().to_string();
    assert!(why.contains("daemon that is killed"), "{why}");
    assert_eq!(report.doubles.len(), 1, "nobody can know\n{report:?}");
}
