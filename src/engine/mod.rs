//! Decides. It takes events in and gives orders; the time is an argument. Nothing here awaits, reads a clock, logs or
//! touches the system.
//!
//! `PROTOCOL.md` beside this file has the rules by which nodes agree on owners. The code cites them by number.
//!
//! * `group`: one group on this node, from the claim to the stop;
//! * `peer`, `membership`: which peers live, on which links they are heard, and what each has said;
//! * `view`: all that this node knows of the cluster;
//! * `quorum`: votes, and the end of a lease; `sent`: when each heartbeat was sent, from which leases count;
//! * `placement`: who should own a group that nobody owns;
//! * `checks`: checks of this node;
//! * `publish`: the heartbeat, which says all of it; `loss`: how often it is sent;
//! * `planned`: what a stop or a new configuration would cost;
//! * `command`, `refusal`, `outcome`, `status`: what an administrator asks for, why that cannot be, what comes of it, and what
//!   he sees; `confirmed_dead`: his word that a node is dead; `fencing`: the same by the word of a power switch;
//! * `identity`, `second_life`: two machines with one name; `other_version`: members that are heard and cannot be read;
//! * `relay`: heartbeats that bounce off a ping node; `witness`: the groups on a member that only votes;
//! * `foreign`: who answers for an address; `machine_probe`: machines that answer while their daemon is silent;
//! * `reconfigure`: a new configuration; `stranger`: nodes that it no longer has; `voters`: the lists of voters while they
//!   change;
//! * `round`: the orders of one round.

pub mod action;
mod checks;
mod command;
mod confirmed_dead;
mod digest;
pub mod event;
mod fencing;
mod foreign;
mod group;
mod group_finder;
mod identity;
mod loss;
mod machine_probe;
mod membership;
mod other_version;
mod outcome;
mod peer;
mod peer_intent;
mod placement;
mod planned;
mod publish;
mod quorum;
mod reconfigure;
mod refusal;
mod relay;
mod round;
mod second_life;
mod sent;
mod status;
mod stranger;
mod view;
mod voters;
mod witness;

pub use action::{Action, Call};
pub use digest::ActionDigest;
pub use event::{
    Asker, Command, Event, MachineAnswer, MachineRecord, OrderId, Outcome, PersistentState,
};
pub use voters::Voters;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::cluster::Cluster;
use crate::model::decision::{Because, What};
use crate::model::heartbeat::GroupState;
use crate::model::{GroupName, NodeName, Term, Time};
use checks::Checks;
use command::PendingCommand;
use fencing::FencingCases;
use group::Group;
use identity::Names;
use machine_probe::Machines;
use peer::Peer;
use publish::Publisher;
use quorum::Ping;
use round::Round;
use sent::SentLog;
use view::View;

/// All decisions of one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Engine {
    view: View,
    groups: Vec<Group>,
    round: Round,
    publisher: Publisher,
    /// When the next datagram may be relayed.
    #[serde(default)]
    next_relay: Time,
    pending: Vec<PendingCommand>,
    /// The nodes that are being fenced.
    #[serde(default)]
    fencing: FencingCases,
    /// Who gave the command that is being carried out.
    #[serde(default)]
    asker: Asker,
    kept: PersistentState,
    /// Orders to save that have not been answered, each with the ceilings that it brings to disk.
    saving: Vec<(u64, BTreeMap<GroupName, Term>)>,
    saves: u64,
    /// The next generation of this node. It begins when it is on disk.
    next_generation: Option<crate::model::Generation>,
    /// Counts heartbeats that were not newer than the last one of their sender: late copies, or replays.
    old_heartbeats: u64,
    /// The time of the last event.
    now: Time,
}

impl Engine {
    /// A node that has just started, with what outlived the last daemon. The first orders probe what runs.
    #[must_use]
    pub fn new(cluster: Cluster, kept: PersistentState, now: Time) -> (Engine, Vec<Action>) {
        let view = new_view(cluster, &kept, now);
        let mut round = Round {
            saved_ceilings: kept.ceilings.clone(),
            ceilings: kept.ceilings.clone(),
            ..Round::default()
        };
        let timing = &view.cluster.timing;
        let groups = view.cluster.own_groups().iter();
        let mut groups: Vec<Group> = groups
            .map(|spec| Group::restored(spec, &kept, timing, now, &mut round))
            .collect();
        groups.extend(witness::known_groups(&view.cluster, &kept, now));
        let mut engine = Engine {
            view,
            groups,
            round,
            publisher: Publisher::new(now),
            next_relay: Time::ZERO,
            pending: Vec::new(),
            fencing: FencingCases::default(),
            asker: Asker::default(),
            kept,
            saving: Vec::new(),
            saves: 0,
            next_generation: None,
            old_heartbeats: 0,
            now,
        };
        engine.judge_silence(now);
        engine.compare_with_last_life();
        let out = engine.decide_all(now);
        (engine, out)
    }

    /// Takes an event in and gives the orders that follow. Time never runs backwards here: a time before the last one
    /// counts as the last one. Silence is judged only at [`Event::DeadlineReached`], which the caller gives when
    /// everything that has arrived was read.
    #[must_use]
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        self.take(now, event);
        self.decide_all(self.now)
    }

    /// Takes an event in and decides nothing yet: more has arrived with it, and [`Engine::handle`] gets the last of that. So
    /// a decision about all groups is made once for all that has arrived, however many datagrams that is. Only for events
    /// that [`Event::can_wait`].
    pub fn take(&mut self, now: Time, event: Event) {
        let now = now.max(self.now);
        let gap = now.since(self.now);
        let before = self.now;
        self.now = now;
        if gap > self.view.cluster.timing.warntime {
            self.distrust_after_gap(before, now);
        }
        self.take_in(now, event);
    }

    fn take_in(&mut self, now: Time, event: Event) {
        match event {
            Event::Heard {
                link,
                from,
                heartbeat,
            } => self.take_heartbeat(now, &link, from, &heartbeat),
            Event::HeardUnreadable { link, heartbeat } => {
                self.take_unreadable(now, &link, &heartbeat);
            }
            Event::Carrier { link, up } => self.set_carrier(&link, up),
            Event::Refused { peer, .. } => self.note_refusal(&peer),
            Event::Pong { ping, sent } => self.take_ping_answer(ping, sent),
            Event::Done {
                group,
                order,
                outcome,
            } => {
                self.with_group(&group, |g, _, round| {
                    g.order_ended(now, order, &outcome, round);
                });
            }
            Event::AddressAnswered {
                group,
                who,
                hardware,
            } => {
                let answer = self.identify(who, hardware);
                self.with_group(&group, |g, _, _| g.address_answered(now, answer));
            }
            Event::OwnHardware(hardware) => self.publisher.hardware = hardware,
            Event::OwnReadiness {
                readiness,
                complete,
            } => self.take_own_readiness(&readiness, complete),
            Event::AddressSilent { group, sent } => {
                self.with_group(&group, |g, _, _| g.address_silent(sent));
            }
            Event::MachineAsked { node, sent } => self.view.machines.take_asked(&node, sent),
            Event::MachineAnswered { node, by, sent } => {
                self.view.machines.take_answer(&node, by, sent);
            }
            Event::FenceDone {
                node,
                order,
                result,
            } => self.fencing_ended(now, &node, order, result),
            Event::FenceTested { node, result } => self.power_switch_tested(node, result),
            Event::ResourceLost { group, step, text } => {
                self.with_group(&group, |g, view, round| {
                    g.resource_lost(now, step, text, view, round);
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
            Event::Checked { check, result } => self.take_check_result(now, &check, result),
            Event::PeerMessages(peer_messages) => self.publisher.peer_messages = peer_messages,
            Event::Saved { version } => self.take_saved(version),
            Event::Command { id, command, asker } => {
                self.execute_command(now, id, command, asker);
            }
            Event::Reconfigured(cluster) => self.reconfigure(now, *cluster),
            Event::DeadlineReached => self.judge_silence(now),
        }
    }

    /// Does something with one group. An unknown name is ignored: its group is no longer in the configuration.
    fn with_group(&mut self, name: &GroupName, what: impl FnOnce(&mut Group, &View, &mut Round)) {
        if let Some(group) = self.groups.iter_mut().find(|g| g.name() == name) {
            what(group, &self.view, &mut self.round);
        }
    }

    /// Decides everything once with what is known now.
    fn decide_all(&mut self, now: Time) -> Vec<Action> {
        self.settle_voters();
        self.count_votes_and_loads();
        self.watch_machines(now);
        self.round.load = self.groups.iter().filter(|g| g.is_load()).count();
        for group in &mut self.groups {
            group.judge_unaware_nodes(&mut self.view.peers);
            group.decide(now, &self.view, &mut self.round);
        }
        self.decide_fencing(now);
        self.forget_removed();
        self.settle_commands(now);
        self.publish_state(now);
        self.order_save();
        std::mem::take(&mut self.round.out)
    }

    /// Counts votes, and the groups of each node.
    fn count_votes_and_loads(&mut self) {
        self.view.update_arbiter();
        let votes = self.view.votes();
        let others_dead = !votes.are_enough() && self.view.has_quorum_if_others_dead();
        let enough = !self.view.counts_votes() || votes.are_enough() || others_dead;
        if enough != self.view.quorate {
            self.view.quorate = enough;
            let (ours, total) = (votes.ours, votes.total);
            let what = if others_dead {
                What::QuorumOthersDead { votes: ours, total }
            } else if enough {
                What::QuorumGained { votes: ours, total }
            } else {
                What::QuorumLost { votes: ours, total }
            };
            let changes = self.view.waits_for_voters();
            let because = match changes.filter(|_| !enough) {
                Some(text) => Because::VotersChange(text),
                None if others_dead => Because::AllOthersDead,
                None => Because::VotesCounted,
            };
            self.round.record_node(what, because);
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
    fn order_save(&mut self) {
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
            deadtimes: self.view.deadtimes.clone(),
            machines: self.view.machines.to_keep(self.view.leaving),
            identity: self.view.names.identity,
            voters: Some(Box::new(self.view.voters.clone())),
            definitions: Some(self.definitions()),
        };
        self.saves += 1;
        self.saving.push((self.saves, self.round.ceilings.clone()));
        self.round.out.push(Action::Save {
            version: self.saves,
            kept: self.kept.clone(),
        });
    }

    fn take_saved(&mut self, version: u64) {
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
        self.add_membership_deadlines(&mut due);
        self.view.machines.add_deadlines(self.now, &mut due);
        due.extend(self.fencing_deadlines());
        for group in &self.groups {
            group.add_deadlines(self.now, &self.view, &mut due);
        }
        due.extend(self.pending.iter().map(|p| p.until.min(p.stalls_at)));
        due.push(self.publisher.next_send(
            self.in_transition(),
            self.heartbeat_interval(),
            &self.view.cluster.timing,
        ));
        let soonest = due
            .into_iter()
            .filter(|at| *at > Time::ZERO)
            .min()
            .unwrap_or(Time::NEVER);
        // What is due already was judged in this round. A deadline in the past would only make the caller spin.
        soonest.max(self.now + Duration::from_millis(1))
    }

    /// This node's name.
    pub fn name(&self) -> &NodeName {
        self.view.me()
    }

    /// The number of this life of the node.
    pub fn generation(&self) -> crate::model::Generation {
        self.view.generation
    }

    /// Sizes of all that could grow without end.
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

/// Sizes of all that could grow without end in an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Burden {
    /// Commands that wait for their outcome.
    pub pending: usize,
    /// Orders to save that are not answered yet.
    pub saving: usize,
    /// Own heartbeats whose time of sending is remembered.
    pub sent: usize,
}

/// Whether a group in this state counts as load.
fn counts_as_load(state: GroupState) -> bool {
    state.holds() || state == GroupState::Claiming
}

fn new_view(cluster: Cluster, kept: &PersistentState, now: Time) -> View {
    let initdead = cluster.timing.initdead;
    let mut peers = peers_of(&cluster, now, initdead);
    for peer in &mut peers {
        peer.deadtime = kept.deadtimes.get(&peer.name).copied().unwrap_or_default();
        peer.init_deadline = peer.init_deadline.max(now + peer.deadtime);
    }
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
        deadtimes: kept.deadtimes.clone(),
        machines: Machines::restored(kept, now),
        names: Names::new(kept.identity, now, cluster.timing.keepalive),
        strangers: Vec::new(),
        former_digest: None,
        voters: Voters::restored(&cluster, kept.voters.as_deref()),
        arbiter_reach: None,
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
        .map(|(rank, name)| Peer::new(name.clone(), rank, cluster, now, initdead))
        .collect()
}

fn new_ping(name: &str) -> Ping {
    Ping {
        name: name.to_owned(),
        answered: None,
        up: false,
        member: None,
    }
}
