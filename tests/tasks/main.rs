//! The pages of the manual that lead through a task, followed line by line in a lab as an administrator would. Needs root.
//!
//! A page cannot have a line that is not tried: each line of its displays is typed here, or printed by what is typed, or
//! written into a file, or stands in the list of [`elsewhere`], with the reason why it cannot be run.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod elsewhere;
mod night;
mod page;
mod world;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use world::{PAIR, Scene, follow};

/// The pages, each followed by the test of that name.
const PAGES: [&str; 11] = [
    "had-add-node",
    "had-change-key",
    "had-cloud",
    "had-container",
    "had-first-cluster",
    "had-from-heartbeat",
    "had-night",
    "had-remove-node",
    "had-replace-machine",
    "had-several-clusters",
    "had-upgrade",
];

const THREE: &[&str] = &["alice", "bob", "carol"];
const NEW: Scene = Scene {
    members: &[],
    ha_cf: "",
    haresources: "",
    ..PAIR
};

#[test]
fn had_first_cluster() {
    follow("had-first-cluster", NEW);
}

#[test]
fn had_add_node() {
    let machines = THREE;
    follow("had-add-node", Scene { machines, ..PAIR });
}

#[test]
fn had_change_key() {
    follow("had-change-key", PAIR);
}

#[test]
fn had_upgrade() {
    follow("had-upgrade", PAIR);
}

#[test]
fn had_replace_machine() {
    let machines = THREE;
    follow("had-replace-machine", Scene { machines, ..PAIR });
}

#[test]
fn had_remove_node() {
    let trio = Scene {
        machines: THREE,
        members: THREE,
        ha_cf: "node alice bob carol
ucast eth0 192.168.1.11
ucast eth0 192.168.1.12
ucast eth0 192.168.1.13
ping 192.168.1.1
keepalive 200ms
warntime 1
deadtime 3
initdead 6
auto_failback off
monitor * every 2s
",
        ..PAIR
    };
    follow("had-remove-node", trio);
}

#[test]
fn had_night() {
    follow("had-night", PAIR);
}

/// What heartbeat leaves on the machines of a lab. Programs that only wait stand for its own; tests/packages has the real ones.
const LEFT_BEHIND: &str = "set -e
mount -t tmpfs tmpfs /usr/local/lib
mkdir /usr/local/lib/heartbeat
for program in heartbeat ipfail; do
    cp /bin/sleep /usr/local/lib/heartbeat/$program
    setsid /usr/local/lib/heartbeat/$program 1000 </dev/null >/dev/null 2>&1 &
done
[ $(hostname) = alice ] || exit 0
ip address add 192.168.1.100/24 dev eth0 label eth0:0
/etc/ha.d/resource.d/nginx start
";

#[test]
fn had_from_heartbeat() {
    let left_behind = Some(LEFT_BEHIND);
    follow(
        "had-from-heartbeat",
        Scene {
            left_behind,
            ..PAIR
        },
    );
}

/// The command of a provider: it knows one address and one machine that has it.
const CLOUD_API: &str = "#!/bin/sh
case $1 in
owner) cat SHARED/$2 2>/dev/null || true ;;
assign) echo $3 >SHARED/$2 ;;
release) rm -f SHARED/$2 ;;
*) exit 2 ;;
esac
";

#[test]
fn had_cloud() {
    let scene = Scene {
        machines: THREE,
        program: Some(("cloud-api", CLOUD_API)),
        ..NEW
    };
    follow("had-cloud", scene);
}

#[test]
fn had_container() {
    follow("had-container", PAIR);
}

#[test]
fn had_several_clusters() {
    let machines = THREE;
    follow("had-several-clusters", Scene { machines, ..PAIR });
}

#[test]
fn every_page_is_followed_and_found() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = fs::read_dir(top.join("packaging/man")).unwrap();
    let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
    let pages: BTreeSet<String> = names
        .filter(|n| n.starts_with("had-"))
        .filter_map(|n| n.strip_suffix(".7").map(str::to_owned))
        .collect();
    let followed: BTreeSet<String> = PAGES.map(str::to_owned).into();
    assert_eq!(
        pages, followed,
        "a page that no test follows, or none for a test"
    );
    let tests = fs::read_to_string(top.join("tests/tasks/main.rs")).unwrap();
    let overview = fs::read_to_string(top.join("packaging/man/had.7")).unwrap();
    for page in PAGES {
        let test = format!("fn {}()", page.replace('-', "_"));
        assert!(tests.contains(&test), "no test {test}");
        assert!(
            overview.contains(&format!(".It Xr {page} 7")),
            "had(7) does not name {page}"
        );
    }
}

/// What stands within a sentence is at least what the program understands: with a daemon that is not there, a command that
/// is right ends with 3, and a wrong one with 2.
#[test]
fn commands_within_sentences_are_understood() {
    let mut seen = 0;
    for page in PAGES {
        let text = page::source(page);
        for line in text.lines().filter_map(|l| l.strip_prefix(".Ql hactl ")) {
            let words = line
                .split_whitespace()
                .filter(|w| ![".", ",", ";", ":", ")."].contains(w));
            let mut words: Vec<&str> = words.collect();
            if ["adopt", "check", "init", "lab", "replay", "sim"].contains(&words[0]) {
                words.push("--help");
            }
            let ended = Command::new(env!("CARGO_BIN_EXE_hactl"))
                .args(["--socket", "/nonexistent/had.sock"])
                .args(&words)
                .output()
                .unwrap();
            let code = ended.status.code();
            let help = words.last() == Some(&"--help");
            assert!(
                code == Some(3) || help && code == Some(0),
                "{page}: hactl {line}: {ended:?}"
            );
            seen += 1;
        }
    }
    assert!(seen > 20, "the pages were not understood: {seen}");
}

/// What each page answers, whatever its task is.
#[test]
fn every_page_has_the_same_parts() {
    for page in PAGES {
        let text = page::source(page);
        for heading in ["WHAT YOU NEED", "STEPS", "HOW TO GO BACK", "WHAT IT COSTS"] {
            let there = text.lines().any(|l| l == format!(".Sh {heading}"));
            assert!(there || page == "had-night", "{page} has no {heading}");
        }
    }
}
