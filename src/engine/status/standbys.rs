//! Whether the other nodes could take a group over, and what would stop them. For people: nothing is decided by it.

use crate::engine::peer::Peer;
use crate::engine::placement::Candidate;
use crate::engine::{Engine, Group};
use crate::model::GroupName;
use crate::model::health::{FAILBACK_WHEN, FailedCheck};
use crate::model::heartbeat::GroupState;
use crate::model::readiness::{DefaultRoutes, Readiness};
use crate::model::status::{Note, READINESS_UNKNOWN, STANDBY_LACKS, StandbyStatus};

impl Engine {
    /// This node has looked at itself. What it finds is usual where no group runs, and none did at the look before: a route may
    /// leave a moment after its group.
    pub(in crate::engine) fn take_own_readiness(&mut self, found: &Readiness, complete: bool) {
        let runs = |g: &Group| g.state().holds() || g.state() == GroupState::Unknown;
        let rests = !self.groups.iter().any(runs);
        let rested = std::mem::replace(&mut self.publisher.rested, rests);
        let mut usual = self.publisher.readiness.usual_routes;
        if rests && rested && complete {
            usual.v4 |= found.routes.v4;
            usual.v6 |= found.routes.v6;
        }
        self.publisher.readiness = Readiness {
            usual_routes: usual,
            ..found.limited()
        };
    }

    /// Other files may mean another network.
    pub(in crate::engine) fn forget_usual_routes(&mut self) {
        self.publisher.readiness.usual_routes = DefaultRoutes::default();
    }

    /// What would stop this node from running any group.
    pub(super) fn own_unready_notes(&self) -> Vec<Note> {
        let ours = &self.publisher.readiness;
        let mut notes = lacks(ours, None, "node-lacks");
        if !self.view.this_node_is_witness() {
            notes.extend(self.lacking_route(ours));
        }
        notes
    }

    /// What would stop a living peer from running any group, and what it has otherwise than this node.
    pub(super) fn peer_unready_notes(&self, peer: &Peer) -> Vec<Note> {
        let (ours, theirs) = (&self.publisher.readiness, &peer.readiness);
        if !peer.is_living() || !has_said(theirs) {
            return Vec::new();
        }
        let me = self.view.me();
        let mut notes = lacks(theirs, None, "node-lacks");
        if has_said(ours) && theirs.version != ours.version {
            let text = format!(
                "runs had {}, {me} runs {}: install the same version on both",
                theirs.version, ours.version
            );
            notes.push(Note::new("version-differs", text));
        }
        if self.view.cluster.is_witness(&peer.name) || self.view.this_node_is_witness() {
            return notes;
        }
        notes.extend(ours.differing_trees(theirs).map(|path| {
            let text = format!(
                "has other content in {path} than {me}: make them equal (see `compare` in ha.cf)"
            );
            Note::new("tree-differs", text)
        }));
        notes.extend(self.lacking_route(theirs));
        notes
    }

    /// A default route that a node lacks, and that it or another node has while no group runs there.
    fn lacking_route(&self, of: &Readiness) -> Option<Note> {
        let peers = self.view.living_nodes().map(|p| &p.readiness);
        let mut nodes = peers.chain([&self.publisher.readiness]);
        let what = nodes.find_map(|other| of.routes.lacking(other.usual_routes))?;
        let text = format!(
            "has no default route for {what}, but had one before, or another node has one: clients may not reach groups there; see ip route"
        );
        has_said(of).then(|| Note::new("no-route", text))
    }

    /// The nodes that could take a group over if its owner failed, in the order of ha.cf, with what would stop each.
    pub(super) fn standbys(&self, group: &Group) -> Vec<StandbyStatus> {
        if self.view.this_node_is_witness() {
            return Vec::new();
        }
        let candidates = group.candidates(&self.view, &self.round);
        let standby = |candidate: Candidate| match self.view.peer(&candidate.name) {
            None => self.own_standby(group, candidate),
            Some(peer) => self.standby_at(peer, group.name(), candidate),
        };
        candidates.into_iter().filter_map(standby).collect()
    }

    /// None where this node has the group.
    fn own_standby(&self, group: &Group, candidate: Candidate) -> Option<StandbyStatus> {
        if group.state().holds() {
            return None;
        }
        let (name, ours) = (group.name(), &self.publisher.readiness);
        let failed = self.view.checks.failed_checks();
        let mut reasons = unknown(ours);
        reasons.extend(self.own_unready_notes());
        reasons.extend(lacks(ours, Some(name), STANDBY_LACKS));
        reasons.extend(failback_waits(&failed));
        Some(with_bar(
            candidate,
            reasons,
            &failed,
            group.wishes().standby,
        ))
    }

    /// None for a node that is not heard, and for one that has the group.
    fn standby_at(
        &self,
        peer: &Peer,
        group: &GroupName,
        candidate: Candidate,
    ) -> Option<StandbyStatus> {
        if !peer.is_living() || peer.state(group).holds() {
            return None;
        }
        let mut reasons = unknown(&peer.readiness);
        // Nodes are upgraded one after the other, and each takes groups over from the other version.
        let of_node = self.peer_unready_notes(peer).into_iter();
        reasons.extend(of_node.filter(|note| note.id != "version-differs"));
        reasons.extend(lacks(&peer.readiness, Some(group), STANDBY_LACKS));
        let failed = &peer.failed_checks;
        reasons.extend(failback_waits(failed));
        let standby = peer.intent.standby.contains(group);
        Some(with_bar(candidate, reasons, failed, standby))
    }
}

/// Adds what keeps the cluster from choosing the node.
fn with_bar(
    candidate: Candidate,
    mut reasons: Vec<Note>,
    failed: &[FailedCheck],
    standby: bool,
) -> StandbyStatus {
    let bar = candidate.ineligible;
    let is_check = |text: &String| failed.iter().any(|check| check.to_string() == *text);
    reasons.extend(bar.iter().map(|text| {
        let id = match () {
            () if standby => "standby",
            () if is_check(text) => "check-failed",
            () => "cannot-run",
        };
        Note::new(id, text.clone())
    }));
    StandbyStatus {
        node: candidate.name,
        candidate: bar.is_none(),
        ready: reasons.is_empty(),
        reasons,
    }
}

/// Whether the node has looked at itself, and is of a version that says so.
fn has_said(readiness: &Readiness) -> bool {
    !readiness.version.is_empty()
}

fn unknown(readiness: &Readiness) -> Vec<Note> {
    let text = "has not reported yet whether it could";
    let note = (!has_said(readiness)).then(|| Note::new(READINESS_UNKNOWN, text));
    note.into_iter().collect()
}

fn lacks(readiness: &Readiness, of: Option<&GroupName>, id: &'static str) -> Vec<Note> {
    let lacks = readiness.lacks.iter();
    let lacks = lacks.filter(|lack| lack.group.as_ref() == of);
    lacks.map(|lack| Note::new(id, lack.text.clone())).collect()
}

/// It would take the group when its owner dies, with what this objects to: an old copy of the data. On a node to which nothing
/// goes back it never has a result.
fn failback_waits(failed: &[FailedCheck]) -> Option<Note> {
    let is_asked = |check: &&FailedCheck| check.check == FAILBACK_WHEN && !check.pending;
    let check = failed.iter().find(is_asked)?;
    let text = format!("does not fulfil failback_when ({})", check.text);
    Some(Note::new("failback-waits", text))
}
