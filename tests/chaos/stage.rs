//! The cluster in its lab, and how each step is done to it.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use had::lab::{Exit, Iface, Lab, LabError, NodePlan, Output, PingPlan, Plan, Way};
use had::model::status::Status;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::class::{Class, Config};
use crate::diary::Diary;
use crate::step::{Node, Step};

/// How long a program may take that does not wait for the cluster.
const SOON: Duration = Duration::from_secs(30);
/// How long a daemon may take to end: longer than every script's deadline together.
const LEAVES: Duration = Duration::from_secs(40);

/// The resource script: it tells each call, and does before it what `NODE-ACTION` says.
const SCRIPT: &str = r#"#!/bin/sh
dir=DIR
node=$(uname -n)
name=$1
note() { read -r up rest < /proc/uptime; echo "$up $node $name $1 $2" >> $dir/calls; }
state=/run/svc-$1
[ "$2" = status ] || note "$2" begin
[ ! -e "$dir/$node-$2" ] || . "$dir/$node-$2"
case $2 in
    start) : > $state ;;
    stop) rm -f $state ;;
    status) if [ -e $state ]; then echo running; else echo stopped; fi ;;
esac
[ "$2" = status ] || note "$2" end
"#;

pub struct Stage {
    pub class: &'static Class,
    pub lab: Lab,
    pub dir: TempDir,
    pub config: Config,
    pub diary: Diary,
    /// Machines that are on.
    pub on: BTreeSet<Node>,
    /// Daemons that must run.
    pub runs: BTreeSet<Node>,
    pub frozen: BTreeSet<Node>,
    gateway: bool,
    unplugged: BTreeSet<(Node, &'static str)>,
    moody: BTreeSet<Node>,
    filled: BTreeSet<Node>,
    /// Nodes whose files are of an older configuration, or whose daemon has not read them.
    stale: BTreeSet<Node>,
    pub failed: Vec<String>,
}

impl Stage {
    /// Builds the lab and starts all daemons.
    pub fn up(class: &'static Class, config: &Config, seed: u64) -> Result<Stage, LabError> {
        let dir = tempfile::tempdir().unwrap();
        furnish(dir.path(), class, config);
        let lab = Lab::up(&plan(class, &dir.path().join("ha.d"), seed))?;
        let mut stage = Stage {
            class,
            lab,
            dir,
            config: config.clone(),
            diary: Diary::default(),
            on: class.nodes.iter().copied().collect(),
            runs: BTreeSet::new(),
            frozen: BTreeSet::new(),
            gateway: true,
            unplugged: BTreeSet::new(),
            moody: BTreeSet::new(),
            filled: BTreeSet::new(),
            stale: BTreeSet::new(),
            failed: Vec::new(),
        };
        for node in class.nodes {
            stage.furnish_node(node)?;
            stage.start(node)?;
        }
        Ok(stage)
    }

    /// What a machine needs after power on.
    fn furnish_node(&mut self, node: Node) -> Result<(), LabError> {
        if self.class.small_disk == Some(node) {
            self.sh(node, "mount -t tmpfs -o size=12m state /var/lib/had")?;
            self.diary.lost_store(node);
        }
        Ok(())
    }

    /// Does a step; what is impossible at the moment (crash a machine that is off) is left.
    pub fn perform(&mut self, step: &Step) -> Result<(), LabError> {
        self.diary.step(step);
        match step {
            Step::Wait(_) | Step::Settle => Ok(()),
            Step::Crash(n) => self.crash(n),
            Step::Boot(n) => self.boot(n, false),
            Step::BootEmpty(n) => self.boot(n, true),
            Step::Kill(n) => self.kill(n),
            Step::Stop(n) => self.stop(n),
            Step::Start(n) => self.start(n),
            Step::Freeze(n) => self.freeze(n),
            Step::Suspend(n) => self.suspend(n),
            Step::Thaw(n) => self.thaw(n),
            Step::GatewayDown | Step::GatewayUp => self.gateway(*step == Step::GatewayUp),
            Step::Command(n, words) => self.hactl(n, words),
            Step::Script(n, action, mood) => {
                let path = self.dir.path().join(format!("{n}-{action}"));
                fs::write(path, mood.shell()).unwrap();
                self.moody.insert(n);
                Ok(())
            }
            Step::Mend(n) => {
                self.mend(n);
                Ok(())
            }
            Step::Fill(n) => {
                self.filled.insert(n);
                self.try_sh(n, "cat /dev/zero > /var/lib/had/filler 2>/dev/null; true")
            }
            Step::Free(n) => {
                self.filled.remove(n);
                self.try_sh(n, "rm -f /var/lib/had/filler")
            }
            Step::Remove(n, address) => self.try_sh(
                n,
                &format!("ip address del {address}/24 dev eth0 2>/dev/null; true"),
            ),
            Step::Deadtime(_) | Step::Group(_) => {
                self.change(step);
                self.refresh(self.class.nodes)
            }
            Step::Only(n, step) => {
                self.change(step);
                self.refresh(&[n])
            }
            Step::Rest => self.refresh(self.class.nodes),
            _ => self.wire(step),
        }
    }

    /// Cables and what happens on them.
    fn wire(&mut self, step: &Step) -> Result<(), LabError> {
        match step {
            Step::Cut(a, b, link) => {
                self.astray(&[a, b]);
                self.lab.cut(a, b, *link, Way::Both)
            }
            Step::CutOneWay(a, b, link) => {
                self.astray(&[a, b]);
                self.lab.cut(a, b, *link, Way::Out)
            }
            Step::Isolate(n) => {
                self.astray(&[n]);
                self.lab.isolate(n, None, Way::Both)
            }
            Step::Mute(n) => {
                self.astray(&[n]);
                self.lab.isolate(n, None, Way::Out)
            }
            Step::Lose(a, b, link, percent) => {
                self.astray(&[a, b]);
                self.lab.loss_between(a, b, *percent, *link)
            }
            Step::Delay(a, b, most) => {
                self.astray(&[a, b]);
                self.lab.delay_between(a, b, *most, 10)
            }
            Step::Heal => {
                self.lab.heal_all()?;
                let plugged = |n: Node| !self.unplugged.iter().any(|(u, _)| *u == n);
                self.diary.not_astray(plugged);
                Ok(())
            }
            Step::Unplug(n, link) if self.on.contains(n) => {
                self.astray(&[n]);
                self.unplugged.insert((n, link));
                self.lab.unplug(n, Some(link))
            }
            Step::Plug(n, link) => {
                self.unplugged.remove(&(*n, *link));
                if self.on.contains(n) {
                    self.lab.plug(n, Some(link))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn astray(&mut self, nodes: &[&Node]) {
        for node in nodes {
            self.diary.astray(node);
        }
    }

    fn crash(&mut self, n: Node) -> Result<(), LabError> {
        if !self.on.remove(n) {
            return Ok(());
        }
        self.runs.remove(n);
        self.frozen.remove(n);
        self.unplugged.retain(|(node, _)| *node != n);
        self.filled.remove(n);
        self.lab.crash(n)?;
        self.mark(n, "-", "crash");
        self.diary.helped(n);
        Ok(())
    }

    fn boot(&mut self, n: Node, empty: bool) -> Result<(), LabError> {
        if !self.on.insert(n) {
            return Ok(());
        }
        self.lab.restart(n)?;
        self.furnish_node(n)?;
        if empty {
            self.diary.lost_store(n);
            self.sh(n, "rm -rf /var/lib/had/*")?;
        }
        self.start(n)
    }

    fn kill(&mut self, n: Node) -> Result<(), LabError> {
        if !self.runs.remove(n) {
            return Ok(());
        }
        self.diary.helpless(n);
        self.lab.kill_had(n)
    }

    fn stop(&mut self, n: Node) -> Result<(), LabError> {
        if self.frozen.contains(n) || !self.runs.remove(n) {
            return Ok(());
        }
        let Some(pid) = self.lab.had_pid(n)? else {
            self.failed
                .push(format!("the daemon of {n} ended by itself"));
            return Ok(());
        };
        self.lab.signal(n, pid, Signal::SIGTERM)
    }

    /// A daemon that was asked to end has ended, or is ended.
    fn gone(&mut self, n: Node) -> Result<(), LabError> {
        let end = Instant::now() + LEAVES;
        while self.lab.had_pid(n)?.is_some() {
            if Instant::now() > end {
                self.failed
                    .push(format!("the daemon of {n} does not end on SIGTERM"));
                return self.lab.kill_had(n);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub fn start(&mut self, n: Node) -> Result<(), LabError> {
        if !self.on.contains(n) || self.frozen.contains(n) {
            return Ok(());
        }
        if self.runs.contains(n) {
            // After a restart by hactl nobody but us starts it again.
            if self.lab.had_pid(n)?.is_some() {
                return Ok(());
            }
            self.failed
                .push(format!("the daemon of {n} ended by itself"));
        }
        self.gone(n)?;
        self.write_config(n)?;
        self.stale.remove(n);
        self.lab.start_had(n)?;
        self.runs.insert(n);
        self.diary.helped(n);
        Ok(())
    }

    fn freeze(&mut self, n: Node) -> Result<(), LabError> {
        if self.on.contains(n) && self.frozen.insert(n) {
            self.diary.helpless(n);
            self.lab.freeze(n)?;
        }
        Ok(())
    }

    fn suspend(&mut self, n: Node) -> Result<(), LabError> {
        if self.runs.contains(n)
            && let Some(pid) = self.lab.had_pid(n)?
            && self.frozen.insert(n)
        {
            self.diary.helpless(n);
            self.lab.signal(n, pid, Signal::SIGSTOP)?;
        }
        Ok(())
    }

    fn thaw(&mut self, n: Node) -> Result<(), LabError> {
        if self.frozen.remove(n) {
            self.lab.thaw(n)?;
            if self.runs.contains(n) {
                self.diary.helped(n);
            }
        }
        Ok(())
    }

    fn gateway(&mut self, up: bool) -> Result<(), LabError> {
        if self.gateway == up {
            return Ok(());
        }
        self.gateway = up;
        if up {
            self.lab.restart("gateway")
        } else {
            self.lab.crash("gateway")
        }
    }

    fn mend(&mut self, n: Node) {
        self.moody.remove(n);
        for action in ["start", "stop"] {
            // Only one of the two is there.
            fs::remove_file(self.dir.path().join(format!("{n}-{action}"))).ok();
        }
    }

    /// A command of an administrator; it may be refused, but it must be answered.
    pub fn hactl(&mut self, n: Node, words: &str) -> Result<(), LabError> {
        if !self.runs.contains(n) || self.frozen.contains(n) {
            return Ok(());
        }
        let argv: Vec<&str> = std::iter::once("hactl").chain(words.split(' ')).collect();
        let output = self.lab.exec_within(n, &argv, SOON)?;
        self.diary.note(&format!(
            "{n}: {:?} {}{}",
            output.exit,
            output.stdout.trim().replace('\n', " / "),
            output.stderr.trim().replace('\n', " / ")
        ));
        if words.starts_with("restart") && output.success() {
            self.runs.remove(n);
            self.diary.helpless(n);
        } else if !matches!(output.exit, Exit::Code(0 | 1 | 4)) {
            // A daemon that was just started does not listen yet.
            if !(output.exit == Exit::Code(3) && self.diary.is_fresh(n)) {
                self.failed.push(format!("{n}: hactl {words}: {output:?}"));
            }
        }
        Ok(())
    }

    /// Another configuration from now on, which no node has read yet.
    fn change(&mut self, step: &Step) {
        match step {
            Step::Deadtime(time) => self.config.deadtime = *time,
            Step::Group(there) => self.config.extra = *there,
            _ => {}
        }
        self.stale = self.class.nodes.iter().copied().collect();
    }

    /// Writes the configuration to these nodes, and has them read it.
    fn refresh(&mut self, nodes: &[Node]) -> Result<(), LabError> {
        for n in self.stale.clone() {
            if nodes.contains(&n) && self.runs.contains(n) && !self.frozen.contains(n) {
                self.write_config(n)?;
                self.stale.remove(n);
                self.hactl(n, "reload")?;
            }
        }
        Ok(())
    }

    fn write_config(&self, n: Node) -> Result<(), LabError> {
        let files = [
            ("ha.cf", self.config.ha_cf(self.class)),
            ("haresources", self.config.haresources(self.class)),
        ];
        for (name, text) in files {
            let output = self.lab.exec(
                n,
                &[
                    "sh",
                    "-c",
                    &format!("printf %s \"$1\" > /etc/ha.d/{name}"),
                    "sh",
                    &text,
                ],
            )?;
            assert!(output.success(), "{output:?}");
        }
        Ok(())
    }

    /// Every fault ends, and an administrator forgives everything.
    pub fn end_faults(&mut self) -> Result<(), LabError> {
        self.wire(&Step::Heal)?;
        for (n, link) in self.unplugged.clone() {
            self.wire(&Step::Plug(n, link))?;
        }
        self.diary.not_astray(|_| true);
        self.gateway(true)?;
        for n in self.class.nodes {
            self.mend(n);
            self.perform_quietly(&Step::Free(n))?;
            self.thaw(n)?;
            self.boot(n, false)?;
            if !self.runs.contains(n) {
                self.start(n)?;
            }
        }
        Ok(())
    }

    fn perform_quietly(&mut self, step: &Step) -> Result<(), LabError> {
        if let Step::Free(n) = step
            && self.filled.contains(n)
        {
            return self.perform(step);
        }
        Ok(())
    }

    /// Once the daemons answer: ends what administrators began, forgives failures.
    pub fn forgive(&mut self) -> Result<(), LabError> {
        self.refresh(self.class.nodes)?;
        for n in self.class.nodes {
            self.hactl(n, "maintenance off")?;
            self.hactl(n, "standby off --no-wait")?;
        }
        Ok(())
    }

    /// Notes something about a node among the calls of the scripts.
    pub fn mark(&self, n: Node, name: &str, what: &str) {
        use std::io::Write;
        let up = crate::diary::now().0 / 10_000_000;
        let path = self.dir.path().join("calls");
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        writeln!(file, "{}.{:02} {n} {name} {what} -", up / 100, up % 100).unwrap();
    }

    /// What a node's daemon says, if it answers.
    pub fn status(&self, n: Node) -> Option<Status> {
        let output = self
            .lab
            .exec_within(n, &["hactl", "status", "--json"], SOON);
        serde_json::from_str(&output.ok()?.stdout).ok()
    }

    /// Runs a script that must succeed.
    pub fn sh(&self, host: &str, script: &str) -> Result<String, LabError> {
        let output: Output = self.lab.exec_within(host, &["sh", "-c", script], SOON)?;
        assert!(output.success(), "{script} on {host}: {output:?}");
        Ok(output.stdout)
    }

    fn try_sh(&self, n: Node, script: &str) -> Result<(), LabError> {
        if self.on.contains(n) {
            self.sh(n, script)?;
        }
        Ok(())
    }
}

fn furnish(dir: &Path, class: &Class, config: &Config) {
    let ha_d = dir.join("ha.d");
    fs::create_dir_all(ha_d.join("resource.d")).unwrap();
    fs::write(ha_d.join("ha.cf"), config.ha_cf(class)).unwrap();
    fs::write(ha_d.join("haresources"), config.haresources(class)).unwrap();
    let private = [
        ("authkeys", "auth 1\n1 sha1 chaos\n".to_owned(), 0o600),
        (
            "resource.d/svc",
            SCRIPT.replace("DIR", &dir.display().to_string()),
            0o755,
        ),
    ];
    for (name, text, mode) in private {
        let path = ha_d.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn plan(class: &Class, config: &Path, seed: u64) -> Plan {
    let address = |segment: usize, host: usize| -> IpAddr {
        format!("10.0.{segment}.{host}").parse().unwrap()
    };
    let node = |(place, name): (usize, &Node)| NodePlan {
        name: (*name).to_owned(),
        config_dir: config.to_owned(),
        ha_cf_lines: vec![],
        interfaces: (0..class.links.len())
            .map(|n| Iface {
                name: class.links[n].to_owned(),
                segment: format!("seg{n}"),
                addresses: vec![(address(n, place + 1), 24)],
            })
            .collect(),
    };
    Plan {
        name: format!("chaos-{}-{seed}-{}", class.name, std::process::id()),
        nodes: class.nodes.iter().enumerate().map(node).collect(),
        pings: vec![PingPlan {
            name: "gateway".into(),
            segment: "seg0".into(),
            address: address(0, 254),
            prefix: 24,
        }],
        client: vec![("seg0".into(), address(0, 9), 24)],
        had: env!("CARGO_BIN_EXE_had").into(),
        hactl: env!("CARGO_BIN_EXE_hactl").into(),
        start: false,
    }
}
