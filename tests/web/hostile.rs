//! Clients that mean harm, or are merely many. The daemon must not notice, and had-web must neither fall nor grow.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::cluster::{Cluster, wait};
use crate::rig::{ALICE, get, pair, until_code};

const REQUESTS: usize = 10_000;
const THREADS: usize = 8;
const SLOW_CLIENTS: usize = 1_000;
/// With those who follow, more than one address may have.
const GREEDY: usize = 320;
/// More than may follow at once.
const FOLLOWERS: usize = 1_700;
const MAX_FOLLOWERS: usize = 1_536;
/// The most memory that had-web may ever have had.
const MAX_MEMORY_KIB: u64 = 96 * 1024;

/// Runs something of this process in the network of the client.
fn in_client<T: Send>(cluster: &Cluster, work: impl FnOnce() -> T + Send) -> T {
    let mark = format!("86399.{}", std::process::id());
    let sleeper = cluster.lab.spawn("client", &["sleep", &mark]).unwrap();
    let mut found = None;
    assert!(wait(|| {
        found = process_with(&mark);
        found.is_some()
    }));
    let network = File::open(format!("/proc/{}/ns/net", found.unwrap())).unwrap();
    let result = thread::scope(|scope| {
        let inside = scope.spawn(|| {
            setns(&network, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        inside.join().unwrap()
    });
    let kill = nix::sys::signal::Signal::SIGKILL;
    cluster.lab.signal("client", sleeper.pid, kill).unwrap();
    result
}

fn process_with(mark: &str) -> Option<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut named = processes.filter_map(|e| {
        let line = fs::read(e.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        (line == format!("sleep\0{mark}\0")).then(|| e.file_name().into_string().ok())?
    });
    named.next()
}

fn address() -> SocketAddr {
    format!("{ALICE}:9694").parse().unwrap()
}

fn connect() -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address(), Duration::from_secs(20)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
        .set_write_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    Some(stream)
}

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| self.roll(256).to_le_bytes()[0])
            .collect()
    }
}

/// One hostile request. What the other side says, or that it hangs up, does not matter.
fn attack(dice: &mut Dice, half_open: &mut Vec<TcpStream>) {
    let Some(mut stream) = connect() else {
        return;
    };
    let sent = match dice.roll(8) {
        0 => stream.write_all(&dice.bytes(300)),
        1 => {
            let long = "a".repeat(60_000);
            stream.write_all(format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n").as_bytes())
        }
        2 => {
            let many = "x: y\r\n".repeat(500);
            stream.write_all(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes())
        }
        3 => {
            let head = "POST /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000000\r\n\r\n";
            let body = dice.bytes(20_000);
            stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&body))
        }
        4 => {
            let path = "/%2e%2e".repeat(900);
            stream.write_all(format!("GET /groups{path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
        }
        5 => {
            let begun = stream.write_all(b"GET /metrics HTT");
            if half_open.len() < 30 {
                half_open.push(stream);
            }
            drop(begun);
            return;
        }
        6 => stream.write_all(
            b"GET /groups/%ff%00/owner HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        ),
        _ => stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
    };
    if sent.is_ok() {
        let mut answer = [0; 512];
        drop(stream.read(&mut answer));
    }
}

fn flood() {
    thread::scope(|scope| {
        for number in 0..THREADS {
            scope.spawn(move || {
                let mut dice = Dice(0x5eed + number as u64);
                let mut half_open = Vec::new();
                for _ in 0..REQUESTS / THREADS {
                    attack(&mut dice, &mut half_open);
                }
            });
        }
    });
}

fn memory_kib(cluster: &Cluster, field: &str) -> u64 {
    let command = format!(
        "for p in /proc/[0-9]*; do read -r name <$p/comm; [ $name = had-web ] && grep {field} $p/status; done; true"
    );
    let text = cluster.sh("alice", &command);
    let value = text.split_whitespace().nth(1);
    value
        .unwrap_or_else(|| panic!("had-web has ended: {text}"))
        .parse()
        .unwrap()
}

/// That nothing happened to the cluster, and that whoever asks decently is served.
fn all_is_well(cluster: &Cluster, after: &str) {
    let begun = Instant::now();
    let (code, page) = get(cluster, "", &format!("http://{ALICE}:9694/metrics"));
    assert_eq!(code, 200, "{after}: {page}");
    println!(
        "{after}: metrics within {:?}, {} KiB",
        begun.elapsed(),
        memory_kib(cluster, "VmRSS")
    );
    until_code(
        cluster,
        &format!("http://{ALICE}:9694/groups/web/owner"),
        200,
    );
    let status = cluster.status("alice").unwrap();
    let late = status.lateness.clone().unwrap();
    println!("{after}: the daemon was at most {:?} late", late.recent.max);
    assert!(late.recent.max < late.carries, "{after}: {late:?}");
    assert!(late.recent.p999 < late.carries / 2, "{after}: {late:?}");
    let most = memory_kib(cluster, "VmHWM");
    assert!(most < MAX_MEMORY_KIB, "{after}: {most} KiB");
}

/// Whether the other side hangs up before the read times out.
fn ended(mut stream: &TcpStream) -> bool {
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

fn raise_file_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

#[test]
fn hostile_clients_cost_the_daemon_nothing() {
    raise_file_limit();
    let cluster = pair("web-hostile");
    all_is_well(&cluster, "before");

    in_client(&cluster, flood);
    all_is_well(&cluster, "after ten thousand requests");

    // Each holds a connection, sends a byte now and then, and never finishes its request.
    let slow = in_client(&cluster, || {
        let mut slow: Vec<TcpStream> = (0..SLOW_CLIENTS).filter_map(|_| connect()).collect();
        for byte in b"GET /" {
            for stream in &mut slow {
                drop(stream.write_all(&[*byte]));
            }
        }
        slow
    });
    assert_eq!(slow.len(), SLOW_CLIENTS);
    all_is_well(&cluster, "with a thousand slow clients");
    assert!(slow.iter().take(20).all(ended), "a slow client is kept");
    drop(slow);
}

#[test]
fn many_follow_and_those_who_do_not_read_hold_no_memory() {
    raise_file_limit();
    let cluster = pair("web-followers");
    let followers = in_client(&cluster, || {
        let follow = |_| {
            let mut stream = connect().unwrap();
            let request = "GET /events HTTP/1.1\r\nhost: a\r\n\r\n";
            stream.write_all(request.as_bytes()).unwrap();
            let mut head = [0; 12];
            stream.read_exact(&mut head).unwrap();
            (stream, head.ends_with(b" 200"))
        };
        (0..FOLLOWERS).map(follow).collect::<Vec<_>>()
    });
    let accepted = followers.iter().filter(|(_, accepted)| *accepted).count();
    assert_eq!(accepted, MAX_FOLLOWERS);
    all_is_well(&cluster, "with followers that do not read");

    // From an address with so many, the last of a few more is closed at once; another address is served.
    let (greedy, refused) = in_client(&cluster, || {
        let greedy: Vec<TcpStream> = (0..GREEDY).filter_map(|_| connect()).collect();
        let last = greedy.last().unwrap();
        last.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let refused = ended(last);
        (greedy, refused)
    });
    assert!(refused, "one address may have every connection");
    let command = format!("curl -s -m 10 http://{ALICE}:9694/groups/web/owner");
    assert_eq!(
        cluster.sh("bob", &command),
        "web runs on alice, which is this node\n"
    );
    drop(greedy);

    // A change reaches one that does read.
    cluster.sh("bob", "hactl takeover web");
    let (mut reader, _) = followers.into_iter().next().unwrap();
    let begun = Instant::now();
    let mut seen = String::new();
    while !seen.contains(r#""owners":["bob"],"preferred":"alice""#) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{seen}");
        let mut chunk = [0; 4096];
        let read = reader.read(&mut chunk).unwrap();
        assert!(read > 0, "the stream has ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&chunk[..read]));
    }
}
