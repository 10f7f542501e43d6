//! One group on this node: its state, the rounds in which it is judged, and what it publishes.
//!
//! Nobody outside of this folder writes a field of [`Group`]. One file for each part of its life:
//!
//! * `state`: the states, with the data of each; `work`: how work on the steps begins and ends;
//! * `claim`, `address_probe`, `machine_hold`, `fencing_hold`: from offline to the start;
//! * `ownership`, `handover`, `moves`: keeping it, letting it go, giving it away, and not too often;
//! * `monitoring`, `failure`: is it well, and what follows if not;
//! * `recognition`, `right`: what this node promises to others, and what others grant to it;
//! * `stack`: its steps, up and down; `definition`: what the configuration says of it;
//! * `witnessed`: a group on a witness, which never runs it;
//! * `wishes`, `commands`: what administrators want of it; `reported`: what was already said.

mod address_probe;
mod candidates;
mod claim;
mod commands;
mod definition;
mod failure;
mod fencing_hold;
mod handover;
mod machine_hold;
mod monitoring;
mod moves;
mod ownership;
mod recognition;
mod reported;
mod right;
mod stack;
mod state;
mod wishes;
mod witnessed;
mod work;

use serde::{Deserialize, Serialize};

use super::peer::Peer;
use super::round::Round;
use super::view::View;
use crate::model::cluster::GroupSpec;
use crate::model::decision::Because;
use crate::model::heartbeat::{GroupReport, GroupState, Recognition};
use crate::model::status::Liveness;
use crate::model::{GroupName, NodeName, Term, Time};
use address_probe::AddressProbe;
use handover::HandoverTimers;
use moves::Moves;
use reported::Reported;
use right::Right;
use stack::Stack;
use state::LocalState;

pub(super) use failure::GroupFailure;
pub(super) use handover::Offer;
pub(super) use stack::StepState;
pub(super) use wishes::Wishes;

/// One group on this node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Group {
    spec: GroupSpec,
    state: LocalState,
    /// The term of our last claim or ownership.
    term: Term,
    /// The highest term seen from anybody.
    highest_term: Term,
    /// The one node recognised: published, and that is the promise.
    recognised: Option<Recognition>,
    right: Right,
    stack: Stack,
    failure: Option<GroupFailure>,
    wishes: Wishes,
    address_probe: AddressProbe,
    handover_timers: HandoverTimers,
    reported: Reported,
    #[serde(default)]
    moves: Moves,
    /// Who else ran it while we did, until somebody has looked at what that made of its data.
    doubled: Option<NodeName>,
    /// It was in maintenance when it was judged last.
    was_in_maintenance: bool,
    /// Nodes that held it when its maintenance ended, since when, and have not shown yet that they heard of that.
    #[serde(default)]
    unaware_of_end: Vec<(NodeName, Time)>,
    /// The configuration no longer has it: stop it and forget it.
    removed: bool,
    /// A newer definition, to be taken when nothing of the old one runs.
    replaced_by: Option<Box<GroupSpec>>,
    /// A reload has added or changed it: it is started here once no living node has another configuration.
    #[serde(default)]
    awaits_agreement: bool,
    /// Some node has held it in this life of ours.
    #[serde(default)]
    was_held: bool,
    /// On a witness: when a node named it last.
    #[serde(default)]
    named_at: Option<Time>,
    /// When this node last held it by a right that had not ended.
    #[serde(default)]
    held_until: Time,
}

impl Group {
    fn new(spec: GroupSpec, term: Term, right: Right) -> Self {
        Group {
            stack: Stack::new(&spec),
            spec,
            state: LocalState::unprobed(),
            term,
            highest_term: term,
            recognised: None,
            right,
            failure: None,
            wishes: Wishes::default(),
            address_probe: AddressProbe::default(),
            handover_timers: HandoverTimers::default(),
            reported: Reported::default(),
            moves: Moves::default(),
            doubled: None,
            was_in_maintenance: false,
            unaware_of_end: Vec::new(),
            removed: false,
            replaced_by: None,
            awaits_agreement: false,
            was_held: false,
            named_at: None,
            held_until: Time::ZERO,
        }
    }

    /// Judges the group once, with all that is known.
    pub fn decide(&mut self, now: Time, view: &View, round: &mut Round) {
        if self.is_witnessed() {
            self.update_recognition(now, view);
            return;
        }
        round.keep_ahead(&self.spec.name, self.highest_term);
        self.note_holder(view);
        self.report_owner(now, view, round);
        self.update_recognition(now, view);
        self.notice_end_of_maintenance(now, view, round);
        match self.state {
            LocalState::Unknown { .. } => self.decide_unknown(now, view, round),
            LocalState::Offline => self.decide_offline(now, view, round),
            LocalState::Claiming => self.decide_claiming(now, view, round),
            LocalState::Starting { .. } | LocalState::Online { .. } => {
                self.decide_holding(now, view, round);
            }
            LocalState::Failed => self.decide_failed(now, view, round),
            // What is being stopped goes on, and what is stuck waits for a person.
            LocalState::Stopping { .. } | LocalState::Stuck => {}
        }
        self.update_recognition(now, view);
        self.renew_right(now, view, round);
        self.watch_addresses(now, view, round);
        self.watch_health(view, round);
    }

    /// Rule 19. What was done by hand in maintenance is found out before the group counts as ours again.
    fn notice_end_of_maintenance(&mut self, now: Time, view: &View, round: &mut Round) {
        let frozen = self.in_maintenance(view);
        let ended = std::mem::replace(&mut self.was_in_maintenance, frozen) && !frozen;
        if ended {
            let holders = view.peers.iter().filter(|p| p.holds(&self.spec.name));
            self.unaware_of_end = holders.map(|p| (p.name.clone(), now)).collect();
        }
        if ended && self.state.is_online() && !self.stack.is_busy() {
            self.begin_probe(round);
        }
    }

    /// Rule 19. A node that held the group when its maintenance ended, and is dead before it has acknowledged anything sent since,
    /// runs it without an end: as if its stop had failed.
    pub fn judge_unaware_nodes(&mut self, peers: &mut [Peer]) {
        let name = &self.spec.name;
        self.unaware_of_end.retain(|(node, since)| {
            let Some(peer) = peers.iter_mut().find(|p| p.name == *node) else {
                return false;
            };
            let aware = peer.fresh && peer.acked.is_some_and(|at| at > *since);
            if peer.liveness == Liveness::Dead {
                peer.count_as_stuck(name);
            }
            match peer.liveness {
                Liveness::Dead | Liveness::Left => false,
                _ => !aware && peer.holds(name),
            }
        });
    }

    /// What is published of it.
    pub fn report(&self) -> GroupReport {
        GroupReport {
            group: self.spec.name.clone(),
            state: self.state(),
            term: self.term,
            can: self.may_run_here(),
            offer: self.offer().map(|o| o.to.clone()),
            to: self.recognised.clone(),
        }
    }

    /// Rule 19. Whether it is in maintenance: nobody starts, stops or moves it. A dead node's word on that still counts.
    pub fn in_maintenance(&self, view: &View) -> bool {
        self.wishes.maintenance || view.peers.iter().any(|p| p.maintains(&self.spec.name))
    }

    fn has_addresses(&self) -> bool {
        self.spec.steps.iter().any(|s| s.addresses)
    }

    /// The times at which it must be judged again without an event.
    pub fn add_deadlines(&self, now: Time, view: &View, all: &mut Vec<Time>) {
        let timing = &view.cluster.timing;
        let mut due = Vec::new();
        match (&self.state, &self.failure) {
            (LocalState::Failed, Some(failure)) => {
                due.extend([failure.expires_at, failure.retry_at]);
            }
            (
                LocalState::Starting { .. }
                | LocalState::Online { .. }
                | LocalState::Unknown { .. },
                _,
            ) => {
                due.push(self.right.ends_at(view));
                due.extend(view.living().map(|p| p.takes_us_for_dead_at(timing)));
            }
            (LocalState::Claiming, _) => {
                self.add_probe_deadlines(view, &mut due);
                let dead = view.peers.iter().filter(|p| p.liveness == Liveness::Dead);
                due.extend(dead.map(|p| self.stopped_by(p, view)));
                due.push(view.arbiter_usable_from(now));
            }
            _ => {}
        }
        due.extend(self.offer().map(|o| o.expires_at(timing)));
        due.extend(self.handover_timers.settled_at(&view.cluster));
        due.extend(self.moves.rests_until(now));
        // What was due before was judged with every event.
        all.extend(due.into_iter().filter(|at| *at > now));
    }

    /// Whether nodes are settling something about it with us, so that a lost heartbeat is worth repairing soon.
    pub fn in_transition(&self) -> bool {
        self.offer().is_some()
            || self.wishes.wanted
            || matches!(
                self.state,
                LocalState::Claiming | LocalState::Starting { .. } | LocalState::Stopping { .. }
            )
            || self.recognised.as_ref().is_some_and(|to| !to.held)
    }

    /// Whether nothing is left to stop. What is stuck or in maintenance stays as it is.
    pub fn is_given_up(&self, view: &View) -> bool {
        let rests = matches!(
            self.state,
            LocalState::Offline | LocalState::Failed | LocalState::Stuck
        );
        rests || (self.in_maintenance(view) && !self.stack.is_busy())
    }

    pub fn name(&self) -> &GroupName {
        &self.spec.name
    }

    pub fn spec(&self) -> &GroupSpec {
        &self.spec
    }

    /// The state as it is published.
    pub fn state(&self) -> GroupState {
        self.state.published()
    }

    pub fn term(&self) -> Term {
        self.term
    }

    /// When this node last held it by a right that had not ended.
    pub fn held_until(&self) -> Time {
        self.held_until
    }

    /// The highest term seen from anybody.
    pub fn highest_term(&self) -> Term {
        self.highest_term
    }

    pub fn wishes(&self) -> &Wishes {
        &self.wishes
    }

    pub fn offer(&self) -> Option<&Offer> {
        self.state.offer()
    }

    pub fn failure(&self) -> Option<&GroupFailure> {
        self.failure.as_ref()
    }

    /// The steps as known here, in the order of the definition.
    pub fn steps(&self) -> &[StepState] {
        &self.stack.steps
    }

    /// Who else ran it while we did, until that is cleared.
    pub fn doubled(&self) -> Option<&NodeName> {
        self.doubled.as_ref()
    }

    /// Why it stays on this node although it should leave, as last said.
    pub fn runs_on(&self) -> Option<&Because> {
        self.reported.runs_on.as_ref()
    }

    /// Whether it waits until its preferred node is ready to take it back.
    pub fn failback_waits(&self) -> bool {
        self.reported.failback_waits
    }

    /// What keeps it from being started here: what stands against its claim, or why it is not claimed, as last said.
    pub fn blocked_because(&self, now: Time, view: &View) -> Option<Because> {
        match self.state {
            LocalState::Claiming => self.objection_to_start(now, view),
            _ => self.reported.blocked_because.clone(),
        }
    }
}
