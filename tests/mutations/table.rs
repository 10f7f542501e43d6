//! Faults that are put into the engine on purpose, named by the rule of `src/engine/PROTOCOL.md` that each breaks. Each
//! replaces a text that must be found exactly once, so a change of the engine that moves the text must change this table.

use crate::{fencing_rules, later_rules};

/// One fault in the engine.
pub struct Mutation {
    /// The number of the rule that it breaks, and how. Unique.
    pub name: &'static str,
    /// The file in `src/engine`.
    pub file: &'static str,
    /// The text that it replaces.
    pub find: &'static str,
    /// What it becomes.
    pub replace: &'static str,
}

/// A row.
pub const fn m(
    name: &'static str,
    file: &'static str,
    find: &'static str,
    replace: &'static str,
) -> Mutation {
    Mutation {
        name,
        file,
        find,
        replace,
    }
}

/// Every mutation.
pub fn mutations() -> impl Iterator<Item = &'static Mutation> {
    let later = later_rules::TABLE.iter().chain(fencing_rules::TABLE);
    TABLE.iter().chain(later)
}

/// Those of rules 1 to 10.
const TABLE: &[Mutation] = &[
    // Rule 1: one recognition at a time, published, kept while it stands.
    m(
        "1: a recognition is chosen anew in every round",
        "group/recognition.rs",
        "            .kept_recognition(view)\n            .or_else(|| self.new_recognition(now, view));",
        "            .new_recognition(now, view);",
    ),
    m(
        "1: a recognition outlives the claim that it was for",
        "group/recognition.rs",
        "        let stands = report.term == to.term\n            && (",
        "        let stands = report.term.0 > 0\n            || (",
    ),
    m(
        "1: a recognition outlives a restart of the node that it names",
        "group/recognition.rs",
        ".filter(|p| p.is_living() && p.generation == Some(to.generation))?;",
        ".filter(|p| p.is_living())?;",
    ),
    m(
        "1: of two holders the wrong one is recognised",
        "group/recognition.rs",
        "holders.min_by_key(|p| self.right_of(p))",
        "holders.max_by_key(|p| self.right_of(p))",
    ),
    m(
        "1: a claimant recognises others",
        "group/recognition.rs",
        "        if holds || self.state == LocalState::Claiming {",
        "        if holds {",
    ),
    m(
        "1: something is promised while another node looks at what it runs",
        "group/recognition.rs",
        "            .any(|p| p.state(&self.spec.name) == GroupState::Unknown)\n        {\n            return None;",
        "            .any(|p| p.state(&self.spec.name) == GroupState::Stuck)\n        {\n            return None;",
    ),
    // Rule 2: joined first.
    m(
        "2: a node that has not heard everybody promises something",
        "group/recognition.rs",
        "if !view.joined || self.state() == GroupState::Unknown {",
        "if self.state() == GroupState::Unknown {",
    ),
    m(
        "2: a node that has not heard everybody claims",
        "group/claim.rs",
        "if !view.joined || view.leaving || self.removed || self.in_maintenance(view) {",
        "if view.leaving || self.removed || self.in_maintenance(view) {",
    ),
    m(
        "2: a node takes part before initdead",
        "mod.rs",
        "Peer::new(name.clone(), rank, cluster, now, initdead)",
        "Peer::new(name.clone(), rank, cluster, now, initdead / 4)",
    ),
    // Rule 3: the claim and its term.
    m(
        "3: a claim takes the last term again",
        "group/claim.rs",
        "        let term = Term(self.highest_term.0.saturating_add(1));\n        round.keep_ahead",
        "        let term = Term(self.highest_term.0.max(1));\n        round.keep_ahead",
    ),
    m(
        "3: terms seen at others do not count",
        "membership.rs",
        "                group.see_term(term);",
        "                group.see_term(group.term().min(term));",
    ),
    m(
        "3: a term is used before it is on disk",
        "group/claim.rs",
        "if !round.may_use(&self.spec.name, term) {",
        "if false && !round.may_use(&self.spec.name, term) {",
    ),
    m(
        "3: a node claims although it recognises another",
        "group/claim.rs",
        "        if self.recognised.is_some() || view.living_nodes()",
        "        if view.living_nodes()",
    ),
    m(
        "3: a node claims what another does not know yet",
        "group/claim.rs",
        "        if self.recognised.is_some() || view.living_nodes().any(unknown) {",
        "        if self.recognised.is_some() {",
    ),
    // Rule 4: withdraw.
    m(
        "4: a claim stands before a better one",
        "group/claim.rs",
        "            if better {",
        "            if better && false {",
    ),
    m(
        "4: a claim stands beside a holder that did not offer",
        "group/claim.rs",
        "            if peer.holds(name) && !self.offered_by(peer, view) {",
        "            if false && peer.holds(name) && !self.offered_by(peer, view) {",
    ),
    m(
        "4: what a peer says of a node that we do not hear is not believed",
        "group/claim.rs",
        "        self.hearsay(view)\n            .map(|(peer, recognises)| Because::Hearsay { peer, recognises })\n    }\n\n    /// Rules 5",
        "        None\n    }\n\n    /// Rules 5",
    ),
    m(
        "4: a claim outlives candidacy and quorum",
        "group/claim.rs",
        "        if let Some(why) = self.own_candidate(view, round).ineligible {",
        "        if let Some(why) = self.own_candidate(view, round).ineligible.filter(|_| false) {",
    ),
    // Rule 5: the start.
    m(
        "5: one agreement is enough",
        "group/claim.rs",
        "                let settled = agrees || outvoted || ignored;",
        "                let settled = agrees || outvoted || ignored || view.living().any(|p| self.recognises_us(p, view));",
    ),
    m(
        "5: nobody is asked",
        "group/claim.rs",
        "                let settled = agrees || outvoted || ignored;",
        "                let settled = quiet || agrees || outvoted || ignored;",
    ),
    m(
        "5: an agreement to an older claim counts",
        "group/recognition.rs",
        "            to.node == *view.me() && to.generation == view.generation && to.term == self.term",
        "            to.node == *view.me() && to.generation == view.generation",
    ),
    m(
        "5: an agreement to an older life counts",
        "group/recognition.rs",
        "            to.node == *view.me() && to.generation == view.generation && to.term == self.term",
        "            to.node == *view.me() && to.term == self.term",
    ),
    m(
        "5: a peer agrees although the group is not down there",
        "group/claim.rs",
        "        self.is_down_at(peer) && self.recognises_us(peer, view) && !view.is_deaf(peer)",
        "        (self.is_down_at(peer) || peer.holds(&self.spec.name)) && !view.is_deaf(peer)",
    ),
    m(
        "5: a peer that was not heard yet does not count",
        "group/claim.rs",
        "            Liveness::Init => waits,",
        "            Liveness::Init => None,",
    ),
    m(
        "5: a late peer is taken for dead",
        "group/claim.rs",
        "            Liveness::Left | Liveness::Here => None,",
        "            Liveness::Left | Liveness::Here | Liveness::Late => None,",
    ),
    m(
        "5: a peer is dead after half of deadtime",
        "membership.rs",
        "            if silent >= peer.dead_after(timing) && now >= peer.back_by =>",
        "            if silent >= peer.dead_after(timing) / 2 && now >= peer.back_by =>",
    ),
    m(
        "5: a start without a lease",
        "group/claim.rs",
        "        if view.counts_votes() && (!view.quorate || now >= self.right.ends_at(view)) {",
        "        if view.counts_votes() && !view.quorate {",
    ),
    // Rule 6: the right is a lease from our own sending.
    m(
        "6: the right never ends",
        "group/ownership.rs",
        "        if now >= self.right.ends_at(view) {\n            self.begin_stop(Because::LeaseEnded, StopOrder::AddressesFirst, round);\n            return;\n        }\n        self.announce_after_contest",
        "        self.announce_after_contest",
    ),
    m(
        "6: a stop loses the addresses before their turn",
        "group/work.rs",
        "            keeps_right: order == StopOrder::Reverse,",
        "            keeps_right: false,",
    ),
    m(
        "6: the right is counted from what is heard",
        "membership.rs",
        "            group.take_confirmation(peer, sent, &self.view);",
        "            group.take_confirmation(peer, self.now, &self.view);",
    ),
    m(
        "6: every heartbeat confirms, whomever it recognises",
        "group/recognition.rs",
        "        if unclaimed || self.recognises_us(peer, view) {",
        "        if unclaimed || self.state().holds() {",
    ),
    m(
        "6: the margin is forgotten",
        "quorum.rs",
        "    last_needed.map_or(Time::ZERO, |(end, _)| *end)",
        "    last_needed.map_or(Time::ZERO, |(end, _)| *end + std::time::Duration::from_millis(800))",
    ),
    m(
        "6: half of the votes is enough",
        "group/right.rs",
        "        let others_needed = needed.saturating_sub(list.votes_of(view.me()));",
        "        let others_needed = (needed - 1).saturating_sub(list.votes_of(view.me()));",
    ),
    m(
        "6: the newest confirmation is enough for the lease",
        "quorum.rs",
        "        votes += share;",
        "        votes += others_needed.max(*share);",
    ),
    m(
        "6: a ping node's answer counts from when it came",
        "quorum.rs",
        "        ping.answered = Some(ping.answered.map_or(sent, |at| at.max(sent)));",
        "        ping.answered = Some(ping.answered.map_or(self.now, |at| at.max(self.now)));",
    ),
    // Rule 7: handover only by offer.
    m(
        "7: the preferred node claims what another runs",
        "group/claim.rs",
        "            return Ok(ours.then(|| self.why_offered(holder, view)));",
        "            return Ok((ours || self.spec.preferred == *view.me()).then(|| self.why_offered(holder, view)));",
    ),
    m(
        "7: the owner does not wait for the claim",
        "group/handover.rs",
        "        if claims && stands {",
        "        if stands {",
    ),
    m(
        "7: an offer is never taken back",
        "group/handover.rs",
        "        } else if !stands {",
        "        } else if false {",
    ),
    m(
        "7: the owner goes on when the target claims",
        "group/handover.rs",
        "        if claims && stands {",
        "        if claims && stands && false {",
    ),
    m(
        "7: failback although it is off",
        "group/handover.rs",
        "            .filter(|c| view.cluster.auto_failback && !worse_connected(c, view));",
        "            .filter(|c| !worse_connected(c, view));",
    ),
    m(
        "17: failback to a node that reaches fewer ping nodes",
        "group/handover.rs",
        "            .filter(|c| view.cluster.auto_failback && !worse_connected(c, view));",
        "            .filter(|_| view.cluster.auto_failback);",
    ),
    // Rule 8: deaf peers.
    m(
        "8: nobody is deaf",
        "peer.rs",
        "        let unheard = self.last_heard > self.unheard_since() + timing.deadtime;",
        "        let unheard = self.last_heard > self.unheard_since() + timing.deadtime * 1000;",
    ),
    m(
        "8: a deaf peer's agreement counts",
        "group/claim.rs",
        "        self.is_down_at(peer) && self.recognises_us(peer, view) && !view.is_deaf(peer)",
        "        self.is_down_at(peer) && self.recognises_us(peer, view)",
    ),
    m(
        "8: a deaf peer has a vote",
        "voters.rs",
        "        let votes = |p: &Peer| !self.is_deaf(p) && self.counts_by_our_lists(p);",
        "        let votes = |p: &Peer| self.counts_by_our_lists(p);",
    ),
    m(
        "8: a deaf peer is a candidate",
        "view.rs",
        "            (self.is_deaf(peer), \"does not receive our heartbeats\"),",
        "            (false, \"does not receive our heartbeats\"),",
    ),
    m(
        "8: a deaf holder with quorum is not yielded to",
        "group/ownership.rs",
        "            let acts = view.is_deaf(peer) && peer.quorate;",
        "            let acts = false;",
    ),
    m(
        "8: we wait until a peer takes us for dead",
        "group/ownership.rs",
        "            if self.may_act_without_us(peer, now, view) {",
        "            if false && self.may_act_without_us(peer, now, view) {",
    ),
    // Rule 9: two holders.
    m(
        "9: neither of two holders yields",
        "group/ownership.rs",
        "            if is_running(state) && better && self.right.is_known_to(peer.acked) {",
        "            if false && better {",
    ),
    m(
        "9: both of two holders yield",
        "group/ownership.rs",
        "            if is_running(state) && better && self.right.is_known_to(peer.acked) {",
        "            if is_running(state) {",
    ),
    m(
        "9: one that has not heard of us yet is given way to",
        "group/right.rs",
        "        acknowledged.is_some_and(|sent| sent >= self.held_since)",
        "        acknowledged.is_none_or(|_| true)",
    ),
    m(
        "9: a clock that stood still is not noticed",
        "group/ownership.rs",
        "            let later = to.held && to.node",
        "            let later = false && to.node",
    ),
    m(
        "9: the keeper does not announce",
        "group/ownership.rs",
        "        if contested != self.reported.contested && self.state.is_online() {",
        "        if false && contested != self.reported.contested {",
    ),
    // Rule 10: the dead.
    m(
        "10: a dead node's stop is not waited for",
        "group/claim.rs",
        "        peer.last_heard + peer.dead_after(&view.cluster.timing) + self.time_to_stop(view)",
        "        peer.last_heard + peer.dead_after(&view.cluster.timing)",
    ),
    m(
        "10: nobody asks the wire",
        "group/address_probe.rs",
        "        if self.address_probe.silent_rounds >= SILENT_ROUNDS_NEEDED {",
        "        if true {",
    ),
    m(
        "10: one round of silence is enough, an answer or not",
        "group/address_probe.rs",
        "        self.silent_rounds = 0;\n    }\n\n    /// Silence counts",
        "        self.silent_rounds = SILENT_ROUNDS_NEEDED;\n    }\n\n    /// Silence counts",
    ),
    m(
        "10: silence from before the answer counts",
        "group/address_probe.rs",
        "self.answered.as_ref().is_none_or(|(at, _)| *at < sent) {",
        "self.answered.as_ref().is_none_or(|_| true) {",
    ),
    m(
        "10: a node that left long ago is not asked for on the wire",
        "group/address_probe.rs",
        "        Liveness::Left => now >= p.last_heard + deadtime,",
        "        Liveness::Left => false,",
    ),
    m(
        "23: a group stuck on a dead node is started",
        "group/claim.rs",
        "                && (p.state(&self.spec.name) == GroupState::Stuck || unaware(p))",
        "                && (false && unaware(p))",
    ),
    m(
        "19: the end of maintenance is known to whoever held the group",
        "group/mod.rs",
        "            let aware = peer.fresh && peer.acked.is_some_and(|at| at > *since);",
        "            let aware = true;",
    ),
];
