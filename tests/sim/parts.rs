//! More groups than fit into one heartbeat: each part reports only its own groups.

use crate::*;
use had::engine::{Action, Event};
use had::model::cluster::QuorumPolicy;
use had::model::heartbeat::{GroupReport, GroupState, Heard, Heartbeat, Recognition};
use had::model::{Generation, LinkName, NodeName, Sequence};
use had::sim::World;

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

/// Heartbeats that came to a node while so much time passed.
fn heard_while(world: &mut World, node: &str, time: std::time::Duration) -> usize {
    let heard = |world: &World| {
        let recording = world.at(node).recording.as_ref().unwrap();
        let inputs = recording.inputs.iter();
        inputs
            .filter(|(_, event)| matches!(event, Event::Heard { .. }))
            .count()
    };
    let before = heard(world);
    world.run_for(time);
    heard(world) - before
}

#[test]
fn when_one_group_of_many_moves_only_its_part_is_sent_more_often() {
    const PARTS: usize = 5;
    let mut world = World::new(&["a", "b"]);
    for i in 0..PARTS * 12 {
        world = world.group(&format!("g{i}"), "a", 0);
    }
    world.machine("b").records_inputs = true;
    world.start_all();
    for i in 0..PARTS * 12 {
        settle_on(&mut world, &format!("g{i}"), "a");
    }
    world.run_for(secs(3));
    let quiet = heard_while(&mut world, "b", secs(2));
    let groups = vec![had::model::GroupName::new("g7")];
    let lasting = true;
    world.command("a", had::engine::Command::Standby { groups, lasting });
    let moving = heard_while(&mut world, "b", secs(2));
    assert_eq!(world.runs_on("g7"), ["b"]);
    assert!(
        moving < quiet + 60,
        "{moving} datagrams while it moved, {quiet} before"
    );
}
