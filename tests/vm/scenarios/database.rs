//! The database stack: an address, DRBD, a file system, a server; and a client that counts its commits.

use had::model::heartbeat::GroupState;

use crate::client::{Client, answer};
use crate::files::{ADDRESS, Extra, peer_of};
use crate::network::NAMES;
use crate::pair::{Pair, state_at};
use crate::scenarios::boots::answered_by;
use crate::steps::{Watch, in_order};

pub const EXTRA: Extra = Extra {
    haresources: "test6 IPaddr::10.1.88.199/24/eth0:1 drbddisk::db Filesystem::/dev/drbd1::/database::ext4 mysqld\n",
    // Emulated machines are slow.
    ha_cf: "timeout * start 5m monitor 1m stop 30s\ntimeout mysqld stop 2m\n",
    files: &[
        (
            "usr/lib/guest/make-database",
            include_str!("../laid/make-database"),
        ),
        ("usr/lib/guest/steps", include_str!("../laid/steps")),
        ("etc/init.d/mysqld", include_str!("../laid/mysqld")),
        // heartbeat does not ping without.
        ("etc/protocols", "icmp 1 ICMP\n"),
    ],
};

/// DRBD, a file system and a database are there, and all is down.
pub fn make(pair: &Pair) {
    pair.make_drbd();
    pair.on("test6").sh("bash /usr/lib/guest/make-database");
}

/// Starts both daemons; test6 gets the group, and a client answers.
pub fn start(pair: &Pair) {
    for name in NAMES {
        pair.on(name).sh("hactl check");
        pair.start_had(name);
    }
    pair.until_online("test6");
    for name in NAMES {
        pair.until_active(name);
    }
    answer("select 1");
}

/// Where the stack is up, whole.
pub fn has_all(pair: &Pair, name: &str) {
    answered_by(pair, name);
    let role = pair.drbd(name, "role");
    assert!(role.starts_with("Primary/"), "{name}: {role}");
    pair.on(name)
        .sh("mountpoint -q /database && pidof mariadbd");
}

/// Where nothing of it is up.
pub fn has_nothing(pair: &Pair, name: &str) {
    let role = pair.drbd(name, "role");
    assert!(role.starts_with("Secondary/"), "{name}: {role}");
    pair.on(name).sh(&format!(
        "! mountpoint -q /database && ! pidof mariadbd && ! ip -o addr | grep -F {ADDRESS}"
    ));
}

/// A machine that was off comes back as it would by itself: DRBD first, then the daemon.
pub fn comes_back(pair: &mut Pair, name: &str) {
    pair.rig.switch_on(name);
    pair.on(name).sh("modprobe drbd && drbdadm up db");
    pair.start_had(name);
    pair.until_active(name);
    pair.until_drbd(name, "dstate", "UpToDate/UpToDate");
}

/// Both are started with nothing up: the group comes up in the order of its line.
pub fn cold_start(pair: &mut Pair) {
    let watch = Watch::start(pair);
    start(pair);
    has_all(pair, "test6");
    has_nothing(pair, "test7");
    assert_eq!(pair.drbd("test7", "role"), "Secondary/Primary");
    let steps = watch.finish(pair);
    in_order(
        &steps,
        "test6",
        &["address up", "drbd up", "mount up", "server up"],
    );
}

/// The daemon of the owner is stopped: all is stopped from right to left, and the other has the same rows.
pub fn clean_stop(pair: &mut Pair) {
    for query in [
        "create database db",
        "create table db.t (id int(10), name char(10))",
        "insert into db.t values (001, 'test1'), (002, 'test2')",
    ] {
        answer(query);
    }
    let client = Client::start(1);
    client.until_written(3);
    let watch = Watch::start(pair);
    pair.stop_had("test6");
    pair.until_online("test7");
    client.until_written(3);
    let record = client.stop();
    println!("    longest gap {:?}", record.longest_gap());
    let steps = watch.finish(pair);
    let down = ["server down", "mount down", "drbd down", "address down"];
    in_order(&steps, "test6", &down);
    has_all(pair, "test7");
    has_nothing(pair, "test6");
    assert_eq!(pair.drbd("test6", "role"), "Secondary/Primary");
    assert_eq!(pair.drbd("test6", "dstate"), "UpToDate/UpToDate");
    assert_eq!(answer("select * from db.t"), "1\ttest1\n2\ttest2\n");
    record.nothing_is_lost();
}

/// Ten times the owner loses its power while rows are written.
pub fn power_loss(pair: &mut Pair) {
    let rounds = std::env::var("HAD_VM_ROUNDS").map_or(10, |n| n.parse().unwrap());
    let mut owner = "test6";
    let mut next = 1;
    for round in 1..=rounds {
        let client = Client::start(next);
        client.until_written(5);
        let peer = peer_of(owner);
        pair.rig.machine_mut(owner).kill();
        pair.until_online(peer);
        client.until_written(5);
        has_all(pair, peer);
        comes_back(pair, owner);
        client.until_written(5);
        let record = client.stop();
        record.nothing_is_lost();
        next = record.next;
        println!(
            "    round {round}: {owner} lost its power; {} rows, longest gap {:?}",
            record.committed.len(),
            record.longest_gap()
        );
        pair.until_status(peer, "nothing moved back", |s| {
            state_at(s, peer) == Some(GroupState::Online)
        });
        has_nothing(pair, owner);
        owner = peer;
    }
}
