//! Rule 34: `hactl fence confirm`, a person's word that a node is dead: its machine is off. It holds until the node is heard.

use super::Engine;
use super::peer::Peer;
use super::view::View;
use crate::model::decision::{Because, What};
use crate::model::status::Liveness;
use crate::model::voter_list::VoterList;
use crate::model::{NodeName, Time};

impl Peer {
    /// Whether an administrator has confirmed that it is dead, or it was fenced, and it was not heard since.
    pub fn is_confirmed_dead(&self) -> bool {
        self.has_persons_word() || self.fencing.fenced
    }

    /// The same by the word of an administrator, who also says that it does not come back unheard.
    pub fn has_persons_word(&self) -> bool {
        self.confirmed_dead
    }
}

impl View {
    /// When a right ends by the word of a person: where every voter is confirmed dead or confirms the right, nobody is left who
    /// could have quorum without this node. `confirmed_until` says until when a peer confirms it.
    pub fn right_end_if_others_dead(
        &self,
        list: &VoterList,
        confirmed_until: impl Fn(&Peer) -> Time,
    ) -> Time {
        if !self.peers.iter().any(Peer::has_persons_word) {
            return Time::ZERO;
        }
        let others = || list.nodes.iter().filter(|n| *n != self.me());
        let is_dead = |n: &NodeName| self.peer(n).is_some_and(Peer::has_persons_word);
        if !others().any(is_dead) || !list.counts_votes() {
            return Time::ZERO;
        }
        let rest = others().filter(|n| !is_dead(n));
        let ends = rest.map(|n| self.peer(n).map_or(Time::ZERO, &confirmed_until));
        ends.min().unwrap_or(Time::NEVER)
    }

    /// Rule 15. Whether this side has quorum because every voter that it does not hear is confirmed dead.
    pub fn has_quorum_if_others_dead(&self) -> bool {
        let heard = |p: &Peer| {
            let counts = p.is_living() && !self.is_deaf(p) && self.counts_by_our_lists(p);
            if counts { Time::NEVER } else { Time::ZERO }
        };
        self.earliest_by_list(|list, _| self.right_end_if_others_dead(list, heard))
            == Some(Time::NEVER)
    }
}

impl Engine {
    /// A person says that a node is dead.
    pub(super) fn confirm_dead(&mut self, name: &NodeName) -> Result<String, String> {
        if name == self.view.me() {
            return Err(format!("{name} is this node"));
        }
        let Some(peer) = self.view.peers.iter_mut().find(|p| p.name == *name) else {
            return Err(format!("there is no node {name} in ha.cf"));
        };
        match peer.liveness {
            Liveness::Dead | Liveness::Left => {}
            Liveness::Init => {
                return Err(format!(
                    "{name} is still being waited for; confirm it when hactl status shows it as dead"
                ));
            }
            Liveness::Active | Liveness::Late | Liveness::Here => {
                return Err(format!("{name} is heard, so it is not dead"));
            }
        }
        peer.confirmed_dead = true;
        self.record_node_command(&format!("fence confirm {name}"));
        Ok(format!(
            "{name} counts as dead for certain until it is heard"
        ))
    }

    /// A node is heard that a person called dead. What is held by that word is held on until the node can confirm it.
    pub(super) fn end_confirmed_death(&mut self, name: &NodeName) {
        let bridge = self.now + self.view.cluster.timing.warntime;
        if self
            .view
            .peers
            .iter()
            .any(|p| p.name == *name && p.confirmed_dead)
        {
            for group in &mut self.groups {
                group.keep_right_until(bridge, &self.view);
            }
        }
        let peers = self.view.peers.iter_mut();
        for peer in peers.filter(|p| p.name == *name && p.confirmed_dead) {
            peer.confirmed_dead = false;
            let what = What::NotDead(name.clone());
            self.round.record_node(what, Because::Heard);
        }
        self.end_fenced(name);
    }

    /// After a gap in our own time a node may have come back unheard: a person's word of before no longer counts.
    pub(super) fn forget_confirmed_dead(&mut self) {
        for peer in &mut self.view.peers {
            peer.confirmed_dead = false;
        }
        self.forget_fenced();
    }

    /// The commands with which a side without quorum goes on, if all others are surely dead.
    pub(super) fn confirm_help(&self) -> Option<String> {
        let silent =
            |p: &&Peer| matches!(p.liveness, Liveness::Dead | Liveness::Left) && !p.confirmed_dead;
        let others: Vec<String> = self
            .view
            .peers
            .iter()
            .filter(silent)
            .map(|p| format!("hactl fence confirm {} --yes", p.name))
            .collect();
        (!others.is_empty() && !self.view.quorate).then(|| {
            format!(
                "; or, if the machines of all silent nodes are surely off: {}",
                others.join(" and ")
            )
        })
    }
}
