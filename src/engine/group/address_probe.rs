//! Rule 10: the question on the wire whether somebody still answers for the addresses of a group. It is asked while a
//! peer is out of sight, because that peer may still run the group.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Group;
use super::state::LocalState;
use crate::engine::Action;
use crate::engine::foreign::AddressAnswer;
use crate::engine::round::Round;
use crate::engine::view::View;
use crate::model::Time;
use crate::model::cluster::Timing;
use crate::model::decision::Because;
use crate::model::status::Liveness;

/// After this long without an answer and without silence the probe itself cannot work here, for instance because the
/// interface has no carrier. A round for a thousand addresses takes less than a second.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);
/// At a cold start a first round is waited for this long.
const FIRST_ROUND: Duration = Duration::from_millis(150);
/// An answer of a foreign machine counts for this long at a cold start ...
const ANSWER_LASTS: Duration = Duration::from_secs(1);
/// ... and holds the group for this long at most, or for deadtime if that is longer.
const FOREIGN_HOLD: Duration = Duration::from_secs(10);
/// This many rounds in a row must stay unanswered.
const SILENT_ROUNDS_NEEDED: u32 = 2;

/// Rounds are this far apart where there is time ...
const LONGEST_ROUND: Duration = Duration::from_millis(50);
/// ... and never closer than this. A kernel answers within a millisecond.
const SHORTEST_ROUND: Duration = Duration::from_millis(10);

/// The time from round to round: the rounds that are needed fit between the moment when a peer is late and its death.
fn round_interval(timing: &Timing) -> Duration {
    let time = timing.deadtime.saturating_sub(timing.warntime);
    (time / SILENT_ROUNDS_NEEDED).clamp(SHORTEST_ROUND, LONGEST_ROUND)
}

/// What the probe has found so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct AddressProbe {
    on: bool,
    /// Since when it is on.
    since: Time,
    /// The last answer: when it came, and from whom.
    answered: Option<(Time, AddressAnswer)>,
    silent_rounds: u32,
}

impl AddressProbe {
    /// A new claim needs silence of its own, unless the probe has been on since before.
    pub fn begin_claim(&mut self) {
        if !self.on {
            self.silent_rounds = 0;
        }
    }

    /// Whether it has had neither an answer nor silence for too long.
    pub fn gave_up(&self, now: Time) -> bool {
        self.on && now >= self.gives_up_at()
    }

    fn gives_up_at(&self) -> Time {
        self.since + PROBE_PATIENCE
    }

    fn foreign_hold_ends(&self, view: &View) -> Time {
        self.since + FOREIGN_HOLD.max(view.cluster.timing.deadtime)
    }

    fn take_answer(&mut self, now: Time, who: AddressAnswer) {
        self.answered = Some((now, who));
        self.silent_rounds = 0;
    }

    /// Silence counts only if the round was sent after the last answer.
    fn take_silence(&mut self, sent: Time) {
        if self.answered.as_ref().is_none_or(|(at, _)| *at < sent) {
            self.silent_rounds = self.silent_rounds.saturating_add(1);
        }
    }
}

impl Group {
    /// Why the group cannot be started: while a peer is out of sight, nobody may answer for the addresses any more.
    pub(super) fn probe_objection(&self, now: Time, view: &View) -> Option<Because> {
        if self.wishes.forced || !self.has_addresses() {
            return None;
        }
        if !out_of_sight(now, view) {
            return self.foreign_objection(now, view);
        }
        if self.address_probe.silent_rounds >= SILENT_ROUNDS_NEEDED {
            return None;
        }
        match &self.address_probe.answered {
            Some((_, answer)) => Some(answer.objection()),
            None => Some(Because::ProbeRuns),
        }
    }

    /// Rule 33. At a cold start, next to nobody out of sight: a machine that is no node may have an address.
    fn foreign_objection(&self, now: Time, view: &View) -> Option<Because> {
        let probe = &self.address_probe;
        if self.was_held || !probe.on {
            return None;
        }
        match &probe.answered {
            Some((at, answer)) if answer.is_foreign() && now < *at + ANSWER_LASTS => {
                (now < probe.foreign_hold_ends(view)).then(|| answer.objection())
            }
            None if probe.silent_rounds == 0 && now < probe.since + FIRST_ROUND => {
                Some(Because::ProbeRuns)
            }
            _ => None,
        }
    }

    /// The times at which the probe must be judged again without an event.
    pub(super) fn add_probe_deadlines(&self, view: &View, due: &mut Vec<Time>) {
        let probe = &self.address_probe;
        due.extend([probe.gives_up_at(), probe.since + FIRST_ROUND]);
        due.push(probe.foreign_hold_ends(view));
        due.extend(probe.answered.iter().map(|(at, _)| *at + ANSWER_LASTS));
    }

    /// Notes that some node has it, so that its next start is no cold start.
    pub(super) fn note_holder(&mut self, view: &View) {
        self.was_held |= self.state().holds() || view.living().any(|p| p.holds(&self.spec.name));
    }

    /// Turns the probe on or off. It already runs while a peer that may have the group is late: so the answer is usually
    /// there when deadtime ends.
    pub(super) fn watch_addresses(&mut self, now: Time, view: &View, round: &mut Round) {
        let name = &self.spec.name;
        let late = view.peers.iter().any(|p| {
            let recognised = self.recognised.as_ref();
            p.liveness == Liveness::Late
                && (p.holds(name) || recognised.is_some_and(|r| r.node == p.name))
        });
        let wanted = match self.state {
            LocalState::Offline | LocalState::Failed => late,
            LocalState::Claiming => !self.was_held || out_of_sight(now, view),
            _ => false,
        };
        let on = wanted && self.has_addresses() && !view.leaving;
        if on != self.address_probe.on {
            self.address_probe = AddressProbe {
                on,
                since: now,
                ..AddressProbe::default()
            };
            let group = name.clone();
            let every = on.then(|| round_interval(&view.cluster.timing));
            round.out.push(Action::WatchAddresses { group, every });
        }
    }

    /// Somebody answered for an address.
    pub fn address_answered(&mut self, now: Time, who: AddressAnswer) {
        self.address_probe.take_answer(now, who);
    }

    /// A round that was sent at this time stayed without an answer.
    pub fn address_silent(&mut self, sent: Time) {
        self.address_probe.take_silence(sent);
    }
}

/// Whether a node is dead, or left so long ago that it may be back without our hearing it.
fn out_of_sight(now: Time, view: &View) -> bool {
    let deadtime = view.cluster.timing.deadtime;
    view.peer_nodes().any(|p| match p.liveness {
        Liveness::Dead => true,
        Liveness::Left => now >= p.last_heard + deadtime,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rounds_fit_between_late_and_dead() {
        let ms = Duration::from_millis;
        for (keepalive, deadtime, every) in [(1000, 10_000, 50), (50, 200, 50), (20, 100, 25)] {
            let timing = Timing::usual(ms(keepalive), ms(deadtime));
            assert_eq!(round_interval(&timing), ms(every), "{deadtime}");
            assert!(timing.warntime + round_interval(&timing) * 2 <= timing.deadtime);
        }
        let shortest = Timing::usual(ms(5), ms(20));
        assert_eq!(round_interval(&shortest), ms(10));
    }
}
