//! What has already been said about a group, so that it is said once.

use serde::{Deserialize, Serialize};

use super::Group;
use crate::engine::round::Round;
use crate::model::decision::{Because, What};

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
    /// The runtime monitors the steps.
    pub monitored: bool,
}

impl Group {
    /// Says why the group is not started, once for each reason.
    pub(super) fn report_blocked(&mut self, because: Because, round: &mut Round) {
        if self.reported.blocked_because.as_ref() != Some(&because) {
            round.record(&self.spec.name, What::Held, because.clone());
            self.reported.blocked_because = Some(because);
        }
    }

    /// Says why the group stays on a node that it should leave, once for each reason.
    pub(super) fn report_runs_on(&mut self, because: Because, round: &mut Round) {
        if self.reported.runs_on.as_ref() != Some(&because) {
            round.record(&self.spec.name, What::RunsOn, because.clone());
            self.reported.runs_on = Some(because);
        }
    }
}
