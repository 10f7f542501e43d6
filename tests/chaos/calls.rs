//! The calls of the resource scripts on all nodes, from one file: none starts while it runs elsewhere.

use std::collections::BTreeMap;
use std::fs;

use had::model::Time;

use crate::cluster::ChaosCluster;
use crate::step::Node;
use crate::timeline::GRACE;

/// The state of the script on a node.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ScriptPhase {
    Running,
    /// Its stop has begun and not ended.
    Stopping(Time),
}

#[derive(Default)]
pub struct ScriptCalls {
    lines: usize,
    places: BTreeMap<(String, Node), ScriptPhase>,
    pub starts: u64,
}

impl ScriptCalls {
    /// Reads new calls and checks them.
    pub fn read(&mut self, stage: &ChaosCluster) -> Vec<String> {
        let path = stage.dir.path().join("calls");
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut wrong = Vec::new();
        for line in text.lines().skip(self.lines) {
            self.lines += 1;
            let words: Vec<&str> = line.split(' ').collect();
            let [at, node, name, what, part] = words.as_slice() else {
                panic!("a call in an unknown form: {line}");
            };
            let node = stage.class.nodes.iter().find(|n| *n == node).unwrap();
            let seconds: f64 = at.parse().unwrap();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let at = Time((seconds * 1e9) as u64);
            wrong.extend(self.take(stage, (name, node), at, (what, part)));
        }
        wrong
    }

    fn take(
        &mut self,
        stage: &ChaosCluster,
        (name, node): (&str, Node),
        at: Time,
        call: (&str, &str),
    ) -> Option<String> {
        let place = (name.to_owned(), node);
        match call {
            ("start", "begin") => {
                self.starts += 1;
                let wrong = self.others(stage, &place, at);
                self.places.insert(place, ScriptPhase::Running);
                return wrong;
            }
            ("stop", "begin") => {
                self.places.insert(place, ScriptPhase::Stopping(at));
            }
            ("stop", "end") | ("clear", _) => {
                self.places.remove(&place);
            }
            ("crash", _) => self.places.retain(|(_, n), _| *n != node),
            _ => {}
        }
        None
    }

    /// Where the script still runs when it starts on this node, unless nobody there could stop it in time. Nodes that hear
    /// each other wait for a slow stop.
    fn others(
        &self,
        stage: &ChaosCluster,
        (name, node): &(String, Node),
        at: Time,
    ) -> Option<String> {
        let same = self.places.iter().filter(|((n, _), _)| n == name);
        for ((_, other), place) in same {
            let excused = match place {
                _ if other == node => true,
                _ if stage.timeline.helpless_at(other, at).is_some() => true,
                ScriptPhase::Running => false,
                ScriptPhase::Stopping(since) => {
                    stage.timeline.astray_in(other, *since, at)
                        || stage.timeline.astray_in(node, *since, at)
                        || stage.timeline.helpless_at(other, *since + GRACE).is_some()
                }
            };
            if !excused {
                return Some(format!(
                    "{name} was started on {node} at {:.2} while {place:?} on {other}",
                    seconds(at)
                ));
            }
        }
        None
    }

    /// The nodes on which a script runs.
    pub fn running(&self, name: &str) -> Vec<Node> {
        let running = self
            .places
            .iter()
            .filter(|(_, p)| **p == ScriptPhase::Running);
        let of = running.filter(|((n, _), _)| n == name);
        of.map(|((_, node), _)| *node).collect()
    }
}

pub fn seconds(at: Time) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let seconds = at.0 as f64 / 1e9;
    seconds
}
