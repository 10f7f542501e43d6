//! Mail about a group from `MailTo` and from a `notify` program: a real client sends it to our own server.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use nix::sched::{CloneFlags, setns};

use crate::cluster::{Blueprint, Cluster, TIMES, wait};

/// A configured mail program.
const MAIL: &str = "#!/bin/sh
exec s-nail -:/ -S v15-compat -S from=had@$HA_CURHOST -S mta=smtp://10.0.0.9:25 -S smtp-auth=none \"$@\"
";

/// A mail server in the client's network. It accepts and keeps everything.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Vec<String>>>);

impl Server {
    fn start(cluster: &Cluster) -> Server {
        let server = Server::default();
        let namespace = namespace_of(cluster, "client");
        let (ready, is_ready) = std::sync::mpsc::channel();
        let own = server.clone();
        std::thread::spawn(move || {
            setns(fs::File::open(namespace).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            let listener = TcpListener::bind("0.0.0.0:25").unwrap();
            ready.send(()).unwrap();
            for stream in listener.incoming() {
                let own = own.clone();
                std::thread::spawn(move || own.talk(&stream.unwrap()));
            }
        });
        is_ready.recv().unwrap();
        server
    }

    /// Serves one connection.
    fn talk(&self, mut stream: &TcpStream) {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let mut answer = |text: &str| write!(stream, "{text}\r\n").is_ok();
        answer("220 ready");
        let mut mail = String::new();
        while let Some(line) = lines.next() {
            match line.split(' ').next().unwrap_or_default() {
                "DATA" => {
                    answer("354 go on");
                    let text: Vec<String> = lines.by_ref().take_while(|l| l != ".").collect();
                    let whole = mail.split_off(0) + &text.join("\n");
                    self.0.lock().unwrap().push(whole);
                    answer("250 kept");
                }
                "QUIT" => {
                    answer("221 done");
                    return;
                }
                _ => {
                    mail += &format!("{line}\n");
                    answer("250 well");
                }
            }
        }
    }

    /// Waits for a mail that contains all of these.
    fn has(&self, wanted: &[&str]) {
        let mails = || self.0.lock().unwrap().clone();
        let is_there = || mails().iter().any(|m| wanted.iter().all(|w| m.contains(w)));
        assert!(wait(is_there), "{wanted:?} is not in {:#?}", mails());
    }
}

/// The network namespace of a host of the lab, by a process of that host.
fn namespace_of(cluster: &Cluster, host: &str) -> PathBuf {
    let wanted = cluster.sh(host, "readlink /proc/self/ns/net");
    let mut networks = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| entry.path().join("ns/net"));
    let same =
        |path: &PathBuf| fs::read_link(path).is_ok_and(|link| link.as_os_str() == wanted.trim());
    networks.find(same).unwrap()
}

#[test]
fn an_administrator_gets_mail_from_mailto_and_from_notify() {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/ha.d/notify.d/mail");
    let ha_cf = format!(
        "{TIMES}bcast eth0\nauto_failback off\nnode alice bob\nping 10.0.0.9\nnotify /etc/ha.d/notify.d\n\
         env MAILTO=night@example.com\n"
    );
    let haresources = "alice 10.0.0.100/24/eth0 MailTo::admin@example.com::Web\n";
    let cluster = Blueprint::new("mail", &ha_cf, haresources)
        .file(
            "notify.d/mail",
            &fs::read_to_string(program).unwrap(),
            0o755,
        )
        .file("mail", MAIL, 0o755)
        .node("alice", &["eth0 10.0.0.1/24"], &[])
        .node("bob", &["eth0 10.0.0.2/24"], &[])
        .client("eth0 10.0.0.9/24")
        .watch(&["10.0.0.100"])
        .idle()
        .up();
    let server = Server::start(&cluster);
    for node in ["alice", "bob"] {
        cluster.sh(
            node,
            "mount -t tmpfs none /usr/local/bin && cp /etc/ha.d/mail /usr/local/bin/",
        );
        cluster.lab.start_had(node).unwrap();
    }
    cluster.until_owner("10.0.0.100", "alice");
    cluster.until_active(&["alice", "bob"]);
    server.has(&[
        "RCPT TO:<admin@example.com>",
        "Web Takeover in progress",
        "alice",
    ]);
    let online = "10.0.0.100/24/eth0 is online on alice";
    server.has(&[
        "RCPT TO:<night@example.com>",
        online,
        "all its resources are started",
    ]);

    cluster.sh("alice", "hactl standby");
    server.has(&[
        "RCPT TO:<admin@example.com>",
        "Web Migrating resource away",
        "alice",
    ]);
    server.has(&[
        "RCPT TO:<admin@example.com>",
        "Web Takeover in progress",
        "bob",
    ]);
    server.has(&["is offline on alice", "this node is in standby"]);
    server.has(&["is online on bob"]);
}
