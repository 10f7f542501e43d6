//! `hactl forget`: a person's word that a node no longer acts by a list.

use std::collections::BTreeSet;

use super::Voters;
use crate::engine::Engine;
use crate::engine::peer::Peer;
use crate::engine::view::View;
use crate::model::NodeName;
use crate::model::heartbeat::GoneNode;
use crate::model::voter_list::VoterList;

impl Voters {
    /// The lists by which such a node may still act: all but that which it reads when it starts again.
    fn lists_of_gone(&self, name: &NodeName) -> Vec<u64> {
        let old: &[VoterList] = if self.are_changing() {
            &self.former
        } else {
            std::slice::from_ref(&self.current)
        };
        let its = old.iter().filter(|list| list.nodes.contains(name));
        its.map(VoterList::digest).collect()
    }

    /// Whether another node's word is about a list by which this node counts too.
    fn concerns(&self, word: &GoneNode) -> bool {
        let is_its = |l: &VoterList| l.nodes.contains(&word.node) && l.digest() == word.list;
        self.former.iter().any(is_its)
    }
}

impl View {
    /// Whether a word on a gone node is still of use: someone who is heard, or this node, counts by that list.
    fn needs_word(&self, word: &GoneNode) -> bool {
        let ours = self.voters.all().any(|list| list.digest() == word.list);
        let theirs = |p: &Peer| p.voters.former.contains(&word.list);
        ours || self.living().any(theirs)
    }
}

impl Engine {
    /// Words about lists by which nobody counts any more end with the change.
    pub(super) fn drop_words(&mut self) {
        let words = self.view.voters.gone.iter();
        let unused: Vec<GoneNode> = words
            .filter(|word| !self.view.needs_word(word))
            .cloned()
            .collect();
        for word in unused {
            self.round.save |= self.view.voters.gone.remove(&word);
        }
    }

    /// An administrator's word on another node reaches this one. It says nothing of a node that is heard here, and nothing of
    /// another change.
    pub(super) fn gone_by_peers(&self) -> BTreeSet<GoneNode> {
        let fresh = self.view.living().filter(|p| p.fresh);
        let words = fresh.flat_map(|p| &p.voters.gone);
        let ours = |word: &&GoneNode| {
            let heard = word.node == *self.view.me() || self.view.hears(&word.node);
            !heard && self.view.voters.concerns(word)
        };
        words.filter(ours).cloned().collect()
    }

    /// A node that is heard is not gone.
    pub(in crate::engine) fn remember_again(&mut self, name: &NodeName) {
        let words = &mut self.view.voters.gone;
        let before = words.len();
        words.retain(|word| word.node != *name);
        self.round.save |= words.len() < before;
    }

    /// `hactl forget`: a person's word that this node is gone for good, or will read the new list before it runs again.
    pub(in crate::engine) fn forget_node(&mut self, name: &NodeName) -> Result<String, String> {
        if name == self.view.me() {
            return Err(format!("{name} is this node: it is not gone"));
        }
        if self.view.hears(name) {
            return Err(format!(
                "{name} is heard, so it is not gone: stop had on it first"
            ));
        }
        if !self.view.voters.all().any(|l| l.nodes.contains(name)) {
            return Err(format!(
                "no list of nodes that counts here names {name}, so nothing waits for it: it was never a node of this cluster, or the change is over, as after an earlier hactl forget"
            ));
        }
        let lists = self.view.voters.lists_of_gone(name);
        if lists.is_empty() {
            return Err(format!("{name} is new: the change does not wait for it"));
        }
        let node = || name.clone();
        let words = lists
            .into_iter()
            .map(|list| GoneNode { node: node(), list });
        self.view.voters.gone.extend(words);
        self.round.save = true;
        self.record_node_command(&format!("forget {name}"));
        Ok(format!("{name} counts as gone until it is heard again"))
    }
}
