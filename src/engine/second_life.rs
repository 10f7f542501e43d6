//! Rule 30: a life that is heard under the name of a node beside the one that is known as the member.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::peer::Peer;
use crate::model::heartbeat::{Heartbeat, Phase};
use crate::model::identity::{FirstLife, Instance, Namesake};
use crate::model::status::Liveness;
use crate::model::{Generation, GroupName, NodeName, Sequence, Time};

/// Lives under one name that are remembered beside the first. Each has the key.
const MAX_SECOND_LIVES: usize = 3;
/// Nor more groups of each.
const MAX_GROUPS: usize = 1000;

/// Of two lives that both live, the one with the smaller rank keeps the name: one that takes part, then one that is quorate, then
/// the earlier start.
pub(super) type NameRank = (bool, bool, Generation, Instance);

/// A second life that is heard under one name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SecondLife {
    pub instance: Instance,
    pub succeeds: Option<Instance>,
    pub generation: Generation,
    pub sequence: Sequence,
    pub phase: Phase,
    pub quorate: bool,
    pub holds: Vec<GroupName>,
    pub deadtime: Duration,
    pub address: Option<IpAddr>,
    pub first_heard: Time,
    pub last_heard: Time,
    /// When we sent the newest of our heartbeats that it has acknowledged.
    pub acked: Option<Time>,
    /// When it was last certain that both lives live.
    pub proved_at: Option<Time>,
}

impl SecondLife {
    fn new(now: Time, instance: Instance) -> Self {
        SecondLife {
            instance,
            succeeds: None,
            generation: Generation(0),
            sequence: Sequence(0),
            phase: Phase::Init,
            quorate: false,
            holds: Vec::new(),
            deadtime: Duration::ZERO,
            address: None,
            first_heard: now,
            last_heard: now,
            acked: None,
            proved_at: None,
        }
    }

    /// Takes a heartbeat of it in, unless it is old.
    pub fn take_heartbeat(
        &mut self,
        now: Time,
        from: Option<IpAddr>,
        heartbeat: &Heartbeat,
    ) -> bool {
        let number = (heartbeat.generation, heartbeat.sequence);
        if number <= (self.generation, self.sequence) {
            return false;
        }
        (self.generation, self.sequence) = number;
        self.succeeds = heartbeat.identity.succeeds;
        self.phase = heartbeat.phase;
        self.quorate = heartbeat.quorate;
        self.deadtime = heartbeat.deadtime;
        self.address = from.or(self.address);
        self.last_heard = now;
        for report in &heartbeat.groups {
            self.holds.retain(|g| *g != report.group);
            if report.state.holds() {
                self.holds.push(report.group.clone());
            }
        }
        self.holds.truncate(MAX_GROUPS);
        true
    }

    pub fn name_rank(&self) -> NameRank {
        name_rank(self.phase, self.quorate, self.generation, self.instance)
    }

    pub fn is_proved(&self, now: Time, deadtime: Duration) -> bool {
        self.proved_at.is_some_and(|at| now < at + deadtime)
    }

    pub fn label(&self) -> String {
        label(self.address, self.instance)
    }

    /// Whether something of the group may run there.
    pub fn may_hold(
        &self,
        now: Time,
        group: &GroupName,
        deadtime: Duration,
        stop: Duration,
    ) -> bool {
        self.proved_at.is_some()
            && self.holds.contains(group)
            && now < self.last_heard + deadtime.max(self.deadtime) + stop
    }

    pub fn published(
        &self,
        node: &NodeName,
        first: FirstLife,
        first_address: Option<IpAddr>,
    ) -> Namesake {
        Namesake {
            node: node.clone(),
            instance: self.instance,
            generation: self.generation,
            sequence: self.sequence,
            first,
            first_address,
            address: self.address,
        }
    }
}

pub(super) fn name_rank(
    phase: Phase,
    quorate: bool,
    generation: Generation,
    instance: Instance,
) -> NameRank {
    let out = phase == Phase::Init;
    (out, !out && !quorate, generation, instance)
}

pub(super) fn label(address: Option<IpAddr>, instance: Instance) -> String {
    address.map_or_else(|| format!("instance {instance}"), |a| a.to_string())
}

/// The life with this instance; a new one where there is room, or in place of one that is silent.
pub(super) fn remembered_life(
    lives: &mut Vec<SecondLife>,
    now: Time,
    instance: Instance,
    deadtime: Duration,
) -> Option<&mut SecondLife> {
    if !lives.iter().any(|l| l.instance == instance) {
        if lives.len() >= MAX_SECOND_LIVES {
            let silent = |l: &SecondLife| now >= l.last_heard + deadtime;
            let at = lives.iter().position(silent)?;
            lives.remove(at);
        }
        lives.push(SecondLife::new(now, instance));
    }
    lives.iter_mut().find(|l| l.instance == instance)
}

impl Peer {
    /// Whether a heartbeat comes from another life than the one that is known as this member, and cannot be its successor yet:
    /// the known life may still live, or the other has no later generation.
    pub fn is_second_life(&self, now: Time, heartbeat: &Heartbeat, initdead: Duration) -> bool {
        let identity = heartbeat.identity;
        let other = identity.instance.is_some_and(|i| Some(i) != self.instance);
        other
            && self.instance.is_some()
            && (self.generation >= Some(heartbeat.generation)
                || self.known_life_may_live(now, identity.succeeds, initdead))
    }

    /// Whether the known life may live beside another one. Not when it has left, when the other is its successor in the same
    /// boot, or when nothing fresh was heard of it for initdead (rule 28). After a restart that it announced its successor is
    /// one in the same boot: another machine that uses the moment is not.
    pub fn known_life_may_live(
        &self,
        now: Time,
        succeeds: Option<Instance>,
        initdead: Duration,
    ) -> bool {
        let ended = self.phase == Phase::Left || (succeeds.is_some() && succeeds == self.instance);
        let unheard = !self.fresh && now >= self.unfresh_since + initdead;
        // After a gap in our own time it is listened for.
        (self.is_living() || self.liveness == Liveness::Init) && !ended && !unheard
    }

    pub fn name_rank(&self, instance: Instance) -> NameRank {
        let generation = self.generation.unwrap_or_default();
        name_rank(self.phase, self.quorate, generation, instance)
    }

    /// The second life becomes the member, and the member a second life.
    pub fn swap_lives(&mut self, now: Time, second: Instance) {
        let Some(at) = self.second_lives.iter().position(|l| l.instance == second) else {
            return;
        };
        let new = self.second_lives.remove(at);
        let holds = self.groups.values().filter(|r| r.state.holds());
        let old = self.instance.map(|instance| SecondLife {
            succeeds: None,
            generation: self.generation.unwrap_or_default(),
            sequence: self.sequence,
            phase: self.phase,
            quorate: self.quorate,
            holds: holds.map(|r| r.group.clone()).collect(),
            deadtime: self.deadtime,
            address: self.address,
            first_heard: self.instance_since,
            last_heard: self.last_heard,
            acked: self.acked,
            proved_at: Some(now),
            ..SecondLife::new(now, instance)
        });
        self.second_lives.extend(old);
        // The next heartbeat of that life is taken in whole.
        self.forget_life(now);
        self.generation = Some(new.generation);
        self.sequence = new.sequence;
        self.phase = new.phase;
        self.quorate = new.quorate;
        self.instance = Some(new.instance);
        self.instance_since = new.first_heard;
        self.address = new.address;
        self.acked = new.acked;
    }

    /// A successor is heard. If the life before it had a namesake, what that life held is remembered beside the new one: they
    /// are two machines.
    pub fn begin_instance(&mut self, now: Time, heartbeat: &Heartbeat) {
        let instance = heartbeat.identity.instance;
        if self.instance == instance {
            return;
        }
        let known = self
            .second_lives
            .iter()
            .find(|l| Some(l.instance) == instance);
        let since = known.map_or(now, |l| l.first_heard);
        let other_machine = known.is_some_and(|l| l.proved_at.is_some());
        if let Some(second) = instance.filter(|_| other_machine) {
            self.swap_lives(now, second);
        }
        self.second_lives.retain(|l| Some(l.instance) != instance);
        self.instance = instance;
        self.instance_since = since;
        self.address = None;
    }
}
