//! The cluster in its lab, and how each step is done.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use had::lab::{
    ExecOutput, Iface, Lab, LabError, LabPlan, LinkDirection, NodePlan, PingPlan, ProgramExit,
};
use had::model::status::Status;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::class::{ChaosClass, ChaosConfig};
use crate::step::{ChaosStep, Node};
use crate::timeline::FaultTimeline;

/// Timeout of programs that do not wait for the cluster.
const SOON: Duration = Duration::from_secs(30);
/// How long a daemon may take to stop: longer than all script deadlines together.
const LEAVES: Duration = Duration::from_secs(40);

/// The resource script.
const SCRIPT: &str = include_str!("../netns_faults/svc.sh");

pub struct ChaosCluster {
    pub class: &'static ChaosClass,
    pub lab: Lab,
    pub dir: TempDir,
    pub config: ChaosConfig,
    pub timeline: FaultTimeline,
    /// Machines that are on.
    pub on: BTreeSet<Node>,
    /// Daemons that must run.
    pub runs: BTreeSet<Node>,
    pub frozen: BTreeSet<Node>,
    gateway: bool,
    unplugged: BTreeSet<(Node, &'static str)>,
    moody: BTreeSet<Node>,
    filled: BTreeSet<Node>,
    /// Nodes whose files are older than the configuration, or whose daemon has not reloaded them.
    stale: BTreeSet<Node>,
    pub failed: Vec<String>,
}

impl ChaosCluster {
    /// Builds the lab and starts all daemons.
    pub fn up(
        class: &'static ChaosClass,
        config: &ChaosConfig,
        seed: u64,
    ) -> Result<ChaosCluster, LabError> {
        let dir = tempfile::tempdir().unwrap();
        furnish(dir.path(), class, config);
        let lab = Lab::up(&plan(class, &dir.path().join("ha.d"), seed))?;
        let mut stage = ChaosCluster {
            class,
            lab,
            dir,
            config: config.clone(),
            timeline: FaultTimeline::default(),
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

    /// Prepares a machine after power on.
    fn furnish_node(&mut self, node: Node) -> Result<(), LabError> {
        if self.class.small_disk == Some(node) {
            self.sh(node, "mount -t tmpfs -o size=12m state /var/lib/had")?;
            self.timeline.lost_store(node);
        }
        Ok(())
    }

    /// Does a step, unless it is impossible at the moment (crash a machine that is off).
    pub fn perform(&mut self, step: &ChaosStep) -> Result<(), LabError> {
        self.timeline.step(step);
        match step {
            ChaosStep::Wait(_) | ChaosStep::Settle => Ok(()),
            ChaosStep::Crash(n) => self.crash(n),
            ChaosStep::Boot(n) => self.boot(n, false),
            ChaosStep::BootEmpty(n) => self.boot(n, true),
            ChaosStep::Kill(n) => self.kill(n),
            ChaosStep::Stop(n) => self.stop(n),
            ChaosStep::Start(n) => self.start(n),
            ChaosStep::FreezeAll(n) => self.freeze_all(n),
            ChaosStep::Freeze(n) => self.freeze(n),
            ChaosStep::Thaw(n) => self.thaw(n),
            ChaosStep::GatewayDown | ChaosStep::GatewayUp => {
                self.gateway(*step == ChaosStep::GatewayUp)
            }
            ChaosStep::Command(n, words) => self.hactl(n, words),
            ChaosStep::Script(n, action, mood) => {
                let path = self.dir.path().join(format!("{n}-{action}"));
                fs::write(path, mood.shell()).unwrap();
                self.moody.insert(n);
                Ok(())
            }
            ChaosStep::Mend(n) => {
                self.mend(n);
                Ok(())
            }
            ChaosStep::Fill(n) => {
                self.filled.insert(n);
                self.try_sh(n, "cat /dev/zero > /var/lib/had/filler 2>/dev/null; true")
            }
            ChaosStep::Free(n) => {
                self.filled.remove(n);
                self.try_sh(n, "rm -f /var/lib/had/filler")
            }
            ChaosStep::Remove(n, address) => self.try_sh(
                n,
                &format!("ip address del {address}/24 dev eth0 2>/dev/null; true"),
            ),
            ChaosStep::Deadtime(_) | ChaosStep::Group(_) => {
                self.change(step);
                self.refresh(self.class.nodes)
            }
            ChaosStep::Only(n, step) => {
                self.change(step);
                self.refresh(&[n])
            }
            ChaosStep::Rest => self.refresh(self.class.nodes),
            _ => self.wire(step),
        }
    }

    /// Steps of the network.
    fn wire(&mut self, step: &ChaosStep) -> Result<(), LabError> {
        match step {
            ChaosStep::Cut(a, b, link) => {
                self.astray(&[a, b]);
                self.lab.cut(a, b, *link, LinkDirection::Both)
            }
            ChaosStep::CutOneWay(a, b, link) => {
                self.astray(&[a, b]);
                self.lab.cut(a, b, *link, LinkDirection::Out)
            }
            ChaosStep::Isolate(n) => {
                self.astray(&[n]);
                self.lab.isolate(n, None, LinkDirection::Both)
            }
            ChaosStep::Mute(n) => {
                self.astray(&[n]);
                self.lab.isolate(n, None, LinkDirection::Out)
            }
            ChaosStep::Lose(a, b, link, percent) => {
                self.astray(&[a, b]);
                self.lab.loss_between(a, b, *percent, *link)
            }
            ChaosStep::Delay(a, b, most) => {
                self.astray(&[a, b]);
                self.lab.delay_between(a, b, *most, 10)
            }
            ChaosStep::Heal => {
                self.lab.heal_all()?;
                let plugged = |n: Node| !self.unplugged.iter().any(|(u, _)| *u == n);
                self.timeline.not_astray(plugged);
                Ok(())
            }
            ChaosStep::Unplug(n, link) if self.on.contains(n) => {
                self.astray(&[n]);
                self.unplugged.insert((n, link));
                self.lab.unplug(n, Some(link))
            }
            ChaosStep::Plug(n, link) => {
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
            self.timeline.astray(node);
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
        self.timeline.helped(n);
        Ok(())
    }

    fn boot(&mut self, n: Node, empty: bool) -> Result<(), LabError> {
        if !self.on.insert(n) {
            return Ok(());
        }
        self.lab.restart(n)?;
        self.furnish_node(n)?;
        if empty {
            self.timeline.lost_store(n);
            self.sh(n, "rm -rf /var/lib/had/*")?;
        }
        self.start(n)
    }

    fn kill(&mut self, n: Node) -> Result<(), LabError> {
        if !self.runs.remove(n) {
            return Ok(());
        }
        self.timeline.helpless(n);
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

    /// Waits until a stopped daemon has ended, or kills it.
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
            // After `hactl restart` nobody else starts it again.
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
        self.timeline.helped(n);
        Ok(())
    }

    fn freeze_all(&mut self, n: Node) -> Result<(), LabError> {
        if self.on.contains(n) && self.frozen.insert(n) {
            self.timeline.helpless(n);
            self.lab.freeze(n)?;
        }
        Ok(())
    }

    fn freeze(&mut self, n: Node) -> Result<(), LabError> {
        if self.runs.contains(n)
            && let Some(pid) = self.lab.had_pid(n)?
            && self.frozen.insert(n)
        {
            self.timeline.helpless(n);
            self.lab.signal(n, pid, Signal::SIGSTOP)?;
        }
        Ok(())
    }

    fn thaw(&mut self, n: Node) -> Result<(), LabError> {
        if self.frozen.remove(n) {
            self.lab.thaw(n)?;
            if self.runs.contains(n) {
                self.timeline.helped(n);
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

    /// Runs a command of an administrator; it may be refused, but must be answered.
    pub fn hactl(&mut self, n: Node, words: &str) -> Result<(), LabError> {
        if !self.runs.contains(n) || self.frozen.contains(n) {
            return Ok(());
        }
        let argv: Vec<&str> = std::iter::once("hactl").chain(words.split(' ')).collect();
        let output = self.lab.exec_within(n, &argv, SOON)?;
        self.timeline.note(&format!(
            "{n}: {:?} {}{}",
            output.exit,
            output.stdout.trim().replace('\n', " / "),
            output.stderr.trim().replace('\n', " / ")
        ));
        if words.starts_with("restart") && output.success() {
            self.runs.remove(n);
            self.timeline.helpless(n);
        } else if !matches!(output.exit, ProgramExit::Code(0 | 1 | 4)) {
            // A daemon that was just started does not listen yet.
            if !(output.exit == ProgramExit::Code(3) && self.timeline.is_fresh(n)) {
                self.failed.push(format!("{n}: hactl {words}: {output:?}"));
            }
        }
        Ok(())
    }

    /// Changes the configuration; no node has reloaded it yet.
    fn change(&mut self, step: &ChaosStep) {
        match step {
            ChaosStep::Deadtime(time) => self.config.deadtime = *time,
            ChaosStep::Group(there) => self.config.extra = *there,
            _ => {}
        }
        self.stale = self.class.nodes.iter().copied().collect();
    }

    /// Writes the configuration to these nodes and reloads it.
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

    /// Ends every fault, and clears all failures.
    pub fn end_faults(&mut self) -> Result<(), LabError> {
        self.wire(&ChaosStep::Heal)?;
        for (n, link) in self.unplugged.clone() {
            self.wire(&ChaosStep::Plug(n, link))?;
        }
        self.timeline.not_astray(|_| true);
        self.gateway(true)?;
        for n in self.class.nodes {
            self.mend(n);
            self.perform_quietly(&ChaosStep::Free(n))?;
            self.thaw(n)?;
            self.boot(n, false)?;
            if !self.runs.contains(n) {
                self.start(n)?;
            }
        }
        Ok(())
    }

    fn perform_quietly(&mut self, step: &ChaosStep) -> Result<(), LabError> {
        if let ChaosStep::Free(n) = step
            && self.filled.contains(n)
        {
            return self.perform(step);
        }
        Ok(())
    }

    /// Once the daemons answer: ends standby and maintenance, and clears failures.
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
        let up = crate::timeline::now().0 / 10_000_000;
        let path = self.dir.path().join("calls");
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        writeln!(file, "{}.{:02} {n} {name} {what} -", up / 100, up % 100).unwrap();
    }

    /// The status of a node, if its daemon answers.
    pub fn status(&self, n: Node) -> Option<Status> {
        let output = self
            .lab
            .exec_within(n, &["hactl", "status", "--json"], SOON);
        serde_json::from_str(&output.ok()?.stdout).ok()
    }

    /// Runs a script that must succeed.
    pub fn sh(&self, host: &str, script: &str) -> Result<String, LabError> {
        let output: ExecOutput = self.lab.exec_within(host, &["sh", "-c", script], SOON)?;
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

fn furnish(dir: &Path, class: &ChaosClass, config: &ChaosConfig) {
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

fn plan(class: &ChaosClass, config: &Path, seed: u64) -> LabPlan {
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
    LabPlan {
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
        restart: false,
        scripts: None,
    }
}
