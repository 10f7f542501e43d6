//! Rules 3 to 5: the way to a group. Claim it, ask all others, withdraw before a better right, start it when nobody
//! objects.

use std::time::Duration;

use super::Group;
use super::state::LocalState;
use crate::engine::checks;
use crate::engine::peer::Peer;
use crate::engine::placement::choose_node;
use crate::engine::round::Round;
use crate::engine::view::View;
use crate::model::decision::{Because, What};
use crate::model::heartbeat::{GroupState, Phase};
use crate::model::status::Liveness;
use crate::model::{NodeName, Term, Time};

impl Group {
    /// Nothing of it runs here: shall we claim it?
    pub(super) fn decide_offline(&mut self, now: Time, view: &View, round: &mut Round) {
        if !view.joined || view.leaving || self.removed || self.in_maintenance(view) {
            return;
        }
        // Rule 30. It recognises no claim yet, so it makes none: two claims would be withdrawn again and again.
        if view.listens_for_names(now) {
            return;
        }
        if let Some(because) = self.held_by_other_configuration(now, view) {
            self.report_blocked(because, round);
            return;
        }
        if let Some(node) = self.held_by_second_life(now, view) {
            self.report_blocked(Because::HeldByNamesake(node), round);
            return;
        }
        match self.reason_to_claim(now, view, round) {
            Ok(Some(Because::NextChoice(_))) if self.preferred_gets_ready(now, view) => {
                self.reported.blocked_because = None;
            }
            Ok(Some(because)) => match self.awaits_fencing(view) {
                Some(node) => {
                    round.to_fence.insert(node.clone());
                    self.report_blocked(Because::AwaitsFencing(node), round);
                }
                None => self.claim(because, now, view, round),
            },
            Ok(None) => self.reported.blocked_because = None,
            Err(why) => self.report_blocked(why, round),
        }
    }

    /// Rule 25. A node that still runs it, or a part of it, by another configuration than ours.
    fn held_by_other_configuration(&mut self, now: Time, view: &View) -> Option<Because> {
        if let Some(stranger) = view.held_by_stranger(now, &self.spec.name) {
            return Some(Because::HeldByStranger(stranger.clone()));
        }
        if !self.awaits_agreement || self.wishes.forced {
            return None;
        }
        let other = self.other_configuration(view);
        self.awaits_agreement = other.is_some();
        other.map(Because::OtherConfiguration)
    }

    /// Whether the preferred node was heard only a moment ago: it may still be counting votes and probing what runs
    /// there. It gets the time of two heartbeats, so that a cold start is no race. Where its checks have no result yet,
    /// it gets the time until they have, but no longer than a boot may take.
    fn preferred_gets_ready(&self, now: Time, view: &View) -> bool {
        let t = &view.cluster.timing;
        let patience = |p: &Peer| {
            if checks::awaits_result(&p.failed_checks, &self.spec.name) {
                t.initdead
            } else {
                t.keepalive * 2
            }
        };
        view.living()
            .any(|p| p.name == self.spec.preferred && now < p.active_since + patience(p))
    }

    /// Rule 3, and rule 7 for a group that is offered to us. Why we want it, if we do, or what stands in the way.
    fn reason_to_claim(
        &self,
        now: Time,
        view: &View,
        round: &Round,
    ) -> Result<Option<Because>, Because> {
        let name = &self.spec.name;
        if let Some(holder) = view.living().find(|p| p.holds(name)) {
            // A claim that would have to be withdrawn at once is not made: the two would be repeated again and again.
            let obstacle = self.must_withdraw(now, view, round);
            let only_fencing = matches!(obstacle, None | Some(Because::AwaitsFencing(_)));
            let ours = self.offered_by(holder, view) && only_fencing;
            return Ok(ours.then(|| self.why_offered(holder, view)));
        }
        // A node that claims it or does not know yet is waited for: its next heartbeat will tell.
        let unknown = |p: &Peer| p.state(name) == GroupState::Unknown;
        if self.recognised.is_some() || view.living_nodes().any(unknown) {
            return Ok(None);
        }
        if let Some((peer, recognises)) = self.hearsay(view) {
            return Err(Because::Hearsay { peer, recognises });
        }
        if let Some(because) = self.stuck_elsewhere(view) {
            return Err(because);
        }
        if let Some(because) = self.held_by_machine(now, view) {
            return Err(because);
        }
        let candidates = self.candidates(view, round);
        let (node, because) = choose_node(&candidates)?;
        Ok((node == view.me()).then_some(because))
    }

    /// Why a holder offers the group to us, by what it says of itself.
    fn why_offered(&self, holder: &Peer, view: &View) -> Because {
        let name = &self.spec.name;
        let node = holder.name.clone();
        if let Some(why) = checks::ineligible(&holder.failed_checks, name) {
            return Because::IllAt(node, why);
        }
        let because = |why: &str| Because::IllAt(node.clone(), why.to_owned());
        if holder.phase == Phase::Leaving {
            because("leaves the cluster")
        } else if self.wishes.wanted {
            because("was asked for it by a takeover here")
        } else if holder.intent.standby.contains(name) {
            because("is in standby for it")
        } else if holder.intent.yielding.contains(name) {
            because("was told to give it away")
        } else if view.cluster.follow_connectivity
            && holder.reach.answering < view.reach().answering
        {
            because("reaches fewer ping nodes")
        } else if view.cluster.auto_failback && self.spec.preferred == *view.me() {
            because("gives it back: auto_failback is on, and this is its preferred node")
        } else {
            Because::OfferedBy(node)
        }
    }

    /// What keeps it from being started here and does not end by itself: a person must act, or a node must be heard.
    pub fn lasting_obstacle(&self, now: Time, view: &View) -> Option<Because> {
        if view.names.gives_way {
            return Some(Because::OtherMachine);
        }
        let unreadable = view
            .living_nodes()
            .find_map(|p| Some((p, p.unreadable_note()?)));
        if let Some((peer, why)) = unreadable {
            return Some(Because::CannotRun(peer.name.clone(), why));
        }
        if let Some(other) = self.other_configuration(view) {
            return Some(Because::OtherConfiguration(other));
        }
        if let Some((peer, recognises)) = self.hearsay(view) {
            return Some(Because::Hearsay { peer, recognises });
        }
        if self.state == LocalState::Claiming
            && let Some(because @ (Because::AddressAnswers(_) | Because::ForeignAnswers(_))) =
                self.probe_objection(now, view)
        {
            return Some(because);
        }
        self.held_for_good(now, view)
    }

    /// The same, as far as it is not over with the next heartbeats.
    pub fn held_for_good(&self, now: Time, view: &View) -> Option<Because> {
        if let Some(stranger) = view.held_by_stranger(now, &self.spec.name) {
            return Some(Because::HeldByStranger(stranger.clone()));
        }
        if let Some(node) = self.held_by_second_life(now, view) {
            return Some(Because::HeldByNamesake(node));
        }
        if let Some(because) = self.stuck_elsewhere(view) {
            return Some(because);
        }
        self.held_by_machine(now, view)
    }

    /// Rule 25. A living node with another configuration, where the group may not be started beside one.
    fn other_configuration(&self, view: &View) -> Option<NodeName> {
        let waits = self.awaits_agreement && !self.wishes.forced;
        let mut others = view.living().filter(|p| waits && view.differs(p));
        others.next().map(|p| p.name.clone())
    }

    /// Whether a holder offers the group to us, and hears us.
    fn offered_by(&self, holder: &Peer, view: &View) -> bool {
        let report = holder.groups.get(&self.spec.name);
        !view.is_deaf(holder) && report.is_some_and(|r| r.offer.as_ref() == Some(view.me()))
    }

    /// Rules 19 and 23. A dead node on which its stop had failed, or that has not heard of the end of its maintenance: it may
    /// still run there.
    fn stuck_elsewhere(&self, view: &View) -> Option<Because> {
        let unaware = |p: &Peer| self.unaware_of_end.iter().any(|(n, _)| *n == p.name);
        let stuck = |p: &&Peer| {
            p.liveness == Liveness::Dead
                && !p.is_confirmed_dead()
                && (unaware(p) || self.awaits_fencing_of(p, view).is_none())
                && (p.state(&self.spec.name) == GroupState::Stuck || unaware(p))
        };
        view.peers
            .iter()
            .find(stuck)
            .filter(|_| !self.wishes.forced)
            .map(|p| {
                if unaware(p) || p.unaware.contains(&self.spec.name) {
                    Because::UnawareAt(p.name.clone())
                } else {
                    Because::StuckAt(p.name.clone())
                }
            })
    }

    fn claim(&mut self, because: Because, now: Time, view: &View, round: &mut Round) {
        let term = Term(self.highest_term.0.saturating_add(1));
        round.keep_ahead(&self.spec.name, term);
        if !round.may_use(&self.spec.name, term) {
            return; // The answer to the order to save brings us back here.
        }
        self.term = term;
        self.highest_term = term;
        self.state = LocalState::Claiming;
        self.right.give_up();
        self.address_probe.begin_claim();
        self.reported.blocked_because = None;
        round.load += 1;
        let because = match self.dead_owner(view) {
            Some(owner) => Because::OwnerDead(owner),
            None => because,
        };
        round.record(&self.spec.name, What::Claim(term), because);
        self.update_recognition(now, view);
        self.decide_claiming(now, view, round);
    }

    /// The dead node that was last known to have it.
    fn dead_owner(&self, view: &View) -> Option<NodeName> {
        let held = |p: &&Peer| p.liveness == Liveness::Dead && p.holds(&self.spec.name);
        view.peers.iter().find(held).map(|p| p.name.clone())
    }

    /// We asked: withdraw, start, or wait on.
    pub(super) fn decide_claiming(&mut self, now: Time, view: &View, round: &mut Round) {
        if let Some(because) = self.must_withdraw(now, view, round) {
            self.withdraw_claim(because, round);
            return;
        }
        match self.objection_to_start(now, view) {
            Some(
                because @ (Because::AddressAnswers(_)
                | Because::ForeignAnswers(_)
                | Because::StopsStill(..)
                | Because::PingGap
                | Because::HeldByStranger(_)
                | Because::HeldByNamesake(_)),
            ) => {
                self.report_blocked(because, round);
            }
            Some(Because::ProbeRuns) if self.address_probe.gave_up(now) => {
                self.probe_gave_up(now, round);
            }
            // It is usual to wait for agreement and for the first silent rounds: that is not worth a record.
            Some(_) => {}
            None => self.begin_start(now, view, round),
        }
    }

    fn begin_start(&mut self, now: Time, view: &View, round: &mut Round) {
        self.state = LocalState::Starting {
            restarting: false,
            stood_still: false,
            offer: None,
        };
        self.reported.blocked_because = None;
        round.record(&self.spec.name, What::Start, Because::AllAgreed);
        // Before the start: what is started under the right shall know how long it lasts.
        self.renew_right(now, view, round);
        self.stack.start(&self.spec, round);
    }

    /// Gives the claim up.
    pub(super) fn withdraw_claim(&mut self, because: Because, round: &mut Round) {
        self.state = LocalState::Offline;
        self.right.give_up();
        round.record(&self.spec.name, What::Withdraw, because);
    }

    /// Rule 10. The probe gets neither an answer nor silence. What keeps it from asking would also keep the address from
    /// working.
    fn probe_gave_up(&mut self, now: Time, round: &mut Round) {
        let text = "cannot check whether another machine still answers for its addresses: check the interface and the log";
        self.right.give_up();
        self.note_failure(now, text.to_owned());
        self.state = LocalState::Failed;
        let because = Because::Agent(text.to_owned());
        round.record(&self.spec.name, What::Failed, because);
    }

    /// Rule 4. Why the claim cannot stand.
    fn must_withdraw(&self, now: Time, view: &View, round: &Round) -> Option<Because> {
        let name = &self.spec.name;
        if self.removed {
            return Some(Because::Reconfigured);
        }
        if self.in_maintenance(view) {
            return Some(Because::Maintenance);
        }
        if view.leaving {
            return Some(Because::Leaving);
        }
        if view.names.gives_way {
            return Some(Because::OtherMachine);
        }
        if let Some(why) = self.own_candidate(view, round).ineligible {
            return Some(Because::CannotRun(view.me().clone(), why));
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
        if let Some(because) = self.held_by_machine(now, view) {
            return Some(because);
        }
        if let Some(node) = self.awaits_fencing(view) {
            return Some(Because::AwaitsFencing(node));
        }
        self.hearsay(view)
            .map(|(peer, recognises)| Because::Hearsay { peer, recognises })
    }

    /// Rules 5, 6, 10 and 27. What still stands between our claim and the start.
    pub(super) fn objection_to_start(&self, now: Time, view: &View) -> Option<Because> {
        let nodes_agree = self.nodes_agree(view);
        let asked = |p: &&Peer| !(nodes_agree && view.cluster.is_witness(&p.name));
        let waits = view
            .peers
            .iter()
            .filter(asked)
            .find_map(|p| self.peer_objection(p, now, view));
        if waits.is_some() {
            return waits;
        }
        if let Some(node) = self.awaits_fencing(view) {
            return Some(Because::AwaitsFencing(node));
        }
        if let Some(node) = self.waits_for_machine(now, view) {
            return Some(Because::MachineProbed(node));
        }
        if let Some(stranger) = view.held_by_stranger(now, &self.spec.name) {
            return Some(Because::HeldByStranger(stranger.clone()));
        }
        if let Some(node) = self.held_by_second_life(now, view) {
            return Some(Because::HeldByNamesake(node));
        }
        if view.counts_votes() && (!view.quorate || now >= self.right.ends_at(view)) {
            return Some(Because::NoQuorum);
        }
        if self.waits_for_arbiter(now, view) {
            return Some(Because::PingGap);
        }
        self.probe_objection(now, view)
    }

    /// Rule 30. A second machine with the name of a node that may run it.
    pub(super) fn held_by_second_life(&self, now: Time, view: &View) -> Option<NodeName> {
        let second = view.held_by_second_life(now, &self.spec.name, self.time_to_stop(view));
        second.filter(|_| !self.wishes.forced)
    }

    /// Rule 27. Whether a peer that is not heard may be the one that reached the arbiter until a moment ago. One that has
    /// just left holds nothing.
    fn waits_for_arbiter(&self, now: Time, view: &View) -> bool {
        let deadtime = view.cluster.timing.deadtime;
        let unheard = |p: &Peer| match p.liveness {
            Liveness::Dead => true,
            Liveness::Left => now >= p.last_heard + deadtime,
            _ => false,
        };
        // Rule 38. One that was fenced may be back.
        let unheard = |p: &Peer| !p.has_persons_word() && unheard(p);
        view.has_leases()
            && !self.wishes.forced
            && view.peers.iter().any(unheard)
            && now < view.arbiter_usable_from(now)
    }

    /// Whether every other node is living and agrees. Then the witnesses are not asked: only nodes can hold or claim the
    /// group, each recognises one node at most, and all recognise us. A witness may be far away.
    fn nodes_agree(&self, view: &View) -> bool {
        let agrees = |p: &Peer| p.is_living() && self.peer_agrees(p, view);
        view.peer_nodes().all(agrees)
    }

    /// Whether a living peer shows the group down, recognises us, and hears us.
    fn peer_agrees(&self, peer: &Peer, view: &View) -> bool {
        self.is_down_at(peer) && self.recognises_us(peer, view) && !view.is_deaf(peer)
    }

    fn is_down_at(&self, peer: &Peer) -> bool {
        matches!(
            peer.state(&self.spec.name),
            GroupState::Offline | GroupState::Failed
        )
    }

    fn peer_objection(&self, peer: &Peer, now: Time, view: &View) -> Option<Because> {
        let waits = Some(Because::WaitsFor(peer.name.clone()));
        match peer.liveness {
            Liveness::Left | Liveness::Here => None,
            Liveness::Dead if view.cluster.is_witness(&peer.name) => None,
            Liveness::Dead
                if self.wishes.forced
                    || peer.is_confirmed_dead()
                    || now >= self.stopped_by(peer, view) =>
            {
                None
            }
            Liveness::Dead => Some(Because::StopsStill(
                peer.name.clone(),
                self.time_to_stop(view),
            )),
            Liveness::Init => waits,
            Liveness::Active | Liveness::Late => {
                let quiet = self.is_down_at(peer);
                let agrees = self.peer_agrees(peer, view);
                // A peer that cannot hear us can never agree. Where more than half of the nodes recognise us,
                // nobody else can be recognised by as many, and its silence need not hold us up.
                let outvoted = quiet && view.is_deaf(peer) && self.majority_of_nodes(view);
                // Rule 28. One that hears nobody, and has nothing of it, must not hold the cluster for ever.
                let ignored = quiet
                    && peer.blocks_no_longer(now, &view.cluster.timing)
                    && !self.could_start_alone(peer, view)
                    && !self.waits_for_fencing_of(peer, view);
                let settled = agrees || outvoted || ignored;
                if settled { None } else { waits }
            }
        }
    }

    fn majority_of_nodes(&self, view: &View) -> bool {
        let agree = view
            .living()
            .filter(|p| !view.is_deaf(p) && self.recognises_us(p, view));
        view.is_majority(agree)
    }

    /// Rule 10. When a dead peer has certainly stopped the group: its right ends by itself, and its stop takes its time.
    pub(super) fn stopped_by(&self, peer: &Peer, view: &View) -> Time {
        peer.last_heard + peer.dead_after(&view.cluster.timing) + self.time_to_stop(view)
    }

    fn time_to_stop(&self, view: &View) -> Duration {
        if view.has_leases() {
            self.spec.steps.iter().map(|s| s.removal).sum()
        } else {
            Duration::ZERO
        }
    }
}
