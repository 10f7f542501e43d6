//! Faults that are put into the engine on purpose, named by the rule of `src/engine/PROTOCOL.md` that each breaks. Each
//! replaces a text that must be found exactly once, so a change of the engine that moves the text must change this table.

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

const fn m(
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
pub const TABLE: &[Mutation] = &[
    // Rule 1: one recognition at a time, published, kept while it stands.
    m(
        "1: a recognition is chosen anew in every round",
        "group/recognition.rs",
        "            .kept_recognition(view)\n            .or_else(|| self.new_recognition(view));",
        "            .new_recognition(view);",
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
        "Peer::new(name.clone(), rank, &cluster.links, now, initdead)",
        "Peer::new(name.clone(), rank, &cluster.links, now, initdead / 4)",
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
        "        if self.recognised.is_some() || view.living()",
        "        if view.living()",
    ),
    m(
        "3: a node claims what another does not know yet",
        "group/claim.rs",
        "        if self.recognised.is_some() || view.living().any(|p| p.state(name) == GroupState::Unknown)\n        {",
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
        "                if agrees || outvoted { None } else { waits }",
        "                if agrees || outvoted || view.living().any(|p| self.recognises_us(p, view)) { None } else { waits }",
    ),
    m(
        "5: nobody is asked",
        "group/claim.rs",
        "                if agrees || outvoted { None } else { waits }",
        "                if quiet { None } else { waits }",
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
        "                let agrees = quiet && self.recognises_us(peer, view) && !view.is_deaf(peer);",
        "                let agrees = (quiet || peer.holds(&self.spec.name)) && !view.is_deaf(peer);",
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
        "        Liveness::Active | Liveness::Late if silent >= timing.deadtime && now >= peer.back_by => {",
        "        Liveness::Active | Liveness::Late if silent >= timing.deadtime / 2 && now >= peer.back_by => {",
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
        ".map_or(Time::ZERO, |(at, _)| *at + timing.lease())",
        ".map_or(Time::ZERO, |(at, _)| *at + timing.deadtime + timing.margin)",
    ),
    m(
        "6: half of the votes is enough",
        "group/right.rs",
        "        let others_needed = shares.needed().saturating_sub(shares.of_node(view.rank));",
        "        let others_needed = (shares.needed() - 1).saturating_sub(shares.of_node(view.rank));",
    ),
    m(
        "6: the newest confirmation is enough for the lease",
        "quorum.rs",
        "        votes += share;",
        "        votes += others_needed.max(*share);",
    ),
    m(
        "6: a ping node's answer counts from when it came",
        "membership.rs",
        "        ping.answered = Some(ping.answered.map_or(sent, |at| at.max(sent)));",
        "        ping.answered = Some(ping.answered.map_or(self.now, |at| at.max(self.now)));",
    ),
    // Rule 7: handover only by offer.
    m(
        "7: the preferred node claims what another runs",
        "group/claim.rs",
        "                ours.then(|| match checks::ineligible(&holder.failed_checks, name) {",
        "                (ours || self.spec.preferred == *view.me()).then(|| match checks::ineligible(&holder.failed_checks, name) {",
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
        "            .filter(|_| view.cluster.auto_failback);",
        "            .filter(|_| true);",
    ),
    // Rule 8: deaf peers.
    m(
        "8: nobody is deaf",
        "peer.rs",
        "        self.is_living() && self.last_heard > self.unheard_since() + timing.deadtime",
        "        self.is_living() && self.last_heard > self.unheard_since() + timing.deadtime * 1000",
    ),
    m(
        "8: a deaf peer's agreement counts",
        "group/claim.rs",
        "                let agrees = quiet && self.recognises_us(peer, view) && !view.is_deaf(peer);",
        "                let agrees = quiet && self.recognises_us(peer, view);",
    ),
    m(
        "8: a deaf peer has a vote",
        "view.rs",
        "        let peers = self.living().filter(|p| !self.is_deaf(p));",
        "        let peers = self.living();",
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
        "        peer.last_heard + view.cluster.timing.deadtime + self.time_to_stop(view)",
        "        peer.last_heard + view.cluster.timing.deadtime",
    ),
    m(
        "10: nobody asks the wire",
        "group/address_probe.rs",
        "            || self.address_probe.silent_rounds >= SILENT_ROUNDS_NEEDED",
        "            || true",
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
        "            p.liveness == Liveness::Dead && p.state(&self.spec.name) == GroupState::Stuck",
        "            false && p.state(&self.spec.name) == GroupState::Stuck",
    ),
    // Rule 11: restart.
    m(
        "11: a node promises something before it knows what runs here",
        "group/recognition.rs",
        "if !view.joined || self.state() == GroupState::Unknown {",
        "if !view.joined {",
    ),
    m(
        "11: what was found running is adopted beside a holder",
        "group/ownership.rs",
        "            if let Some(holder) = self.held_elsewhere(view) {",
        "            if let Some(holder) = self.held_elsewhere(view).filter(|_| false) {",
    ),
    m(
        "11: what was found running is adopted after its lease",
        "group/ownership.rs",
        "            if view.has_leases() && now >= self.right.ends_at(view) {\n                self.begin_stop",
        "            if false {\n                self.begin_stop",
    ),
    m(
        "11: what was found running is adopted before everybody was heard",
        "group/ownership.rs",
        "        if !view.joined || (!view.quorate && !frozen) {",
        "        if false {",
    ),
    m(
        "11: what runs is taken for not running",
        "group/ownership.rs",
        "            ProbeResult::AllRun => self.decide_found(now, view, round, frozen),",
        "            ProbeResult::AllRun => self.state = LocalState::Offline,",
    ),
    m(
        "11: what runs in part is left as it is",
        "group/ownership.rs",
        "                self.begin_stop(Because::FoundPartly(what), StopOrder::AddressesFirst, round);",
        "                drop(what);\n                self.state = LocalState::Offline;",
    ),
    m(
        "11: a lease stretched for a restart outlives what the peers grant",
        "group/definition.rs",
        "at.min(usual).max(now",
        "at.max(now",
    ),
    m(
        "24: a daemon that came back early and has not probed yet is not waited for",
        "peer.rs",
        "            None if looks => self.back_by,\n",
        "",
    ),
    // Rule 12: a gap in our own time.
    m(
        "12: a gap is not noticed",
        "mod.rs",
        "        if gap > self.view.cluster.timing.warntime {",
        "        if gap > self.view.cluster.timing.warntime * 1000 {",
    ),
    m(
        "12: peers are believed after a gap",
        "membership.rs",
        "            peer.liveness = Liveness::Init;\n            peer.init_deadline = peer.init_deadline.max(now + deadtime);",
        "            peer.init_deadline = peer.init_deadline.max(now + deadtime);",
    ),
    m(
        "12: nobody is listened for after a gap",
        "membership.rs",
        "        self.view.listen_until = now + deadtime;",
        "        self.view.listen_until = now;",
    ),
    m(
        "12: a claim outlives a gap",
        "group/ownership.rs",
        "            LocalState::Claiming => self.withdraw_claim(Because::NodeWasStopped, round),",
        "            LocalState::Claiming => {}",
    ),
    m(
        "12: what is held outlives a gap and its lease",
        "group/ownership.rs",
        "                if lost && !self.in_maintenance(view) {",
        "                if false && lost {",
    ),
    m(
        "12: what was being started in a gap is not judged anew",
        "group/work.rs",
        "        if stood_still {",
        "        if stood_still && false {",
    ),
    // Rule 13: generations.
    m(
        "13: a lost store is not noticed",
        "membership.rs",
        "            self.notice_lost_store(&heartbeat.src, heard.generation);\n            return;",
        "            return;",
    ),
    m(
        "13: the next life takes the number that was seen",
        "membership.rs",
        "        let next = Generation(seen.0.saturating_add(1));",
        "        let next = seen;",
    ),
    m(
        "13: heartbeats of an older life are believed",
        "peer.rs",
        "            Some(g) if heartbeat.generation < g => Hearing::Old,",
        "            Some(g) if heartbeat.generation < g => Hearing::Newest,",
    ),
    m(
        "13: old heartbeats of this life are believed",
        "peer.rs",
        "            Some(_) if heartbeat.sequence > self.sequence => Hearing::Newest,",
        "            Some(_) if heartbeat.sequence != self.sequence => Hearing::Newest,",
    ),
    m(
        "13: what a peer's former life published still counts",
        "peer.rs",
        "            Hearing::Restarted => self.forget_life(now),",
        "            Hearing::Restarted => {}",
    ),
    // Rules 14, 15, 20 and 24: failures, leaving, votes.
    m(
        "20: a failed stop is taken for stopped",
        "group/stack.rs",
        "        } else if self.stop_errors.is_empty() {",
        "        } else if true {",
    ),
    m(
        "20: only the last stop's failure counts",
        "group/stack.rs",
        "            self.set_step(step, ResourceState::Stopped, None);\n        }\n        self.stop_next",
        "            self.set_step(step, ResourceState::Stopped, None);\n            self.stop_errors.clear();\n        }\n        self.stop_next",
    ),
    m(
        "20: a stop that timed out is a success",
        "group/stack.rs",
        "        Outcome::Succeeded | Outcome::Seen(_) => None,\n        Outcome::Failed(text) | Outcome::TimedOut(text) => Some(text.clone()),",
        "        Outcome::Succeeded | Outcome::Seen(_) | Outcome::TimedOut(_) => None,\n        Outcome::Failed(text) => Some(text.clone()),",
    ),
    m(
        "20: a failed start is not undone",
        "group/work.rs",
        "                self.begin_stop(Because::Agent(text), StopOrder::Reverse, round);\n            }\n            WorkEnd::Down",
        "                self.state = LocalState::Stopping { because: Because::Agent(text), waits_to_begin: None, keeps_right: true, offer: None };\n                self.steps_down(round);\n            }\n            WorkEnd::Down",
    ),
    m(
        "14: a failed node stays a candidate for itself",
        "group/candidates.rs",
        "            () if failed => Some(\"failed to run it\".to_owned()),",
        "            () if failed && false => Some(\"failed to run it\".to_owned()),",
    ),
    m(
        "14: a failure never expires",
        "group/failure.rs",
        "        if now >= failure.expires_at || (now >= failure.retry_at && alone()) {",
        "        if false && alone() {",
    ),
    m(
        "14: goodbye is published before all is down",
        "publish.rs",
        "        if self.view.leaving && !self.publisher.is_saying_goodbye() && self.given_up() {",
        "        if self.view.leaving && !self.publisher.is_saying_goodbye() {",
    ),
    m(
        "14: a node that leaves with something stuck says that all is clean",
        "publish.rs",
        "            let phase = if clean { Phase::Left } else { Phase::Leaving };",
        "            let phase = if clean || true { Phase::Left } else { Phase::Leaving };",
    ),
    m(
        "15: nodes that left lower the votes that a lease needs",
        "group/right.rs",
        "        let others_needed = shares.needed().saturating_sub(shares.of_node(view.rank));",
        "        let left = view.peers.iter().filter(|p| p.liveness == Liveness::Left).count();\n        let others_needed = ((shares.total() - u32::try_from(left).unwrap_or(0)) / 2 + 1).saturating_sub(shares.of_node(view.rank));",
    ),
    m(
        "15: ping nodes have a vote among three nodes",
        "quorum.rs",
        "    if !shares.has_arbiter() {",
        "    if pings.is_empty() {",
    ),
    m(
        "24: a right is stretched for a restart that nobody heard of",
        "group/ownership.rs",
        "        if longer && told && !(alone",
        "        if longer && !(alone",
    ),
    // Rules 17 to 26, and what no rule says.
    m(
        "20: steps are stopped in the order in which they are started",
        "group/stack.rs",
        "let mut rest: Vec<usize> = (0..self.steps.len()).collect();",
        "let mut rest: Vec<usize> = (0..self.steps.len()).rev().collect();",
    ),
    m(
        "20: the end of another order counts",
        "group/stack.rs",
        "            Work::Starting { order: o, step } if o == order => {",
        "            Work::Starting { order: _, step } => {",
    ),
    m(
        "21: a lost resource is not noticed",
        "group/monitoring.rs",
        "        if up && !self.in_maintenance(view) {",
        "        if false && up && !self.in_maintenance(view) {",
    ),
    m(
        "21: nothing is monitored",
        "group/monitoring.rs",
        "        let on = monitored\n            && self.state.is_online()",
        "        let on = false\n            && self.state.is_online()",
    ),
    m(
        "21: one good result makes all bad ones forgotten",
        "group/monitoring.rs",
        "            if self.passing >= policy.rise {",
        "            if self.passing >= 1 {",
    ),
    m(
        "21: one bad result is enough",
        "group/monitoring.rs",
        "        failed && self.failing >= policy.fall",
        "        failed",
    ),
    m(
        "21: restarts are not counted",
        "group/monitoring.rs",
        "        if spent >= policy.restart {",
        "        if policy.restart == 0 {",
    ),
    m(
        "21: a restart in place stops one step only",
        "group/monitoring.rs",
        "            self.stack.restart(step, &self.spec, round);",
        "            self.stack.restart(self.spec.steps.len() - 1, &self.spec, round);",
    ),
    m(
        "22: a node that fails a check stays a candidate",
        "checks.rs",
        "    let found = checks.iter().find(|a| a.makes_ineligible(group));",
        "    let found = checks.iter().find(|a| a.makes_ineligible(group) && a.pending);",
    ),
    m(
        "22: a group stays on a node that fails a check",
        "checks.rs",
        "        let failed = driving.find(|a| a.makes_ineligible(group))?;",
        "        let failed = driving.find(|a| !a.makes_ineligible(group))?;",
    ),
    m(
        "22: a check with `owner stays` drives the owner away",
        "checks.rs",
        "c.state == CheckState::Failed && !c.policy.stays;",
        "c.state == CheckState::Failed;",
    ),
    m(
        "17: failback does not wait for failback_when",
        "checks.rs",
        "    let waits = checks.iter().find(|a| a.check == FAILBACK_WHEN)?;",
        "    let waits = checks.iter().find(|a| a.check == FAILBACK_WHEN && a.pending)?;",
    ),
    m(
        "loop: a deadline that has come is asked for again at once",
        "mod.rs",
        "        soonest.max(self.now + Duration::from_millis(1))",
        "        soonest.min(self.now)",
    ),
    m(
        "26: changes are not sent before the next keepalive, and claims are not answered",
        "publish.rs",
        "        if on_time || dense || ((changed || whole) && self.publisher.take_token(now)) {",
        "        if on_time || dense {",
    ),
    m(
        "26: no heartbeat is sent unless something changes",
        "publish.rs",
        "        if on_time || dense || ((changed || whole) && self.publisher.take_token(now)) {",
        "        if (changed || whole && !on_time) && self.publisher.take_token(now) {",
    ),
    m(
        "18: a command is never answered",
        "outcome.rs",
        "                Progress::Waiting if now >= pending.until => {",
        "                Progress::Waiting if now >= pending.until && false => {",
    ),
    m(
        "19: a group in maintenance is moved",
        "group/mod.rs",
        "        self.wishes.maintenance || view.peers.iter().any(|p| p.maintains(&self.spec.name))",
        "        self.wishes.maintenance && view.peers.iter().any(|p| p.maintains(&self.spec.name))",
    ),
    m(
        "memory: orders to save are never forgotten",
        "mod.rs",
        "        self.saving.retain(|(v, _)| *v > version);",
        "        self.saving.retain(|(v, _)| *v > 0 || version == 0);",
    ),
    m(
        "memory: what was sent is never forgotten",
        "sent.rs",
        "while self.0.len() > MAX_REMEMBERED\n            || self.0.front().is_some_and(|(_, at)| *at + keep < now)",
        "while self.0.len() > MAX_REMEMBERED * 1000\n            || self.0.front().is_some_and(|(_, at)| *at + keep * 1000 < now)",
    ),
];
