//! A thousand addresses in one group.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use had::lab::SamplerReport;

use crate::cluster::{BenchCluster, BenchSetup, PROBE_EVERY};
use crate::numbers;

const ADDRESSES: u16 = 1000;
const ROUNDS: usize = 7;
const SAMPLE_EVERY: Duration = Duration::from_millis(2);

pub fn measure() {
    let stage = BenchCluster::start(&BenchSetup {
        haresources: haresources(),
        prefix: 16,
        ..BenchSetup::usual()
    });
    measure_by("planned move", &stage, |stage, owner| {
        stage.hactl(owner, &["standby"]);
        stage.hactl(owner, &["standby", "off"]);
    });
    measure_by("crash", &stage, |stage, owner| {
        stage.lab.crash(owner).unwrap();
    });
}

fn measure_by(how: &str, stage: &BenchCluster, act: fn(&BenchCluster, &str)) {
    let all: Vec<IpAddr> = (0..ADDRESSES).map(address).collect();
    let (mut spans, mut gaps) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (owner, other) = stage.settle();
        // The sampler costs the machine something, so it and the probe take turns.
        if round % 2 == 0 {
            let sampler = stage.lab.sampler(&all, SAMPLE_EVERY).unwrap();
            act(stage, owner);
            for address in &all {
                stage.has(other, *address);
            }
            spans.push(span(&sampler.finish().unwrap(), other));
        } else {
            let last = stage
                .lab
                .probe(address(ADDRESSES - 1), PROBE_EVERY)
                .unwrap();
            std::thread::sleep(Duration::from_millis(50));
            act(stage, owner);
            stage.has(other, address(ADDRESSES - 1));
            std::thread::sleep(Duration::from_millis(300));
            gaps.push(last.finish().unwrap().outage());
        }
        if how == "crash" {
            stage.lab.restart(owner).unwrap();
        }
    }
    numbers::durations(
        &format!("1,000 addresses, {how}: first to last on the new node"),
        &spans,
        "< 50",
    );
    numbers::durations("   gap of the last of them", &gaps, "");
}

/// From the first address seen on the node to the last.
fn span(report: &SamplerReport, node: &str) -> Duration {
    let times = report.owners.iter().filter(|o| o.2 == [node]).map(|o| o.0);
    let (first, last) = (times.clone().min().unwrap(), times.max().unwrap());
    last.since(first)
}

fn address(n: u16) -> IpAddr {
    let [high, low] = n.to_be_bytes();
    Ipv4Addr::new(10, 0, 4 + high, low).into()
}

fn haresources() -> String {
    let mut text = "alice".to_owned();
    for n in 0..ADDRESSES {
        text += &format!(" \\\n{}/16/eth0", address(n));
    }
    text + "\n"
}
