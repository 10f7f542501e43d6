//! The lab of the demo, and what is checked after each act.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use had::lab::{Lab, LabError, ProbeReport, RunningProbe, RunningSampler};
use had::model::status::{Liveness, Status};
use had::text::duration_for_people;
use nix::sys::signal::{SigSet, Signal};

use super::DAEMON;
use crate::rehearse;

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));
const GATEWAY: &str = "gateway";
const NODES: [&str; 2] = ["alice", "bob"];
const PROBE_EVERY: Duration = Duration::from_millis(5);
/// How often it is checked which nodes have the address.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);
/// An act takes a second or two; this is long enough for a machine under heavy load.
const ACT_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is checked whether an act has ended.
const CHECK_EVERY: Duration = Duration::from_millis(20);
/// Lines of each daemon's log that are shown after a failure.
const LOG_LINES_SHOWN: usize = 15;

const HA_CF: &str = "\
node alice bob
ucast eth0 10.0.0.1
ucast eth0 10.0.0.2
ping 10.0.0.254
keepalive 100ms
warntime 500ms
deadtime 1s
initdead 10s
auto_failback off
";
const HARESOURCES: &str = "alice 10.0.0.100/24/eth0\n";
const AUTHKEYS: &str = "auth 1\n1 sha256 only-for-the-demo\n";

/// A running lab.
pub struct DemoStage {
    // Dropped in this order: the lab ends before its folder goes.
    sampler: std::cell::RefCell<Option<RunningSampler>>,
    lab: Lab,
    hactl: PathBuf,
    _folder: DemoFolder,
}

/// An act that has begun, with a client that pings the address.
pub struct WatchedAct(RunningProbe);

impl WatchedAct {
    /// What the client measured.
    pub fn finish(self) -> Result<ProbeReport, String> {
        self.0.finish().map_err(|e| e.to_string())
    }
}

impl DemoStage {
    /// Boots the hosts; no daemon runs yet.
    pub fn build() -> Result<DemoStage, String> {
        let folder = DemoFolder::make()?;
        remove_folder_on_signal(folder.0.clone())?;
        let hactl =
            std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
        let (had, config) = folder.fill(&hactl).map_err(|e| folder.trouble(&e))?;
        let name = format!("demo-{}", std::process::id());
        let mut plan = rehearse::with(&config, &name, had, hactl.clone())?;
        plan.start = false;
        for gateway in &mut plan.pings {
            GATEWAY.clone_into(&mut gateway.name);
        }
        let lab = Lab::up(&plan).map_err(|e| e.to_string())?;
        let sampler = lab
            .sampler(&[ADDRESS], SAMPLE_EVERY)
            .map_err(|e| e.to_string())?;
        Ok(DemoStage {
            sampler: std::cell::RefCell::new(Some(sampler)),
            lab,
            hactl,
            _folder: folder,
        })
    }

    /// Does something while the client pings the address.
    pub fn act(
        &self,
        what: impl FnOnce(&Lab) -> Result<(), LabError>,
    ) -> Result<WatchedAct, String> {
        let probe = self.lab.probe(ADDRESS, PROBE_EVERY);
        let running = WatchedAct(probe.map_err(|e| e.to_string())?);
        what(&self.lab).map_err(|e| e.to_string())?;
        Ok(running)
    }

    /// Runs `hactl` on a node.
    pub fn hactl(&self, lab: &Lab, node: &str, words: &[&str]) -> Result<String, LabError> {
        let program = self.hactl.to_string_lossy();
        let argv: Vec<&str> = std::iter::once(program.as_ref())
            .chain(words.iter().copied())
            .collect();
        let output = lab.exec(node, &argv)?;
        if output.success() {
            return Ok(output.stdout);
        }
        Err(LabError::Refused(format!(
            "`hactl {}` on {node} failed: {}",
            words.join(" "),
            output.stderr.trim()
        )))
    }

    /// Runs `hactl` on a node.
    pub fn command(&self, node: &str, words: &[&str]) -> Result<(), String> {
        let done = self.hactl(&self.lab, node, words);
        done.map(drop).map_err(|e| e.to_string())
    }

    /// Waits until the owner alone has the address, the nodes in touch agree on that, it answers, and the gateway sends to
    /// the owner.
    ///
    /// The gateway pings only once, after the cold start: what it knows later comes from announcements.
    pub fn settled(&self, owner: &str, in_touch: &[&str]) -> Result<(), String> {
        let until = Instant::now() + ACT_TIMEOUT;
        loop {
            let missing = match self.missing(owner, in_touch) {
                Ok(None) => return Ok(()),
                Ok(Some(missing)) => missing,
                Err(e) => return Err(e.to_string()),
            };
            if Instant::now() > until {
                return Err(format!("after {} s: {missing}", ACT_TIMEOUT.as_secs()));
            }
            sleep(CHECK_EVERY);
        }
    }

    /// The first thing that is not yet as expected.
    fn missing(&self, owner: &str, in_touch: &[&str]) -> Result<Option<String>, LabError> {
        for host in self.lab.status()?.hosts {
            let has = host.addresses.iter().any(|a| a.address == ADDRESS);
            if has != (host.name == owner) {
                let verb = if has {
                    "unexpectedly has"
                } else {
                    "still does not have"
                };
                return Ok(Some(format!("{} {verb} the address", host.name)));
            }
        }
        for node in in_touch {
            if !self.sees(node, owner, in_touch) {
                return Ok(Some(format!(
                    "{node} does not see {owner} as the owner, or does not hear all nodes"
                )));
            }
        }
        if self.lab.probe(ADDRESS, PROBE_EVERY)?.finish()?.answered == 0 {
            return Ok(Some("the address does not answer the client".to_owned()));
        }
        let known = self.lab.neighbour(GATEWAY, ADDRESS)?;
        if known.is_none() || known != self.lab.mac(owner, "eth0")? {
            return Ok(Some(format!("the gateway does not send to {owner}")));
        }
        Ok(None)
    }

    /// Whether a node sees this owner and these nodes. A daemon that does not answer yet does not.
    fn sees(&self, node: &str, owner: &str, in_touch: &[&str]) -> bool {
        let program = self.hactl.to_string_lossy();
        // Its exit code says whether all is well, which it is not beside a dead node.
        let Ok(output) = self.lab.exec(node, &[&program, "status", "--json"]) else {
            return false;
        };
        let Ok(status) = serde_json::from_str::<Status>(&output.stdout) else {
            return false;
        };
        let alive = |name: &str| {
            let found = status.nodes.iter().find(|n| n.name.as_str() == name);
            found.is_some_and(|n| matches!(n.liveness, Liveness::Here | Liveness::Active))
        };
        let owners = status.groups.iter().map(|g| g.owners.as_slice());
        in_touch.iter().all(|name| alive(name))
            && owners
                .flatten()
                .map(had::model::NodeName::as_str)
                .eq([owner])
    }

    /// Lets the gateway ping the address once, so that it learns its MAC.
    pub fn introduce_gateway(&self) -> Result<(), String> {
        let until = Instant::now() + ACT_TIMEOUT;
        while Instant::now() < until {
            let asked = self.lab.probe_from(GATEWAY, ADDRESS, ACT_TIMEOUT);
            if asked
                .and_then(RunningProbe::finish)
                .map_err(|e| e.to_string())?
                .answered
                > 0
            {
                return Ok(());
            }
        }
        Err("the address does not answer the gateway".to_owned())
    }

    /// Ends the sampling of both nodes; returns the number of samples if the address was on these nodes in this order,
    /// and never on two.
    pub fn check_moves(&self, expected: &[&str]) -> Result<u64, String> {
        let Some(sampler) = self.sampler.take() else {
            return Ok(0);
        };
        let report = sampler.finish().map_err(|e| e.to_string())?;
        if let Some(double) = report.double.first() {
            return Err(format!(
                "two nodes had the address for {}: {}",
                duration_for_people(double.lasted),
                double.nodes.join(" and ")
            ));
        }
        let owners: Vec<String> = report.owners.into_iter().flat_map(|o| o.2).collect();
        if owners != expected {
            return Err(format!(
                "the address was on unexpected nodes: {}",
                owners.join(", ")
            ));
        }
        Ok(report.samples)
    }

    /// The last lines that each daemon wrote.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for node in NODES {
            let log = self.lab.log(node).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.get(lines.len().saturating_sub(LOG_LINES_SHOWN)..);
            text += &format!(
                "the log of {node} ends with:\n  {}\n",
                last.unwrap_or_default().join("\n  ")
            );
        }
        text
    }
}

/// The demo's own folder; removed in the end.
struct DemoFolder(PathBuf);

impl DemoFolder {
    /// Not under /run, which every host has of its own.
    fn make() -> Result<DemoFolder, String> {
        let mut base = std::env::temp_dir();
        if base.starts_with("/run") {
            base = PathBuf::from("/tmp");
        }
        let folder = DemoFolder(base.join(format!("hactl-demo-{}", std::process::id())));
        let made = DirBuilder::new().mode(0o700).create(&folder.0);
        made.map_err(|e| folder.trouble(&e))?;
        Ok(folder)
    }

    /// Writes the configuration and a link to the daemon; returns their paths.
    fn fill(&self, hactl: &Path) -> io::Result<(PathBuf, PathBuf)> {
        let had = self.0.join(DAEMON);
        symlink(hactl, &had)?;
        let config = self.0.join("ha.d");
        DirBuilder::new().mode(0o755).create(&config)?;
        fs::write(config.join("ha.cf"), HA_CF)?;
        fs::write(config.join("haresources"), HARESOURCES)?;
        let mut authkeys = fs::File::options();
        let mut authkeys = authkeys
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(config.join("authkeys"))?;
        io::Write::write_all(&mut authkeys, AUTHKEYS.as_bytes())?;
        Ok((had, config))
    }

    fn trouble(&self, e: &io::Error) -> String {
        format!("cannot create {}: {e}", self.0.display())
    }
}

impl Drop for DemoFolder {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {e}", self.0.display());
        }
    }
}

/// The lab ends with this process; the folder would not.
fn remove_folder_on_signal(folder: PathBuf) -> Result<(), String> {
    let mut ends = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        ends.add(signal);
    }
    ends.thread_block()
        .map_err(|e| format!("cannot listen to signals: {e}"))?;
    std::thread::spawn(move || {
        let signal = ends.wait().unwrap_or(Signal::SIGTERM);
        drop(fs::remove_dir_all(folder));
        eprintln!("\nhactl lab demo: interrupted; the lab is removed");
        // As shells do it.
        std::process::exit((signal as i32).saturating_add(128));
    });
    Ok(())
}
