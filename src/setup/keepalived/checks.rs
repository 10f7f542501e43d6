//! What is watched, as lines `check` of ha.cf, and scripts for what one line cannot say.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::check_remarks::{self, tracked_names};
use super::command::{Probe, probe_of};
use super::model::{Manager, Service, Track, TrackKind, Tracked, TrackedKind};
use super::nodes::Node;
use super::routers::{Router, RouterGroup};
use super::servers::report_load_balancer;
use crate::setup::answers;
use crate::setup::folder::NewFile;
use crate::text::{Place, Problems, duration_in_files, one_line, quote};

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

/// What a check is made of: its kind, its name, and a number, because services of one port have one name.
type Origin = (Option<TrackKind>, String, usize);

/// The lines, each with what stands above it, and the scripts.
#[derive(Debug, Default)]
pub struct Checks {
    /// A comment and a line.
    pub lines: Vec<(String, String)>,
    /// `checks/NAME`.
    pub scripts: Vec<NewFile>,
    names: BTreeSet<String>,
    origins: BTreeSet<Origin>,
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
    for (at, (manager, node)) in managers.iter().zip(nodes).enumerate() {
        let mut before: Vec<&Tracked> = Vec::new();
        for tracked in &manager.tracked {
            if !counts(tracked, manager, node, report) {
                continue;
            }
            let same = before.iter().filter(|b| b.is_same_as(tracked)).count();
            if let (true, Some(kind)) = (same > 0, tracked.kind.track_kind()) {
                check_remarks::report_second(tracked, kind, report);
            } else if made.add(tracked, same, report).is_none() {
                check_remarks::judge_same(at, tracked, same, managers, nodes, report);
            }
            before.push(tracked);
        }
        for instance in &manager.instances {
            for track in manager.tracks_of(instance) {
                made.add_interface(track, &used, report);
                check_remarks::judge_name(track, manager, report);
            }
        }
    }
    check_remarks::remark_on_all(groups, managers, nodes, &used, report);
    made
}

/// Whether something is watched for the addresses: an instance tracks it, or it is a service of the node itself.
fn counts(tracked: &Tracked, manager: &Manager, node: &Node, report: &mut Problems) -> bool {
    let place = &tracked.name.place;
    if let TrackedKind::Service(service) = &tracked.kind {
        if !is_local(service, node) {
            report_load_balancer(place, report);
            return false;
        }
        for problem in &service.remarks.list {
            let help = problem.help.clone().unwrap_or_default();
            report.add(problem.severity, &problem.place, &problem.message, help);
        }
        return true;
    }
    let named = |(kind, name): (TrackKind, &str)| {
        Some(kind) == tracked.kind.track_kind() && name == tracked.name.text
    };
    let mut all = manager.instances.iter();
    let tracks = all.any(|i| tracked_names(manager, i).any(named));
    if !tracks {
        let message = format!(
            "no instance tracks {}, so it had no effect",
            quote(&tracked.name.text)
        );
        report.warning(place, message, "it is left out");
    }
    tracks
}

/// A name that can stand in ha.cf and in a path, as it was if possible.
fn plain_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().take(60).map(plain).collect();
    if RESERVED.contains(&name.as_str()) || name.starts_with('.') || name.is_empty() {
        format!("check_{name}")
    } else {
        name
    }
}

impl Checks {
    /// A name for the check, with a number if another check has it. Nothing if there is a check of the same origin already.
    fn claim(
        &mut self,
        wanted: &str,
        origin: Origin,
        place: &Place,
        report: &mut Problems,
    ) -> Option<String> {
        if !self.origins.insert(origin) {
            return None;
        }
        let first = plain_name(wanted);
        let numbered = (2_usize..).map(|n| format!("{first}-{n}"));
        let mut names = std::iter::once(first.clone()).chain(numbered);
        let name = names.find(|name| !self.names.contains(name))?;
        if name != first {
            let message =
                format!("the check is called {name}, because another one is called {first}");
            report.note(place, message, "");
        }
        self.names.insert(name.clone());
        Some(name)
    }

    /// Adds a check. Nothing if there is one of the same origin already.
    fn add(&mut self, tracked: &Tracked, nth: usize, report: &mut Problems) -> Option<()> {
        let wanted = match &tracked.kind {
            TrackedKind::Service(service) => format!("service-{}", service.port),
            _ => tracked.name.text.clone(),
        };
        let origin = (tracked.kind.track_kind(), wanted.clone(), nth);
        let name = self.claim(&wanted, origin, &tracked.name.place, report)?;
        let Some((above, probe)) = probe(tracked, report) else {
            return Some(());
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
        Some(())
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
        let origin = (Some(TrackKind::Interface), name.clone(), 0);
        let place = &track.name.place;
        if let Some(check) = self.claim(&format!("link-{name}"), origin, place, report) {
            let line = format!("check {check} link {name} every 1s fall 1 rise 1");
            self.lines
                .push(("keepalived: track_interface".to_owned(), line));
        }
    }
}

/// What stands above the check, and its probe.
fn probe(tracked: &Tracked, report: &mut Problems) -> Option<(String, Probe)> {
    let name = one_line(&tracked.name.text, 60);
    match &tracked.kind {
        TrackedKind::Script(word) => Some((
            format!("keepalived: vrrp_script {name}"),
            probe_of(&word.text),
        )),
        TrackedKind::Process(word) => {
            let Some(probe) = process(&word.text) else {
                let message = format!("{} is not the name of a program", quote(&word.text));
                let help = "write: check NAME process PROGRAM";
                report.warning(&word.place, message, help);
                return None;
            };
            let above = format!("keepalived: vrrp_track_process {name}");
            Some((above, Probe::Words(probe)))
        }
        TrackedKind::Service(service) => Some(service_probe(service, tracked, report)),
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

/// Whether a real server is the machine that checks it: this node itself, whose file names it.
pub fn is_local(service: &Service, node: &Node) -> bool {
    node.addresses.contains(&service.address) || service.address.is_loopback()
}

/// What is asked in place of an address that only one node has.
fn asked(service: &Service) -> SocketAddr {
    let address = match service.address {
        own if own.is_loopback() => own,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(address, service.port)
}

fn service_probe(service: &Service, tracked: &Tracked, report: &mut Problems) -> (String, Probe) {
    let above = format!(
        "keepalived: real_server {} {}",
        service.address, service.real_port
    );
    if let Some(command) = &service.command {
        return (above, probe_of(&command.text));
    }
    if service.http.is_none() && service.port == MYSQL_PORT {
        let message =
            "a server that hangs passes TCP_CHECK, because the kernel accepts the connection";
        let help = "here `mysql` asks a query on the server's socket; ha.cf(5) says how it logs in";
        report.warning(&tracked.name.place, message, help);
        return (above, Probe::Words("mysql".to_owned()));
    }
    remark_on_loopback(service, tracked, report);
    let asked = asked(service);
    let words = match &service.http {
        Some(path) => {
            let status = service.status.map(|s| format!(" status {s}"));
            let path = usable_path(path, tracked, report);
            format!("http http://{asked}{path}{}", status.unwrap_or_default())
        }
        None => format!("tcp {asked}"),
    };
    (above, Probe::Words(words))
}

/// The path, if it can stand in ha.cf.
fn usable_path<'p>(path: &'p str, tracked: &Tracked, report: &mut Problems) -> &'p str {
    let plain = |c: char| c.is_ascii_graphic() && !"#,".contains(c);
    if path.chars().all(plain) {
        return path;
    }
    let message = format!("the path {} cannot stand in ha.cf", quote(path));
    report.warning(
        &tracked.name.place,
        message,
        "the page / is fetched instead",
    );
    "/"
}

fn remark_on_loopback(service: &Service, tracked: &Tracked, report: &mut Problems) {
    if service.address.is_loopback() {
        return;
    }
    let message = format!(
        "port {} is asked at {}, because ha.cf is the same on every node",
        service.port,
        asked(service).ip()
    );
    let help = format!(
        "if the service listens only on {}, write that address on this node",
        service.address
    );
    report.note(&tracked.name.place, message, help);
}
