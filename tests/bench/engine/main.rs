//! What the engine costs the processor: one heartbeat, one decision, and the life of a whole cluster, by the number of
//! groups and nodes. Prints numbers and asserts none, because they depend on the machine.
//!
//! `cargo bench --bench engine` measures; `tests/run bench` does that first.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod net;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion};
use had::engine::{Command, Event};
use had::model::{LinkName, Sequence};

use net::Net;

const GROUPS: [usize; 4] = [1, 10, 100, 1000];
const NODES: [usize; 3] = [2, 3, 7];
const KEEPALIVE: Duration = Duration::from_secs(1);

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    measure_single_calls(&mut criterion);
    criterion.final_summary();
    print_lives();
}

/// A cluster in which all groups run.
fn settled(nodes: usize, groups: usize) -> Net {
    let mut net = Net::new(nodes, groups, KEEPALIVE);
    net.run_until(|net| net.running[0] == groups);
    net.run_for(KEEPALIVE * 5);
    net
}

fn measure_single_calls(criterion: &mut Criterion) {
    for nodes in NODES {
        for groups in GROUPS {
            let net = settled(nodes, groups);
            let id = |what: &str| format!("{what}, {nodes} nodes, {groups} groups");
            let mut heartbeat = net.last_heard[0].clone().unwrap();
            heartbeat.sequence = Sequence(heartbeat.sequence.0 + 1_000_000);
            let heard = Event::Heard {
                link: LinkName::new("eth0"),
                from: None,
                heartbeat: Box::new(heartbeat),
            };
            let now = net.now;
            criterion.bench_function(&id("heartbeat"), |bench| {
                let engine = || (net.engines[0].clone(), heard.clone());
                let take = |(mut engine, heard): (had::engine::Engine, Event)| {
                    engine.take(now, heard);
                    engine
                };
                bench.iter_batched(engine, take, BatchSize::LargeInput);
            });
            criterion.bench_function(&id("decision"), |bench| {
                let later = now + Duration::from_millis(1);
                let decide = |mut engine: had::engine::Engine| {
                    black_box(engine.handle(later, Event::DeadlineReached));
                    engine
                };
                bench.iter_batched(|| net.engines[0].clone(), decide, BatchSize::LargeInput);
            });
        }
    }
}

/// What a cluster costs while its groups come up, for ten seconds at rest, and while all groups move.
fn print_lives() {
    println!(
        "\n{:>5} {:>6}  {:>22}  {:>22}  {:>22}",
        "nodes", "groups", "all come up", "10 s at rest", "all move"
    );
    for nodes in NODES {
        let mut one = None;
        for groups in GROUPS {
            let costs = costs_of_a_life(nodes, groups);
            let one = one.get_or_insert(costs);
            let cells: Vec<String> = costs
                .iter()
                .zip(one)
                .map(|(cost, one)| {
                    let times = cost.as_secs_f64() / one.as_secs_f64().max(1e-9);
                    format!("{cost:>10.1?} x {times:>8.1}")
                })
                .collect();
            println!("{nodes:>5} {groups:>6}  {}", cells.join("  "));
        }
    }
}

/// The time of all nodes together, in each part of a life.
fn costs_of_a_life(nodes: usize, groups: usize) -> [Duration; 3] {
    let mut net = Net::new(nodes, groups, KEEPALIVE);
    net.run_until(|net| net.running[0] == groups);
    let up = net.take_cost();
    net.run_for(KEEPALIVE * 5);
    net.take_cost();
    net.run_for(Duration::from_secs(10));
    let rest = net.take_cost();
    let names = net.engines[0].cluster().groups.iter();
    let groups_to_move = names.map(|g| g.name.clone()).collect();
    net.command(
        0,
        Command::Standby {
            lasting: false,
            groups: groups_to_move,
        },
    );
    net.run_until(|net| net.running[0] == 0 && net.running.iter().sum::<usize>() == groups);
    [up, rest, net.take_cost()]
}
