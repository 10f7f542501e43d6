//! Fencing: the machine of a dead owner is switched off before another node starts what stands on shared storage.
//!
//! The fence agent is a script in the manner of the `fence-agents` package. It leaves its order in a file, and the test is the
//! power switch that carries it out.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::common::*;
use had::model::fencing::FencingState;
use had::model::status::Status;

const NODES: [&str; 3] = ["alice", "bob", "carol"];
const AGENT: &str = r#"#!/bin/sh
# Reads its options from standard input; the file $plug says whether the machine is on.
while IFS='=' read -r name value; do
    case $name in action) action=$value ;; plug) plug=$value ;; password) password=$value ;; esac
done
cd 'DIR' || exit 1
test "$password" = only-root-reads-this || { echo "wrong password $password" >&2; exit 1; }
if test -e broken; then echo 'no route to the power switch' >&2; exit 1; fi
case $action in
    off | on)
        echo "$action" >"$plug.new" && mv "$plug.new" "order-$plug"
        while test -e "order-$plug"; do sleep 0.05; done ;;
    status) test "$(cat "power-$plug")" = on || { echo "Status: OFF"; exit 2; } ;;
    *) exit 1 ;;
esac
"#;

/// Alice runs what counts as shared storage. Every node can be fenced.
fn three(name: &str) -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ha.d");
    let shown = dir.path().display().to_string();
    put(
        &dir.path().join("fence_lab"),
        &AGENT.replace("DIR", &shown),
        0o755,
    );
    put(&dir.path().join("secret"), "only-root-reads-this\n", 0o600);
    let told = format!("#!/bin/sh\necho \"$HA_NOTIFY_NODE $HA_NOTIFY_TO\" >>'{shown}/told'\n");
    put(&dir.path().join("tell"), &told, 0o755);
    let fence = |node: &&str| {
        format!("fence {node} {shown}/fence_lab plug={node} password=@{shown}/secret\n")
    };
    let fences: String = NODES.iter().map(fence).collect();
    let more =
        format!("{TIMES}timeout LVM stop 4s\nfence_action off\nnotify {shown}/tell\n{fences}");
    let lines = "alice 10.0.0.100/24/eth0 LVM::web\n";
    let text = ha_cf(&NODES, &["eth0"], &more);
    write_config(&config, dir.path(), &text, lines, "secret-of-this-lab");
    for node in NODES {
        put(&dir.path().join(format!("power-{node}")), "on\n", 0o644);
    }
    let nodes = NODES
        .iter()
        .zip(1..)
        .map(|(n, last)| node(n, last, &config));
    let cluster = Cluster::of(&plan(name, nodes.collect()), dir, &[vip()]);
    // A start beside a machine that has power fails.
    for other in ["bob", "carol"] {
        let off = format!("test \"$(cat '{shown}/power-alice')\" = off || exit 1");
        cluster.script_does(other, "start", &off);
    }
    cluster.start_both();
    cluster.start("carol");
    cluster.until_owner("alice");
    for other in ["bob", "carol"] {
        cluster.until_owner_seen(other, "alice");
    }
    cluster
}

fn put(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Carries out what the power switch of alice was told.
fn serve_switch(cluster: &Cluster) {
    let order = cluster.shared().join("order-alice");
    if fs::read_to_string(&order).is_ok_and(|text| text == "off\n") {
        cluster.lab.crash("alice").unwrap();
        put(&cluster.shared().join("power-alice"), "off\n", 0o644);
        fs::remove_file(&order).unwrap();
    }
}

/// Waits until the group runs on bob, and carries out what the power switch is told meanwhile.
fn until_on_bob(cluster: &Cluster) {
    let see = || {
        serve_switch(cluster);
        cluster.try_status("bob")
    };
    let runs = |s: &Option<Status>| {
        s.as_ref().is_some_and(|s| {
            owners(s) == ["bob"]
                && state(s, "bob") == Some(had::model::heartbeat::GroupState::Online)
        })
    };
    until("the group runs on bob", see, runs);
}

fn freeze_alice(cluster: &Cluster) {
    let pid = cluster.lab.had_pid("alice").unwrap().unwrap().to_string();
    cluster.run("alice", &["kill", "-STOP", &pid]);
}

fn fencing_of_alice(status: &Status) -> FencingState {
    status
        .fencing
        .iter()
        .find(|f| f.node.as_str() == "alice")
        .unwrap()
        .state
}

#[test]
fn a_frozen_owner_is_switched_off_and_its_group_starts_elsewhere() {
    let mut cluster = three("nf-fence");
    let said = cluster.run("bob", &["hactl", "fence", "test", "alice"]);
    assert!(said.contains("fence_lab: the machine is on"), "{said}");
    freeze_alice(&cluster);
    until_on_bob(&cluster);
    assert_eq!(
        fencing_of_alice(&cluster.status("bob")),
        FencingState::Fenced
    );
    let said = cluster.run("bob", &["hactl", "fence", "status"]);
    assert!(said.contains("alice: fenced"), "{said}");
    let said = cluster.run("bob", &["hactl", "history"]);
    assert!(
        said.contains("fencing alice: switching its machine off"),
        "{said}"
    );
    assert!(
        said.contains("alice is fenced: its machine is off"),
        "{said}"
    );
    let see = || fs::read_to_string(cluster.shared().join("told")).unwrap_or_default();
    until("it was told", see, |told| {
        told.contains("alice fencing\nalice fenced\n")
    });
    cluster.never_two_owners();
}

#[test]
fn while_the_power_switch_fails_the_group_waits_and_a_person_goes_on() {
    let mut cluster = three("nf-fence-fails");
    put(&cluster.shared().join("broken"), "", 0o644);
    // It is known before it is needed.
    cluster.until_status("bob", "reports the power switch", |s| {
        let notes = peer(s, "alice").notes.join("\n");
        notes.contains("could not be fenced") && notes.contains("no route")
    });
    freeze_alice(&cluster);
    let status = cluster.until_status("bob", "fencing fails", |s| {
        s.fencing.iter().any(|f| f.failed > 1)
    });
    assert_ne!(owners(&status), ["bob"]);
    let page = cluster.page("bob");
    assert!(page.contains("fencing failed"), "{page}");
    assert!(page.contains("no route to the power switch"), "{page}");
    assert!(page.contains("hactl fence confirm alice --yes"), "{page}");
    assert!(page.contains("waits for fencing of alice"), "{page}");
    let test = cluster
        .lab
        .exec("bob", &["hactl", "fence", "test", "alice"])
        .unwrap();
    assert!(
        !test.success() && test.stderr.contains("no route"),
        "{test:?}"
    );
    for node in ["bob", "carol"] {
        let log = cluster.lab.log(node).unwrap();
        assert!(!log.contains("only-root-reads-this"), "{log}");
    }
    cluster.only_the_first_start();
    cluster.lab.crash("alice").unwrap();
    put(&cluster.shared().join("power-alice"), "off\n", 0o644);
    cluster.run("bob", &["hactl", "fence", "confirm", "alice", "--yes"]);
    until_on_bob(&cluster);
    cluster.never_two_owners();
}

#[test]
fn an_agent_that_hangs_holds_up_nothing_but_the_group() {
    let mut cluster = three("nf-fence-hangs");
    freeze_alice(&cluster);
    // Nobody carries the order out.
    cluster.until_status("bob", "fences", |s| {
        fencing_of_alice(s) == FencingState::Runs
    });
    pass(DEADTIME * 3);
    let status = cluster.status("bob");
    assert_eq!(fencing_of_alice(&status), FencingState::Runs);
    assert_eq!(
        peer(&status, "carol").liveness,
        had::model::status::Liveness::Active
    );
    assert!(!cluster.processes("bob", "fence_lab").is_empty());
    cluster.only_the_first_start();
    until_on_bob(&cluster);
    cluster.never_two_owners();
}

#[test]
fn an_administrator_switches_a_living_node_off() {
    let mut cluster = three("nf-fence-command");
    let said = cluster
        .lab
        .exec("bob", &["hactl", "fence", "alice"])
        .unwrap();
    assert!(
        !said.success() && said.stderr.contains("hactl fence alice --yes"),
        "{said:?}"
    );
    cluster.sh("bob", "hactl fence alice --yes >/tmp/fence-said 2>&1 &");
    until_on_bob(&cluster);
    let see = || cluster.sh("bob", "cat /tmp/fence-said");
    until("the command is answered", see, |said| {
        said.contains("the machine of alice was switched off")
    });
    cluster.never_two_owners();
}
