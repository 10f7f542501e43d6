//! 6. Neither a generation nor a term goes down.
//!
//! Promised under every fault but the loss of the store: what a node said before that, it cannot remember (its peers
//! tell it). Numbers of heartbeats grow within and over the lives of a daemon, each new claim has a greater term than
//! the last claim of that node, and what is brought to disk never falls.

use std::collections::BTreeMap;

use crate::engine::PersistentState;
use crate::model::heartbeat::{GroupState, Heartbeat};
use crate::model::{Generation, GroupName, Sequence, Term};

/// The greatest numbers of one machine.
#[derive(Clone, Debug, Default)]
pub(super) struct NumberWatch {
    said: (Generation, Sequence),
    saved: Generation,
    claimed: BTreeMap<GroupName, Term>,
    /// What it said last of each group, in this life.
    states: BTreeMap<GroupName, GroupState>,
}

impl NumberWatch {
    pub fn begin(&mut self) {
        self.states.clear();
    }

    pub fn forgive(&mut self) {
        *self = NumberWatch::default();
    }

    /// What is wrong with a heartbeat.
    pub fn say(&mut self, heartbeat: &Heartbeat) -> Option<String> {
        let number = (heartbeat.generation, heartbeat.sequence);
        let fell = number <= self.said;
        let mut wrong = fell.then(|| format!("said {number:?} after {:?}", self.said));
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
                    wrong = Some(format!("claims {group} with {term:?} after {last:?}"));
                }
            }
        }
        wrong
    }

    /// What is wrong with what is kept.
    pub fn save(&mut self, kept: &PersistentState) -> Option<String> {
        let before = std::mem::replace(&mut self.saved, kept.generation);
        let fell = kept.generation < before;
        fell.then(|| format!("keeps {:?} after {before:?}", kept.generation))
    }
}

#[cfg(test)]
mod tests {
    use super::super::heard_from_peers::tests::heartbeat;
    use super::*;

    #[test]
    fn numbers_that_fall_are_seen() {
        let mut numbers = NumberWatch::default();
        assert_eq!(numbers.say(&heartbeat(1, GroupState::Offline, 0)), None);
        assert_eq!(numbers.say(&heartbeat(2, GroupState::Claiming, 3)), None);
        assert_eq!(numbers.say(&heartbeat(3, GroupState::Claiming, 3)), None);
        assert!(numbers.say(&heartbeat(3, GroupState::Offline, 3)).is_some());
        assert!(
            numbers
                .say(&heartbeat(4, GroupState::Claiming, 3))
                .is_some()
        );
        let kept = |n| PersistentState {
            generation: Generation(n),
            ..PersistentState::default()
        };
        assert_eq!(numbers.save(&kept(2)), None);
        assert!(numbers.save(&kept(1)).is_some());
        numbers.forgive();
        assert_eq!(numbers.save(&kept(1)), None);
    }
}
