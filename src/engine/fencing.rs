//! Rules 35 to 38: fencing. The machine of a dead node is switched off before what may run there is started here.

use std::time::Duration;

use self::case::Case;
pub(super) use self::case::{FencingCases, PeerFencing};
use super::peer::Peer;
use super::view::View;
use super::{Action, Engine, OrderId};
use crate::model::decision::{Because, What};
use crate::model::fencing::{FenceCall, Power};
use crate::model::heartbeat::Heartbeat;
use crate::model::status::Liveness;
use crate::model::voter_list::VoterList;
use crate::model::{NodeName, Time};

/// How often a power switch is asked that is not to be used.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// So many times in a row a power switch must say "off" to be believed, where it was not told to switch off.
const OFF_ANSWERS_NEEDED: u32 = 2;
/// So often a machine is told to switch on at most.
const MAX_ON_ATTEMPTS: u32 = 5;

/// What this node may do about a dead node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Licence {
    /// Switch its machine off, from then on.
    Fire(Time),
    /// Only ask its power switch.
    Ask,
    /// Nothing: the fence line names another machine.
    WrongMachine,
    /// Nothing yet: too few votes are confirmed since it is dead.
    Wait,
    /// Nothing: another node hears it.
    Heard,
}

impl View {
    /// Rule 35. Whether it is dead without a goodbye, can be fenced, and is not known to be off.
    pub fn must_be_fenced(&self, peer: &Peer) -> bool {
        let gone = match peer.liveness {
            Liveness::Dead => peer.fencing.left_before.is_none(),
            Liveness::Left => peer.fencing.back_unheard,
            _ => false,
        };
        gone && self.cluster.fencing.covers(&peer.name) && !peer.is_confirmed_dead()
    }

    /// Rule 36. A node that hears it.
    pub fn heard_by(&self, peer: &Peer) -> Option<&NodeName> {
        let hears = |p: &&Peer| p.hears.contains(&peer.name) && !self.is_deaf(p);
        self.living().find(hears).map(|p| &p.name)
    }

    /// Rule 38. A node that has left or was fenced may be back, heard by others and not by us. Then what was known of its former
    /// life proves nothing.
    pub fn notice_unheard_returns(&mut self, heartbeat: &Heartbeat) {
        for heard in heartbeat.heard.iter().filter(|h| !h.links.is_empty()) {
            let Some(peer) = self.peers.iter_mut().find(|p| p.name == heard.node) else {
                continue;
            };
            let ended = peer.generation.or(peer.fencing.left_before);
            if !peer.is_living() && ended.is_some_and(|life| heard.generation > life) {
                peer.fencing.fenced = false;
                peer.fencing.left_before = None;
                peer.fencing.back_unheard = true;
            }
        }
    }

    /// Rule 36. Whether two nodes that do not hear each other may both be allowed to fence the other.
    fn may_duel(&self) -> bool {
        !self.counts_votes() || self.cluster.nodes.len() == 2
    }

    /// Rule 36. Whether enough votes are confirmed by what was sent since that time.
    fn has_votes_since(&self, since: Time) -> bool {
        let confirms = |p: &&Peer| {
            let heard_us = p.acked.is_some_and(|at| at >= since);
            p.is_living() && heard_us && !self.is_deaf(p) && self.counts_by_our_lists(p)
        };
        let arbiter = self.arbiter_confirmed().is_some_and(|at| at >= since);
        let enough = |list: &VoterList, has_arbiter: bool| {
            let peers = self.peers.iter().filter(confirms);
            let votes: u32 = peers.map(|p| list.votes_of(&p.name)).sum();
            let arbiter = u32::from(has_arbiter && arbiter);
            !list.counts_votes()
                || votes + arbiter + list.votes_of(self.me()) >= list.shares().needed()
        };
        self.quorate && self.earliest_by_list(enough).unwrap_or(true)
    }
}

impl Engine {
    /// Rules 35 and 36. Whom this node must fence, and whether it may.
    pub(super) fn decide_fencing(&mut self, now: Time) {
        let mut wanted = std::mem::take(&mut self.round.to_fence);
        self.notice_survivors();
        for peer in &self.view.peers {
            let dead = peer.liveness == Liveness::Dead;
            let must = self.view.must_be_fenced(peer);
            if must && self.must_defend() {
                wanted.insert(peer.name.clone());
            }
            if must {
                let first = self.fires_first(peer);
                let case = self.fencing.cases.entry(peer.name.clone());
                let case = case.or_insert_with(|| Case::new(now));
                if !std::mem::replace(&mut case.must, true) {
                    // Only what is confirmed after its death counts, however long its power switch is told something.
                    case.since = now;
                    case.first = first;
                }
            } else if !dead
                && !peer.fencing.fenced
                && let Some(case) = self.fencing.cases.get_mut(&peer.name)
                && case.command.is_none()
            {
                // It is heard: what runs against its former life must not hit the next one.
                if case.runs.is_some() {
                    self.round.out.push(Action::AbortFence(peer.name.clone()));
                }
                self.fencing.cases.remove(&peer.name);
            }
        }
        let takes_part = self.view.joined && !self.view.leaving;
        let cases = self.fencing.cases.keys().cloned().collect::<Vec<_>>();
        for node in cases {
            self.decide_case(now, &node, takes_part && wanted.contains(&node));
        }
    }

    /// Rule 36. Whether this node runs what the other node of a pair would fence it for.
    fn must_defend(&self) -> bool {
        let runs = |g: &super::Group| g.state().holds() && g.is_guarded_by_fencing(&self.view);
        self.view.may_duel() && self.groups.iter().any(runs)
    }

    fn decide_case(&mut self, now: Time, node: &NodeName, wanted: bool) {
        let Some(peer) = self.view.peer(node) else {
            self.end_case_of_removed(node);
            return;
        };
        let (fenced, must) = (peer.fencing.fenced, self.view.must_be_fenced(peer));
        let licence = self.licence(peer);
        let held_because = match licence {
            Licence::Ask => Some(Because::NeverHeardSoAsk),
            Licence::WrongMachine => Some(Because::WrongMachine),
            Licence::Heard => {
                let by = self.view.heard_by(peer).cloned();
                by.map(Because::HeardElsewhere)
            }
            Licence::Fire(_) | Licence::Wait => None,
        };
        let Some(case) = self.fencing.cases.get_mut(node) else {
            return;
        };
        case.wanted = wanted && must;
        if case.runs.is_some() || now < case.next {
            return;
        }
        let call = match licence {
            _ if fenced && case.on_attempts > 0 => Some(FenceCall::On),
            _ if !case.wanted => None,
            Licence::Fire(from) => (now >= from).then_some(FenceCall::Off),
            Licence::Ask => Some(FenceCall::Status),
            Licence::WrongMachine | Licence::Wait | Licence::Heard => None,
        };
        if case.wanted
            && let Some(because) = held_because
            && !std::mem::replace(&mut case.held_reported, true)
        {
            self.round
                .record_node(What::FenceHeld(node.clone()), because);
        }
        if let Some(call) = call {
            self.order_fencing(now, node, call);
        }
    }

    /// The node is no longer in ha.cf.
    fn end_case_of_removed(&mut self, node: &NodeName) {
        let Some(case) = self.fencing.cases.remove(node) else {
            return;
        };
        if case.runs.is_some() {
            self.round.out.push(Action::AbortFence(node.clone()));
        }
        if let Some(id) = case.command {
            let text = format!("{node} was removed from ha.cf while it was being fenced");
            self.reply(id, Err(text));
        }
    }

    fn licence(&self, peer: &Peer) -> Licence {
        let case = self.fencing.cases.get(&peer.name);
        let since = case.map_or(self.now, |c| c.since);
        let first = case.is_some_and(|c| c.first);
        let duel = self.view.may_duel();
        if peer.fencing.survived {
            Licence::WrongMachine
        } else if self.view.heard_by(peer).is_some() {
            Licence::Heard
        } else if !self.view.has_votes_since(since) {
            Licence::Wait
        } else if duel && !peer.fencing.heard {
            Licence::Ask
        } else if duel && !first {
            Licence::Fire(since + self.view.cluster.fencing.delay)
        } else {
            Licence::Fire(since)
        }
    }

    /// Rule 36. Whether this node fires before that one: of what waits for fencing it has more groups, or as many and comes
    /// first in ha.cf. Other groups do not count, because they are taken over meanwhile.
    fn fires_first(&self, peer: &Peer) -> bool {
        let guarded = || {
            let groups = self.groups.iter();
            groups.filter(|g| g.is_guarded_by_fencing(&self.view))
        };
        let ours = guarded().filter(|g| g.state().holds()).count();
        let theirs = guarded().filter(|g| peer.holds(g.name())).count();
        (theirs, self.view.rank) < (ours, peer.rank)
    }

    fn order_fencing(&mut self, now: Time, node: &NodeName, call: FenceCall) {
        self.round.orders += 1;
        let order = OrderId(self.round.orders);
        let life = self.view.peer(node).and_then(|p| p.generation);
        let Some(case) = self.fencing.cases.get_mut(node) else {
            return;
        };
        case.runs = Some((order, call, now));
        case.life = life;
        if call == FenceCall::Off && case.failed == 0 {
            let because = if case.command.is_some() {
                Because::Administrator
            } else {
                Because::MayRunAt(node.clone())
            };
            self.round
                .record_node(What::FenceBegins(node.clone()), because);
        }
        let node = node.clone();
        self.round.out.push(Action::Fence { node, order, call });
    }

    /// `hactl fence NODE`.
    pub(super) fn fence_by_command(
        &mut self,
        now: Time,
        id: u64,
        node: &NodeName,
    ) -> Result<Option<String>, String> {
        if node == self.view.me() {
            return Err(format!(
                "{node} is this node; run this command on another one"
            ));
        }
        if self.view.peer(node).is_none() {
            return Err(format!("there is no node {node} in ha.cf"));
        }
        if self.view.this_node_is_witness() {
            return Err("a witness fences nobody; run this command on a node".to_owned());
        }
        if !self.view.cluster.fencing.covers(node) {
            return Err(format!("ha.cf has no `fence {node}` line"));
        }
        let case = self.fencing.cases.entry(node.clone());
        let case = case.or_insert_with(|| Case::new(now));
        if case.runs.is_some() {
            return Err(format!(
                "{node} is being fenced; hactl fence status shows how far that is"
            ));
        }
        case.command = Some(id);
        case.failed = 0;
        self.record_node_command(&format!("fence {node}"));
        self.order_fencing(now, node, FenceCall::Off);
        Ok(None)
    }

    /// What the power switch of a node was told or asked has ended.
    pub(super) fn fencing_ended(
        &mut self,
        now: Time,
        node: &NodeName,
        order: OrderId,
        result: Result<Power, String>,
    ) {
        let Some(case) = self.fencing.cases.get_mut(node) else {
            return;
        };
        let Some((_, call, began)) = case.runs.take_if(|(id, ..)| *id == order) else {
            return;
        };
        match call {
            FenceCall::Off => self.off_ended(now, node, began, result),
            FenceCall::Status => self.status_ended(now, node, began, result),
            FenceCall::On => self.on_ended(now, node, result),
        }
    }

    fn off_ended(
        &mut self,
        now: Time,
        node: &NodeName,
        began: Time,
        result: Result<Power, String>,
    ) {
        let Some(case) = self.fencing.cases.get_mut(node) else {
            return;
        };
        let command = case.command.take();
        let life = case.life;
        let result = result.and_then(|power| match power {
            Power::Off => Ok(()),
            Power::On => Err("its machine is still on".to_owned()),
        });
        match result {
            Ok(()) => {
                // Rule 37. What was heard after the order was given may be another life, which was not switched off.
                // One that is switched off by command is heard until then.
                let peer = self.view.peer(node);
                let heard_since = peer.is_none_or(|p| p.last_heard >= began);
                let same_life = command.is_some() && peer.is_some_and(|p| p.generation == life);
                if same_life || !heard_since {
                    self.confirm_fenced(now, node);
                }
            }
            Err(text) => {
                if case.note_failure(now, text.clone()) {
                    let what = What::FenceFailed(node.clone());
                    self.round.record_node(what, Because::Agent(text.clone()));
                }
                if let Some(id) = command {
                    self.reply(id, Err(format!("fencing of {node} failed: {text}")));
                }
                return;
            }
        }
        if let Some(id) = command {
            let survived = self.view.peer(node).is_some_and(|p| p.fencing.survived);
            let answer = if survived {
                Err(format!(
                    "the power switch says that the machine of {node} is off, but that was wrong before; if it is surely off: hactl fence confirm {node} --yes"
                ))
            } else {
                Ok(format!("the machine of {node} was switched off"))
            };
            self.reply(id, answer);
        }
    }

    fn status_ended(
        &mut self,
        now: Time,
        node: &NodeName,
        began: Time,
        result: Result<Power, String>,
    ) {
        let Some(case) = self.fencing.cases.get_mut(node) else {
            return;
        };
        match result {
            Err(text) => drop(case.note_failure(now, text)),
            Ok(Power::On) => {
                case.off_answers = 0;
                case.error = Some("its machine is on".to_owned());
                case.next = now + ASK_EVERY;
            }
            Ok(Power::Off) => {
                case.off_answers += 1;
                case.error = None;
                case.next = now + ASK_EVERY;
                let heard_since = self.view.peer(node).is_none_or(|p| p.last_heard >= began);
                if case.off_answers >= OFF_ANSWERS_NEEDED && !heard_since {
                    self.confirm_fenced(now, node);
                }
            }
        }
    }

    fn on_ended(&mut self, now: Time, node: &NodeName, result: Result<Power, String>) {
        let Some(case) = self.fencing.cases.get_mut(node) else {
            return;
        };
        match result {
            Ok(Power::On) => {
                case.on_attempts = 0;
                case.error = None;
                let what = What::FencedIsOn(node.clone());
                self.round.record_node(what, Because::Finished);
            }
            Ok(Power::Off) | Err(_) => {
                case.on_attempts = case.on_attempts.saturating_sub(1);
                let text = result.err().unwrap_or_else(|| "it is still off".to_owned());
                let text = format!("cannot switch its machine on again: {text}");
                if case.note_failure(now, text.clone()) {
                    let what = What::FenceFailed(node.clone());
                    self.round.record_node(what, Because::Agent(text));
                }
            }
        }
    }

    /// Rule 38. The machine of a node is off.
    fn confirm_fenced(&mut self, now: Time, node: &NodeName) {
        let reboot = self.view.cluster.fencing.reboot;
        let Some(peer) = self.view.peers.iter_mut().find(|p| p.name == *node) else {
            return;
        };
        if peer.fencing.survived {
            return;
        }
        peer.fencing.fenced = true;
        peer.fencing.fenced_life = peer.generation.map(|g| (g, now));
        if let Some(case) = self.fencing.cases.get_mut(node) {
            let switched_off = case.off_answers == 0;
            *case = Case::new(case.since);
            case.on_attempts = if reboot && switched_off {
                MAX_ON_ATTEMPTS
            } else {
                0
            };
        }
        self.round
            .record_node(What::Fenced(node.clone()), Because::PowerSwitch);
    }

    /// Rule 38. A fenced node is heard.
    pub(super) fn end_fenced(&mut self, node: &NodeName) {
        for peer in self.view.peers.iter_mut().filter(|p| p.name == *node) {
            peer.fencing.fenced = false;
        }
    }

    /// Rule 38. A fenced node acknowledges what was sent after its machine was switched off, and is still the same life.
    fn notice_survivors(&mut self) {
        for peer in &mut self.view.peers {
            let Some((life, fenced_at)) = peer.fencing.fenced_life else {
                continue;
            };
            let same = peer.generation == Some(life);
            if same && peer.is_living() && peer.acked.is_some_and(|at| at > fenced_at) {
                peer.fencing.survived = true;
                peer.fencing.fenced_life = None;
                let what = What::FencedLives(peer.name.clone());
                self.round.record_node(what, Because::Heard);
            }
        }
    }

    /// Rule 12. After a gap in our own time a fenced node may have come back unheard, and this node may have been fenced.
    pub(super) fn forget_fenced(&mut self) {
        for peer in &mut self.view.peers {
            peer.fencing.fenced = false;
            peer.fencing.heard = false;
            peer.fencing.left_before = None;
        }
        for (node, case) in std::mem::take(&mut self.fencing.cases) {
            if case.runs.is_some() {
                self.round.out.push(Action::AbortFence(node.clone()));
            }
            if let Some(id) = case.command {
                let text = format!("this node was stopped while {node} was being fenced");
                self.reply(id, Err(text));
            }
        }
    }

    /// When something may be due.
    pub(super) fn fencing_deadlines(&self) -> impl Iterator<Item = Time> {
        let delay = self.view.cluster.fencing.delay;
        let due = self.fencing.cases.values().filter(|c| c.runs.is_none());
        due.flat_map(move |c| [c.next, c.since + delay])
            .filter(|at| *at > self.now)
    }
}

mod case;
mod status;
