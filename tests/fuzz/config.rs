//! The three files of a configuration: whatever stands in them is read, or refused with a report that a person can read.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use had::config::{HostFacts, load_on};
use had::model::NodeName;
use had::text::printable_char;

use crate::harness::Target;

/// A report is for a person.
const LONGEST_REPORT: usize = 1 << 20;

/// The shipped examples, and those of a user.
const FOLDERS: [&str; 2] = ["ha.d", "tests/config/users"];

fn example(folder: &str, file: &str) -> Vec<u8> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read(top.join(folder).join(file)).unwrap()
}

/// One machine on which much of the examples is good.
fn machine() -> HostFacts {
    HostFacts {
        interfaces: Some(["lo", "eth0", "eth1"].map(str::to_owned).to_vec()),
        checks_modes: true,
        own_addresses: vec![],
        broadcasts: vec![],
        user_exists: |name| name == "hacluster" || name == "root",
        executable: |path| path.starts_with("/usr"),
    }
}

/// Reads a folder in which this file says that, and the others are good.
fn read(folder: &Path, file: &str, bytes: &[u8]) {
    let good = [
        (
            "ha.cf",
            &b"node alice bob\nbcast eth0\nping 10.0.0.254\nkeepalive 1\ndeadtime 10\n"[..],
        ),
        ("haresources", b"alice 10.0.0.100/24/eth0 web::x\n"),
        ("authkeys", b"auth 1\n1 sha1 secret-of-a-test\n"),
    ];
    for (name, text) in good {
        let path = folder.join(name);
        fs::write(&path, if name == file { bytes } else { text }).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    let report = match load_on(&machine(), folder, Some(&NodeName::new("alice"))) {
        Ok(loaded) => loaded.warnings.to_string(),
        Err(report) => {
            assert!(!report.is_empty(), "refused without a word");
            report.to_string()
        }
    };
    assert!(report.len() < LONGEST_REPORT, "{} bytes", report.len());
    let steers =
        |c: &char| *c != '\n' && printable_char(*c) != *c && *c != char::REPLACEMENT_CHARACTER;
    let obeyed = report.chars().find(steers);
    assert_eq!(obeyed, None, "a terminal would obey {report:?}");
}

fn fuzz(name: &'static str, file: &str, more: &[&str], words: &[&str], runs: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut examples: Vec<Vec<u8>> = FOLDERS.iter().map(|f| example(f, file)).collect();
    examples.extend(more.iter().map(|text| text.as_bytes().to_vec()));
    let target = Target {
        name,
        runs,
        examples,
        words,
    };
    target.fuzz(|bytes| read(folder.path(), file, bytes));
}

#[test]
fn no_ha_cf_does_harm() {
    let all = "logfacility local0\nlogfile /var/log/ha-log\ndebugfile /var/log/ha-debug\nuse_logd off\n\
        keepalive 500ms\nwarntime 5\ndeadtime 10\ninitdead 60\ndeadping 10\nudpport 694\nbaud 19200\n\
        bcast eth0 eth1\nucast eth0 10.0.0.2\nmcast eth0 225.0.0.1 694 1 0\nauto_failback on\nnode alice bob\n\
        ping 10.0.0.254\nping_group gw 10.0.0.253 10.0.0.252\nrespawn hacluster /usr/lib/heartbeat/ipfail\n\
        apiauth ipfail uid=hacluster\nhopfudge 1\nrealtime on\nrtprio 5\ncompression none\ncrm off\ncluster shop\n\
        quorum stop\nfailback_delay 30s\ntimeout web start 1m stop 2m\nset_env X=y\nhbgenmethod time\nuuidfrom nodename\n";
    let words = [
        "node ",
        "alice",
        "bob",
        "bcast eth0\n",
        "mcast eth0 ",
        "ucast eth0 ",
        "ping ",
        "ping_group g ",
        "keepalive ",
        "deadtime 0\n",
        "500ms",
        "1us",
        "99999999999999999999s",
        "0",
        "-1",
        "auto_failback ",
        "on",
        "off",
        "legacy",
        "respawn ",
        "timeout * ",
        "cluster ",
        "quorum ",
        "stonith_host * ",
        "serial /dev/ttyS0\n",
        "apiauth ",
        "#",
        "include ",
        "225.0.0.1 694 1 0",
        "fe80::1",
        "::1%eth0",
        "\\",
        "crm on\n",
        "udpport 65536\n",
        "set_env ",
    ];
    fuzz("ha.cf", "ha.cf", &[all], &words, 500);
}

#[test]
fn no_haresources_does_harm() {
    let all = "alice IPaddr::10.0.0.5/24/eth0/10.0.0.255 drbddisk::r0 Filesystem::/dev/drbd0::/mnt::ext4 mysqld\n\
        bob 10.0.0.6 \\\n  web::a::b LVM::vg\n# no\nbob IPaddr2::fd00::5/64/eth0 SendArp::10.0.0.6/eth0/0 MailTo::a@b\n";
    let words = [
        "alice ",
        "bob ",
        "IPaddr::",
        "IPaddr2::",
        "10.0.0.1",
        "/24",
        "/eth0",
        "/99",
        "/255.255.255.0",
        "::",
        ":::",
        "\\\n",
        "#",
        "Filesystem::",
        "drbddisk::",
        "OCF::heartbeat::",
        "ocf:heartbeat:",
        "systemd::",
        "/etc/init.d/x",
        "../../x",
        "Delay::",
        "fd00::1",
        "nobody ",
        " ",
    ];
    fuzz("haresources", "haresources", &[all], &words, 500);
}

#[test]
fn no_authkeys_does_harm() {
    let all = "auth 2\n1 crc\n2 sha1 HI!\n3 md5 Hello!\n4 sha256 a-longer-secret\n";
    let words = [
        "auth ", "auth 1\n", "1 ", "2 ", "crc", "sha1 ", "md5 ", "sha256 ", "sha512 ", "#", "0 ",
        "256 ", "-1 ",
    ];
    fuzz("authkeys", "authkeys", &[all], &words, 500);
}

/// Size alone makes nothing slow: a megabyte in one line, and a megabyte of lines, none of which is good. What a
/// quadratic reader would need for these is minutes; the deadline is far from what a linear one needs anywhere.
#[test]
fn files_of_a_megabyte_are_judged_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let megabyte = |line: &str| line.repeat((1 << 20) / line.len());
    let lines = [
        "x",
        "node a b c d e f g h i j k l m n o p\n",
        "alice web::x\n",
        "alice web \\\n",
        "1 sha1 x\n",
        "\n",
        "a ",
        "ping 10.0.0.1\n",
        "respawn root /usr/x\n",
    ];
    for line in lines {
        for file in ["ha.cf", "haresources", "authkeys"] {
            let begin = Instant::now();
            read(folder.path(), file, megabyte(line).as_bytes());
            let took = begin.elapsed();
            assert!(
                took < Duration::from_secs(60),
                "{file} of {line:?}: {took:?}"
            );
            if took > Duration::from_secs(1) {
                println!("SLOW {file} of {line:?}: {took:?}");
            }
        }
    }
    // Each one another name.
    for (file, line) in [
        ("ha.cf", "node n"),
        ("ha.cf", "set_env V"),
        ("ha.cf", "word"),
        ("haresources", "alice svc::"),
        ("authkeys", ""),
    ] {
        let mut text = String::new();
        for n in 0..60_000 {
            writeln!(text, "{line}{n} sha1 {n}").unwrap();
        }
        let begin = Instant::now();
        read(folder.path(), file, text.as_bytes());
        let took = begin.elapsed();
        assert!(
            took < Duration::from_secs(60),
            "{file} of {line:?} and a number: {took:?}"
        );
        if took > Duration::from_secs(1) {
            println!("SLOW {file} of {line:?} and a number: {took:?}");
        }
    }
}
