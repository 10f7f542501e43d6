//! `hactl lab up` as the README shows it: with the files of a fresh clone, and with files that a daemon refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn lab(name: &str, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hactl"))
        .args(["lab", "--name", name])
        .args(words)
        .output()
        .unwrap()
}

/// The number of alice's daemon, as `hactl lab status` shows it.
fn pid_of_alice(name: &str) -> Option<String> {
    let output = lab(name, &["status"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|l| l.trim_start().starts_with("alice"))?;
    let (_, pid) = line.split_once("(pid ")?;
    Some(pid.split(')').next()?.to_owned())
}

/// The sample configuration, with keys that everybody can read, as after a checkout.
fn checkout() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("ha.d");
    for file in ["ha.cf", "haresources", "authkeys"] {
        fs::copy(sample.join(file), dir.path().join(file)).unwrap();
    }
    let keys = dir.path().join("authkeys");
    fs::set_permissions(keys, fs::Permissions::from_mode(0o644)).unwrap();
    dir
}

/// Runs it, ends the lab, and returns whether it succeeded, with all that it printed.
fn up_and_down(name: &str, dir: &Path) -> (bool, String) {
    let name = format!("{name}-{}", std::process::id());
    let output = lab(&name, &["up", dir.to_str().unwrap()]);
    lab(&name, &["down"]);
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn the_sample_starts_as_it_comes_out_of_a_clone() {
    let dir = checkout();
    let (started, text) = up_and_down("up-sample", dir.path());
    assert!(started, "{text}");
    assert_eq!(text.matches("had is running").count(), 2, "{text}");
}

/// As systemd does: a daemon that ends is started again, but not one that was stopped.
#[test]
fn a_daemon_that_restarts_comes_back_and_one_that_was_stopped_does_not() {
    let dir = checkout();
    let name = format!("up-again-{}", std::process::id());
    let output = lab(&name, &["up", dir.path().to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let first = pid_of_alice(&name).unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    // Until it has heard its peer, it may refuse to be restarted.
    while !lab(
        &name,
        &["exec", "alice", "--", "hactl", "restart", "--no-wait"],
    )
    .status
    .success()
    {
        assert!(Instant::now() < until, "it cannot be restarted");
        std::thread::sleep(Duration::from_millis(100));
    }
    let is_new = || pid_of_alice(&name).is_some_and(|pid| pid != first);
    while !is_new() {
        assert!(Instant::now() < until, "it does not come back");
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = lab(&name, &["stop", "alice"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(pid_of_alice(&name), None);
    lab(&name, &["down"]);
}

/// Their checks and scripts are in the folder and in `resource.d` of the tree.
#[test]
fn the_examples_start_as_they_lie_in_the_tree() {
    for example in ["two-masters", "writer-and-reader"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("ha.d/examples");
        let (started, text) = up_and_down(&format!("up-{example}"), &dir.join(example));
        assert!(started, "{text}");
        assert_eq!(text.matches("had is running").count(), 2, "{text}");
    }
}

#[test]
fn a_witness_gets_a_machine_of_its_own() {
    let dir = checkout();
    let path = dir.path().join("ha.cf");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text + "witness carol\n").unwrap();
    let (started, text) = up_and_down("up-witness", dir.path());
    assert!(started, "{text}");
    assert_eq!(text.matches("had is running").count(), 3, "{text}");
}

#[test]
fn a_daemon_that_does_not_start_is_an_error_with_its_reason() {
    let dir = checkout();
    fs::write(
        dir.path().join("haresources"),
        "alice 192.168.1.100/24/eth0 no-such-script\n",
    )
    .unwrap();
    let (started, text) = up_and_down("up-refused", dir.path());
    assert!(!started, "{text}");
    assert!(
        text.contains("there is no resource `no-such-script`"),
        "{text}"
    );
}
