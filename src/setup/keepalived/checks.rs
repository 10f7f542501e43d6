//! What is watched, as lines `check` of ha.cf, and scripts for what one line cannot say.

use std::collections::BTreeSet;
use std::time::Duration;

use super::check_remarks::{self, tracked_names};
use super::command::{Probe, probe_of};
use super::model::{Manager, Service, Track, TrackKind, Tracked, TrackedKind};
use super::nodes::Node;
use super::routers::{Router, RouterGroup};
use super::servers::report_load_balancer;
use crate::setup::answers;
use crate::setup::folder::NewFile;
use crate::text::{Problems, duration_in_files, one_line, quote};

/// Where scripts of checks are when the folder is in its place.
pub const FOLDER: &str = "/etc/ha.d/checks";
/// Scripts often start a service again and wait for it; keepalived's older versions let them.
const LEAST_TIMEOUT: Duration = Duration::from_secs(10);
/// Names with a meaning in a `check` line.
const RESERVED: [&str; 15] = [
    "exec",
    "tcp",
    "http",
    "process",
    "link",
    "mysql",
    "every",
    "timeout",
    "fall",
    "rise",
    "restart",
    "within",
    "owner",
    "failback_when",
    "lag",
];
const MYSQL_PORT: u16 = 3306;

/// The lines, each with what stands above it, and the scripts.
#[derive(Debug, Default)]
pub struct Checks {
    /// A comment and a line.
    pub lines: Vec<(String, String)>,
    /// `checks/NAME`.
    pub scripts: Vec<NewFile>,
    names: Vec<String>,
}

/// Everything that the instances track, each once.
pub fn checks(
    groups: &[RouterGroup<'_>],
    managers: &[Manager],
    nodes: &[Node],
    report: &mut Problems,
) -> Checks {
    let mut made = Checks::default();
    let used = used_interfaces(groups);
    for (node, manager) in managers.iter().enumerate() {
        let all = manager.instances.iter();
        let names: BTreeSet<(TrackKind, &str)> =
            all.flat_map(|i| tracked_names(manager, i)).collect();
        for tracked in &manager.tracked {
            let named = tracked
                .kind
                .track_kind()
                .map(|kind| (kind, tracked.name.text.as_str()));
            if named.is_none_or(|named| names.contains(&named)) {
                made.add(node, tracked, managers, nodes, report);
            } else {
                let message = format!(
                    "no instance tracks {}, so it had no effect",
                    quote(&tracked.name.text)
                );
                report.warning(&tracked.name.place, message, "it is left out");
            }
        }
        for instance in &manager.instances {
            for track in manager.tracks_of(instance) {
                made.add_interface(track, &used, report);
                check_remarks::judge_name(track, manager, report);
            }
        }
    }
    check_remarks::remark_on_all(groups, managers, nodes, report);
    made
}

impl Checks {
    /// A name that can stand in ha.cf and in a path, as it was if possible. Nothing if it is there already.
    fn claim(&mut self, name: &str) -> Option<String> {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        };
        let mut name: String = name.chars().take(60).map(plain).collect();
        if RESERVED.contains(&name.as_str()) || name.starts_with('.') || name.is_empty() {
            name = format!("check_{name}");
        }
        if self.names.contains(&name) {
            return None;
        }
        self.names.push(name.clone());
        Some(name)
    }

    fn add(
        &mut self,
        node: usize,
        tracked: &Tracked,
        managers: &[Manager],
        nodes: &[Node],
        report: &mut Problems,
    ) {
        let wanted = match &tracked.kind {
            TrackedKind::Service(service) => format!("service-{}", service.port),
            _ => tracked.name.text.clone(),
        };
        if let TrackedKind::Service(service) = &tracked.kind
            && !is_local(service, nodes)
        {
            return report_load_balancer(&tracked.name.place, report);
        }
        let Some(name) = self.claim(&wanted) else {
            return check_remarks::judge_same(node, tracked, managers, nodes, report);
        };
        let (above, probe) = match &tracked.kind {
            TrackedKind::Script(word) => (
                format!(
                    "keepalived: vrrp_script {}",
                    one_line(&tracked.name.text, 60)
                ),
                probe_of(&word.text),
            ),
            TrackedKind::Process(word) => {
                let Some(probe) = process(&word.text) else {
                    let message = format!("{} is not the name of a program", quote(&word.text));
                    return report.warning(
                        &word.place,
                        message,
                        "write: check NAME process PROGRAM",
                    );
                };
                (
                    format!(
                        "keepalived: vrrp_track_process {}",
                        one_line(&tracked.name.text, 60)
                    ),
                    Probe::Words(probe),
                )
            }
            TrackedKind::Service(service) => service_probe(service, tracked, report),
        };
        let words = match probe {
            Probe::Words(words) => words,
            Probe::Script(line) => {
                self.scripts.push(script(&name, &above, &line));
                format!("exec {FOLDER}/{name}")
            }
        };
        let timeout = tracked
            .timeout
            .unwrap_or(tracked.interval.max(LEAST_TIMEOUT));
        let line = format!(
            "check {name} {words} every {} timeout {} fall {} rise {}",
            duration_in_files(tracked.interval),
            duration_in_files(timeout),
            tracked.fall,
            tracked.rise
        );
        self.lines.push((above, line));
    }

    /// An interface that no address is on: those of the addresses are needed without a check.
    fn add_interface(&mut self, track: &Track, used: &BTreeSet<&str>, report: &mut Problems) {
        let name = &track.name.text;
        if track.kind != TrackKind::Interface || used.contains(name.as_str()) {
            return;
        }
        if answers::interface(name).is_err() {
            let message = format!("{} is not the name of an interface", quote(name));
            return report.warning(&track.name.place, message, "it is left out");
        }
        if let Some(check) = self.claim(&format!("link-{name}")) {
            let line = format!("check {check} link {name} every 1s fall 1 rise 1");
            self.lines
                .push(("keepalived: track_interface".to_owned(), line));
        }
    }
}

/// The interfaces that addresses are on.
fn used_interfaces<'m>(groups: &[RouterGroup<'m>]) -> BTreeSet<&'m str> {
    let all = groups.iter().flat_map(|g| &g.routers);
    let all = all.flat_map(Router::present).map(|(_, instance)| instance);
    let used = all.flat_map(|i| {
        let own = i.interface.as_ref().map(|w| w.text.as_str());
        let all = i.addresses.iter();
        all.filter_map(move |a| a.device.as_deref().or(own))
    });
    used.collect()
}

fn script(name: &str, above: &str, line: &str) -> NewFile {
    let text = format!(
        "#!/bin/sh\n# {above}\n# `check {name}` of ha.cf runs this; 0 is success.\n{line}\n"
    );
    NewFile::script(&format!("checks/{name}"), text)
}

/// `process NAME` for a name, which may have a path and arguments.
fn process(text: &str) -> Option<String> {
    let name = text.split_whitespace().next()?.rsplit('/').next()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.+".contains(&b);
    (!name.is_empty() && name.bytes().all(plain)).then(|| format!("process {name}"))
}

/// Whether a real server is the machine that checks it.
pub fn is_local(service: &Service, nodes: &[Node]) -> bool {
    let own = nodes.iter().any(|n| n.addresses.contains(&service.address));
    own || service.address.is_loopback()
}

fn service_probe(service: &Service, tracked: &Tracked, report: &mut Problems) -> (String, Probe) {
    let port = service.port;
    let above = format!("keepalived: real_server {} {port}", service.address);
    if let Some(command) = &service.command {
        return (above, probe_of(&command.text));
    }
    if let Some(path) = &service.http {
        let words = format!("http http://127.0.0.1:{port}{path}");
        let plain = path
            .chars()
            .all(|c| c.is_ascii_graphic() && !"#,".contains(c));
        let words = if plain {
            words
        } else {
            format!("http http://127.0.0.1:{port}/")
        };
        remark_on_loopback(service, tracked, report);
        return (above, Probe::Words(words));
    }
    if port == MYSQL_PORT {
        let message =
            "a server that hangs passes TCP_CHECK, because the kernel accepts the connection";
        let help = "here `mysql` asks a query on the server's socket; ha.cf(5) says how it logs in";
        report.warning(&tracked.name.place, message, help);
        return (above, Probe::Words("mysql".to_owned()));
    }
    remark_on_loopback(service, tracked, report);
    (above, Probe::Words(format!("tcp 127.0.0.1:{port}")))
}

fn remark_on_loopback(service: &Service, tracked: &Tracked, report: &mut Problems) {
    if service.address.is_loopback() {
        return;
    }
    let message = format!(
        "port {} is asked at 127.0.0.1, because ha.cf is the same on every node",
        service.port
    );
    let help = format!(
        "if the service listens only on {}, write that address on this node",
        service.address
    );
    report.note(&tracked.name.place, message, help);
}
