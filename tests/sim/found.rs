//! What random runs found, each made as short as it goes.

use crate::*;
use had::engine::Command;
use had::model::GroupName;
use had::model::cluster::QuorumPolicy;
use had::sim::World;

fn db() -> Vec<GroupName> {
    vec![GroupName::new("db")]
}

/// Three nodes that count votes, with one group on the first.
fn three(others: usize) -> World {
    let mut world = World::of(&["a", "b", "c"])
        .group("db", "a", others)
        .with(|c| c.quorum = QuorumPolicy::Stop);
    world.start_all();
    settle_on(&mut world, "db", "a");
    world.run_for(secs(2));
    world
}

fn in_order(world: &World) {
    assert!(
        world.broken().is_empty(),
        "{:?}\n{}",
        world.broken(),
        story(world)
    );
    no_double(world);
}

#[test]
fn an_offer_stays_with_its_node_although_its_claim_makes_it_busier() {
    let mut world = three(0);
    world.weather_everywhere(had::sim::Weather {
        jitter: ms(5),
        ..had::sim::Weather::CALM
    });
    world.command("a", Command::Leave);
    world.run_for(ms(100));
    assert_eq!(world.runs_on("db").len(), 1);
    let offers = decisions(&world, "a")
        .iter()
        .filter(|d| d.contains("offers it to"))
        .count();
    assert_eq!(offers, 1, "{}", story(&world));
    in_order(&world);
}

#[test]
fn a_claim_that_must_be_withdrawn_at_once_is_not_made() {
    let mut world = three(0);
    // The one that is offered the group hears that another, whom it cannot hear, has claimed it.
    world.part("b", "c");
    world.run_for(secs(3));
    world.command(
        "a",
        Command::Standby {
            groups: db(),
            lasting: true,
        },
    );
    world.run_for(secs(3));
    let claims = ["b", "c"].map(|n| {
        decisions(&world, n)
            .iter()
            .filter(|d| d.contains("claims it"))
            .count()
    });
    assert!(
        claims.iter().all(|n| *n < 4),
        "{claims:?}\n{}",
        story(&world)
    );
    in_order(&world);
}

#[test]
fn nobody_recognises_a_claim_while_a_restarted_owner_looks_at_what_it_runs() {
    let mut world = three(1);
    // b cannot hear a, and knows only from c that a has the group.
    world.part("a", "b");
    world.run_for(secs(5));
    world.kill("a");
    world.run_for(ms(500));
    world.start("a");
    world.run_for(secs(20));
    in_order(&world);
    assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
    assert_eq!(
        world.at("a").stops,
        0,
        "what ran was kept\n{}",
        story(&world)
    );
}
