//! Which peers, links and ping nodes are alive, judged by what is heard and by silence; and what a gap in our own time
//! does to that knowledge.

use std::net::IpAddr;
use std::time::Duration;

use super::group_finder::GroupFinder;
use super::peer::{Freshness, Hearing, Peer};
use super::witness::learn_groups;
use super::{Engine, Group, View};
use crate::model::decision::{Because, Decision, What};
use crate::model::heartbeat::{Heartbeat, Phase};
use crate::model::status::Liveness;
use crate::model::{Generation, GroupName, LinkName, NodeName, Time};

impl Engine {
    /// An authenticated heartbeat came in.
    pub(super) fn take_heartbeat(
        &mut self,
        now: Time,
        link: &LinkName,
        from: Option<IpAddr>,
        heartbeat: &Heartbeat,
    ) {
        if heartbeat.src == *self.view.me() {
            self.take_own_name(now, from, heartbeat);
            return;
        }
        let mut notes = Vec::new();
        let freshness = judge_freshness(heartbeat, now, &self.view);
        let fresh = freshness == Freshness::Fresh;
        if fresh {
            self.remember_again(&heartbeat.src);
        }
        let Some(peer) = self.view.peers.iter_mut().find(|p| p.name == heartbeat.src) else {
            self.view.take_stranger(now, heartbeat, fresh);
            return;
        };
        if peer.is_second_life(now, heartbeat, self.view.cluster.timing.initdead) {
            self.end_confirmed_death(&heartbeat.src);
            self.take_second_life(now, from, heartbeat, freshness);
            return;
        }
        learn_groups(&mut self.groups, now, &self.view.cluster, heartbeat);
        let groups = GroupFinder::new(&self.groups);
        let ours = |name: &GroupName| groups.place(name).is_some();
        let hearing = peer.take_heartbeat(now, link, heartbeat, freshness, ours);
        if hearing == Hearing::Old {
            self.old_heartbeats = self.old_heartbeats.saturating_add(1);
            return;
        }
        peer.address = from.or(peer.address);
        let called_dead = peer.is_confirmed_dead();
        mark_link_up(peer, link, &mut notes);
        let revived = hearing != Hearing::Copy && update_liveness(peer, now, hearing, &mut notes);
        self.round
            .out
            .extend(notes.into_iter().map(super::Action::Record));
        if hearing != Hearing::Copy {
            let (machines, out) = (&mut self.view.machines, &mut self.round.out);
            self.round.save |= machines.take_life(now, from, heartbeat, fresh, out);
        }
        if called_dead {
            self.end_confirmed_death(&heartbeat.src);
        }
        if let Some(address) = from {
            self.take_peer_address(&heartbeat.src, address, fresh);
        }
        if hearing == Hearing::Copy {
            return;
        }
        if fresh {
            self.pass_on_messages(heartbeat);
        }
        self.view.take_goodbyes(heartbeat, fresh);
        self.view.notice_unheard_returns(heartbeat);
        self.remember_deadtime(&heartbeat.src, heartbeat.deadtime);
        self.round.save |= fresh && self.view.machines.learn_hardware(heartbeat);
        self.take_names(now, heartbeat, fresh);
        self.take_acknowledgement(now, heartbeat);
        self.take_terms(heartbeat);
        self.compare_configuration(&heartbeat.src);
        if heartbeat.intent.back_within.is_some() {
            self.publisher.request_answer();
        }
        self.answer_claims(&heartbeat.groups);
        if revived {
            // It may run what we run, and gives way as soon as it knows that we heard of it.
            self.publisher.request_answer();
            // It may also have announced the addresses that we hold.
            for group in &self.groups {
                group.announce_if_online(&mut self.round);
            }
        }
        self.update_joined();
    }

    /// Rule 28. What a peer says to other layers is passed on, and once more when it has nothing more to say.
    fn pass_on_messages(&mut self, heartbeat: &Heartbeat) {
        let Some(peer) = self.view.peers.iter_mut().find(|p| p.name == heartbeat.src) else {
            return;
        };
        let messages = heartbeat.peer_messages.clone();
        let had_some = std::mem::replace(&mut peer.sent_messages, !messages.is_empty());
        if had_some || !messages.is_empty() {
            let from = heartbeat.src.clone();
            self.round
                .out
                .push(super::Action::PeerMessages { from, messages });
        }
    }

    /// A peer's rights last as long as its own deadtime says: also for our next life, which may never hear it.
    fn remember_deadtime(&mut self, peer: &NodeName, deadtime: Duration) {
        let ours = self.view.cluster.timing.deadtime;
        let known = self.view.deadtimes.get(peer).copied();
        if known.unwrap_or(ours) == deadtime {
            return;
        }
        self.view.deadtimes.insert(peer.clone(), deadtime);
        self.round.save = true;
    }

    /// What the peer has heard of us. Our rights rest on that, and it shows if our store was lost.
    fn take_acknowledgement(&mut self, now: Time, heartbeat: &Heartbeat) {
        let Some(heard) = heartbeat.heard.iter().find(|h| h.node == *self.view.me()) else {
            return;
        };
        let own = self.view.names.identity.instance;
        if heard.instance.is_some() && own.is_some() && heard.instance != own {
            return; // Rule 30. It hears another life of ours.
        }
        let newest = self.publisher.sequence();
        if heard.generation > self.view.generation
            || (heard.generation == self.view.generation && heard.sequence > newest)
        {
            if heard.instance.is_some() && heard.instance == own {
                self.found_copy(now, None);
            } else {
                self.notice_lost_store(&heartbeat.src, heard.generation);
            }
            return;
        }
        let sent = (heard.generation == self.view.generation)
            .then(|| self.view.sent.find(heard.sequence))
            .flatten();
        let Some(peer) = self.view.peers.iter_mut().find(|p| p.name == heartbeat.src) else {
            return;
        };
        peer.hears_us_on.clone_from(&heard.links);
        peer.misses = heard.loss;
        let Some(sent) = sent else { return };
        if peer.acked.is_none_or(|before| sent.at >= before) {
            peer.acked = Some(sent.at);
            peer.acked_lease = sent.lease;
        }
        if peer.deafness_reported && !peer.is_deaf(&self.view.cluster.timing) {
            peer.deafness_reported = false;
        }
        self.take_support(heartbeat, sent.at);
    }

    /// Rule 6. A peer that recognises us confirms our right from the time at which we sent what it acknowledges. Only for
    /// the groups that this heartbeat names: of the others it may have said something else since.
    fn take_support(&mut self, heartbeat: &Heartbeat, sent: Time) {
        let from = &heartbeat.src;
        let Some(peer) = self.view.peers.iter().find(|p| p.name == *from) else {
            return;
        };
        let named = |g: &&mut Group| heartbeat.groups.iter().any(|r| r.group == *g.name());
        for group in self.groups.iter_mut().filter(named) {
            group.take_confirmation(peer, sent, &self.view);
        }
    }

    fn take_terms(&mut self, heartbeat: &Heartbeat) {
        let groups = GroupFinder::new(&self.groups);
        let seen = heartbeat.groups.iter().filter_map(|report| {
            let recognised = report.to.as_ref().map_or(report.term, |to| to.term);
            Some((groups.place(&report.group)?, recognised.max(report.term)))
        });
        let seen: Vec<_> = seen.collect();
        for (place, term) in seen {
            if let Some(group) = self.groups.get_mut(place) {
                group.see_term(term);
            }
        }
    }

    fn compare_configuration(&mut self, from: &NodeName) {
        let differs = self.view.peer(from).is_some_and(|p| self.view.differs(p));
        let Some(peer) = self.view.peers.iter_mut().find(|p| p.name == *from) else {
            return;
        };
        if differs && !peer.difference_reported {
            self.round
                .record_node(What::ConfigDiffers(from.clone()), Because::SaidSo);
        }
        peer.difference_reported = differs;
    }

    /// Rule 13. A peer remembers a later generation of ours than we do. The next one begins when it is on disk.
    pub(super) fn notice_lost_store(&mut self, witness: &NodeName, seen: Generation) {
        let next = Generation(seen.0.saturating_add(1));
        if self.next_generation.is_none_or(|g| g < next) {
            self.next_generation = Some(next);
            self.round.save = true;
            self.round.record_node(
                What::NewGeneration(next.0),
                Because::StoreLost(witness.clone()),
            );
        }
    }

    pub(super) fn take_generation(&mut self, generation: Generation) {
        self.next_generation = None;
        self.view.generation = generation;
        self.view.sent.clear();
        self.publisher.restart_numbering();
    }

    /// Judges who was silent for too long. All that has arrived was heard before.
    pub(super) fn judge_silence(&mut self, now: Time) {
        let timing = self.view.cluster.timing;
        let mut notes = Vec::new();
        for peer in &mut self.view.peers {
            judge_peer_silence(peer, now, &timing, &mut notes);
        }
        if self.view.cluster.relay && notes.iter().any(|n| matches!(n.what, What::PeerLate(_))) {
            // The next heartbeat goes by the relay: there is no time to lose until deadtime.
            self.publisher.request_answer();
        }
        for ping in &mut self.view.pings {
            if ping.up && ping.answered.is_none_or(|at| now >= at + timing.deadping) {
                ping.up = false;
                let silent = Because::SilentFor(timing.deadping);
                notes.push(Decision::node(What::PingDown(ping.name.clone()), silent));
            }
        }
        self.round
            .out
            .extend(notes.into_iter().map(super::Action::Record));
        self.view.forget_strangers(now);
        self.forget_namesakes(now);
        self.forget_unnamed_groups(now);
        self.update_joined();
    }

    /// Rule 2. This node takes part once every peer was heard or is known to be dead.
    pub(super) fn update_joined(&mut self) {
        let joined = self.view.takes_part(self.now);
        if joined && !self.view.joined {
            let all_heard = self.view.peer_nodes().all(Peer::is_living);
            let because = if all_heard {
                Because::AllHeard
            } else {
                Because::WaitOver
            };
            self.round.record_node(What::Joined, because);
        }
        self.view.joined = joined;
    }

    /// Rule 12. Nothing that was known before a gap in our own time counts after it.
    pub(super) fn distrust_after_gap(&mut self, began: Time, now: Time) {
        let had_peers = self.view.living_nodes().next().is_some();
        self.forget_confirmed_dead();
        self.round
            .record_node(What::Gap(now.since(began)), Because::NodeWasStopped);
        for group in &mut self.groups {
            group.after_gap(began, now, had_peers, &self.view, &mut self.round);
        }
        let timing = self.view.cluster.timing;
        let deadtime = self.view.longest_deadtime();
        for peer in self
            .view
            .peers
            .iter_mut()
            .filter(|p| p.is_living() || p.liveness == Liveness::Init)
        {
            peer.liveness = Liveness::Init;
            peer.init_deadline = peer.init_deadline.max(now + peer.dead_after(&timing));
            peer.active_since = now;
        }
        // A peer that was dead or had left may be back since. Until we have listened for it, nothing is decided.
        self.view.listen_until = now + deadtime;
        self.view.gap = Some((now, now.since(began)));
        self.view.machines.ask_anew(now);
        self.view.joined = self.view.takes_part(now);
    }

    pub(super) fn note_refusal(&mut self, peer: &NodeName) {
        if let Some(peer) = self.view.peers.iter_mut().find(|p| p.name == *peer) {
            peer.refused = true;
        }
    }

    /// A link without carrier is down at once. That alone never makes a peer dead.
    pub(super) fn set_carrier(&mut self, link: &LinkName, up: bool) {
        for peer in &mut self.view.peers {
            for l in peer.links.iter_mut().filter(|l| l.name == *link) {
                l.carrier = up;
                if !up && l.up {
                    l.up = false;
                    let what = What::LinkDown(peer.name.clone(), link.clone());
                    self.round
                        .record_node(what, Because::Agent("the interface has no carrier".into()));
                }
            }
        }
    }

    pub(super) fn add_membership_deadlines(&self, due: &mut Vec<Time>) {
        let t = &self.view.cluster.timing;
        for peer in &self.view.peers {
            match peer.liveness {
                Liveness::Init => due.push(peer.init_deadline),
                Liveness::Active => due.push(peer.last_heard + t.warntime),
                Liveness::Late => {
                    due.push((peer.last_heard + peer.dead_after(t)).max(peer.back_by));
                }
                Liveness::Dead | Liveness::Left | Liveness::Here => {}
            }
            let up = peer.links.iter().filter(|l| l.up);
            due.extend(up.filter_map(|l| Some(l.last_heard? + l.silence_limit(t))));
        }
        due.extend(self.view.stranger_deadlines().filter(|at| *at > self.now));
        due.extend(self.view.name_deadlines().filter(|at| *at > self.now));
        if !self.view.joined && self.view.listen_until > self.now {
            due.push(self.view.listen_until);
        }
        let up = self.view.pings.iter().filter(|p| p.up);
        due.extend(up.filter_map(|p| p.answered).map(|at| at + t.deadping));
    }
}

/// Rule 28. Only a fresh heartbeat cannot be an old one that somebody sends again.
fn judge_freshness(heartbeat: &Heartbeat, now: Time, view: &View) -> Freshness {
    let acknowledged = view.acknowledged(heartbeat);
    let Some((_, sequence)) = acknowledged.filter(|(g, _)| *g == view.generation) else {
        return Freshness::Unknown;
    };
    let deadtime = view.cluster.timing.deadtime;
    match view.sent.find(sequence) {
        Some(sent) if now < sent.at + deadtime => Freshness::Fresh,
        _ => Freshness::Stale,
    }
}

pub(super) fn mark_link_up(peer: &mut Peer, link: &LinkName, notes: &mut Vec<Decision>) {
    if let Some(l) = peer.links.iter_mut().find(|l| l.name == *link && !l.up) {
        l.up = true;
        l.carrier = true;
        let what = What::LinkUp(peer.name.clone(), link.clone());
        notes.push(Decision::node(what, Because::Heard));
    }
}

/// Updates a peer's liveness after a heartbeat. Returns whether it was dead: then others may believe the wrong owner.
pub(super) fn update_liveness(
    peer: &mut Peer,
    now: Time,
    hearing: Hearing,
    notes: &mut Vec<Decision>,
) -> bool {
    let before = peer.liveness;
    let name = peer.name.clone();
    if peer.phase == Phase::Left {
        peer.liveness = Liveness::Left;
        if before != Liveness::Left {
            notes.push(Decision::node(What::PeerLeft(name), Because::SaidSo));
        }
        return false;
    }
    if hearing == Hearing::Restarted && before != Liveness::Init {
        notes.push(Decision::node(
            What::PeerRestarted(name.clone()),
            Because::NewerGeneration,
        ));
    }
    peer.liveness = Liveness::Active;
    match before {
        Liveness::Active | Liveness::Here => return false,
        Liveness::Late => {
            peer.heard_again = now;
            notes.push(Decision::node(What::PeerActive(name), Because::HeardAgain));
            return false;
        }
        Liveness::Init => notes.push(Decision::node(What::PeerActive(name), Because::Heard)),
        Liveness::Dead | Liveness::Left => {
            notes.push(Decision::node(What::PeerActive(name), Because::HeardAgain));
        }
    }
    if !peer.fresh {
        peer.begin_unfresh(now);
    }
    peer.heard_again = now;
    peer.active_since = now;
    peer.acked = None;
    before == Liveness::Dead
}

fn judge_peer_silence(
    peer: &mut Peer,
    now: Time,
    timing: &crate::model::cluster::Timing,
    notes: &mut Vec<Decision>,
) {
    let silent = now.since(peer.last_heard);
    for link in &mut peer.links {
        let limit = link.silence_limit(timing);
        let quiet = link.last_heard.is_none_or(|at| now >= at + limit);
        if link.up && quiet {
            link.up = false;
            let what = What::LinkDown(peer.name.clone(), link.name.clone());
            notes.push(Decision::node(what, Because::SilentFor(limit)));
        }
    }
    // Rule 30. It hears us and counts another life of ours: no firewall is to blame.
    let deaf = peer.is_deaf(timing) && peer.unreadable.is_none() && !peer.names_other_life;
    if deaf && !peer.deafness_reported {
        peer.deafness_reported = true;
        notes.push(Decision::node(
            What::PeerDeaf(peer.name.clone()),
            Because::SaidSo,
        ));
    }
    match peer.liveness {
        Liveness::Init if now >= peer.init_deadline => {
            peer.liveness = Liveness::Dead;
            notes.push(Decision::node(
                What::PeerDead(peer.name.clone()),
                // Heard before a gap of ours, but not since.
                match peer.generation {
                    Some(_) => Because::SilentFor(silent),
                    None => Because::NeverHeard(silent),
                },
            ));
        }
        Liveness::Active | Liveness::Late
            if silent >= peer.dead_after(timing) && now >= peer.back_by =>
        {
            peer.liveness = Liveness::Dead;
            notes.push(Decision::node(
                What::PeerDead(peer.name.clone()),
                Because::SilentFor(silent),
            ));
        }
        Liveness::Active if silent >= timing.warntime => {
            peer.liveness = Liveness::Late;
            notes.push(Decision::node(
                What::PeerLate(peer.name.clone()),
                Because::SilentFor(silent),
            ));
        }
        Liveness::Init
        | Liveness::Active
        | Liveness::Late
        | Liveness::Dead
        | Liveness::Left
        | Liveness::Here => {}
    }
}

impl View {
    /// What this node waits for before it takes part.
    pub(super) fn waits_for(&self, now: Time) -> Option<String> {
        if let Some(name) = self.waits_for_name(now) {
            return Some(name);
        }
        if self.may_join(now) {
            return None;
        }
        let listens = now < self.listen_until;
        let unheard: Vec<&Peer> = self
            .peers
            .iter()
            .filter(|p| p.liveness == Liveness::Init || (listens && !p.is_living()))
            .collect();
        let until = |p: &&Peer| match p.liveness {
            Liveness::Init => p.init_deadline,
            _ => self.listen_until,
        };
        let latest = unheard.iter().map(until).max()?;
        let names: Vec<&str> = unheard.iter().map(|p| p.name.as_str()).collect();
        let left = latest.since(now).as_secs_f64();
        Some(format!(
            "to hear {}, for {left:.0} s at most (initdead)",
            names.join(" and ")
        ))
    }
}
