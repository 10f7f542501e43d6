//! The owner loses power.

use std::time::Duration;

use had::model::Time;
use had::model::decision::What;
use had::sys::clock;

use crate::cluster::{ADDRESS, BenchCluster, BenchSetup, PROBE_EVERY};
use crate::numbers;

const ROUNDS: usize = 10;

pub fn measure() {
    for (keepalive, deadtime) in [(200, 2000), (100, 1000), (20, 200), (10, 100)] {
        crashes(
            Duration::from_millis(keepalive),
            Duration::from_millis(deadtime),
        );
    }
}

fn crashes(keepalive: Duration, deadtime: Duration) {
    let stage = BenchCluster::start(&BenchSetup {
        keepalive,
        deadtime,
        ..BenchSetup::usual()
    });
    let (mut beyond, mut served) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (owner, other) = stage.settle();
        let probe = stage
            .lab
            .probe(ADDRESS.parse().unwrap(), PROBE_EVERY)
            .unwrap();
        std::thread::sleep(Duration::from_millis(50));
        stage.lab.crash(owner).unwrap();
        stage.has(other, ADDRESS.parse().unwrap());
        std::thread::sleep(Duration::from_millis(100));
        let report = probe.finish().unwrap();
        let longest = report.gaps.iter().max_by_key(|g| g.1);
        if let Some((began, gap)) = longest {
            beyond.push(milliseconds(*gap) - milliseconds(deadtime));
            served.push(milliseconds_since_death(&stage, other, *began + *gap));
        }
        stage.lab.restart(owner).unwrap();
    }
    let setting = format!("{}/{} ms", keepalive.as_millis(), deadtime.as_millis());
    // The last heartbeat before the crash is up to a keepalive old, so the gap may be shorter than deadtime by as much.
    numbers::numbers(
        &format!("crash at {setting}: gap minus deadtime"),
        &beyond,
        "most < 20",
    );
    numbers::numbers("   from the verdict `dead` to an answer", &served, "< 20");
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// From the moment when a node called its peer dead until this moment.
fn milliseconds_since_death(stage: &BenchCluster, node: &str, answered: Time) -> f64 {
    let journal = stage.journal(node);
    let dead = journal
        .iter()
        .rfind(|e| matches!(e.decision.what, What::PeerDead(_)));
    // Both clocks are read here, some microseconds apart.
    let (wall, boot) = (clock::wall_milliseconds(), clock::now());
    let ago = Duration::from_millis(wall - dead.unwrap().at_ms);
    milliseconds(ago) - milliseconds(boot.since(answered))
}
