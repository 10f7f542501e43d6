//! What has already been said about a group, so that it is said once.

use serde::{Deserialize, Serialize};

use super::Group;
use crate::engine::round::Round;
use crate::engine::view::View;
use crate::model::decision::{Because, What};
use crate::model::heartbeat::GroupState;
use crate::model::{NodeName, Time};

/// What the log, the neighbours and the runtime have heard last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Reported {
    /// Why the group is not started.
    pub blocked_because: Option<Because>,
    /// Why the group stays here although it should leave.
    pub runs_on: Option<Because>,
    /// The preferred node is not ready to take the group back.
    pub failback_waits: bool,
    /// Another node held the group when the addresses were announced.
    pub contested: bool,
    /// The other node that is known to run it.
    #[serde(default)]
    pub runs_at: Option<NodeName>,
    /// The runtime monitors the steps.
    pub monitored: bool,
}

impl Group {
    /// Says why the group is not started, once for each reason.
    pub(super) fn report_blocked(&mut self, because: Because, round: &mut Round) {
        let before = self.reported.blocked_because.as_ref();
        if before != Some(&because) {
            if !before.is_some_and(|b| differ_in_numbers_only(b, &because)) {
                round.record(&self.spec.name, What::Held, because.clone());
            }
            self.reported.blocked_because = Some(because);
        }
    }

    /// Says which other node runs it, once, so that the story of a group does not end with its last time here.
    pub(super) fn report_owner(&mut self, now: Time, view: &View, round: &mut Round) {
        let online = |p: &&crate::engine::Peer| p.state(&self.spec.name) == GroupState::Online;
        let owner = view.living().find(online).map(|p| &p.name);
        let here = self.state.is_online().then(|| view.me());
        if let Some(owner) = here.or(owner) {
            self.moves.note(owner, now);
        }
        if self.state().holds() {
            self.reported.runs_at = None;
        } else if let Some(owner) = owner
            && self.reported.runs_at.as_ref() != Some(owner)
        {
            let what = What::RunsAt(owner.clone());
            round.record(&self.spec.name, what, Because::SaidSo);
            self.reported.runs_at = Some(owner.clone());
        }
    }

    /// Says why the group stays on a node that it should leave, once for each reason.
    pub(super) fn report_runs_on(&mut self, because: Because, round: &mut Round) {
        let before = self.reported.runs_on.as_ref();
        if before != Some(&because) {
            if !before.is_some_and(|b| differ_in_numbers_only(b, &because)) {
                round.record(&self.spec.name, What::RunsOn, because.clone());
            }
            self.reported.runs_on = Some(because);
        }
    }
}

/// Such as how far a replica is behind: status shows the newest, and the journal is not filled with them.
fn differ_in_numbers_only(a: &Because, b: &Because) -> bool {
    let words = |because: &Because| {
        let text = because.to_string();
        text.replace(|c: char| c.is_ascii_digit(), "")
    };
    words(a) == words(b)
}
