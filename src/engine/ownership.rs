//! While it runs here: give way to a better right, let go when the right ends, hand over when that is wanted.
//! And the two ways back into it: after a restart and after a gap in our own time.

use super::Action;
use super::group::Group;
use super::peer::Peer;
use super::quorum::Votes;
use super::round::Round;
use super::stack::Ended;
use super::view::View;
use crate::model::decision::{Because, What};
use crate::model::heartbeat::{GroupState, Phase};
use crate::model::status::Liveness;
use crate::model::{NodeName, Term, Time};

impl Group {
    /// Starting or online: does anything end that?
    pub fn decide_holding(&mut self, now: Time, view: &View, round: &mut Round) {
        if self.frozen(view) {
            self.offer = None;
            return;
        }
        self.notice_double(view);
        if let Some(because) = self.must_yield(now, view) {
            self.begin_stop(because, true, round);
            return;
        }
        if now >= self.lease_end(view) {
            self.begin_stop(Because::LeaseEnded, true, round);
            return;
        }
        self.announce_after_contest(view, round);
        if self.removed || self.replaced_by.is_some() {
            self.begin_stop(Because::Reconfigured, false, round);
        } else if self.state == GroupState::Online {
            self.decide_handover(now, view, round);
        } else if view.leaving {
            self.begin_stop(Because::Leaving, false, round);
        }
    }

    /// Remembers who else runs it: one of the two stops within moments, but both may have written.
    fn notice_double(&mut self, view: &View) {
        let runs = |p: &&Peer| {
            let state = p.state(&self.spec.name);
            matches!(state, GroupState::Starting | GroupState::Online)
        };
        if let Some(peer) = view.living().find(runs) {
            self.doubled = Some(peer.name.clone());
        }
    }

    /// Rules 8 and 9: another has the better right, or acts as if we were dead.
    fn must_yield(&self, now: Time, view: &View) -> Option<Because> {
        if let Some(other) = self.overtaken(now, view) {
            return Some(Because::Overtaken(other));
        }
        let name = &self.spec.name;
        for peer in view.living() {
            if self.may_act_without_us(peer, now, view) {
                return Some(Because::Unheard(peer.name.clone()));
            }
            let state = peer.state(name);
            let runs = matches!(state, GroupState::Starting | GroupState::Online);
            if view.deaf(peer) && peer.quorate && (runs || state == GroupState::Claiming) {
                return Some(Because::HeldBy(peer.name.clone()));
            }
            if runs && self.right_of(peer) < (self.term, view.rank) && self.known_to(peer) {
                return Some(Because::SplitHealed {
                    keeper: peer.name.clone(),
                });
            }
        }
        None
    }

    /// Who holds it by the word of a peer that could say so only after deadtime without us, though by our clock it
    /// recognised us less than that ago: our clock stood still, and we with it, as when a host suspends a virtual machine.
    /// (Rule 9 says that the lower term keeps, whatever happened; then whoever took over would have to stop.)
    fn overtaken(&self, now: Time, view: &View) -> Option<NodeName> {
        let t = &view.cluster.timing;
        let lately = |sent: &Time| now < *sent + t.deadtime.saturating_sub(t.margin);
        let supported = |p: &&Peer| self.supports.get(&p.name).is_some_and(lately);
        view.living().filter(supported).find_map(|p| {
            let to = p.groups.get(&self.spec.name)?.to.as_ref()?;
            let later = to.held && to.node != *view.me() && to.term > self.term;
            later.then(|| to.node.clone())
        })
    }

    /// Whether a peer has heard that we have it, and says all the same what it says. (Rule 9 does not ask.) Else it may be one
    /// whose clock stood still, and gives way as soon as it hears of us.
    fn known_to(&self, peer: &Peer) -> bool {
        peer.acked.is_some_and(|sent| sent >= self.held_since)
    }

    /// A peer that we hear, but that has not heard us for almost deadtime, will call us dead and may then start the
    /// group by itself: we are rid of it before that. Not where a third node hears us and recognises us: then that
    /// peer cannot claim it, for it hears of us from there. A peer that was silent itself gets the time of two
    /// heartbeats to say that it hears us: else a cut that heals shortly before deadtime would stop everything.
    fn may_act_without_us(&self, peer: &Peer, now: Time, view: &View) -> bool {
        let t = &view.cluster.timing;
        let unheard = now >= peer.takes_us_for_dead_at(t);
        let able = peer.liveness == Liveness::Active
            && peer.phase == Phase::Active
            && !peer.intent.standby.contains(&self.spec.name)
            && peer.groups.get(&self.spec.name).is_some_and(|r| r.can);
        let alone = !view.counted()
            || 1 + u32::from(peer.reach.answering) >= Votes::needed(view.total_votes());
        let vouched = || {
            let others = view
                .living()
                .filter(|p| p.name != peer.name && !view.deaf(p));
            others.into_iter().any(|p| self.recognises_us(p, view))
        };
        unheard && able && alone && !vouched()
    }

    /// The keeper of a doubly held group announces its addresses when it sees the other and when the other is gone:
    /// whoever announced last is believed by the neighbours.
    fn announce_after_contest(&mut self, view: &View, round: &mut Round) {
        let contested = view.living().any(|p| p.holds(&self.spec.name));
        if contested != self.contested && self.state == GroupState::Online {
            self.contested = contested;
            self.announce(round);
        }
    }

    /// Announces the addresses again, if it has any.
    pub fn announce(&mut self, round: &mut Round) {
        if self.has_addresses() {
            round.record(&self.spec.name, What::Announced, Because::Healed);
            round.out.push(Action::Announce(self.spec.name.clone()));
        }
    }

    /// Rule 11: after a start of ours, or after a gap: what runs here, and may it?
    pub fn decide_unknown(&mut self, now: Time, view: &View, round: &mut Round) {
        let frozen = self.frozen(view);
        match self.probe_result.clone() {
            // The look was for the old definition; what the new one names may run.
            Some(Ended::NoneRuns) if self.take_definition(round) => self.look(round),
            Some(Ended::NoneRuns) => {
                self.probe_result = None;
                self.state = GroupState::Offline;
                self.right_from_before = Time::ZERO;
                self.decide_offline(now, view, round);
            }
            Some(Ended::AllRun) if self.removed => {
                self.begin_stop(Because::Reconfigured, false, round);
            }
            Some(Ended::AllRun) if view.leaving && !frozen => {
                self.begin_stop(Because::Leaving, false, round);
            }
            Some(Ended::AllRun) => self.decide_found(now, view, round, frozen),
            Some(Ended::SomeRun(what)) if !frozen => {
                self.begin_stop(Because::FoundPartly(what), true, round);
            }
            _ => {}
        }
    }

    fn decide_found(&mut self, now: Time, view: &View, round: &mut Round, frozen: bool) {
        if !frozen {
            if let Some(holder) = self.held_elsewhere(view) {
                self.begin_stop(Because::HeldBy(holder), true, round);
                return;
            }
            if view.leases() && now >= self.lease_end(view) {
                self.begin_stop(Because::LeaseEnded, true, round);
                return;
            }
        }
        if !view.joined || (!view.quorate && !frozen) {
            return;
        }
        if self.term == Term(0) {
            self.term = Term(self.highest_term.0.saturating_add(1));
        }
        self.highest_term = self.highest_term.max(self.term);
        self.probe_result = None;
        self.state = GroupState::Online;
        round.save = true;
        round.record(
            &self.spec.name,
            What::Adopt(self.term),
            Because::FoundRunning,
        );
        self.decide_holding(now, view, round);
    }

    /// A living peer has it, or recognises another holder.
    fn held_elsewhere(&self, view: &View) -> Option<NodeName> {
        view.living().find_map(|p| {
            let report = p.groups.get(&self.spec.name)?;
            if report.state.holds() {
                return Some(p.name.clone());
            }
            let to = report
                .to
                .as_ref()
                .filter(|to| to.held && to.node != *view.me())?;
            Some(to.node.clone())
        })
    }

    /// Rule 12: our own time stood still. What we hold is held under its old right only; it is looked at like after a
    /// restart. `had_peers`: somebody was there who may have taken over meanwhile.
    pub fn after_gap(
        &mut self,
        gap_began: Time,
        now: Time,
        had_peers: bool,
        view: &View,
        round: &mut Round,
    ) {
        match self.state {
            GroupState::Claiming => {
                self.state = GroupState::Offline;
                self.supports.clear();
                round.record(&self.spec.name, What::Withdraw, Because::Expired);
            }
            GroupState::Starting | GroupState::Online => {
                let t = &view.cluster.timing;
                let unheard = gap_began + t.deadtime.saturating_sub(t.margin);
                self.right_from_before = if view.leases() {
                    self.lease_end(view)
                } else {
                    Time::ZERO
                };
                let lost = if view.leases() {
                    now >= self.right_from_before
                } else {
                    had_peers && now >= unheard
                };
                if lost && !self.frozen(view) {
                    self.begin_stop(Because::LeaseEnded, true, round);
                } else if self.state == GroupState::Online {
                    self.offer = None;
                    self.look(round);
                } else {
                    self.stood_still = true;
                }
            }
            // Somebody else may have it by now.
            GroupState::Stopping => self.orderly = false,
            GroupState::Unknown | GroupState::Offline | GroupState::Failed | GroupState::Stuck => {}
        }
    }
}
