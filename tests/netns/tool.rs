//! `hactl` and heartbeat's tools, run on the nodes.

use crate::common::{Blueprint, Cluster, HACTL, STAND_IN, TIMES, group_of, wait};

const HA_CF: &str = "auto_failback off\nnode alice bob\nucast eth0 10.0.0.1\nucast eth0 10.0.0.2\n";
const HARESOURCES: &str = "alice 10.0.0.100 first\n";

fn blueprint(name: &str) -> Blueprint {
    Blueprint::new(name, &format!("{TIMES}{HA_CF}"), HARESOURCES)
        .script("first", STAND_IN)
        .script("second", STAND_IN)
        .node("alice", &["eth0 10.0.0.1/24"], &[])
        .node("bob", &["eth0 10.0.0.2/24"], &[])
        .client("eth0 10.0.0.9/24")
        .watch(&["10.0.0.100", "10.0.0.101"])
}

fn pair(name: &str) -> Cluster {
    let cluster = blueprint(name).up();
    cluster.until_owner("10.0.0.100", "alice");
    cluster.until_active(&["alice", "bob"]);
    cluster
}

fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no \"{word}\" in:\n{text}");
    }
}

#[test]
fn status_says_who_has_what() {
    let cluster = pair("tool-status");
    for node in ["alice", "bob"] {
        let text = cluster.exits(0, node, "hactl status");
        // Nobody watches the script, where it runs.
        let verdict = match node {
            "alice" => "no problem seen; 1 resource is not watched",
            _ => "all is well",
        };
        let head = format!("The cluster as {node} sees it: {verdict}");
        assert_says(&text, &[&head]);
        let line = text.lines().find(|l| l.contains("10.0.0.100")).unwrap();
        assert_says(line, &["on alice"]);
    }
}

#[test]
fn commands_wait_and_say_the_outcome_and_exit_as_documented() {
    let cluster = pair("tool-codes");
    let said = cluster.exits(0, "alice", "hactl standby");
    assert_says(&said, &["10.0.0.100 runs on bob"]);
    cluster.until_owner("10.0.0.100", "bob");
    // It waited: everything was done when it returned.
    assert_eq!(cluster.calls("alice").last().unwrap(), "first stop");
    cluster.exits(0, "alice", "hactl standby off");

    let said = cluster.exits(1, "alice", "hactl takeover 10.0.0.77");
    assert_says(&said, &["10.0.0.77"]);
    cluster.exits(2, "alice", "hactl takeover --frobnicate");
    let said = cluster.exits(3, "client", "hactl status");
    assert_says(&said, &["had"]);

    // It reports that there is no result yet. The command takes effect all the same.
    cluster.sh("bob", "touch /run/first.slow");
    let said = cluster.exits(4, "alice", "hactl takeover --timeout 300ms 10.0.0.100");
    assert_says(&said, &["300 ms"]);
    cluster.sh("bob", "rm /run/first.slow");
    cluster.until_owner("10.0.0.100", "alice");
}

#[test]
fn the_tools_of_heartbeat_are_there_under_their_names() {
    let cluster = pair("tool-compat");
    for node in ["alice", "bob"] {
        cluster.sh(node, "mkdir /run/bin");
        for name in ["hb_standby", "hb_takeover", "cl_status"] {
            cluster.sh(node, &format!("ln -s {HACTL} /run/bin/{name}"));
        }
    }
    let tool =
        |code, node, line: &str| cluster.exits(code, node, &format!("PATH=/run/bin:$PATH; {line}"));
    assert_says(
        &tool(0, "alice", "cl_status hbstatus"),
        &["Heartbeat is running on this machine."],
    );
    assert_eq!(tool(0, "alice", "cl_status listnodes -n"), "alice\nbob\n");
    assert_eq!(tool(0, "alice", "cl_status nodestatus bob"), "active\n");
    assert_eq!(tool(0, "alice", "cl_status hblinkstatus bob eth0"), "up\n");
    assert_eq!(tool(0, "alice", "cl_status hbparameter -p deadtime"), "2\n");
    assert_eq!(tool(0, "alice", "cl_status rscstatus"), "local\n");
    let said = tool(
        1,
        "client",
        &format!("ln -s {HACTL} /run/cl_status; /run/cl_status hbstatus"),
    );
    assert_says(&said, &["Heartbeat is stopped on this machine."]);

    assert_says(
        &tool(0, "alice", "hb_standby all"),
        &["Going standby [all]."],
    );
    cluster.until_owner("10.0.0.100", "bob");
    assert_eq!(tool(0, "alice", "cl_status rscstatus"), "none\n");
    tool(0, "alice", "hb_takeover all");
    cluster.until_owner("10.0.0.100", "alice");
    tool(0, "bob", "hactl hb_takeover foreign");
    cluster.until_owner("10.0.0.100", "bob");
    assert_says(&tool(1, "bob", "hb_standby everything"), &["usage"]);
}

#[test]
fn check_judges_a_folder() {
    let cluster = blueprint("tool-check").idle().up();
    let said = cluster.exits(0, "alice", "hactl check");
    assert_says(
        &said,
        &["10.0.0.100/24 on eth0", "/etc/ha.d/resource.d/first"],
    );
    let spoil = "echo deadtme 3 >> /etc/ha.d/ha.cf
        printf 'alice 10.0.0.101 nginxx\\ncarol 10.0.0.102\\n' >> /etc/ha.d/haresources";
    cluster.sh("alice", spoil);
    let said = cluster.exits(1, "alice", "hactl check /etc/ha.d");
    assert_says(
        &said,
        &[
            "ha.cf:9:1",
            "deadtime",
            "haresources:2:18",
            "nginxx",
            "haresources:3:1",
            "carol",
        ],
    );
}

#[test]
fn a_reload_touches_what_changed_and_nothing_else() {
    let cluster = pair("tool-reload");
    cluster.calls("alice");
    let change = "sed -i 's/auto_failback off/auto_failback on/' /etc/ha.d/ha.cf
        echo 'bob 10.0.0.101 second' >> /etc/ha.d/haresources";
    for node in ["alice", "bob"] {
        cluster.sh(node, change);
        let plan = cluster.exits(0, node, "hactl reload --dry-run");
        assert_says(
            &plan,
            &["auto_failback changes from off to on", "10.0.0.101", "new"],
        );
        assert!(!plan.contains("10.0.0.100"), "{plan}");
    }
    assert_eq!(
        cluster.status("alice").unwrap().groups.len(),
        1,
        "only a rehearsal"
    );
    for node in ["alice", "bob"] {
        let done = cluster.exits(0, node, "hactl reload");
        assert_says(
            &done,
            &["auto_failback changes from off to on", "10.0.0.101"],
        );
    }
    cluster.until_owner("10.0.0.101", "bob");
    cluster.until_owner("10.0.0.100", "alice");
    // The other directive is in force too: a group that was taken over returns home.
    cluster.lab.crash("bob").unwrap();
    cluster.until_owner("10.0.0.101", "alice");
    cluster.lab.restart("bob").unwrap();
    cluster.until_owner("10.0.0.101", "bob");
    assert_says(
        &cluster.exits(0, "bob", "hactl reload"),
        &["nothing changes"],
    );

    let calls = cluster.calls("alice");
    assert!(
        !calls
            .iter()
            .any(|c| c == "first start" || c == "first stop"),
        "{calls:?}"
    );
}

#[test]
fn a_bad_file_leaves_the_running_configuration() {
    let cluster = pair("tool-bad");
    let generation = cluster.status("alice").unwrap().generation;
    cluster.sh("alice", "sed -i 's/^deadtime/deadtme/' /etc/ha.d/ha.cf; echo 'carol 10.0.0.101' >> /etc/ha.d/haresources");
    for command in ["hactl reload --dry-run", "hactl reload"] {
        let said = cluster.exits(1, "alice", command);
        assert_says(&said, &["ha.cf:3:1", "deadtime", "haresources:2", "carol"]);
    }
    let signal = format!(
        "kill -HUP {}",
        cluster.lab.had_pid("alice").unwrap().unwrap()
    );
    cluster.sh("alice", &signal);
    let refused = || {
        cluster
            .lab
            .log("alice")
            .unwrap()
            .contains("the running configuration stays in force")
    };
    assert!(wait(refused), "a refusal is logged too");
    let status = cluster.status("alice").unwrap();
    assert_eq!((status.generation, status.groups.len()), (generation, 1));
    assert_eq!(group_of(&status, "10.0.0.100").owners[0].as_str(), "alice");
    cluster.sh("alice", "hactl standby");
    cluster.until_owner("10.0.0.100", "bob");
}

#[test]
fn a_script_of_the_system_is_found_second() {
    let cluster = blueprint("init-d")
        .file("haresources", "alice 10.0.0.100 first theirs\n", 0o644)
        .file("init.d/theirs", STAND_IN, 0o755)
        .file("init.d/first", "#!/bin/sh\nexit 1\n", 0o755)
        .idle()
        .up();
    for node in ["alice", "bob"] {
        cluster.sh(node, "mount --bind /etc/ha.d/init.d /etc/init.d");
        cluster.lab.start_had(node).unwrap();
    }
    assert_says(
        &cluster.sh("alice", "hactl check"),
        &["/etc/ha.d/resource.d/first", "/etc/init.d/theirs"],
    );
    cluster.until_owner("10.0.0.100", "alice");
    let starts: Vec<String> = cluster.calls("alice");
    let starts: Vec<&String> = starts.iter().filter(|c| c.ends_with("start")).collect();
    assert_eq!(starts, ["first start", "theirs start"]);
    cluster.sh("bob", "hactl takeover 10.0.0.100");
    cluster.until_owner("10.0.0.100", "bob");
}

#[test]
fn check_remarks_an_address_in_no_network_of_this_node() {
    let cluster = blueprint("tool-place").idle().up();
    cluster.sh("alice", "ip route add default via 10.0.0.254");
    let remark = "192.168.113.214 is in no network of this node; it would be put on eth0";
    for (address, remarked) in [
        ("192.168.113.214/24", true),
        ("IPaddr2::192.168.113.214/24", true),
        ("192.168.113.214/24/eth0", false),
        ("10.0.0.100/24", false),
    ] {
        cluster.sh(
            "alice",
            &format!("echo 'alice {address}' > /etc/ha.d/haresources"),
        );
        let here = cluster.exits(0, "alice", "hactl check");
        assert_eq!(here.contains(remark), remarked, "{address}: {here}");
        // This node does not know the networks of another.
        let there = cluster.exits(0, "alice", "hactl check --node bob");
        assert!(!there.contains(remark), "{address}: {there}");
    }
}

#[test]
fn the_manual_of_a_script_stands_at_its_head() {
    let agent = concat!(env!("CARGO_MANIFEST_DIR"), "/resource.d/mariadb_role");
    let script = std::fs::read_to_string(agent).unwrap();
    let cluster = blueprint("tool-manual")
        .script("mariadb_role", &script)
        .idle()
        .up();
    let shown = cluster.exits(0, "alice", "hactl agent show mariadb_role");
    assert_says(
        &shown,
        &[
            "/etc/ha.d/resource.d/mariadb_role\n\nDecides which of several MariaDB servers is the writer",
            "\n  mariadb_role::ADDRESSES",
            "env MARIADB_ROLE_LAG=30",
        ],
    );
    assert!(!shown.contains("most_behind"), "only its head: {shown}");
}
