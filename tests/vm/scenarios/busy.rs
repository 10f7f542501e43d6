//! A file system that somebody holds when it is to be given up.

use had::model::heartbeat::GroupState;

use super::database::{has_all, has_nothing};
use crate::client::Client;
use crate::pair::{Pair, state_at};

/// Whoever has a file open on the mount or on a bind mount of it, also when it stands still, is ended; nobody else is.
pub fn held_by_processes(pair: &mut Pair) {
    let client = Client::start(1);
    client.until_written(3);
    let owner = pair.on("test6");
    owner.sh("mkdir -p /bound && mount --bind /database /bound");
    for (name, file) in [
        ("open", "/database/open"),
        ("bound", "/bound/bound"),
        ("still", "/database/still"),
        ("innocent", "/var/tmp/innocent"),
    ] {
        owner.sh(&format!(
            "setsid sleep 100000 9>{file} </dev/null >/dev/null 2>&1 & echo $! >/run/{name}.pid"
        ));
    }
    owner.sh("kill -STOP $(cat /run/still.pid)");

    pair.on("test6").sh("hactl standby");
    pair.until_online("test7");
    client.until_written(3);
    let record = client.stop();
    record.nothing_is_lost();
    println!("    longest gap {:?}", record.longest_gap());
    has_nothing(pair, "test6");
    let alive = pair.on("test6").sh(
        "for n in open bound still innocent; do kill -0 $(cat /run/$n.pid) 2>/dev/null && echo $n; done; true",
    );
    assert_eq!(alive, "innocent\n", "who is still there");
}

/// The kernel itself holds it, and lets go of it for nobody: the group is stuck, and the other one does not begin.
pub fn held_by_the_kernel(pair: &mut Pair) {
    pair.on("test6").sh(
        "modprobe loop; truncate -s 4M /database/image && mkfs.ext4 -q /database/image && \
         mkdir -p /inner && mount -o loop /database/image /inner",
    );
    let told = pair.on("test6").run("hactl standby --timeout 2m");
    println!("    standby: {} {}{}", told.code, told.stdout, told.stderr);
    assert_ne!(told.code, 0, "{told:?}");
    pair.until_status("test6", "it is stuck", |s| {
        state_at(s, "test6") == Some(GroupState::Stuck)
    });
    pair.says("test6", "/database");
    let seen = pair.until_status("test7", "it knows", |s| {
        state_at(s, "test6") == Some(GroupState::Stuck)
    });
    assert_ne!(state_at(&seen, "test7"), Some(GroupState::Online));
    assert_eq!(pair.drbd("test7", "role"), "Secondary/Primary");

    pair.on("test6")
        .sh("umount /inner && umount /database && drbdadm secondary db && hactl clear 10.1.88.199");
    pair.until_online("test7");
    has_all(pair, "test7");
}
