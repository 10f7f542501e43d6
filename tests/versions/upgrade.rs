//! An upgrade node by node under load, and back.

use crate::cluster::group_of;
use crate::{DB, NODES, Pair, WEB, former, present};

/// How often the scripts of a node were started since the last call.
fn starts(pair: &Pair, node: &str) -> usize {
    let calls = pair.cluster.calls(node);
    calls.iter().filter(|call| call.ends_with("start")).count()
}

#[test]
fn nothing_moves_and_no_request_is_lost() {
    let mut pair = Pair::up("versions-upgrade");
    let before = NODES.map(|node| starts(&pair, node));
    assert_eq!(before, [1, 1]);
    let terms = |pair: &Pair| {
        let status = pair.cluster.status("alice").unwrap();
        [WEB, DB].map(|group| group_of(&status, group).term)
    };
    let terms_before = terms(&pair);
    let asked = pair.asked_during(|| {
        for node in ["bob", "alice"] {
            pair.replace(node, &former(), &present());
        }
    });
    pair.until_at_home();
    for report in &asked {
        println!("MEASURED during the upgrade: {report:?}");
        assert_eq!(report.sent, report.answered, "{report:?}");
    }
    let during = NODES.map(|node| starts(&pair, node));
    assert_eq!(during, [0, 0], "what ran was adopted");
    assert_eq!(terms(&pair), terms_before, "nobody claimed anything");
    let owners = pair.cluster.owners_of([WEB, DB]);
    assert_eq!(owners, [vec!["alice"], vec!["bob"]]);
    // The store of the former version is read, and its decisions are still there.
    let history = pair.cluster.sh("alice", "hactl history");
    assert!(history.contains("kept running"), "{history}");
    let claimed = format!("{WEB}/24/eth0: claiming (term 1)");
    assert!(history.contains(&claimed), "{history}");
}

#[test]
fn a_node_goes_back_to_the_former_version() {
    let pair = Pair::up("versions-back");
    pair.replace("bob", &former(), &present());
    let asked = pair.asked_during(|| pair.replace("bob", &present(), &former()));
    pair.until_at_home();
    for report in &asked {
        assert_eq!(report.sent, report.answered, "{report:?}");
    }
}

#[test]
fn a_recording_of_the_former_version_is_replayed() {
    let pair = Pair::up("versions-recording");
    pair.replace("alice", &former(), &present());
    let replayed = pair.cluster.run("alice", "hactl replay").stdout;
    for event in ["had 0.1.0 starts", "command: restart"] {
        assert!(replayed.contains(event), "{replayed}");
    }
    // This version may decide otherwise than the former one did; then it says so.
    let online = format!("{WEB}/24/eth0: online");
    assert!(
        replayed.contains(&online) || replayed.contains("DIFFERS"),
        "{replayed}"
    );
}
