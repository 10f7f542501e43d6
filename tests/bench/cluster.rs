//! The cluster that is measured: two nodes, a gateway and a client.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use had::control::api::{ControlAnswer, Request, SOCKET};
use had::control::client::ControlClient;
use had::lab::{Iface, Lab, LabPlan, NodePlan, PingPlan};
use had::model::journal::Entry;
use had::model::status::{Liveness, Status};
use tempfile::TempDir;

/// The first word of the command line that makes this program print a node's journal; it then runs in the node.
pub const JOURNAL: &str = "journal";
/// The configuration of both nodes.
pub const ADDRESS: &str = "10.0.0.100";
pub const NODES: [&str; 2] = ["alice", "bob"];
/// Shorter than the 5 ms of `hactl lab probe`, to measure gaps more exactly.
pub const PROBE_EVERY: Duration = Duration::from_millis(1);
const DEADLINE: Duration = Duration::from_secs(60);
/// Between measurements: announcements of a move are repeated for about this long.
const QUIET: Duration = Duration::from_millis(500);

const SCRIPT: &str = "#!/bin/sh
case $1 in
start) : > /run/web;;
stop) rm -f /run/web;;
status) [ -e /run/web ] && echo running || echo stopped;;
esac
";

/// What differs between measurements.
pub struct BenchSetup {
    pub keepalive: Duration,
    pub deadtime: Duration,
    /// Further lines of ha.cf.
    pub lines: &'static str,
    /// All of haresources.
    pub haresources: String,
    /// Of all addresses.
    pub prefix: u8,
}

impl BenchSetup {
    pub fn usual() -> BenchSetup {
        BenchSetup {
            keepalive: Duration::from_millis(200),
            deadtime: Duration::from_secs(2),
            lines: "",
            haresources: format!("alice {ADDRESS}/24/eth0\n"),
            prefix: 24,
        }
    }
}

pub struct BenchCluster {
    pub lab: Lab,
    _config: TempDir,
}

impl BenchCluster {
    /// A cluster that has settled.
    pub fn start(setup: &BenchSetup) -> BenchCluster {
        let stage = BenchCluster::without_waiting(setup);
        stage.settle();
        stage
    }

    /// A cluster whose daemons were started.
    pub fn without_waiting(setup: &BenchSetup) -> BenchCluster {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let config = tempfile::tempdir().unwrap();
        furnish(config.path(), setup);
        let node = |name: &str, last| NodePlan {
            name: name.to_owned(),
            config_dir: config.path().to_owned(),
            ha_cf_lines: vec![],
            interfaces: vec![Iface {
                name: "eth0".into(),
                segment: "lan".into(),
                addresses: vec![([10, 0, 0, last].into(), setup.prefix)],
            }],
        };
        let plan = LabPlan {
            name: format!("bench-{}-{number}", std::process::id()),
            nodes: vec![node("alice", 1), node("bob", 2)],
            pings: vec![PingPlan {
                name: "gateway".into(),
                segment: "lan".into(),
                address: [10, 0, 0, 254].into(),
                prefix: setup.prefix,
            }],
            client: vec![("lan".into(), [10, 0, 0, 9].into(), setup.prefix)],
            had: env!("CARGO_BIN_EXE_had").into(),
            hactl: env!("CARGO_BIN_EXE_hactl").into(),
            start: true,
            restart: false,
            scripts: None,
        };
        let lab = Lab::up(&plan).unwrap();
        BenchCluster {
            lab,
            _config: config,
        }
    }

    /// Waits until both nodes agree on one owner, which answers, and then a little longer. Returns the owner and the other node.
    pub fn settle(&self) -> (&'static str, &'static str) {
        let end = Instant::now() + DEADLINE;
        loop {
            if let [Some(one), Some(two)] = NODES.map(|n| self.owner_seen_by(n))
                && one == two
            {
                std::thread::sleep(QUIET);
                return if one == NODES[0] {
                    (NODES[0], NODES[1])
                } else {
                    (NODES[1], NODES[0])
                };
            }
            if Instant::now() > end {
                for node in NODES {
                    println!("{node}:\n{}", self.lab.log(node).unwrap());
                }
                panic!("no agreement within {DEADLINE:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The only owner of all groups as this node sees it, if all is well.
    fn owner_seen_by(&self, node: &str) -> Option<String> {
        let said = self.lab.exec(node, &["hactl", "status", "--json"]).unwrap();
        let status: Status = serde_json::from_str(&said.stdout).ok()?;
        let well = |l| matches!(l, Liveness::Here | Liveness::Active);
        if !status.nodes.iter().all(|n| well(n.liveness)) || !status.quorum.held {
            return None;
        }
        let mut owners = status.groups.iter().map(|g| g.owners.as_slice());
        match owners.next() {
            Some([one]) if owners.all(|o| o == [one.clone()]) => Some(one.to_string()),
            _ => None,
        }
    }

    /// Waits until this node has an address.
    pub fn has(&self, node: &str, address: IpAddr) {
        let end = Instant::now() + DEADLINE;
        while !self
            .lab
            .addresses(node)
            .unwrap()
            .iter()
            .any(|a| a.address == address)
        {
            assert!(
                Instant::now() < end,
                "{node} has no {address}:\n{}",
                self.lab.log(node).unwrap()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs `hactl` on a node; returns how long that took.
    pub fn hactl(&self, node: &str, words: &[&str]) -> Duration {
        let argv: Vec<&str> = std::iter::once("hactl")
            .chain(words.iter().copied())
            .collect();
        let began = Instant::now();
        let output = self.lab.exec(node, &argv).unwrap();
        let took = began.elapsed();
        assert!(output.success(), "{words:?} on {node}: {output:?}");
        took
    }

    /// The journal of a node's daemon.
    pub fn journal(&self, node: &str) -> Vec<Entry> {
        let this = std::env::current_exe().unwrap();
        let output = self
            .lab
            .exec(node, &[this.to_str().unwrap(), JOURNAL])
            .unwrap();
        assert!(output.success(), "{output:?}");
        serde_json::from_str(&output.stdout).unwrap()
    }
}

/// Prints the journal of the daemon on this very host.
pub fn print_journal() {
    let mut client = ControlClient::connect(Path::new(SOCKET)).unwrap();
    let request = Request::History { limit: 1000 };
    let ControlAnswer::Decisions(entries) = client.ask(&request, DEADLINE).unwrap() else {
        panic!("no journal");
    };
    println!("{}", serde_json::to_string(&entries).unwrap());
}

fn furnish(dir: &Path, setup: &BenchSetup) {
    let ha_cf = format!(
        "node alice bob\nucast eth0 10.0.0.1\nucast eth0 10.0.0.2\nping 10.0.0.254\nauto_failback off\n\
         keepalive {}ms\nwarntime {}ms\ndeadtime {}ms\ninitdead 10000ms\n{}",
        setup.keepalive.as_millis(),
        setup.deadtime.as_millis() / 2,
        setup.deadtime.as_millis(),
        setup.lines
    );
    fs::write(dir.join("ha.cf"), ha_cf).unwrap();
    fs::write(dir.join("haresources"), &setup.haresources).unwrap();
    let authkeys = dir.join("authkeys");
    fs::write(&authkeys, "auth 1\n1 sha256 only-for-measuring\n").unwrap();
    fs::set_permissions(&authkeys, fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(dir.join("resource.d")).unwrap();
    let script = dir.join("resource.d/web");
    fs::write(&script, SCRIPT).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
}
