//! What is watched, as lines `check` of ha.cf, and scripts for what one line cannot say.

use std::time::Duration;

use super::command::{Probe, probe_of};
use super::model::{Instance, Manager, Service, Track, TrackKind, Tracked, TrackedKind};
use super::nodes::Node;
use super::routers::{Router, RouterGroup};
use super::servers::report_load_balancer;
use crate::setup::answers;
use crate::setup::folder::NewFile;
use crate::text::{Problems, duration_in_files, one_line, quote};

/// Where scripts of checks are when the folder is in its place.
const FOLDER: &str = "/etc/ha.d/checks";
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
    for (node, manager) in managers.iter().enumerate() {
        for tracked in &manager.tracked {
            let service = matches!(tracked.kind, TrackedKind::Service(_));
            if service || is_tracked(manager, tracked) {
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
                made.add_interface(track, groups, report);
                judge_name(track, manager, report);
            }
        }
    }
    judge_scripts_in_tmp(managers, report);
    for router in groups.iter().flat_map(|g| &g.routers) {
        judge_weights(router, managers, nodes, report);
    }
    judge_scope(groups, managers, report);
    made
}

fn is_tracked(manager: &Manager, tracked: &Tracked) -> bool {
    let all = manager.instances.iter().flat_map(|i| manager.tracks_of(i));
    let mut names = all.filter_map(|track| manager.find_tracked(track));
    names.any(|found| std::ptr::eq(found, tracked))
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
            return judge_same(node, tracked, managers, nodes, report);
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
    fn add_interface(&mut self, track: &Track, groups: &[RouterGroup<'_>], report: &mut Problems) {
        if track.kind != TrackKind::Interface {
            return;
        }
        let all = groups.iter().flat_map(|g| &g.routers);
        let all = all.flat_map(Router::present).map(|(_, instance)| instance);
        let mut used = all.flat_map(|i| {
            let own = i.interface.as_ref().map(|w| w.text.as_str());
            i.addresses
                .iter()
                .filter_map(move |a| a.device.as_deref().or(own))
        });
        let name = &track.name.text;
        if used.any(|interface| interface == name) {
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

/// The same name on another node must be the same thing.
fn judge_same(
    node: usize,
    tracked: &Tracked,
    managers: &[Manager],
    nodes: &[Node],
    report: &mut Problems,
) {
    let text = |t: &Tracked| match &t.kind {
        TrackedKind::Script(word) | TrackedKind::Process(word) => {
            Some((word.text.clone(), t.interval, t.timeout, t.fall, t.rise))
        }
        TrackedKind::Service(_) => None,
    };
    let before = managers.iter().take(node).flat_map(|m| &m.tracked);
    let same = before
        .filter(|t| t.name.text == tracked.name.text)
        .find_map(text);
    if let (Some(before), Some(here)) = (same, text(tracked))
        && before != here
    {
        let name = nodes.get(node).map_or("", |n| n.name.as_str());
        let message = format!(
            "{} is not the same on {name} as on the first node, which is taken",
            quote(&tracked.name.text)
        );
        let help = "nodes may have different checks: change the line in the ha.cf of that node";
        report.warning(&tracked.name.place, message, help);
    }
}

/// A track that names nothing.
fn judge_name(track: &Track, manager: &Manager, report: &mut Problems) {
    if track.kind != TrackKind::Interface && manager.find_tracked(track).is_none() {
        let message = format!(
            "nothing is called {}, so keepalived tracks nothing here",
            quote(&track.name.text)
        );
        let names = manager.tracked.iter().map(|t| t.name.text.as_str());
        let help = crate::text::did_you_mean(&track.name.text, names);
        report.warning(&track.name.place, message, help);
    }
}

fn judge_scripts_in_tmp(managers: &[Manager], report: &mut Problems) {
    for tracked in managers.iter().flat_map(|m| &m.tracked) {
        if let TrackedKind::Script(word) = &tracked.kind
            && (word.text.starts_with("/tmp/") || word.text.starts_with("/var/tmp/"))
        {
            let message = "a script in a folder for temporary files is gone after a reboot";
            report.warning(&word.place, message, format!("put it into {FOLDER}"));
        }
    }
}

/// Weights that could not change who has the addresses.
fn judge_weights(router: &Router<'_>, managers: &[Manager], nodes: &[Node], report: &mut Problems) {
    let (Some((p, preferred)), Some((s, second))) = (router.preferred(), router.second()) else {
        return;
    };
    let (Some(manager), Some(other)) = (managers.get(p), managers.get(s)) else {
        return;
    };
    let name = |node: usize| nodes.get(node).map_or("", |n| n.name.as_str());
    for track in manager.tracks_of(preferred) {
        let weight = weight_of(track, manager);
        let same = other
            .tracks_of(second)
            .find(|t| t.name.text == track.name.text);
        let bonus = same.map_or(0, |t| weight_of(t, other)).max(0);
        if weight == 0 {
            continue;
        }
        let left = effective(preferred, weight.min(0));
        let against = effective(second, bonus);
        let stays = second.nopreempt.is_some() && second.state_master.is_none();
        let what = quote(&track.name.text);
        let message = if left >= against {
            format!(
                "the weight {weight} of {what} never moved anything: when it fails on {}, that still has the priority {left}, and {} has {against}",
                name(p),
                name(s)
            )
        } else if stays {
            format!(
                "the weight {weight} of {what} never moved anything: with `nopreempt` {} does not take over from a lower priority",
                name(s)
            )
        } else {
            continue;
        };
        let help = "here a check that fails moves the groups; remove the line from ha.cf if you do not want that";
        report.warning(&track.name.place, message, help);
    }
}

fn weight_of(track: &Track, manager: &Manager) -> i32 {
    let own = manager.find_tracked(track).map_or(0, |t| t.weight);
    track.weight.unwrap_or(own).clamp(-254, 254)
}

fn effective(instance: &Instance, weight: i32) -> i32 {
    let priority = i32::try_from(instance.priority).unwrap_or(254);
    (priority + weight).clamp(1, 254)
}

/// A check counts for all groups of a node.
fn judge_scope(groups: &[RouterGroup<'_>], managers: &[Manager], report: &mut Problems) {
    if groups.len() < 2 {
        return;
    }
    for manager in managers {
        for tracked in &manager.tracked {
            let tracks = |i: &&Instance| {
                let mut all = manager.tracks_of(i);
                all.any(|t| {
                    manager
                        .find_tracked(t)
                        .is_some_and(|f| std::ptr::eq(f, tracked))
                })
            };
            let number = manager.instances.iter().filter(tracks).count();
            if number > 0 && number < manager.instances.len() {
                let message = format!(
                    "{} counted for some instances only",
                    quote(&tracked.name.text)
                );
                let help = "here a check counts for the node, and so for all of its groups";
                report.warning(&tracked.name.place, message, help);
            }
        }
    }
}
