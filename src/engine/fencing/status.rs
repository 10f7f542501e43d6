//! How far fencing has come, for people.

use super::{Case, Licence};
use crate::engine::Engine;
use crate::engine::peer::Peer;
use crate::model::decision::{Because, What};
use crate::model::fencing::{FencingState, FencingStatus};
use crate::model::status::Liveness;
use crate::model::{NodeName, Time};
use crate::text::duration_for_people;

impl Engine {
    /// The nodes that can be fenced, and how far that has come.
    pub(in crate::engine) fn fencing_status(&self) -> Vec<FencingStatus> {
        let nodes = self.view.cluster.nodes.iter();
        let fenced = nodes.filter(|n| self.view.cluster.fencing.covers(n));
        fenced.map(|node| self.fencing_status_of(node)).collect()
    }

    fn fencing_status_of(&self, node: &NodeName) -> FencingStatus {
        let case = self.fencing.cases.get(node);
        let state = match self.view.peer(node) {
            Some(peer) => self.fencing_state(peer, case),
            None => FencingState::Idle,
        };
        FencingStatus {
            node: node.clone(),
            state,
            failed: case.map_or(0, |c| c.failed),
            error: case
                .and_then(|c| c.error.clone())
                .or_else(|| self.fencing.failing.get(node).cloned()),
        }
    }

    fn fencing_state(&self, peer: &Peer, case: Option<&Case>) -> FencingState {
        if case.is_some_and(|c| c.runs.is_some()) {
            return FencingState::Runs;
        }
        if peer.fencing.fenced {
            return FencingState::Fenced;
        }
        if peer.has_persons_word() {
            return FencingState::Confirmed;
        }
        let licence = self.licence(peer);
        if peer.fencing.survived {
            return FencingState::Held;
        }
        match case.filter(|c| c.wanted) {
            None => FencingState::Idle,
            Some(_) if matches!(licence, Licence::Ask | Licence::Heard) => FencingState::Held,
            Some(_) => FencingState::Waits,
        }
    }

    /// It could not be fenced.
    fn power_switch_note(&self, name: &NodeName) -> Option<String> {
        let error = self.fencing.failing.get(name)?;
        let covered = self.view.cluster.fencing.covers(name);
        covered.then(|| {
            format!(
                "could not be fenced: {error}; repair its power switch or its fence line in ha.cf, then run hactl fence test {name}"
            )
        })
    }

    /// Its power switch was asked, to see whether it works.
    pub(in crate::engine) fn power_switch_tested(
        &mut self,
        node: NodeName,
        result: Result<(), String>,
    ) {
        let (what, because) = match result {
            Ok(()) if self.fencing.failing.remove(&node).is_none() => return,
            Ok(()) => (What::PowerSwitchAnswers(node), Because::PowerSwitch),
            Err(text) => {
                let before = self.fencing.failing.insert(node.clone(), text.clone());
                if before.is_some() {
                    return;
                }
                (What::PowerSwitchFails(node), Because::Agent(text))
            }
        };
        self.round.record_node(what, because);
    }

    /// What status says of the fencing of a peer, with what to do.
    pub(in crate::engine) fn fencing_note(&self, peer: &Peer, now: Time) -> Option<String> {
        let name = &peer.name;
        let by_hand =
            format!("if its machine is surely off, run hactl fence confirm {name} --yes here");
        if peer.fencing.survived && peer.is_living() {
            return Some(format!(
                "was fenced and runs on: what was switched off is not its machine; correct its fence line in ha.cf, then restart had on {name}"
            ));
        }
        if peer.fencing.survived {
            return Some(format!(
                "was fenced before and ran on, so its power switch is not believed; {by_hand}"
            ));
        }
        let case = self.fencing.cases.get(name);
        let error = case.and_then(|c| c.error.as_deref());
        if peer.fencing.fenced {
            let trouble = error.map(|e| format!("; {e}")).unwrap_or_default();
            return Some(format!("fenced: its machine was switched off{trouble}"));
        }
        let waits = case.filter(|c| c.wanted || c.runs.is_some());
        let Some(case) = waits else {
            return self.power_switch_note(name);
        };
        if case.runs.is_some() && case.failed == 0 {
            return Some("being fenced: its power switch is told or asked".to_owned());
        }
        if peer.liveness != Liveness::Dead {
            return None;
        }
        let failed = error.unwrap_or("no answer yet");
        Some(match self.licence(peer) {
            Licence::Ask => format!(
                "must be fenced, but this node has had no answer from it since its own start and may be the one that was cut off; its power switch is asked: {failed}; {by_hand}, or run hactl fence {name} --yes"
            ),
            Licence::Heard => {
                let by = self.view.heard_by(peer).map(NodeName::as_str);
                format!(
                    "is heard by {} and not by this node, so it is not fenced; repair the link between this node and {name}",
                    by.unwrap_or("another node")
                )
            }
            Licence::Wait => {
                format!(
                    "must be fenced; this node waits for the votes that it needs for that; {by_hand}"
                )
            }
            Licence::Fire(from) if case.failed == 0 => {
                format!("will be fenced in {}", duration_for_people(from.since(now)))
            }
            _ => format!(
                "fencing failed (attempt {}): {failed}; it is tried again in {}; check its power switch and its fence line in ha.cf; {by_hand}",
                case.failed,
                duration_for_people(case.next.since(now))
            ),
        })
    }
}
