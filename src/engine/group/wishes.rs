//! Rule 18: what administrators want of a group on this node.

use serde::{Deserialize, Serialize};

/// The wishes that are not fulfilled yet, or that last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct Wishes {
    /// The group must not run here, until told otherwise.
    pub standby: bool,
    /// The group was given away on request: this node takes it only when no other can.
    pub yielding: bool,
    /// This node shall take the group over.
    pub wanted: bool,
    /// It shall do so also against an address that still answers and against a dead node that may still run it.
    pub forced: bool,
    /// Nobody starts, stops or moves the group.
    pub maintenance: bool,
}

impl Wishes {
    /// Gives the group up; for good, or only now if it runs here.
    pub(super) fn stand_by(&mut self, lasting: bool, runs_here: bool) {
        self.standby |= lasting;
        self.yielding |= !lasting && runs_here;
        self.wanted = false;
    }

    pub(super) fn end_standby(&mut self) {
        self.standby = false;
        self.yielding = false;
    }

    pub(super) fn take_over(&mut self, force: bool) {
        self.wanted = true;
        self.forced |= force;
    }

    pub(super) fn end_takeover(&mut self) {
        self.wanted = false;
        self.forced = false;
    }

    /// The group came up here: nothing is left to wish for.
    pub(super) fn clear_fulfilled(&mut self) {
        self.end_takeover();
        self.yielding = false;
    }
}
