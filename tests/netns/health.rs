//! A web server behind an address on two nodes: watched by the built-in checks, and as a resource that is restarted in
//! place. The script that its users published is in `services/web_pair.rs`.

use had::model::heartbeat::GroupState;
use had::model::status::CheckState;

use crate::common::{Blueprint, Cluster, TIMES, group_of, wait};
use crate::web::{NODES, WEB, blueprint, served_by};

/// nginx runs on both nodes, as in the published setup. Only the address moves.
fn two_servers(name: &str, lines: &str) -> Cluster {
    let cluster = blueprint(name, lines, "master-node IPaddr::10.11.7.235/24/ens192\n")
        .idle()
        .up();
    for node in NODES {
        cluster.sh(node, "/etc/ha.d/nginx");
        cluster.lab.start_had(node).unwrap();
    }
    served_by(&cluster, "master-node");
    cluster.until_active(&NODES);
    cluster
}

/// nginx runs where the address is, as a resource.
fn one_server(name: &str, lines: &str) -> Cluster {
    let cluster = blueprint(
        name,
        lines,
        "master-node IPaddr::10.11.7.235/24/ens192 nginx\n",
    )
    .up();
    served_by(&cluster, "master-node");
    cluster.until_active(&NODES);
    cluster
}

/// The pid of nginx's master process.
fn master(cluster: &Cluster, node: &str) -> String {
    cluster
        .run(node, "cat /run/nginx.pid")
        .stdout
        .trim()
        .to_owned()
}

const KILL: &str = "pkill -KILL -x nginx; while pgrep -x nginx; do sleep 0.01; done";

fn kill(cluster: &Cluster, node: &str) {
    cluster.run(node, KILL);
}

fn break_configuration(cluster: &Cluster, node: &str) {
    cluster.sh(node, "echo nonsense >> /etc/ha.d/nginx.conf");
}

fn mend_configuration(cluster: &Cluster, node: &str) {
    cluster.sh(node, "sed -i /nonsense/d /etc/ha.d/nginx.conf");
}

fn check_is(cluster: &Cluster, node: &str, wanted: CheckState) {
    cluster.until_status(node, &format!("its check is {wanted:?}"), |s| {
        s.checks.first().is_some_and(|c| c.state == wanted)
    });
}

/// Who had the address since the last call, in order.
fn owners(cluster: &mut Cluster) -> Vec<String> {
    let [owners] = cluster.owners_of([WEB]);
    owners
}

#[test]
fn a_page_that_answers_500_and_one_that_hangs_move_the_address() {
    let mut cluster = two_servers(
        "check-http",
        "auto_failback off\ncheck web http http://127.0.0.1/ status 200 every 200ms timeout 1s fall 2 rise 1\n",
    );
    let to = |from: &str, to: &str| {
        cluster.sh(
            from,
            &format!(
                "sed -i 's/return {}/return {}/' /etc/ha.d/nginx.conf",
                "200", "500"
            ),
        );
        cluster.sh(from, "/etc/ha.d/nginx -s reload");
        served_by(&cluster, to);
        let why = cluster.sh(from, "hactl why");
        assert!(
            why.contains("check web fails: status 500 instead of 200"),
            "{why}"
        );
    };
    to("master-node", "slave-node");
    cluster.sh(
        "master-node",
        "sed -i 's/return 500/return 200/' /etc/ha.d/nginx.conf && /etc/ha.d/nginx -s reload",
    );
    check_is(&cluster, "master-node", CheckState::Good);
    served_by(&cluster, "slave-node");

    // It hangs: the kernel accepts connections, and nobody answers.
    cluster.sh("slave-node", "pkill -STOP -x nginx");
    served_by(&cluster, "master-node");
    let why = cluster.sh("slave-node", "hactl why");
    assert!(why.contains("check web fails: no answer in time"), "{why}");

    // Both fail their checks: a failing service is better than none, and its owner says so.
    cluster.sh("master-node", "pkill -STOP -x nginx");
    check_is(&cluster, "master-node", CheckState::Failed);
    cluster.until_status("master-node", "it says why it keeps it", |s| {
        let notes = group_of(s, "IPaddr").notes.join("\n");
        notes.contains("slave-node fails check web") && notes.contains("master-node")
            || notes.contains("this node fails check web")
    });
    cluster.sh("master-node", "pkill -CONT -x nginx");
    check_is(&cluster, "master-node", CheckState::Good);
    served_by(&cluster, "master-node");
    cluster.sh("slave-node", "pkill -CONT -x nginx");
    check_is(&cluster, "slave-node", CheckState::Good);
    assert_eq!(
        owners(&mut cluster),
        ["master-node", "slave-node", "master-node"]
    );
}

#[test]
fn a_dead_web_server_is_restarted_in_place_and_a_broken_one_moves() {
    // The next monitor is a minute away: the end of the process is noticed by itself.
    let mut cluster = one_server(
        "monitor-nginx",
        "auto_failback off\nmonitor nginx process /run/nginx.pid every 1m fall 1 restart 3 within 10m\n",
    );
    for times in 1..=2 {
        let before = master(&cluster, "master-node");
        // It may be back before anybody sees that it was gone.
        cluster.sh("master-node", "pkill -KILL -x nginx");
        let back = || {
            let now = master(&cluster, "master-node");
            !now.is_empty() && now != before
        };
        assert!(wait(back), "not started again");
        served_by(&cluster, "master-node");
        cluster.until_status("master-node", "the restart is counted", |s| {
            let resources = &group_of(s, "IPaddr").resources;
            let watch = resources.iter().find_map(|r| r.watch.as_ref());
            watch.is_some_and(|w| w.restarts == times && w.budget == 3)
        });
    }
    assert_eq!(
        owners(&mut cluster),
        ["master-node"],
        "the address did not move for a moment"
    );

    break_configuration(&cluster, "master-node");
    kill(&cluster, "master-node");
    served_by(&cluster, "slave-node");
    let status = cluster.status("master-node").unwrap();
    let group = group_of(&status, "IPaddr");
    assert_eq!(group.states[0].1, GroupState::Failed);
    let told = cluster.sh("master-node", "hactl status; true");
    assert!(
        told.contains("failed here") && told.contains("hactl clear"),
        "{told}"
    );
    let why = cluster.sh("master-node", "hactl why");
    assert!(
        why.contains("restarting nginx in place (3 of 3 restarts within 10 min)"),
        "{why}"
    );

    mend_configuration(&cluster, "master-node");
    cluster.sh("master-node", "hactl clear IPaddr::10.11.7.235/24/ens192");
    cluster.sh("master-node", "hactl takeover");
    served_by(&cluster, "master-node");
    assert_eq!(
        owners(&mut cluster),
        ["master-node", "slave-node", "master-node"]
    );
}

#[test]
fn a_group_follows_the_gateway_and_stays_when_nobody_reaches_it() {
    use had::lab::LinkDirection;
    let ha_cf =
        "auto_failback off\nping 10.11.7.254\nrespawn hacluster /usr/lib/heartbeat/ipfail\n";
    let mut cluster = blueprint(
        "ipfail",
        ha_cf,
        "master-node IPaddr::10.11.7.235/24/ens192\n",
    )
    .gateway("ens192 10.11.7.254/24")
    .up();
    cluster.until_owner("IPaddr", "master-node");
    cluster.until_active(&NODES);
    for node in NODES {
        cluster.until_status(node, "the gateway answers", |s| s.pings[0].up);
    }
    cluster
        .lab
        .cut("master-node", "gateway", None, LinkDirection::Both)
        .unwrap();
    cluster.until_owner("IPaddr", "slave-node");
    let why = cluster.sh("master-node", "hactl why");
    assert!(why.contains("slave-node reaches more ping nodes"), "{why}");
    // Now no node reaches it: nothing moves.
    cluster
        .lab
        .cut("slave-node", "gateway", None, LinkDirection::Both)
        .unwrap();
    cluster.until_status("slave-node", "the gateway is gone", |s| !s.pings[0].up);
    cluster.until_status("master-node", "both reach nothing", |s| {
        s.nodes
            .iter()
            .all(|n| n.reach.is_some_and(|r| r.answering == 0))
    });
    cluster.until_owner("IPaddr", "slave-node");
    assert_eq!(owners(&mut cluster), ["master-node", "slave-node"]);
}

/// The address leaves a node that fails its check, and stays when both nodes pass again.
fn moves_away_and_stays(cluster: &mut Cluster, fail: &str, mend: &str, says: &str) {
    for node in NODES {
        check_is(cluster, node, CheckState::Good);
    }
    cluster.sh("master-node", fail);
    cluster.until_owner("IPaddr", "slave-node");
    check_is(cluster, "master-node", CheckState::Failed);
    let why = cluster.sh("master-node", "hactl why");
    assert!(why.contains(says), "{says} is missing in {why}");
    let told = cluster.sh("slave-node", "hactl status; true");
    assert!(told.contains("! fails check"), "{told}");
    cluster.sh("master-node", mend);
    check_is(cluster, "master-node", CheckState::Good);
    assert_eq!(owners(cluster), ["master-node", "slave-node"]);
}

#[test]
fn a_port_that_refuses_moves_the_address() {
    let mut cluster = two_servers(
        "check-tcp",
        "auto_failback off\ncheck web tcp 127.0.0.1:80 every 200ms timeout 1s fall 2\n",
    );
    let says = "check web fails: 127.0.0.1:80: Connection refused";
    moves_away_and_stays(&mut cluster, KILL, "/etc/ha.d/nginx", says);
}

#[test]
fn the_end_of_a_process_is_noticed_long_before_the_next_look() {
    // The check runs every hour: whatever is noticed sooner came from the kernel.
    let lines = "auto_failback off\ncheck beat process beat every 1h fall 1\n";
    let begin = "cp /usr/bin/sleep /run/beat && setsid /run/beat 1h </dev/null >/dev/null 2>&1 &";
    let mut cluster = blueprint(
        "check-process",
        lines,
        "master-node IPaddr::10.11.7.235/24/ens192\n",
    )
    .idle()
    .up();
    for node in NODES {
        cluster.sh(node, begin);
        cluster.sh(node, "until pgrep -x beat; do sleep 0.01; done");
        cluster.lab.start_had(node).unwrap();
    }
    cluster.until_owner("IPaddr", "master-node");
    cluster.until_active(&NODES);
    for node in NODES {
        check_is(&cluster, node, CheckState::Good);
    }
    cluster.sh("master-node", "pkill -KILL -x beat");
    cluster.until_owner("IPaddr", "slave-node");
    let why = cluster.sh("master-node", "hactl why");
    assert!(
        why.contains("check beat fails: no process beat runs"),
        "{why}"
    );
    assert_eq!(owners(&mut cluster), ["master-node", "slave-node"]);
}

#[test]
fn a_cable_that_is_pulled_moves_the_address_at_once_and_plugged_in_is_good_at_once() {
    // Heartbeats have their own card. The other one is checked every hour.
    let ha_cf = format!(
        "{TIMES}ucast ens224 10.11.8.231\nucast ens224 10.11.8.232\nnode master-node\nnode slave-node\n\
         auto_failback off\ncheck uplink link ens192 every 1h fall 1\n"
    );
    let cards = |n: u8| {
        [
            format!("ens192 10.11.7.{n}/24"),
            format!("ens224 10.11.8.{n}/24"),
        ]
    };
    let (first, second) = (cards(231), cards(232));
    let haresources = "master-node IPaddr::10.11.7.235/24/ens192\n";
    let mut cluster = Blueprint::new("check-link", &ha_cf, haresources)
        .node("master-node", &first.each_ref().map(String::as_str), &[])
        .node("slave-node", &second.each_ref().map(String::as_str), &[])
        .watch(&[WEB])
        .up();
    cluster.until_owner("IPaddr", "master-node");
    cluster.until_active(&NODES);
    for node in NODES {
        check_is(&cluster, node, CheckState::Good);
    }
    cluster.lab.unplug("master-node", Some("ens192")).unwrap();
    cluster.until_owner("IPaddr", "slave-node");
    let why = cluster.sh("master-node", "hactl why");
    assert!(
        why.contains("check uplink fails: ens192 has no carrier"),
        "{why}"
    );
    cluster.lab.plug("master-node", Some("ens192")).unwrap();
    check_is(&cluster, "master-node", CheckState::Good);
    assert_eq!(owners(&mut cluster), ["master-node", "slave-node"]);
}

#[test]
fn a_group_goes_back_when_failback_when_says_yes_there() {
    let lines = "auto_failback on\nfailback_when exec /etc/ha.d/caught-up every 200ms timeout 5s\n";
    let caught_up = "#!/bin/sh\n[ -e /run/behind ] || exit 0\necho 30 s behind\nexit 1\n";
    let mut cluster = blueprint(
        "failback-when",
        lines,
        "master-node IPaddr::10.11.7.235/24/ens192\n",
    )
    .file("caught-up", caught_up, 0o755)
    .up();
    cluster.until_owner("IPaddr", "master-node");
    cluster.until_active(&NODES);
    cluster.sh("master-node", "touch /run/behind");
    cluster.until_status("master-node", "it is behind", |s| {
        s.checks.iter().any(|c| c.state == CheckState::Failed)
    });
    cluster.sh("master-node", "hactl standby");
    cluster.until_owner("IPaddr", "slave-node");
    cluster.sh("master-node", "hactl standby off");
    cluster.until_status("slave-node", "it says what it waits for", |s| {
        let notes = group_of(s, "IPaddr").notes.join("\n");
        notes.contains("goes back to master-node when failback_when succeeds there")
            && notes.contains("30 s behind")
    });
    let why = cluster.sh("slave-node", "hactl why");
    assert!(why.contains("30 s behind"), "{why}");
    assert_eq!(owners(&mut cluster), ["master-node", "slave-node"]);
    cluster.sh("master-node", "rm /run/behind");
    cluster.until_owner("IPaddr", "master-node");
    assert_eq!(owners(&mut cluster), ["slave-node", "master-node"]);
}

#[test]
fn what_is_watched_can_be_changed_while_it_runs() {
    let mut cluster = one_server("reload-health", "auto_failback off\n");
    let more = "monitor nginx process nginx every 1h restart 3\ncheck uplink link ens192 every 1h";
    for node in NODES {
        cluster.sh(node, &format!("echo '{more}' >> /etc/ha.d/ha.cf"));
        let plan = cluster.sh(node, "hactl reload --dry-run");
        assert!(plan.contains("what is watched"), "{plan}");
        cluster.sh(node, "hactl reload");
        check_is(&cluster, node, CheckState::Good);
    }
    let before = master(&cluster, "master-node");
    cluster.sh("master-node", "pkill -KILL -x nginx");
    cluster.until_status("master-node", "the restart is counted", |s| {
        let resources = &group_of(s, "IPaddr").resources;
        let watch = resources.iter().find_map(|r| r.watch.as_ref());
        watch.is_some_and(|w| w.restarts == 1)
    });
    served_by(&cluster, "master-node");
    assert_ne!(master(&cluster, "master-node"), before);
    assert_eq!(owners(&mut cluster), ["master-node"]);
}

#[test]
fn a_ping_group_is_lost_with_its_last_member_only() {
    use had::lab::LinkDirection;
    let mut cluster = blueprint(
        "ping-group",
        "auto_failback off\nping_group ways 10.11.7.254 10.11.7.9\ndeadping 600ms\nrespawn hacluster /usr/lib/heartbeat/ipfail\n",
        "master-node IPaddr::10.11.7.235/24/ens192\n",
    )
    .gateway("ens192 10.11.7.254/24")
    .up();
    cluster.until_owner("IPaddr", "master-node");
    cluster.until_active(&NODES);
    for node in NODES {
        cluster.until_status(node, "the group answers", |s| s.pings[0].up);
    }
    let cut = |other: &str| {
        let cut = cluster
            .lab
            .cut("master-node", other, None, LinkDirection::Both);
        cut.unwrap();
    };
    cut("gateway");
    // Long enough for a single ping node to be lost, and for what follows from that.
    let sent = |s: &had::model::status::Status| s.counters["heartbeats sent"];
    let before = sent(&cluster.status("master-node").unwrap());
    cluster.until_status("master-node", "time passes", |s| sent(s) > before + 30);
    assert!(cluster.status("master-node").unwrap().pings[0].up);
    cut("client");
    cluster.until_owner("IPaddr", "slave-node");
    let why = cluster.sh("master-node", "hactl why");
    assert!(why.contains("slave-node reaches more ping nodes"), "{why}");
    assert_eq!(owners(&mut cluster), ["master-node", "slave-node"]);
}
