//! What an administrator's commands do to a group.

use super::Group;
use super::state::LocalState;
use crate::engine::counts_as_load;
use crate::engine::round::Round;
use crate::model::heartbeat::GroupState;

impl Group {
    /// Whether it counts as load: something of it may run here, or it is claimed.
    pub fn is_load(&self) -> bool {
        counts_as_load(self.state())
    }

    /// Gives it up: until told otherwise, or only now.
    pub fn stand_by(&mut self, lasting: bool) {
        let runs_here = self.is_load();
        self.wishes.stand_by(lasting, runs_here);
    }

    pub fn end_standby(&mut self) {
        self.wishes.end_standby();
    }

    /// Takes it over. Where it runs already, nothing is left to wish for.
    pub fn take_over(&mut self, force: bool) {
        self.wishes.end_standby();
        if self.state.is_online() {
            return;
        }
        self.wishes.take_over(force);
        if self.state == LocalState::Failed {
            self.failure = None;
            self.state = LocalState::Offline;
        }
    }

    pub fn end_takeover(&mut self) {
        self.wishes.end_takeover();
    }

    pub fn set_maintenance(&mut self, on: bool) {
        self.wishes.maintenance = on;
    }

    /// Forgets what went wrong here, and probes what is stuck. Says what was forgotten.
    pub fn clear(&mut self, round: &mut Round) -> Vec<String> {
        let mut cleared = Vec::new();
        let mut say = |is: bool, text: &str| cleared.extend(is.then(|| text.to_owned()));
        say(
            self.failure.take().is_some(),
            "its failure here is forgotten",
        );
        say(
            self.doubled.take().is_some(),
            "the note that it ran on two nodes is removed",
        );
        say(
            self.forget_step_health(),
            "failed monitor results and restarts are forgotten",
        );
        match self.state() {
            GroupState::Failed => self.state = LocalState::Offline,
            GroupState::Stuck => {
                self.begin_probe(round);
                say(true, "what runs of it here is probed again");
            }
            _ => {}
        }
        cleared
    }
}
