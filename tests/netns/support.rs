//! `hactl support`: what is in the archive, what is never in it, and what it does when things are broken.

use crate::common::{Blueprint, Cluster, TIMES};

/// A word for each place where a secret may be.
const SECRETS: [&str; 9] = [
    "a-key-for-a-test",
    "sekret-of-a-resource",
    "sekret-of-the-switch",
    "sekret-of-a-comment",
    "sekret-of-a-url",
    "sekret-of-stonith",
    "sekret-of-a-notifier",
    "sekret-of-the-log",
    "sekret-of-a-hook",
];
const HA_CF: &str =
    "auto_failback off\nrecord 1M\nnode alice bob\nucast eth0 10.0.0.1\nucast eth0 10.0.0.2
fence alice /etc/ha.d/switch ip=10.9.9.1 password=@/etc/ha.d/switch-password
fence bob /etc/ha.d/switch ip=10.9.9.2 password=@/etc/ha.d/switch-password
# the old one: --password sekret-of-a-comment
# check web http://admin:sekret-of-a-url@10.0.0.7/
# stonith_host * external/ipmi 10.9.9.9 root sekret-of-stonith
# notify /usr/local/bin/tell --token sekret-of-a-notifier
# fence carol /etc/ha.d/switch ip=10.9.9.3 password=@/etc/ha.d/long-password
notify http://127.0.0.1:9/T0/sekret-of-a-hook timeout 1s
#notify https://hooks.example.org/T0/sekret-of-a-hook
";
/// It says its own parameters, as careless scripts do.
const TALKATIVE: &str = "#!/bin/sh
for action; do :; done
echo \"$0 was told $*\" >&2
case $action in
start) touch /run/first.on;;
stop) rm -f /run/first.on;;
status) if [ -e /run/first.on ]; then echo running; else echo stopped; fi;;
esac
";
const SWITCH: &str = "#!/bin/sh\ncat >/dev/null\nexit 0\n";
/// A journal of systemd with secrets.
const JOURNALCTL: &str = "printf '#!/bin/sh\\necho \"had: key a-key-for-a-test, sekret-of-the-switch, passwd=sekret-of-the-log\"\\n' >/run/bin/journalctl";

fn pair(name: &str) -> Cluster {
    let haresources = "alice 10.0.0.100 first::passwd=sekret-of-a-resource\n";
    let cluster = Blueprint::new(name, &format!("{TIMES}{HA_CF}"), haresources)
        .script("first", TALKATIVE)
        .file("switch", SWITCH, 0o755)
        .file("switch-password", "sekret-of-the-switch\n", 0o600)
        .node("alice", &["eth0 10.0.0.1/24"], &[])
        .node("bob", &["eth0 10.0.0.2/24"], &[])
        .up();
    cluster.until_owner("10.0.0.100", "alice");
    cluster.until_active(&["alice", "bob"]);
    let make = format!("mkdir /run/bin /run/x && {JOURNALCTL} && chmod 755 /run/bin/journalctl");
    cluster.sh("alice", &make);
    cluster
}

/// Makes an archive on alice, unpacks it into a folder, and returns what was said.
fn unpacked(cluster: &Cluster, name: &str) -> String {
    let command = format!("PATH=/run/bin:$PATH hactl support --out /run/x/{name}.tar.gz");
    let said = cluster.exits(0, "alice", &command);
    assert_eq!(
        cluster.sh("alice", &format!("stat -c %a /run/x/{name}.tar.gz")),
        "600\n"
    );
    let unpack = format!(
        "cd /run/x && mkdir {name} && tar xzf {name}.tar.gz -C {name} --strip-components=1"
    );
    cluster.sh("alice", &unpack);
    // Nothing else is left behind.
    assert_eq!(
        cluster.sh("alice", "ls -A /run/x | grep -c '^\\.' || true"),
        "0\n"
    );
    for secret in SECRETS {
        let found = cluster.sh(
            "alice",
            &format!("grep -rlaF -e {secret} /run/x/{name} || true"),
        );
        assert_eq!(found, "", "{secret}");
    }
    said
}

fn file(cluster: &Cluster, path: &str) -> String {
    cluster.sh("alice", &format!("cat /run/x/{path}"))
}

#[test]
fn the_archive_has_what_is_needed_and_no_secret() {
    let cluster = pair("support-whole");
    let logs = "mkdir /run/a /run/b && echo one >/run/a/tell && echo two >/run/b/tell";
    let name = "printf 'logfile /run/a/tell\\ndebugfile /run/b/tell\\n' >>/etc/ha.d/ha.cf";
    cluster.sh("alice", &format!("{logs} && {name}"));
    // An older recording.
    cluster.sh("alice", "test -s /var/lib/had/recording.old || cp /var/lib/had/recording /var/lib/had/recording.old");
    let said = unpacked(&cluster, "whole");
    assert_eq!(file(&cluster, "whole/logs/tell-2"), "two\n");
    for name in [
        "version.txt",
        "uname.txt",
        "config/ha.cf",
        "config/haresources",
        "check.txt",
        "status.txt",
        "status.json",
        "history.txt",
        "journal.jsonl",
        "recording",
        "recording.old",
        "logs/tell",
        "logs/tell-2",
        "log.txt",
        "ip-address.txt",
        "ip-route.txt",
        "ip-rule.txt",
        "problems.txt",
    ] {
        assert!(
            said.contains(&format!("  {name}\n")),
            "{name} is not in {said}"
        );
        assert_ne!(file(&cluster, &format!("whole/{name}")), "", "{name}");
    }
    assert!(said.contains("Look into it before you send it"), "{said}");
    assert!(!said.contains("authkeys\n"), "{said}");
    let ha_cf = file(&cluster, "whole/config/ha.cf");
    for kept in [
        "deadtime 2",
        "fence bob /etc/ha.d/switch ip=10.9.9.2 password=",
        "http://***@10.0.0.7/",
        "notify http://127.0.0.1:9/*** timeout 1s",
    ] {
        assert!(ha_cf.contains(kept), "{kept}: {ha_cf}");
    }
    let haresources = file(&cluster, "whole/config/haresources");
    assert_eq!(haresources, "alice 10.0.0.100 first::passwd=***\n");
    assert!(file(&cluster, "whole/status.txt").starts_with("The cluster as alice sees it"));
    assert!(file(&cluster, "whole/journal.jsonl").contains("\"event\":\"online\""));
    assert!(file(&cluster, "whole/log.txt").contains("had: key ***, ***, passwd=***"));
    assert!(file(&cluster, "whole/ip-address.txt").contains("10.0.0.100"));
    // Nothing is overwritten.
    let said = cluster.exits(1, "alice", "hactl support --out /run/x/whole.tar.gz");
    assert!(said.contains("exists already"), "{said}");
}

#[test]
fn a_dead_daemon_and_a_broken_configuration_are_no_obstacle() {
    let cluster = pair("support-broken");
    // What is asked for is on the disk: entries are written together, a moment later.
    cluster.sh("alice", "hactl history");
    cluster.lab.kill_had("alice").unwrap();
    let long = "head -c 70000 /dev/zero | tr '\\0' x >/etc/ha.d/long-password";
    cluster.sh("alice", long);
    cluster.sh("alice", "echo 'deadtme 3' >>/etc/ha.d/ha.cf; rm /etc/ha.d/haresources; mkfifo /etc/ha.d/haresources");
    let said = unpacked(&cluster, "broken");
    let problems = file(&cluster, "broken/problems.txt");
    for (problem, why) in [
        ("status.json: ", "cannot reach had"),
        ("/etc/ha.d/haresources: ", "not a regular file"),
        (
            "/etc/ha.d/long-password: ",
            "its words are not masked, because it cannot be read: it is longer",
        ),
    ] {
        let line = problems.lines().find(|line| line.starts_with(problem));
        assert!(
            line.is_some_and(|line| line.contains(why)),
            "{problem}: {problems}"
        );
        assert!(said.contains(line.unwrap()), "{said}");
    }
    assert!(file(&cluster, "broken/check.txt").contains("deadtme"));
    // The journal is read from the disk, and stays as it is.
    let journal = file(&cluster, "broken/journal-from-disk.jsonl");
    assert!(journal.contains("\"event\":\"online\""), "{journal}");
    assert_eq!(
        cluster.sh("alice", "ls -d /tmp/hactl-support-* 2>/dev/null || true"),
        ""
    );
}

#[test]
fn a_full_disk_is_a_clear_error_and_leaves_nothing() {
    let cluster = pair("support-full");
    let fill = "head -c 100000 /dev/zero >/run/full/fill 2>/dev/null || true";
    let mount = "mkdir /run/full && mount -t tmpfs -o size=8k tmpfs /run/full";
    cluster.sh("alice", &format!("{mount} && {fill}"));
    let said = cluster.exits(1, "alice", "hactl support --out /run/full/a.tar.gz");
    assert!(
        said.contains("cannot write /run/full/a.tar.gz: No space left"),
        "{said}"
    );
    assert_eq!(cluster.sh("alice", "ls -A /run/full"), "fill\n");
    let said = cluster.exits(1, "alice", "hactl support --out /dev/full");
    assert!(said.contains("exists already"), "{said}");
    let said = cluster.exits(1, "alice", "hactl support --out /run/none/a.tar.gz");
    assert!(said.contains("cannot write /run/none/a.tar.gz"), "{said}");
    // A program that hangs costs its deadline, not the archive.
    cluster.sh(
        "alice",
        "printf '#!/bin/sh\\nsleep 600\\n' >/run/bin/journalctl",
    );
    unpacked(&cluster, "hung");
    let problems = file(&cluster, "hung/problems.txt");
    assert!(
        problems.contains("log.txt: it did not end within 20 s"),
        "{problems}"
    );
}
