//! Rule 21: monitoring of what runs. A step that has failed is restarted in place while its budget lasts; then the group
//! has failed here and moves.
//!
//! A restart in place stops the step and all after it, and starts them again. Meanwhile the group counts as starting: it
//! keeps its right, gives way to a better one, and is not handed over before it is up.

use serde::{Deserialize, Serialize};

use super::Group;
use super::stack::StopOrder;
use super::state::LocalState;
use crate::engine::Action;
use crate::engine::round::Round;
use crate::engine::view::View;
use crate::model::Time;
use crate::model::cluster::Step;
use crate::model::decision::{Because, What};
use crate::model::health::Policy;
use crate::model::status::WatchStatus;
use crate::text::duration_for_people;

/// The monitoring of one step.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::engine) struct StepHealth {
    /// Failed results that are not forgotten yet.
    pub failing: u32,
    /// Good results in a row since.
    passing: u32,
    last: Option<MonitorResult>,
    /// The times of its restarts in place, oldest first.
    restarts: Vec<Time>,
}

/// The last result.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct MonitorResult {
    at: Time,
    /// Since when the result has been the same.
    since: Time,
    error: Option<String>,
}

impl StepHealth {
    /// Takes a result in. Whether the step has failed by now: enough results were bad in a row.
    fn take_result(&mut self, now: Time, error: Option<String>, policy: &Policy) -> bool {
        let same = |l: &&MonitorResult| l.error.is_some() == error.is_some();
        let since = self.last.as_ref().filter(same).map_or(now, |l| l.since);
        let failed = error.is_some();
        self.last = Some(MonitorResult {
            at: now,
            since,
            error,
        });
        if failed {
            self.passing = 0;
            self.failing = self.failing.saturating_add(1);
        } else {
            self.passing = self.passing.saturating_add(1);
            if self.passing >= policy.rise {
                self.failing = 0;
            }
        }
        failed && self.failing >= policy.fall
    }

    /// How many restarts still count.
    fn restarts_within(&self, now: Time, policy: &Policy) -> u32 {
        let recent = self.restarts.iter();
        let recent = recent.filter(|at| now < **at + policy.within);
        u32::try_from(recent.count()).unwrap_or(u32::MAX)
    }

    /// Spends one restart of the budget. Returns its number, or none when the budget is spent.
    fn spend_restart(&mut self, now: Time, policy: &Policy) -> Option<u32> {
        self.restarts.retain(|at| now < *at + policy.within);
        let spent = self.restarts_within(now, policy);
        if spent >= policy.restart {
            return None;
        }
        self.restarts.push(now);
        (self.failing, self.passing) = (0, 0);
        Some(spent.saturating_add(1))
    }

    /// Forgets all results and restarts. Whether there was something to forget.
    fn forget_all(&mut self) -> bool {
        let any = self.failing > 0 || !self.restarts.is_empty();
        *self = StepHealth::default();
        any
    }

    pub fn status(&self, now: Time, policy: &Policy) -> WatchStatus {
        let last = self.last.as_ref();
        let oldest = self.restarts.iter().find(|at| now < **at + policy.within);
        WatchStatus {
            looked: last.map(|l| now.since(l.at)),
            lasts: last.map(|l| now.since(l.since)),
            error: last.and_then(|l| l.error.clone()),
            failing: self.failing,
            fall: policy.fall,
            restarts: self.restarts_within(now, policy),
            budget: policy.restart,
            forgotten_in: oldest.map(|at| (*at + policy.within).since(now)),
        }
    }
}

impl Group {
    /// Tells the runtime whether to monitor what runs: never while something is done to it, nor in maintenance.
    pub(super) fn watch_health(&mut self, view: &View, round: &mut Round) {
        let monitored = self.spec.steps.iter().any(|s| s.policy.is_some());
        let on = monitored
            && self.state.is_online()
            && !self.stack.is_busy()
            && !self.in_maintenance(view);
        if on != self.reported.monitored {
            self.reported.monitored = on;
            let group = self.spec.name.clone();
            round.out.push(Action::Monitor { group, on });
        }
    }

    /// A running step was monitored.
    pub fn take_monitor_result(
        &mut self,
        now: Time,
        step: usize,
        result: Result<(), String>,
        round: &mut Round,
    ) {
        let spec = self.spec.steps.get(step).cloned();
        let Some((spec, policy)) = spec.and_then(|s| s.policy.map(|p| (s, p))) else {
            return;
        };
        // A monitor that was under way when we began to act on the group says nothing about the present. Nor does a second
        // result that has arrived together with one that made us act.
        let acts = !self.state.is_online() || self.stack.is_busy();
        let monitored = self.reported.monitored && !acts;
        let Some(known) = self.stack.steps.get_mut(step).filter(|_| monitored) else {
            return;
        };
        let before = known.health.failing;
        let error = result.err();
        if known.health.take_result(now, error.clone(), &policy) {
            let text = error.unwrap_or_default();
            return self.step_failed(now, step, text, round);
        }
        let failing = known.health.failing;
        if let Some(text) = error.filter(|_| before == 0) {
            let what = What::LookFailed {
                resource: step_name(&spec),
                failing,
                fall: policy.fall,
            };
            round.record(&self.spec.name, what, Because::Agent(text));
        }
    }

    /// A running resource was found down.
    pub fn resource_lost(
        &mut self,
        now: Time,
        step: usize,
        text: String,
        view: &View,
        round: &mut Round,
    ) {
        // A step that is up may be lost while those after it are still being started.
        let up = matches!(
            self.state,
            LocalState::Online { .. } | LocalState::Starting { .. }
        );
        if up && !self.in_maintenance(view) {
            self.step_failed(now, step, text, round);
        }
    }

    /// A step has certainly failed.
    fn step_failed(&mut self, now: Time, step: usize, text: String, round: &mut Round) {
        self.stack.mark_lost(step, &text);
        if let Some(what) = self.spend_restart(now, step) {
            round.record(&self.spec.name, what, Because::Agent(text));
            self.state = LocalState::Starting {
                restarting: true,
                stood_still: false,
                offer: self.offer().cloned(),
            };
            self.stack.restart(step, &self.spec, round);
            return;
        }
        let text = match self.spent_budget(now, step) {
            Some(spent) => format!("{text}; {spent}"),
            None => text,
        };
        self.note_failure(now, text.clone());
        self.begin_stop(Because::Agent(text), StopOrder::Reverse, round);
    }

    /// That a step was restarted in place as often as it may be.
    fn spent_budget(&self, now: Time, step: usize) -> Option<String> {
        let policy = self.spec.steps.get(step)?.policy?;
        let restarts = self
            .stack
            .steps
            .get(step)?
            .health
            .restarts_within(now, &policy);
        (restarts > 0).then(|| {
            format!(
                "its restarts are used up ({restarts} of {} within {})",
                policy.restart,
                duration_for_people(policy.within)
            )
        })
    }

    /// Spends a restart in place on a step, if that is possible and allowed.
    fn spend_restart(&mut self, now: Time, step: usize) -> Option<What> {
        if !self.state.is_online() || self.stack.is_busy() {
            return None;
        }
        let spec = self.spec.steps.get(step)?;
        let policy = spec.policy?;
        let resource = step_name(spec);
        let count = self
            .stack
            .steps
            .get_mut(step)?
            .health
            .spend_restart(now, &policy)?;
        Some(What::Restart {
            resource,
            count,
            of: policy.restart,
            within: policy.within,
        })
    }

    /// Forgets failed results and restarts. Whether there were any.
    pub(super) fn forget_step_health(&mut self) -> bool {
        let steps = self.stack.steps.iter_mut();
        let known = steps.filter_map(|s| s.health.forget_all().then_some(()));
        known.count() > 0
    }

    /// When a failure here is forgotten: after the longest `within` of its monitors, if it has any.
    pub(super) fn failures_expire(&self) -> Option<std::time::Duration> {
        let policies = self.spec.steps.iter().filter_map(|s| s.policy);
        policies.map(|p| p.within).max()
    }
}

fn step_name(step: &Step) -> String {
    step.members.join(" ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const POLICY: Policy = Policy {
        fall: 2,
        rise: 2,
        restart: 2,
        within: Duration::from_secs(60),
    };

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn failed_looks_are_believed_and_forgotten() {
        for (policy, looks, wanted) in [
            (POLICY, "--", ".x"),
            (POLICY, "-+-", "..x"), // one good look between is not enough
            (POLICY, "-++-", "...."),
            (Policy { rise: 1, ..POLICY }, "-+-+--", ".....x"),
            (Policy { fall: 1, ..POLICY }, "+-", ".x"),
        ] {
            let mut health = StepHealth::default();
            let look = |c: char| {
                let error = (c == '-').then(|| "ill".to_owned());
                let believed = health.take_result(at(1), error, &policy);
                if believed { 'x' } else { '.' }
            };
            assert_eq!(
                looks.chars().map(look).collect::<String>(),
                wanted,
                "{looks}"
            );
        }
    }

    #[test]
    fn restarts_are_counted_within_their_window() {
        let mut health = StepHealth::default();
        assert_eq!(health.spend_restart(at(0), &POLICY), Some(1));
        assert_eq!(health.spend_restart(at(50), &POLICY), Some(2));
        assert_eq!(health.spend_restart(at(59), &POLICY), None);
        assert_eq!(
            health.spend_restart(at(60), &POLICY),
            Some(2),
            "the first has expired"
        );
        assert_eq!(health.spend_restart(at(61), &POLICY), None);
        assert_eq!(
            health.status(at(61), &POLICY).forgotten_in,
            Some(Duration::from_secs(49))
        );
    }
}
