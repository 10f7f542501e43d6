//! Moves that were asked for.

use std::time::{Duration, Instant};

use had::lab::ProbeReport;

use crate::numbers;
use crate::stage::{ADDRESS, BenchCluster, BenchSetup, PROBE_EVERY};

const ROUNDS: usize = 15;

pub fn measure() {
    standby("an address alone", &BenchSetup::usual());
    let with_script = BenchSetup {
        haresources: format!("alice {ADDRESS}/24/eth0 web\n"),
        ..BenchSetup::usual()
    };
    standby("an address and a script", &with_script);
    clean_stop();
}

fn standby(what: &str, setup: &BenchSetup) {
    let stage = BenchCluster::of(setup);
    let (mut gaps, mut lost, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (owner, other) = stage.settle();
        let probe = stage
            .lab
            .probe(ADDRESS.parse().unwrap(), PROBE_EVERY)
            .unwrap();
        std::thread::sleep(Duration::from_millis(50));
        answers.push(stage.hactl(owner, &["standby"]));
        stage.has(other, ADDRESS.parse().unwrap());
        std::thread::sleep(Duration::from_millis(50));
        let report = probe.finish().unwrap();
        gaps.push(report.outage());
        lost.push(unanswered(&report));
        stage.hactl(owner, &["standby", "off"]);
    }
    let idle: Vec<Duration> = (0..ROUNDS)
        .map(|_| stage.hactl("alice", &["--version"]))
        .collect();
    numbers::durations(&format!("standby, {what}: gap"), &gaps, "< 10");
    numbers::numbers("   requests lost, of one each ms", &lost, "0");
    numbers::durations("   from command to answer", &answers, "< 30");
    numbers::durations("   of that, to start hactl in the lab", &idle, "");
}

fn clean_stop() {
    let stage = BenchCluster::of(&BenchSetup::usual());
    let (mut gaps, mut lost, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (owner, other) = stage.settle();
        let probe = stage
            .lab
            .probe(ADDRESS.parse().unwrap(), PROBE_EVERY)
            .unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let began = Instant::now();
        stage.lab.stop_had(owner).unwrap();
        ends.push(began.elapsed());
        stage.has(other, ADDRESS.parse().unwrap());
        std::thread::sleep(Duration::from_millis(50));
        let report = probe.finish().unwrap();
        gaps.push(report.outage());
        lost.push(unanswered(&report));
        stage.lab.start_had(owner).unwrap();
    }
    numbers::durations("clean stop (SIGTERM) of the owner: gap", &gaps, "< 20");
    numbers::numbers("   requests lost, of one each ms", &lost, "");
    numbers::durations("   from the signal to the end of the daemon", &ends, "");
}

fn unanswered(report: &ProbeReport) -> f64 {
    // Some thousands at most.
    u32::try_from(report.sent - report.answered).unwrap().into()
}
