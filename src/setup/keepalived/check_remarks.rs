//! Remarks on what is watched: differences between the nodes, names of nothing, weights without an effect.

use std::collections::BTreeSet;

use super::checks::FOLDER;
use super::model::{Instance, Manager, Track, TrackKind, Tracked, TrackedKind};
use super::nodes::Node;
use super::routers::{Router, RouterGroup};
use crate::text::{Problems, quote};

/// What concerns all nodes.
pub fn remark_on_all(
    groups: &[RouterGroup<'_>],
    managers: &[Manager],
    nodes: &[Node],
    report: &mut Problems,
) {
    judge_scripts_in_tmp(managers, report);
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

/// The same name on another node must be the same thing.
pub fn judge_same(
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
