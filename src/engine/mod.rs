//! Decides. Facts in, orders out; time is an argument. Nothing here awaits, reads a clock, logs or touches the system.
//!
//! The rules are those of the ownership protocol, each named where it is applied:
//!
//! * `peer`, `membership`: who is alive, on which links, and what each has said;
//! * `quorum`: votes, and the lease that a right is;
//! * `placement`: who should own a group that nobody owns;
//! * `recognition`, `claim`: the promise that each node publishes, and the way to a group by it;
//! * `ownership`, `handover`: keeping a group, letting it go, giving it away;
//! * `stack`: its steps, up and down; `monitoring`, `checks`: is what runs well, and is this node?
//! * `publish`: the heartbeat, which says all of it;
//! * `command`, `outcome`, `status`: what an administrator asks, what comes of it, what he sees.

pub mod action;
mod checks;
mod command;
mod digest;
pub mod event;
mod group;
mod loss;
mod membership;
mod outcome;
mod peer;
mod placement;
mod publish;
mod quorum;
mod reconfigure;
mod round;
mod sent;
mod status;
mod view;

pub use action::{Action, Call};
pub use digest::ActionDigest;
pub use event::{Command, Event, OrderId, Outcome, PersistentState};

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::cluster::{Cluster, QuorumPolicy};
use crate::model::decision::{Because, What};
use crate::model::heartbeat::GroupState;
use crate::model::{GroupName, NodeName, Term, Time};
use checks::Checks;
use command::Pending;
use group::Group;
use peer::Peer;
use publish::Publisher;
use quorum::Ping;
use round::Round;
use sent::SentLog;
use view::View;

/// The deciding half of one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Engine {
    view: View,
    groups: Vec<Group>,
    round: Round,
    publisher: Publisher,
    pending: Vec<Pending>,
    kept: PersistentState,
    /// Orders to save that have not been answered, each with the ceilings it brings to disk.
    saving: Vec<(u64, BTreeMap<GroupName, Term>)>,
    saves: u64,
    /// A generation to be taken when it is on disk.
    next_generation: Option<crate::model::Generation>,
    /// Heartbeats that were not newer than the last of their sender: late copies, or replays.
    old_heartbeats: u64,
    /// The time of the last event.
    now: Time,
}

impl Engine {
    /// A node that has just started, with what outlived its last life. The orders are the first looks at what runs.
    #[must_use]
    pub fn new(cluster: Cluster, kept: PersistentState, now: Time) -> (Engine, Vec<Action>) {
        let view = new_view(cluster, &kept, now);
        let mut round = Round {
            saved_ceilings: kept.ceilings.clone(),
            ceilings: kept.ceilings.clone(),
            ..Round::default()
        };
        let timing = &view.cluster.timing;
        let groups = view.cluster.groups.iter();
        let groups: Vec<Group> = groups
            .map(|spec| Group::restored(spec, &kept, timing, now, &mut round))
            .collect();
        let mut engine = Engine {
            view,
            groups,
            round,
            publisher: Publisher::new(now),
            pending: Vec::new(),
            kept,
            saving: Vec::new(),
            saves: 0,
            next_generation: None,
            old_heartbeats: 0,
            now,
        };
        engine.age(now);
        let out = engine.settle(now);
        (engine, out)
    }

    /// Takes a fact in and gives the orders that follow. Time never runs backwards here; a time before the last
    /// counts as the last. Silence is judged only at [`Event::DeadlineReached`], which the caller gives when nothing
    /// that has already arrived is left unread.
    #[must_use]
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        let now = now.max(self.now);
        let gap = now.since(self.now);
        let before = self.now;
        self.now = now;
        if gap > self.view.cluster.timing.warntime {
            self.gap(before, now);
        }
        self.take_in(now, event);
        self.settle(now)
    }

    fn take_in(&mut self, now: Time, event: Event) {
        match event {
            Event::Heard { link, heartbeat } => self.hear(now, &link, &heartbeat),
            Event::Carrier { link, up } => self.carrier(&link, up),
            Event::Refused { peer, .. } => self.refused(&peer),
            Event::Pong { ping, sent } => self.pong(ping, sent),
            Event::Done {
                group,
                order,
                outcome,
            } => {
                self.with_group(&group, |g, _, round| g.done(now, order, &outcome, round));
            }
            Event::AddressAnswered { group, who } => {
                self.with_group(&group, |g, _, _| g.address_answered(now, who));
            }
            Event::AddressSilent { group, sent } => {
                self.with_group(&group, |g, _, _| g.address_silent(sent));
            }
            Event::ResourceLost { group, step, text } => {
                self.with_group(&group, |g, view, round| {
                    g.lost(now, step, text, view, round);
                });
            }
            Event::Monitored {
                group,
                step,
                result,
            } => {
                self.with_group(&group, |g, _, round| {
                    g.take_monitor_result(now, step, result, round);
                });
            }
            Event::Checked { check, result } => self.checked(now, &check, result),
            Event::PeerMessages(peer_messages) => self.publisher.peer_messages = peer_messages,
            Event::Saved { version } => self.saved(version),
            Event::Command { id, command } => self.command(now, id, command),
            Event::Reconfigured(cluster) => self.reconfigure(now, *cluster),
            Event::DeadlineReached => self.age(now),
        }
    }

    /// Does something with one group; a name that is not ours is ignored (its group was configured away).
    fn with_group(&mut self, name: &GroupName, what: impl FnOnce(&mut Group, &View, &mut Round)) {
        if let Some(group) = self.groups.iter_mut().find(|g| g.name() == name) {
            what(group, &self.view, &mut self.round);
        }
    }

    /// Judges everything once with what is known now.
    fn settle(&mut self, now: Time) -> Vec<Action> {
        self.count();
        self.round.load = self.groups.iter().filter(|g| g.is_load()).count();
        for group in &mut self.groups {
            group.decide(now, &self.view, &mut self.round);
        }
        self.forget_removed();
        self.settle_commands(now);
        self.publish(now);
        self.save();
        std::mem::take(&mut self.round.out)
    }

    /// Votes and loads.
    fn count(&mut self) {
        let votes = self.view.votes();
        let enough = match self.view.cluster.quorum {
            QuorumPolicy::Stop | QuorumPolicy::Freeze => votes.enough(),
            QuorumPolicy::Ignore | QuorumPolicy::Off => true,
        };
        if enough != self.view.quorate {
            self.view.quorate = enough;
            let (ours, total) = (votes.ours, votes.total);
            let what = if enough {
                What::QuorumGained { votes: ours, total }
            } else {
                What::QuorumLost { votes: ours, total }
            };
            self.round.record_node(what, Because::Heard);
        }
        let load = |p: &Peer| {
            p.groups
                .values()
                .filter(|r| counts_as_load(r.state))
                .count()
        };
        self.view.loads = self
            .view
            .living()
            .map(|p| (p.name.clone(), load(p)))
            .collect();
    }

    /// Orders to save what has changed.
    fn save(&mut self) {
        if !std::mem::take(&mut self.round.save) {
            return;
        }
        let named = |is: fn(&Group) -> bool| {
            self.groups
                .iter()
                .filter(|g| is(g))
                .map(|g| g.name().clone())
                .collect()
        };
        self.kept = PersistentState {
            generation: self.next_generation.unwrap_or(self.view.generation),
            ceilings: self.round.ceilings.clone(),
            terms: self
                .groups
                .iter()
                .map(|g| (g.name().clone(), g.term()))
                .collect(),
            leases: BTreeMap::new(),
            standby: named(|g| g.wishes().standby),
            yielding: named(|g| g.wishes().yielding),
            maintenance: named(|g| g.wishes().maintenance),
        };
        self.saves += 1;
        self.saving.push((self.saves, self.round.ceilings.clone()));
        self.round.out.push(Action::Save {
            version: self.saves,
            kept: self.kept.clone(),
        });
    }

    fn saved(&mut self, version: u64) {
        if let Some((_, ceilings)) = self.saving.iter().find(|(v, _)| *v == version) {
            self.round.saved_ceilings = ceilings.clone();
        }
        self.saving.retain(|(v, _)| *v > version);
        if let Some(generation) = self.next_generation.filter(|_| self.saving.is_empty()) {
            self.take_generation(generation);
        }
    }

    /// When [`Event::DeadlineReached`] is due at the latest.
    pub fn next_deadline(&self) -> Time {
        let mut due = Vec::new();
        self.membership_deadlines(&mut due);
        for group in &self.groups {
            group.deadlines(self.now, &self.view, &mut due);
        }
        due.extend(self.pending.iter().map(|p| p.until));
        due.push(self.publisher.due(
            self.in_transition(),
            self.interval(),
            &self.view.cluster.timing,
        ));
        let soonest = due
            .into_iter()
            .filter(|at| *at > Time::ZERO)
            .min()
            .unwrap_or(Time::NEVER);
        // What is due already was judged in this very round; asking for it again at once would only spin.
        soonest.max(self.now + Duration::from_millis(1))
    }

    /// This node's name.
    pub fn name(&self) -> &NodeName {
        self.view.me()
    }

    /// How much it remembers that could grow.
    pub fn burden(&self) -> Burden {
        Burden {
            pending: self.pending.len(),
            saving: self.saving.len(),
            sent: self.view.sent.len(),
        }
    }

    /// The present configuration.
    pub fn cluster(&self) -> &Cluster {
        &self.view.cluster
    }
}

/// How much an engine remembers that could grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Burden {
    /// Commands that wait for their outcome.
    pub pending: usize,
    /// Orders to save that are not answered yet.
    pub saving: usize,
    /// Own heartbeats of which the time of sending is known.
    pub sent: usize,
}

/// Whether a group in this state counts as load.
fn counts_as_load(state: GroupState) -> bool {
    state.holds() || state == GroupState::Claiming
}

fn new_view(cluster: Cluster, kept: &PersistentState, now: Time) -> View {
    let initdead = cluster.timing.initdead;
    let peers = peers_of(&cluster, now, initdead);
    let pings = cluster.pings.iter().map(|p| new_ping(&p.name)).collect();
    let mut checks = Checks::default();
    checks.take_definition(&cluster.health, now);
    View {
        checks,
        rank: cluster
            .nodes
            .iter()
            .position(|n| *n == cluster.me)
            .unwrap_or(usize::MAX),
        generation: kept.generation,
        peers,
        pings,
        sent: SentLog::default(),
        joined: false,
        listen_until: Time::ZERO,
        gap: None,
        leaving: false,
        quorate: false,
        loads: BTreeMap::new(),
        cluster,
    }
}

fn peers_of(cluster: &Cluster, now: Time, initdead: Duration) -> Vec<Peer> {
    let others = cluster
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, n)| **n != cluster.me);
    others
        .map(|(rank, name)| Peer::new(name.clone(), rank, &cluster.links, now, initdead))
        .collect()
}

fn new_ping(name: &str) -> Ping {
    Ping {
        name: name.to_owned(),
        answered: None,
        up: false,
    }
}
