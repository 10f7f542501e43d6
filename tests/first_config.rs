//! `hactl init`: what it writes, what it refuses, and whether a cluster can run with it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const PAIR: &str =
    "--node alice=10.0.0.1 --node bob=10.0.0.2 --interface eth0 --address 10.0.0.100/24";

fn hactl(words: &str, out: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hactl"))
        .args(words.split_whitespace())
        .arg("--out")
        .arg(out)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(text).unwrap()
}

fn check(folder: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_hactl"))
        .args(["check", "--elsewhere"])
        .arg(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

#[test]
fn what_is_written_passes_check_without_a_warning() {
    for (words, groups) in [
        (format!("init {PAIR} --ping 10.0.0.254"), "group on alice: 10.0.0.100/24/eth0\n"),
        (
            format!("init {PAIR} --ping 10.0.0.254 --resource nginx systemd::php --address fd00::100/64"),
            "group on alice: 10.0.0.100/24/eth0, fd00::100/64/eth0, nginx, systemd::php\n",
        ),
        (
            format!("init {PAIR} --node Carol=10.0.0.3"),
            "group on alice: 10.0.0.100/24/eth0\n",
        ),
        (
            "init --node a=fd00::1 --node b=fd00::2 --ping fd00::fe --interface bond0.17 --address fd00::100/64".to_owned(),
            "group on a: fd00::100/64/bond0.17\n",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = hactl(&words, folder.path());
        assert!(output.status.success(), "{words}: {}", said(&output));
        let text = check(folder.path());
        assert!(text.starts_with(groups) && text.ends_with("no errors\n"), "{words}: {text}");
    }
}

#[test]
fn the_key_is_random_and_only_its_owner_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (
        folder.path().join("first"),
        folder.path().join("deep/second"),
    );
    for out in [&first, &second] {
        let output = hactl(&format!("init {PAIR} --ping 10.0.0.254"), out);
        assert!(output.status.success(), "{}", said(&output));
        let mode = fs::metadata(out.join("authkeys"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o600);
        let names = fs::read_dir(out).unwrap().count();
        assert_eq!(names, 3, "nothing else is left there");
    }
    let key = |out: &Path| {
        let text = fs::read_to_string(out.join("authkeys")).unwrap();
        let line = text.lines().find(|l| l.starts_with("1 sha256 ")).unwrap();
        line.split_whitespace().nth(2).unwrap().to_owned()
    };
    assert_eq!(key(&first).len(), 64);
    assert_ne!(key(&first), key(&second));
}

#[test]
fn nothing_is_overwritten_without_force() {
    let folder = tempfile::tempdir().unwrap();
    let words = format!("init {PAIR} --ping 10.0.0.254");
    fs::write(folder.path().join("haresources"), "mine").unwrap();
    let output = hactl(&words, folder.path());
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(
        text.contains("has haresources already: nothing was written") && text.contains("--force"),
        "{text}"
    );
    assert_eq!(
        fs::read_to_string(folder.path().join("haresources")).unwrap(),
        "mine"
    );
    assert!(!folder.path().join("ha.cf").exists());
    let output = hactl(&format!("{words} --force"), folder.path());
    assert!(output.status.success(), "{}", said(&output));
    check(folder.path());
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let out = tempfile::tempdir().unwrap();
    for (words, says) in [
        ("init", "--node is missing: give it for each node"),
        (
            "init --node alice=10.0.0.1 --address 10.0.0.100/24",
            "at least two nodes: with one there is nobody who could take over",
        ),
        (
            "init --node alice=10.0.0.1 --node bob=10.0.0.2 --interface eth0",
            "--address is missing",
        ),
        (
            "init --node alice=203.0.113.1 --node bob=203.0.113.2 --address 203.0.113.9/24",
            "--interface is missing",
        ),
        (
            "init --node alice --node bob=10.0.0.2",
            "`alice` has no address",
        ),
        (
            "init --node alice=10.0.0.1 --node alice=10.0.0.2 --interface eth0 --address 10.0.0.3/24",
            "alice is named twice",
        ),
        (
            "init --node a=10.0.0.1 --node b=10.0.0.2 --interface eth0 --address 10.0.0.300/24",
            "300 is greater than 255",
        ),
        (
            "init --node a=10.0.0.1 --node b=10.0.0.2 --interface eth0 --address 10.0.0.3/24 --ping gateway",
            "`gateway` is not an IP address",
        ),
    ] {
        let output = hactl(words, out.path());
        assert_eq!(output.status.code(), Some(2), "{words}: {}", said(&output));
        assert!(said(&output).contains(says), "{words}: {}", said(&output));
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "{words}");
    }
}

#[test]
fn a_pair_without_a_ping_node_is_warned() {
    let folder = tempfile::tempdir().unwrap();
    let output = hactl(&format!("init {PAIR}"), folder.path());
    let text = said(&output);
    assert!(
        text.contains("warning: there is no ping node. When the two nodes do not hear each other"),
        "{text}"
    );
    assert!(check(folder.path()).contains("no errors, 1 note"));
    let folder = tempfile::tempdir().unwrap();
    let text = said(&hactl(
        &format!("init {PAIR} --node c=10.0.0.3"),
        folder.path(),
    ));
    assert!(!text.contains("warning"), "{text}");
}

#[test]
fn the_end_says_what_to_copy_and_what_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let text = said(&hactl(
        &format!("init {PAIR} --ping 10.0.0.254"),
        folder.path(),
    ));
    let scp = format!(
        "scp -rp {}/{{ha.cf,haresources,authkeys}} root@10.0.0.2:/etc/ha.d/",
        folder.path().display()
    );
    for wanted in [
        &scp[..],
        "\n  hactl check ",
        "\n  systemctl enable --now had ",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
}

#[test]
fn services_of_haresources_are_switched_off_and_paths_are_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("it's new");
    let words = format!(
        "init {PAIR} --ping 10.0.0.254 --resource nginx systemd::php drbddisk::r0 Filesystem::/dev/x::/srv::ext4"
    );
    let text = said(&hactl(&words, &out));
    let quoted = format!(
        "scp -rp '{}/it'\\''s new'/{{ha.cf,haresources,authkeys}} root@10.0.0.2:/etc/ha.d/",
        folder.path().display()
    );
    for wanted in [
        &quoted[..],
        "\n  systemctl disable --now nginx ",
        "\n  systemctl disable --now php ",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
    assert_eq!(text.matches("disable --now").count(), 2, "{text}");
    let (before, after) = text.split_once("disable --now php").unwrap();
    assert!(
        before.contains("hactl check") && after.contains("enable --now had"),
        "{text}"
    );
}

/// The cluster survives random faults as the files are.
#[test]
fn a_simulation_runs_with_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    hactl(
        &format!("init {PAIR} --ping 10.0.0.254 --resource nginx"),
        folder.path(),
    );
    let output = Command::new(env!("CARGO_BIN_EXE_hactl"))
        .args(["sim", "--runs", "20", "--seed", "1", "--faults", "crash"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

/// On a terminal, which script(1) makes, each missing answer is asked for.
#[test]
fn a_terminal_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let command = format!(
        "{} init --interface eth0 --out {}",
        env!("CARGO_BIN_EXE_hactl"),
        folder.path().display()
    );
    let mut child = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let answers = "alice=10.0.0.1\nbob=10.0.0.2\n\n10.0.0.100\n10.0.0.100/24\n10.0.0.254\nnginx\n";
    child
        .stdin
        .take()
        .unwrap()
        .write_all(answers.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    for wanted in [
        "First node",
        "Second node",
        "has no prefix length",
        "Ping node",
        "Written to",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
    let groups = check(folder.path());
    assert!(
        groups.starts_with("group on alice: 10.0.0.100/24/eth0, nginx\n"),
        "{groups}"
    );
}
