//! A partition without quorum ends: both nodes own the group, and one has to stop it.

use std::net::IpAddr;
use std::time::Duration;

use had::lab::LinkDirection;
use had::sys::clock;

use crate::cluster::{ADDRESS, BenchCluster, BenchSetup, NODES, PROBE_EVERY};
use crate::numbers;

const ROUNDS: usize = 10;

pub fn measure() {
    let stage = BenchCluster::start(&BenchSetup {
        lines: "quorum off\n",
        ..BenchSetup::usual()
    });
    let address: IpAddr = ADDRESS.parse().unwrap();
    let (mut both, mut gaps) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        stage.settle();
        stage
            .lab
            .cut(NODES[0], NODES[1], None, LinkDirection::Both)
            .unwrap();
        for node in NODES {
            stage.has(node, address);
        }
        std::thread::sleep(Duration::from_millis(500));
        let probe = stage.lab.probe(address, PROBE_EVERY).unwrap();
        let sampler = stage
            .lab
            .sampler(&[address], Duration::from_millis(1))
            .unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let healed = clock::now();
        stage.lab.heal_all().unwrap();
        stage.settle();
        let report = sampler.finish().unwrap();
        both.extend(
            report
                .double
                .last()
                .map(|d| (d.from + d.lasted).since(healed)),
        );
        gaps.push(probe.finish().unwrap().outage());
    }
    numbers::durations(
        "partition heals, quorum off, 200/2000 ms: both own it for",
        &both,
        "a keepalive",
    );
    numbers::durations("   the client's longest gap meanwhile", &gaps, "< 50");
}
