//! One round of decisions: its orders, and the terms that may be used in it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::event::OrderId;
use super::{Action, Call};
use crate::model::decision::{Because, Decision, What};
use crate::model::{GroupName, NodeName, Term};

/// Ceilings are saved this many terms ahead, so that a claim need not wait for the disk.
const TERMS_AHEAD: u64 = 16;

/// The orders of one round, and what lasts from round to round beside the groups.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Round {
    pub out: Vec<Action>,
    /// The number of the last order given.
    pub orders: u64,
    /// Terms up to here are on disk.
    pub saved_ceilings: BTreeMap<GroupName, Term>,
    /// Terms up to here are on disk or on their way.
    pub ceilings: BTreeMap<GroupName, Term>,
    /// The persistent state has changed and must be saved.
    pub save: bool,
    /// Groups that we hold or claim.
    pub load: usize,
    /// Nodes that must be fenced before a group can start here.
    #[serde(default)]
    pub to_fence: BTreeSet<NodeName>,
}

impl Round {
    /// Gives an order for a group and returns its number.
    pub fn order(&mut self, group: &GroupName, call: Call) -> OrderId {
        self.orders += 1;
        let order = OrderId(self.orders);
        let group = group.clone();
        self.out.push(Action::Run { group, order, call });
        order
    }

    pub fn record(&mut self, group: &GroupName, what: What, because: Because) {
        self.out
            .push(Action::Record(Decision::group(group, what, because)));
    }

    pub fn record_node(&mut self, what: What, because: Because) {
        self.out.push(Action::Record(Decision::node(what, because)));
    }

    /// Asks for a higher ceiling long before it is reached.
    pub fn keep_ahead(&mut self, group: &GroupName, seen: Term) {
        let ceiling = self.ceilings.get(group).copied().unwrap_or_default();
        if ceiling.0 < seen.0.saturating_add(TERMS_AHEAD / 2) {
            self.ceilings
                .insert(group.clone(), Term(seen.0.saturating_add(TERMS_AHEAD)));
            self.save = true;
        }
    }

    /// Rule 3. Whether a term may be used: a ceiling that covers it is on disk.
    pub fn may_use(&self, group: &GroupName, term: Term) -> bool {
        self.saved_ceilings.get(group).is_some_and(|c| term <= *c)
    }
}
