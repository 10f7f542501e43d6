//! The cluster of these tests: alice and bob on two segments, a gateway and a client on the first.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use had::lab::{
    Iface, Lab, LabPlan, LinkDirection, NodePlan, PingPlan, ProbeReport, RunningProbe,
    RunningSampler, SamplerReport,
};
use had::model::heartbeat::GroupState;
use had::model::status::{GroupStatus, LinkStatus, Liveness, NodeStatus, Status};
use had::model::{NodeName, Time};
use tempfile::TempDir;

/// How long anything may take that should happen. It is never part of a measurement.
pub const DEADLINE: Duration = Duration::from_secs(60);
pub const DEADTIME: Duration = Duration::from_secs(3);
/// Its line of ha.cf, and the other times.
pub const TIMES: &str = "keepalive 200ms\nwarntime 1200ms\ndeadtime 3s\ninitdead 6s\n";
/// The usual group: an address and a script.
pub const GROUP: &str = "10.0.0.100/24/eth0";
/// The gateway as an arbiter.
pub const PING: &str = "ping 10.0.0.254\n";

/// The virtual address of the usual group.
pub fn vip() -> IpAddr {
    IpAddr::from([10, 0, 0, 100])
}

/// How a cluster is set up.
pub struct Setup<'a> {
    /// The interfaces for heartbeats.
    pub links: &'a [&'a str],
    /// keepalive, warntime, deadtime, initdead.
    pub times: &'a str,
    /// More lines of ha.cf.
    pub ha_cf: &'a str,
    pub haresources: &'a str,
    /// Whether to start the daemons and to wait until the group runs.
    pub start: bool,
}

/// The usual one: an address and a script, with the gateway as arbiter.
pub const USUAL: Setup<'static> = Setup {
    links: &["eth0"],
    times: TIMES,
    ha_cf: PING,
    haresources: "alice 10.0.0.100/24/eth0 svc::web\n",
    start: true,
};
/// A group with only an address.
pub const ADDRESS: Setup<'static> = USUAL.haresources("alice 10.0.0.100/24/eth0\n");

impl<'a> Setup<'a> {
    pub const fn times(self, times: &'a str) -> Setup<'a> {
        Setup { times, ..self }
    }

    pub const fn ha_cf(self, ha_cf: &'a str) -> Setup<'a> {
        Setup { ha_cf, ..self }
    }

    pub const fn haresources(self, haresources: &'a str) -> Setup<'a> {
        Setup {
            haresources,
            ..self
        }
    }

    /// Does not start the daemons.
    pub const fn idle(self) -> Setup<'a> {
        Setup {
            start: false,
            ..self
        }
    }
}

/// A running cluster. It is checked and ended when it is dropped.
pub struct Cluster {
    pub lab: Lab,
    /// Has the configuration, and the files of the resource scripts.
    dir: TempDir,
    sampler: Option<RunningSampler>,
    nodes: Vec<String>,
}

/// The resource script.
const SCRIPT: &str = include_str!("svc.sh");

/// A call of the resource script: when, where, what.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub at: f64,
    pub node: String,
    pub what: String,
}

/// The text of ha.cf for these nodes; `more` has the times.
pub fn ha_cf(nodes: &[&str], links: &[&str], more: &str) -> String {
    let mut text = format!("node {}\nudpport 694\n", nodes.join(" "));
    for link in links {
        let segment = link.trim_start_matches("eth");
        for host in 1..=4 {
            text.push_str(&format!("ucast {link} 10.0.{segment}.{host}\n"));
        }
    }
    text + "auto_failback off\n" + more
}

/// Writes a configuration folder whose scripts use the folder `told`.
pub fn write_config(folder: &Path, told: &Path, ha_cf: &str, haresources: &str, key: &str) {
    fs::create_dir_all(folder.join("resource.d")).unwrap();
    fs::write(folder.join("ha.cf"), ha_cf).unwrap();
    fs::write(folder.join("haresources"), haresources).unwrap();
    let authkeys = folder.join("authkeys");
    fs::write(&authkeys, format!("auth 1\n1 sha1 {key}\n")).unwrap();
    fs::set_permissions(&authkeys, fs::Permissions::from_mode(0o600)).unwrap();
    // Also under the name of a script for shared storage, for which a takeover waits.
    for name in ["svc", "LVM"] {
        let script = folder.join("resource.d").join(name);
        fs::write(&script, SCRIPT.replace("DIR", &told.display().to_string())).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Builds a library that is preloaded into a daemon.
pub fn build_library(folder: &Path, source: &str) -> PathBuf {
    let (file, library) = (folder.join("preload.c"), folder.join("preload.so"));
    fs::write(&file, source).unwrap();
    let mut cc = Command::new("cc");
    let built = cc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]);
    let output = built.arg(&library).arg(&file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    library
}

/// A program that is the daemon with these variables in its environment.
pub fn had_with(folder: &Path, variables: &str) -> PathBuf {
    let had = folder.join("had");
    let program = env!("CARGO_BIN_EXE_had");
    let script = format!("#!/bin/sh\nexport {variables}\nexec {program} \"$@\"\n");
    fs::write(&had, script).unwrap();
    fs::set_permissions(&had, fs::Permissions::from_mode(0o755)).unwrap();
    had
}

/// A node with this last byte of its addresses.
pub fn node(name: &str, last: u8, config: &Path) -> NodePlan {
    NodePlan {
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
    }
}

/// A plan with these nodes, a gateway and a client.
pub fn plan(name: &str, nodes: Vec<NodePlan>) -> LabPlan {
    LabPlan {
        name: format!("{name}-{}", std::process::id()),
        nodes,
        pings: vec![PingPlan {
            name: "gateway".into(),
            segment: "seg0".into(),
            address: IpAddr::from([10, 0, 0, 254]),
            prefix: 24,
        }],
        client: vec![
            ("seg0".into(), IpAddr::from([10, 0, 0, 9]), 24),
            ("seg1".into(), IpAddr::from([10, 0, 1, 9]), 24),
        ],
        had: env!("CARGO_BIN_EXE_had").into(),
        hactl: env!("CARGO_BIN_EXE_hactl").into(),
        start: false,
        restart: false,
        scripts: None,
    }
}

impl Cluster {
    /// Builds one. With `setup.start` it returns once both nodes are active and alice runs the group.
    pub fn up(name: &str, setup: &Setup<'_>) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("ha.d");
        let more = format!("{}{}", setup.times, setup.ha_cf);
        let text = ha_cf(&["alice", "bob"], setup.links, &more);
        write_config(
            &config,
            dir.path(),
            &text,
            setup.haresources,
            "secret-of-this-lab",
        );
        let nodes = vec![node("alice", 1, &config), node("bob", 2, &config)];
        let cluster = Cluster::of(&plan(name, nodes), dir, &[vip()]);
        if setup.start {
            cluster.start_both();
            cluster.until_owner("alice");
            cluster.until_owner_seen("bob", "alice");
        }
        cluster
    }

    /// Builds one of this plan, with a sampler of these addresses. Starts no daemon.
    pub fn of(plan: &LabPlan, dir: TempDir, addresses: &[IpAddr]) -> Cluster {
        let lab = Lab::up(plan).unwrap();
        let sampler = lab.sampler(addresses, Duration::from_millis(10)).unwrap();
        Cluster {
            sampler: Some(sampler),
            nodes: plan.nodes.iter().map(|n| n.name.clone()).collect(),
            lab,
            dir,
        }
    }

    pub fn start(&self, node: &str) {
        self.lab.start_had(node).unwrap();
    }

    /// Starts alice's daemon and, once it listens, bob's. So the group starts on its preferred node.
    pub fn start_both(&self) {
        self.start("alice");
        self.until_status("alice", "listens", |_| true);
        self.start("bob");
    }

    /// Waits until the status of a node meets a condition.
    pub fn until_status(&self, node: &str, what: &str, good: impl Fn(&Status) -> bool) -> Status {
        let see = || self.try_status(node);
        let what = format!("{node}: {what}");
        until(&what, see, |s| s.as_ref().is_some_and(&good)).unwrap()
    }

    /// Waits until this node reports that it alone runs the usual group.
    pub fn until_owner(&self, node: &str) -> Status {
        self.until_status(node, "runs the group", |s| {
            owners(s) == [node] && state(s, node) == Some(GroupState::Online)
        })
    }

    /// Waits until one node sees that only another one, which is active, runs the usual group.
    pub fn until_owner_seen(&self, by: &str, owner: &str) -> Status {
        self.until_status(by, "sees the owner", |s| {
            owners(s) == [owner]
                && state(s, owner) == Some(GroupState::Online)
                && (by == owner || peer(s, owner).liveness == Liveness::Active)
        })
    }

    /// Waits until both nodes agree on an owner that has the address. Returns the owner.
    pub fn agreed_owner(&self) -> String {
        let see = || {
            let both = ["alice", "bob"].map(|n| self.try_status(n));
            both.map(|s| s.map(|s| owners(&s).join(" ")).unwrap_or_default())
        };
        let agreed = until("both agree on one owner", see, |[a, b]| {
            a == b && (a == "alice" || a == "bob")
        });
        let [owner, _] = agreed;
        self.until_owner(&owner);
        owner
    }

    /// Waits until a node sees another in this state.
    pub fn until_liveness(&self, by: &str, of: &str, liveness: Liveness) -> Status {
        self.until_status(by, &format!("sees {of} {liveness:?}"), |s| {
            peer(s, of).liveness == liveness
        })
    }

    /// Waits until the log of a node has the text.
    pub fn until_log(&self, node: &str, text: &str) {
        let what = format!("the log of {node} says {text:?}");
        let see = || self.lab.log(node).unwrap().contains(text);
        until(&what, see, |said| *said);
    }

    /// Waits until a node's daemon no longer runs.
    pub fn until_gone(&self, node: &str) {
        until(
            "the daemon is gone",
            || self.lab.had_pid(node).unwrap(),
            Option::is_none,
        );
    }

    pub fn try_status(&self, node: &str) -> Option<Status> {
        let output = self
            .lab
            .exec_within(node, &["hactl", "status", "--json"], DEADLINE)
            .unwrap();
        serde_json::from_str(&output.stdout).ok()
    }

    pub fn status(&self, node: &str) -> Status {
        self.try_status(node)
            .unwrap_or_else(|| panic!("{node} gives no status"))
    }

    /// Runs a program that must succeed. Returns its stdout and stderr.
    pub fn run(&self, host: &str, argv: &[&str]) -> String {
        let output = self.lab.exec(host, argv).unwrap();
        assert!(output.success(), "{argv:?} on {host}: {output:?}");
        output.stdout + &output.stderr
    }

    /// The page of `hactl status`, whatever its exit code says.
    pub fn page(&self, node: &str) -> String {
        self.sh(node, "hactl status || [ $? -ge 5 ]")
    }

    pub fn sh(&self, host: &str, script: &str) -> String {
        self.run(host, &["sh", "-c", script]).trim().to_owned()
    }

    /// Makes the script on a node run this before an action.
    pub fn script_does(&self, node: &str, action: &str, shell: &str) {
        let path = self.dir.path().join(format!("{node}-{action}"));
        let new = path.with_extension("new");
        fs::write(&new, format!("{shell}\n")).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Makes the script work normally again.
    pub fn script_is_well(&self, node: &str, action: &str) {
        fs::remove_file(self.dir.path().join(format!("{node}-{action}"))).unwrap();
    }

    /// The folder that the scripts of all nodes share.
    pub fn shared(&self) -> &Path {
        self.dir.path()
    }

    /// All recorded starts and stops of the scripts in order. `what` is, for example, "web start begin".
    pub fn calls(&self) -> Vec<Call> {
        let text = fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default();
        text.lines()
            .map(|line| {
                let mut words = line.splitn(3, ' ');
                let mut word = || words.next().unwrap().to_owned();
                Call {
                    at: word().parse().unwrap(),
                    node: word(),
                    what: word(),
                }
            })
            .collect()
    }

    /// Asserts which starts and stops were recorded, by node and action.
    pub fn were_called(&self, wanted: &[(&str, &str)]) {
        let calls = self.calls();
        let told = calls.iter().map(|c| (c.node.as_str(), c.what.as_str()));
        assert_eq!(told.collect::<Vec<_>>(), wanted);
    }

    /// Asserts that alice started the group once, and that nothing was ever stopped.
    pub fn only_the_first_start(&self) {
        self.were_called(&[("alice", "web start begin"), ("alice", "web start end")]);
    }

    /// Cuts a node off from all others and from the gateway.
    pub fn isolate(&self, node: &str) {
        let way = LinkDirection::Both;
        self.lab.isolate(node, None, way).unwrap();
    }

    /// Every process of a node whose command line contains the text.
    pub fn processes(&self, node: &str, text: &str) -> Vec<String> {
        let all = self.run(node, &["ps", "axo", "pid,args"]);
        all.lines()
            .filter(|l| l.contains(text) && !l.contains("ps axo"))
            .map(str::to_owned)
            .collect()
    }

    /// Probes the virtual address from the client every 5 ms. It must answer first.
    pub fn probe(&self) -> RunningProbe {
        until(
            "the address answers",
            || {
                self.lab
                    .exec("client", &["ping", "-c", "1", "-W", "1", "10.0.0.100"])
                    .unwrap()
            },
            had::lab::ExecOutput::success,
        );
        self.lab.probe(vip(), Duration::from_millis(5)).unwrap()
    }

    /// Ends the sampler, asserts that there never were two owners, and returns its report.
    pub fn never_two_owners(&mut self) -> SamplerReport {
        let report = self.sampler_report();
        assert_eq!(report.double, [], "two owners at once: {report:#?}");
        report
    }

    /// Ends the sampler and returns its report. The test must check it for two owners.
    pub fn sampler_report(&mut self) -> SamplerReport {
        self.sampler.take().unwrap().finish().unwrap()
    }

    fn tell_all(&self) {
        for node in &self.nodes {
            let log = self.lab.log(node).unwrap_or_else(|e| e.to_string());
            eprintln!("===== log of {node}\n{log}");
            if let Ok(output) =
                self.lab
                    .exec_within(node, &["hactl", "status"], Duration::from_secs(5))
            {
                eprintln!("===== status of {node}\n{}{}", output.stdout, output.stderr);
            }
        }
        for call in self.calls() {
            eprintln!("{call:?}");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_all();
            if let Some(Ok(report)) = self.sampler.take().map(RunningSampler::finish) {
                eprintln!("===== owners {report:#?}");
            }
            return;
        }
        if self.sampler.is_some() {
            let report = self.sampler_report();
            if !report.double.is_empty() {
                self.tell_all();
            }
            assert_eq!(report.double, [], "two owners at once: {report:#?}");
        }
        for node in &self.nodes {
            let log = self.lab.log(node).unwrap_or_default();
            assert!(!log.contains("panicked"), "{node}: {log}");
        }
    }
}

/// Waits for a condition. After the deadline it fails with what it last saw.
pub fn until<T: std::fmt::Debug>(what: &str, see: impl Fn() -> T, good: impl Fn(&T) -> bool) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        let seen = see();
        if good(&seen) {
            return seen;
        }
        assert!(
            Instant::now() < end,
            "not within {DEADLINE:?}: {what}; last seen: {seen:#?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Lets time pass. Only for what must *not* happen: everything else has a condition to wait for.
pub fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// The usual group.
pub fn group(status: &Status) -> &GroupStatus {
    let found = status.groups.iter().find(|g| g.name.as_str() == GROUP);
    found.unwrap_or_else(|| panic!("no group {GROUP}: {status:#?}"))
}

/// The owners of the usual group in this status.
pub fn owners(status: &Status) -> Vec<&str> {
    group(status).owners.iter().map(NodeName::as_str).collect()
}

/// The state of the usual group at a node.
pub fn state(status: &Status, node: &str) -> Option<GroupState> {
    let states = &group(status).states;
    states.iter().find(|s| s.0.as_str() == node).map(|s| s.1)
}

/// The notes about the usual group.
pub fn notes(status: &Status) -> String {
    group(status).notes.join("\n")
}

/// A node.
pub fn peer<'s>(status: &'s Status, name: &str) -> &'s NodeStatus {
    let found = status.nodes.iter().find(|n| n.name.as_str() == name);
    found.unwrap_or_else(|| panic!("no node {name}: {status:#?}"))
}

/// A link to a node.
pub fn link<'s>(status: &'s Status, node: &str, link: &str) -> &'s LinkStatus {
    let links = &peer(status, node).links;
    let found = links.iter().find(|l| l.link.as_str() == link);
    found.unwrap_or_else(|| panic!("no link {link}: {links:#?}"))
}

/// When the virtual address was first seen (`true`) or first missed (`false`) at a node, not before `after`.
pub fn when(report: &SamplerReport, node: &str, held: bool, after: Time) -> Option<Time> {
    report
        .owners
        .iter()
        .find(|(at, address, names)| {
            *at >= after && *address == vip() && names.iter().any(|n| n == node) == held
        })
        .map(|o| o.0)
}

/// Now, on the clock of the sampler and of the recorded calls.
pub fn now() -> Time {
    let read = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap();
    Time::ZERO + Duration::from(read)
}

/// Prints what a probe measured.
pub fn tell_gap(what: &str, report: &ProbeReport) {
    println!(
        "MEASURED {what}: longest outage {:.1} ms; {} of {} requests answered",
        report.outage().as_secs_f64() * 1000.0,
        report.answered,
        report.sent
    );
}
