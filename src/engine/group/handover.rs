//! Rule 7: a group that runs moves only by its owner's offer. The target answers with a claim, the owner stops the
//! group, and the target starts it. This file is the owner's part.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Group;
use super::stack::StopOrder;
use super::state::LocalState;
use crate::engine::placement::{Candidate, choose_node};
use crate::engine::round::Round;
use crate::engine::view::View;
use crate::model::cluster::{Cluster, Timing};
use crate::model::decision::{Because, What};
use crate::model::heartbeat::GroupState;
use crate::model::{NodeName, Time};

/// To whom the group is offered, why, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct Offer {
    pub to: NodeName,
    pub because: Because,
    since: Time,
}

impl Offer {
    /// How long a node that leaves waits for a claim on what it offers.
    pub(super) fn expires_at(&self, timing: &Timing) -> Time {
        self.since + timing.keepalive * 2 + Duration::from_secs(1)
    }
}

/// Since when, without a break, the group would be better off elsewhere.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct HandoverTimers {
    /// The preferred node could have it back.
    preferred_ready: Option<Time>,
    /// Another node reaches more ping nodes.
    better_connected: Option<Time>,
}

impl HandoverTimers {
    /// When these times have lasted long enough.
    pub fn settled_at(&self, cluster: &Cluster) -> impl Iterator<Item = Time> {
        let preferred = self.preferred_ready.map(|at| at + cluster.failback_delay);
        let better = self
            .better_connected
            .map(|at| at + connectivity_delay(&cluster.timing));
        preferred.into_iter().chain(better)
    }
}

/// A node that reaches more ping nodes must have done so for this long.
fn connectivity_delay(timing: &Timing) -> Duration {
    timing.keepalive * 2
}

/// A reason to give the group away, and the node that should get it, if any can.
type Move = (Option<NodeName>, Because);

impl Group {
    /// Online: shall another node have it?
    pub(super) fn decide_handover(&mut self, now: Time, view: &View, round: &mut Round) {
        let others = self.other_candidates(view, round);
        let wanted = self.wanted_move(now, view, &others, round);
        match (self.offer().cloned(), wanted) {
            (Some(offer), wanted) => {
                let target = others.iter().find(|c| c.name == offer.to);
                let cannot = target.and_then(|c| c.ineligible.clone());
                self.follow_offer(&offer, wanted, cannot, now, view, round);
            }
            (None, Some((Some(to), because))) => self.make_offer(to, because, now, round),
            (None, Some((None, because))) if view.leaving => {
                self.begin_stop(because, StopOrder::Reverse, round);
            }
            (None, _) => {}
        }
    }

    fn make_offer(&mut self, to: NodeName, because: Because, now: Time, round: &mut Round) {
        round.record(&self.spec.name, What::Offer(to.clone()), because.clone());
        let offer = Offer {
            to,
            because,
            since: now,
        };
        self.state = LocalState::Online { offer: Some(offer) };
    }

    /// An offer is out: stop when the target claims, take the offer back when nothing speaks for it any more.
    fn follow_offer(
        &mut self,
        offer: &Offer,
        wanted: Option<Move>,
        cannot: Option<String>,
        now: Time,
        view: &View,
        round: &mut Round,
    ) {
        let claims = view
            .peer(&offer.to)
            .is_some_and(|p| p.is_living() && p.state(&self.spec.name) == GroupState::Claiming);
        let target = wanted.and_then(|(to, _)| to);
        let stands = target.as_ref() == Some(&offer.to);
        if claims && stands {
            if matches!(offer.because, Because::TakeoverBy(_)) && self.spec.preferred == *view.me()
            {
                // Otherwise auto_failback would bring it straight back.
                self.wishes.yielding = true;
                round.save = true;
            }
            self.begin_stop(offer.because.clone(), StopOrder::Reverse, round);
        } else if view.leaving && now >= offer.expires_at(&view.cluster.timing) {
            self.begin_stop(Because::Leaving, StopOrder::Reverse, round);
        } else if !stands {
            let because = match (cannot, target) {
                (Some(why), _) => Because::CannotRun(offer.to.clone(), why),
                (None, Some(other)) => Because::BetterTarget(other),
                (None, None) => Because::NoReasonToMove,
            };
            round.record(&self.spec.name, What::OfferEnded(offer.to.clone()), because);
            self.state.take_back_offer();
        }
    }

    /// Where the group should go and why; to no node when it must leave but none can take it.
    fn wanted_move(
        &mut self,
        now: Time,
        view: &View,
        others: &[Candidate],
        round: &mut Round,
    ) -> Option<Move> {
        // The node that has the offer keeps it while it is eligible: its claim makes it look busier than the next one.
        let offered_to = self.offer().map(|o| o.to.clone());
        let eligible = |name: &NodeName| {
            let mut eligible = others.iter().filter(|c| c.ineligible.is_none());
            eligible.any(|c| c.name == *name)
        };
        let target = || {
            offered_to
                .filter(eligible)
                .or_else(|| choose_node(others).ok().map(|(name, _)| name.clone()))
        };
        if view.leaving {
            return Some((target(), Because::Leaving));
        }
        let mut takers = others.iter().filter(|c| c.wanted && c.ineligible.is_none());
        if let Some(taker) = takers.next() {
            let because = Because::TakeoverBy(taker.name.clone());
            return Some((Some(taker.name.clone()), because));
        }
        if self.wishes.standby {
            return Some((target(), Because::Standby));
        }
        if self.wishes.yielding {
            return Some((target(), Because::GivenAway));
        }
        let check = view.checks.drives_away(&self.spec.name);
        let failback = self.failback(now, view, others, round);
        let better = self.better_connected(now, view, others);
        if self.moves.rests_until(now).is_some() {
            // An offer that is out stands, if its reason does.
            let moves = check.is_some() || failback.is_some() || better.is_some();
            if moves && self.offer().is_none() {
                self.report_runs_on(Because::MovedOften, round);
                return None;
            }
        }
        if let Some(check) = check {
            // Rule 22. A sick service is better than none: without another candidate it stays.
            return match choose_node(others) {
                Ok(_) => Some((target(), Because::CheckFails(check))),
                Err(nobody) => {
                    self.report_runs_on(nobody_better(check, nobody), round);
                    None
                }
            };
        }
        self.reported.runs_on = None;
        if let Some(name) = failback {
            return Some((Some(name.clone()), Because::Failback(name)));
        }
        better.map(|name| (Some(name.clone()), Because::BetterConnected(name)))
    }

    /// Rule 17. The preferred node, when it has been eligible and ready for long enough.
    fn failback(
        &mut self,
        now: Time,
        view: &View,
        others: &[Candidate],
        round: &mut Round,
    ) -> Option<NodeName> {
        let able = others
            .iter()
            .find(|c| c.preferred && c.ineligible.is_none() && !c.yielding)
            .filter(|c| view.cluster.auto_failback && !worse_connected(c, view));
        let unready = able.and_then(|c| c.unready.clone());
        let waits = unready.is_some();
        if let Some(text) = unready.filter(|_| !self.reported.failback_waits) {
            let what = What::FailbackWaits(self.spec.preferred.clone());
            round.record(&self.spec.name, what, Because::NotReady(text));
        }
        self.reported.failback_waits = waits;
        has_lasted(
            &mut self.handover_timers.preferred_ready,
            able.is_some() && !waits,
            now,
            view.cluster.failback_delay,
        )
        .then(|| self.spec.preferred.clone())
    }

    /// Rule 17. A node that has reached more ping nodes than we do for long enough.
    fn better_connected(
        &mut self,
        now: Time,
        view: &View,
        others: &[Candidate],
    ) -> Option<NodeName> {
        let ours = view.reach().answering;
        let best = others
            .iter()
            .filter(|c| c.ineligible.is_none() && c.reach > ours)
            .max_by_key(|c| c.reach)
            .filter(|_| view.cluster.follow_connectivity);
        let delay = connectivity_delay(&view.cluster.timing);
        let since = &mut self.handover_timers.better_connected;
        let settled = has_lasted(since, best.is_some(), now, delay);
        best.filter(|_| settled).map(|c| c.name.clone())
    }
}

/// Whether `follow_connectivity` would bring the group straight back from this candidate.
fn worse_connected(candidate: &Candidate, view: &View) -> bool {
    view.cluster.follow_connectivity && candidate.reach < view.reach().answering
}

fn nobody_better(check: String, nobody: Because) -> Because {
    let others = match nobody {
        Because::NoCandidate(why) => why,
        other => other.to_string(),
    };
    Because::NobodyBetter { check, others }
}

/// Whether something has been so without a break for this long. `since` is the memory between the rounds.
fn has_lasted(since: &mut Option<Time>, is_so: bool, now: Time, delay: Duration) -> bool {
    if !is_so {
        *since = None;
        return false;
    }
    let began = *since.get_or_insert(now);
    now >= began + delay
}
