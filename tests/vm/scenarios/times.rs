//! How long each step of a switch takes, by our daemon and by heartbeat 3.0.6 in the same machines. Prints numbers and
//! asserts none.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::database::{comes_back, running};
use crate::client::{Client, answer};
use crate::command::until_so;
use crate::files::{ha_cf, peer_of};
use crate::network::NAMES;
use crate::pair::Pair;

const STEPS: &str = "/var/log/steps";
/// Where Debian has it; our first users' path is another.
const IPFAIL: &str = "/usr/libexec/heartbeat/ipfail";

/// A switch by our daemon.
pub fn of_had(pair: &mut Pair) {
    running(pair);
    measure(pair, "had, clean stop", "test6", |pair| {
        pair.on("test6").begin("kill $(pidof had)");
    });
    until_so("had has ended", || {
        pair.on("test6").run("pidof had").code != 0
    });
    pair.start_had("test6");
    pair.until_active("test6");
    pair.until_active("test7");
    measure(pair, "had, power loss", "test7", |pair| {
        pair.rig.machine_mut("test7").kill();
    });
    comes_back(pair, "test7");
}

/// The same switch by heartbeat.
pub fn of_heartbeat(pair: &mut Pair) {
    for name in NAMES {
        let usual = ha_cf(name, "");
        let text = usual.replace("/usr/lib/heartbeat/ipfail", IPFAIL);
        assert_ne!(usual, text);
        pair.on(name).put("/etc/ha.d/ha.cf", &text);
        start_heartbeat(pair, name);
    }
    answer("select 1");
    measure(pair, "heartbeat, clean stop", "test6", |pair| {
        pair.on("test6").begin("/etc/init.d/heartbeat stop");
    });
    until_so("heartbeat has ended", || {
        pair.on("test6").run("pidof heartbeat").code != 0
    });
    start_heartbeat(pair, "test6");
    for (name, peer) in [("test6", "test7"), ("test7", "test6")] {
        until_so(&format!("{name} hears {peer}"), || {
            let told = pair.on(name).run(&format!("cl_status nodestatus {peer}"));
            told.stdout.trim() == "active"
        });
    }
    measure(pair, "heartbeat, power loss", "test7", |pair| {
        pair.rig.machine_mut("test7").kill();
    });
}

fn start_heartbeat(pair: &Pair, name: &str) {
    pair.on(name)
        .sh("/etc/init.d/heartbeat start </dev/null >/var/log/start 2>&1");
}

/// What went up and down on both, from the order on, and for how long the client got no commit.
fn measure(pair: &mut Pair, what: &str, owner: &str, order: impl FnOnce(&mut Pair)) {
    let client = Client::start(next_row());
    client.until_written(5);
    let ahead = NAMES.map(|name| {
        let script = format!(
            "setsid bash /usr/lib/guest/steps >{STEPS} </dev/null 2>&1 & echo $! >/run/steps.pid"
        );
        pair.on(name).sh(&script);
        ahead(pair, name)
    });
    until_so("the steps are watched", || {
        NAMES
            .iter()
            .all(|n| pair.on(n).run(&format!("grep server {STEPS}")).code == 0)
    });
    let begun = since_epoch();
    order(pair);
    let peer = peer_of(owner);
    until_so(&format!("{peer} has a server"), || {
        pair.on(peer).run(&format!("grep 'server up' {STEPS}")).code == 0
    });
    client.until_written(5);
    let record = client.stop();
    let mut lines = Vec::new();
    for (name, ahead) in NAMES.iter().zip(ahead) {
        if pair.rig.machine_mut(name).is_on() {
            let text = pair
                .on(name)
                .sh(&format!("kill $(cat /run/steps.pid); cat {STEPS}"));
            lines.extend(text.lines().filter_map(|l| step(name, l, begun + ahead)));
        }
    }
    lines.sort_by(|a, b| a.0.total_cmp(&b.0));
    println!(
        "  {what}: longest time without a commit {:.1} s",
        record.longest_gap().as_secs_f64()
    );
    for (at, text) in lines {
        println!("  {what}: {at:6.1} s  {text}");
    }
    record.nothing_is_lost();
}

/// One line of the watcher, if it was after the order.
fn step(name: &str, line: &str, begun: f64) -> Option<(f64, String)> {
    let (time, what) = line.split_once(' ')?;
    let at = time.parse::<f64>().unwrap() - begun;
    (at > 0.0).then(|| (at, format!("{name} {what}")))
}

/// How far a guest's clock is ahead of ours, in seconds.
fn ahead(pair: &Pair, name: &str) -> f64 {
    let before = since_epoch();
    let theirs: f64 = pair
        .on(name)
        .sh("echo $EPOCHREALTIME")
        .trim()
        .parse()
        .unwrap();
    theirs - f64::midpoint(before, since_epoch())
}

fn since_epoch() -> f64 {
    let now: Duration = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs_f64()
}

fn next_row() -> u64 {
    let greatest = answer("select coalesce(max(n), 0) from shop.orders");
    greatest.trim().parse::<u64>().unwrap() + 1000
}
