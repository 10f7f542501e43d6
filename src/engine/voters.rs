//! Rule 31: the list of voters changes. Nodes read the new list one after the other, so for a while a majority of the old
//! list and one of the new list may have no member in common. Until nobody can act by an old list alone any more, quorum
//! must hold by all of them.

mod gone;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Engine;
use super::peer::Peer;
use super::quorum::Votes;
use super::view::View;
use crate::model::NodeName;
use crate::model::cluster::{Cluster, QuorumPolicy};
use crate::model::decision::{Because, What};
use crate::model::heartbeat::{GoneNode, VotersReport};
use crate::model::voter_list::VoterList;

/// A node remembers so many lists by which nobody acts any more.
const MAX_SETTLED: usize = 8;

/// The lists by which this node counts quorum. They outlive the daemon, so that a restart with another file is a change too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Voters {
    /// That of the configuration.
    current: VoterList,
    /// Those before it by which another node may still act.
    former: Vec<VoterList>,
    /// Digests of the lists by which nobody can act any more, the newest last. A peer that has not found that out yet still
    /// counts by them.
    #[serde(default)]
    settled: Vec<u64>,
    /// Nodes that have shown the current list since it changed.
    shown: BTreeSet<NodeName>,
    /// Nodes that are gone for good, by the word of an administrator, until they are heard or nobody counts by the list.
    #[serde(default)]
    gone: BTreeSet<GoneNode>,
}

impl Voters {
    /// At the start of the daemon, with what the last one kept.
    pub(super) fn restored(cluster: &Cluster, kept: Option<&Voters>) -> Self {
        let current = VoterList::of(cluster);
        let Some(kept) = kept else {
            return Voters {
                current,
                former: Vec::new(),
                settled: Vec::new(),
                shown: BTreeSet::new(),
                gone: BTreeSet::new(),
            };
        };
        let mut voters = kept.clone();
        voters.change_to(current);
        voters
    }

    /// The configuration has this list now. Whether that is another one.
    fn change_to(&mut self, list: VoterList) -> bool {
        if list == self.current {
            return false;
        }
        let before = std::mem::replace(&mut self.current, list);
        self.former.retain(|l| *l != self.current && *l != before);
        self.former.push(before);
        let in_force: Vec<u64> = self.all().map(VoterList::digest).collect();
        self.settled.retain(|digest| !in_force.contains(digest));
        self.shown.clear();
        let current = self.current.digest();
        self.gone.retain(|word| word.list != current);
        true
    }

    /// What the heartbeat says.
    pub(super) fn report(&self) -> VotersReport {
        VotersReport {
            current: self.current.digest(),
            former: self.former.iter().map(VoterList::digest).collect(),
            gone: self.gone.iter().cloned().collect(),
        }
    }

    /// Whether quorum is counted by more than the current list.
    pub(super) fn are_changing(&self) -> bool {
        !self.former.is_empty()
    }

    /// The former lists.
    pub(super) fn former(&self) -> &[VoterList] {
        &self.former
    }

    /// Nobody can act by a former list any more.
    fn settle(&mut self) {
        self.settled
            .extend(self.former.drain(..).map(|list| list.digest()));
        let too_many = self.settled.len().saturating_sub(MAX_SETTLED);
        self.settled.drain(..too_many);
        self.shown.clear();
    }

    fn all(&self) -> impl Iterator<Item = &VoterList> {
        std::iter::once(&self.current).chain(&self.former)
    }

    /// The lists by which votes are counted. One by which they are not counted is among them only as a former one, where
    /// each node acted alone and may do so still, or where there is no other.
    pub(super) fn counted(&self) -> impl Iterator<Item = &VoterList> {
        let counts = self.current.counts_votes() || self.former.is_empty();
        std::iter::once(&self.current)
            .filter(move |_| counts)
            .chain(&self.former)
    }

    /// Whether a list has the vote of the ping nodes. A former one has it only if the current one has the same.
    pub(super) fn has_arbiter(&self, list: &VoterList) -> bool {
        let same = list.pings == self.current.pings && self.current.shares().has_arbiter();
        same && list.shares().has_arbiter()
    }

    /// The nodes that keep the former lists in force: members that have not shown the current one, and removed ones, where
    /// these could have quorum by a former list among themselves. Nobody else confirms a removed node.
    fn awaited(&self, me: &NodeName) -> BTreeSet<&NodeName> {
        let mut awaited = BTreeSet::new();
        for list in &self.former {
            let others = list.nodes.iter().filter(|n| *n != me);
            let digest = list.digest();
            let words = self.gone.iter().filter(|word| word.list == digest);
            let gone: BTreeSet<&NodeName> = words.map(|word| &word.node).collect();
            let (stay, removed): (Vec<_>, Vec<_>) = others
                .filter(|n| !self.shown.contains(*n) && !gone.contains(n))
                .partition(|n| self.current.nodes.contains(n));
            awaited.extend(stay);
            let shares = list.shares();
            let votes: u32 = removed.iter().map(|n| list.votes_of(n)).sum();
            let arbiter = u32::from(shares.has_arbiter());
            if !removed.is_empty() && (!list.counts_votes() || votes + arbiter >= shares.needed()) {
                awaited.extend(removed);
            }
        }
        awaited
    }
}

impl View {
    /// Whether votes decide what may be started.
    pub fn counts_votes(&self) -> bool {
        self.voters.all().any(VoterList::counts_votes)
    }

    /// Whether rights are leases, which end without confirmation.
    pub fn has_leases(&self) -> bool {
        let stops = |list: &VoterList| list.quorum == QuorumPolicy::Stop;
        self.voters.all().any(stops)
    }

    /// Rule 15. The votes of this side, by the list by which they are not enough, or else by the current one.
    pub fn votes(&self) -> Votes {
        let too_few = |votes: &Votes| !votes.are_enough();
        let mut counted = self.voters.counted().map(|list| self.votes_by(list));
        let missing = counted.find(too_few);
        missing.unwrap_or_else(|| self.votes_by(&self.voters.current))
    }

    fn votes_by(&self, list: &VoterList) -> Votes {
        let shares = list.shares();
        let votes = |p: &Peer| !self.is_deaf(p) && self.counts_by_our_lists(p);
        let peers: u32 = self
            .living()
            .filter(|p| votes(p))
            .map(|p| list.votes_of(&p.name))
            .sum();
        let answering = self.pings.iter().filter(|p| p.up).count();
        let arbiter = if self.voters.has_arbiter(list) {
            shares.of_arbiter(answering)
        } else {
            0
        };
        Votes {
            ours: list.votes_of(self.me()) + peers + arbiter,
            total: shares.total(),
            needed: shares.needed(),
        }
    }

    /// Rule 31. Whether a peer's vote counts here. Not if the peer still counts by a list that we do not count by: those who
    /// act by that list may be many, and only the peer's own quorum takes them into account.
    pub fn counts_by_our_lists(&self, peer: &Peer) -> bool {
        let voters = &self.voters;
        let ours = |digest: &u64| {
            voters.settled.contains(digest) || voters.all().any(|list| list.digest() == *digest)
        };
        peer.voters.former.iter().all(ours)
    }

    /// Whether these voters and this node have quorum by every list.
    pub fn is_majority<'a>(&self, peers: impl Iterator<Item = &'a Peer>) -> bool {
        let peers: Vec<&Peer> = peers.filter(|p| self.counts_by_our_lists(p)).collect();
        self.voters.counted().all(|list| {
            let votes: u32 = peers.iter().map(|p| list.votes_of(&p.name)).sum();
            list.votes_of(self.me()) + votes >= list.shares().needed()
        })
    }

    /// When the right ends by the list by which it ends first, as `lease_end` says for the votes of a list and whether it has the
    /// arbiter.
    pub fn earliest_by_list<T: Ord>(&self, lease_end: impl Fn(&VoterList, bool) -> T) -> Option<T> {
        let lists = self.voters.counted();
        lists
            .map(|list| lease_end(list, self.voters.has_arbiter(list)))
            .min()
    }

    /// Whether a peer would have quorum with nobody but itself and the ping nodes it reaches, by a list that it may have.
    pub fn has_quorum_alone(&self, peer: &Peer) -> bool {
        self.voters.all().any(|list| {
            let shares = list.shares();
            let arbiter = shares.of_arbiter(usize::from(peer.reach.answering));
            !list.counts_votes() || list.votes_of(&peer.name) + arbiter >= shares.needed()
        })
    }

    /// What a change of the list waits for, and what an administrator can do.
    pub fn waits_for_voters(&self) -> Option<String> {
        let awaited = self.voters.awaited(self.me());
        if !self.voters.are_changing() || awaited.is_empty() {
            return None;
        }
        let have = if awaited.len() == 1 { "has" } else { "have" };
        let current = &self.voters.current.nodes;
        let (stay, removed): (Vec<&NodeName>, Vec<&NodeName>) =
            awaited.iter().copied().partition(|n| current.contains(n));
        let (heard, silent): (Vec<&NodeName>, Vec<&NodeName>) =
            stay.into_iter().partition(|n| self.hears(n));
        let mut help = Vec::new();
        if !heard.is_empty() {
            help.push(format!("run `hactl reload` on {}", names(&heard)));
        }
        help.extend(
            silent
                .iter()
                .map(|n| format!("start {n} with the new ha.cf, or `hactl forget {n} --yes`")),
        );
        help.extend(removed.iter().map(|n| {
            format!("{n} is no longer in ha.cf: switch it off, then `hactl forget {n} --yes`")
        }));
        let awaited: Vec<&NodeName> = awaited.into_iter().collect();
        Some(format!(
            "the list of voters changes: {} {have} not shown the new one; quorum is counted by the new list and by each old one; {}",
            names(&awaited),
            help.join("; ")
        ))
    }

    fn hears(&self, name: &NodeName) -> bool {
        let living = self.peer(name).is_some_and(Peer::is_living);
        living || self.strangers.iter().any(|s| s.name == *name)
    }

    /// Whether a peer has shown our list.
    fn has_shown_our_list(&self, peer: &Peer, digest: u64) -> bool {
        let silent_on_lists = peer.voters.current == 0;
        let same = if silent_on_lists {
            peer.digest == Some(self.cluster.digest)
        } else {
            peer.voters.current == digest
        };
        peer.is_living() && peer.fresh && same
    }
}

fn names(nodes: &[&NodeName]) -> String {
    let names: Vec<&str> = nodes.iter().map(|n| n.as_str()).collect();
    names.join(" and ")
}

impl Engine {
    /// Notes who has shown the new list, and ends the change when nobody can act by an old one any more.
    pub(super) fn settle_voters(&mut self) {
        self.drop_words();
        if !self.view.voters.are_changing() {
            return;
        }
        let digest = self.view.voters.current.digest();
        let peers = self.view.peers.iter();
        let shown = peers.filter(|p| self.view.has_shown_our_list(p, digest));
        let shown: Vec<NodeName> = shown.map(|p| p.name.clone()).collect();
        let gone = self.gone_by_peers();
        let voters = &mut self.view.voters;
        for name in shown {
            self.round.save |= voters.shown.insert(name);
        }
        for word in gone {
            self.round.save |= voters.gone.insert(word);
        }
        if voters.awaited(&self.view.cluster.me).is_empty() {
            self.end_change_of_voters();
        }
    }

    fn end_change_of_voters(&mut self) {
        self.view.voters.settle();
        self.round.save = true;
        self.round.record_node(What::VotersAgreed, Because::SaidSo);
    }

    /// The configuration has other voters, perhaps.
    pub(super) fn change_voters(&mut self, cluster: &Cluster) {
        if self.view.voters.change_to(VoterList::of(cluster)) {
            self.record_change_of_voters();
        }
    }

    /// Says that quorum is counted by more than one list, if it is.
    pub(super) fn record_change_of_voters(&mut self) {
        self.round.save = true;
        if let Some(text) = self.view.waits_for_voters() {
            self.round
                .record_node(What::VotersChange(text), Because::Reconfigured);
        }
    }
}
