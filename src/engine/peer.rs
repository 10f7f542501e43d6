//! One peer: when it was heard and on which links, what it said, and what it has heard of us.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::checks;
use super::fencing::PeerFencing;
use super::loss::HeartbeatLoss;
use super::peer_intent::PeerIntent;
use super::relay;
use super::second_life::SecondLife;
use crate::model::cluster::{Cluster, Timing};
use crate::model::health::FailedCheck;
use crate::model::heartbeat::{
    GroupReport, GroupState, Heartbeat, Phase, Reach, UnreadableHeartbeat, VotersReport, Withheld,
};
use crate::model::identity::Instance;
use crate::model::readiness::Readiness;
use crate::model::status::Liveness;
use crate::model::{Generation, GroupName, LinkName, NodeName, Sequence, Time};

/// What is known of another node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Peer {
    pub name: NodeName,
    /// Its place in the `node` lines of ha.cf. Between equals the lower rank wins.
    pub rank: usize,
    pub liveness: Liveness,
    /// A peer in `init` is waited for until then.
    pub init_deadline: Time,
    /// When it was last heard; before that, the time of our own start.
    pub last_heard: Time,
    /// Since when it has been heard without being dead or gone.
    pub active_since: Time,
    /// When it was heard again after it was last late, dead or gone.
    pub heard_again: Time,
    pub generation: Option<Generation>,
    /// Rule 30. Which life of it is known as the member.
    #[serde(default)]
    pub instance: Option<Instance>,
    /// When that life was first heard.
    #[serde(default)]
    pub instance_since: Time,
    /// Where its heartbeats come from.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// Other lives that are heard under its name.
    #[serde(default)]
    pub second_lives: Vec<SecondLife>,
    /// Which life of each node it knows.
    #[serde(default)]
    pub knows_lives: BTreeMap<NodeName, Instance>,
    /// Whether it knows another life than this one under our name.
    #[serde(default)]
    pub names_other_life: bool,
    /// Its newest heartbeat, if that is of a version that cannot be read.
    #[serde(default)]
    pub unreadable: Option<UnreadableHeartbeat>,
    #[serde(default)]
    pub unreadable_reported: bool,
    pub sequence: Sequence,
    pub phase: Phase,
    pub reach: Reach,
    pub quorate: bool,
    pub intent: PeerIntent,
    pub failed_checks: Vec<FailedCheck>,
    #[serde(default)]
    pub readiness: Readiness,
    pub digest: Option<u64>,
    /// The lists by which it counts quorum.
    #[serde(default)]
    pub voters: VotersReport,
    /// Rule 24. Until then its silence means a restart that it announced.
    pub back_by: Time,
    pub groups: BTreeMap<GroupName, GroupReport>,
    /// Groups that count as stuck there because it had them in maintenance when it fell silent (rule 19).
    #[serde(default)]
    pub unaware: BTreeSet<GroupName>,
    /// Groups that it says a silent node may still run.
    #[serde(default)]
    pub withheld: BTreeMap<GroupName, Withheld>,
    /// The share of its heartbeats that does not arrive here.
    pub loss: HeartbeatLoss,
    /// How many of a thousand of our heartbeats it misses, as it says.
    pub misses: u16,
    /// When we sent the newest of our heartbeats that it has acknowledged.
    pub acked: Option<Time>,
    /// How long a right lasts by the deadtime that this heartbeat published. The peer takes us for dead no sooner than that.
    pub acked_lease: Duration,
    /// The deadtime that it published last; zero before.
    pub deadtime: Duration,
    /// Whether its newest heartbeat was fresh (rule 28).
    pub fresh: bool,
    /// Since when none of its heartbeats was fresh.
    pub unfresh_since: Time,
    /// Whether its last fresh heartbeat carried messages for other layers.
    pub sent_messages: bool,
    /// The links on which it says it hears us.
    pub hears_us_on: Vec<LinkName>,
    pub links: Vec<PeerLink>,
    /// When a heartbeat was last relayed to it.
    pub relayed_at: Time,
    /// Since when each heartbeat is relayed to it; never while that is not needed.
    pub relay_since: Time,
    /// Until when.
    pub relay_until: Time,
    /// Whether its newest heartbeat came by a relay, which carries only some of them: what is missing before the next one
    /// is no loss.
    pub newest_was_relayed: bool,
    /// Rule 34. A person said that it is dead, and it was not heard since.
    #[serde(default)]
    pub confirmed_dead: bool,
    /// The nodes that it hears, as it said last.
    #[serde(default)]
    pub hears: BTreeSet<NodeName>,
    /// Rules 35 to 37.
    #[serde(default)]
    pub fencing: PeerFencing,
    /// Whether its daemon refused a heartbeat since it was last heard.
    pub refused: bool,
    /// What was recorded about it already, so that it is recorded once.
    pub deafness_reported: bool,
    pub difference_reported: bool,
}

/// One peer on one link.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PeerLink {
    pub name: LinkName,
    pub last_heard: Option<Time>,
    pub sequence: Sequence,
    pub up: bool,
    pub carrier: bool,
    /// The share of the peer's heartbeats that does not arrive on it.
    #[serde(default)]
    pub loss: HeartbeatLoss,
    /// Whether it goes through a ping node.
    pub relay: bool,
}

/// What a heartbeat that came in counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// The first of a new generation.
    Restarted,
    /// The newest so far.
    Newest,
    /// A copy that came by another link: it counts for that link only.
    Copy,
    /// Nothing: it is late, or replayed.
    Old,
}

/// Rule 28. What a heartbeat says of whom its sender hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It names a heartbeat that this life of ours sent less than deadtime ago.
    Fresh,
    /// It names an older one of this life: it was under way for long, or its sender no longer hears us.
    Stale,
    /// It names none of this life: it may be older than that.
    Unknown,
}

impl PeerLink {
    /// A link is down after so much silence.
    pub fn silence_limit(&self, timing: &Timing) -> Duration {
        if self.relay {
            relay::SILENCE_LIMIT.max(timing.deadtime)
        } else {
            timing.deadtime
        }
    }
}

impl Peer {
    pub fn new(name: NodeName, rank: usize, cluster: &Cluster, now: Time, init: Duration) -> Self {
        let link = |name: LinkName, relay: bool| PeerLink {
            name,
            last_heard: None,
            sequence: Sequence(0),
            up: false,
            carrier: true,
            loss: HeartbeatLoss::default(),
            relay,
        };
        let direct = cluster.links.iter().map(|l| link(l.clone(), false));
        let relays = cluster.relay_links().map(|l| link(l, true));
        Peer {
            name,
            rank,
            liveness: Liveness::Init,
            init_deadline: now + init,
            last_heard: now,
            active_since: now,
            heard_again: now,
            generation: None,
            instance: None,
            instance_since: now,
            address: None,
            second_lives: Vec::new(),
            knows_lives: BTreeMap::new(),
            names_other_life: false,
            unreadable: None,
            unreadable_reported: false,
            sequence: Sequence(0),
            phase: Phase::Init,
            reach: Reach::default(),
            quorate: false,
            intent: PeerIntent::default(),
            failed_checks: Vec::new(),
            readiness: Readiness::default(),
            digest: None,
            voters: VotersReport::default(),
            back_by: Time::ZERO,
            groups: BTreeMap::new(),
            unaware: BTreeSet::new(),
            withheld: BTreeMap::new(),
            loss: HeartbeatLoss::default(),
            misses: 0,
            acked: None,
            acked_lease: cluster.timing.lease(),
            deadtime: Duration::ZERO,
            fresh: false,
            unfresh_since: now,
            sent_messages: false,
            hears_us_on: Vec::new(),
            links: direct.chain(relays).collect(),
            relayed_at: Time::ZERO,
            relay_since: Time::NEVER,
            relay_until: Time::ZERO,
            newest_was_relayed: false,
            confirmed_dead: false,
            hears: BTreeSet::new(),
            fencing: PeerFencing::default(),
            refused: false,
            deafness_reported: false,
            difference_reported: false,
        }
    }

    /// Rule 13. Takes a heartbeat in, unless it is old. The caller judges what it acknowledges, and knows what was sent
    /// when. Nothing is kept of groups that are not `ours`: otherwise the peer would decide how much we remember.
    pub fn take_heartbeat(
        &mut self,
        now: Time,
        link: &LinkName,
        heartbeat: &Heartbeat,
        freshness: Freshness,
        ours: impl Fn(&GroupName) -> bool,
    ) -> Hearing {
        let hearing = match self.generation {
            Some(g) if heartbeat.generation < g => Hearing::Old,
            Some(g) if heartbeat.generation > g => Hearing::Restarted,
            None => Hearing::Newest,
            Some(_) if heartbeat.sequence > self.sequence => Hearing::Newest,
            Some(_) => Hearing::Copy,
        };
        let fresh = freshness == Freshness::Fresh;
        let relayed = self.links.iter().any(|l| l.relay && l.name == *link);
        match hearing {
            Hearing::Old => return hearing,
            Hearing::Copy => {
                return if self.count_for_link(now, link, heartbeat.sequence) {
                    Hearing::Copy
                } else {
                    Hearing::Old
                };
            }
            Hearing::Restarted => {
                self.begin_instance(now, heartbeat);
                self.forget_life(now);
            }
            Hearing::Newest if self.generation.is_some() && !relayed => {
                let missed = heartbeat.sequence.0.saturating_sub(self.sequence.0) - 1;
                let unknown = self.newest_was_relayed;
                self.loss.count(if unknown { 0 } else { missed });
            }
            Hearing::Newest => {}
        }
        self.begin_instance(now, heartbeat);
        self.unreadable = None;
        self.unreadable_reported = false;
        self.newest_was_relayed = relayed;
        self.generation = Some(heartbeat.generation);
        self.sequence = heartbeat.sequence;
        self.last_heard = now;
        self.refused = false;
        self.reach = heartbeat.reach;
        self.quorate = heartbeat.quorate;
        self.deadtime = heartbeat.deadtime;
        self.take_freshness(now, fresh);
        self.phase = match heartbeat.phase {
            Phase::Left if !fresh => Phase::Leaving,
            phase => phase,
        };
        if fresh {
            self.intent.take(heartbeat, &ours);
        }
        self.failed_checks = checks::limit_received(&heartbeat.failed_checks);
        self.readiness = heartbeat.readiness.limited();
        self.digest = Some(heartbeat.digest);
        let hears = heartbeat.heard.iter().filter(|h| !h.links.is_empty());
        self.hears = hears.map(|h| h.node.clone()).collect();
        self.voters = heartbeat.voters.clone();
        for report in heartbeat.groups.iter().filter(|r| ours(&r.group)) {
            self.groups.insert(report.group.clone(), report.clone());
            self.unaware.remove(&report.group);
            let by = heartbeat.withheld.iter();
            match by.rev().find(|w| w.group == report.group) {
                Some(w) => drop(self.withheld.insert(w.group.clone(), w.clone())),
                None => drop(self.withheld.remove(&report.group)),
            }
        }
        // Until the new daemon has probed, its kernel keeps the addresses as long as the former daemon announced.
        let looks = self.groups.values().any(|r| r.state == GroupState::Unknown);
        self.back_by = match heartbeat.intent.back_within {
            // That only makes us wait.
            Some(within) if freshness != Freshness::Unknown => now + within,
            Some(_) => self.back_by,
            None if looks => self.back_by,
            None => Time::ZERO,
        };
        self.count_for_link(now, link, heartbeat.sequence);
        hearing
    }

    /// Rule 28. Notes whether its newest heartbeat is fresh.
    fn take_freshness(&mut self, now: Time, fresh: bool) {
        if self.fresh && !fresh {
            self.unfresh_since = now;
        }
        self.fresh = fresh;
        self.fencing.take_heartbeat(fresh);
    }

    /// Rule 28. It is heard anew, so the time for which it may block begins.
    pub fn begin_unfresh(&mut self, now: Time) {
        self.fresh = false;
        self.unfresh_since = now;
    }

    /// Rule 28. Whether it has been heard for so long without saying that it hears us that it no longer blocks.
    pub fn blocks_no_longer(&self, now: Time, timing: &Timing) -> bool {
        self.is_living() && !self.fresh && now >= self.unfresh_since + timing.initdead
    }

    /// Counts a heartbeat for its link. False if that link has brought it or a newer one before.
    fn count_for_link(&mut self, now: Time, link: &LinkName, sequence: Sequence) -> bool {
        match self.links.iter_mut().find(|l| l.name == *link) {
            Some(l) if sequence > l.sequence => {
                // Each heartbeat goes out on every link, but only some are relayed.
                if l.sequence > Sequence(0) && !l.relay {
                    l.loss.count(sequence.0 - l.sequence.0 - 1);
                }
                l.sequence = sequence;
                l.last_heard = Some(now);
                true
            }
            _ => false,
        }
    }

    /// Rule 13. What its former daemon said no longer counts.
    pub fn forget_life(&mut self, now: Time) {
        self.fencing.begin_life();
        self.groups.clear();
        self.unaware.clear();
        self.withheld.clear();
        self.loss = HeartbeatLoss::default();
        self.misses = 0;
        self.acked = None;
        self.begin_unfresh(now);
        self.intent = PeerIntent::default();
        self.hears_us_on.clear();
        self.names_other_life = false;
        self.active_since = now;
        self.difference_reported = false;
        for link in &mut self.links {
            link.sequence = Sequence(0);
            link.loss = HeartbeatLoss::default();
        }
    }

    /// Whether it was heard within deadtime.
    pub fn is_living(&self) -> bool {
        matches!(self.liveness, Liveness::Active | Liveness::Late)
    }

    /// Since when it has not heard us, as far as it has said.
    pub fn unheard_since(&self) -> Time {
        self.acked
            .unwrap_or(self.active_since)
            .max(self.active_since)
    }

    /// Rule 8. It lives, but by its last heartbeat it had not heard us for deadtime: it acts as if we were dead. What it
    /// has heard since then is not known, so its own silence does not make it deaf.
    pub fn is_deaf(&self, timing: &Timing) -> bool {
        let unheard = self.last_heard > self.unheard_since() + timing.deadtime;
        self.is_living() && (unheard || self.unreadable.is_some())
    }

    /// How long a right lasts that rests on what it has acknowledged.
    pub fn lease_by(&self, timing: &Timing) -> Duration {
        timing.lease().min(self.acked_lease)
    }

    /// How long it is silent before it counts as dead: by its own deadtime too, because its rights last that long.
    pub fn dead_after(&self, timing: &Timing) -> Duration {
        timing.deadtime.max(self.deadtime)
    }

    /// Rule 8. When it may take us for dead and act without us, because it does not say that it hears us.
    pub fn takes_us_for_dead_at(&self, timing: &Timing) -> Time {
        let lease = self.unheard_since() + self.lease_by(timing);
        lease.max(self.heard_again + timing.keepalive * 2)
    }

    /// Its state of a group. `Unknown` until it has said.
    pub fn state(&self, group: &GroupName) -> GroupState {
        self.groups
            .get(group)
            .map_or(GroupState::Unknown, |r| r.state)
    }

    /// Whether something of the group may run there, by what it said last.
    pub fn holds(&self, group: &GroupName) -> bool {
        self.state(group).holds()
    }

    /// It may run the group although it is dead.
    pub fn count_as_stuck(&mut self, group: &GroupName) {
        let report = self.groups.get_mut(group);
        if let Some(report) = report.filter(|r| r.state.holds() && r.state != GroupState::Stuck) {
            report.state = GroupState::Stuck;
            self.unaware.insert(group.clone());
        }
    }

    /// Rule 19. Maintenance ends here while this peer is silent. What it had in maintenance may run there still, with nobody to
    /// stop it: as if its stop had failed.
    /// Returns whether there is such a group.
    pub fn end_maintenance_unheard(&mut self, groups: &[GroupName]) -> bool {
        let mut any = false;
        for group in groups {
            if !self.maintains(group) {
                continue;
            }
            any |= self.holds(group);
            self.count_as_stuck(group);
        }
        self.intent.maintenance.retain(|g| !groups.contains(g));
        any
    }

    /// Whether it has the group in maintenance.
    pub fn maintains(&self, group: &GroupName) -> bool {
        self.intent.maintenance.contains(group)
    }
}
