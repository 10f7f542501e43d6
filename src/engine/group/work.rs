//! Work on the steps: how it begins, and what its end makes of the group.

use super::Group;
use super::stack::{ProbeResult, StopOrder, WorkEnd};
use super::state::LocalState;
use crate::engine::Action;
use crate::engine::event::{OrderId, Outcome};
use crate::engine::round::Round;
use crate::model::Time;
use crate::model::decision::{Because, What};

impl Group {
    /// Asks which steps run. Until the answer the group is unknown.
    pub(super) fn begin_probe(&mut self, round: &mut Round) {
        self.state = LocalState::unprobed();
        self.stack.probe(&self.spec, round);
    }

    /// Stops the group. An order that is still out is aborted, and the stop begins when it has ended.
    pub(super) fn begin_stop(&mut self, because: Because, order: StopOrder, round: &mut Round) {
        round.record(&self.spec.name, What::Stop, because.clone());
        let busy = self.stack.is_busy();
        self.state = LocalState::Stopping {
            because,
            waits_to_begin: busy.then_some(order),
            keeps_right: order == StopOrder::Reverse,
            offer: self.state.offer().cloned(),
        };
        if busy {
            round.out.push(Action::Abort(self.spec.name.clone()));
        } else {
            self.stack.stop(order, &self.spec, round);
        }
    }

    /// An order has ended.
    pub fn order_ended(&mut self, now: Time, order: OrderId, outcome: &Outcome, round: &mut Round) {
        if let LocalState::Stopping { waits_to_begin, .. } = &mut self.state
            && let Some(stop_order) = *waits_to_begin
            && self.stack.end_interrupted(order)
        {
            *waits_to_begin = None;
            self.stack.stop(stop_order, &self.spec, round);
            return;
        }
        match self.stack.order_ended(order, outcome, &self.spec, round) {
            WorkEnd::NotYet => {}
            WorkEnd::Probed(result) => self.state = LocalState::probed(result),
            WorkEnd::Up => self.steps_up(round),
            WorkEnd::StartFailed(text) => {
                self.note_failure(now, text.clone());
                self.begin_stop(Because::Agent(text), StopOrder::Reverse, round);
            }
            WorkEnd::Down => self.steps_down(round),
            WorkEnd::StopFailed(text) => {
                self.state = LocalState::Stuck;
                round.record(&self.spec.name, What::Stuck, Because::Agent(text.clone()));
                self.note_failure(now, text);
            }
        }
    }

    /// Every step runs.
    fn steps_up(&mut self, round: &mut Round) {
        let LocalState::Starting {
            restarting,
            stood_still,
            offer,
        } = self.state.clone()
        else {
            return;
        };
        // After a restart in place the wishes that came meanwhile stand.
        if !restarting {
            self.failure = None;
            self.wishes.clear_fulfilled();
            self.reported.blocked_because = None;
            round.save = true;
        }
        if stood_still {
            self.state = LocalState::probed(ProbeResult::AllRun);
        } else {
            self.state = LocalState::Online { offer };
            round.record(&self.spec.name, What::Online, Because::Finished);
        }
    }

    /// Every step is stopped.
    fn steps_down(&mut self, round: &mut Round) {
        let because = match std::mem::replace(&mut self.state, LocalState::Offline) {
            LocalState::Stopping { because, .. } => because,
            _ => Because::Finished,
        };
        self.right.give_up();
        self.reported.contested = false;
        // The failure that led to the stop counts, however long the stop took. An older one was forgotten when the group
        // came up.
        let failed = matches!(because, Because::Agent(_));
        if let Some(failure) = self.failure.as_ref().filter(|_| failed) {
            let text = Because::Agent(failure.text.clone());
            self.state = LocalState::Failed;
            round.record(&self.spec.name, What::Failed, text);
        } else {
            round.record(&self.spec.name, What::Offline, because);
        }
        self.take_definition(round);
    }
}
