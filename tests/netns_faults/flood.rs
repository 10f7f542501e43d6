//! Floods at the speed of the kernel from several senders, on the segment and port of the heartbeats.
//!
//! `HAD_FLOOD_RATE` sets the datagrams per second of all senders, `HAD_FLOOD_SECONDS` the time. The defaults are low enough for a
//! debug build on a busy machine. The test prints what it reached. In full:
//! `HAD_FLOOD_RATE=100000 HAD_FLOOD_SECONDS=10 cargo test --release --test netns_faults flood -- --nocapture`

use std::fs::{self, File};
use std::io::IoSlice;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use had::model::status::{Liveness, Status};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};

use crate::common::*;
use crate::hostile::{counted, harmful, signed, undisturbed};

/// Datagrams of one call.
const BATCH: usize = 32;
const PORT: u16 = 694;

pub fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

/// The pid, on this machine, of a process that lives in the namespaces of a host. (The lab's own processes enter and leave them.)
fn process_of(cluster: &Cluster, host: &str) -> String {
    let theirs = cluster.sh(host, "readlink /proc/self/ns/net /proc/self/ns/uts");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut names = processes.map(|p| p.file_name().into_string().unwrap());
    let lives_there = |pid: &String| {
        let name = |kind: &str| {
            let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()?;
            link.into_os_string().into_string().ok()
        };
        let both = name("net").zip(name("uts"));
        pid.parse::<u32>().is_ok()
            && both.is_some_and(|(net, uts)| theirs == format!("{net}\n{uts}"))
    };
    let found = names.find(lives_there);
    found.unwrap_or_else(|| panic!("{host} has no process"))
}

/// A network namespace with a bridge that connects `fast0` of alice and bob.
pub struct Segment(File);

impl Segment {
    pub fn join(cluster: &Cluster) -> Segment {
        let pids = ["alice", "bob"].map(|node| process_of(cluster, node));
        let made = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ip("link add bridge type bridge mcast_snooping 0");
            ip("addr add 10.8.0.9/24 dev bridge");
            ip("link set bridge up");
            for (n, pid) in pids.iter().enumerate() {
                ip(&format!(
                    "link add port{n} type veth peer name fast0 netns {pid}"
                ));
                ip(&format!("link set port{n} master bridge up"));
            }
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let segment = Segment(made.join().unwrap());
        for (node, last) in [("alice", 1), ("bob", 2)] {
            let address = format!("ip addr add 10.8.0.{last}/24 dev fast0");
            cluster.sh(node, &format!("{address} && ip link set fast0 up"));
        }
        segment
    }

    /// Lets the bridge forward nothing between alice and bob; both still reach 10.8.0.9.
    pub fn isolate_nodes(&self) {
        self.enter(|| {
            for port in ["port0", "port1"] {
                ip(&format!("link set {port} type bridge_slave isolated on"));
            }
        });
    }

    /// Does something in this namespace.
    pub fn enter<T: Send + 'static>(&self, action: impl FnOnce() -> T + Send + 'static) -> T {
        let network = self.0.try_clone().unwrap();
        let done = thread::spawn(move || {
            setns(network, CloneFlags::CLONE_NEWNET).unwrap();
            action()
        });
        done.join().unwrap()
    }

    /// A socket in this namespace.
    fn socket(&self) -> UdpSocket {
        self.enter(|| UdpSocket::bind("10.8.0.9:0").unwrap())
    }
}

fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {error}");
}

/// Sends a datagram at a rate. Returns how often.
pub fn pour(
    socket: &impl AsRawFd,
    to: SocketAddrV4,
    datagram: &[u8],
    rate: u64,
    time: Duration,
) -> u64 {
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let slices = vec![[IoSlice::new(datagram)]; BATCH];
    let addresses = vec![Some(SockaddrIn::from(to)); BATCH];
    let begin = Instant::now();
    let mut sent = 0;
    while begin.elapsed() < time {
        let fd = socket.as_raw_fd();
        // The device refuses when its queue is full. Such datagrams are not counted.
        if let Ok(done) = sendmmsg(fd, &mut headers, &slices, &addresses, [], MsgFlags::empty()) {
            sent += done.count() as u64;
        }
        let due = Duration::from_nanos(sent.saturating_mul(1_000_000_000) / rate.max(1));
        thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    sent
}

/// Resident memory of a node's daemon, in KiB.
fn memory(cluster: &Cluster, node: &str) -> u64 {
    let pid = cluster.lab.had_pid(node).unwrap().unwrap();
    let line = cluster.sh(node, &format!("grep VmRSS /proc/{pid}/status"));
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The nodes hear each other only by this medium on the flooded segment.
fn flooded(name: &str, media: &str, to: [u8; 4]) {
    let mut cluster = Cluster::up(
        name,
        &Setup {
            links: &[],
            ..USUAL.ha_cf(&format!("{PING}{media}")).idle()
        },
    );
    let segment = Segment::join(&cluster);
    cluster.start_both();
    cluster.until_owner("alice");
    cluster.until_owner_seen("bob", "alice");
    let kinds = [
        ("garbage", vec![0x5a; 200]),
        (
            "wrong digest",
            signed(&harmful("bob", 1 << 40, 1), "another-secret"),
        ),
        (
            "foreign",
            signed(&harmful("mallory", 1 << 40, 1), "secret-of-this-lab"),
        ),
        (
            "replay",
            signed(&harmful("bob", 1, 1), "secret-of-this-lab"),
        ),
    ];
    let before = ["alice", "bob"].map(|n| (cluster.status(n), memory(&cluster, n)));
    let rate = setting("HAD_FLOOD_RATE", 8_000) / kinds.len() as u64;
    let time = Duration::from_secs(setting("HAD_FLOOD_SECONDS", 2));
    let target = SocketAddrV4::new(to.into(), PORT);
    let senders = kinds.map(|(_, datagram)| {
        let socket = segment.socket();
        thread::spawn(move || pour(&socket, target, &datagram, rate, time))
    });
    let sent: Vec<u64> = senders.into_iter().map(|s| s.join().unwrap()).collect();
    let all: u64 = sent.iter().sum();
    println!(
        "MEASURED {name}: {} datagrams a second for {time:?}",
        all / time.as_secs().max(1)
    );
    assert!(sent.iter().all(|n| *n > 0), "{sent:?}");
    for ((node, of), (status, kib)) in [("alice", "bob"), ("bob", "alice")].into_iter().zip(before)
    {
        if node == "bob" && to[0] < 224 {
            continue; // Only alice was meant.
        }
        let after = cluster.until_status(node, "has counted every kind", |s| {
            let kinds = [
                "begins with neither",
                "digest does not match",
                "that ha.cf does not name",
                "replays",
            ];
            // Datagrams from bob himself are his own broadcasts.
            let mut heard = kinds
                .iter()
                .filter(|kind| node == "alice" || **kind != "replays");
            heard.all(|kind| counted(s, kind) > counted(&status, kind))
        });
        told(&cluster, node, &status, &after, kib);
        assert_eq!(peer(&after, of).liveness, Liveness::Active);
        assert_eq!(counted(&after, "queue was full"), 0);
        let log = cluster.lab.log(node).unwrap();
        assert!(
            !log.contains(&format!("node {of} is late")),
            "a heartbeat was missed: {log}"
        );
        assert!(
            log.len() < 100_000,
            "the log grew by the flood: {} bytes",
            log.len()
        );
    }
    undisturbed(&cluster);
    cluster.never_two_owners();
}

fn told(cluster: &Cluster, node: &str, before: &Status, after: &Status, kib: u64) {
    let grown = memory(cluster, node).saturating_sub(kib);
    let more = |what| counted(after, what) - counted(before, what);
    let overrun = cluster.sh(
        node,
        "grep '^Udp:' /proc/net/snmp | sed -n 2p | cut -d ' ' -f 6",
    );
    println!(
        "MEASURED at {node}: {} refused, {} replays, {overrun} found no room in the socket; heartbeats believed {}; {:?}; memory grew {grown} KiB",
        more("datagrams refused"),
        more("replays"),
        more("heartbeats believed"),
        after.lateness,
    );
    assert!(grown < 16 * 1024, "{grown} KiB more");
}

/// The flood comes from an address that ha.cf names, so everything is read.
#[test]
fn a_flood_on_unicast_costs_no_heartbeat() {
    flooded(
        "nf-flood-ucast",
        "ucast fast0 10.8.0.1\nucast fast0 10.8.0.2\nucast fast0 10.8.0.9\n",
        [10, 8, 0, 1],
    );
}

#[test]
fn a_flood_on_multicast_costs_no_heartbeat() {
    flooded(
        "nf-flood-mcast",
        "mcast fast0 225.0.0.1 694 1 0\n",
        [225, 0, 0, 1],
    );
}
