//! Remarks on what is watched: differences between the nodes, names of nothing, weights without an effect.

use std::collections::BTreeSet;

use super::checks::{FOLDER, is_local};
use super::model::{Instance, Manager, Track, TrackKind, Tracked, TrackedKind};
use super::nodes::Node;
use super::routers::{Router, RouterGroup};
use crate::text::{Problems, quote};

/// What concerns all nodes.
pub fn remark_on_all(
    groups: &[RouterGroup<'_>],
    managers: &[Manager],
    nodes: &[Node],
    used: &BTreeSet<&str>,
    report: &mut Problems,
) {
    judge_scripts_in_tmp(managers, report);
    remark_on_weights(groups, managers, used, report);
    for router in groups.iter().flat_map(|g| &g.routers) {
        judge_weights(router, managers, nodes, report);
    }
    judge_scope(groups, managers, report);
}

/// The kinds and names of what an instance tracks.
pub fn tracked_names<'m>(
    manager: &'m Manager,
    instance: &'m Instance,
) -> impl Iterator<Item = (TrackKind, &'m str)> {
    let tracks = manager.tracks_of(instance);
    tracks.map(|track| (track.kind, track.name.text.as_str()))
}

/// A second block of one kind and name in one file.
pub fn report_second(tracked: &Tracked, kind: TrackKind, report: &mut Problems) {
    let block = match kind {
        TrackKind::Process => "vrrp_track_process",
        _ => "vrrp_script",
    };
    let message = format!("there is a {block} {} already", quote(&tracked.name.text));
    let help = "the first one is taken, and this one is left out";
    report.warning(&tracked.name.place, message, help);
}

/// The same name on another node must be the same thing. `nth` says which it is of those that are the same on its node.
pub fn judge_same(
    node: usize,
    tracked: &Tracked,
    nth: usize,
    managers: &[Manager],
    nodes: &[Node],
    report: &mut Problems,
) {
    let all = managers.iter().zip(nodes);
    let before = all.take(node).find_map(|(manager, node)| {
        let there = manager.tracked.iter().filter(|t| match &t.kind {
            TrackedKind::Service(service) => is_local(service, node),
            _ => true,
        });
        there.filter(|t| t.is_same_as(tracked)).nth(nth)
    });
    let times = |t: &Tracked| (t.interval, t.timeout, t.fall, t.rise);
    let Some(before) = before else { return };
    if what(before) == what(tracked) && times(before) == times(tracked) {
        return;
    }
    let node = nodes.get(node).map_or("", |n| n.name.as_str());
    let name = match &tracked.kind {
        TrackedKind::Service(service) => format!("the check of port {}", service.port),
        _ => quote(&tracked.name.text),
    };
    let message = format!("{name} is not the same on {node} as on the first node, which is taken");
    let help = "nodes may have different checks: change the line in the ha.cf of that node";
    report.warning(&tracked.name.place, message, help);
}

/// What is asked, to be compared.
fn what(tracked: &Tracked) -> (Option<&str>, Option<&str>, Option<u16>) {
    match &tracked.kind {
        TrackedKind::Script(word) | TrackedKind::Process(word) => (Some(&word.text), None, None),
        TrackedKind::Service(service) => {
            let command = service.command.as_ref().map(|w| w.text.as_str());
            (command, service.http.as_deref(), service.status)
        }
    }
}

/// A track that names nothing.
pub fn judge_name(track: &Track, manager: &Manager, report: &mut Problems) {
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

/// A weight only changed a priority, and the lowest priority is still one. `used` are the interfaces of the addresses.
fn remark_on_weights(
    groups: &[RouterGroup<'_>],
    managers: &[Manager],
    used: &BTreeSet<&str>,
    report: &mut Problems,
) {
    let mut seen = BTreeSet::new();
    let routers = groups.iter().flat_map(|g| &g.routers);
    for (node, instance) in routers.flat_map(Router::present) {
        let Some(manager) = managers.get(node) else {
            continue;
        };
        for track in manager.tracks_of(instance) {
            let weight = weight_of(track, manager);
            let becomes_check = match track.kind {
                TrackKind::Interface => !used.contains(track.name.text.as_str()),
                _ => manager.find_tracked(track).is_some(),
            };
            if weight == 0 || !becomes_check || !seen.insert((track.kind, track.name.text.as_str()))
            {
                continue;
            }
            let message = format!(
                "the weight {weight} of {} only changed the priority: a node on which it had failed still took the addresses when no other node could",
                quote(&track.name.text)
            );
            let help = "here a node whose check has not passed starts nothing; remove the line from ha.cf if you do not want that";
            report.note(&track.name.place, message, help);
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
    for (node, manager) in managers.iter().enumerate() {
        let here = groups.iter().map(|group| {
            let instances = group
                .routers
                .iter()
                .filter_map(|r| r.instances.get(node).copied().flatten());
            instances
                .flat_map(|i| tracked_names(manager, i))
                .collect::<BTreeSet<_>>()
        });
        let here: Vec<BTreeSet<(TrackKind, &str)>> = here.collect();
        for tracked in &manager.tracked {
            let Some(kind) = tracked.kind.track_kind() else {
                continue;
            };
            let named = (kind, tracked.name.text.as_str());
            let number = here.iter().filter(|names| names.contains(&named)).count();
            if number > 0 && number < here.len() {
                let message = format!(
                    "{} counted for some of the groups only",
                    quote(&tracked.name.text)
                );
                let help = "here a check counts for the node, and so for all of its groups";
                report.warning(&tracked.name.place, message, help);
            }
        }
    }
}
