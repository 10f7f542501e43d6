//! A configuration read anew: what did not change is not touched.

use super::group::Group;
use super::stack::Ended;
use super::{Engine, new_ping, peers_of};
use crate::model::cluster::{self, Cluster};
use crate::model::heartbeat::GroupState;
use crate::model::{Term, Time};

impl Engine {
    pub(super) fn reconfigure(&mut self, now: Time, cluster: Cluster) {
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
        self.view.cluster = cluster;
        // A node that is new here is waited for before anything is decided.
        self.join();
        self.round.save = true;
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
            let link = |fresh: &super::peer::Link| {
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
    }

    fn reconfigure_groups(&mut self, cluster: &Cluster) {
        let mut old = std::mem::take(&mut self.groups);
        for spec in &cluster.groups {
            if let Some(at) = old.iter().position(|g| g.spec.name == spec.name) {
                let mut group = old.remove(at);
                group.removed = false;
                // Times and loans may be others now: the right is told anew.
                group.renewed = Time::ZERO;
                group.redefine(spec, &mut self.round);
                self.groups.push(group);
            } else {
                let mut group = Group::new(spec.clone(), Term(0), Time::ZERO);
                // It may have been here before: its terms go on where they were.
                let ceiling = self.round.ceilings.get(&spec.name).copied();
                group.highest_term = ceiling.unwrap_or_default();
                group.look(&mut self.round);
                self.groups.push(group);
            }
        }
        for mut group in old {
            group.removed = true;
            self.groups.push(group);
        }
    }

    /// Groups that are configured away and of which nothing runs here any more.
    pub(super) fn forget_removed(&mut self) {
        let rests =
            |g: &Group| !g.state.holds() && !g.stack.busy() && g.state != GroupState::Unknown;
        self.groups.retain(|g| !g.removed || !rests(g));
    }
}

impl Group {
    /// A look has found that something of it runs, and what becomes of that is not decided yet.
    fn found_something(&self) -> bool {
        let runs = matches!(self.probe_result, Some(Ended::AllRun | Ended::SomeRun(_)));
        self.state == GroupState::Unknown && runs
    }

    /// Takes a new definition: at once where that changes nothing that runs, else when the old one is down.
    fn redefine(&mut self, spec: &cluster::Group, round: &mut super::Round) {
        let members = |g: &cluster::Group| {
            g.steps
                .iter()
                .map(|s| s.members.clone())
                .collect::<Vec<_>>()
        };
        self.replaced_by = None;
        if members(&self.spec) == members(spec) {
            self.spec = spec.clone();
        } else if self.state.holds() || self.stack.busy() || self.found_something() {
            self.replaced_by = Some(Box::new(spec.clone()));
        } else {
            self.replaced_by = Some(Box::new(spec.clone()));
            self.take_definition(round);
            if matches!(self.state, GroupState::Unknown | GroupState::Offline) {
                self.look(round);
            }
        }
    }
}
