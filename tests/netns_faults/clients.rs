//! Thousands of clients at the control socket: those over the limit are refused, root is served, and the cluster is not disturbed.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use had::control::api::SOCKET;
use had::model::status::Liveness;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::common::*;

const CLIENTS: usize = 1000;
const ROLE: &str = "HAD_CLIENTS";
/// How long the clients stay.
const LASTS: Duration = Duration::from_secs(4);

/// Half of them connect and send nothing. The others send nonsense as fast as possible, and reconnect when they are refused.
fn be_clients() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let end = Instant::now() + LASTS;
    let (mut silent, mut babbling) = (Vec::new(), Vec::new());
    let (mut connected, mut refused) = (0_u64, 0_u64);
    let mut chunk = [0; 4096];
    while Instant::now() < end {
        for crowd in [&mut silent, &mut babbling] {
            // The queue of the socket may be full. Then the rest connects in the next round.
            while crowd.len() < CLIENTS
                && let Some(stream) = connect()
            {
                connected += 1;
                crowd.push(stream);
            }
        }
        babbling.retain_mut(|stream| {
            let written =
                stream.write(b"{\"version\":1,\"request\":{\"do\":\"status\"}}\nnonsense\n");
            let read = stream.read(&mut chunk);
            let gone =
                matches!(read, Ok(0)) || written.is_err_and(|e| e.kind() != ErrorKind::WouldBlock);
            let busy = read.is_ok_and(|n| {
                String::from_utf8_lossy(&chunk[..n]).contains("too many control clients")
            });
            refused += u64::from(busy);
            !gone && !busy
        });
    }
    println!("connected {connected} refused {refused}");
}

fn connect() -> Option<UnixStream> {
    use socket2::{Domain, SockAddr, Socket, Type};
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.connect(&SockAddr::unix(SOCKET).unwrap()).ok()?;
    Some(socket.into())
}

#[test]
fn a_thousand_silent_and_a_thousand_babbling_clients_lock_nobody_out() {
    if std::env::var_os(ROLE).is_some() {
        return be_clients();
    }
    let mut cluster = Cluster::up("nf-clients", &USUAL);
    let pid = cluster.lab.had_pid("alice").unwrap().unwrap();
    let look = |what: &str| cluster.sh("alice", what).parse::<u64>().unwrap();
    let rss = format!("awk '/VmRSS/ {{print $2}}' /proc/{pid}/status");
    let files = format!("ls /proc/{pid}/fd | wc -l");
    let (kib, open) = (look(&rss), look(&files));
    let myself = std::env::current_exe().unwrap();
    let test = "clients::a_thousand_silent_and_a_thousand_babbling_clients_lock_nobody_out";
    let crowd = format!(
        "{ROLE}=1 exec setpriv --reuid 65534 --regid 65534 --clear-groups {} --exact {test} --nocapture > /tmp/crowd 2>&1",
        myself.display()
    );
    cluster.lab.spawn("alice", &["sh", "-c", &crowd]).unwrap();
    let (mut most_kib, mut most_open, mut slowest, mut answers) = (kib, open, Duration::ZERO, 0);
    let over = || {
        cluster
            .sh("alice", "cat /tmp/crowd")
            .contains("test result")
    };
    let end = Instant::now() + DEADLINE;
    while !over() {
        assert!(
            Instant::now() < end,
            "{}",
            cluster.sh("alice", "cat /tmp/crowd")
        );
        let begin = Instant::now();
        cluster.page("alice");
        slowest = slowest.max(begin.elapsed());
        answers += 1;
        most_kib = most_kib.max(look(&rss));
        most_open = most_open.max(look(&files));
    }
    let said = cluster.sh("alice", "cat /tmp/crowd");
    let line = said
        .lines()
        .find(|l| l.contains("connected "))
        .unwrap_or_else(|| panic!("{said}"));
    println!(
        "MEASURED {line}; root was answered {answers} times, at the slowest in {slowest:?}; memory {kib} to {most_kib} KiB, files {open} to {most_open}"
    );
    let refused: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(refused > 100, "{said}");
    assert!(answers > 0 && most_open < open + 100 && most_kib < kib + 16 * 1024);
    let status = cluster.status("alice");
    assert_eq!(peer(&status, "bob").liveness, Liveness::Active);
    for (node, of) in [("alice", "bob"), ("bob", "alice")] {
        let log = cluster.lab.log(node).unwrap();
        assert!(!log.contains(&format!("node {of} is late")), "{log}");
    }
    assert_eq!(cluster.calls().len(), 2, "{:?}", cluster.calls());
    cluster.never_two_owners();
}
