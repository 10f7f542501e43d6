//! The CPU, memory and network that an idle daemon uses.

use std::time::Duration;

use crate::cluster::{ADDRESS, BenchCluster, BenchSetup};
use crate::numbers;

const OVER: Duration = Duration::from_secs(20);

pub fn measure() {
    for keepalive in [1000, 10] {
        idle(Duration::from_millis(keepalive));
    }
}

fn idle(keepalive: Duration) {
    let stage = BenchCluster::start(&BenchSetup {
        keepalive,
        deadtime: keepalive * 10,
        haresources: format!("alice {ADDRESS}/24/eth0 web\n"),
        ..BenchSetup::usual()
    });
    let before = CpuTime::measure(&stage);
    std::thread::sleep(OVER);
    let after = CpuTime::measure(&stage);
    let seconds = OVER.as_secs_f64();
    let ms = keepalive.as_millis();
    println!("owner of an address and a script, keepalive {ms} ms:");
    numbers::one("   memory (PSS)", after.pss_kib / 1024.0, "MiB", "< 5");
    numbers::one("   threads", after.threads, "", "");
    numbers::one(
        "   processor",
        (after.cpu_ns - before.cpu_ns) / seconds / 1e7,
        "% of one",
        "",
    );
    // Threads have numbers too; one is used by the measurement itself.
    numbers::one(
        "   processes and threads begun by it",
        after.last_pid - before.last_pid - 1.0,
        "in 20 s",
        "0",
    );
    let rate = |n: usize| (after.traffic[n] - before.traffic[n]) / seconds;
    numbers::one("   packets out", rate(1), "a second", "");
    numbers::one("   bytes out", rate(0), "a second", "");
    numbers::one("   packets in", rate(3), "a second", "");
    numbers::one("   bytes in", rate(2), "a second", "");
}

struct CpuTime {
    pss_kib: f64,
    threads: f64,
    cpu_ns: f64,
    /// The newest process number of the node.
    last_pid: f64,
    /// Bytes and packets out, bytes and packets in.
    traffic: [f64; 4],
}

impl CpuTime {
    fn measure(stage: &BenchCluster) -> CpuTime {
        let pid = stage.lab.had_pid("alice").unwrap().unwrap();
        let script = format!(
            "echo pid $$; exec cat /proc/{pid}/smaps_rollup /proc/{pid}/status /proc/net/dev /proc/{pid}/task/*/schedstat"
        );
        let text = stage
            .lab
            .exec("alice", &["sh", "-c", &script])
            .unwrap()
            .stdout;
        let value = |key: &str| -> f64 {
            let line = text.lines().find_map(|l| l.trim().strip_prefix(key));
            line.and_then(|l| l.split_whitespace().next())
                .unwrap()
                .parse()
                .unwrap()
        };
        let network: Vec<f64> = text
            .lines()
            .find_map(|l| l.trim().strip_prefix("eth0:"))
            .unwrap()
            .split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect();
        // Nothing else begins with a number.
        let cpu = text
            .lines()
            .filter_map(|l| l.split(' ').next()?.parse::<f64>().ok());
        CpuTime {
            pss_kib: value("Pss:"),
            threads: value("Threads:"),
            cpu_ns: cpu.sum(),
            last_pid: value("pid "),
            traffic: [network[8], network[9], network[0], network[1]],
        }
    }
}
