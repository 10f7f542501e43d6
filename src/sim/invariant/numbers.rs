//! 6. Generations and terms never decrease.
//!
//! Promised under every fault but the loss of the saved state, after which a node learns its numbers from its peers.
//! Heartbeat numbers increase within and across the lives of a daemon, each new claim has a higher term than the last
//! claim of that node, and the saved generation never decreases.

use std::collections::BTreeMap;

use crate::engine::PersistentState;
use crate::model::heartbeat::{GroupState, Heartbeat};
use crate::model::{Generation, GroupName, Sequence, Term};

/// The highest numbers of one machine.
#[derive(Clone, Debug, Default)]
pub(super) struct NumberWatch {
    said: (Generation, Sequence),
    saved: Generation,
    claimed: BTreeMap<GroupName, Term>,
    /// The last reported state of each group, in this life.
    states: BTreeMap<GroupName, GroupState>,
}

impl NumberWatch {
    pub fn start_life(&mut self) {
        self.states.clear();
    }

    pub fn store_lost(&mut self) {
        *self = NumberWatch::default();
    }

    /// Whether a number in a heartbeat decreased.
    pub fn check_heartbeat(&mut self, heartbeat: &Heartbeat) -> Option<String> {
        let number = (heartbeat.generation, heartbeat.sequence);
        let fell = number <= self.said;
        let mut wrong = fell.then(|| {
            format!(
                "sent heartbeat {} after {}",
                numbers(number),
                numbers(self.said)
            )
        });
        self.said = number;
        for report in &heartbeat.groups {
            let before = match self.states.get_mut(&report.group) {
                Some(state) => Some(std::mem::replace(state, report.state)),
                None => self.states.insert(report.group.clone(), report.state),
            };
            if report.state == GroupState::Claiming && before != Some(GroupState::Claiming) {
                let last = self.claimed.insert(report.group.clone(), report.term);
                if let Some(last) = last.filter(|last| report.term <= *last) {
                    let (group, term) = (&report.group, report.term);
                    wrong = Some(format!(
                        "claims {group} with term {} after {}",
                        term.0, last.0
                    ));
                }
            }
        }
        wrong
    }

    /// Whether the saved generation decreased.
    pub fn check_saved(&mut self, kept: &PersistentState) -> Option<String> {
        let before = std::mem::replace(&mut self.saved, kept.generation);
        let fell = kept.generation < before;
        fell.then(|| format!("saves generation {} after {}", kept.generation.0, before.0))
    }
}

fn numbers((generation, sequence): (Generation, Sequence)) -> String {
    format!("{}.{}", generation.0, sequence.0)
}

#[cfg(test)]
mod tests {
    use super::super::heard_from_peers::tests::heartbeat;
    use super::*;

    #[test]
    fn numbers_that_fall_are_seen() {
        let mut numbers = NumberWatch::default();
        assert_eq!(
            numbers.check_heartbeat(&heartbeat(1, GroupState::Offline, 0)),
            None
        );
        assert_eq!(
            numbers.check_heartbeat(&heartbeat(2, GroupState::Claiming, 3)),
            None
        );
        assert_eq!(
            numbers.check_heartbeat(&heartbeat(3, GroupState::Claiming, 3)),
            None
        );
        assert!(
            numbers
                .check_heartbeat(&heartbeat(3, GroupState::Offline, 3))
                .is_some()
        );
        assert!(
            numbers
                .check_heartbeat(&heartbeat(4, GroupState::Claiming, 3))
                .is_some()
        );
        let kept = |n| PersistentState {
            generation: Generation(n),
            ..PersistentState::default()
        };
        assert_eq!(numbers.check_saved(&kept(2)), None);
        assert!(numbers.check_saved(&kept(1)).is_some());
        numbers.store_lost();
        assert_eq!(numbers.check_saved(&kept(1)), None);
    }
}
