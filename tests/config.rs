//! Configurations and the exact text that is printed about them. The cases are in `config/*.txt`:
//!
//! ```text
//! == a title
//! -- ha.cf        the whole file;   -- ha.cf+   lines below those of GOOD
//! -- haresources  the whole file, or the good one when left out; authkeys likewise
//! -- says         "loads" or "refused", then the report
//! ```
//! `{CR}` and the like stand for characters that an editor would spoil. With `HAD_BLESS=1` the texts are
//! written anew, to be read before they are committed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
#![allow(
    clippy::format_push_string,
    clippy::format_collect,
    clippy::cast_possible_truncation
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use had::config::reload::{live_changes, needs_restart};
use had::config::{Config, HostFacts, Loaded, load_on};
use had::model::NodeName;
use had::model::cluster::QuorumPolicy;
use had::model::keys::Method;
use had::model::medium::Target;
use had::text::Problems;
use proptest::prelude::*;

#[path = "config/heartbeat.rs"]
mod heartbeat;

const GOOD: [(&str, &str); 3] = [
    (
        "ha.cf",
        "node alice bob\nucast eth0 10.0.0.2\nping 10.0.0.254\nauto_failback off\n",
    ),
    ("haresources", "alice 10.0.0.100 httpd\n"),
    ("authkeys", "auth 1\n1 sha1 0123456789abcdef\n"),
];

const SPECIAL: [(&str, &str); 8] = [
    ("{CR}", "\r"),
    ("{TAB}", "\t"),
    ("{BELL}", "\u{7}"),
    ("{NBSP}", "\u{a0}"),
    ("{WIDE}", "\u{3000}"),
    ("{BOM}", "\u{feff}"),
    ("{BLANK}", " "),
    (
        "{LONG}",
        "0123456789012345678901234567890123456789012345678901234567890123456789",
    ),
];

fn machine() -> HostFacts {
    HostFacts {
        interfaces: Some(["eth0", "eth1", "lo"].map(str::to_owned).to_vec()),
        checks_modes: true,
        own_addresses: vec!["10.0.0.1".parse().unwrap()],
        broadcasts: vec!["10.0.0.255".parse().unwrap()],
        user_exists: |user| ["root", "hacluster"].contains(&user),
        executable: |path| path.starts_with("/usr"),
    }
}

/// Loads files from a folder made for them; the report names the files without their folder.
fn load(files: &[(&str, Vec<u8>)], node: &str) -> Result<Loaded, Problems> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        let mode = if *name == "authkeys" { 0o600 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    load_on(&machine(), dir.path(), Some(&NodeName::new(node)))
        .map_err(|report| named(report, dir.path()))
        .map(|loaded| Loaded {
            warnings: named(loaded.warnings, dir.path()),
            ..loaded
        })
}

/// The report with file names in place of paths.
fn named(mut report: Problems, dir: &Path) -> Problems {
    let prefix = format!("{}/", dir.display());
    for problem in &mut report.list {
        let name = problem.place.file.file_name().unwrap();
        problem.place.file = Path::new(name).into();
        problem.help = problem.help.as_ref().map(|h| h.replace(&prefix, ""));
    }
    report
}

fn good(changes: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let files: Vec<_> = GOOD
        .iter()
        .map(|(name, text)| {
            let changed = changes.iter().find(|(n, _)| n == name);
            (
                *name,
                changed.map_or(*text, |(_, t)| *t).as_bytes().to_vec(),
            )
        })
        .collect();
    load(&files, "alice")
}

fn outcome(result: &Result<Loaded, Problems>) -> String {
    match result {
        Ok(loaded) => format!("loads\n{}", loaded.warnings),
        Err(report) => format!("refused\n{report}"),
    }
}

struct Case {
    title: String,
    /// By the name after `--`, as written.
    parts: BTreeMap<String, String>,
}

impl Case {
    fn all(text: &str) -> Vec<Case> {
        let mut cases: Vec<Case> = Vec::new();
        let mut part = None;
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("== ") {
                let parts = BTreeMap::new();
                cases.push(Case {
                    title: title.to_owned(),
                    parts,
                });
                part = None;
            } else if let Some(name) = line.strip_prefix("-- ") {
                part = Some(name.to_owned());
                let parts = &mut cases.last_mut().unwrap().parts;
                parts.insert(name.to_owned(), String::new());
            } else if let Some(name) = &part {
                let text = cases.last_mut().unwrap().parts.get_mut(name).unwrap();
                text.push_str(line);
                text.push('\n');
            }
        }
        cases
    }

    fn file(&self, name: &str, usual: &str) -> Option<Vec<u8>> {
        let text = match (self.parts.get(name), self.parts.get(&format!("{name}+"))) {
            (Some(text), _) => text.trim_end_matches('\n').to_owned() + "\n",
            (None, Some(more)) => format!("{usual}{}\n", more.trim_end_matches('\n')),
            (None, None) => usual.to_owned(),
        };
        if text == "{MISSING}\n" {
            return None;
        }
        let text = SPECIAL.iter().fold(text, |t, (a, b)| t.replace(a, b));
        // A byte that is no UTF-8.
        let parts: Vec<&[u8]> = text.split("{BAD}").map(str::as_bytes).collect();
        Some(parts.join(&0xff))
    }

    fn outcome(&self) -> String {
        let files: Vec<_> = GOOD
            .iter()
            .filter_map(|(name, usual)| Some((*name, self.file(name, usual)?)))
            .collect();
        let node = self
            .parts
            .get("read on")
            .map_or("alice", |name| name.trim());
        outcome(&load(&files, node))
    }

    fn shown(&self, says: &str) -> String {
        let mut text = format!("== {}\n", self.title);
        for (name, part) in self.parts.iter().filter(|(n, _)| *n != "says") {
            text += &format!("-- {name}\n{}\n", part.trim_end_matches('\n'));
        }
        text + "-- says\n" + says + "\n"
    }
}

#[test]
fn every_bad_configuration_has_its_text() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let files: Vec<PathBuf> = entries
        .filter(|p| p.extension().is_some_and(|e| e == "txt"))
        .collect();
    let mut count = 0;
    let mut wrong = String::new();
    for file in files {
        let cases = Case::all(&fs::read_to_string(&file).unwrap());
        let mut blessed = String::new();
        for case in &cases {
            let says = case.outcome();
            count += usize::from(says.starts_with("refused"));
            let wanted = case.parts.get("says").map_or("", String::as_str);
            if wanted.trim_end() != says.trim_end() {
                wrong += &format!(
                    "{}: {}\n--- wanted\n{wanted}--- says\n{says}",
                    file.display(),
                    case.title
                );
            }
            blessed += &case.shown(&says);
        }
        if std::env::var_os("HAD_BLESS").is_some() {
            fs::write(&file, blessed).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 70, "only {count} cases are refused");
}

fn users(change: impl Fn(&str) -> String) -> Result<Loaded, Problems> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/users");
    let files = GOOD.map(|(name, _)| {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        (name, change(&text).into_bytes())
    });
    load(&files, "test6")
}

#[test]
fn the_users_files_as_published_break_at_the_broken_comment() {
    let wanted = "refused
warning: authkeys:2:3: `crc` has no secret: anybody on the network can pose as a node
     2 | 1 crc
       |   ^^^
       = use sha256 with a key
warning: ha.cf:5:10: deadtime (10 s) minus margin (4 s) is less than warntime (5 s) plus keepalive (2 s): one or two lost heartbeats could cost an owner its groups
     5 | deadtime 10                                  #死亡时间，如果其他节点10s回应，则认为死亡
       |          ^^
       = warntime 4s or less, or deadtime 11s or more leaves room
error: ha.cf:11:1: unknown directive `恢复正常之后是否重新启用；容易发生数据不一致的情况，必须项，不然后面hb_sta...`
    11 | 恢复正常之后是否重新启用；容易发生数据不一致的情况，必须项，不然后面hb_standby命令无法使用；
       | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = if this belongs to the comment on the line above, begin it with `#`
";
    assert_eq!(outcome(&users(str::to_owned)), wanted);
}

#[test]
fn the_users_files_mended_load_with_their_values() {
    let loaded =
        users(|text| text.replace("节点\n恢复", "节点恢复")).unwrap_or_else(|r| panic!("{r}"));
    let Config { timing, .. } = loaded.config;
    let second = Duration::from_secs(1);
    assert_eq!(timing.keepalive, second * 2);
    assert_eq!(timing.deadtime, second * 10);
    assert_eq!(timing.warntime, second * 5);
    assert_eq!(timing.initdead, second * 120);
    assert_eq!(timing.deadping, second * 10);
    let config = loaded.config;
    assert_eq!(config.nodes, ["test6", "test7"].map(NodeName::new));
    assert_eq!(config.udpport, 694);
    assert_eq!(config.media.len(), 1);
    assert_eq!(config.media[0].port, 694);
    assert_eq!(
        config.media[0].target,
        Target::Unicast([10, 1, 88, 179].into())
    );
    assert_eq!(config.pings[0].name, "10.1.88.254");
    assert_eq!(config.quorum, QuorumPolicy::Stop);
    assert!(config.follow_connectivity);
    assert!(config.respawn.is_empty());
    assert!(!config.auto_failback);
    assert_eq!(config.keys.keys[&1].method, Method::Crc);
    assert_eq!(config.logging.logfacility.as_deref(), Some("local0"));
    assert_eq!(
        config.logging.logfile.as_deref(),
        Some(Path::new("/var/log/ha-log"))
    );
    let words: Vec<_> = config.groups[0]
        .tokens
        .iter()
        .map(|(t, _)| t.text.as_str())
        .collect();
    assert_eq!(
        words,
        ["IPaddr::10.1.88.199/24/eth0:1", "mysqld_umount", "mysqld"]
    );
    for (name, value) in [
        ("keepalive", "2"),
        ("udpport", "694"),
        ("auto_failback", "off"),
        ("hopfudge", "1"),
    ] {
        let given: Vec<_> = config
            .directives
            .iter()
            .filter(|(n, _)| n == name)
            .collect();
        assert_eq!(given, [&(name.to_owned(), value.to_owned())]);
    }
}

#[test]
fn the_starting_files_load() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ha.d");
    let files = GOOD.map(|(name, _)| (name, fs::read(folder.join(name)).unwrap()));
    let loaded = load(&files, "alice").unwrap_or_else(|r| panic!("{r}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.config.groups.len(), 1);
}

#[test]
fn there_is_a_limit_to_members_and_media() {
    let names: String = (0..99).map(|n| format!("node x{n}\n")).collect();
    let media: String = (0..64)
        .map(|n| format!("ucast eth1 10.1.0.{n}\n"))
        .collect();
    for (more, says) in [
        (
            names,
            "ha.cf:102:6: there are more than 100 nodes and ping nodes",
        ),
        (media, "ha.cf:68:12: there are more than 64 media"),
    ] {
        let text = outcome(&good(&[("ha.cf", &format!("{}{more}", GOOD[0].1))]));
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn a_thousand_ipv6_addresses_are_no_problem() {
    let line = (0..1000).fold("alice".to_owned(), |l, n| {
        l + &format!(" \\\n  2001:db8::{n:x}")
    });
    let loaded = good(&[("haresources", &line)]).unwrap_or_else(|r| panic!("{r}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.config.groups[0].tokens.len(), 1000);
}

#[test]
fn a_picture_in_place_of_a_file_is_refused_in_short() {
    let noise: Vec<u8> = (0u32..2_000_000)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for length in [100_000, 2_000_000] {
        let noise = noise[..length].to_vec();
        let files = GOOD.map(|(name, _)| (name, noise.clone()));
        let text = outcome(&load(&files, "alice"));
        assert!(text.starts_with("refused"));
        assert!(text.len() < 200_000, "{}", text.len());
    }
}

#[test]
fn the_rest_of_a_full_file_is_read() {
    let ha_cf = "node alice bob carol\nbcast eth0\nmcast eth1 239.0.0.1 700 1 0\nucast eth0 10.0.0.2\nucast eth0 10.0.0.3\n\
        ucast6 eth1 fe80::2\nping 10.0.0.254\nping_group far 10.9.9.1 10.9.9.2\nauto_failback yes\nfailback_delay 30s\n\
        keepalive 200ms\nwarntime .6\ndeadtime 2\ninitdead 20\nmargin 500ms\nquorum freeze\ncluster shop\nenv A=1 B=x=y\n\
        respawn root /usr/bin/watcher -a b\nfailfast hacluster /usr/bin/other\nrealtime no\nlease off\nrtprio 50\nhbgenmethod time\n\
        uuidfrom nodename\nlog_badpack off\nrecord 16M\nhopfudge 2\ntimeout * stop 90s\ntimeout httpd start 2m monitor 5\ndebug 1\n";
    let loaded = good(&[("ha.cf", ha_cf)]).unwrap_or_else(|r| panic!("{r}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let config = loaded.config;
    let links: Vec<_> = config.links.iter().map(ToString::to_string).collect();
    assert_eq!(
        links,
        ["eth0/bcast", "eth1/mcast", "eth0/ucast", "eth1/ucast"]
    );
    assert_eq!(config.media.len(), 5);
    assert_eq!(config.media[1].port, 700);
    assert_eq!(config.pings[1].addresses.len(), 2);
    assert_eq!(config.quorum, QuorumPolicy::Freeze);
    assert_eq!(config.timing.margin, Duration::from_millis(500));
    assert_eq!(config.timing.warntime, Duration::from_millis(600));
    assert_eq!(config.failback_delay, Duration::from_secs(30));
    assert!(
        config.auto_failback
            && !config.realtime
            && !config.lease
            && !config.log_badpack
            && config.record == Some(16 << 20)
            && !config.follow_connectivity
    );
    assert!(config.uuid_from_name);
    assert_eq!(
        (config.rtprio, config.hopfudge, config.logging.debug),
        (Some(50), 2, 1)
    );
    assert_eq!(config.cluster_name, "shop");
    assert_eq!(config.env[1], ("B".to_owned(), "x=y".to_owned()));
    assert_eq!(config.respawn[0].command, ["/usr/bin/watcher", "-a", "b"]);
    assert!(config.respawn[1].failfast && !config.respawn[0].failfast);
    assert_eq!(config.timeouts[1].start, Some(Duration::from_secs(120)));
}

#[test]
fn the_digest_sees_what_must_agree_and_nothing_else() {
    let digest = |changes: &[(&str, &str)]| {
        good(changes)
            .unwrap_or_else(|r| panic!("{r}"))
            .config
            .digest
    };
    let ha_cf = GOOD[0].1;
    let usual = digest(&[]);
    // Stable: a value that changes here would make nodes of two versions differ for no reason.
    assert_eq!(usual, DIGEST_OF_GOOD);
    for same in [
        "logfile /var/log/x\n",
        "bcast eth1\n",
        "debug 3\n",
        "keepalive 1000ms\n",
        "rtprio 3\n",
    ] {
        assert_eq!(
            digest(&[("ha.cf", &format!("{ha_cf}{same}"))]),
            usual,
            "{same}"
        );
    }
    assert_eq!(
        digest(&[("haresources", "ALICE\t10.0.0.100   httpd # c\n")]),
        usual
    );
    for other in [
        "keepalive 2\n",
        "deadtime 20\n",
        "warntime 10\n",
        "initdead 60\n",
        "deadping 20\n",
        "margin 5\n",
        "quorum freeze\n",
        "failback_delay 3\n",
        "ping 10.0.0.253\n",
        "timeout * start 5\n",
        "node carol\n",
        "respawn hacluster /x/ipfail\n",
    ] {
        assert_ne!(
            digest(&[("ha.cf", &format!("{ha_cf}{other}"))]),
            usual,
            "{other}"
        );
    }
    assert_ne!(digest(&[("haresources", "bob 10.0.0.100 httpd\n")]), usual);
    assert_ne!(
        digest(&[("haresources", "alice 10.0.0.100\nalice httpd\n")]),
        usual
    );
    assert_ne!(
        digest(&[("ha.cf", &ha_cf.replace("alice bob", "bob alice"))]),
        usual
    );
}

const DIGEST_OF_GOOD: u64 = 15_947_832_906_524_682_885;

#[test]
fn authkeys_that_others_may_read_are_refused() {
    for (mode, refused) in [
        (0o600, false),
        (0o400, false),
        (0o640, true),
        (0o604, true),
        (0o620, true),
        (0o602, true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in GOOD {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let path = dir.path().join("authkeys");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let result = load_on(&machine(), dir.path(), Some(&NodeName::new("alice")))
            .map_err(|r| named(r, dir.path()));
        if refused {
            let wanted = format!(
                "refused\nerror: authkeys: can be read or written by group or others (mode {mode:04o})\n       = chmod 600 authkeys\n"
            );
            assert_eq!(outcome(&result), wanted);
        } else {
            assert!(result.is_ok(), "{mode:o}");
        }
    }
}

#[test]
fn missing_files_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("ha.cf")).unwrap();
    let error = load_on(&machine(), dir.path(), Some(&NodeName::new("alice"))).unwrap_err();
    let text = named(error, dir.path()).to_string();
    let missing = "cannot be read: No such file or directory (os error 2)";
    assert_eq!(
        text,
        format!(
            "error: authkeys: {missing}\nerror: ha.cf: is not a regular file\nerror: haresources: {missing}\n"
        )
    );
}

#[test]
fn what_this_machine_lacks_does_not_matter_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in GOOD {
        let text = text.replace("eth0", "ens9")
            + if name == "ha.cf" {
                "respawn nobody_here /opt/missing\ncheck disk exec /opt/missing\n"
            } else {
                ""
            };
        fs::write(dir.path().join(name), text).unwrap();
    }
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(dir.path().join("authkeys"), mode).unwrap();
    let loaded = load_on(&HostFacts::elsewhere(), dir.path(), None).unwrap();
    assert_eq!(loaded.config.node.as_str(), "alice");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let error = load_on(&machine(), dir.path(), None).unwrap_err();
    assert_eq!(error.summary(), "5 errors");
}

#[test]
fn a_change_is_live_or_needs_a_restart() {
    let config = |more: &str| {
        let text = format!("{}{more}", GOOD[0].1);
        good(&[("ha.cf", &text)]).unwrap().config
    };
    let old = config("");
    for (more, live, restart) in [
        (
            "failback_delay 30s\n",
            "ha.cf: failback_delay changes from 0s to 30s",
            "",
        ),
        (
            "quorum ignore\n",
            "ha.cf: quorum changes from stop to ignore\nquorum is counted by the old list of voters too until every node has read the new one: reload them all",
            "",
        ),
        (
            "lease off\n",
            "ha.cf: the lease of addresses (lease) changes; addresses that are up get it when their right is renewed",
            "",
        ),
        (
            "env A=1\n",
            "ha.cf: scripts get another HA_A from their next action on",
            "",
        ),
        (
            "ucast eth1 10.1.0.2\n",
            "",
            "media (ucast, bcast, mcast, udpport)",
        ),
        ("logfile /var/log/ha\n", "", "logfile"),
        ("rtprio 50\n", "", "rtprio"),
        ("uuidfrom nodename\n", "", "uuidfrom"),
        (
            "hopfudge 3\n",
            "ha.cf: the hop count of heartbeats (hopfudge) changes",
            "",
        ),
        (
            "log_badpack no\n",
            "ha.cf: whether rejected datagrams are logged (log_badpack) changes",
            "",
        ),
        (
            "respawn root /usr/bin/x\n",
            "ha.cf: respawn /usr/bin/x is new or changed: the child is started",
            "",
        ),
    ] {
        let new = config(more);
        assert_eq!(live_changes(&old, &new).join("\n"), live, "{more}");
        assert_eq!(needs_restart(&old, &new).join(", "), restart, "{more}");
    }
}

/// Words that lead a reader further in than noise does.
fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "node",
        "alice",
        "bob",
        "ucast",
        "bcast",
        "mcast",
        "eth0",
        "10.0.0.2",
        "ping",
        "ping_group",
        "keepalive",
        "deadtime",
        "margin",
        "quorum",
        "stop",
        "timeout",
        "start",
        "10s",
        "1",
        "0",
        "-1",
        "99999999999999999999",
        "auth",
        "sha1",
        "crc",
        "respawn",
        "root",
        "/usr/x",
        "env",
        "A=b",
        "=",
        "::",
        "IPaddr::",
        "fe80::1",
        "IPaddr::fe80::1/64",
        "\\",
        "#",
        "\r",
        "\n",
        "\n",
        "\n",
        "\\\n",
        " ",
        "\t",
        ",",
        "节点",
        "\u{a0}",
        "\u{7}",
        "auto_failback",
        "off",
        "1.2.3.4",
        "udpport",
        "stonith",
        "crm",
        "env",
        "apiauth",
        "uid=",
        "logfacility",
        "initdead",
        "warntime",
        "24h",
        ".",
        "..",
    ]);
    prop::collection::vec(word, 0..60).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(a in prop::collection::vec(any::<u8>(), 0..400),
                              b in prop::collection::vec(any::<u8>(), 0..400),
                              c in prop::collection::vec(any::<u8>(), 0..400)) {
        let _text = outcome(&load(&[("ha.cf", a), ("haresources", b), ("authkeys", c)], "alice"));
    }

    #[test]
    fn no_words_make_it_panic(a in words(), b in words(), c in words()) {
        let _text = outcome(&load(&[("ha.cf", a.into()), ("haresources", b.into()), ("authkeys", c.into())], "alice"));
    }

    #[test]
    fn no_change_of_a_good_file_makes_it_panic(at in 0usize..200, byte in any::<u8>(), which in 0usize..3) {
        let mut files = GOOD.map(|(name, text)| (name, text.as_bytes().to_vec()));
        let text = &mut files[which].1;
        let at = at % text.len();
        text[at] = byte;
        let _text = outcome(&load(&files, "alice"));
    }
}
