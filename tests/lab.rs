//! The lab itself, on which other tests rely. Needs root, and also checks the lab of an ordinary user.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use had::lab::{Iface, Lab, LabPlan, LinkDirection, NodePlan, PingPlan, ProgramExit};
use nix::sys::signal::Signal;
use tempfile::TempDir;

const HACTL: &str = env!("CARGO_BIN_EXE_hactl");
const DEADLINE: Duration = Duration::from_secs(30);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Names are unique among all tests that run at the same time.
fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// alice (10.0.0.1) and bob (10.0.0.2) on eth0, a gateway (.254), a client (.9); a second segment on eth1.
fn plan(name: &str, config: &Path) -> LabPlan {
    let node = |name: &str, last: u8| NodePlan {
        name: name.to_owned(),
        config_dir: config.to_owned(),
        ha_cf_lines: vec![],
        interfaces: (0..2u8)
            .map(|n| Iface {
                name: format!("eth{n}"),
                segment: format!("seg{n}"),
                addresses: vec![(IpAddr::from([10, 0, n, last]), 24)],
            })
            .collect(),
    };
    LabPlan {
        name: unique(name),
        nodes: vec![node("alice", 1), node("bob", 2)],
        pings: vec![PingPlan {
            name: "gateway".into(),
            segment: "seg0".into(),
            address: ip("10.0.0.254"),
            prefix: 24,
        }],
        client: vec![("seg0".into(), ip("10.0.0.9"), 24)],
        had: "/bin/false".into(),
        hactl: HACTL.into(),
        start: false,
        restart: false,
        scripts: None,
    }
}

fn config() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ha.cf"), "node alice bob\n").unwrap();
    dir
}

fn lab(name: &str) -> (Lab, TempDir) {
    let config = config();
    (Lab::up(&plan(name, config.path())).unwrap(), config)
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn pings(lab: &Lab, from: &str, to: &str) -> bool {
    lab.exec(from, &["ping", "-c", "1", "-W", "1", to])
        .unwrap()
        .success()
}

fn sh(lab: &Lab, host: &str, script: &str) -> String {
    let output = lab.exec(host, &["sh", "-c", script]).unwrap();
    assert!(output.success(), "{script} on {host}: {output:?}");
    output.stdout.trim().to_owned()
}

/// This machine's processes whose command line contains `text`.
fn processes(text: &str) -> Vec<String> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|e| fs::read(e.path().join("cmdline")).ok())
        .map(|c| String::from_utf8_lossy(&c).replace('\0', " "))
        .filter(|c| c.contains(text))
        .collect()
}

/// The processes in a namespace, as files that name it.
fn in_namespace(kind: &str, id: &str) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let paths = processes.map(|e| e.path().join("ns").join(kind));
    let is_in = |path: &PathBuf| fs::read_link(path).is_ok_and(|link| link == Path::new(id));
    paths.filter(is_in).collect()
}

#[test]
fn hosts_hear_each_other_until_they_are_cut() {
    let (lab, _config) = lab("cut");
    assert!(pings(&lab, "alice", "10.0.0.2"));
    assert!(pings(&lab, "alice", "10.0.1.2"));
    assert!(pings(&lab, "client", "10.0.0.254"));
    lab.cut("alice", "bob", Some("eth0"), LinkDirection::Both)
        .unwrap();
    assert!(!pings(&lab, "alice", "10.0.0.2"));
    assert!(pings(&lab, "alice", "10.0.1.2"));
    assert!(pings(&lab, "alice", "10.0.0.254"));
    lab.heal("alice", "bob").unwrap();
    assert!(pings(&lab, "alice", "10.0.0.2"));
    lab.isolate("bob", None, LinkDirection::Both).unwrap();
    assert!(!pings(&lab, "bob", "10.0.0.254"));
    assert!(!pings(&lab, "bob", "10.0.1.1"));
    lab.heal_all().unwrap();
    // The kernel may just have given up to ask for its MAC.
    until("bob reaches the gateway", || {
        pings(&lab, "bob", "10.0.0.254")
    });
}

#[test]
fn a_oneway_cut_stops_one_direction() {
    let (lab, _config) = lab("oneway");
    let received = || -> u64 {
        sh(&lab, "bob", "cat /sys/class/net/eth1/statistics/rx_packets")
            .parse()
            .unwrap()
    };
    assert!(pings(&lab, "alice", "10.0.1.2"));
    lab.cut("bob", "alice", Some("seg1"), LinkDirection::Out)
        .unwrap();
    let before = received();
    assert!(!pings(&lab, "alice", "10.0.1.2"));
    assert!(received() > before, "bob must still hear alice");
    lab.heal_all().unwrap();
    lab.cut("alice", "bob", Some("seg1"), LinkDirection::Out)
        .unwrap();
    assert!(!pings(&lab, "alice", "10.0.1.2"));
    let status = lab.status().unwrap();
    assert_eq!(
        status.faults,
        [("seg1".into(), "alice".into(), "bob".into(), "cut".into())]
    );
}

#[test]
fn loss_is_about_what_was_asked() {
    let (lab, _config) = lab("loss");
    assert!(pings(&lab, "alice", "10.0.0.2"));
    lab.loss_between("alice", "bob", 30, Some("eth0")).unwrap();
    let text = lab
        .exec(
            "alice",
            &[
                "ping", "-q", "-c", "500", "-i", "0.002", "-W", "1", "10.0.0.2",
            ],
        )
        .unwrap()
        .stdout;
    let received: u32 = text
        .split(" received")
        .next()
        .unwrap()
        .split_whitespace()
        .last()
        .unwrap()
        .parse()
        .unwrap();
    // 49 % make it there and back; five standard deviations are 56 of 500.
    assert!((180..=310).contains(&received), "{text}");
    lab.loss(0, None).unwrap();
    assert_eq!(lab.status().unwrap().faults, []);
}

#[test]
fn frames_are_late_and_come_twice() {
    let (lab, _config) = lab("delay");
    let most = Duration::from_millis(60);
    lab.delay_between("alice", "bob", most, 30).unwrap();
    let faults = lab.status().unwrap().faults;
    let how = "late by up to 60 ms, 30 % come twice";
    assert!(faults.iter().all(|f| f.3 == how) && !faults.is_empty());
    let ping = ["ping", "-c", "50", "-i", "0.01", "-W", "1", "10.0.0.2"];
    let text = lab.exec("alice", &ping).unwrap().stdout;
    // Each of fifty answers would have to come within half of what is allowed, both ways; or never twice.
    let times = text.split("time=").skip(1);
    let slowest = times.map(|t| t.split(' ').next().unwrap().parse::<f64>().unwrap());
    assert!(slowest.fold(0.0, f64::max) > 30.0, "{text}");
    assert!(text.contains("DUP!"), "{text}");
    lab.heal("alice", "bob").unwrap();
    assert_eq!(lab.status().unwrap().faults, []);
}

#[test]
fn a_crash_takes_processes_and_links_and_leaves_the_disk() {
    let (lab, config) = lab("crash");
    let marker = format!("987{}", std::process::id());
    lab.spawn(
        "bob",
        &[
            "sh",
            "-c",
            &format!("setsid sleep {marker} & sleep {marker}"),
        ],
    )
    .unwrap();
    until("both sleep", || {
        processes(&format!("sleep {marker}")).len() >= 2
    });
    sh(
        &lab,
        "bob",
        "echo kept > /var/lib/had/x; echo lost > /run/x; echo '# bob' >> /etc/ha.d/ha.cf",
    );
    assert!(pings(&lab, "alice", "10.0.0.2"));

    lab.crash("bob").unwrap();
    assert_eq!(processes(&format!("sleep {marker}")), [] as [String; 0]);
    assert!(!pings(&lab, "alice", "10.0.0.2"));
    let refused = lab.exec("bob", &["true"]).unwrap_err().to_string();
    assert_eq!(
        refused,
        "bob is powered off; boot it with: hactl lab restart bob"
    );
    assert!(!lab.status().unwrap().hosts[1].alive);

    lab.restart("bob").unwrap();
    assert!(pings(&lab, "alice", "10.0.0.2"));
    assert_eq!(
        sh(
            &lab,
            "bob",
            "cat /var/lib/had/x; test -e /run/x || echo gone"
        ),
        "kept\ngone"
    );
    assert_eq!(
        sh(&lab, "bob", "tail -1 /etc/ha.d/ha.cf; hostname"),
        "# bob\nbob"
    );
    assert_eq!(sh(&lab, "alice", "cat /etc/ha.d/ha.cf"), "node alice bob");
    assert_eq!(
        fs::read_to_string(config.path().join("ha.cf")).unwrap(),
        "node alice bob\n"
    );
    assert_eq!(lab.status().unwrap().hosts[1].boots, 2);
}

#[test]
fn a_host_whose_first_process_dies_is_off() {
    let (lab, _config) = lab("suicide");
    let init = processes_of_host(&lab, "bob");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(init), Signal::SIGKILL).unwrap();
    until("bob is off", || !lab.status().unwrap().hosts[1].alive);
    lab.restart("bob").unwrap();
    assert!(pings(&lab, "alice", "10.0.0.2"));
}

/// The number that a host's first process has on this machine: the one that shares its namespace and is its parent.
fn processes_of_host(lab: &Lab, host: &str) -> i32 {
    let ns = sh(lab, host, "readlink /proc/1/ns/pid");
    let mut pids: Vec<i32> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|e| fs::read_link(e.path().join("ns/pid")).is_ok_and(|l| l == Path::new(&ns)))
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids[0]
}

#[test]
fn an_unplugged_card_loses_its_carrier() {
    let (lab, _config) = lab("carrier");
    let carrier = |card: &str| sh(&lab, "alice", &format!("cat /sys/class/net/{card}/carrier"));
    lab.unplug("alice", Some("eth1")).unwrap();
    until("no carrier", || carrier("eth1") == "0");
    assert_eq!(carrier("eth0"), "1");
    lab.plug("alice", None).unwrap();
    until("carrier", || carrier("eth1") == "1");
    assert!(
        lab.unplug("alice", Some("eth7"))
            .unwrap_err()
            .to_string()
            .contains("no interface eth7")
    );
}

#[test]
fn a_frozen_node_answers_pings_and_does_nothing() {
    let (lab, _config) = lab("freeze");
    lab.spawn(
        "alice",
        &[
            "sh",
            "-c",
            "while :; do echo >> /var/lib/had/ticks; sleep 0.01; done",
        ],
    )
    .unwrap();
    // `exec` starts a new program, which runs on a frozen node too.
    let ticks = || -> u32 {
        sh(&lab, "alice", "wc -l < /var/lib/had/ticks")
            .parse()
            .unwrap()
    };
    until("it ticks", || {
        lab.exec("alice", &["test", "-s", "/var/lib/had/ticks"])
            .unwrap()
            .success()
    });
    lab.freeze("alice").unwrap();
    let frozen = ticks();
    assert!(pings(&lab, "bob", "10.0.0.1"));
    assert_eq!(ticks(), frozen);
    assert!(lab.status().unwrap().hosts[0].frozen);
    lab.thaw("alice").unwrap();
    until("it ticks again", || ticks() > frozen);
}

#[test]
fn a_probe_measures_a_silence() {
    let (lab, _config) = lab("probe");
    sh(&lab, "alice", "ip address add 10.0.0.100/24 dev eth0");
    let probe = lab
        .probe(ip("10.0.0.100"), Duration::from_millis(5))
        .unwrap();
    until("the client knows the address", || {
        lab.neighbour("client", ip("10.0.0.100")).unwrap().is_some()
    });
    let silence = Duration::from_millis(300);
    let before = Instant::now();
    sh(
        &lab,
        "alice",
        &format!(
            "ip address del 10.0.0.100/24 dev eth0; sleep {}; ip address add 10.0.0.100/24 dev eth0",
            silence.as_secs_f64()
        ),
    );
    assert!(pings(&lab, "client", "10.0.0.100"));
    let report = probe.finish().unwrap();
    let most = before.elapsed() + Duration::from_millis(250);
    assert!(report.longest_gap >= silence, "{report:?}");
    assert!(report.longest_gap <= most, "{report:?}");
    assert!(
        report.answered > 0 && report.answered < report.sent,
        "{report:?}"
    );
    assert_eq!(
        lab.neighbour("client", ip("10.0.0.100")).unwrap(),
        lab.mac("alice", "eth0").unwrap()
    );
    assert!(lab.mac("alice", "eth0").unwrap().is_some());
}

#[test]
fn the_sampler_sees_two_owners_and_not_a_move() {
    let (lab, _config) = lab("sampler");
    let address = ip("10.0.0.100");
    let sampler = lab.sampler(&[address], Duration::from_millis(2)).unwrap();
    let add = "ip address add 10.0.0.100/32 dev eth0";
    let del = "ip address del 10.0.0.100/32 dev eth0";
    for _ in 0..10 {
        sh(&lab, "alice", add);
        sh(&lab, "alice", del);
        sh(&lab, "bob", add);
        sh(&lab, "bob", del);
    }
    let report = sampler.finish().unwrap();
    assert_eq!(report.double, []);
    assert!(report.owners.len() > 10, "{report:?}");

    let sampler = lab.sampler(&[address], Duration::from_millis(2)).unwrap();
    sh(&lab, "alice", add);
    sh(&lab, "bob", add);
    let report = sampler.finish().unwrap();
    assert_eq!(report.double.len(), 1, "{report:?}");
    assert_eq!(report.double[0].nodes, ["alice", "bob"]);
    assert_eq!(report.owners.first().map(|o| o.2.len()), Some(0));

    let sampler = lab.sampler(&[address], Duration::from_millis(2)).unwrap();
    lab.crash("bob").unwrap();
    let report = sampler.finish().unwrap();
    assert_eq!(report.owners.last().unwrap().2, ["alice"]);
}

#[test]
fn programs_end_as_they_end_and_not_later_than_allowed() {
    let (lab, _config) = lab("exec");
    let output = lab
        .exec("alice", &["sh", "-c", "echo out; echo err >&2; exit 7"])
        .unwrap();
    assert_eq!(
        (output.exit, output.stdout.as_str(), output.stderr.as_str()),
        (ProgramExit::Code(7), "out\n", "err\n")
    );
    assert_eq!(
        lab.exec("alice", &["sh", "-c", "kill -9 $$"]).unwrap().exit,
        ProgramExit::Signal(9)
    );
    let late = lab
        .exec_within(
            "alice",
            &["sh", "-c", "sleep 1000 & sleep 1000"],
            Duration::from_millis(50),
        )
        .unwrap();
    assert_eq!(late.exit, ProgramExit::TimedOut);
    until("its children are gone", || {
        !sh(&lab, "alice", "ps ax").contains("sleep 1000")
    });
    assert_eq!(sh(&lab, "alice", "command -v hactl"), HACTL);
    // What a program leaves behind runs on.
    sh(&lab, "alice", "sleep 1001 &");
    assert!(sh(&lab, "alice", "ps ax").contains("sleep 1001"));
    let error = lab
        .exec("alice", &["/no/such/program"])
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("cannot run /no/such/program: "),
        "{error}"
    );
    let error = lab.exec("carol", &["true"]).unwrap_err().to_string();
    assert_eq!(
        error,
        "this lab has no host carol; its hosts are: alice, bob, gateway, client"
    );
}

#[test]
fn the_daemon_is_started_stopped_and_killed() {
    let config = config();
    let had = config.path().join("had");
    let script = "#!/bin/sh\necho started \"$@\"\ntrap 'echo stopped; exit 0' TERM\nwhile :; do sleep 0.01; done\n";
    fs::write(&had, script).unwrap();
    fs::set_permissions(&had, fs::Permissions::from_mode(0o755)).unwrap();
    let plan = LabPlan {
        had,
        start: true,
        restart: false,
        scripts: None,
        ..plan("had", config.path())
    };
    let lab = Lab::up(&plan).unwrap();
    let said = |text: &str| lab.log("alice").unwrap().contains(text);
    assert!(lab.had_pid("alice").unwrap().is_some());
    until("it speaks", || said("started --config /etc/ha.d\n"));
    assert!(
        lab.start_had("alice")
            .unwrap_err()
            .to_string()
            .contains("is already running on alice")
    );
    lab.stop_had("alice").unwrap();
    assert!(said("stopped\n"));
    assert_eq!(lab.had_pid("alice").unwrap(), None);
    lab.start_had("alice").unwrap();
    lab.kill_had("alice").unwrap();
    assert_eq!(lab.had_pid("alice").unwrap(), None);
    assert!(lab.kill_had("alice").is_err());
    assert!(lab.had_pid("bob").unwrap().is_some());
    lab.crash("bob").unwrap();
    lab.restart("bob").unwrap();
    assert!(lab.had_pid("bob").unwrap().is_some());
    assert_eq!(lab.had_pid("gateway").unwrap(), None);
}

#[test]
fn nothing_is_left_when_a_lab_is_dropped() {
    let (lab, _config) = lab("drop");
    let name = lab.name().to_owned();
    let namespaces: Vec<(String, String)> = ["net", "pid", "mnt", "uts", "ipc"]
        .iter()
        .map(|kind| {
            (
                (*kind).to_owned(),
                sh(&lab, "alice", &format!("readlink /proc/self/ns/{kind}")),
            )
        })
        .collect();
    lab.spawn("alice", &["sleep", "98765"]).unwrap();
    // While they are held, another lab does not get their numbers.
    let held: Vec<fs::File> = namespaces
        .iter()
        .map(|(kind, id)| fs::File::open(&in_namespace(kind, id)[0]).unwrap())
        .collect();
    assert!(!processes(&name).is_empty());
    drop(lab);
    for (kind, id) in namespaces {
        assert_eq!(in_namespace(&kind, &id), [] as [PathBuf; 0], "{kind}");
    }
    drop(held);
    assert_eq!(processes(&name), [] as [String; 0]);
    assert!(!Path::new("/run/had-lab").join(&name).exists());
    assert!(
        !fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .contains(&name)
    );
}

#[test]
fn two_labs_do_not_hear_each_other() {
    let (one, _c1) = lab("first");
    let (two, _c2) = lab("second");
    one.crash("bob").unwrap();
    assert!(!pings(&one, "alice", "10.0.0.2"));
    assert!(pings(&two, "alice", "10.0.0.2"));
    let config = config();
    let again = Lab::up(&plan("first", config.path()))
        .unwrap_err()
        .to_string();
    assert!(
        again.contains("is already running; end it with: hactl lab down"),
        "{again}"
    );
    drop(one);
    assert!(pings(&two, "alice", "10.0.0.2"));
}

#[test]
fn a_killed_supervisor_takes_everything_with_it() {
    let config = config();
    let plan = plan("killed", config.path());
    let lab = Lab::up_in_background(&plan).unwrap();
    let net = sh(&lab, "alice", "readlink /proc/self/ns/net");
    let supervisor = supervisor_of(&plan.name);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
    until("all are gone", || {
        in_namespace("net", &net).is_empty() && processes(&plan.name).is_empty()
    });
    until("its absence is named", || {
        lab.status()
            .is_err_and(|e| e.to_string().contains("is not running"))
    });
    let again = Lab::up_in_background(&plan).unwrap();
    assert!(pings(&again, "alice", "10.0.0.2"));
    again.down().unwrap();
    assert!(!Path::new("/run/had-lab").join(&plan.name).exists());
}

/// The parent of the process that serves this lab.
fn supervisor_of(name: &str) -> i32 {
    let serves = |e: &fs::DirEntry| {
        fs::read(e.path().join("cmdline")).is_ok_and(|c| {
            String::from_utf8_lossy(&c).contains(&format!("serve\0/run/had-lab/{name}"))
        })
    };
    let serve = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .find(serves)
        .unwrap();
    let status = fs::read_to_string(serve.path().join("status")).unwrap();
    status
        .lines()
        .find_map(|l| l.strip_prefix("PPid:"))
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

#[test]
fn a_plan_that_cannot_be_built_leaves_nothing() {
    let config = config();
    let mut plan = plan("bad", config.path());
    plan.nodes[0].config_dir = "/no/such/folder".into();
    let error = Lab::up(&plan).unwrap_err().to_string();
    assert!(error.contains("/no/such/folder"), "{error}");
    assert!(!Path::new("/run/had-lab").join(&plan.name).exists());
    assert_eq!(processes(&plan.name), [] as [String; 0]);
}

/// A folder that anybody can read, with the tool, a configuration and a plan.
fn for_everybody(name: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let hactl = dir.path().join("hactl");
    fs::copy(HACTL, &hactl).unwrap();
    fs::write(dir.path().join("ha.cf"), "node alice bob\n").unwrap();
    let plan = LabPlan {
        hactl: hactl.clone(),
        ..plan(name, dir.path())
    };
    fs::write(
        dir.path().join("plan"),
        serde_json::to_string(&plan).unwrap() + "\n",
    )
    .unwrap();
    (dir, hactl)
}

/// `/dev/net/tun` may belong to root alone here; most systems open it to all, and so does this test for itself.
#[test]
fn an_ordinary_user_has_labs_too() {
    let (dir, hactl) = for_everybody("user");
    let name = unique("user");
    let tun = dir.path().join("tun");
    let script = format!(
        "set -e
        mount --make-rprivate /
        mknod {tun} c 10 200; chmod 666 {tun}; mount --bind {tun} /dev/net/tun
        cat > {dir}/run <<'END'
set -e
unset XDG_RUNTIME_DIR
{{ cat {dir}/plan; }} | {hactl} lab supervise > {dir}/out/said &
until grep . {dir}/out/said >/dev/null 2>&1; do sleep 0.01; done
grep '^ready$' {dir}/out/said
{hactl} lab exec --name {name} alice -- ping -c 1 -W 5 10.0.0.2
{hactl} lab exec --name {name} bob -- sh -c 'echo uid $(id -u) on $(hostname); ls /etc/ha.d; {hactl} check; true'
{hactl} lab crash --name {name} bob
{hactl} lab restart --name {name} bob
{hactl} lab exec --name {name} alice -- ping -c 1 -W 5 10.0.0.2
{hactl} lab down --name {name}
END
        mkdir {dir}/out; chmod 777 {dir}/out
        exec setpriv --reuid 65534 --regid 65534 --clear-groups sh {dir}/run",
        tun = tun.display(),
        dir = dir.path().display(),
        hactl = hactl.display(),
    );
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let said = fs::read_to_string(dir.path().join("out/said")).unwrap_or_default();
    assert!(output.status.success(), "{out}\n{err}\n{said}");
    assert!(
        out.contains("uid 0 on bob") && out.contains("ha.cf"),
        "{out}"
    );
    // The root of this machine is nobody there, and its folders are trusted all the same.
    assert!(
        out.contains("/etc/ha.d/haresources: cannot be read"),
        "{out}"
    );
    assert!(!out.contains("belongs to user"), "{out}");
    assert!(!Path::new("/tmp/had-lab-65534").join(&name).exists());
    assert_eq!(processes(&name), [] as [String; 0]);
}

/// In a user namespace of its own where the limit is zero.
#[test]
fn a_kernel_that_refuses_user_namespaces_is_named_with_the_remedy() {
    let (dir, hactl) = for_everybody("refused");
    let script = format!(
        "read go; exec sh -c 'echo 0 > /proc/sys/user/max_user_namespaces
        exec setpriv --reuid 500 --regid 500 --clear-groups sh -c \"unset XDG_RUNTIME_DIR; {} lab supervise < {}/plan\"'",
        hactl.display(),
        dir.path().display()
    );
    let mut child = Command::new("unshare")
        .args(["-U", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let ours = fs::read_link("/proc/self/ns/user").unwrap();
    until("it has its namespace", || {
        fs::read_link(proc.join("ns/user")).is_ok_and(|ns| ns != ours)
    });
    fs::write(proc.join("uid_map"), "0 0 1000").unwrap();
    fs::write(proc.join("gid_map"), "0 0 1000").unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"go\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        said.trim(),
        "the kernel refuses a user namespace (as root: sysctl user.max_user_namespaces=10000, or run the lab as root): \
         No space left on device (os error 28)"
    );
    fs::remove_dir("/tmp/had-lab-500").unwrap();
}
