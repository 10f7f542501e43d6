//! Files that heartbeat 3.0.6 starts with.

use super::{GOOD, good, outcome};

/// What heartbeat 3.0.6 starts with, and what the warning must say was understood. `drbddisk` without an argument and an own
/// `resource.d/drbd` are tested where words are resolved.
#[test]
fn what_heartbeat_reads_is_read_with_a_warning() {
    let ha_cf = |lines: &str| format!("{}{lines}", GOOD[0].1);
    let replaced = |from: &str, to: &str| {
        let text = GOOD[0].1.replace(from, to);
        assert_ne!(text, GOOD[0].1, "{from}");
        text
    };
    let table: [(&str, String, &str); 18] = [
        ("ha.cf", ha_cf("bcast eth1\nudp eth1\n"), "udp"),
        (
            "authkeys",
            "auth1\n1 sha1 0123456789abcdef\n".into(),
            "auth 1",
        ),
        (
            "authkeys",
            "auth 1\n1 sha1 0123456789abcdef # of May\n".into(),
            "the rest of this line is ignored",
        ),
        ("ha.cf", ha_cf("deadtime 10\nwarntime 10\n"), "warntime"),
        ("ha.cf", ha_cf("deadtime 10\nwarntime 20\n"), "warntime"),
        ("ha.cf", ha_cf("keepalive 2\nwarntime 2\n"), "15 s is used"),
        (
            "ha.cf",
            ha_cf("keepalive 1\nkeepalive 2\n"),
            "this line counts",
        ),
        (
            "ha.cf",
            ha_cf("deadtime 20\ndeadtime 30\n"),
            "this line counts",
        ),
        (
            "ha.cf",
            format!("udpport 694\nudpport 695\n{}", GOOD[0].1),
            "this line counts",
        ),
        (
            "ha.cf",
            ha_cf("logfacility local0\nlogfacility local1\n"),
            "this line counts",
        ),
        ("ha.cf", ha_cf("node alice\n"), "alice"),
        ("ha.cf", ha_cf("nice_failback on\n"), "failback"),
        (
            "haresources",
            "alice 10.0.0.100 httpd\nalice 10.0.0.101 httpd\n".into(),
            "one group",
        ),
        (
            "haresources",
            "alice 10.0.0.100 a\nalice 10.0.0.100 b\n".into(),
            "one group",
        ),
        (
            "haresources",
            "alice 10.0.0.100//24/eth0:1 httpd\n".into(),
            "10.0.0.100/24/eth0:1",
        ),
        (
            "ha.cf",
            ha_cf("keepalive 10000MS\ndeadtime 30\n"),
            "`10000MS` is read as 10 s",
        ),
        ("ha.cf", ha_cf("serial /dev/ttyS0\n"), "serial"),
        (
            "ha.cf",
            replaced("auto_failback off", "auto_failback on\nauto_failback off"),
            "this line counts",
        ),
    ];
    for (file, text, understood) in table {
        let loaded = good(&[(file, &text)]);
        let said = outcome(&loaded);
        let warns = said.lines().any(|l| l.starts_with("warning: "));
        assert!(loaded.is_ok() && warns, "{text}\n{said}");
        assert!(said.contains(understood), "{understood}: {text}\n{said}");
    }
}

/// A node that hears nothing for warntime counts as having stood still. The pause between two heartbeats is no reason for that.
#[test]
fn a_warntime_that_is_not_above_keepalive_is_not_used() {
    for lines in ["keepalive 2\nwarntime 2\n", "keepalive 2\nwarntime 1\n"] {
        let text = format!("{}{lines}", GOOD[0].1);
        let timing = good(&[("ha.cf", &text)]).unwrap().config.timing;
        assert!(timing.warntime > timing.keepalive, "{lines}: {timing:?}");
    }
}
