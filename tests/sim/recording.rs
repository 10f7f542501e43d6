//! A replay of recorded inputs gives the same decisions; with other settings, other decisions.

use crate::*;
use had::engine::ActionDigest;
use had::engine::{Action, Command, Engine, Event};
use had::model::cluster::{Cluster, QuorumPolicy};
use had::model::decision::What;
use had::model::health::{CheckPolicy, Health, Policy};
use had::model::{GroupName, NodeName, Time};
use had::replay::player::{ReplayEvent, ReplayMoment, ReplayPlayer};
use had::replay::recording_format::{
    RECORDING_FORMAT, RecordedInput, RecordingDecoder, RecordingEncoder, RecordingItem,
    RecordingStart, StartState,
};
use had::replay::what_if::{Branch, WhatIf};
use had::sim::{Behaviour, ClusterSetup, FaultKind, FaultProfile, MachineRecording, generate};

fn recording_start(
    recording: &MachineRecording,
    at: Time,
    next: u64,
    digest: ActionDigest,
    state: StartState,
) -> RecordingStart {
    RecordingStart {
        format: RECORDING_FORMAT,
        had: env!("CARGO_PKG_VERSION").to_owned(),
        node: recording.cluster.me.clone(),
        life: recording.began,
        next,
        at,
        wall_ms: 0,
        digest,
        state,
    }
}

/// The lines that the daemon would have written; a new file starts after `each` events.
fn lines(recording: &MachineRecording, turn: usize) -> Vec<String> {
    let mut encoder = RecordingEncoder::default();
    let mut digest = ActionDigest::default();
    let start = Box::new((recording.cluster.clone(), recording.kept.clone()));
    let fresh = recording_start(
        recording,
        recording.began,
        0,
        digest,
        StartState::Fresh(start),
    );
    let mut lines = vec![encoder.start_line(&fresh).unwrap()];
    let (mut engine, first) = Engine::new(
        recording.cluster.clone(),
        recording.kept.clone(),
        recording.began,
    );
    digest.add(&first);
    for (n, (at, event, more)) in recording.inputs.iter().enumerate() {
        let (at, more) = (*at, *more);
        if n > 0 && n % turn == 0 {
            let state = StartState::Running(Box::new(engine.clone()));
            let begin = recording_start(recording, at, n as u64, digest, state);
            lines.push(encoder.start_line(&begin).unwrap());
        }
        let input = RecordedInput {
            at,
            event: event.clone(),
            more,
            digest: Some(digest),
        };
        lines.push(encoder.input_line(input).unwrap());
        if more {
            engine.take(at, event.clone());
        } else {
            digest.add(&engine.handle(at, event.clone()));
        }
    }
    let text = |line| String::from_utf8(line).unwrap().trim_end().to_owned();
    lines.into_iter().map(text).collect()
}

fn items(lines: &[String]) -> Vec<RecordingItem> {
    let mut decoder = RecordingDecoder::default();
    let item = |line: &String| decoder.line(line).map(Result::unwrap);
    lines.iter().filter_map(item).collect()
}

fn replayed(items: &[RecordingItem]) -> Vec<ReplayMoment> {
    let mut player = ReplayPlayer::default();
    let play = |item: &RecordingItem| player.play(item.clone());
    items.iter().flat_map(play).collect()
}

fn decided(moments: &[ReplayMoment]) -> Vec<Decision> {
    let decision = |moment: &ReplayMoment| match &moment.1 {
        ReplayEvent::Ordered(Action::Record(decision)) => Some(decision.clone()),
        _ => None,
    };
    moments.iter().filter_map(decision).collect()
}

/// The replay has exactly the decisions of the machine.
fn assert_true(world: &World, node: &str, turn: usize) -> Vec<RecordingItem> {
    let machine = world.at(node);
    let items = items(&lines(machine.recording.as_ref().unwrap(), turn));
    let moments = replayed(&items);
    let odd = |m: &&ReplayMoment| {
        !matches!(
            m.1,
            ReplayEvent::Input(_) | ReplayEvent::Ordered(_) | ReplayEvent::Began { .. }
        )
    };
    assert_eq!(moments.iter().find(odd), None);
    let did: Vec<Decision> = machine.decisions.iter().map(|(_, d)| d.clone()).collect();
    let replayed = decided(&moments);
    assert!(!replayed.is_empty());
    assert!(did.ends_with(&replayed), "{replayed:#?}\n{}", story(world));
    items
}

fn what_if(items: &[RecordingItem], change: impl Fn(&mut Cluster)) -> Vec<(Branch, ReplayMoment)> {
    let change = |cluster: &Cluster| {
        let mut cluster = cluster.clone();
        change(&mut cluster);
        Ok(cluster)
    };
    let mut what_if = WhatIf::new(items.iter().cloned(), change);
    let mut all = Vec::new();
    for item in items {
        all.extend(what_if.play(item.clone()).unwrap());
    }
    all
}

/// The difference, for the message of a failed test.
fn after_parting(all: &[(Branch, ReplayMoment)]) -> String {
    let parts = all
        .iter()
        .position(|(_, (_, seen))| *seen == ReplayEvent::Parts);
    let told = |(which, (at, seen)): &(Branch, ReplayMoment)| {
        let small = matches!(
            seen,
            ReplayEvent::Input(
                Event::DeadlineReached | Event::Heard { .. } | Event::AddressSilent { .. }
            ) | ReplayEvent::Supposed(Event::AddressSilent { .. })
                | ReplayEvent::Ordered(Action::Send(_) | Action::Renew { .. } | Action::Ping)
        );
        (!small).then(|| format!("{:?} {which:?} {seen:?}", at.since(Time(1_000_000_000_000))))
    };
    let from = parts.map_or(0, |p| p.saturating_sub(30));
    let lines: Vec<String> = all[from..].iter().filter_map(told).take(60).collect();
    lines.join("\n")
}

/// When this was decided by an engine after the two diverged.
fn when(all: &[(Branch, ReplayMoment)], world: Branch, is: impl Fn(&What) -> bool) -> Option<Time> {
    all.iter().find_map(|(which, (at, seen))| match seen {
        ReplayEvent::Ordered(Action::Record(d)) if *which == world && is(&d.what) => Some(*at),
        _ => None,
    })
}

/// Two nodes; the inputs of bob's engine are recorded, and alice has the group.
fn taped(names: &[&str]) -> World {
    let mut world = World::new(names).group("db", names[0], 1);
    for name in names {
        world.machine(name).records_inputs = true;
    }
    world.start_all();
    settle_on(&mut world, "db", names[0]);
    world.run_for(secs(1));
    world
}

#[test]
fn a_replay_decides_what_was_decided() {
    let mut world = taped(&["alice", "bob"]);
    let takeover = Command::Takeover {
        groups: vec![GroupName::new("db")],
        force: false,
    };
    world.command("bob", takeover);
    settle_on(&mut world, "db", "bob");
    world.crash("alice");
    world.run_for(secs(10));
    world.start("alice");
    world.run_for(secs(10));
    for turn in [usize::MAX, 100, 7] {
        assert_true(&world, "bob", turn);
        assert_true(&world, "alice", turn);
    }
}

/// Everything is monitored, and a check concerns every node.
fn watch_all(cluster: &mut Cluster) {
    for step in cluster.groups.iter_mut().flat_map(|g| &mut g.steps) {
        step.policy = Some(Policy {
            fall: 2,
            rise: 1,
            restart: 1,
            within: secs(30),
        });
    }
    let web = CheckPolicy {
        name: "web".to_owned(),
        fall: 1,
        rise: 2,
        stays: false,
        group: None,
    };
    cluster.health = Health {
        checks: vec![web],
        failback_when: true,
    };
}

#[test]
fn whatever_happens_a_replay_decides_the_same_and_unchanged_settings_change_nothing() {
    let faults = FaultProfile {
        kinds: FaultKind::ALL.iter().copied().collect(),
        slow_stops: Some(secs(3)),
        quiet: None,
    };
    for seed in 0..12 {
        let mut cluster = World::new(&["a", "b", "c"])
            .links(2)
            .group("db", "a", 1)
            .group("web", "b", 0)
            .ping("gw")
            .cluster;
        watch_all(&mut cluster);
        let script = generate(ClusterSetup::new(cluster), &faults, seed);
        let mut world = script.setup.world();
        for name in ["a", "b", "c"] {
            world.machine(name).records_inputs = true;
        }
        for (at, fault) in script.steps.iter().take_while(|(at, _)| *at < secs(60)) {
            let rest = (World::BEGIN + *at).since(world.now);
            world.run_for(rest);
            world.apply(fault);
        }
        world.run_for(secs(5));
        for name in ["a", "b", "c"] {
            let items = assert_true(&world, name, 1000);
            let same = what_if(&items, |_| {});
            let parts = same
                .iter()
                .find(|(_, (_, seen))| *seen == ReplayEvent::Parts);
            assert_eq!(parts, None, "seed {seed}, {name}\n{}", after_parting(&same));
        }
    }
}

#[test]
fn what_was_told_otherwise_is_found_out() {
    let mut world = taped(&["alice", "bob"]);
    world.crash("alice");
    world.run_for(secs(5));
    let lines = lines(world.at("bob").recording.as_ref().unwrap(), usize::MAX);
    let heard = |line: &&String| line.contains("\"state\":\"online\"") && line.contains("\"src\"");
    let line = lines.iter().find(heard).unwrap();
    let forged: Vec<String> = lines
        .iter()
        .map(|l| {
            if l == line {
                l.replace("online", "offline")
            } else {
                l.clone()
            }
        })
        .collect();
    let differs = |lines: &[String]| {
        let moments = replayed(&items(lines));
        moments
            .iter()
            .filter(|m| m.1 == ReplayEvent::Differs)
            .count()
    };
    assert_eq!(differs(&lines), 0);
    assert_eq!(differs(&forged), 1, "told once");
}

#[test]
fn what_is_missing_is_counted_and_the_replay_goes_on_from_the_next_state() {
    let mut world = taped(&["alice", "bob"]);
    world.crash("alice");
    world.run_for(secs(5));
    let mut lines = lines(world.at("bob").recording.as_ref().unwrap(), 20);
    let second = (1..lines.len()).find(|n| lines[*n].contains("had recording"));
    let second = second.unwrap();
    lines.drain(second - 3..second);
    let moments = replayed(&items(&lines));
    let missing = moments
        .iter()
        .filter(|m| matches!(m.1, ReplayEvent::Missing(_)));
    let missing: Vec<_> = missing.map(|m| m.1.clone()).collect();
    assert_eq!(missing, [ReplayEvent::Missing(Some(3))]);
    assert!(!moments.iter().any(|m| m.1 == ReplayEvent::Differs));
    let dead = |d: &Decision| d.what == What::PeerDead(NodeName::new("alice"));
    assert!(decided(&moments).iter().any(dead));
    // Without the first file nothing before it is known.
    let moments = replayed(&items(&lines[second - 3..]));
    assert_eq!(moments[0].1, ReplayEvent::Missing(None));
    let decided = decided(&moments);
    assert!(decided.iter().any(dead), "{decided:?} of {}", moments.len());
}

#[test]
fn another_deadtime_takes_over_at_another_time() {
    let mut world = taped(&["alice", "bob"]);
    let crashed = world.now;
    world.crash("alice");
    world.run_for(secs(20));
    let items = assert_true(&world, "bob", 1000);
    let online = |w: &What| *w == What::Online;
    for (deadtime, least, most) in [(6000, 5700, 6100), (1000, 700, 1100)] {
        let all = what_if(&items, |c| {
            c.timing.warntime = ms(500);
            c.timing.deadtime = ms(deadtime);
            c.timing.initdead = ms(7000);
        });
        let would = when(&all, Branch::Hypothetical, online);
        let would = would.unwrap_or_else(|| panic!("{}", after_parting(&all)));
        let would = would.since(crashed);
        let told = || after_parting(&all);
        assert!(
            would > ms(least) && would < ms(most),
            "{would:?}\n{}",
            told()
        );
        let was = when(&all, Branch::Recorded, online).unwrap().since(crashed);
        assert!(was > ms(1700) && was < ms(2100), "{was:?}");
        let parts = all
            .iter()
            .filter(|(_, (_, seen))| *seen == ReplayEvent::Parts);
        assert_eq!(parts.count(), 1);
    }
}

#[test]
fn a_longer_deadtime_would_have_sat_out_a_short_silence() {
    let mut world = taped(&["alice", "bob"]);
    world.block_heartbeats("alice", "bob");
    world.run_for(secs(4));
    world.heal();
    world.run_for(secs(5));
    let items = assert_true(&world, "bob", 1000);
    let dead = |w: &What| *w == What::PeerDead(NodeName::new("alice"));
    assert!(decided(&replayed(&items)).iter().any(|d| dead(&d.what)));
    let all = what_if(&items, |c| {
        c.timing.deadtime = secs(6);
        c.timing.initdead = secs(6);
    });
    assert!(when(&all, Branch::Recorded, dead).is_some());
    assert_eq!(when(&all, Branch::Hypothetical, dead), None);
    assert_eq!(
        when(&all, Branch::Hypothetical, |w| matches!(w, What::Claim(_))),
        None
    );
}

/// The survivor must understand the acknowledgements of the third node, although it would have sent other heartbeats.
#[test]
fn with_three_nodes_acknowledgements_are_those_of_what_would_have_been_sent() {
    let mut world = World::new(&["a", "b", "c"])
        .group("db", "a", 1)
        .with(|c| c.quorum = QuorumPolicy::Stop);
    world.machine("b").records_inputs = true;
    world.start_all();
    settle_on(&mut world, "db", "a");
    world.run_for(secs(1));
    let crashed = world.now;
    world.crash("a");
    world.run_for(secs(20));
    assert_eq!(world.runs_on("db"), ["b"]);
    let items = assert_true(&world, "b", 1000);
    let all = what_if(&items, |c| {
        c.timing.keepalive = ms(130);
        c.timing.deadtime = secs(5);
        c.timing.initdead = secs(6);
    });
    let online = |w: &What| *w == What::Online;
    let would = when(&all, Branch::Hypothetical, online);
    let would = would.unwrap_or_else(|| panic!("{}", after_parting(&all)));
    let would = would.since(crashed);
    assert!(would > ms(4700) && would < ms(5500), "{would:?}");
    let odd = |w: &What| matches!(w, What::NewGeneration(_) | What::PeerDeaf(_) | What::Gap(_));
    assert_eq!(when(&all, Branch::Hypothetical, odd), None);
}

#[test]
fn orders_end_as_they_did_and_what_was_never_ordered_is_supposed_to_succeed() {
    let mut world = taped(&["alice", "bob"]);
    let fails = Behaviour::Fails("no such disk".to_owned());
    world.on_start("bob", "db", 1, fails);
    world.crash("alice");
    world.run_for(secs(10));
    let items = assert_true(&world, "bob", 1000);
    let failed = |w: &What| *w == What::Failed;
    let all = what_if(&items, |c| c.timing.deadtime = secs(3));
    let would = when(&all, Branch::Hypothetical, failed);
    assert!(would.is_some(), "{}", after_parting(&all));
    assert!(when(&all, Branch::Recorded, failed).is_some());

    // In the recording alice was back before bob's deadtime.
    let mut world = taped(&["alice", "bob"]);
    world.cut_all_links("alice", "bob");
    world.run_for(ms(1500));
    world.heal();
    world.run_for(secs(2));
    let items = assert_true(&world, "bob", 1000);
    let all = what_if(&items, |c| {
        c.timing.deadtime = ms(900);
        c.timing.margin = ms(200);
    });
    let supposed = |seen: &ReplayEvent| matches!(seen, ReplayEvent::Supposed(Event::Done { .. }));
    let any = all.iter().any(|(_, (_, seen))| supposed(seen));
    assert!(any, "{}", after_parting(&all));
    assert!(when(&all, Branch::Hypothetical, |w| *w == What::Online).is_some());
}
