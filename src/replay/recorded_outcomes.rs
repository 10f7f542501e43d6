//! What came of the orders that were really given, to answer those that would have been given.

use std::collections::BTreeMap;
use std::time::Duration;

use super::player::ReplayEvent;
use crate::engine::{Action, Call, Event, OrderId, Outcome};
use crate::model::{GroupName, Time};

/// How long an order is taken to last that was never given.
const USUAL: Duration = Duration::from_millis(1);

/// What is ordered, but for its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum OrderKey {
    Run(GroupName, Call),
    Save(u64),
}

/// An order that was given.
#[derive(Clone, Debug)]
struct RecordedOrder {
    at: Time,
    /// How long it took and what came of it; none where the recording ends before.
    end: Option<(Duration, Outcome)>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordedOutcomes {
    given: BTreeMap<OrderKey, Vec<RecordedOrder>>,
    open: BTreeMap<OrderId, OrderKey>,
}

/// What will come of an order that would have been given.
pub(super) struct ExpectedOutcome {
    pub after: Duration,
    pub outcome: Outcome,
    /// Nothing like it was ever ordered: that it succeeds is only supposed.
    pub supposed: bool,
}

impl RecordedOutcomes {
    /// Takes in what was.
    pub fn note(&mut self, at: Time, seen: &ReplayEvent) {
        match seen {
            ReplayEvent::Ordered(Action::Run { group, order, call }) => {
                let what = OrderKey::Run(group.clone(), *call);
                self.open.insert(*order, what.clone());
                self.give(what, at);
            }
            ReplayEvent::Ordered(Action::Save { version, .. }) => {
                self.give(OrderKey::Save(*version), at);
            }
            ReplayEvent::Input(Event::Done { order, outcome, .. }) => {
                if let Some(what) = self.open.remove(order) {
                    self.end(&what, at, outcome.clone());
                }
            }
            ReplayEvent::Input(Event::Saved { version }) => {
                self.end(&OrderKey::Save(*version), at, Outcome::Succeeded);
            }
            _ => {}
        }
    }

    fn give(&mut self, what: OrderKey, at: Time) {
        let given = RecordedOrder { at, end: None };
        self.given.entry(what).or_default().push(given);
    }

    fn end(&mut self, what: &OrderKey, at: Time, outcome: Outcome) {
        let last = self.given.get_mut(what).and_then(|all| all.last_mut());
        if let Some(given) = last.filter(|given| given.end.is_none()) {
            given.end = Some((at.since(given.at), outcome));
        }
    }

    /// What comes of a call, as it did the time nearest to this; none where that never ended.
    pub fn to_run(
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
        self.to(at, &OrderKey::Run(group.clone(), call), supposed)
    }

    /// The same for an order to save.
    pub fn to_save(&self, at: Time, version: u64) -> Option<Duration> {
        let answer = self.to(at, &OrderKey::Save(version), || Outcome::Succeeded);
        answer.map(|answer| answer.after)
    }

    fn to(
        &self,
        at: Time,
        what: &OrderKey,
        supposed: impl Fn() -> Outcome,
    ) -> Option<ExpectedOutcome> {
        let all = self.given.get(what).into_iter().flatten();
        let nearest = all.min_by_key(|given| at.since(given.at).max(given.at.since(at)));
        let Some(given) = nearest else {
            return Some(ExpectedOutcome {
                after: USUAL,
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
