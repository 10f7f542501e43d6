//! How late the heartbeat thread is on an overloaded machine or with a lossy network, and what follows: the group should
//! stay where it is.

use std::time::Duration;

use had::model::status::Status;

use crate::cluster::{BenchCluster, BenchSetup, NODES};
use crate::numbers;

const OVER: Duration = Duration::from_secs(60);

struct LateCase {
    what: &'static str,
    keepalive: u64,
    deadtime: u64,
    lines: &'static str,
    /// Processes in a busy loop.
    spinning: usize,
    /// Lost frames, in percent.
    loss: u8,
}

const CASES: [LateCase; 7] = [
    case("20/100 ms, idle, realtime on", 20, 100, "", 0, 0),
    case("20/100 ms, 4 times busy, realtime on", 20, 100, "", 4, 0),
    case(
        "20/100 ms, 4 times busy, realtime off",
        20,
        100,
        "realtime off\n",
        4,
        0,
    ),
    case("10/50 ms, 20 % loss, realtime on", 10, 50, "", 0, 20),
    case(
        "10/50 ms, 20 % loss, 4 times busy, realtime on",
        10,
        50,
        "",
        4,
        20,
    ),
    case(
        "10/50 ms, 20 % loss, no arbiter, realtime on",
        10,
        50,
        "quorum off\n",
        0,
        20,
    ),
    case("20/100 ms, 30 % loss, realtime on", 20, 100, "", 0, 30),
];

const fn case(
    what: &'static str,
    keepalive: u64,
    deadtime: u64,
    lines: &'static str,
    spinning: usize,
    loss: u8,
) -> LateCase {
    LateCase {
        what,
        keepalive,
        deadtime,
        lines,
        spinning,
        loss,
    }
}

pub fn measure() {
    // A case is chosen by a part of its name.
    let word = std::env::args().nth(2).unwrap_or_default();
    for case in CASES.iter().filter(|c| c.what.contains(&word)) {
        one(case);
    }
}

fn one(case: &LateCase) {
    let stage = BenchCluster::start(&BenchSetup {
        keepalive: Duration::from_millis(case.keepalive),
        deadtime: Duration::from_millis(case.deadtime),
        lines: case.lines,
        ..BenchSetup::usual()
    });
    let cores = std::thread::available_parallelism().unwrap().get();
    let spin = format!(
        "for i in $(seq {}); do (while :; do :; done) & done; sleep 3600",
        case.spinning * cores
    );
    stage.lab.loss(case.loss, None).unwrap();
    stage.lab.spawn("client", &["bash", "-c", &spin]).unwrap();
    let before = NODES.map(|n| LogCounts::by(&stage, n));
    let said = NODES.map(|n| status(&stage, n));
    std::thread::sleep(OVER);
    println!("{}, for {} s:", case.what, OVER.as_secs());
    for (n, node) in NODES.into_iter().enumerate() {
        let status = status(&stage, node);
        let late = status.lateness.as_ref().unwrap();
        let recent = &late.recent;
        let lateness = [recent.p50, recent.p999, recent.max];
        let [p50, p999, max] = lateness.map(|d| d.as_secs_f64() * 1000.0);
        println!(
            "   {node}: late by p50 {p50:.2} ms, p99.9 {p999:.2} ms, at most {max:.2} ms, of {}",
            recent.count
        );
        let sent = |s: &Status| s.counters["heartbeats sent"];
        let rate = (sent(&status) - sent(&said[n])) / OVER.as_secs();
        LogCounts::by(&stage, node).since(&before[n]).print(rate);
    }
    numbers::one("   machine: load", load(), "", "");
}

fn status(stage: &BenchCluster, node: &str) -> Status {
    let said = stage
        .lab
        .exec(node, &["hactl", "status", "--json"])
        .unwrap();
    serde_json::from_str(&said.stdout).unwrap()
}

fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// How often the log has lines that it must not have.
struct LogCounts([usize; 6]);

const BAD: [&str; 6] = [
    "is late",
    "is dead",
    "quorum lost",
    "stopping here",
    "starting here",
    "this node was stopped",
];

impl LogCounts {
    fn by(stage: &BenchCluster, node: &str) -> LogCounts {
        let log = stage.lab.log(node).unwrap();
        let count = |bad: &str| {
            log.lines()
                .filter(|l| l.contains(bad) && !l.contains("no other node objects"))
                .count()
        };
        let starts = log.lines().filter(|l| l.contains("starting here")).count();
        let mut told = BAD.map(count);
        told[4] = starts;
        LogCounts(told)
    }

    fn since(self, before: &LogCounts) -> LogCounts {
        let mut now = self.0;
        for (n, b) in now.iter_mut().zip(before.0) {
            *n -= b;
        }
        LogCounts(now)
    }

    fn print(&self, rate: u64) {
        let all: Vec<_> = BAD
            .iter()
            .zip(self.0)
            .map(|(b, n)| format!("{b}: {n}"))
            .collect();
        println!("          {}; {rate} heartbeats a second", all.join(", "));
    }
}
