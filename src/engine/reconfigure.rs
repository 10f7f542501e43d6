//! Rule 25: a new configuration. What did not change is not touched.

use std::collections::BTreeMap;

use super::digest::digest_of_members;
use super::group::Group;
use super::{Engine, new_ping, peers_of};
use crate::model::cluster::{self, Cluster, GroupSpec};
use crate::model::{GroupName, Time};

impl Engine {
    pub(super) fn reconfigure(&mut self, now: Time, cluster: Cluster) {
        self.change_voters(&cluster);
        self.reconfigure_peers(now, &cluster);
        let old = std::mem::take(&mut self.view.pings);
        let ping = |p: &cluster::PingNode| {
            old.iter()
                .find(|o| o.name == p.name)
                .cloned()
                .unwrap_or_else(|| new_ping(&p.name))
        };
        self.view.pings = cluster.pings.iter().map(ping).collect();
        self.reconfigure_groups(&cluster);
        self.view.rank = cluster
            .nodes
            .iter()
            .position(|n| *n == cluster.me)
            .unwrap_or(usize::MAX);
        self.view.checks.take_definition(&cluster.health, now);
        let before = self.view.cluster.digest;
        self.view.former_digest = self.view.former_digest.or(Some(before));
        let before = std::mem::replace(&mut self.view.cluster, cluster);
        let after = definitions_of(self.view.cluster.own_groups());
        self.inherit_holds(&definitions_of(before.own_groups()), &after);
        self.forget_usual_routes();
        // A new node is waited for before anything is decided.
        self.update_joined();
        self.round.save = true;
    }

    /// A restart with another configuration is like a reload: groups that are new or changed wait for the other nodes, and
    /// quorum is counted by the former voters too.
    pub(super) fn compare_with_last_life(&mut self) {
        let definitions = self.definitions();
        if let Some(before) = self.kept.definitions.clone() {
            for group in &mut self.groups {
                if before.get(group.name()) != definitions.get(group.name()) {
                    group.await_agreement();
                }
            }
            self.inherit_holds(&before, &definitions);
        }
        let same = self.kept.definitions == Some(definitions);
        self.round.save |= !same || self.kept.voters.as_deref() != Some(&self.view.voters);
        if self.view.voters.are_changing() {
            self.record_change_of_voters();
        }
    }

    /// A digest of the members of each group.
    pub(super) fn definitions(&self) -> BTreeMap<GroupName, u64> {
        let own = self.groups.iter().filter(|g| !g.is_witnessed());
        definitions_of(own.map(Group::spec))
    }

    fn reconfigure_peers(&mut self, now: Time, cluster: &Cluster) {
        let old = std::mem::take(&mut self.view.peers);
        let mut peers = peers_of(cluster, now, cluster.timing.deadtime);
        for peer in &mut peers {
            let Some(known) = old.iter().find(|o| o.name == peer.name) else {
                continue;
            };
            let mut kept = known.clone();
            kept.rank = peer.rank;
            kept.difference_reported = false;
            let link = |fresh: &super::peer::PeerLink| {
                kept.links
                    .iter()
                    .find(|l| l.name == fresh.name)
                    .unwrap_or(fresh)
                    .clone()
            };
            kept.links = peer.links.iter().map(link).collect();
            *peer = kept;
        }
        self.view.peers = peers;
        for gone in old.iter().filter(|o| !cluster.nodes.contains(&o.name)) {
            self.view.peer_was_removed(now, gone);
        }
    }

    fn reconfigure_groups(&mut self, cluster: &Cluster) {
        let mut old = std::mem::take(&mut self.groups);
        if !cluster.this_node_is_witness() {
            old.retain(|g| !g.is_witnessed());
        }
        for spec in cluster.own_groups() {
            if let Some(at) = old.iter().position(|g| *g.name() == spec.name) {
                let mut group = old.remove(at);
                group.redefine(spec, &mut self.round);
                self.groups.push(group);
            } else {
                self.groups.push(Group::added(spec, &mut self.round));
            }
        }
        for mut group in old {
            if !group.is_witnessed() {
                group.mark_removed();
            }
            self.groups.push(group);
        }
    }

    /// Forgets groups that are no longer configured, once nothing of them runs here, and the former configuration once
    /// nothing of that runs. Until then its digest is the one that is published.
    pub(super) fn forget_removed(&mut self) {
        self.groups.retain(|g| !g.is_gone());
        if !self.groups.iter().any(Group::runs_former_definition) {
            self.view.former_digest = None;
        }
    }
}

fn definitions_of<'a>(groups: impl IntoIterator<Item = &'a GroupSpec>) -> BTreeMap<GroupName, u64> {
    let groups = groups.into_iter();
    groups
        .map(|spec| (spec.name.clone(), digest_of_members(spec)))
        .collect()
}
