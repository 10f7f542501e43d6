//! Rule 7: a group that runs moves only by its owner's offer. The target answers with a claim, the owner stops, the
//! target starts.

use std::time::Duration;

use super::group::{Group, Offer};
use super::placement::{Candidate, place};
use super::round::Round;
use super::view::View;
use crate::model::cluster::Timing;
use crate::model::decision::{Because, What};
use crate::model::heartbeat::GroupState;
use crate::model::{NodeName, Time};

/// How long a node that leaves waits for a claim on what it offers.
pub(super) fn patience(timing: &Timing) -> Duration {
    timing.keepalive * 2 + Duration::from_secs(1)
}

impl Group {
    /// Online: shall another have it?
    pub fn decide_handover(&mut self, now: Time, view: &View, round: &mut Round) {
        let candidates = self.candidates(view, round);
        let wish = self.wish_to_give(now, view, &candidates, round);
        match (self.offer.clone(), wish) {
            (None, None) => {}
            (None, Some((Some(to), because))) => {
                round.record(&self.spec.name, What::Offer(to.clone()), because.clone());
                self.offer = Some(Offer {
                    to,
                    because,
                    since: now,
                });
            }
            (None, Some((None, because))) => {
                if view.leaving {
                    self.begin_stop(because, false, round);
                }
            }
            (Some(offer), wish) => self.follow_offer(&offer, wish, now, view, round),
        }
    }

    /// An offer is out: stop when the target claims, take it back when it makes no sense any more.
    fn follow_offer(
        &mut self,
        offer: &Offer,
        wish: Option<(Option<NodeName>, Because)>,
        now: Time,
        view: &View,
        round: &mut Round,
    ) {
        let claims = view
            .peer(&offer.to)
            .is_some_and(|p| p.living() && p.state(&self.spec.name) == GroupState::Claiming);
        let stands = wish.is_some_and(|(to, _)| to.as_ref() == Some(&offer.to));
        if claims && stands {
            if matches!(offer.because, Because::TakeoverBy(_)) && self.spec.preferred == *view.me()
            {
                // Else auto_failback would bring it straight back.
                self.yielding = true;
                round.save = true;
            }
            self.begin_stop(offer.because.clone(), false, round);
        } else if view.leaving && now >= offer.since + patience(&view.cluster.timing) {
            self.begin_stop(Because::Leaving, false, round);
        } else if !stands {
            round.record(
                &self.spec.name,
                What::OfferEnded(offer.to.clone()),
                Because::ClaimantGone(offer.to.clone()),
            );
            self.offer = None;
        }
    }

    /// To whom and why; to nobody in particular when it must go but none can take it.
    fn wish_to_give(
        &mut self,
        now: Time,
        view: &View,
        candidates: &[Candidate],
        round: &mut Round,
    ) -> Option<(Option<NodeName>, Because)> {
        let others: Vec<Candidate> = candidates
            .iter()
            .filter(|c| c.name != *view.me())
            .cloned()
            .collect();
        // Whoever was offered it stays the one while able: its claim itself makes it look busier than the next.
        let chosen = self.offer.as_ref().map(|o| o.to.clone());
        let able = |name: &NodeName| {
            others
                .iter()
                .any(|c| c.name == *name && c.ineligible.is_none())
        };
        let next = || {
            chosen
                .filter(able)
                .or_else(|| place(&others).ok().map(|(name, _)| name.clone()))
        };
        if view.leaving {
            return Some((next(), Because::Leaving));
        }
        if let Some(taker) = others.iter().find(|c| c.wanted && c.ineligible.is_none()) {
            return Some((
                Some(taker.name.clone()),
                Because::TakeoverBy(taker.name.clone()),
            ));
        }
        if self.standby || self.giving_away() {
            return Some((next(), Because::Standby));
        }
        if let Some(check) = view.checks.fails(&self.spec.name) {
            // Better a sick service than none: without another candidate it stays.
            match place(&others) {
                Ok(_) => return Some((next(), Because::CheckFails(check))),
                Err(others) => {
                    self.run_on(check, &others, round);
                    return None;
                }
            }
        }
        self.runs_on = None;
        if let Some(name) = self.failback(now, view, &others, round) {
            return Some((Some(name.clone()), Because::Failback(name)));
        }
        self.better_connected(now, view, &others)
            .map(|name| (Some(name.clone()), Because::BetterConnected(name)))
    }

    /// Given away once on request, without lasting standby.
    fn giving_away(&self) -> bool {
        self.yielding
    }

    /// Says why it stays on a node that it should leave, once for each reason.
    fn run_on(&mut self, check: String, others: &Because, round: &mut Round) {
        let others = match others {
            Because::NoCandidate(why) => why.clone(),
            other => other.to_string(),
        };
        let because = Because::NobodyBetter { check, others };
        if self.runs_on.as_ref() != Some(&because) {
            round.record(&self.spec.name, What::RunsOn, because.clone());
            self.runs_on = Some(because);
        }
    }

    /// The preferred node, when it has been able to run it, and ready for it, for long enough.
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
            .filter(|_| view.cluster.auto_failback);
        let unready = able.and_then(|c| c.unready.clone());
        if let Some(text) = unready.clone().filter(|_| !self.failback_held) {
            let what = What::FailbackWaits(self.spec.preferred.clone());
            round.record(&self.spec.name, what, Because::NotReady(text));
        }
        self.failback_held = unready.is_some();
        settled(
            &mut self.failback_since,
            able.is_some() && unready.is_none(),
            now,
            view.cluster.failback_delay,
        )
        .then(|| self.spec.preferred.clone())
    }

    /// A node that reaches more ping nodes than we do, when that has settled.
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
            .max_by_key(|c| c.reach);
        let able = view.cluster.follow_connectivity && best.is_some();
        let settle = view.cluster.timing.keepalive * 2;
        settled(&mut self.better_since, able, now, settle)
            .then(|| best.map(|c| c.name.clone()))
            .flatten()
    }
}

/// Whether something has been so, without a break, for a time.
fn settled(since: &mut Option<Time>, is: bool, now: Time, pause: Duration) -> bool {
    match (is, *since) {
        (false, _) => {
            *since = None;
            false
        }
        (true, None) => {
            *since = Some(now);
            pause.is_zero()
        }
        (true, Some(at)) => now >= at + pause,
    }
}
