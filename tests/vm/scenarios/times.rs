//! How long each step of a switch takes, by our daemon and by heartbeat 3.0.6 in the same machines. Prints numbers and
//! asserts none.

use super::database::comes_back;
use crate::client::{Client, answer};
use crate::command::until_so;
use crate::files::{ha_cf, peer_of};
use crate::network::NAMES;
use crate::pair::Pair;
use crate::steps::{Watch, until_seen};

/// Where Debian has it; our first users' path is another.
const IPFAIL: &str = "/usr/libexec/heartbeat/ipfail";

/// A switch by our daemon.
pub fn of_had(pair: &mut Pair) {
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
    // The package makes these when it is installed, a boot of Debian anew.
    let folders =
        "/run/heartbeat/ccm /run/heartbeat/dopd /run/heartbeat/rsctmp /run/resource-agents";
    pair.on(name).sh(&format!(
        "mkdir -p {folders} && chown -R hacluster:haclient /run/heartbeat && \
         /etc/init.d/heartbeat start </dev/null >/var/log/start 2>&1"
    ));
}

/// What went up and down on both, and for how long the client got no commit.
fn measure(pair: &mut Pair, what: &str, owner: &str, order: impl FnOnce(&mut Pair)) {
    let client = Client::start(next_row());
    client.until_written(5);
    let watch = Watch::start(pair);
    order(pair);
    until_seen(pair, peer_of(owner), "server up");
    client.until_written(5);
    let record = client.stop();
    let gap = record.longest_gap().as_secs_f64();
    println!("  {what}: longest time without a commit {gap:.1} s");
    for step in watch.finish(pair) {
        println!("  {what}: {:6.1} s  {} {}", step.at, step.node, step.what);
    }
    record.nothing_is_lost();
}

fn next_row() -> u64 {
    let greatest = answer("select coalesce(max(n), 0) from shop.orders");
    greatest.trim().parse::<u64>().unwrap() + 1000
}
