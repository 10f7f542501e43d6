//! Planned moves.

use std::time::{Duration, Instant};

use had::lab::ProbeReport;

use crate::cluster::{ADDRESS, BenchCluster, BenchSetup, PROBE_EVERY};
use crate::numbers;

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
    let stage = BenchCluster::start(setup);
    let moves = Moves::measure(
        &stage,
        |owner| stage.hactl(owner, &["standby"]),
        |owner| {
            stage.hactl(owner, &["standby", "off"]);
        },
    );
    let idle: Vec<Duration> = (0..ROUNDS)
        .map(|_| stage.hactl("alice", &["--version"]))
        .collect();
    numbers::durations(&format!("standby, {what}: gap"), &moves.gaps, "< 10");
    numbers::numbers("   requests lost, of one each ms", &moves.lost, "0");
    numbers::durations("   from command to answer", &moves.took, "< 30");
    numbers::durations("   of that, to start hactl in the lab", &idle, "");
}

fn clean_stop() {
    let stage = BenchCluster::start(&BenchSetup::usual());
    let stop = |owner: &str| {
        let began = Instant::now();
        stage.lab.stop_had(owner).unwrap();
        began.elapsed()
    };
    let moves = Moves::measure(&stage, stop, |owner| stage.lab.start_had(owner).unwrap());
    numbers::durations(
        "clean stop (SIGTERM) of the owner: gap",
        &moves.gaps,
        "< 20",
    );
    numbers::numbers("   requests lost, of one each ms", &moves.lost, "");
    numbers::durations(
        "   from the signal to the end of the daemon",
        &moves.took,
        "",
    );
}

/// What a client and the caller see of planned moves.
#[derive(Default)]
struct Moves {
    gaps: Vec<Duration>,
    lost: Vec<f64>,
    took: Vec<Duration>,
}

impl Moves {
    /// Moves the group away from its owner again and again; `move_away` returns how long it took.
    fn measure(
        stage: &BenchCluster,
        move_away: impl Fn(&str) -> Duration,
        undo: impl Fn(&str),
    ) -> Moves {
        let mut moves = Moves::default();
        for _ in 0..ROUNDS {
            let (owner, other) = stage.settle();
            let probe = stage
                .lab
                .probe(ADDRESS.parse().unwrap(), PROBE_EVERY)
                .unwrap();
            std::thread::sleep(Duration::from_millis(50));
            moves.took.push(move_away(owner));
            stage.has(other, ADDRESS.parse().unwrap());
            std::thread::sleep(Duration::from_millis(50));
            let report = probe.finish().unwrap();
            moves.gaps.push(report.outage());
            moves.lost.push(unanswered(&report));
            undo(owner);
        }
        moves
    }
}

fn unanswered(report: &ProbeReport) -> f64 {
    // Some thousands at most.
    u32::try_from(report.sent - report.answered).unwrap().into()
}
