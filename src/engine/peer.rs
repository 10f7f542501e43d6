//! One peer: when it was heard and on which links, what it said, and what it has heard of us.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::checks;
use super::loss::Loss;
use crate::model::cluster::Timing;
use crate::model::health::FailedCheck;
use crate::model::heartbeat::{GroupReport, GroupState, Heartbeat, Intent, Phase, Reach};
use crate::model::status::Liveness;
use crate::model::{Generation, GroupName, LinkName, NodeName, Sequence, Time};

/// What is known of another member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Peer {
    pub name: NodeName,
    /// Place in ha.cf; the smaller has the better right between equals.
    pub rank: usize,
    pub liveness: Liveness,
    /// Until then a peer in `init` is waited for.
    pub init_deadline: Time,
    /// When it was last heard; the time of our own start before that.
    pub last_heard: Time,
    /// Since when it is heard without a break.
    pub active_since: Time,
    /// When it was last heard again after it was late, dead or gone.
    pub heard_again: Time,
    /// When it became late; only meaningful while it is late or dead.
    pub late_since: Time,
    pub generation: Option<Generation>,
    pub sequence: Sequence,
    pub phase: Phase,
    pub reach: Reach,
    pub quorate: bool,
    pub intent: Intent,
    pub failed_checks: Vec<FailedCheck>,
    pub digest: Option<u64>,
    /// Until then its silence means a restart that it announced.
    pub back_by: Time,
    pub groups: BTreeMap<GroupName, GroupReport>,
    /// What of its heartbeats does not arrive here.
    pub loss: Loss,
    /// What of our heartbeats it misses, of a thousand, as it says.
    pub misses: u16,
    /// When we sent the newest of our heartbeats that it has acknowledged.
    pub acked: Option<Time>,
    /// The links on which it says it hears us.
    pub hears_us_on: Vec<LinkName>,
    pub links: Vec<Link>,
    /// Whether its daemon refused a heartbeat since it was last heard.
    pub refused: bool,
    /// What has been said about it already, so that it is said once.
    pub deafness_reported: bool,
    pub difference_reported: bool,
}

/// One peer on one link.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Link {
    pub name: LinkName,
    pub last_heard: Option<Time>,
    pub sequence: Sequence,
    pub up: bool,
    pub carrier: bool,
}

/// What a heartbeat that came in was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// The first of a new life of the peer's daemon.
    Restarted,
    /// The newest so far.
    Newest,
    /// A copy that came by another link; it counts for that link only.
    Copy,
    /// Neither; an old or replayed one.
    Old,
}

impl Peer {
    pub fn new(name: NodeName, rank: usize, links: &[LinkName], now: Time, init: Duration) -> Self {
        let link = |l: &LinkName| Link {
            name: l.clone(),
            last_heard: None,
            sequence: Sequence(0),
            up: false,
            carrier: true,
        };
        Peer {
            name,
            rank,
            liveness: Liveness::Init,
            init_deadline: now + init,
            last_heard: now,
            active_since: now,
            heard_again: now,
            late_since: now,
            generation: None,
            sequence: Sequence(0),
            phase: Phase::Init,
            reach: Reach::default(),
            quorate: false,
            intent: Intent::default(),
            failed_checks: Vec::new(),
            digest: None,
            back_by: Time::ZERO,
            groups: BTreeMap::new(),
            loss: Loss::default(),
            misses: 0,
            acked: None,
            hears_us_on: Vec::new(),
            links: links.iter().map(link).collect(),
            refused: false,
            deafness_reported: false,
            difference_reported: false,
        }
    }

    /// Takes a heartbeat in, unless it is old. What it acknowledges is judged by the caller, who knows what was sent when.
    /// Of groups that are not `ours` nothing is kept: the peer decides how many it names.
    pub fn hear(
        &mut self,
        now: Time,
        link: &LinkName,
        heartbeat: &Heartbeat,
        ours: impl Fn(&GroupName) -> bool,
    ) -> Hearing {
        let hearing = match self.generation {
            Some(g) if heartbeat.generation < g => Hearing::Old,
            Some(g) if heartbeat.generation > g => Hearing::Restarted,
            None => Hearing::Newest,
            Some(_) if heartbeat.sequence > self.sequence => Hearing::Newest,
            Some(_) => Hearing::Copy,
        };
        match hearing {
            Hearing::Old => return hearing,
            Hearing::Copy => {
                return if self.hear_on(now, link, heartbeat.sequence) {
                    Hearing::Copy
                } else {
                    Hearing::Old
                };
            }
            Hearing::Restarted => self.forget_life(now),
            Hearing::Newest if self.generation.is_some() => {
                let missed = heartbeat.sequence.0.saturating_sub(self.sequence.0);
                self.loss.heard(missed.saturating_sub(1));
            }
            Hearing::Newest => {}
        }
        self.generation = Some(heartbeat.generation);
        self.sequence = heartbeat.sequence;
        self.last_heard = now;
        self.refused = false;
        self.phase = heartbeat.phase;
        self.reach = heartbeat.reach;
        self.quorate = heartbeat.quorate;
        self.intent = heartbeat.intent.clone();
        self.failed_checks = checks::told(&heartbeat.failed_checks);
        self.digest = Some(heartbeat.digest);
        for report in heartbeat.groups.iter().filter(|r| ours(&r.group)) {
            self.groups.insert(report.group.clone(), report.clone());
        }
        // A new life that has not looked yet has not shortened what the former one lent to its kernel until then.
        let looks = self.groups.values().any(|r| r.state == GroupState::Unknown);
        self.back_by = match heartbeat.intent.back_within {
            Some(within) => now + within,
            None if looks => self.back_by,
            None => Time::ZERO,
        };
        self.hear_on(now, link, heartbeat.sequence);
        hearing
    }

    /// Counts a heartbeat for its link; false when that link has brought it or a newer one before.
    fn hear_on(&mut self, now: Time, link: &LinkName, sequence: Sequence) -> bool {
        match self.links.iter_mut().find(|l| l.name == *link) {
            Some(l) if sequence > l.sequence => {
                l.sequence = sequence;
                l.last_heard = Some(now);
                true
            }
            _ => false,
        }
    }

    /// What its former life said no longer counts.
    fn forget_life(&mut self, now: Time) {
        self.groups.clear();
        self.loss = Loss::default();
        self.misses = 0;
        self.acked = None;
        self.active_since = now;
        self.difference_reported = false;
        for link in &mut self.links {
            link.sequence = Sequence(0);
        }
    }

    /// Heard lately enough to be counted as alive.
    pub fn living(&self) -> bool {
        matches!(self.liveness, Liveness::Active | Liveness::Late)
    }

    /// Since when it has not heard us, as far as it told.
    pub fn unheard_since(&self) -> Time {
        self.acked
            .unwrap_or(self.active_since)
            .max(self.active_since)
    }

    /// Alive, but when it last spoke it had not heard us for deadtime: it acts as if we were dead. What it has heard
    /// since it last spoke is not known, so its own silence does not make it deaf.
    pub fn deaf(&self, timing: &Timing) -> bool {
        self.living() && self.last_heard > self.unheard_since() + timing.deadtime
    }

    /// When it must be expected to act without us, because it does not say that it hears us.
    pub fn takes_us_for_dead_at(&self, timing: &Timing) -> Time {
        let lease = self.unheard_since() + timing.lease();
        lease.max(self.heard_again + timing.keepalive * 2)
    }

    /// Its state of a group; `Unknown` while it has not said.
    pub fn state(&self, group: &GroupName) -> GroupState {
        self.groups
            .get(group)
            .map_or(GroupState::Unknown, |r| r.state)
    }

    /// Whether what it last said means that something of the group may run there.
    pub fn holds(&self, group: &GroupName) -> bool {
        self.state(group).holds()
    }

    /// Whether it announced that nobody shall touch the group.
    pub fn maintains(&self, group: &GroupName) -> bool {
        self.intent.maintenance.contains(group)
    }
}
