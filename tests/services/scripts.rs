//! Scripts of `resource.d` with the real services they manage.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use had::agent::exec::environment::ScriptEnv;
use had::agent::external::script::Script;
use had::agent::{Agent, Status};
use had::model::NodeName;

use crate::cluster::{Blueprint, Cluster, TIMES, wait};
use crate::common::{alone, folder, limits, sh};

fn script(name: &str, args: &[&str]) -> Script {
    let mut env = ScriptEnv::new(NodeName::new("alice"), "/etc/ha.d");
    env.run_dir = env!("CARGO_TARGET_TMPDIR").into();
    Script {
        path: Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("resource.d")
            .join(name),
        args: args.iter().map(ToString::to_string).collect(),
        env: Arc::new(env),
        monitor_timeout: std::time::Duration::from_secs(60),
    }
}

/// Ends the php-fpm with this configuration, however the test ends.
struct Ends(String);

impl Drop for Ends {
    fn drop(&mut self) {
        let mut kill = std::process::Command::new("pkill");
        let killed = kill
            .args(["-QUIT", "-f"])
            .arg(format!("php-fpm: master process .{}", self.0));
        drop(killed.status());
    }
}

#[test]
fn php_fpm_starts_serves_and_stops_as_often_as_asked() {
    for own_pid_file in [true, false] {
        alone(async move {
            let folder = folder();
            sh("mount -t tmpfs none /run");
            let at = |name: &str| folder.path().join(name).display().to_string();
            let _ends = Ends(at("fpm.conf"));
            let pid = format!("pid = {} ; of the pool\n", at("new/fpm.pid"));
            let config = |pid: &str, more: &str| {
                let text = format!(
                    "[global]\n{pid}error_log = {}\n[www]\nuser = www-data\nlisten = {}\npm = static\npm.max_children = 1\n{more}",
                    at("log"),
                    at("sock")
                );
                fs::write(at("fpm.conf"), text).unwrap();
            };
            let pid = if own_pid_file { pid.as_str() } else { "" };
            config(pid, "");
            let fpm = script("php-fpm", &[&at("fpm.conf")]);
            assert_eq!(fpm.monitor(&limits()).await, Ok(Status::Stopped));
            for _ in 0..2 {
                fpm.start(&limits()).await.unwrap();
                assert_eq!(fpm.monitor(&limits()).await, Ok(Status::Running));
                UnixStream::connect(at("sock")).unwrap();
            }
            // With a typo in the file, php-fpm still counts as running and stops, but does not start.
            config(pid, "pm.max_childs = 1\n");
            assert_eq!(fpm.monitor(&limits()).await, Ok(Status::Running));
            for _ in 0..2 {
                fpm.stop(&limits()).await.unwrap();
                assert_eq!(fpm.monitor(&limits()).await, Ok(Status::Stopped));
                assert!(UnixStream::connect(at("sock")).is_err());
            }
            let error = fpm.start(&limits()).await.unwrap_err().to_string();
            assert!(
                error.contains("unknown entry 'pm.max_childs'") && error.contains("exit code 6"),
                "{error}"
            );
            // An old pid in the file belongs to another process.
            config(pid, "");
            let number = format!("{}\n", std::process::id());
            fs::create_dir_all(at("new")).unwrap();
            fs::write(at("new/fpm.pid"), number).unwrap();
            assert_eq!(fpm.monitor(&limits()).await, Ok(Status::Stopped));
            fpm.stop(&limits()).await.unwrap();
        });
    }
}

/// Each node accepts pushes into its own folders.
const RSYNCD: &str = "use chroot = no\nuid = root\ngid = root\nread only = no\nhosts allow = 10.0.0.1 10.0.0.2\n\
     auth users = had\nsecrets file = /etc/ha.d/rsyncd.secrets\n\
     [often]\npath = /srv/often\n[seldom]\npath = /srv/seldom\n";

fn pushed() -> Cluster {
    let ha_cf = format!("{TIMES}bcast eth0\nauto_failback off\nnode alice bob\nping 10.0.0.254\n");
    let both = "10.0.0.1,10.0.0.2";
    let haresources = format!(
        "alice rsync_push::{both}::1::/srv/often=often rsync_push::{both}::3600::/srv/seldom=seldom 10.0.0.100/24/eth0\n"
    );
    let agent = concat!(env!("CARGO_MANIFEST_DIR"), "/resource.d/rsync_push");
    let cluster = Blueprint::new("rsync-push", &ha_cf, &haresources)
        .script("rsync_push", &fs::read_to_string(agent).unwrap())
        .file("rsyncd.conf", RSYNCD, 0o644)
        .file("rsyncd.secrets", "had:secret-of-the-test\n", 0o600)
        .node("alice", &["eth0 10.0.0.1/24"], &[])
        .node("bob", &["eth0 10.0.0.2/24"], &[])
        .gateway("eth0 10.0.0.254/24")
        .watch(&["10.0.0.100"])
        .idle()
        .up();
    for node in ["alice", "bob"] {
        cluster.sh(
            node,
            "mount -t tmpfs none /srv && mkdir /srv/often /srv/seldom && rsync --daemon --config=/etc/ha.d/rsyncd.conf",
        );
    }
    cluster.sh("alice", "echo begin > /srv/seldom/begin");
    for node in ["alice", "bob"] {
        cluster.lab.start_had(node).unwrap();
    }
    cluster.until_owner("rsync_push", "alice");
    cluster.until_active(&["alice", "bob"]);
    cluster
}

fn has(cluster: &Cluster, node: &str, file: &str, text: &str) -> bool {
    cluster.run(node, &format!("cat /srv/{file}")).stdout.trim() == text
}

fn until(cluster: &Cluster, node: &str, file: &str, text: &str) {
    let there = wait(|| has(cluster, node, file, text));
    assert!(there, "{node} has not got {text} in {file}");
}

#[test]
fn rsync_push_pushes_from_its_owner_and_a_last_time_before_another_takes_over() {
    let cluster = pushed();
    cluster.sh(
        "alice",
        "mkdir /srv/often/deep; echo one > '/srv/often/deep/a file'",
    );
    until(&cluster, "bob", "often/deep/a*", "one");
    until(&cluster, "bob", "seldom/begin", "begin");

    // The address of a node is not enough to write here.
    for user in ["", "had@"] {
        let push = format!(
            "echo x > /run/x; RSYNC_PASSWORD=wrong rsync /run/x {user}10.0.0.2::often/stranger"
        );
        let refused = cluster.run("alice", &push);
        assert!(refused.stderr.contains("auth failed"), "{refused:?}");
    }
    assert!(!cluster.run("bob", "test -e /srv/often/stranger").success());

    // A newer file on the other node is kept. A file that is pushed later shows that it was skipped.
    cluster.sh(
        "alice",
        "echo old > /srv/often/both; touch -d yesterday /srv/often/both",
    );
    until(&cluster, "bob", "often/both", "old");
    cluster.sh("bob", "echo newer > /srv/often/both");
    cluster.sh("alice", "echo older > /srv/often/both; touch -d '1 hour ago' /srv/often/both; echo x > /srv/often/z");
    until(&cluster, "bob", "often/z", "x");
    assert!(has(&cluster, "bob", "often/both", "newer"));

    // The next push would be in an hour, but the group moves.
    cluster.sh("alice", "echo two > /srv/seldom/last");
    cluster.sh("alice", "hactl standby");
    cluster.until_owner("rsync_push", "bob");
    assert!(has(&cluster, "bob", "seldom/last", "two"));
    let left = cluster
        .run("alice", "pgrep -af '[r]sync_push.*loop'")
        .stdout;
    assert_eq!(left, "");

    // And in the other direction.
    until(&cluster, "alice", "often/both", "newer");
    cluster.sh("bob", "echo three > /srv/seldom/back");
    cluster.sh("alice", "hactl standby off; hactl takeover");
    cluster.until_owner("rsync_push", "alice");
    assert!(has(&cluster, "alice", "seldom/back", "three"));

    // The other node is down: the loop continues, reports it, and can be stopped.
    cluster.lab.crash("bob").unwrap();
    let status = "/etc/ha.d/resource.d/rsync_push 10.0.0.1,10.0.0.2 1 /srv/often=often status";
    let says = || {
        let said = cluster
            .run("alice", &format!("HA_RSYNC_PATIENCE=1 {status}"))
            .stdout;
        said.starts_with("rsync_push is running") && said.contains("/srv/often to 10.0.0.2")
    };
    assert!(wait(says), "{}", cluster.run("alice", status).stdout);
    cluster.lab.stop_had("alice").unwrap();
    let log = cluster.lab.log("alice").unwrap();
    assert!(log.contains("the last push failed: "), "{log}");
    assert!(!log.contains("stuck"), "{log}");
}
