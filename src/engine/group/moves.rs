//! Rule 17: a group that has moved three times within a minute stays where it is. No rule should make it move so often, but two
//! rules that disagree, or a check that comes and goes, would.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{NodeName, Time};

/// So many moves ...
const MANY_MOVES: usize = 3;
/// ... within this time are too many.
const WITHIN: Duration = Duration::from_secs(60);

/// The last moves of a group from node to node, as this node has seen them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Moves {
    owner: Option<NodeName>,
    recent: VecDeque<Time>,
}

impl Moves {
    /// This node runs it now.
    pub fn note(&mut self, owner: &NodeName, now: Time) {
        if self.owner.as_ref() == Some(owner) {
            return;
        }
        if self.owner.replace(owner.clone()).is_some() {
            self.recent.push_back(now);
        }
        while self.recent.len() > MANY_MOVES {
            self.recent.pop_front();
        }
    }

    /// Until when it stays where it is.
    pub fn rests_until(&self, now: Time) -> Option<Time> {
        let first = self
            .recent
            .front()
            .filter(|_| self.recent.len() == MANY_MOVES);
        first.map(|at| *at + WITHIN).filter(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_move_within_a_minute_waits() {
        let at = |s: u64| Time::ZERO + Duration::from_secs(s);
        let mut moves = Moves::default();
        for (seconds, node, rests_until) in [
            (0, "alice", None),
            (10, "bob", None),
            (11, "bob", None),
            (20, "alice", None),
            (30, "bob", Some(70)),
            (69, "bob", Some(70)),
            (70, "bob", None),
            (71, "alice", Some(80)),
        ] {
            moves.note(&NodeName::new(node), at(seconds));
            assert_eq!(
                moves.rests_until(at(seconds)),
                rests_until.map(at),
                "{seconds}"
            );
        }
    }
}
