//! More groups than fit into one heartbeat: each part reports only its own groups.

use crate::*;
use had::engine::{Action, Event};
use had::model::cluster::QuorumPolicy;
use had::model::heartbeat::{GroupReport, GroupState, Heard, Heartbeat, Recognition};
use had::model::{Generation, LinkName, NodeName, Sequence, Term};
use had::sim::{Behaviour, World};

#[test]
fn a_part_confirms_only_the_groups_that_it_names() {
    let names: Vec<String> = (0..13).map(|i| format!("g{i}")).collect();
    let mut world = World::new(&["a", "b"]).with(|c| c.quorum = QuorumPolicy::Stop);
    for name in &names {
        world = world.group(name, "a", 0);
    }
    world.start_all();
    settle_on(&mut world, "g12", "a");
    world.run_for(secs(2));
    let status = world.status("a").unwrap();
    let group = &status.groups[12];
    let (me, peer) = (NodeName::new("a"), NodeName::new("b"));
    let report = GroupReport {
        group: group.name.clone(),
        state: GroupState::Offline,
        term: group.term,
        can: true,
        offer: None,
        to: Some(Recognition {
            node: me.clone(),
            generation: status.generation,
            term: group.term,
            held: true,
        }),
    };
    let withheld = GroupReport {
        group: status.groups[11].name.clone(),
        term: status.groups[11].term,
        to: None,
        ..report.clone()
    };
    // From now on only the second part of each heartbeat of b arrives: it recognises us for the last group alone.
    let mut engine = world.machine("a").engine.take().unwrap();
    let (mut said, end) = (Vec::new(), world.now + DEADTIME);
    let mut number = 1_000_000;
    loop {
        let now = engine.next_deadline();
        if now > end {
            break;
        }
        for action in engine.handle(now, Event::DeadlineReached) {
            match action {
                Action::Record(decision) => said.push(decision.to_string()),
                Action::Send(sent) => {
                    number += 1;
                    let heartbeat = Heartbeat {
                        deadtime: DEADTIME,
                        heard: vec![Heard {
                            instance: None,
                            node: me.clone(),
                            generation: sent.generation,
                            sequence: sent.sequence,
                            loss: 0,
                            links: Vec::new(),
                        }],
                        groups: vec![withheld.clone(), report.clone()],
                        digest: 1,
                        ..Heartbeat::new(peer.clone(), Generation(1), Sequence(number))
                    };
                    let heard = Event::Heard {
                        from: None,
                        link: LinkName::new("eth0"),
                        heartbeat: Box::new(heartbeat),
                    };
                    drop(engine.handle(now, heard));
                }
                _ => {}
            }
        }
    }
    let stopped = |group: &str| {
        said.iter()
            .any(|d| d.starts_with(&format!("{group}: stopping here")))
    };
    assert!(stopped("g0"), "{said:?}");
    assert!(stopped("g11"), "named, but not recognised: {said:?}");
    assert!(!stopped("g12"), "{said:?}");
}

/// Heartbeats that came to a node while so much time passed and that report a group.
fn heard_while(world: &mut World, node: &str, group: &str, time: std::time::Duration) -> usize {
    let heard = |world: &World| {
        let recording = world.at(node).recording.as_ref().unwrap();
        let reports = |event: &Event| match event {
            Event::Heard { heartbeat, .. } => {
                heartbeat.groups.iter().any(|r| r.group.as_str() == group)
            }
            _ => false,
        };
        let inputs = recording.inputs.iter();
        inputs.filter(|(_, event, _)| reports(event)).count()
    };
    let before = heard(world);
    world.run_for(time);
    heard(world) - before
}

/// Two nodes with so many groups, which all run on the first.
fn pair_with_groups(count: usize) -> World {
    let mut world = World::new(&["a", "b"]);
    let names: Vec<String> = (0..count).map(|i| format!("g{i}")).collect();
    for name in &names {
        world = world.group(name, "a", 0);
    }
    world.machine("b").records_inputs = true;
    world.start_all();
    for name in &names {
        settle_on(&mut world, name, "a");
    }
    world.run_for(secs(3));
    world
}

#[test]
fn when_one_group_of_many_moves_only_its_part_is_sent_more_often() {
    let mut world = pair_with_groups(60);
    for name in ["g7", "g8"] {
        let step = (had::model::GroupName::new(name), 0);
        let slow = Behaviour::Works(secs(1));
        world.machine("a").stop_behaviour.insert(step, slow);
    }
    let quiet = heard_while(&mut world, "b", "g50", secs(2));
    let groups = vec![had::model::GroupName::new("g7")];
    let lasting = true;
    world.command("a", had::engine::Command::Standby { groups, lasting });
    let of_others = heard_while(&mut world, "b", "g50", secs(2));
    let groups = vec![had::model::GroupName::new("g8")];
    world.command("a", had::engine::Command::Standby { groups, lasting });
    let of_itself = heard_while(&mut world, "b", "g8", secs(2));
    assert_eq!([world.runs_on("g7"), world.runs_on("g8")], [["b"], ["b"]]);
    assert!(of_itself > quiet, "{of_itself} datagrams, {quiet} before");
    assert!(of_others <= quiet + 1, "{of_others}, {quiet} before");
}

#[test]
fn each_claim_is_answered_with_the_part_that_names_its_group() {
    let mut world = pair_with_groups(30);
    let status = world.status("a").unwrap();
    let group = status
        .groups
        .iter()
        .find(|g| g.name.as_str() == "g20")
        .unwrap();
    let mut engine = world.machine("a").engine.take().unwrap();
    let now = engine.next_deadline();
    let mut claim = |number| {
        let claim = GroupReport {
            group: group.name.clone(),
            state: GroupState::Claiming,
            term: Term(group.term.0 + 1),
            can: true,
            offer: None,
            to: None,
        };
        let heartbeat = Heartbeat {
            deadtime: DEADTIME,
            groups: vec![claim],
            digest: 1,
            ..Heartbeat::new(NodeName::new("b"), Generation(1), Sequence(number))
        };
        let heard = Event::Heard {
            from: None,
            link: LinkName::new("eth0"),
            heartbeat: Box::new(heartbeat),
        };
        let sent = engine
            .handle(now, heard)
            .into_iter()
            .filter_map(|a| match a {
                Action::Send(sent) => Some(sent),
                _ => None,
            });
        sent.filter(|s| s.groups.iter().any(|r| r.group == group.name))
            .count()
    };
    claim(1_000_001);
    // Nothing has changed since, but the answer may have been lost.
    assert_eq!(claim(1_000_002), 1);
}

/// What one node says of its wishes, in each of its datagrams that the other has heard.
fn wishes_heard(world: &World, by: &str) -> Vec<(Vec<String>, Vec<String>)> {
    let text = |name: &had::model::GroupName| name.as_str().to_owned();
    let inputs = world.at(by).recording.as_ref().unwrap().inputs.iter();
    let heard = inputs.filter_map(|(_, event, _)| match event {
        Event::Heard { heartbeat, .. } => Some((
            heartbeat.groups.iter().map(|r| text(&r.group)).collect(),
            heartbeat.intent.standby.iter().map(text).collect(),
        )),
        _ => None,
    });
    heard.collect()
}

#[test]
fn a_part_names_the_wishes_for_its_own_groups_and_no_others() {
    let mut world = pair_with_groups(30);
    let names: Vec<String> = (0..30).map(|i| format!("g{i}")).collect();
    let groups: Vec<_> = names
        .iter()
        .map(|n| had::model::GroupName::new(n))
        .collect();
    let lasting = true;
    world.command("a", had::engine::Command::Standby { groups, lasting });
    world.run_for(secs(3));
    for name in &names {
        assert_eq!(world.runs_on(name), ["b"], "{name}");
    }
    let said = wishes_heard(&world, "b");
    let all: Vec<_> = said.iter().filter(|(_, s)| !s.is_empty()).collect();
    assert!(!all.is_empty());
    for (groups, standby) in all {
        assert_eq!(groups, standby);
    }
    // The word of each part counts until that part says otherwise.
    let groups = vec![had::model::GroupName::new("g20")];
    world.command("a", had::engine::Command::Unstandby(groups));
    world.run_for(secs(3));
    let status = world.status("b").unwrap();
    let stands_by = |g: &str| {
        let group = status.groups.iter().find(|s| s.name.as_str() == g).unwrap();
        group.notes.iter().any(|n| n.contains("standby"))
    };
    assert!(stands_by("g19") && stands_by("g21"), "{status:#?}");
    assert!(!stands_by("g20"));
}

#[test]
fn a_late_daemon_decides_once_for_all_that_has_arrived() {
    let mut world = World::new(&["a", "b"]);
    for i in 0..60 {
        world = world.group(&format!("g{i}"), "a", 0);
    }
    world.machine("b").records_inputs = true;
    world.machine("b").lateness = ms(5);
    world.start_all();
    for i in 0..60 {
        settle_on(&mut world, &format!("g{i}"), "a");
    }
    let inputs = &world.at("b").recording.as_ref().unwrap().inputs;
    let (taken, decided): (Vec<_>, Vec<_>) = inputs.iter().partition(|(_, _, more)| *more);
    assert!(
        taken.len() > decided.len(),
        "{} taken in, {} decided",
        taken.len(),
        decided.len()
    );
    assert!(taken.iter().all(|(_, event, _)| event.can_wait()));
}

#[test]
fn what_a_late_daemon_has_not_read_outlives_a_suspend() {
    let mut world = World::new(&["a"]).group("db", "a", 0);
    world.machine("a").lateness = ms(5);
    world.start_all();
    // The probes have ended, and their end was not read yet.
    world.run_for(std::time::Duration::from_micros(1100));
    world.suspend("a");
    world.run_for(secs(1));
    world.thaw("a");
    settle_on(&mut world, "db", "a");
}
