//! While the group runs here: give way to a better right, stop when the own right ends, hand over when that is wanted.
//! And the two ways back into it: after a restart of the daemon and after our own time stood still.

use super::Group;
use super::stack::{ProbeResult, StopOrder};
use super::state::LocalState;
use crate::engine::Action;
use crate::engine::peer::Peer;
use crate::engine::round::Round;
use crate::engine::view::View;
use crate::model::decision::{Because, What};
use crate::model::heartbeat::{GroupState, Phase};
use crate::model::status::Liveness;
use crate::model::{NodeName, Term, Time};

impl Group {
    /// Starting or online: does anything end that?
    pub(super) fn decide_holding(&mut self, now: Time, view: &View, round: &mut Round) {
        if self.in_maintenance(view) {
            self.state.take_back_offer();
            return;
        }
        if view.names.gives_way {
            self.begin_stop(Because::OtherMachine, StopOrder::AddressesFirst, round);
            return;
        }
        self.notice_double(view);
        if let Some(because) = self.must_yield(now, view) {
            self.begin_stop(because, StopOrder::AddressesFirst, round);
            return;
        }
        if now >= self.right.ends_at(view) {
            self.begin_stop(Because::LeaseEnded, StopOrder::AddressesFirst, round);
            return;
        }
        self.announce_after_contest(view, round);
        if self.removed || self.replaced_by.is_some() {
            self.begin_stop(Because::Reconfigured, StopOrder::Reverse, round);
        } else if self.state.is_online() {
            self.decide_handover(now, view, round);
        } else if view.leaving {
            self.begin_stop(Because::Leaving, StopOrder::Reverse, round);
        }
    }

    /// Remembers who else runs it: one of the two stops within moments, but both may have written.
    fn notice_double(&mut self, view: &View) {
        if let Some(peer) = view.living().find(|p| is_running(p.state(&self.spec.name))) {
            self.doubled = Some(peer.name.clone());
        }
    }

    /// Rules 8 and 9. Another node has the better right, or acts as if we were dead.
    fn must_yield(&self, now: Time, view: &View) -> Option<Because> {
        if let Some(other) = self.overtaken_by(now, view) {
            return Some(Because::Overtaken(other));
        }
        for peer in view.living() {
            if self.may_act_without_us(peer, now, view) {
                return Some(Because::Unheard(peer.name.clone()));
            }
            let state = peer.state(&self.spec.name);
            let acts = view.is_deaf(peer) && peer.quorate;
            if acts && (is_running(state) || state == GroupState::Claiming) {
                return Some(Because::Unheard(peer.name.clone()));
            }
            let better = self.right_of(peer) < (self.term, view.rank);
            if is_running(state) && better && self.right.is_known_to(peer.acked) {
                return Some(Because::SplitHealed {
                    keeper: peer.name.clone(),
                });
            }
        }
        None
    }

    /// Rule 9. The new holder, if a peer names one although by our clock that peer confirmed our right less than a lease
    /// ago. So our clock stood still, as when a host suspends a virtual machine. The new holder keeps the group although
    /// its term is higher.
    fn overtaken_by(&self, now: Time, view: &View) -> Option<NodeName> {
        let lease = view.cluster.timing.lease();
        let lately = |p: &&Peer| {
            let confirmed = self.right.confirmed_by(&p.name);
            confirmed.is_some_and(|sent| now < sent + lease)
        };
        view.living().filter(lately).find_map(|p| {
            let to = p.groups.get(&self.spec.name)?.to.as_ref()?;
            let later = to.held && to.node != *view.me() && to.term > self.term;
            later.then(|| to.node.clone())
        })
    }

    /// Rule 8. Whether a peer that has not heard us for almost deadtime is about to take us for dead and could then start
    /// the group by itself. A peer that was silent itself gets the time of two heartbeats to say that it hears us:
    /// otherwise a cut that heals shortly before deadtime would stop everything.
    fn may_act_without_us(&self, peer: &Peer, now: Time, view: &View) -> bool {
        now >= peer.takes_us_for_dead_at(&view.cluster.timing) && self.could_start_alone(peer, view)
    }

    /// Rule 8. Whether a peer that took us for dead could start the group by itself. It could not if a third node hears us
    /// and recognises us, for it hears of us from there.
    pub(super) fn could_start_alone(&self, peer: &Peer, view: &View) -> bool {
        let able = peer.liveness == Liveness::Active
            && peer.phase == Phase::Active
            && !peer.intent.standby.contains(&self.spec.name)
            && peer.groups.get(&self.spec.name).is_some_and(|r| r.can);
        let has_quorum_alone = !view.counts_votes() || view.has_quorum_alone(peer);
        let vouched = || {
            view.living()
                .filter(|p| p.name != peer.name && !view.is_deaf(p))
                .any(|p| self.recognises_us(p, view))
        };
        able && has_quorum_alone && !vouched()
    }

    /// Rule 9. When two nodes hold the group, the one that keeps it announces its addresses when it sees the other and
    /// again when the other is gone: the neighbours believe whoever announced last.
    fn announce_after_contest(&mut self, view: &View, round: &mut Round) {
        let contested = view.living().any(|p| p.holds(&self.spec.name));
        if contested != self.reported.contested && self.state.is_online() {
            self.reported.contested = contested;
            self.announce_addresses(round);
        }
    }

    /// Announces the addresses again, if it has any.
    fn announce_addresses(&self, round: &mut Round) {
        if self.has_addresses() {
            round.record(&self.spec.name, What::Announced, Because::Healed);
            round.out.push(Action::Announce(self.spec.name.clone()));
        }
    }

    /// A peer that was thought dead is heard again: it may have announced the addresses meanwhile.
    pub fn announce_if_online(&self, round: &mut Round) {
        if self.state.is_online() {
            self.announce_addresses(round);
        }
    }

    /// Rule 6. Tells the runtime until when the right lasts. The next daemon relies on what is stored of it. Where no
    /// votes are counted the right lasts until a peer could take us for dead, so that the kernel drops the addresses
    /// with us, however we end.
    pub(super) fn renew_right(&mut self, now: Time, view: &View, round: &mut Round) {
        let Some(until) = self.lasts_until(now, view) else {
            self.right.forget_renewal();
            return;
        };
        if self.state().holds() && now < until {
            self.held_until = now;
        }
        if self.right.note_renewal(until, &view.cluster.timing) {
            let group = self.spec.name.clone();
            round.out.push(Action::Renew { group, until });
        }
    }

    /// Whether it is held here by a right that has not ended.
    pub(super) fn holds_by_right(&self, now: Time, view: &View) -> bool {
        let until = self.lasts_until(now, view);
        self.state().holds() && until.is_some_and(|until| now < until)
    }

    /// Until when the runtime may keep the addresses, if anything runs by right.
    fn lasts_until(&self, now: Time, view: &View) -> Option<Time> {
        let timing = &view.cluster.timing;
        // Rule 8 ends the right too, also when this daemon is dead by then.
        let alone = view.living().filter(|p| self.could_start_alone(p, view));
        let taken_over = alone.map(|p| p.takes_us_for_dead_at(timing)).min();
        let lease = || {
            let end = self.right.ends_at(view).min(now + timing.lease());
            end.min(taken_over.unwrap_or(Time::NEVER))
        };
        match &self.state {
            // What was found running is held under the old right until it is known whose it is. In maintenance it shall
            // outlive even the daemon.
            LocalState::Unknown {
                probe_result: Some(ProbeResult::AllRun),
            }
            | LocalState::Starting { .. }
            | LocalState::Online { .. } => Some(if self.in_maintenance(view) {
                Time::NEVER
            } else {
                lease()
            }),
            // The addresses stay until their turn, unless another node has the group. In a stop nobody judges whether a
            // peer is about to act without us, so the right ends before any could.
            LocalState::Stopping { keeps_right, .. } => {
                let contested = view.living().any(|p| p.holds(&self.spec.name));
                let nodes = view.living_nodes();
                let dead_at = nodes.map(|p| p.takes_us_for_dead_at(timing)).min();
                (*keeps_right && !contested).then(|| lease().min(dead_at.unwrap_or(Time::NEVER)))
            }
            _ => None,
        }
    }

    /// Rule 34. The right that rests on the word of a person goes on until then.
    pub fn keep_right_until(&mut self, at: Time, view: &View) {
        if view.has_leases() {
            self.right.keep_until(at, view);
        }
    }

    /// Rule 24. The daemon has announced since this time that it restarts: what is online may stay until it is back. If a
    /// living peer has not acknowledged that, the right ends as if the daemon had been killed.
    pub fn stretch_for_restart(
        &mut self,
        since: Time,
        until: Time,
        view: &View,
        round: &mut Round,
    ) {
        let alone = view.living().next().is_none();
        let heard = |p: &Peer| {
            let confirmed = self.right.confirmed_by(&p.name);
            confirmed.is_some_and(|at| at >= since)
        };
        let told = view.living().all(heard);
        let longer = self.right.ends_before(until) && self.state.is_online();
        if longer && told && !(alone && view.counts_votes()) {
            self.right.stretch_to(until);
            let group = self.spec.name.clone();
            round.out.push(Action::Renew { group, until });
        }
    }

    /// Rule 11. After a start of the daemon, or after a gap: what runs here, and may it?
    pub(super) fn decide_unknown(&mut self, now: Time, view: &View, round: &mut Round) {
        let LocalState::Unknown {
            probe_result: Some(found),
        } = self.state.clone()
        else {
            return;
        };
        let frozen = self.in_maintenance(view);
        match found {
            // The probe was for the old definition; what the new one names may run.
            ProbeResult::NoneRuns if self.take_definition(round) => self.begin_probe(round),
            ProbeResult::NoneRuns => {
                self.state = LocalState::Offline;
                self.right.forget_former();
                self.decide_offline(now, view, round);
            }
            ProbeResult::AllRun if self.removed && !frozen => {
                self.begin_stop(Because::Reconfigured, StopOrder::Reverse, round);
            }
            ProbeResult::AllRun if view.leaving && !frozen => {
                self.begin_stop(Because::Leaving, StopOrder::Reverse, round);
            }
            ProbeResult::AllRun => self.decide_found(now, view, round, frozen),
            ProbeResult::SomeRun(what) if !frozen => {
                self.begin_stop(Because::FoundPartly(what), StopOrder::AddressesFirst, round);
            }
            ProbeResult::SomeRun(_) => {}
        }
    }

    /// All of it was found running: keep it, stop it, or wait until enough is known.
    fn decide_found(&mut self, now: Time, view: &View, round: &mut Round, frozen: bool) {
        if !frozen {
            if view.names.gives_way {
                self.begin_stop(Because::OtherMachine, StopOrder::AddressesFirst, round);
                return;
            }
            if let Some(holder) = self.held_elsewhere(view) {
                self.begin_stop(Because::HeldBy(holder), StopOrder::AddressesFirst, round);
                return;
            }
            if view.has_leases() && now >= self.right.ends_at(view) {
                self.begin_stop(Because::LeaseEnded, StopOrder::AddressesFirst, round);
                return;
            }
        }
        if !view.joined || (!view.quorate && !frozen) {
            return;
        }
        if self.term == Term(0) {
            self.term = Term(self.highest_term.0.saturating_add(1));
        }
        self.see_term(self.term);
        self.state = LocalState::Online { offer: None };
        round.save = true;
        let adopt = What::Adopt(self.term);
        round.record(&self.spec.name, adopt, Because::FoundRunning);
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

    /// Rule 12. Our own time stood still. What we hold is held under its old right only, and is probed like after a
    /// restart. `had_peers`: a peer was living then and may have taken over meanwhile.
    pub fn after_gap(
        &mut self,
        gap_began: Time,
        now: Time,
        had_peers: bool,
        view: &View,
        round: &mut Round,
    ) {
        match &mut self.state {
            LocalState::Claiming => self.withdraw_claim(Because::NodeWasStopped, round),
            LocalState::Starting { .. } | LocalState::Online { .. } => {
                let unheard = gap_began + view.cluster.timing.lease();
                let end = self.right.stand_on_former(view);
                let lost = if view.has_leases() {
                    now >= end
                } else {
                    had_peers && now >= unheard
                };
                if lost && !self.in_maintenance(view) {
                    self.begin_stop(Because::NodeWasStopped, StopOrder::AddressesFirst, round);
                } else if let LocalState::Starting { stood_still, .. } = &mut self.state {
                    *stood_still = true;
                } else {
                    self.begin_probe(round);
                }
            }
            // Somebody else may have it by now.
            LocalState::Stopping { keeps_right, .. } => *keeps_right = false,
            LocalState::Unknown { .. }
            | LocalState::Offline
            | LocalState::Failed
            | LocalState::Stuck => {}
        }
    }
}

/// Whether a node in this state runs the group, as it says.
fn is_running(state: GroupState) -> bool {
    matches!(state, GroupState::Starting | GroupState::Online)
}
