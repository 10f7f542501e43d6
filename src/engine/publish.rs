//! Rule 26: the heartbeat of this node. It is sent each keepalive, at once when something in it changes, and at once in
//! answer to a claim.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::group_finder::GroupFinder;
use super::sent::SentHeartbeat;
use super::{Action, Engine, Group, loss};
use crate::model::cluster::Timing;
use crate::model::hardware_address::HardwareAddress;
use crate::model::health::FailedCheck;
use crate::model::heartbeat::{
    GroupReport, GroupState, Heard, Heartbeat, Intent, Phase, VotersReport, Withheld,
};
use crate::model::peer_message::PeerMessage;
use crate::model::readiness::Readiness;
use crate::model::{GroupName, NodeName, Sequence, Time};

/// This many extra heartbeats may follow each other at once; after that one each [`TOKEN_INTERVAL`].
const MAX_BURST: u32 = 8;
const TOKEN_INTERVAL: Duration = Duration::from_millis(10);
/// While groups change hands heartbeats are this close together, so that a lost one is soon repaired ...
const TRANSITION_INTERVAL: Duration = Duration::from_millis(50);
/// ... for this long after the last change.
const TRANSITION_LASTS: Duration = Duration::from_secs(1);
/// Groups in one datagram, so that it stays near the size of one Ethernet frame. More groups make several datagrams.
const GROUPS_PER_HEARTBEAT: usize = 12;
/// A goodbye is sent this often, because nobody repeats it later.
const GOODBYE_COUNT: u8 = 5;

/// When to send next, and what was sent last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Publisher {
    sequence: Sequence,
    next: Time,
    last_sent: Time,
    /// The part of the last heartbeat whose change is worth an extra one.
    published: Option<Published>,
    changed_at: Time,
    tokens: u32,
    refilled: Time,
    /// Something was heard that wants an answer.
    answer: bool,
    /// The parts of the heartbeat, each with a datagram of its own.
    #[serde(default)]
    parts: Vec<Part>,
    /// An extra heartbeat is wanted and waits for a token.
    deferred: bool,
    goodbye: Option<Goodbye>,
    /// Carried for others; they mean nothing here.
    #[serde(default)]
    pub peer_messages: Vec<PeerMessage>,
    /// The hardware addresses of this node.
    #[serde(default)]
    pub hardware: Vec<HardwareAddress>,
    /// Whether this node could take groups over.
    #[serde(default)]
    pub readiness: Readiness,
    /// Whether no group ran here at the last look at that.
    #[serde(default)]
    pub rested: bool,
}

/// The part of a heartbeat whose change is worth an extra one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Published {
    phase: Phase,
    groups: Vec<GroupReport>,
    quorate: bool,
    /// The wishes of the groups of each part.
    intents: Vec<Intent>,
    failed_checks: Vec<FailedCheck>,
    peer_messages: Vec<PeerMessage>,
    digest: u64,
    #[serde(default)]
    voters: VotersReport,
}

impl Published {
    /// What is said of the groups of each part.
    fn parts(&self) -> impl Iterator<Item = (&[GroupReport], &Intent)> {
        self.groups.chunks(GROUPS_PER_HEARTBEAT).zip(&self.intents)
    }
}

/// Which parts of the heartbeat are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    All,
    /// Those that changed a moment ago are sent again, because a datagram may have been lost.
    LatelyChanged,
    Changed,
}

/// A part of the heartbeat: some of the groups.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Part {
    /// It differs from what was last sent.
    changed: bool,
    changed_at: Time,
    /// A claim was heard that wants to know of a group in it.
    asked: bool,
}

/// The goodbye of this daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Goodbye {
    since: Time,
    phase: Phase,
    back_within: Option<Duration>,
    left: u8,
    next: Time,
}

impl Publisher {
    pub fn new(now: Time) -> Self {
        Publisher {
            sequence: Sequence(0),
            next: now,
            last_sent: Time::ZERO,
            published: None,
            changed_at: now,
            tokens: MAX_BURST,
            refilled: now,
            answer: false,
            parts: Vec::new(),
            deferred: false,
            goodbye: None,
            peer_messages: Vec::new(),
            hardware: Vec::new(),
            readiness: Readiness::default(),
            // Nothing of this life has run.
            rested: true,
        }
    }

    /// The number of the newest heartbeat sent.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Something was heard that wants an answer at once, even if nothing changed: our last answer may have been lost.
    pub fn request_answer(&mut self) {
        self.answer = true;
    }

    /// A claim was heard: an answer about the group in that place is wanted at once.
    fn request_answer_about(&mut self, place: usize) {
        match self.parts.get_mut(place / GROUPS_PER_HEARTBEAT) {
            Some(part) => part.asked = true,
            None => self.answer = true,
        }
    }

    /// Notes which parts differ from what was last sent.
    fn note_changes(&mut self, now: Time, new: &Published) {
        let old = self.published.as_ref();
        let old = old.filter(|old| old.groups.len() == new.groups.len());
        let parts_of = |p: &'_ Published| p.groups.chunks(GROUPS_PER_HEARTBEAT).len();
        self.parts.resize_with(parts_of(new), Part::default);
        let mut old = old.map(Published::parts);
        for (part, said) in self.parts.iter_mut().zip(new.parts()) {
            let before = old.as_mut().and_then(Iterator::next);
            part.changed = before != Some(said);
            if part.changed {
                part.changed_at = now;
            }
        }
    }

    fn is_asked(&self) -> bool {
        self.answer || self.parts.iter().any(|part| part.asked)
    }

    /// Whether a part is sent now, when not all are.
    fn wants_part(&self, place: usize, repeats: bool) -> bool {
        self.parts.get(place).is_none_or(|part| {
            let lately = self.last_sent < part.changed_at + TRANSITION_LASTS;
            part.changed || part.asked || (repeats && lately)
        })
    }

    pub fn restart_numbering(&mut self) {
        self.sequence = Sequence(0);
        self.published = None;
    }

    /// Whether the goodbye is being sent.
    pub fn is_saying_goodbye(&self) -> bool {
        self.goodbye.is_some()
    }

    pub fn begin_goodbye(&mut self, now: Time, phase: Phase, back_within: Option<Duration>) {
        if self.goodbye.is_none() {
            self.goodbye = Some(Goodbye {
                since: now,
                phase,
                back_within,
                left: GOODBYE_COUNT,
                next: now,
            });
        }
    }

    /// When the next heartbeat is due.
    pub fn next_send(&self, in_transition: bool, interval: Duration, timing: &Timing) -> Time {
        if let Some(goodbye) = &self.goodbye {
            return goodbye.next;
        }
        let mut due = self.next;
        if interval < timing.keepalive {
            due = due.min(self.last_sent + interval);
        }
        if self.deferred {
            due = due.min(self.refilled + TOKEN_INTERVAL);
        }
        if in_transition && self.last_sent < self.changed_at + TRANSITION_LASTS {
            due = due.min(self.last_sent + timing.keepalive.min(TRANSITION_INTERVAL));
        }
        due
    }

    fn take_token(&mut self, now: Time) -> bool {
        let refill =
            u32::try_from(now.since(self.refilled).as_millis() / TOKEN_INTERVAL.as_millis())
                .unwrap_or(MAX_BURST);
        if refill > 0 {
            self.tokens = self.tokens.saturating_add(refill).min(MAX_BURST);
            self.refilled = now;
        }
        self.deferred = self.tokens == 0;
        self.tokens = self.tokens.saturating_sub(1);
        !self.deferred
    }
}

impl Engine {
    /// Whether a group is changing hands, so that a lost heartbeat is worth repairing soon.
    pub(super) fn in_transition(&self) -> bool {
        self.groups.iter().any(Group::in_transition)
    }

    /// The time from heartbeat to heartbeat: keepalive, or less where a living peer misses many.
    pub(super) fn heartbeat_interval(&self) -> Duration {
        let misses = self.view.living().map(|p| p.misses).max();
        loss::heartbeat_interval(misses.unwrap_or_default(), &self.view.cluster.timing)
    }

    /// Sends a heartbeat when one is due, and says goodbye when all is done.
    pub(super) fn publish_state(&mut self, now: Time) {
        if self.view.leaving && !self.publisher.is_saying_goodbye() && self.given_up() {
            // It is no clean end if something runs on in maintenance, or was never probed.
            let down = |g: &Group| matches!(g.state(), GroupState::Offline | GroupState::Failed);
            let clean = self.groups.iter().all(down);
            let phase = if clean { Phase::Left } else { Phase::Leaving };
            self.publisher.begin_goodbye(now, phase, None);
        }
        if self.publisher.is_saying_goodbye() {
            self.say_goodbye(now);
            return;
        }
        let heartbeat = self.own_heartbeat();
        let published = self.published(&heartbeat);
        let changed = self.publisher.published.as_ref() != Some(&published);
        if changed {
            self.publisher.changed_at = now;
        }
        let on_time = now >= self.publisher.next;
        let dense = !on_time && now >= self.publisher.last_sent + self.heartbeat_interval();
        let repeats = now
            >= self.publisher.next_send(
                self.in_transition(),
                self.heartbeat_interval(),
                &self.view.cluster.timing,
            );
        self.publisher.note_changes(now, &published);
        let extra = changed || repeats || self.publisher.is_asked();
        if on_time || dense || (extra && self.publisher.take_token(now)) {
            let whole = on_time || dense || self.publisher.answer;
            let what = match (whole, repeats) {
                (true, _) => Sent::All,
                (false, true) => Sent::LatelyChanged,
                (false, false) => Sent::Changed,
            };
            self.send_heartbeat(now, &heartbeat, published, what);
        }
        if on_time || dense {
            self.round.out.push(Action::Ping);
        }
        if on_time {
            let keepalive = self.view.cluster.timing.keepalive;
            let next = self.publisher.next + keepalive;
            self.publisher.next = if next > now { next } else { now + keepalive };
        }
    }

    /// Sends the heartbeat in as many parts as its groups need. Each part has all that is not about groups.
    fn send_heartbeat(
        &mut self,
        now: Time,
        heartbeat: &Heartbeat,
        published: Published,
        what: Sent,
    ) {
        let publisher = &self.publisher;
        // A single part is repeated for what is not about groups, too.
        let only_one = published.intents.len() <= 1;
        let all = what == Sent::All || (only_one && what == Sent::LatelyChanged);
        let repeats = what == Sent::LatelyChanged;
        let groups = self.groups.chunks(GROUPS_PER_HEARTBEAT);
        let mut parts: Vec<Heartbeat> = groups
            .zip(published.parts())
            .enumerate()
            .filter(|(place, _)| all || publisher.wants_part(*place, repeats))
            .map(|(_, (groups, (reports, intent)))| Heartbeat {
                groups: reports.to_vec(),
                withheld: self.withheld(groups),
                intent: Intent {
                    maintenance: heartbeat.intent.maintenance.clone(),
                    back_within: heartbeat.intent.back_within,
                    ..intent.clone()
                },
                ..heartbeat.clone()
            })
            .collect();
        if parts.is_empty() {
            parts.push(heartbeat.clone());
        }
        let relay_to = self.choose_relay_targets(now, parts.len());
        for part in parts {
            self.send_part(now, part, &relay_to);
        }
        self.publisher.published = Some(published);
        self.publisher.answer = false;
        for part in &mut self.publisher.parts {
            part.asked = false;
        }
        self.publisher.last_sent = now;
        self.publisher.deferred = false;
    }

    fn send_part(&mut self, now: Time, mut heartbeat: Heartbeat, relay_to: &[NodeName]) {
        self.publisher.sequence = Sequence(self.publisher.sequence.0.saturating_add(1));
        heartbeat.sequence = self.publisher.sequence;
        let timing = &self.view.cluster.timing;
        let sent = SentHeartbeat {
            at: now,
            lease: timing.lease(),
        };
        let keep = timing.deadtime * 2;
        self.view.sent.add(self.publisher.sequence, sent, keep);
        let heartbeat = Box::new(heartbeat);
        self.round.out.push(Action::Send(heartbeat.clone()));
        if !relay_to.is_empty() {
            let to = relay_to.to_vec();
            self.round.out.push(Action::Relay { to, heartbeat });
        }
    }

    /// Who claims groups waits for what we say of them.
    pub(super) fn answer_claims(&mut self, reports: &[GroupReport]) {
        let claims = reports.iter().filter(|r| r.state == GroupState::Claiming);
        let groups = GroupFinder::new(&self.groups);
        for claim in claims {
            match groups.place(&claim.group) {
                Some(place) => self.publisher.request_answer_about(place),
                None => self.publisher.request_answer(),
            }
        }
    }

    /// Whether nothing is left to stop. What is stuck or in maintenance stays as it is.
    fn given_up(&self) -> bool {
        self.groups.iter().all(|g| g.is_given_up(&self.view))
    }

    fn say_goodbye(&mut self, now: Time) {
        let Some(mut goodbye) = self.publisher.goodbye.clone() else {
            return;
        };
        if now < goodbye.next {
            return;
        }
        if goodbye.left == 0 {
            if let Some(within) = goodbye.back_within {
                self.stretch_rights(goodbye.since, within);
            }
            self.round.out.push(Action::Exit);
            goodbye.next = Time::NEVER;
            self.publisher.goodbye = Some(goodbye);
            return;
        }
        goodbye.left -= 1;
        goodbye.next = now + TOKEN_INTERVAL;
        let mut heartbeat = self.own_heartbeat();
        heartbeat.phase = goodbye.phase;
        heartbeat.intent.back_within = goodbye.back_within;
        self.publisher.goodbye = Some(goodbye);
        let published = self.published(&heartbeat);
        self.send_heartbeat(now, &heartbeat, published, Sent::All);
    }

    /// Rule 24. Peers that know when the next daemon will be there wait that long, so what runs may stay as long.
    fn stretch_rights(&mut self, since: Time, within: Duration) {
        let until = since + within.saturating_sub(self.view.cluster.timing.margin);
        for group in &mut self.groups {
            group.stretch_for_restart(since, until, &self.view, &mut self.round);
        }
    }

    /// Groups that a silent node may still run.
    fn withheld(&self, groups: &[Group]) -> Vec<Withheld> {
        let withheld = groups
            .iter()
            .filter_map(|g| g.withheld(self.now, &self.view));
        withheld.collect()
    }

    /// What is published of this node, but for its groups and the wishes for them. Maintenance is complete here, because it
    /// counts for groups too that this node no longer has.
    fn own_heartbeat(&self) -> Heartbeat {
        Heartbeat {
            src: self.view.me().clone(),
            generation: self.view.generation,
            sequence: self.publisher.sequence,
            phase: self.view.phase(),
            deadtime: self.view.cluster.timing.deadtime,
            heard: self.view.peers.iter().filter_map(acknowledgement).collect(),
            groups: Vec::new(),
            reach: self.view.reach(),
            quorate: self.view.quorate,
            intent: Intent {
                maintenance: named(&self.groups, |g| g.wishes().maintenance),
                ..Intent::default()
            },
            withheld: Vec::new(),
            hardware: self.publisher.hardware.clone(),
            failed_checks: self.view.checks.failed_checks(),
            peer_messages: self.publisher.peer_messages.clone(),
            readiness: self.publisher.readiness.clone(),
            digest: self.view.former_digest.unwrap_or(self.view.cluster.digest),
            identity: self.view.names.identity,
            namesakes: self.view.published_namesakes(self.now),
            voters: self.view.voters.report(),
            left: self.view.goodbyes(),
        }
    }

    /// What is compared with the last heartbeat.
    fn published(&self, heartbeat: &Heartbeat) -> Published {
        let groups = self.groups.chunks(GROUPS_PER_HEARTBEAT);
        Published {
            phase: heartbeat.phase,
            groups: self.groups.iter().map(Group::report).collect(),
            quorate: heartbeat.quorate,
            intents: groups.map(intent_for).collect(),
            failed_checks: heartbeat.failed_checks.clone(),
            peer_messages: heartbeat.peer_messages.clone(),
            digest: heartbeat.digest,
            voters: heartbeat.voters.clone(),
        }
    }
}

/// The names of those groups that are so.
fn named(groups: &[Group], is: fn(&Group) -> bool) -> Vec<GroupName> {
    let named = groups.iter().filter(|g| is(g));
    named.map(|g| g.name().clone()).collect()
}

/// What an administrator wishes for these groups.
fn intent_for(groups: &[Group]) -> Intent {
    Intent {
        standby: named(groups, |g| g.wishes().standby),
        yielding: named(groups, |g| g.wishes().yielding),
        wanted: named(groups, |g| g.wishes().wanted),
        forced: named(groups, |g| g.wishes().wanted && g.wishes().forced),
        maintenance: named(groups, |g| g.wishes().maintenance),
        back_within: None,
    }
}

fn acknowledgement(peer: &super::Peer) -> Option<Heard> {
    Some(Heard {
        node: peer.name.clone(),
        generation: peer.generation?,
        sequence: peer.sequence,
        instance: peer.instance,
        loss: peer.loss.permille(),
        links: peer
            .links
            .iter()
            .filter(|l| l.up)
            .map(|l| l.name.clone())
            .collect(),
    })
}
