//! Rule 1: each node recognises at most one node for a group and publishes which one. That is a promise, which the node
//! keeps while the recognised node lives and stands by its claim. Nothing is remembered beside what is published.

use super::Group;
use super::state::LocalState;
use crate::engine::peer::Peer;
use crate::engine::view::View;
use crate::model::heartbeat::{GroupState, Recognition};
use crate::model::status::Liveness;
use crate::model::{NodeName, Term, Time};

impl Group {
    /// Brings the published recognition in line with what is known.
    pub fn update_recognition(&mut self, now: Time, view: &View) {
        let holds = self.state().holds();
        if holds || self.state == LocalState::Claiming {
            let held = |to: &Recognition| to.held && to.node == *view.me();
            if holds && !self.recognised.as_ref().is_some_and(held) {
                self.right.publish_from(now);
            }
            self.recognised = Some(Recognition {
                node: view.me().clone(),
                generation: view.generation,
                term: self.term,
                held: holds,
            });
            return;
        }
        self.recognised = self
            .kept_recognition(view)
            .or_else(|| self.new_recognition(now, view));
        if let Some(to) = &self.recognised {
            self.highest_term = self.highest_term.max(to.term);
        }
    }

    /// The present recognition, while its node lives and still shows the same generation and term.
    fn kept_recognition(&self, view: &View) -> Option<Recognition> {
        let to = self.recognised.as_ref()?;
        let peer = view
            .peer(&to.node)
            .filter(|p| p.is_living() && p.generation == Some(to.generation))?;
        let report = peer.groups.get(&self.spec.name)?;
        let stands = report.term == to.term
            && (report.state.holds()
                || matches!(report.state, GroupState::Claiming | GroupState::Unknown));
        stands.then(|| Recognition {
            held: report.state.holds(),
            ..to.clone()
        })
    }

    fn new_recognition(&self, now: Time, view: &View) -> Option<Recognition> {
        let holders = view.living().filter(|p| p.holds(&self.spec.name));
        if let Some(holder) = holders.min_by_key(|p| self.right_of(p)) {
            return self.recognition_of(holder, true);
        }
        // Rules 2 and 11. A node that has not heard everybody, or does not know what runs here, promises nothing.
        if !view.joined || self.state() == GroupState::Unknown {
            return None;
        }
        // Rule 31. A node that a new configuration no longer has may hold it by our own recognition of a moment ago.
        if view.held_by_stranger(now, &self.spec.name).is_some() {
            return None;
        }
        // Nor does it promise anything while another node probes what it runs: a claimant that does not hear that node
        // would count our recognition alone.
        if view
            .living_nodes()
            .any(|p| p.state(&self.spec.name) == GroupState::Unknown)
        {
            return None;
        }
        if view.listens_for_names(now) || self.held_by_second_life(now, view).is_some() {
            return None;
        }
        let claims = |p: &&Peer| p.state(&self.spec.name) == GroupState::Claiming;
        let first = view.living().filter(claims).min_by_key(|p| p.rank)?;
        self.recognition_of(first, false)
    }

    fn recognition_of(&self, peer: &Peer, held: bool) -> Option<Recognition> {
        let term = peer.groups.get(&self.spec.name)?.term;
        Some(Recognition {
            node: peer.name.clone(),
            generation: peer.generation?,
            term,
            held,
        })
    }

    /// Rule 9. Of two holders the one with the smaller value keeps the group.
    pub fn right_of(&self, peer: &Peer) -> (Term, usize) {
        (
            peer.groups
                .get(&self.spec.name)
                .map(|r| r.term)
                .unwrap_or_default(),
            peer.rank,
        )
    }

    /// Whether a peer's published recognition names us with our present generation and term.
    pub fn recognises_us(&self, peer: &Peer, view: &View) -> bool {
        let to = peer.groups.get(&self.spec.name).and_then(|r| r.to.as_ref());
        to.is_some_and(|to| {
            to.node == *view.me() && to.generation == view.generation && to.term == self.term
        })
    }

    /// A peer's heartbeat, which acknowledges what we sent at this time, confirms our right if the peer recognises us.
    pub fn take_confirmation(&mut self, peer: &Peer, sent: Time, view: &View) {
        // While we do not know what runs here, it is as good as a recognition that the peer recognises nobody and has
        // nothing of it either.
        let unclaimed = self.state() == GroupState::Unknown
            && peer.groups.get(&self.spec.name).is_some_and(|r| {
                r.to.is_none() && matches!(r.state, GroupState::Offline | GroupState::Failed)
            });
        if unclaimed || self.recognises_us(peer, view) {
            self.right.add_confirmation(&peer.name, sent);
        }
    }

    /// Takes note of a term that was seen somewhere.
    pub fn see_term(&mut self, term: Term) {
        self.highest_term = self.highest_term.max(term);
    }

    /// A living peer that recognises a node which we do not hear ourselves: that node may have the group. Not if the recognised
    /// life has said goodbye to us: then the peer has not heard that yet.
    pub fn hearsay(&self, view: &View) -> Option<(NodeName, NodeName)> {
        view.living().filter(|p| !view.is_deaf(p)).find_map(|p| {
            let to = p.groups.get(&self.spec.name)?.to.as_ref()?;
            let other = to.node != *view.me() && to.node != p.name;
            let unheard = view.peer(&to.node).is_none_or(|x| match x.liveness {
                Liveness::Dead | Liveness::Init => true,
                Liveness::Left => x.generation != Some(to.generation),
                Liveness::Active | Liveness::Late | Liveness::Here => false,
            });
            (other && unheard).then(|| (p.name.clone(), to.node.clone()))
        })
    }
}
