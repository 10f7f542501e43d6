//! What needs attention stands first on the page, whatever it is.

use had::lab::LinkDirection;

use crate::browser::Browser;
use crate::cluster::{Cluster, STAND_IN};
use crate::rig::{ANYWHERE, BOB, blueprint_with, start};

/// A browser that looks at what bob says.
fn watch(cluster: &Cluster) -> Browser<'_> {
    for node in crate::rig::NODES {
        start(cluster, node, ANYWHERE);
    }
    let browser = Browser::open(cluster);
    browser.looks(1200, 1000, "light");
    browser.goes_to(&format!("http://{BOB}:9694/"));
    browser.until_text("groups", "runs on alice");
    browser
}

/// Waits until the page names a problem. That of the group comes first, above all groups.
fn says_first(browser: &Browser, problem: &str, picture: &str) {
    browser.until_text("problems", problem);
    let top = |id: &str| {
        let script = format!("return document.getElementById('{id}').getBoundingClientRect().top");
        browser.runs(&script).as_f64().unwrap()
    };
    assert!(top("problems") < top("groups"));
    let said = browser.text("problems");
    assert!(said.starts_with("Group web"), "{said}");
    browser.keeps_picture(picture);
}

#[test]
fn a_stop_that_failed() {
    let stuck = STAND_IN.replace("stop) while", "stop) exit 1; while");
    assert_ne!(stuck, STAND_IN);
    let cluster = blueprint_with("web-stuck", "").script("web", &stuck).up();
    let browser = watch(&cluster);
    cluster.run("alice", "hactl standby web");
    says_first(&browser, "a stop failed on alice", "stuck");
}

#[test]
fn a_group_that_ran_on_both_nodes() {
    let cluster = blueprint_with("web-split", "quorum off\n").up();
    let browser = watch(&cluster);
    for other in ["bob", "gateway"] {
        let both = LinkDirection::Both;
        cluster.lab.cut("alice", other, None, both).unwrap();
    }
    browser.until_text("problems", "silent for longer than deadtime");
    browser.until_text("groups", "runs on bob");
    cluster.lab.heal_all().unwrap();
    says_first(&browser, "at the same time", "split");
}

#[test]
fn a_takeover_that_waits_for_a_power_switch() {
    let switch =
        "takeover_waits web yes\nfence_delay 1s\nfence alice /etc/ha.d/fence_lab plug=alice\n";
    let refuses = "#!/bin/sh\necho 'no route to the power switch' >&2\nexit 1\n";
    let cluster = blueprint_with("web-fencing", switch)
        .file("fence_lab", refuses, 0o755)
        .up();
    let browser = watch(&cluster);
    cluster.lab.crash("alice").unwrap();
    says_first(&browser, "no route to the power switch", "fencing");
}
