//! A place that goes away with this process, however that ends: a network namespace, and a file system in memory that
//! only this process and its children see. Nothing has to be cleaned up, and nothing is left.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::network;

/// For all disks and the memories that are kept of them.
const SPACE: &str = "size=6g";

/// Goes there. Must be called before there is any other thread.
pub fn go() {
    let flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    unshare(flags)
        .unwrap_or_else(|e| panic!("cannot be apart from this machine; are you root? {e}"));
    let nothing: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(nothing, "/", nothing, private, nothing).unwrap();
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vm");
    fs::create_dir_all(&place).unwrap();
    mount(
        Some("vm"),
        &place,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(SPACE),
    )
    .unwrap();
    // The paths of sockets must be short: all of ours begin here.
    env::set_current_dir(&place).unwrap();
    network::build();
}

/// What outlives us: the logs of a scenario.
pub fn evidence(scenario: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vm-logs");
    let place = place.join(scenario);
    drop(fs::remove_dir_all(&place));
    fs::create_dir_all(&place).unwrap();
    place
}
