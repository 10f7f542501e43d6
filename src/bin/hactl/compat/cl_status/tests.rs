use super::*;
use had::model::status::{GroupStatus, PingStatus, QuorumStatus};
use had::model::{Generation, GroupName, LinkName, NodeName, Term};

fn node(name: &str, liveness: Liveness) -> NodeStatus {
    let link = |name, hears| LinkStatus {
        link: LinkName::new(name),
        hears,
        heard: None,
        relay: false,
        silent_for: None,
    };
    let here = liveness == Liveness::Here;
    NodeStatus {
        name: NodeName::new(name),
        witness: false,
        liveness,
        silent_for: None,
        generation: None,
        reach: None,
        links: if here {
            vec![]
        } else {
            vec![link("eth0", true), link("eth1", false)]
        },
        notes: vec![],
    }
}

fn group(preferred: &str, state: GroupState) -> GroupStatus {
    GroupStatus {
        name: GroupName::new("x"),
        preferred: NodeName::new(preferred),
        owners: vec![],
        states: vec![(NodeName::new("alice"), state)],
        term: Term(0),
        resources: vec![],
        standbys: Vec::new(),
        notes: vec![],
        takeover: None,
        last_switch_ms: None,
        last_drill_ms: None,
    }
}

fn cluster(groups: Vec<GroupStatus>) -> Status {
    Status {
        node: NodeName::new("alice"),
        generation: Generation(1),
        phase: Phase::Active,
        waiting: None,
        nodes: vec![
            node("alice", Liveness::Here),
            node("bob", Liveness::Late),
            node("carol", Liveness::Dead),
        ],
        pings: vec![PingStatus {
            name: "10.0.0.254".into(),
            up: true,
            answered: None,
            member: None,
        }],
        quorum: QuorumStatus {
            held: true,
            counted: false,
            ignored: false,
            votes: 0,
            total: 0,
        },
        former_voters: vec![],
        fencing: vec![],
        groups,
        checks: Vec::new(),
        counters: std::collections::BTreeMap::new(),
        lateness: None,
        activity: Vec::new(),
    }
}

fn words(flags: &str) -> Words<'static> {
    Words {
        parameters: vec![],
        flags: flags.chars().collect(),
    }
}

fn told(fact: &Fact) -> (&str, u8) {
    (&fact.text, fact.code)
}

#[test]
fn resources_in_the_four_words_and_transition() {
    use GroupState::{Failed, Offline, Online, Starting, Stuck};
    for (groups, word) in [
        (vec![], "none"),
        (vec![group("alice", Offline), group("bob", Failed)], "none"),
        (vec![group("alice", Online), group("bob", Offline)], "local"),
        (
            vec![group("alice", Offline), group("bob", Stuck)],
            "foreign",
        ),
        (vec![group("alice", Online), group("bob", Online)], "all"),
        (
            vec![group("alice", Online), group("bob", Starting)],
            "transition",
        ),
    ] {
        let status = cluster(groups);
        assert_eq!(rscstatus(&status, &words("")).text, format!("{word}\n"));
        let sentence = format!("This node is holding {word} resources.\n");
        assert_eq!(told(&rscstatus(&status, &words("m"))), (&*sentence, 0));
    }
}

#[test]
fn nodes_their_kinds_and_states() {
    let status = cluster(vec![]);
    assert_eq!(
        listnodes(&status, &words("")).text,
        "alice\nbob\ncarol\n10.0.0.254\n"
    );
    assert_eq!(listnodes(&status, &words("n")).text, "alice\nbob\ncarol\n");
    assert_eq!(
        listnodes(&status, &words("pv")).text,
        "10.0.0.254\tping\t(nodetype: ping)\n"
    );
    for (name, word, code) in [
        ("alice", "active\n", 0),
        ("BOB", "active\n", 0),
        ("carol", "dead\n", 1),
        ("10.0.0.254", "ping\n", 0),
        ("mallory", "", 1),
    ] {
        assert_eq!(told(&nodestatus(&status, name, &words(""))), (word, code));
    }
    assert_eq!(nodetype(&status, "bob").text, "normal\n");
    assert_eq!(nodetype(&status, "10.0.0.254").text, "ping\n");
}

#[test]
fn links_and_their_states() {
    let status = cluster(vec![]);
    assert_eq!(
        listhblinks(&status, "bob", &words("")).text,
        "\teth0\n\teth1\n"
    );
    assert_eq!(
        listhblinks(&status, "bob", &words("v")).text,
        "\teth0\tup\n\teth1\tdead\n"
    );
    assert_eq!(
        listhblinks(&status, "alice", &words("v")).text,
        "\teth0\tup\n\teth1\tup\n"
    );
    assert_eq!(told(&hblinkstatus(&status, "bob", "eth0")), ("up\n", 0));
    assert_eq!(told(&hblinkstatus(&status, "bob", "eth1")), ("dead\n", 1));
    assert_eq!(told(&hblinkstatus(&status, "bob", "eth7")), ("", 1));
}
