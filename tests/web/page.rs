//! The page in a real browser.

use crate::browser::Browser;
use crate::cluster::wait;
use crate::rig::{ALICE, ANYWHERE, BOB, pair, start};

#[test]
fn a_browser_sees_a_failover_without_a_reload() {
    let cluster = pair("web-page");
    let browser = Browser::open(&cluster);
    browser.looks(1200, 1000, "light");
    browser.goes_to(&format!("http://{BOB}:9694/"));
    browser.until_text("verdict", "2 of 2 groups running");
    browser.until_text("groups", "runs on alice");
    browser.until_text("age", "live");
    browser.keeps_picture("well-light");
    browser.runs("window.untouched = true");

    cluster.lab.crash("alice").unwrap();
    browser.until_text("problems", "silent for longer than deadtime");
    browser.until_text("verdict", "2 of 2 groups running");
    browser.until_text("history", "web: online: all its resources are started");
    assert!(!browser.text("groups").contains("runs on alice"));
    assert_eq!(
        browser.runs("return window.untouched"),
        true,
        "it was loaded again"
    );
    browser.keeps_picture("crash-light");
    for (name, width, height, scheme) in [
        ("crash-dark", 1200, 1000, "dark"),
        ("crash-phone", 390, 844, "light"),
    ] {
        browser.looks(width, height, scheme);
        assert!(!browser.overflows(), "{name}");
        browser.keeps_picture(name);
    }
    // One is dark on light, the other light on dark.
    let ink = |scheme| {
        browser.looks(1200, 1000, scheme);
        browser.runs("return getComputedStyle(document.body).color")
    };
    assert_ne!(ink("light"), ink("dark"));

    let had = cluster.lab.had_pid("bob").unwrap().unwrap();
    cluster.sh("bob", &format!("kill -STOP {had}"));
    browser.until_text("trouble", "Not fresh: had is silent; does it hang?");
    browser.keeps_picture("stale-dark");
    cluster.sh("bob", &format!("kill -CONT {had}"));
    browser.until_text("age", "live");
    assert_eq!(
        browser.runs("return document.getElementById('trouble').hidden"),
        true
    );

    // Nor does the page need to be loaded again when had-web itself was away.
    cluster.sh("bob", "kill $(pidof had-web)");
    browser.until_text("trouble", "had-web on this node does not answer");
    start(&cluster, "bob", ANYWHERE);
    browser.until_text("age", "live");
    assert_eq!(browser.runs("return window.untouched"), true);
}

#[test]
fn what_a_script_says_is_text_and_a_token_is_asked_for() {
    let hostile = "#!/bin/sh\ncase $1 in\nstatus) echo stopped;;\n\
        start) echo '<img src=x onerror=window.struck=1><b id=struck>' >&2; exit 1;;\nesac\n";
    let cluster = crate::rig::blueprint("web-hostile-text")
        .script("web", hostile)
        .up();
    cluster.sh("alice", "umask 077; echo 0123456789abcdef0123 >/run/token");
    start(
        &cluster,
        "alice",
        "--listen 0.0.0.0:9694 --plain-http-anywhere --token-file /run/token",
    );
    let browser = Browser::open(&cluster);
    let page = format!("http://{ALICE}:9694/");
    assert!(wait(|| {
        browser.goes_to(&page);
        browser.text("login").contains("asks for its token")
    }));
    assert_eq!(browser.text("groups"), "");
    browser.runs("document.getElementById('token').value = '0123456789abcdef0123'; document.querySelector('button').click()");
    browser.until_text(
        "problems",
        "<img src=x onerror=window.struck=1><b id=struck>",
    );
    assert_eq!(
        browser.runs("return window.struck === undefined && !document.getElementById('struck')"),
        true
    );
}
