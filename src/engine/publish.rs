//! The heartbeat of this node: each keepalive, at once when something in it changes, and at once in answer to a claim.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Action, Engine, Group, loss};
use crate::model::cluster::Timing;
use crate::model::health::FailedCheck;
use crate::model::heartbeat::{GroupReport, GroupState, Heard, Heartbeat, Intent, Phase};
use crate::model::peer_message::PeerMessage;
use crate::model::{GroupName, NodeName, Sequence, Time};

/// Extra heartbeats that may follow each other at once; after that one each [`REFILL`].
const BURST: u32 = 8;
const REFILL: Duration = Duration::from_millis(10);
/// While nodes settle something a lost datagram is repaired after this, not only after a keepalive.
const HURRY: Duration = Duration::from_millis(50);
/// For so long after the last change.
const HURRIES_FOR: Duration = Duration::from_secs(1);
/// Groups in one heartbeat, so that it stays near the size of one Ethernet frame; more make several heartbeats.
const GROUPS_EACH: usize = 12;
/// Goodbyes are said so often: they are not repeated by anybody.
const GOODBYES: u8 = 5;

/// When to send, and what was sent last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Publisher {
    sequence: Sequence,
    next: Time,
    last_sent: Time,
    /// What the last one said, but for what it acknowledges.
    said: Option<Said>,
    changed_at: Time,
    tokens: u32,
    refilled: Time,
    /// A claim came in and wants an answer.
    answer: bool,
    /// An extra one is wanted and waits for a token.
    deferred: bool,
    ending: Option<Ending>,
    /// Carried for others; they mean nothing here.
    #[serde(default)]
    pub peer_messages: Vec<PeerMessage>,
}

/// The part of a heartbeat whose change is worth an extra one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    phase: Phase,
    groups: Vec<GroupReport>,
    quorate: bool,
    intent: Intent,
    failed_checks: Vec<FailedCheck>,
    peer_messages: Vec<PeerMessage>,
}

/// The last words of this life.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Ending {
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
            said: None,
            changed_at: now,
            tokens: BURST,
            refilled: now,
            answer: false,
            deferred: false,
            ending: None,
            peer_messages: Vec::new(),
        }
    }

    /// The number of the newest heartbeat sent.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// A claim was heard, or one that was dead: answer at once, even when nothing changed (our last answer may have been
    /// lost).
    pub fn answer(&mut self) {
        self.answer = true;
    }

    pub fn begin_anew(&mut self) {
        self.sequence = Sequence(0);
        self.said = None;
    }

    /// Whether the last words are being said.
    pub fn ends(&self) -> bool {
        self.ending.is_some()
    }

    pub fn end(&mut self, now: Time, phase: Phase, back_within: Option<Duration>) {
        if self.ending.is_none() {
            self.ending = Some(Ending {
                since: now,
                phase,
                back_within,
                left: GOODBYES,
                next: now,
            });
        }
    }

    /// When the next one is due.
    pub fn due(&self, in_transition: bool, interval: Duration, timing: &Timing) -> Time {
        if let Some(ending) = &self.ending {
            return ending.next;
        }
        let mut due = self.next;
        if interval < timing.keepalive {
            due = due.min(self.last_sent + interval);
        }
        if self.deferred {
            due = due.min(self.refilled + REFILL);
        }
        if in_transition && self.last_sent < self.changed_at + HURRIES_FOR {
            due = due.min(self.last_sent + timing.keepalive.min(HURRY));
        }
        due
    }

    fn take_token(&mut self, now: Time) -> bool {
        let refill = u32::try_from(now.since(self.refilled).as_millis() / REFILL.as_millis())
            .unwrap_or(BURST);
        if refill > 0 {
            self.tokens = self.tokens.saturating_add(refill).min(BURST);
            self.refilled = now;
        }
        self.deferred = self.tokens == 0;
        self.tokens = self.tokens.saturating_sub(1);
        !self.deferred
    }
}

impl Engine {
    /// Whether nodes are settling something with us, so that a lost datagram is worth repairing soon.
    pub(super) fn in_transition(&self) -> bool {
        self.groups.iter().any(Group::in_transition)
    }

    /// From heartbeat to heartbeat: keepalive, or less where a living peer misses many.
    pub(super) fn interval(&self) -> Duration {
        let misses = self.view.living().map(|p| p.misses).max();
        loss::interval(misses.unwrap_or_default(), &self.view.cluster.timing)
    }

    /// Sends a heartbeat when one is due, and says goodbye when all is done.
    pub(super) fn publish(&mut self, now: Time) {
        if self.view.leaving && !self.publisher.ends() && self.given_up() {
            // What maintenance leaves running is no clean end, nor is what nobody has looked at yet.
            let down = |g: &Group| matches!(g.state(), GroupState::Offline | GroupState::Failed);
            let clean = self.groups.iter().all(down);
            let phase = if clean { Phase::Left } else { Phase::Leaving };
            self.publisher.end(now, phase, None);
        }
        if self.publisher.ends() {
            self.say_goodbye(now);
            return;
        }
        let heartbeat = self.heartbeat();
        let said = said(&heartbeat);
        let changed = self.publisher.said.as_ref() != Some(&said);
        if changed {
            self.publisher.changed_at = now;
        }
        let on_time = now >= self.publisher.next;
        let dense = !on_time && now >= self.publisher.last_sent + self.interval();
        let repeats = now
            >= self.publisher.due(
                self.in_transition(),
                self.interval(),
                &self.view.cluster.timing,
            );
        let whole = on_time || dense || repeats || self.publisher.answer;
        if on_time || dense || ((changed || whole) && self.publisher.take_token(now)) {
            self.publisher.answer = false;
            self.send(now, &heartbeat, said, whole);
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

    /// Sends it in as many parts as its groups need; only the parts that changed unless it shall be `whole`.
    fn send(&mut self, now: Time, heartbeat: &Heartbeat, said: Said, whole: bool) {
        let before = self
            .publisher
            .said
            .take()
            .filter(|b| b.groups.len() == said.groups.len());
        let changed = |at: usize, part: &[GroupReport]| {
            let old = before
                .as_ref()
                .and_then(|b| b.groups.get(at..at.saturating_add(part.len())));
            old != Some(part)
        };
        let mut parts: Vec<Vec<GroupReport>> = heartbeat
            .groups
            .chunks(GROUPS_EACH)
            .enumerate()
            .filter(|(i, part)| whole || changed(i * GROUPS_EACH, part))
            .map(|(_, part)| part.to_vec())
            .collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        for groups in parts {
            self.send_one(
                now,
                Heartbeat {
                    groups,
                    ..heartbeat.clone()
                },
            );
        }
        self.publisher.said = Some(said);
        self.publisher.last_sent = now;
        self.publisher.deferred = false;
    }

    fn send_one(&mut self, now: Time, mut heartbeat: Heartbeat) {
        self.publisher.sequence = Sequence(self.publisher.sequence.0.saturating_add(1));
        heartbeat.sequence = self.publisher.sequence;
        let keep = self.view.cluster.timing.deadtime * 2;
        self.view.sent.note(self.publisher.sequence, now, keep);
        self.round.out.push(Action::Send(Box::new(heartbeat)));
    }

    /// Whether nothing is left to stop. What is stuck or under maintenance stays as it is.
    fn given_up(&self) -> bool {
        self.groups.iter().all(|g| g.is_given_up(&self.view))
    }

    fn say_goodbye(&mut self, now: Time) {
        let Some(mut ending) = self.publisher.ending.clone() else {
            return;
        };
        if now < ending.next {
            return;
        }
        if ending.left == 0 {
            if let Some(within) = ending.back_within {
                self.lend(ending.since, within);
            }
            self.round.out.push(Action::Exit);
            ending.next = Time::NEVER;
            self.publisher.ending = Some(ending);
            return;
        }
        ending.left -= 1;
        ending.next = now + REFILL;
        let mut heartbeat = self.heartbeat();
        heartbeat.phase = ending.phase;
        heartbeat.intent.back_within = ending.back_within;
        self.publisher.ending = Some(ending);
        let said = said(&heartbeat);
        self.send(now, &heartbeat, said, true);
    }

    /// Peers that have heard when we shall be back wait for us, and what runs may stay as long.
    fn lend(&mut self, since: Time, within: Duration) {
        let until = since + within.saturating_sub(self.view.cluster.timing.margin);
        for group in &mut self.groups {
            group.stretch_for_restart(since, until, &self.view, &mut self.round);
        }
    }

    /// The complete state of this node as the others shall know it.
    fn heartbeat(&self) -> Heartbeat {
        let named = |is: fn(&Group) -> bool| -> Vec<GroupName> {
            self.groups
                .iter()
                .filter(|g| is(g))
                .map(|g| g.name().clone())
                .collect()
        };
        Heartbeat {
            src: self.view.me().clone(),
            generation: self.view.generation,
            sequence: self.publisher.sequence,
            phase: self.view.phase(),
            deadtime: self.view.cluster.timing.deadtime,
            heard: self.view.peers.iter().filter_map(heard).collect(),
            groups: self.groups.iter().map(Group::report).collect(),
            reach: self.view.reach(),
            quorate: self.view.quorate,
            intent: Intent {
                standby: named(|g| g.wishes().standby),
                yielding: named(|g| g.wishes().yielding),
                wanted: named(|g| g.wishes().wanted),
                maintenance: named(|g| g.wishes().maintenance),
                back_within: None,
            },
            failed_checks: self.view.checks.failed_checks(),
            peer_messages: self.publisher.peer_messages.clone(),
            digest: self.view.cluster.digest,
        }
    }

    /// Whether a name is a member's.
    pub fn knows(&self, name: &NodeName) -> bool {
        self.view.cluster.nodes.contains(name)
    }
}

fn heard(peer: &super::Peer) -> Option<Heard> {
    Some(Heard {
        node: peer.name.clone(),
        generation: peer.generation?,
        sequence: peer.sequence,
        loss: peer.loss.permille(),
        links: peer
            .links
            .iter()
            .filter(|l| l.up)
            .map(|l| l.name.clone())
            .collect(),
    })
}

fn said(heartbeat: &Heartbeat) -> Said {
    Said {
        phase: heartbeat.phase,
        groups: heartbeat.groups.clone(),
        quorate: heartbeat.quorate,
        intent: heartbeat.intent.clone(),
        failed_checks: heartbeat.failed_checks.clone(),
        peer_messages: heartbeat.peer_messages.clone(),
    }
}
