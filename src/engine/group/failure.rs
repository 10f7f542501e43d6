//! Rule 14: a group that failed on this node is not started here before the failure is cleared or has expired.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Group;
use super::state::LocalState;
use crate::engine::placement::choose_node;
use crate::engine::round::Round;
use crate::engine::view::View;
use crate::model::Time;
use crate::model::decision::{Because, What};

/// A group that no other node can run is tried again this long after its first failure. The pause doubles each time.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// A failure is forgotten after this, and no pause is longer, where no `monitor` says otherwise.
const FAILURE_EXPIRES: Duration = Duration::from_secs(600);

/// The last failure of a group on this node. It outlives the state, for the next one counts on from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct GroupFailure {
    pub text: String,
    /// How many there were since the group last came up.
    count: u32,
    /// When it is tried again here, if no other node can run it.
    pub(super) retry_at: Time,
    pub expires_at: Time,
}

impl Group {
    /// Notes a failure. Each one in a row doubles the pause before the next try.
    pub(super) fn note_failure(&mut self, now: Time, text: String) {
        let before = self.failure.as_ref().map_or(0, |f| f.count);
        let pause = FIRST_RETRY * 2u32.saturating_pow(before.min(10));
        let expires = self.failures_expire().unwrap_or(FAILURE_EXPIRES);
        self.failure = Some(GroupFailure {
            text,
            count: before.saturating_add(1),
            retry_at: now + pause.min(expires),
            expires_at: now + expires,
        });
        self.wishes.wanted = false;
    }

    /// When it is tried again here although it failed, because no other node can run it.
    pub fn retried_at(&self, view: &View, round: &Round) -> Option<Time> {
        let failure = self.failure.as_ref()?;
        let held = view.living().any(|p| p.holds(&self.spec.name));
        let alone = !held && choose_node(&self.candidates(view, round)).is_err();
        alone.then(|| failure.retry_at.min(failure.expires_at))
    }

    /// Failed: is the failure over, or must it be tried again because nobody else can run it?
    pub(super) fn decide_failed(&mut self, now: Time, view: &View, round: &mut Round) {
        let Some(failure) = &self.failure else {
            self.state = LocalState::Offline;
            return;
        };
        let retried = self.retried_at(view, round);
        if now >= failure.expires_at || retried.is_some_and(|at| now >= at) {
            let because = if now >= failure.expires_at {
                Because::Expired
            } else {
                Because::NobodyElse
            };
            round.record(&self.spec.name, What::FailureExpired, because);
            self.state = LocalState::Offline;
            self.decide_offline(now, view, round);
        }
    }
}
