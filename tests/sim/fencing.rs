//! Rules 35 to 38: a dead node is switched off before what it may run is started elsewhere.

use crate::*;
use had::engine::Command;
use had::model::cluster::QuorumPolicy;
use had::model::fencing::{Fencing, FencingState};
use had::model::heartbeat::GroupState;
use had::model::{GroupName, NodeName};
use had::sim::{Behaviour, PowerSwitch, World};

/// How much later the second node of a pair fires.
const DELAY: Duration = Duration::from_secs(5);

/// With a group on shared storage that waits for fencing.
fn with_fencing(world: World, reboot: bool) -> World {
    let mut world = world.group("db", "a", 1).with(|c| {
        let db = c.groups.last_mut().unwrap();
        let storage = &mut db.steps[1];
        (storage.shared_storage, storage.removal) = (true, secs(20));
        storage.stop = secs(20);
        c.fencing = Fencing {
            nodes: c.nodes.clone(),
            delay: DELAY,
            for_all: false,
            reboot,
        };
    });
    world.kernel_leases = true;
    world
}

fn fenced(world: World, reboot: bool) -> World {
    let mut world = with_fencing(world, reboot);
    world.start_all();
    settle_on(&mut world, "db", "a");
    world.run_for(secs(2));
    world
}

fn three(reboot: bool) -> World {
    fenced(
        World::new(&["a", "b", "c"]).with(|c| c.quorum = QuorumPolicy::Stop),
        reboot,
    )
}

/// Two nodes that count no votes.
fn pair(reboot: bool) -> World {
    fenced(World::new(&["a", "b"]), reboot)
}

fn state(world: &World, at: &str, of: &str) -> FencingState {
    let status = world.status(at).unwrap();
    let mut all = status.fencing.iter();
    all.find(|f| f.node.as_str() == of).unwrap().state
}

fn said(world: &World, node: &str, text: &str) -> bool {
    decisions(world, node).iter().any(|d| d.contains(text))
}

fn note(world: &World, at: &str, of: &str) -> String {
    let status = world.status(at).unwrap();
    let mut nodes = status.nodes.iter();
    nodes
        .find(|n| n.name.as_str() == of)
        .unwrap()
        .notes
        .join("\n")
}

fn stand_by(world: &mut World, node: &str) {
    let groups = vec![GroupName::new("db")];
    let lasting = true;
    world.command(node, Command::Standby { groups, lasting });
}

fn is_on(world: &World, node: &str) -> bool {
    world.at(node).powered
}

#[test]
fn a_frozen_owner_is_switched_off_and_its_group_starts_elsewhere() {
    let mut world = three(false);
    let frozen = world.now;
    world.freeze("a");
    settle_on(&mut world, "db", "b");
    let took = world.now.since(frozen);
    assert!(
        took < DEADTIME + secs(2),
        "nothing waits for a stop: {took:?}\n{}",
        story(&world)
    );
    assert!(!is_on(&world, "a"));
    assert_eq!(state(&world, "b", "a"), FencingState::Fenced);
    no_double(&world);
}

#[test]
fn a_fenced_machine_is_switched_on_again_and_comes_back() {
    let mut world = three(true);
    world.kill("a");
    settle_on(&mut world, "db", "b");
    until(&mut world, secs(30), |w| w.at("a").alive());
    world.run_for(secs(10));
    assert_eq!(
        state(&world, "b", "a"),
        FencingState::Idle,
        "{}",
        story(&world)
    );
    assert_eq!(world.runs_on("db"), ["b"]);
    no_double(&world);
}

/// As long as the device fails, the group waits, status says what to do, and a person's word goes on.
#[test]
fn a_power_switch_that_fails_is_tried_again_and_a_person_can_confirm() {
    let mut world = three(false);
    world.set_power_switch("a", PowerSwitch::Fails);
    world.kill("a");
    world.run_for(secs(300));
    assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
    let text = note(&world, "b", "a");
    assert!(text.contains("its power switch does not answer"), "{text}");
    assert!(text.contains("hactl fence confirm a --yes"), "{text}");
    let status = world.status("b").unwrap();
    assert!(status.fencing[0].failed > 4, "{:?}", status.fencing);
    let group = status.groups[0].notes.join("\n");
    assert!(group.contains("waits for fencing of a"), "{group}");
    let failures = decisions(&world, "b");
    let failures = failures
        .iter()
        .filter(|d| d.contains("fencing of a failed"));
    assert_eq!(failures.count(), 1, "the same failure is recorded once");
    // The device works again.
    world.set_power_switch("a", PowerSwitch::Takes(secs(3)));
    settle_on(&mut world, "db", "b");
    no_double(&world);
    // And by a person's word.
    let mut world = three(false);
    world.set_power_switch("a", PowerSwitch::Fails);
    world.crash("a");
    world.run_for(secs(60));
    assert!(world.runs_on("db").is_empty(), "{}", story(&world));
    let id = world.command("b", Command::ConfirmDead(NodeName::new("a")));
    until(&mut world, secs(1), |w| w.answer("b", id).is_some());
    settle_on(&mut world, "db", "b");
}

/// A lost answer proves nothing: it is switched off again.
#[test]
fn an_answer_that_is_lost_is_no_success() {
    let mut world = three(false);
    world.set_power_switch("a", PowerSwitch::Unanswered);
    world.freeze("a");
    world.run_for(secs(60));
    assert!(world.runs_on("db").is_empty(), "{}", story(&world));
    world.set_power_switch("a", PowerSwitch::Takes(secs(1)));
    settle_on(&mut world, "db", "b");
}

#[test]
fn the_owner_of_a_pair_fires_first() {
    let mut world = pair(false);
    world.cut_all_links("a", "b");
    world.run_for(secs(60));
    assert!(
        is_on(&world, "a") && !is_on(&world, "b"),
        "{}",
        story(&world)
    );
    assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
    no_double(&world);
}

/// What does not wait for fencing is taken over at once by both, so it does not count for who fires first.
#[test]
fn the_owner_fires_first_whatever_else_the_other_node_runs() {
    for other_groups in [1, 3] {
        let mut world = World::new(&["a", "b"]);
        for n in 0..other_groups {
            world = world.group(&format!("web{n}"), "a", 0);
        }
        let mut world = fenced(world, false);
        stand_by(&mut world, "a");
        settle_on(&mut world, "db", "b");
        // Otherwise a would not want it, and fence nobody.
        world.command("a", Command::Unstandby(vec![GroupName::new("db")]));
        world.cut_all_links("a", "b");
        world.run_for(secs(60));
        assert!(
            is_on(&world, "b") && !is_on(&world, "a"),
            "{}",
            story(&world)
        );
        assert_eq!(world.runs_on("db"), ["b"], "{}", story(&world));
    }
}

/// Two nodes that do not hear each other, while a witness hears both: the link is broken, and nobody is dead.
#[test]
fn a_node_that_another_one_hears_is_not_fenced() {
    let mut world = World::new(&["a", "b", "w"]).with(|c| c.quorum = QuorumPolicy::Stop);
    world.cut_all_links("a", "b");
    let mut world = with_fencing(world.witness("w"), false);
    world.start_all();
    world.run_for(secs(120));
    assert!(
        is_on(&world, "a") && is_on(&world, "b"),
        "{}",
        story(&world)
    );
    let text = note(&world, "a", "b");
    assert!(
        text.contains("is heard by w and not by this node"),
        "{text}"
    );
    // When it really dies, nobody hears it any more.
    world.kill("b");
    settle_on(&mut world, "db", "a");
    assert!(!is_on(&world, "b"));
    no_double(&world);
}

#[test]
fn the_other_node_of_a_pair_fires_after_fence_delay() {
    let mut world = pair(false);
    let killed = world.now;
    world.kill("a");
    settle_on(&mut world, "db", "b");
    let took = world.now.since(killed);
    assert!(took >= DEADTIME + DELAY, "{took:?}\n{}", story(&world));
    assert!(!is_on(&world, "a"));
    no_double(&world);
}

/// Otherwise each node that was fenced would fence the other as soon as it has booted.
#[test]
fn a_node_of_a_pair_that_boots_alone_fences_nobody() {
    let mut world = pair(true);
    world.cut_all_links("a", "b");
    until(&mut world, secs(60), |w| {
        said(w, "a", "the machine of b was switched on again")
    });
    world.run_for(secs(300));
    assert!(
        is_on(&world, "a") && is_on(&world, "b"),
        "{}",
        story(&world)
    );
    assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
    assert_eq!(state(&world, "b", "a"), FencingState::Held);
    let text = note(&world, "b", "a");
    assert!(
        text.contains("has had no answer from it since its own start"),
        "{text}"
    );
    // It asks, and once the machine of the other is really off, it goes on.
    world.crash("a");
    settle_on(&mut world, "db", "b");
    no_double(&world);
}

#[test]
fn a_node_that_left_is_not_fenced() {
    let mut world = three(false);
    world.command("a", Command::Leave);
    settle_on(&mut world, "db", "b");
    world.run_for(secs(30));
    assert!(is_on(&world, "a"));
    assert!(!said(&world, "b", "fencing a"), "{}", story(&world));
}

#[test]
fn a_dead_node_is_left_alone_while_nothing_waits_for_it() {
    let mut world = three(false);
    world.kill("c");
    world.run_for(secs(60));
    assert!(is_on(&world, "c"), "{}", story(&world));
    // The group moves: now something would start that c may have started too.
    stand_by(&mut world, "a");
    settle_on(&mut world, "db", "b");
    assert!(!is_on(&world, "c"), "{}", story(&world));
}

#[test]
fn a_side_without_quorum_fences_nobody() {
    let mut world = three(false);
    for other in ["b", "c"] {
        world.cut_all_links("a", other);
    }
    settle_on(&mut world, "db", "b");
    world.run_for(secs(60));
    assert!(!is_on(&world, "a") && is_on(&world, "b") && is_on(&world, "c"));
    assert!(!said(&world, "a", "fencing "), "{}", story(&world));
    no_double(&world);
}

/// Without its fence line nothing would wait for it any more.
#[test]
fn the_fence_line_of_a_node_that_must_be_fenced_is_not_removed() {
    let mut world = three(false);
    let reasons = |world: &World| {
        let mut cluster = world.cluster.clone();
        cluster.me = NodeName::new("b");
        cluster.fencing.nodes.retain(|n| n.as_str() != "a");
        let engine = world.at("b").engine.as_ref().unwrap();
        engine.judge_configuration(&cluster).join("\n")
    };
    assert_eq!(reasons(&world), "");
    world.set_power_switch("a", PowerSwitch::Fails);
    world.kill("a");
    world.run_for(secs(30));
    let said = reasons(&world);
    assert!(said.contains("a is dead and has no fence line"), "{said}");
    assert!(said.contains("hactl fence confirm a --yes"), "{said}");
}

/// What was switched off is another machine.
#[test]
fn a_fenced_node_that_is_heard_again_is_reported_and_not_believed_again() {
    let mut world = pair(false);
    world.set_power_switch("a", PowerSwitch::Wrong);
    world.freeze("a");
    let online = Some(GroupState::Online);
    until(&mut world, secs(30), |w| w.state("b", "db") == online);
    world.thaw("a");
    until(&mut world, secs(10), |w| {
        said(w, "b", "a was fenced and runs on")
    });
    let text = note(&world, "b", "a");
    assert!(
        text.contains("what was switched off is not its machine"),
        "{text}"
    );
    until(&mut world, secs(60), |w| w.runs_on("db") == ["b"]);
    // The group goes back to a, which dies again.
    stand_by(&mut world, "b");
    settle_on(&mut world, "db", "a");
    world.command("b", Command::Unstandby(vec![GroupName::new("db")]));
    world.run_for(secs(5));
    world.freeze("a");
    world.run_for(secs(120));
    assert_eq!(
        state(&world, "b", "a"),
        FencingState::Held,
        "{}",
        story(&world)
    );
    assert_eq!(world.runs_on("db"), ["a"]);
}

/// It may be another life by then, which was not switched off.
#[test]
fn a_success_does_not_count_for_a_node_that_was_heard_meanwhile() {
    let mut world = three(false);
    world.set_power_switch("a", PowerSwitch::Wrong);
    world.freeze("a");
    until(&mut world, secs(10), |w| {
        state(w, "b", "a") == FencingState::Runs
    });
    world.thaw_deaf("a");
    world.run_for(secs(10));
    assert!(!said(&world, "b", "a is fenced"), "{}", story(&world));
    no_double(&world);
}

/// The gateway lets both nodes of a pair act alone, so the one that was switched off must not count for the other.
#[test]
fn a_fenced_node_of_a_pair_gives_no_quorum() {
    let world = World::new(&["a", "b"]).ping("gw").group("web", "a", 0);
    let mut world = fenced(world.with(|c| c.relay = false), true);
    world.cut_all_links("a", "b");
    world.freeze("a");
    let online = Some(GroupState::Online);
    until(&mut world, secs(60), |w| w.state("b", "db") == online);
    until(&mut world, secs(60), |w| w.at("a").alive());
    world.set_ping_visible("b", 0, false);
    settle_on(&mut world, "web", "a");
    no_double(&world);
    // Now the other way round: its right lasts a while yet.
    world.set_ping_visible("a", 0, false);
    world.set_ping_visible("b", 0, true);
    settle_on(&mut world, "web", "b");
    no_double(&world);
}

/// It is fenced once for each time that it dies.
#[test]
fn fencing_ends_when_the_node_is_heard() {
    let mut world = three(true);
    world.kill("a");
    settle_on(&mut world, "db", "b");
    until(&mut world, secs(30), |w| w.at("a").alive());
    world.run_for(secs(5));
    stand_by(&mut world, "b");
    settle_on_one_of(&mut world, "db", &["a", "c"]);
    let owner = world.runs_on("db")[0].to_owned();
    world.command("b", Command::Unstandby(vec![GroupName::new("db")]));
    world.set_power_switch(&owner, PowerSwitch::Fails);
    world.run_for(secs(5));
    world.freeze(&owner);
    world.run_for(secs(60));
    assert_eq!(world.runs_on("db"), [owner.as_str()], "{}", story(&world));
    no_double(&world);
}

/// The node said goodbye to another one, and that one says so.
#[test]
fn a_goodbye_that_was_passed_on_counts() {
    let mut world = three(false);
    world.command("a", Command::Leave);
    settle_on(&mut world, "db", "b");
    world.command("b", Command::Leave);
    world.run_for(secs(10));
    world.start("b");
    settle_on_one_of(&mut world, "db", &["b", "c"]);
    let owner = world.runs_on("db")[0].to_owned();
    let other = if owner == "b" { "c" } else { "b" };
    stand_by(&mut world, &owner);
    settle_on(&mut world, "db", other);
    world.run_for(secs(30));
    assert!(is_on(&world, "a"), "{}", story(&world));
    for node in ["b", "c"] {
        assert!(!said(&world, node, "fencing a"), "{}", story(&world));
    }
}

/// While it stood still, the other may have taken it for dead.
#[test]
fn a_node_of_a_pair_that_stood_still_fences_nobody() {
    let mut world = pair(false);
    world.set_power_switch("a", PowerSwitch::Fails);
    world.freeze("a");
    world.run_for(secs(30));
    world.cut_all_links("a", "b");
    world.thaw_deaf("a");
    world.run_for(secs(120));
    assert!(is_on(&world, "b"), "{}", story(&world));
    no_double(&world);
}

/// A power switch that accepts the order and does nothing.
#[test]
fn a_machine_that_is_still_on_is_not_fenced() {
    let mut world = three(false);
    world.set_power_switch("a", PowerSwitch::Idle);
    world.freeze("a");
    world.run_for(secs(60));
    assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
    let text = note(&world, "b", "a");
    assert!(text.contains("its machine is still on"), "{text}");
    no_double(&world);
}

/// Also for a group that does not stand on shared storage.
#[test]
fn a_node_on_which_a_stop_failed_is_fenced_when_it_is_dead() {
    let mut world = three(false).with(|c| c.groups[0].steps[1].shared_storage = false);
    for node in ["a", "b", "c"] {
        let mut cluster = world.cluster.clone();
        cluster.me = NodeName::new(node);
        world.reload(node, cluster);
    }
    world.run_for(secs(5));
    world.on_stop("a", "db", 1, Behaviour::Fails("busy".to_owned()));
    stand_by(&mut world, "a");
    world.run_for(secs(10));
    assert_eq!(world.state("a", "db"), Some(GroupState::Stuck));
    world.kill("a");
    settle_on(&mut world, "db", "b");
    assert!(!is_on(&world, "a"), "{}", story(&world));
}

#[test]
fn an_administrator_fences_a_node_that_lives() {
    let mut world = three(true);
    let id = world.command("c", Command::Fence(NodeName::new("a")));
    until(&mut world, secs(10), |w| w.answer("c", id).is_some());
    assert_eq!(
        world.answer("c", id),
        Some(Ok("the machine of a was switched off".to_owned()))
    );
    until(&mut world, secs(10), |w| w.at("a").alive());
    settle_on_one_of(&mut world, "db", &["a", "b", "c"]);
    no_double(&world);
    for (node, why) in [("c", "c is this node"), ("d", "there is no node d")] {
        let id = world.command("c", Command::Fence(NodeName::new(node)));
        until(&mut world, secs(1), |w| w.answer("c", id).is_some());
        let text = world.answer("c", id).unwrap().unwrap_err();
        assert!(text.contains(why), "{text}");
    }
    world.set_power_switch("b", PowerSwitch::Fails);
    let id = world.command("c", Command::Fence(NodeName::new("b")));
    until(&mut world, secs(10), |w| w.answer("c", id).is_some());
    let text = world.answer("c", id).unwrap().unwrap_err();
    assert!(text.contains("its power switch does not answer"), "{text}");
}

/// A machine that was switched off does not count as a vote: it may come back, and be heard elsewhere.
#[test]
fn a_fenced_node_gives_no_quorum() {
    let mut world = three(true);
    world.kill("a");
    settle_on(&mut world, "db", "b");
    until(&mut world, secs(30), |w| w.at("a").alive());
    world.run_for(secs(5));
    for other in ["a", "c"] {
        world.cut_all_links("b", other);
    }
    world.run_for(secs(120));
    no_double(&world);
    let elsewhere = world.runs_on("db");
    assert!(
        elsewhere == ["a"] || elsewhere == ["c"],
        "{}",
        story(&world)
    );
}

/// A stop that failed on the dead node counts as done once its machine is off.
#[test]
fn a_failed_stop_ends_with_the_power_of_its_machine() {
    let mut world = three(false);
    world.on_stop("a", "db", 1, Behaviour::Fails("busy".to_owned()));
    stand_by(&mut world, "a");
    world.run_for(secs(10));
    assert_eq!(world.state("a", "db"), Some(GroupState::Stuck));
    world.kill("a");
    settle_on(&mut world, "db", "b");
    assert!(!is_on(&world, "a"));
    no_double(&world);
}
