//! Shared by the namespace tests: a cluster from the texts of its files, and waits with a deadline.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use had::lab::{
    ExecOutput, Iface, Lab, LabPlan, NodePlan, PingPlan, ProgramExit, RunningSampler, SamplerReport,
};
use had::model::status::{GroupStatus, Liveness, Status};
use tempfile::TempDir;

pub const HACTL: &str = env!("CARGO_BIN_EXE_hactl");
pub const HAD: &str = env!("CARGO_BIN_EXE_had");

/// Short times, but long enough for a busy machine.
pub const TIMES: &str = "keepalive 200ms\nwarntime 1\ndeadtime 2\ninitdead 4\n";

/// How long a wait may take before it fails.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often the owners of addresses are sampled.
const SAMPLE: Duration = Duration::from_millis(10);

/// A resource script that only records: its calls in `/var/log/calls`, the environment of the last start in
/// `/var/log/NAME.env`, and whether it runs in `/run`, which is lost in a crash. Its stop hangs while `/run/NAME.slow` exists.
pub const STAND_IN: &str = "#!/bin/sh
name=${0##*/}
echo \"$name $*\" >> /var/log/calls
for action; do :; done
case $action in
start) env > /var/log/$name.env; touch /run/$name.on;;
stop) while [ -e /run/$name.slow ]; do sleep 0.05; done; rm -f /run/$name.on;;
status) if [ -e /run/$name.on ]; then echo running; else echo stopped; fi;;
esac
";

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A cluster before it is built. Each segment has the name of its interface.
pub struct Blueprint {
    folder: TempDir,
    plan: LabPlan,
    watched: Vec<IpAddr>,
    /// Nodes with their own ha.cf, and its text.
    own: Vec<(String, String)>,
}

impl Blueprint {
    /// From the texts of the two files. `authkeys` has a sha1 key; [`Blueprint::file`] can replace it.
    pub fn new(name: &str, ha_cf: &str, haresources: &str) -> Blueprint {
        let plan = LabPlan {
            name: format!("{name}-{}", std::process::id()),
            nodes: vec![],
            pings: vec![],
            client: vec![],
            had: HAD.into(),
            hactl: HACTL.into(),
            start: true,
            restart: false,
            scripts: None,
        };
        Blueprint {
            folder: tempfile::tempdir().unwrap(),
            plan,
            watched: vec![],
            own: vec![],
        }
        .file("ha.cf", ha_cf, 0o644)
        .file("haresources", haresources, 0o644)
        .file("authkeys", "auth 1\n1 sha1 a-key-for-a-test\n", 0o600)
    }

    /// Puts a file into the configuration folder.
    pub fn file(self, name: &str, text: &str, mode: u32) -> Blueprint {
        write(&self.folder.path().join(name), text, mode);
        self
    }

    /// Puts a resource script into `resource.d`.
    pub fn script(self, name: &str, text: &str) -> Blueprint {
        self.file(&format!("resource.d/{name}"), text, 0o755)
    }

    /// Adds a node with its cards (`eth0 10.0.0.1/24 fd00::1/64`) and lines for its own ha.cf.
    pub fn node(mut self, name: &str, cards: &[&str], lines: &[&str]) -> Blueprint {
        self.plan.nodes.push(NodePlan {
            name: name.to_owned(),
            config_dir: self.folder.path().to_owned(),
            ha_cf_lines: lines.iter().map(|l| (*l).to_owned()).collect(),
            interfaces: cards.iter().map(|c| card(c)).collect(),
        });
        self
    }

    /// Adds the host `gateway` on a segment (`eth0 10.0.0.254/24`).
    pub fn gateway(mut self, place: &str) -> Blueprint {
        let Iface {
            segment, addresses, ..
        } = card(place);
        self.plan.pings.push(PingPlan {
            name: "gateway".to_owned(),
            segment,
            address: addresses[0].0,
            prefix: addresses[0].1,
        });
        self
    }

    /// Puts the client on a segment.
    pub fn client(mut self, place: &str) -> Blueprint {
        let Iface {
            segment, addresses, ..
        } = card(place);
        let places = addresses.iter().map(|(a, p)| (segment.clone(), *a, *p));
        self.plan.client.extend(places);
        self
    }

    /// These addresses must never have two owners.
    pub fn watch(mut self, addresses: &[&str]) -> Blueprint {
        self.watched.extend(addresses.iter().map(|a| ip(a)));
        self
    }

    /// Gives one node its own ha.cf.
    pub fn ha_cf_of(mut self, node: &str, text: &str) -> Blueprint {
        self.own.push((node.to_owned(), text.to_owned()));
        self
    }

    /// Does not start the daemons.
    pub fn idle(mut self) -> Blueprint {
        self.plan.start = false;
        self
    }

    /// Runs this program as the daemon of each node, again whenever it has ended.
    #[allow(dead_code)] // only the tests of two versions run another one
    pub fn daemon(mut self, program: &Path) -> Blueprint {
        self.plan.had = program.into();
        self.plan.restart = true;
        self
    }

    /// Boots it and begins to watch its addresses.
    pub fn up(mut self) -> Cluster {
        let mut folders = Vec::new();
        for (node, text) in &self.own {
            let folder = copy_of(self.folder.path());
            write(&folder.path().join("ha.cf"), text, 0o644);
            let mut nodes = self.plan.nodes.iter_mut();
            nodes.find(|n| n.name == *node).unwrap().config_dir = folder.path().into();
            folders.push(folder);
        }
        let lab = Lab::up(&self.plan).unwrap();
        let sampler = Some(lab.sampler(&self.watched, SAMPLE).unwrap());
        Cluster {
            nodes: self.plan.nodes.into_iter().map(|n| n.name).collect(),
            watched: self.watched,
            sampler,
            lab,
        }
    }
}

fn copy_of(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(folder.join("."))
        .arg(copy.path())
        .status();
    assert!(copied.unwrap().success());
    copy
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn card(text: &str) -> Iface {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap().to_owned();
    let address = |word: &str| {
        let (address, prefix) = word.split_once('/').unwrap();
        (ip(address), prefix.parse().unwrap())
    };
    Iface {
        segment: name.clone(),
        name,
        addresses: words.map(address).collect(),
    }
}

/// A running cluster. When it is dropped, it fails if a watched address ever had two owners. If the test fails, it prints the
/// logs of its daemons.
pub struct Cluster {
    pub lab: Lab,
    nodes: Vec<String>,
    watched: Vec<IpAddr>,
    sampler: Option<RunningSampler>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let sampler = self.sampler.take();
            let double = sampler.map(|s| s.finish().unwrap().double);
            if double.is_none_or(|d| d.is_empty()) {
                return;
            }
        }
        self.tell_all();
        assert!(
            std::thread::panicking(),
            "an address had two owners at once"
        );
    }
}

impl Cluster {
    /// Prints everything that helps to understand a failure.
    fn tell_all(&mut self) {
        if let Some(Ok(report)) = self.sampler.take().map(RunningSampler::finish) {
            eprintln!("==== two owners: {:?}", report.double);
            eprintln!("==== owners: {:#?}", report.owners);
        }
        for node in &self.nodes {
            let log = self.lab.log(node);
            eprintln!("==== {node}\n{}", log.unwrap_or_else(|e| e.to_string()));
        }
    }

    /// Ends the watch of the addresses, asserts that none had two owners, and begins another.
    pub fn owners_so_far(&mut self) -> SamplerReport {
        let next = self.lab.sampler(&self.watched, SAMPLE).unwrap();
        let report = self.sampler.replace(next).unwrap().finish().unwrap();
        assert_eq!(report.double, []);
        report
    }

    /// Who had each of these addresses since the last call, in order. The moments without an owner are left out.
    pub fn owners_of<const N: usize>(&mut self, addresses: [&str; N]) -> [Vec<String>; N] {
        let report = self.owners_so_far();
        addresses.map(|address| {
            let of = report.owners.iter().filter(|o| o.1 == ip(address));
            of.filter(|o| !o.2.is_empty())
                .map(|o| o.2.join("+"))
                .collect()
        })
    }

    /// Runs a program in a host.
    pub fn run(&self, host: &str, command: &str) -> ExecOutput {
        self.lab.exec(host, &["sh", "-c", command]).unwrap()
    }

    /// Runs a program that must succeed. Returns its stdout.
    pub fn sh(&self, host: &str, command: &str) -> String {
        let output = self.run(host, command);
        assert!(output.success(), "{command} on {host}: {output:?}");
        output.stdout
    }

    /// Runs a program that must end with this exit code. Returns its stdout and stderr.
    pub fn exits(&self, code: i32, host: &str, command: &str) -> String {
        let output = self.run(host, command);
        assert_eq!(
            output.exit,
            ProgramExit::Code(code),
            "{command} on {host}: {output:?}"
        );
        output.stdout + &output.stderr
    }

    /// The status of a node, if its daemon answers.
    pub fn status(&self, node: &str) -> Option<Status> {
        let output = self.lab.exec(node, &[HACTL, "status", "--json"]).ok()?;
        serde_json::from_str(&output.stdout).ok()
    }

    /// Waits until the status of a node meets a condition.
    pub fn until_status(&self, node: &str, what: &str, is: impl Fn(&Status) -> bool) {
        let mut last = None;
        let waited = wait(|| {
            last = self.status(node);
            last.as_ref().is_some_and(&is)
        });
        assert!(waited, "on {node}, not in time: {what}\n{last:#?}");
    }

    /// Waits until these nodes hear each other.
    pub fn until_active(&self, nodes: &[&str]) {
        for node in nodes {
            self.until_status(node, "all are active", |s| {
                nodes.iter().all(|n| {
                    let liveness = s.nodes.iter().find(|m| m.name.as_str() == *n);
                    liveness
                        .is_some_and(|m| matches!(m.liveness, Liveness::Here | Liveness::Active))
                })
            });
        }
    }

    /// Waits until every node that answers names this owner of a group, and the owner itself reports it as online. `group` may be
    /// the beginning of the name.
    pub fn until_owner(&self, group: &str, owner: &str) {
        for node in &self.nodes {
            if node == owner || self.status(node).is_some() {
                self.until_status(node, &format!("{owner} has {group}"), |s| {
                    owned(group_of(s, group), owner)
                });
            }
        }
    }

    /// Waits until a host's ARP cache has the owner's card for an address. The host itself sends nothing.
    pub fn until_neighbour(&self, host: &str, address: &str, owner: &str, card: &str) {
        let wanted = self.lab.mac(owner, card).unwrap();
        assert!(wanted.is_some());
        let waited = wait(|| self.lab.neighbour(host, ip(address)).unwrap() == wanted);
        assert!(waited, "{host} does not know {owner}'s card for {address}");
    }

    /// The calls of the stand-ins on a node since the last call, `status` included.
    pub fn calls(&self, node: &str) -> Vec<String> {
        let text = self.sh(node, "touch /var/log/calls; cat /var/log/calls");
        self.sh(node, ": > /var/log/calls");
        text.lines().map(str::to_owned).collect()
    }
}

/// The group whose name begins with this.
pub fn group_of<'s>(status: &'s Status, name: &str) -> &'s GroupStatus {
    let mut groups = status.groups.iter();
    let found = groups.find(|g| g.name.as_str().starts_with(name));
    found.unwrap_or_else(|| panic!("no group {name} in {status:#?}"))
}

fn owned(group: &GroupStatus, owner: &str) -> bool {
    use had::model::heartbeat::GroupState::Online;
    matches!(group.owners.as_slice(), [only] if only.as_str() == owner)
        && group
            .states
            .iter()
            .any(|(node, state)| node.as_str() == owner && *state == Online)
}

/// Waits for a condition. Returns false after the deadline.
pub fn wait(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}
