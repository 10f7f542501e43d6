//! What a machine has heard from its peers, remembered outside of its engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::heartbeat::{GroupState, Heartbeat, Phase};
use crate::model::identity::Instance;
use crate::model::{Generation, GroupName, NodeName, Sequence, Time};

/// The newest heartbeat from each peer, in this life of the daemon.
#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct HeardFromPeers {
    pub began: Time,
    heard: BTreeMap<NodeName, LastHeartbeat>,
    /// Nodes that have left, as others have told.
    goodbyes: BTreeSet<NodeName>,
}

/// The newest heartbeat of one node.
#[derive(Clone, Debug, Default)]
pub(super) struct LastHeartbeat {
    pub at: Time,
    number: (Generation, Sequence),
    /// Which life it was, and whether that takes part.
    instance: Option<Instance>,
    takes_part: bool,
    /// Another machine with this name was heard too. Which of the two a node means is not known here.
    pub has_namesake: bool,
    pub left: bool,
    /// It announced to be away until then.
    pub back_by: Time,
    states: BTreeMap<GroupName, GroupState>,
}

impl LastHeartbeat {
    /// Whether a heartbeat is of another machine with this name: the life that is known has not ended.
    fn is_of_another(&self, now: Time, heartbeat: &Heartbeat, deadtime: Duration) -> bool {
        let identity = heartbeat.identity;
        let known = self.instance.is_some() && identity.instance.is_some();
        let ended = self.left
            || self.back_by > now
            || identity.succeeds == self.instance
            || now >= self.at + deadtime;
        let better = !self.takes_part && heartbeat.phase != Phase::Init;
        known && identity.instance != self.instance && !ended && !better
    }

    pub fn state(&self, group: &GroupName) -> GroupState {
        let state = self.states.get(group).copied();
        state.unwrap_or(GroupState::Unknown)
    }

    /// Whether it reported that nothing of the group runs there.
    pub fn is_down(&self, group: &GroupName) -> bool {
        let down = matches!(self.state(group), GroupState::Offline | GroupState::Failed);
        down || self.left
    }
}

impl HeardFromPeers {
    pub fn start_life(&mut self, now: Time) {
        self.began = now;
        self.heard.clear();
        self.goodbyes.clear();
    }

    /// Whether another node has told that this one had left.
    pub(super) fn was_told_of_goodbye(&self, peer: &NodeName) -> bool {
        self.goodbyes.contains(peer)
    }

    /// `names_us`: it names a heartbeat of this life of ours. Otherwise an announced restart does not count (rule 28).
    pub fn note_heartbeat(
        &mut self,
        now: Time,
        heartbeat: &Heartbeat,
        names_us: bool,
        deadtime: Duration,
    ) {
        let number = (heartbeat.generation, heartbeat.sequence);
        if !self.heard.contains_key(&heartbeat.src) {
            self.heard
                .insert(heartbeat.src.clone(), LastHeartbeat::default());
        }
        let Some(of) = self.heard.get_mut(&heartbeat.src) else {
            return;
        };
        if of.is_of_another(now, heartbeat, deadtime) {
            of.has_namesake = true;
            return;
        }
        let other = of.instance != heartbeat.identity.instance;
        if number <= of.number && !(other && of.instance.is_some()) {
            return;
        }
        let told = heartbeat.left.iter().map(|left| left.node.clone());
        self.goodbyes.extend(told);
        if number.0 > of.number.0 || other {
            of.states.clear();
        }
        let known = other && of.instance.is_some();
        of.has_namesake |= known && heartbeat.identity.succeeds != of.instance;
        of.instance = heartbeat.identity.instance;
        of.takes_part = heartbeat.phase != Phase::Init;
        (of.at, of.number) = (now, number);
        of.left = heartbeat.phase == Phase::Left;
        let away = heartbeat.intent.back_within;
        of.back_by = match away {
            Some(within) if names_us => now + within,
            Some(_) => of.back_by,
            None => Time::ZERO,
        };
        for report in &heartbeat.groups {
            match of.states.get_mut(&report.group) {
                Some(state) => *state = report.state,
                None => {
                    of.states.insert(report.group.clone(), report.state);
                }
            }
        }
    }

    pub(super) fn last_from(&self, peer: &NodeName) -> Option<&LastHeartbeat> {
        self.heard.get(peer)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::Term;
    use crate::model::heartbeat::GroupReport;

    /// A heartbeat of bob about the group db.
    pub fn heartbeat(sequence: u64, state: GroupState, term: u64) -> Heartbeat {
        Heartbeat {
            deadtime: Duration::from_secs(2),
            groups: vec![GroupReport {
                group: GroupName::new("db"),
                state,
                term: Term(term),
                can: true,
                offer: None,
                to: None,
            }],
            ..Heartbeat::new(NodeName::new("bob"), Generation(1), Sequence(sequence))
        }
    }

    #[test]
    fn an_older_word_changes_nothing() {
        let mut heard = HeardFromPeers::default();
        heard.note_heartbeat(
            Time(5),
            &heartbeat(2, GroupState::Online, 1),
            true,
            Duration::from_secs(2),
        );
        heard.note_heartbeat(
            Time(9),
            &heartbeat(1, GroupState::Offline, 1),
            true,
            Duration::from_secs(2),
        );
        let word = heard.last_from(&NodeName::new("bob")).unwrap();
        assert_eq!(word.state(&GroupName::new("db")), GroupState::Online);
        assert_eq!(word.at, Time(5));
    }
}
