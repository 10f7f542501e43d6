//! The outcomes of recorded actions, for the actions of the engine with other settings.

use std::collections::BTreeMap;
use std::time::Duration;

use super::player::ReplayEvent;
use crate::engine::{Action, Call, Event, OrderId, Outcome};
use crate::model::{GroupName, Time};

/// How long an action is assumed to take that was never recorded.
const ASSUMED_DURATION: Duration = Duration::from_millis(1);

/// An action without its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum OrderKey {
    Run(GroupName, Call),
    Save(u64),
}

/// A recorded action.
#[derive(Clone, Debug)]
struct RecordedOrder {
    at: Time,
    /// How long it took and its outcome; none if the recording ends before.
    end: Option<(Duration, Outcome)>,
}

/// All recorded actions and their outcomes.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordedOutcomes {
    given: BTreeMap<OrderKey, Vec<RecordedOrder>>,
    open: BTreeMap<OrderId, OrderKey>,
}

/// The expected outcome of an action.
pub(super) struct ExpectedOutcome {
    pub after: Duration,
    pub outcome: Outcome,
    /// The recording has no such action: the outcome is only assumed.
    pub supposed: bool,
}

impl RecordedOutcomes {
    /// Notes an event of the recording.
    pub fn note(&mut self, at: Time, seen: &ReplayEvent) {
        match seen {
            ReplayEvent::Ordered(Action::Run { group, order, call }) => {
                let what = OrderKey::Run(group.clone(), *call);
                self.open.insert(*order, what.clone());
                self.add_action(what, at);
            }
            ReplayEvent::Ordered(Action::Save { version, .. }) => {
                self.add_action(OrderKey::Save(*version), at);
            }
            ReplayEvent::Input(Event::Done { order, outcome, .. }) => {
                if let Some(what) = self.open.remove(order) {
                    self.add_outcome(&what, at, outcome.clone());
                }
            }
            ReplayEvent::Input(Event::Saved { version }) => {
                self.add_outcome(&OrderKey::Save(*version), at, Outcome::Succeeded);
            }
            _ => {}
        }
    }

    fn add_action(&mut self, what: OrderKey, at: Time) {
        let given = RecordedOrder { at, end: None };
        self.given.entry(what).or_default().push(given);
    }

    fn add_outcome(&mut self, what: &OrderKey, at: Time, outcome: Outcome) {
        let last = self.given.get_mut(what).and_then(|all| all.last_mut());
        if let Some(given) = last.filter(|given| given.end.is_none()) {
            given.end = Some((at.since(given.at), outcome));
        }
    }

    /// The outcome of an agent call, as of the same call at the nearest time; none if that one never ended.
    pub fn of_call(
        &self,
        at: Time,
        group: &GroupName,
        call: Call,
        steps: usize,
    ) -> Option<ExpectedOutcome> {
        let supposed = || match call {
            Call::Probe => Outcome::Seen(vec![Some(false); steps]),
            Call::Start(_) | Call::Stop(_) => Outcome::Succeeded,
        };
        self.nearest(at, &OrderKey::Run(group.clone(), call), supposed)
    }

    /// How long a save takes.
    pub fn of_save(&self, at: Time, version: u64) -> Option<Duration> {
        let answer = self.nearest(at, &OrderKey::Save(version), || Outcome::Succeeded);
        answer.map(|answer| answer.after)
    }

    fn nearest(
        &self,
        at: Time,
        what: &OrderKey,
        supposed: impl Fn() -> Outcome,
    ) -> Option<ExpectedOutcome> {
        let all = self.given.get(what).into_iter().flatten();
        let nearest = all.min_by_key(|given| at.since(given.at).max(given.at.since(at)));
        let Some(given) = nearest else {
            return Some(ExpectedOutcome {
                after: ASSUMED_DURATION,
                outcome: supposed(),
                supposed: true,
            });
        };
        let (after, outcome) = given.end.clone()?;
        Some(ExpectedOutcome {
            after,
            outcome,
            supposed: false,
        })
    }
}
