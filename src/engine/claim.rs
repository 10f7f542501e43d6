//! The way to a group: claim, ask all others, withdraw before a better right, start when nobody objects.

use std::time::Duration;

use super::group::Group;
use super::peer::Peer;
use super::placement::place;
use super::round::Round;
use super::view::View;

use crate::model::decision::{Because, What};
use crate::model::heartbeat::GroupState;
use crate::model::status::Liveness;
use crate::model::{NodeName, Term, Time};

/// After so long without an answer and without silence the probe itself cannot work here: an interface without
/// carrier, say. Rounds for a thousand addresses take less than a second.
pub(super) const PROBE_PATIENCE: Duration = Duration::from_secs(10);
/// So many rounds of address probes in a row must stay unanswered.
const SILENT_ROUNDS: u32 = 2;

impl Group {
    /// Nothing of it runs here: shall we claim it?
    pub fn decide_offline(&mut self, now: Time, view: &View, round: &mut Round) {
        if !view.joined || view.leaving || self.removed || self.frozen(view) {
            return;
        }
        match self.wish(view, round) {
            Ok(Some(Because::NextChoice(_))) if self.preferred_gets_ready(now, view) => {
                self.blocked_because = None;
            }
            Ok(Some(because)) => self.claim(because, now, view, round),
            Ok(None) => self.blocked_because = None,
            Err(why) => self.report_blocked(why, round),
        }
    }

    /// Whether the preferred node was heard only a moment ago: it may still be counting votes and looking at what runs
    /// there. It gets the time of two heartbeats, so that a cold start is no race; and where its checks have no result
    /// yet, until they have, but no longer than a boot may take.
    fn preferred_gets_ready(&self, now: Time, view: &View) -> bool {
        let t = &view.cluster.timing;
        let patience = |p: &Peer| {
            if super::checks::pending(&p.failed_checks, &self.spec.name) {
                t.initdead
            } else {
                t.keepalive * 2
            }
        };
        view.living()
            .any(|p| p.name == self.spec.preferred && now < p.active_since + patience(p))
    }

    /// Rule 3 (and rule 7 for a group that is offered to us): why we want it, or nothing, or what stands in the way.
    fn wish(&self, view: &View, round: &Round) -> Result<Option<Because>, Because> {
        let name = &self.spec.name;
        if let Some(holder) = view.living().find(|p| p.holds(name)) {
            // A claim that would have to be withdrawn at once is not made: both would be said again and again.
            let ours = self.offered_by(holder, view) && self.must_withdraw(view, round).is_none();
            return Ok(ours.then(|| {
                match super::checks::ineligible(&holder.failed_checks, name) {
                    Some(why) => Because::IllAt(holder.name.clone(), why),
                    None => Because::HeldBy(holder.name.clone()),
                }
            }));
        }
        // Others that claim it or do not know yet are waited for; their next heartbeat tells.
        if self.recognised.is_some() || view.living().any(|p| p.state(name) == GroupState::Unknown)
        {
            return Ok(None);
        }
        if let Some((peer, recognises)) = self.hearsay(view) {
            return Err(Because::Hearsay { peer, recognises });
        }
        if let Some(stuck) = self.stuck_elsewhere(view) {
            return Err(Because::StuckAt(stuck));
        }
        let candidates = self.candidates(view, round);
        let (node, because) = place(&candidates)?;
        Ok((node == view.me()).then_some(because))
    }

    /// Whether a holder offers the group to us, and hears us.
    fn offered_by(&self, holder: &Peer, view: &View) -> bool {
        let report = holder.groups.get(&self.spec.name);
        !view.deaf(holder) && report.is_some_and(|r| r.offer.as_ref() == Some(view.me()))
    }

    /// A dead node whose stop of it had failed: it may still run there.
    fn stuck_elsewhere(&self, view: &View) -> Option<NodeName> {
        let stuck = |p: &&Peer| {
            p.liveness == Liveness::Dead && p.state(&self.spec.name) == GroupState::Stuck
        };
        view.peers
            .iter()
            .find(stuck)
            .filter(|_| !self.forced)
            .map(|p| p.name.clone())
    }

    fn claim(&mut self, because: Because, now: Time, view: &View, round: &mut Round) {
        let term = Term(self.highest_term.0.saturating_add(1));
        round.keep_ahead(&self.spec.name, term);
        if !round.may_use(&self.spec.name, term) {
            return; // The answer to the order to save brings us back here.
        }
        self.term = term;
        self.highest_term = term;
        self.state = GroupState::Claiming;
        self.supports.clear();
        self.right_from_before = Time::ZERO;
        self.watch.silent_rounds = if self.watch.on {
            self.watch.silent_rounds
        } else {
            0
        };
        self.blocked_because = None;
        round.load += 1;
        let because = match self.dead_owner(view) {
            Some(owner) => Because::OwnerDead(owner),
            None => because,
        };
        round.record(&self.spec.name, What::Claim(term), because);
        self.recognise(now, view);
        self.decide_claiming(now, view, round);
    }

    /// The dead node that was last known to have it.
    fn dead_owner(&self, view: &View) -> Option<NodeName> {
        let held = |p: &&Peer| p.liveness == Liveness::Dead && p.holds(&self.spec.name);
        view.peers.iter().find(held).map(|p| p.name.clone())
    }

    /// We asked: withdraw, start, or wait on.
    pub fn decide_claiming(&mut self, now: Time, view: &View, round: &mut Round) {
        if let Some(because) = self.must_withdraw(view, round) {
            self.state = GroupState::Offline;
            self.supports.clear();
            round.record(&self.spec.name, What::Withdraw, because);
            return;
        }
        match self.objection(now, view) {
            Some(because @ (Because::AddressAnswers(_) | Because::StopsStill(..))) => {
                self.report_blocked(because, round);
            }
            Some(Because::ProbeRuns)
                if self.watch.on && now >= self.watch.since + PROBE_PATIENCE =>
            {
                self.probe_gave_up(now, round);
            }
            // Agreement and the first rounds of silence are the usual course and not worth a word.
            Some(_) => {}
            None => {
                self.state = GroupState::Starting;
                self.stood_still = false;
                self.blocked_because = None;
                round.record(&self.spec.name, What::Start, Because::AllAgreed);
                // Before the start: what is begun under it shall know how long it lasts.
                self.renew(now, view, round);
                self.stack
                    .start(&self.spec, &mut round.orders, &mut round.out);
            }
        }
    }

    /// The probe gets neither an answer nor silence: what keeps it from asking would keep the address from working.
    fn probe_gave_up(&mut self, now: Time, round: &mut Round) {
        let text = "nobody can be asked on the wire whether its address still answers: look at the interface";
        self.supports.clear();
        self.failed(now, text.to_owned());
        self.state = GroupState::Failed;
        round.record(
            &self.spec.name,
            What::Failed,
            Because::Agent(text.to_owned()),
        );
    }

    /// Rule 4.
    fn must_withdraw(&self, view: &View, round: &Round) -> Option<Because> {
        let name = &self.spec.name;
        if self.removed || self.frozen(view) {
            return Some(Because::Administrator);
        }
        if view.leaving {
            return Some(Because::Leaving);
        }
        let ours = self
            .candidates(view, round)
            .into_iter()
            .find(|c| c.name == *view.me());
        if let Some(ineligible) = ours.and_then(|c| c.ineligible) {
            return Some(Because::NoCandidate(format!("{} {ineligible}", view.me())));
        }
        for peer in view.living() {
            let better = peer.rank < view.rank && peer.state(name) == GroupState::Claiming;
            if better {
                return Some(Because::BetterClaim(peer.name.clone()));
            }
            if peer.holds(name) && !self.offered_by(peer, view) {
                return Some(Because::HeldBy(peer.name.clone()));
            }
        }
        self.hearsay(view)
            .map(|(peer, recognises)| Because::Hearsay { peer, recognises })
    }

    /// Rules 5, 6 and 10: what still stands between our claim and the start.
    pub fn objection(&self, now: Time, view: &View) -> Option<Because> {
        let waits = view
            .peers
            .iter()
            .find_map(|p| self.peer_objection(p, now, view));
        if waits.is_some() {
            return waits;
        }
        if view.counted() && (!view.quorate || now >= self.lease_end(view)) {
            return Some(Because::NoQuorum);
        }
        self.probe_objection(now, view)
    }

    fn peer_objection(&self, peer: &Peer, now: Time, view: &View) -> Option<Because> {
        let waits = Some(Because::WaitsFor(peer.name.clone()));
        match peer.liveness {
            Liveness::Left | Liveness::Here => None,
            Liveness::Dead if self.forced || now >= self.stopped_by(peer, view) => None,
            Liveness::Dead => Some(Because::StopsStill(peer.name.clone(), self.removal(view))),
            Liveness::Init => waits,
            Liveness::Active | Liveness::Late => {
                let quiet = matches!(
                    peer.state(&self.spec.name),
                    GroupState::Offline | GroupState::Failed
                );
                let agrees = quiet && self.recognises_us(peer, view) && !view.deaf(peer);
                // A peer that cannot hear us can never agree. Where more than half of the nodes recognise us,
                // nobody else can be recognised by as many, and its silence need not hold us up.
                let outvoted = quiet && view.deaf(peer) && self.majority_of_nodes(view);
                if agrees || outvoted { None } else { waits }
            }
        }
    }

    fn majority_of_nodes(&self, view: &View) -> bool {
        let agree = view
            .living()
            .filter(|p| !view.deaf(p) && self.recognises_us(p, view))
            .count();
        (agree + 1) * 2 > view.cluster.nodes.len()
    }

    /// When a dead peer must be rid of the group: its leases end by themselves, other resources take what they take.
    pub fn stopped_by(&self, peer: &Peer, view: &View) -> Time {
        peer.last_heard + view.cluster.timing.deadtime + self.removal(view)
    }

    fn removal(&self, view: &View) -> Duration {
        if view.leases() {
            self.spec.steps.iter().map(|s| s.removal).sum()
        } else {
            Duration::ZERO
        }
    }

    /// Next to a peer out of sight nobody may answer for the addresses any more.
    fn probe_objection(&self, now: Time, view: &View) -> Option<Because> {
        if !out_of_sight(now, view)
            || self.forced
            || !self.has_addresses()
            || self.watch.silent_rounds >= SILENT_ROUNDS
        {
            return None;
        }
        match &self.watch.answered {
            Some((_, who)) => Some(Because::AddressAnswers(who.clone())),
            None => Some(Because::ProbeRuns),
        }
    }

    /// Asks on the wire while a peer that may have the group is late, and while we claim it next to one out of sight: so
    /// in the usual case the answer is there when deadtime ends.
    pub fn watch_addresses(&mut self, now: Time, view: &View, round: &mut Round) {
        let name = &self.spec.name;
        let late = view.peers.iter().any(|p| {
            p.liveness == Liveness::Late
                && (p.holds(name) || self.recognised.as_ref().is_some_and(|t| t.node == p.name))
        });
        let unseen = out_of_sight(now, view);
        let idle = matches!(self.state, GroupState::Offline | GroupState::Failed);
        let wanted = self.has_addresses()
            && !view.leaving
            && ((late && idle) || (unseen && self.state == GroupState::Claiming));
        if wanted != self.watch.on {
            self.watch = super::group::Watch {
                on: wanted,
                since: now,
                ..Default::default()
            };
            round.out.push(super::Action::WatchAddresses {
                group: name.clone(),
                on: wanted,
            });
        }
    }

    /// Somebody answered for an address.
    pub fn address_answered(&mut self, now: Time, who: String) {
        self.watch.answered = Some((now, who));
        self.watch.silent_rounds = 0;
    }

    /// A round of probes stayed without an answer.
    pub fn address_silent(&mut self, sent: Time) {
        if self
            .watch
            .answered
            .as_ref()
            .is_none_or(|(at, _)| *at < sent)
        {
            self.watch.silent_rounds = self.watch.silent_rounds.saturating_add(1);
        }
    }
}

/// A peer is dead, or left so long ago that it may be back without our hearing it.
fn out_of_sight(now: Time, view: &View) -> bool {
    let deadtime = view.cluster.timing.deadtime;
    view.peers.iter().any(|p| match p.liveness {
        Liveness::Dead => true,
        Liveness::Left => now >= p.last_heard + deadtime,
        _ => false,
    })
}
