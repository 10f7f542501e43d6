//! A member whose heartbeats are of another version: it lives, and nothing is started beside it.

use crate::*;
use had::model::heartbeat::UnreadableHeartbeat;
use had::model::status::Liveness;
use had::model::{Generation, NodeName, Sequence};

fn unreadable(sequence: u64) -> UnreadableHeartbeat {
    UnreadableHeartbeat {
        src: NodeName::new("alice"),
        generation: Generation(2),
        sequence: Sequence(sequence),
        versions: Some((2, 3)),
    }
}

#[test]
fn nothing_is_started_beside_a_member_of_another_version() {
    let mut world = pair(0);
    world.crash("alice");
    for sequence in 1..100 {
        world.forge_unreadable("bob", 0, unreadable(sequence));
        world.run_for(ms(200));
    }
    assert!(world.runs_on("db").is_empty(), "{}", story(&world));
    let alice = world.status("bob").unwrap().nodes.remove(0);
    assert_eq!(alice.liveness, Liveness::Active);
    let words = "alice speaks version 2 to 3 of the protocol, this node speaks version 1: upgrade one of them";
    assert!(alice.notes[0].contains(words), "{:?}", alice.notes);
    let all = decisions(&world, "bob");
    assert_eq!(
        all.iter().filter(|d| d.contains(words)).count(),
        1,
        "{all:?}"
    );
    // The same ones again are no sign of life.
    for sequence in 1..100 {
        world.forge_unreadable("bob", 0, unreadable(sequence));
        world.run_for(ms(100));
    }
    settle_on(&mut world, "db", "bob");
}

/// The other way round: what runs goes on beside it, and it is a member again when it can be read.
#[test]
fn an_owner_goes_on_beside_a_member_of_another_version() {
    let mut world = pair(0);
    world.crash("alice");
    settle_on(&mut world, "db", "bob");
    for sequence in 1..100 {
        world.forge_unreadable("bob", 0, unreadable(sequence));
        world.run_for(ms(200));
    }
    assert_eq!(world.runs_on("db"), ["bob"], "{}", story(&world));
    assert_eq!(world.at("bob").stops, 0, "{}", story(&world));
    world.start("alice");
    world.run_for(secs(5));
    let alice = world.status("bob").unwrap().nodes.remove(0);
    assert!(
        alice.notes.iter().all(|n| !n.contains("protocol")),
        "{:?}",
        alice.notes
    );
    no_double(&world);
}
