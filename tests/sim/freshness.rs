//! Rule 28: only a heartbeat that says that its sender hears this life of ours can free or command anything. Whoever
//! recorded heartbeats can send them again without the key.

use crate::*;
use had::engine::{Action, Event};
use had::model::heartbeat::{GroupReport, GroupState, Heartbeat, Intent, Phase};
use had::model::peer_message::{PeerMessage, PeerMessageBody, PeerQuestion};
use had::model::{Generation, GroupName, LinkName, NodeName, Sequence, Term};
use had::sim::World;

/// What alice said in a former life, before anybody heard of it here.
fn recorded(phase: Phase, state: GroupState) -> Heartbeat {
    let report = GroupReport {
        group: GroupName::new("db"),
        state,
        term: Term(1),
        can: true,
        offer: None,
        to: None,
    };
    Heartbeat {
        phase,
        deadtime: DEADTIME,
        quorate: true,
        digest: 1,
        groups: vec![report],
        ..Heartbeat::new(NodeName::new("alice"), Generation(1), Sequence(1_000_000))
    }
}

/// bob boots; alice is off, and may run the group for all that bob knows.
fn booting(gateway: bool) -> World {
    let world = World::new(&["alice", "bob"]).group("db", "alice", 0);
    let mut world = if gateway {
        world.ping("gateway")
    } else {
        world
    };
    world.start("bob");
    world.run_for(ms(50));
    world
}

#[test]
fn an_old_goodbye_lets_nobody_start_before_initdead() {
    for gateway in [false, true] {
        let mut world = booting(gateway);
        world.forge("bob", 0, recorded(Phase::Left, GroupState::Offline));
        world.run_for(DEADTIME);
        assert!(world.runs_on("db").is_empty(), "{}", story(&world));
        let alice = &world.status("bob").unwrap().nodes[0];
        assert_ne!(alice.liveness, had::model::status::Liveness::Left);
        settle_on(&mut world, "db", "bob");
    }
}

#[test]
fn a_goodbye_that_is_heard_frees_at_once() {
    let mut world = pair_with_gateway(0);
    world.command("alice", had::engine::Command::Leave);
    world.run_for(ms(1500));
    assert_eq!(world.runs_on("db"), ["bob"], "{}", story(&world));
}

#[test]
fn an_old_maintenance_heartbeat_freezes_nothing() {
    let mut world = booting(true);
    let intent = Intent {
        maintenance: vec![GroupName::new("db")],
        back_within: Some(secs(3600)),
        ..Intent::default()
    };
    let old = Heartbeat {
        intent,
        ..recorded(Phase::Active, GroupState::Online)
    };
    world.forge("bob", 0, old);
    settle_on(&mut world, "db", "bob");
}

/// Somebody sends a minute of recorded heartbeats: they block for initdead at most where they say that nothing runs.
#[test]
fn recorded_heartbeats_do_not_hold_a_survivor_down_for_ever() {
    let mut world = booting(true);
    let mut last = 0;
    for sequence in 0..300 {
        let old = Heartbeat {
            sequence: Sequence(2_000_000 + sequence),
            ..recorded(Phase::Active, GroupState::Offline)
        };
        world.forge("bob", 0, old);
        world.run_for(ms(200));
        if world.runs_on("db") == ["bob"] {
            break;
        }
        last = sequence;
    }
    assert_eq!(
        world.runs_on("db"),
        ["bob"],
        "after {last}\n{}",
        story(&world)
    );
}

#[test]
fn an_old_request_reaches_nobody() {
    let letter = PeerMessage {
        to: NodeName::new("bob"),
        id: 7,
        body: PeerMessageBody::Ask(PeerQuestion::Outdate {
            resource: "r0".to_owned(),
            primary: true,
        }),
    };
    for fresh in [false, true] {
        let mut world = pair(0);
        world.run_for(secs(1));
        let mut engine = world.machine("bob").engine.take().unwrap();
        let status = engine.status(world.now);
        let sent = |actions: &[Action]| {
            actions.iter().find_map(|a| match a {
                Action::Send(heartbeat) => Some(heartbeat.clone()),
                _ => None,
            })
        };
        let now = engine.next_deadline();
        let newest = sent(&engine.handle(now, Event::DeadlineReached)).unwrap();
        let mut heartbeat = Heartbeat {
            generation: status.nodes[0].generation.unwrap(),
            peer_messages: vec![letter.clone()],
            ..recorded(Phase::Active, GroupState::Online)
        };
        if fresh {
            heartbeat.heard.push(had::model::heartbeat::Heard {
                instance: None,
                node: NodeName::new("bob"),
                generation: newest.generation,
                sequence: newest.sequence,
                links: vec![],
                loss: 0,
            });
        }
        let link = LinkName::new("eth0");
        let heard = Event::Heard {
            from: None,
            link,
            heartbeat: Box::new(heartbeat),
        };
        let orders = engine.handle(now, heard);
        let passed = orders
            .iter()
            .any(|a| matches!(a, Action::PeerMessages { .. }));
        assert_eq!(passed, fresh, "{orders:?}");
    }
}
