//! Links that are lost while both machines live: DRBD's, the heartbeats', all.

use had::model::status::Liveness;

use super::database::{comes_back, has_all, has_nothing};
use crate::client::Client;
use crate::command::until_so;
use crate::network::{self, NAMES, NETS};
use crate::pair::{Pair, liveness};

const REPLICATION: [&str; 2] = ["tcp dport 7788", "tcp sport 7788"];
const HEARTBEATS: [&str; 2] = ["udp dport 694", "udp sport 694"];

/// The peer's data is outdated, so a takeover by it is refused, with the reason, until it is in sync again.
pub fn replication_cut(pair: &mut Pair) {
    let client = Client::start(1);
    client.until_written(3);
    pair.on("test7").block(&REPLICATION);
    pair.until_drbd("test7", "dstate", "Outdated/DUnknown");
    pair.until_drbd("test6", "dstate", "UpToDate/Outdated");
    client.until_written(3);

    pair.rig.machine_mut("test6").kill();
    pair.until_status("test7", "test6 is dead", |s| {
        liveness(s, "test6") == Some(Liveness::Dead)
    });
    let taken = pair.on("test7").run("hactl takeover --timeout 30s");
    println!(
        "    takeover: {} {}{}",
        taken.code, taken.stdout, taken.stderr
    );
    assert_ne!(taken.code, 0, "old data was taken over: {taken:?}");
    pair.says("test7", "Outdated");
    assert_eq!(pair.drbd("test7", "role"), "Secondary/Unknown");

    pair.on("test7").unblock();
    comes_back(pair, "test6");
    pair.until_online("test6");
    client.until_written(3);
    pair.until_drbd("test7", "dstate", "UpToDate/UpToDate");
    pair.on("test7").sh("hactl takeover");
    pair.until_online("test7");
    client.until_written(3);
    client.stop().nothing_is_lost();
}

/// The other one hears nothing of the owner, which still replicates to it and answers for the address: nobody moves.
pub fn heartbeats_cut(pair: &mut Pair) {
    let client = Client::start(1);
    client.until_written(3);
    pair.on("test7").block(&HEARTBEATS);
    for (name, peer) in [("test6", "test7"), ("test7", "test6")] {
        let status = pair.until_status(name, &format!("{peer} is dead"), |s| {
            liveness(s, peer) == Some(Liveness::Dead)
        });
        let node = status.nodes.iter().find(|n| n.name.as_str() == peer);
        let links = &node.unwrap().links;
        assert!(links.iter().all(|l| !l.hears), "{name}: {links:?}");
        pair.says(name, "silent for longer than deadtime on eth0");
    }
    pair.until_refused("test7");
    client.until_written(3);
    has_all(pair, "test6");
    has_nothing(pair, "test7");
    assert_eq!(pair.drbd("test6", "cstate"), "Connected");

    pair.on("test7").unblock();
    for name in NAMES {
        pair.until_active(name);
    }
    client.until_written(3);
    client.stop().nothing_is_lost();
    pair.until_online("test6");
    has_nothing(pair, "test7");
}

/// The owner alone is cut off from everything: it stops, and only then the other one, which sees the gateway, begins.
pub fn all_cut(pair: &mut Pair) {
    let client = Client::start(1);
    client.until_written(3);
    for net in NETS {
        network::unplug("test6", net);
    }
    until_so("test7 is Primary, never beside test6", || {
        // In this order: whoever is Primary at test7 stays so, so a test6 that is up after that look was up beside it.
        let begun = pair.drbd("test7", "role").starts_with("Primary");
        let up = pair.drbd("test6", "role").starts_with("Primary");
        assert!(!(begun && up), "both are Primary");
        begun
    });
    pair.until_online("test7");
    has_nothing(pair, "test6");
    client.until_written(3);

    network::heal();
    for name in NAMES {
        pair.until_active(name);
    }
    pair.until_drbd("test7", "dstate", "UpToDate/UpToDate");
    for name in NAMES {
        assert_eq!(pair.drbd(name, "cstate"), "Connected", "{name}");
    }
    client.until_written(3);
    let record = client.stop();
    println!("    longest gap {:?}", record.longest_gap());
    record.nothing_is_lost();
    has_all(pair, "test7");
    has_nothing(pair, "test6");
}
