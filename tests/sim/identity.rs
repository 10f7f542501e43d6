//! Rule 30: two machines with one name. The world calls the second machine of alice `alice'`.

use crate::*;
use had::model::status::Liveness;
use had::sim::{CloneKind, ClusterSetup, FaultKind, FaultProfile, World, generate, run};

/// Three nodes; alice runs the group.
fn trio() -> World {
    let mut world = World::new(&["alice", "bob", "carol"])
        .group("db", "alice", 0)
        .with(|c| c.quorum = had::model::cluster::QuorumPolicy::Stop);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(1));
    world
}

fn pair_and_witness() -> World {
    let mut world = World::new(&["alice", "bob", "witness"])
        .group("db", "alice", 0)
        .witness("witness");
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(1));
    world
}

fn says(world: &World, node: &str, text: &str) -> usize {
    let decisions = decisions(world, node);
    decisions.iter().filter(|d| d.contains(text)).count()
}

/// Every node says it in its status, and has recorded it once.
fn known_everywhere(world: &World, nodes: &[&str]) {
    for node in nodes {
        let status = world.status(node).unwrap();
        let notes: Vec<_> = status.nodes.iter().flat_map(|n| &n.notes).collect();
        let said = notes
            .iter()
            .any(|n| n.contains("two machines call themselves alice: "));
        assert!(said, "{node}: {notes:?}\n{}", story(world));
        let recorded = says(world, node, "two machines call themselves alice");
        assert_eq!(recorded, 1, "{node}\n{}", story(world));
    }
}

/// The numbers that each machine has taken, of which every one costs a write to the disk.
fn generations(world: &World) -> Vec<u64> {
    let machines = world.names();
    machines
        .map(|n| world.at(n.as_str()).kept.generation.0)
        .collect()
}

#[test]
fn a_clone_of_the_owner_stays_out() {
    for kind in [CloneKind::Disk, CloneKind::Configuration] {
        for mut world in [trio(), pair_and_witness(), pair_with_gateway(0), pair(0)] {
            let others: Vec<String> = world.names().map(|n| n.to_string()).collect();
            world.clone_machine("alice", kind);
            let generations_before = generations(&world);
            world.run_for(secs(1));
            let records =
                |w: &World| -> usize { w.names().map(|n| decisions(w, n.as_str()).len()).sum() };
            let before = records(&world);
            world.run_for(secs(20));
            assert_eq!(world.runs_on("db"), ["alice"], "{}", story(&world));
            no_double(&world);
            let names: Vec<&str> = others.iter().map(String::as_str).collect();
            known_everywhere(&world, &names);
            known_everywhere(&world, &["alice'"]);
            assert!(records(&world) < before + 10, "{}", story(&world));
            assert_eq!(generations(&world), generations_before, "{}", story(&world));
            let waits = world.status("alice'").unwrap().waiting.unwrap();
            assert!(
                waits.contains("another machine") || waits.contains("the other machine"),
                "{waits}"
            );
        }
    }
}

#[test]
fn a_clone_that_boots_with_the_cluster_is_told_apart_as_well() {
    for kind in [CloneKind::Disk, CloneKind::Configuration] {
        let mut world = World::new(&["alice", "bob", "carol"])
            .group("db", "alice", 0)
            .with(|c| c.quorum = had::model::cluster::QuorumPolicy::Stop);
        world.start("alice");
        world.clone_machine("alice", kind);
        world.start("carol");
        world.start("bob");
        world.run_for(secs(20));
        assert_eq!(world.runs_on("db").len(), 1, "{}", story(&world));
        no_double(&world);
        known_everywhere(&world, &["alice", "bob", "carol", "alice'"]);
    }
}

#[test]
fn it_takes_part_when_the_first_is_gone() {
    let mut world = trio();
    world.clone_machine("alice", CloneKind::Configuration);
    world.run_for(secs(5));
    world.crash("alice");
    settle_on(&mut world, "db", "bob");
    world.run_for(secs(5));
    until(&mut world, secs(30), |w| {
        w.runs_on("db") == ["alice'"]
            || w.status("bob").unwrap().nodes[0].liveness == Liveness::Active
    });
    world.run_for(secs(5));
    no_double(&world);
    assert_eq!(
        says(&world, "bob", "only one machine calls itself alice"),
        1,
        "{}",
        story(&world)
    );
}

fn shared_name(world: &World, node: &str) -> String {
    let status = world.status(node).unwrap();
    let mut notes = status.nodes.iter().flat_map(|n| &n.notes);
    let note = notes.find(|n| n.contains("two machines call themselves alice"));
    note.map(|n| n.text.clone()).unwrap_or_default()
}

#[test]
fn status_names_the_machine_that_stays_out_now() {
    let mut world = trio();
    world.clone_machine("alice", CloneKind::Configuration);
    world.run_for(secs(5));
    let first = shared_name(&world, "bob");
    assert!(first.contains("10.0.0.101 stays out"), "{first}");
    world.crash("alice");
    let takes_part = |w: &mut World| w.status("alice'").unwrap().waiting.is_none();
    until(&mut world, secs(10), takes_part);
    world.start("alice");
    world.run_for(secs(2));
    for node in ["bob", "carol"] {
        let then = shared_name(&world, node);
        assert!(
            then.contains("10.0.0.1 stays out"),
            "{then}\n{}",
            story(&world)
        );
    }
}

#[test]
fn a_machine_that_stays_out_sets_no_maintenance() {
    let mut world = trio();
    world.clone_machine("alice", CloneKind::Configuration);
    world.run_for(secs(5));
    let maintenance = Command::Maintenance {
        groups: vec![GroupName::new("db")],
        on: true,
    };
    let id = world.command("alice'", maintenance);
    let answer = world.answer("alice'", id).unwrap().unwrap_err();
    assert!(answer.contains("do not listen to this one"), "{answer}");
}

/// Both were alone, and took part, before they heard of each other.
#[test]
fn of_two_that_take_part_the_later_start_gives_way() {
    let mut world = trio();
    let names = ["alice", "bob", "carol"];
    world.clone_machine("alice", CloneKind::Disk);
    for name in names {
        world.cut_all_links("alice'", name);
    }
    world.run_for(secs(30));
    world.heal();
    world.run_for(secs(10));
    assert_eq!(world.runs_on("db"), ["alice"], "{}", story(&world));
    no_double(&world);
    known_everywhere(&world, &names);
}

/// A copy of a running machine has its instance, and runs what it runs until it hears of heartbeats that it did not send.
#[test]
fn a_copy_of_the_memory_stops_what_it_runs() {
    for mut world in [trio(), pair_and_witness()] {
        world.clone_machine("alice", CloneKind::Memory);
        until(&mut world, secs(2), |w| w.runs_on("db").len() == 1);
        world.run_for(secs(20));
        assert_eq!(world.runs_on("db").len(), 1, "{}", story(&world));
        let gave_way =
            ["alice", "alice'"].map(|n| says(&world, n, "stays out of the cluster and stops"));
        assert_eq!(gave_way.iter().sum::<usize>(), 1, "{}", story(&world));
    }
}

/// A daemon that was killed is followed by the next one at once: its machine knows that it is over.
#[test]
fn a_restart_is_no_second_machine() {
    let mut world = trio();
    world.kill("alice");
    world.run_for(ms(500));
    world.start("alice");
    world.run_for(ms(500));
    assert_eq!(world.runs_on("db"), ["alice"], "{}", story(&world));
    assert_eq!(
        world.state("alice", "db"),
        Some(had::model::heartbeat::GroupState::Online)
    );
    world.run_for(secs(10));
    for node in ["alice", "bob", "carol"] {
        assert_eq!(says(&world, node, "two machines"), 0, "{}", story(&world));
    }
}

/// A machine that boots faster than deadtime waits until its former life counts as dead, and a lost store is replaced.
#[test]
fn a_reboot_with_a_lost_store_comes_back() {
    let mut world = trio();
    world.crash("alice");
    world.lose_store("alice");
    world.run_for(ms(300));
    world.start("alice");
    world.run_for(secs(15));
    assert_eq!(world.runs_on("db").len(), 1, "{}", story(&world));
    no_double(&world);
    for node in ["bob", "carol"] {
        let alice = world.status(node).unwrap().nodes.remove(0);
        assert_eq!(alice.liveness, Liveness::Active, "{}", story(&world));
        assert_eq!(says(&world, node, "two machines"), 0, "{}", story(&world));
    }
    assert_eq!(
        says(&world, "alice", "takes part in the cluster"),
        2,
        "{}",
        story(&world)
    );
}

/// Whoever recorded heartbeats of a former life can send them again without the key.
#[test]
fn recorded_heartbeats_of_a_former_life_prove_nothing() {
    let mut world = trio();
    world.machine("bob").records_inputs = true;
    world.machine("carol").records_inputs = true;
    for name in ["bob", "carol"] {
        world.kill(name);
        world.start(name);
    }
    world.run_for(secs(5));
    let recorded: Vec<_> = ["bob", "carol"]
        .map(|n| {
            let inputs = world.at(n).recording.clone().unwrap().inputs;
            let heard = inputs.into_iter().filter_map(|(_, event, _)| match event {
                had::engine::Event::Heard { heartbeat, .. } => Some(*heartbeat),
                _ => None,
            });
            heard
                .filter(|h| h.src.as_str() == "alice")
                .collect::<Vec<_>>()
        })
        .into();
    world.crash("alice");
    world.run_for(secs(10));
    world.start("alice");
    world.run_for(secs(10));
    let before = generations(&world);
    for (to_bob, to_carol) in recorded[0].iter().zip(&recorded[1]) {
        world.forge("bob", 0, to_bob.clone());
        world.forge("carol", 0, to_carol.clone());
        world.forge("alice", 0, to_bob.clone());
        world.run_for(ms(20));
    }
    world.run_for(secs(5));
    no_double(&world);
    assert_eq!(generations(&world), before);
    for node in ["alice", "bob", "carol"] {
        assert_eq!(says(&world, node, "two machines"), 0, "{}", story(&world));
        assert_eq!(says(&world, node, "stays out"), 0, "{}", story(&world));
    }
}

/// Random faults beside a second machine: it never runs anything while the first does.
#[test]
fn random_faults_beside_a_clone() {
    let runs = std::env::var("HAD_CLONE_RUNS").map_or(40, |n| n.parse().unwrap());
    let all_heard = [
        FaultKind::Clones,
        FaultKind::Crash,
        FaultKind::LostStore,
        FaultKind::Commands,
        FaultKind::Leave,
    ];
    let unheard = [
        FaultKind::Cuts,
        FaultKind::Isolation,
        FaultKind::Blocks,
        FaultKind::Weather,
        FaultKind::Kill,
    ];
    let both = FaultProfile::from_kinds(&[all_heard, unheard].concat());
    let all_heard = FaultProfile::from_kinds(&all_heard);
    for (name, world, kinds) in [
        ("trio", trio(), &all_heard),
        ("witness", pair_and_witness(), &all_heard),
        ("gateway", pair_with_gateway(0), &all_heard),
        ("pair", pair(0), &all_heard),
        ("parted", trio(), &both),
    ] {
        for seed in 0..runs {
            let script = generate(ClusterSetup::new(world.cluster.clone()), kinds, seed);
            let report = run(&script);
            let promised = report.not_promised.is_none();
            assert!(
                promised || name == "parted",
                "{name} {seed}: {:?}",
                report.not_promised
            );
            assert!(
                report.violations.is_empty(),
                "{name} {seed}: {:?}\n{script}",
                report.violations
            );
        }
    }
}
