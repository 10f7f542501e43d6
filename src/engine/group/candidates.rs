//! Every member as a candidate for the group.

use super::Group;
use super::state::LocalState;
use crate::engine::placement::Candidate;
use crate::engine::round::Round;
use crate::engine::view::View;
use crate::model::NodeName;

impl Group {
    /// Every node as a candidate for it, in the order of ha.cf. A witness is none.
    pub fn candidates(&self, view: &View, round: &Round) -> Vec<Candidate> {
        let candidate = |name: &NodeName| match view.peer(name) {
            Some(peer) => view.candidate(peer, &self.spec.name, &self.spec.preferred),
            None => self.own_candidate(view, round),
        };
        let nodes = view.cluster.nodes.iter();
        let nodes = nodes.filter(|name| !view.cluster.is_witness(name));
        nodes.map(candidate).collect()
    }

    /// The other nodes as candidates for it.
    pub fn other_candidates(&self, view: &View, round: &Round) -> Vec<Candidate> {
        let mut others = self.candidates(view, round);
        others.retain(|c| c.name != *view.me());
        others
    }

    /// This node as a candidate for it.
    pub(super) fn own_candidate(&self, view: &View, round: &Round) -> Candidate {
        let failed = self.state == LocalState::Failed && self.failure.is_some();
        let ineligible = match () {
            () if view.leaving => Some("is leaving the cluster".to_owned()),
            () if self.state == LocalState::Stuck => Some("could not stop it".to_owned()),
            () if failed => Some("failed to run it".to_owned()),
            () if self.wishes.standby => Some("is in standby".to_owned()),
            () if !view.quorate => Some("has no quorum".to_owned()),
            // An administrator may know better than a check.
            () if self.wishes.forced => None,
            () => view.checks.ineligible(&self.spec.name),
        };
        Candidate {
            name: view.me().clone(),
            ineligible,
            yielding: self.wishes.yielding,
            wanted: self.wishes.wanted,
            preferred: self.spec.preferred == *view.me(),
            unready: None,
            reach: view.reach().answering,
            load: round.load,
        }
    }

    /// Whether it may run here as far as its own past tells.
    pub(super) fn may_run_here(&self) -> bool {
        !self.removed
            && !self.is_witnessed()
            && !matches!(self.state, LocalState::Failed | LocalState::Stuck)
    }
}
