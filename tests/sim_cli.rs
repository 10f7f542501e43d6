//! `hactl sim` as a user sees it: reports, exit codes, errors, the same seed twice.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "netns/judge.rs"]
mod judge;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

/// A folder as `had` reads it.
fn folder(more: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let ha_cf = format!(
        "keepalive 1\nwarntime 5\ndeadtime 10\ninitdead 30\nudpport 694\nbcast eth0\nnode alice\nnode bob\nauto_failback off\n{more}"
    );
    // None of its resources exist here, and the keys can be read by others.
    let haresources = "alice IPaddr::10.0.0.100/24/eth0 no-such-script::here\n";
    fs::write(dir.path().join("ha.cf"), ha_cf).unwrap();
    fs::write(dir.path().join("haresources"), haresources).unwrap();
    let keys = dir.path().join("authkeys");
    fs::write(&keys, "auth 1\n1 sha1 a-long-and-secret-word\n").unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
    dir
}

fn sim(dir: &tempfile::TempDir, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hactl"))
        .arg("sim")
        .arg(dir.path())
        .args(words)
        .output()
        .unwrap()
}

fn script(dir: &tempfile::TempDir, text: &str) -> String {
    let path = dir.path().join("script");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Standard output of a run that ended with this code.
fn said(output: &Output, code: i32) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let all = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{all}");
    all
}

/// The JSON of a run, which is as `hactl schema` says.
fn parsed(part: &str, json: &str) -> serde_json::Value {
    let schema = Command::new(env!("CARGO_BIN_EXE_hactl"))
        .arg("schema")
        .output()
        .unwrap();
    let schema = serde_json::from_str(&said(&schema, 0)).unwrap();
    let value = serde_json::from_str(json).unwrap();
    assert_eq!(judge::wrong(&schema, part, &value), [] as [String; 0]);
    value
}

const GROUP: &str = "IPaddr::10.0.0.100/24/eth0";

#[test]
fn a_crash_is_taken_over_after_deadtime() {
    let dir = folder("ping 10.0.0.254\n");
    let file = script(&dir, "at 60s crash alice # power loss\n");
    let page = said(&sim(&dir, &["--script", &file, "--for", "5m"]), 0);
    for line in [
        "   60.0000 **** crash alice",
        "bob: node alice is dead: nothing heard for",
        "no group ran on two nodes",
        "after: at 60.00 s crash alice",
    ] {
        assert!(page.contains(line), "{line} is missing in\n{page}");
    }
    let json = said(&sim(&dir, &["--script", &file, "--for", "5m", "--json"]), 0);
    let outcome = parsed("sim", &json);
    let group = &outcome["groups"][0];
    let longest = group["longest_s"].as_f64().unwrap();
    assert!((9.0..12.0).contains(&longest), "{group}");
    assert_eq!(group["group"], GROUP);
}

/// A dead service is noticed at the next look, which `every` says.
#[test]
fn the_interval_of_a_monitor_counts() {
    for (every, range) in [("2s", 0.1..3.0), ("40s", 3.0..45.0)] {
        let dir = folder(&format!(
            "ping 10.0.0.254\nmonitor * every {every} restart 1\n"
        ));
        let file = script(&dir, &format!("at 63s die {GROUP} step 2 on alice\n"));
        let json = said(&sim(&dir, &["--script", &file, "--for", "5m", "--json"]), 0);
        let outcome = parsed("sim", &json);
        let longest = outcome["groups"][0]["longest_s"].as_f64().unwrap();
        assert!(range.contains(&longest), "{every}: {longest}");
    }
}

#[test]
fn two_nodes_without_an_arbiter_both_run_it_behind_a_cut_cable() {
    let dir = folder("");
    let file = script(&dir, "at 60s cut alice bob\nat 2m heal\n");
    let page = said(&sim(&dir, &["--script", &file]), 1);
    for line in [
        "TWO OWNERS: IPaddr::10.0.0.100/24/eth0 ran on alice and bob",
        "    at 60.00 s cut alice bob\n",
        "this cannot be prevented with this configuration and these faults: ",
        "add `ping GATEWAY` to ha.cf",
    ] {
        assert!(page.contains(line), "{line} is missing in\n{page}");
    }
    let with_arbiter = folder("ping 10.0.0.254\n");
    let file = script(&with_arbiter, "at 60s isolate alice\nat 2m heal\n");
    let page = said(&sim(&with_arbiter, &["--script", &file]), 0);
    assert!(page.contains("no group ran on two nodes"), "{page}");
}

#[test]
fn the_report_shows_the_timing_as_ha_cf_has_it() {
    let options = ["--seed", "1", "--faults", "crash"];
    let page = said(&sim(&folder("ping 10.0.0.254\n"), &options), 0);
    let timing = "keepalive 1s, warntime 5s, deadtime 10s, initdead 30s, quorum stop";
    assert!(page.contains(timing), "{page}");
}

#[test]
fn help_has_every_fault_and_every_kind() {
    let help = Command::new(env!("CARGO_BIN_EXE_hactl"))
        .args(["sim", "--help"])
        .output()
        .unwrap();
    let page = said(&help, 0);
    let has = |word: &str| page.lines().any(|l| l.trim_start().starts_with(word));
    for row in had::sim::FAULT_WORDS {
        assert!(has(row.example), "{}\n{page}", row.example);
    }
    for kind in had::sim::FaultKind::ALL {
        assert!(
            has(&format!("{}  ", kind.word())),
            "{}\n{page}",
            kind.word()
        );
    }
}

#[test]
fn a_folder_of_another_machine_can_be_simulated() {
    let dir = folder("ping 10.0.0.254\n");
    let keys = dir.path().join("authkeys");
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
    said(&sim(&dir, &["--seed", "7", "--faults", "crash"]), 0);
}

#[test]
fn the_example_folder_can_be_simulated() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/ha.d");
    let output = Command::new(env!("CARGO_BIN_EXE_hactl"))
        .args(["sim", example, "--seed", "1", "--for", "2m"])
        .output()
        .unwrap();
    let page = said(&output, 0);
    assert!(page.contains("no group ran on two nodes"), "{page}");
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_one_another() {
    let dir = folder("ping 10.0.0.254\n");
    let run = |seed: &str| {
        let page = said(
            &sim(&dir, &["--seed", seed, "--faults", "crash", "--json"]),
            0,
        );
        let mut value: serde_json::Value = serde_json::from_str(&page).unwrap();
        value["seed"].take();
        value
    };
    assert_eq!(run("7"), run("7"));
    assert_ne!(run("7"), run("8"));
}

#[test]
fn what_was_saved_is_run_again_to_the_same_end() {
    let dir = folder("ping 10.0.0.254\n");
    let file = dir.path().join("saved");
    let file = file.to_str().unwrap();
    let words = ["--seed", "7", "--faults", "crash", "--json", "--save", file];
    let first = said(&sim(&dir, &words), 0);
    assert!(fs::read_to_string(file).unwrap().contains("\nseed 7\n"));
    let again = said(&sim(&dir, &["--script", file, "--json"]), 0);
    assert_eq!(first, again);
}

#[test]
fn many_runs_are_summed_up() {
    let dir = folder("ping 10.0.0.254\n");
    let words = ["--runs", "20", "--seed", "1", "--faults", "crash,isolation"];
    let page = said(&sim(&dir, &words), 0);
    for line in [
        "seed 1: alice, bob; 1 link, 1 ping node, 1 group; faults: isolation,crash",
        "20 runs: ",
        "simulated days a minute",
        "longest downtime of a run: median ",
        "no group ran on two nodes",
        "to see one run: hactl sim ",
    ] {
        assert!(page.contains(line), "{line} is missing in\n{page}");
    }
    let words = ["--runs", "20", "--seed", "1", "--faults", "crash", "--json"];
    let json = said(&sim(&dir, &words), 0);
    let outcome = parsed("sim_runs", &json);
    assert_eq!(outcome["runs"], 20);
}

#[test]
fn other_nodes_may_be_tried() {
    let dir = folder("");
    let file = script(&dir, "at 60s isolate a\n");
    let words = ["--nodes", "a,b,c", "--script", &file, "--for", "3m"];
    let page = said(&sim(&dir, &words), 1);
    assert!(page.contains("a, b, c; 1 link,"), "{page}");
    let page = said(&sim(&dir, &["--nodes", "a,a"]), 1);
    assert!(page.contains("`a` is empty or given twice"), "{page}");
}

#[test]
fn mistakes_are_shown_with_their_place_and_what_is_known() {
    let dir = folder("");
    let file = script(&dir, "at 60s crahs alice\nat 10 crash bob\n");
    let page = said(&sim(&dir, &["--script", &file]), 1);
    assert!(page.contains("hactl: the script cannot be read"), "{page}");
    assert!(page.contains(&format!("{file}:1:8: ")), "{page}");
    assert!(page.contains("did you mean `crash`"), "{page}");
    let page = said(&sim(&dir, &["--faults", "crash,cust"]), 1);
    assert!(page.contains("unknown kind of fault `cust`"), "{page}");
    said(&sim(&dir, &["--runs", "0"]), 2);
    said(&sim(&dir, &["--runs", "3", "--script", &file]), 2);
    fs::write(dir.path().join("ha.cf"), "deadtme 3\n").unwrap();
    let page = said(&sim(&dir, &[]), 1);
    assert!(page.contains("no `node` directive"), "{page}");
}
