//! `SendArp`, as the gateway sees it on the wire.

use had::lab::SpawnedProgram;

use crate::common::{Blueprint, Cluster, TIMES, wait};

const ADDRESS: &str = "10.0.0.100";
const GROUP: &str = "IPaddr";

/// An address that nobody has. It is announced all the same.
const NOWHERE: &str = "10.0.0.200";

/// An address that is announced to the gateway every second, and one that nobody has.
fn told(name: &str) -> Cluster {
    let ha_cf = format!("{TIMES}bcast eth0\nauto_failback off\nnode alice bob\nping 10.0.0.254\n");
    let lines = format!(
        "alice IPaddr::{ADDRESS}/24/eth0 SendArp::{ADDRESS}/eth0::1::10.0.0.254\n\
         alice SendArp::{NOWHERE}/eth0::1::10.0.0.254\n"
    );
    let cluster = Blueprint::new(name, &ha_cf, &lines)
        .node("alice", &["eth0 10.0.0.1/24"], &[])
        .node("bob", &["eth0 10.0.0.2/24"], &[])
        .gateway("eth0 10.0.0.254/24")
        .watch(&[ADDRESS])
        .up();
    cluster.until_owner(GROUP, "alice");
    cluster.until_owner("SendArp", "alice");
    cluster.until_active(&["alice", "bob"]);
    cluster
}

/// Records the ARP requests and announcements that the gateway sees, one per line.
fn listen(cluster: &Cluster) -> SpawnedProgram {
    let tcpdump = "exec tcpdump -lne -i eth0 arp > /var/log/arp 2> /var/log/tcpdump";
    let job = cluster
        .lab
        .spawn("gateway", &["sh", "-c", tcpdump])
        .unwrap();
    let listens = || {
        cluster
            .run("gateway", "grep -q listening /var/log/tcpdump")
            .success()
    };
    assert!(
        wait(listens),
        "tcpdump does not begin: {:?}",
        cluster.run("gateway", "cat /var/log/tcpdump; ls -l /var/log")
    );
    job
}

/// How many lines contain both.
fn heard(cluster: &Cluster, from: &str, what: &str) -> usize {
    let text = cluster.sh("gateway", "cat /var/log/arp");
    let lines = text.lines();
    lines
        .filter(|l| l.contains(&format!("{from} >")) && l.contains(what))
        .count()
}

fn card(cluster: &Cluster, node: &str) -> String {
    let mac = cluster.lab.mac(node, "eth0").unwrap().unwrap();
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[test]
fn a_gateway_is_told_again_and_again_by_the_owner_alone() {
    let cluster = told("send-arp");
    let (alice, bob) = (card(&cluster, "alice"), card(&cluster, "bob"));
    listen(&cluster);
    let question = "who-has 10.0.0.254 tell 10.0.0.100";
    let more = |from: &str, what: &str, times: usize| {
        let before = heard(&cluster, from, what);
        let wanted = before + times;
        let seen = || heard(&cluster, from, what) >= wanted;
        assert!(wait(seen), "{what} from {from} is not heard {times} times");
    };
    more(&alice, question, 3);
    more(&alice, "who-has 10.0.0.100 tell 10.0.0.100", 2);

    // It was announced when its group came up, before we listened. The address that nobody has is not announced again.
    assert_eq!(
        heard(
            &cluster,
            &alice,
            &format!("who-has 10.0.0.254 tell {NOWHERE}")
        ),
        0
    );

    // Another machine has announced the address to the gateway.
    cluster.sh(
        "gateway",
        "ip neigh replace 10.0.0.100 lladdr 02:00:00:00:00:99 nud reachable dev eth0",
    );
    cluster.until_neighbour("gateway", ADDRESS, "alice", "eth0");

    // The next daemon continues with it.
    cluster.lab.kill_had("alice").unwrap();
    cluster.lab.start_had("alice").unwrap();
    cluster.until_active(&["alice", "bob"]);
    cluster.until_owner(GROUP, "alice");
    more(&alice, question, 2);

    cluster.sh("alice", "hactl standby");
    cluster.until_owner(GROUP, "bob");
    let last = heard(&cluster, &alice, "tell 10.0.0.100");
    more(&bob, question, 3);
    assert_eq!(
        heard(&cluster, &alice, "tell 10.0.0.100"),
        last,
        "alice speaks for an address of bob's"
    );
}
