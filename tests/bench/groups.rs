//! Many groups of one address each: how long until all are up, and until all have moved.

use std::time::{Duration, Instant};

use had::model::status::Status;

use crate::cluster::{BenchCluster, BenchSetup};
use crate::numbers;

const COUNTS: [usize; 4] = [100, 200, 400, 1000];
/// After this long it is said that it never came to that.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub fn measure() {
    for keepalive in [1000, 200] {
        for count in COUNTS {
            measure_count(Duration::from_millis(keepalive), count);
        }
    }
}

fn measure_count(keepalive: Duration, count: usize) {
    let stage = BenchCluster::without_waiting(&BenchSetup {
        keepalive,
        deadtime: keepalive * 10,
        haresources: haresources(count),
        prefix: 16,
        ..BenchSetup::usual()
    });
    let ms = keepalive.as_millis();
    let what = |what: &str| format!("{count} groups, keepalive {ms} ms: {what}");
    let Some(up) = until_owned(&stage, "alice", count) else {
        println!("{:58} never", what("all up"));
        return;
    };
    numbers::one(&what("all up"), up.as_secs_f64(), "s", "< 3");
    std::thread::sleep(keepalive * 3);
    let begun = Instant::now();
    stage.hactl("alice", &["standby"]);
    let answered = begun.elapsed();
    match until_owned(&stage, "bob", count) {
        Some(_) => {
            let moved = begun.elapsed().as_secs_f64() * 1e3;
            numbers::one("   all moved", moved, "ms", "< 500");
            let answered = answered.as_secs_f64() * 1e3;
            numbers::one("   command answered", answered, "ms", "");
        }
        None => println!("{:58} never", "   all moved"),
    }
    for node in ["alice", "bob"] {
        let said = stage
            .lab
            .exec(node, &["hactl", "status", "--json"])
            .unwrap();
        let status: Status = serde_json::from_str(&said.stdout).unwrap();
        if let Some(lateness) = status.lateness {
            let most = lateness.life.max.as_secs_f64() * 1e3;
            numbers::one(&format!("   most late on {node}"), most, "ms", "< 20");
        }
    }
}

/// Waits until a node has so many addresses; how long that took.
fn until_owned(stage: &BenchCluster, node: &str, count: usize) -> Option<Duration> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let addresses = stage.lab.addresses(node).unwrap();
        // One of them is its own.
        if addresses.iter().filter(|a| a.address.is_ipv4()).count() > count {
            return Some(begun.elapsed());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    None
}

fn haresources(count: usize) -> String {
    let line = |n: usize| format!("alice 10.0.{}.{}/16/eth0\n", 4 + n / 250, n % 250);
    (0..count).map(line).collect()
}
