//! The engine's view as plain data for `hactl status`, with a sentence for whatever is not normal.

use std::collections::BTreeMap;
use std::time::Duration;

use super::group::{Group, GroupFailure, StepState};
use super::peer::{Peer, PeerLink};
use super::placement::choose_node;
use super::{Engine, Round};
use crate::model::cluster::QuorumPolicy;
use crate::model::health::FAILBACK_WHEN;
use crate::model::heartbeat::{GroupState, Phase};
use crate::model::status::{
    GroupStatus, LinkStatus, Liveness, NodeStatus, OLD_HEARTBEATS, PingStatus, QuorumStatus,
    ResourceStatus, Status,
};
use crate::model::{NodeName, Time};
use crate::text::duration_for_people;

/// Lost heartbeats in a thousand from which the loss is reported; a cable in good order loses none.
const MIN_LOSS_SHOWN_PERMILLE: u16 = 100;
/// For how long after a gap in our own time the status reports it.
const SHOW_GAP_FOR: Duration = Duration::from_secs(600);

impl Engine {
    /// Everything as seen from here at this time.
    pub fn status(&self, now: Time) -> Status {
        let now = now.max(self.now);
        let votes = self.view.votes();
        let node = |name: &NodeName| match self.view.peer(name) {
            Some(peer) => self.peer_status(peer, now),
            None => self.own_status(now),
        };
        Status {
            node: self.view.me().clone(),
            generation: self.view.generation,
            phase: self.view.phase(),
            waiting: self.view.waits_for(now),
            nodes: self.view.cluster.nodes.iter().map(node).collect(),
            pings: self
                .view
                .pings
                .iter()
                .map(|p| PingStatus {
                    name: p.name.clone(),
                    up: p.up,
                    answered: p.answered.map(|at| now.since(at)),
                    member: p.member.clone(),
                })
                .collect(),
            quorum: QuorumStatus {
                held: self.view.quorate,
                counted: self.view.counts_votes() || self.view.cluster.quorum != QuorumPolicy::Off,
                votes: votes.ours,
                total: votes.total,
            },
            groups: self
                .groups
                .iter()
                .map(|g| self.group_status(g, now))
                .collect(),
            former_voters: self.view.voters.former().to_vec(),
            checks: self.view.checks.status(now),
            counters: self.counters(),
            lateness: None,
        }
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let old = OLD_HEARTBEATS.to_owned();
        let counted = (self.old_heartbeats > 0).then_some((old, self.old_heartbeats));
        counted.into_iter().collect()
    }

    fn own_status(&self, now: Time) -> NodeStatus {
        let standing = self.groups.iter().filter(|g| g.wishes().standby).count();
        let mut notes: Vec<String> = self
            .view
            .shared_name_note(self.view.me())
            .into_iter()
            .collect();
        if standing > 0 && standing == self.groups.len() {
            notes.push("in standby: takes no groups; end it with hactl standby off".to_owned());
        }
        notes.extend(self.view.waits_for_voters());
        if let Some((end, length)) = self.view.gap.filter(|(end, _)| now < *end + SHOW_GAP_FOR) {
            let ago = now.since(end);
            notes.push(format!(
                "was stopped for {}, until {} ago (paused VM, suspend or overload?); \
                 groups that other nodes took over meanwhile stay there",
                duration_for_people(length),
                duration_for_people(ago)
            ));
        }
        for link in &self.view.cluster.links {
            let dark = |p: &Peer| p.links.iter().any(|l| l.name == *link && !l.carrier);
            if self.view.peers.iter().any(dark) {
                notes.push(format!(
                    "{link} has no carrier here: check this node's own cable and switch port first"
                ));
            }
        }
        NodeStatus {
            name: self.view.me().clone(),
            witness: self.view.this_node_is_witness(),
            liveness: Liveness::Here,
            silent_for: None,
            generation: Some(self.view.generation),
            reach: Some(self.view.reach()),
            links: Vec::new(),
            notes,
        }
    }

    fn peer_status(&self, peer: &Peer, now: Time) -> NodeStatus {
        let heard = peer.generation.is_some();
        let link = |l: &PeerLink| LinkStatus {
            link: l.name.clone(),
            hears: l.up,
            heard: peer.is_living().then(|| peer.hears_us_on.contains(&l.name)),
            relay: l.relay,
        };
        NodeStatus {
            name: peer.name.clone(),
            witness: self.view.cluster.is_witness(&peer.name),
            liveness: peer.liveness,
            silent_for: heard.then(|| now.since(peer.last_heard)),
            generation: peer.generation,
            reach: heard.then_some(peer.reach),
            links: peer.links.iter().map(link).collect(),
            notes: self.peer_notes(peer, now),
        }
    }

    fn peer_notes(&self, peer: &Peer, now: Time) -> Vec<String> {
        let mut notes: Vec<String> = self.view.shared_name_note(&peer.name).into_iter().collect();
        let mut note = |is: bool, text: String| {
            if is {
                notes.push(text);
            }
        };
        let name = &peer.name;
        note(
            matches!(
                peer.liveness,
                Liveness::Init | Liveness::Dead | Liveness::Late
            ) && peer.refused,
            "the machine answers, but had does not run on it: start it there".to_owned(),
        );
        note(
            peer.is_living() && peer.misses >= MIN_LOSS_SHOWN_PERMILLE,
            format!(
                "misses {} % of our heartbeats: check the network between the two nodes (cable, switch, full queue)",
                peer.misses / 10
            ),
        );
        let unreadable = peer.unreadable_note();
        let readable = unreadable.is_none();
        note(!readable, unreadable.unwrap_or_default());
        let deaf = readable && self.view.is_deaf(peer);
        note(
            deaf && peer.names_other_life,
            format!(
                "counts another machine, or the daemon before, as {}",
                self.view.me()
            ),
        );
        note(
            deaf && !peer.names_other_life,
            format!(
                "is heard, but does not receive our heartbeats: check the firewall on {name} and the network path to it"
            ),
        );
        note(
            peer.is_living() && self.view.differs(peer),
            "its configuration differs from ours, so groups do not move: compare ha.cf and haresources, then run hactl reload"
                .to_owned(),
        );
        note(
            peer.phase == Phase::Leaving && peer.is_living(),
            "leaves the cluster and stops its groups".to_owned(),
        );
        note(
            readable && peer.is_living() && peer.phase == Phase::Init,
            "does not take part in the cluster yet".to_owned(),
        );
        note(
            peer.back_by > now && peer.is_living(),
            format!(
                "restarting; expected back within {}",
                duration_for_people(seconds(peer.back_by.since(now)))
            ),
        );
        for check in peer.failed_checks.iter().filter(|_| peer.is_living()) {
            // The message of `failback_when` is shown with the group that waits for it.
            note(
                check.check != FAILBACK_WHEN,
                match &check.group {
                    None => format!("{check}, so it takes no groups"),
                    Some(group) => format!("{check}, so it does not take {group}"),
                },
            );
        }
        let silent = |l: &&PeerLink| peer.is_living() && !l.up && !l.relay;
        for link in peer.links.iter().filter(silent) {
            let why = if link.carrier {
                ""
            } else {
                " (no carrier here)"
            };
            note(
                true,
                format!(
                    "not heard on {}{why}: check the cable, the switch and the firewall of this link",
                    link.name
                ),
            );
        }
        notes
    }

    fn group_status(&self, group: &Group, now: Time) -> GroupStatus {
        let name = group.name();
        let mut owners: Vec<NodeName> = self
            .view
            .living()
            .filter(|p| p.holds(name))
            .map(|p| p.name.clone())
            .collect();
        if group.state().holds() {
            owners.insert(0, self.view.me().clone());
        }
        let mut states = vec![(self.view.me().clone(), group.state())];
        let nodes = self.view.living_nodes();
        states.extend(nodes.map(|p| (p.name.clone(), p.state(name))));
        GroupStatus {
            name: name.clone(),
            preferred: group.spec().preferred.clone(),
            notes: self.group_notes(group, &owners, now),
            owners,
            states,
            term: group.term(),
            resources: resources(group, now),
        }
    }

    fn group_notes(&self, group: &Group, owners: &[NodeName], now: Time) -> Vec<String> {
        let name = group.name();
        let mut notes = Vec::new();
        if owners.len() > 1 {
            notes.push("runs on more than one node".to_owned());
        }
        if let Some(other) = group.doubled() {
            notes.push(format!(
                "it ran here and on {other} at the same time: check its data, then run hactl clear {name}"
            ));
        }
        if let Some(failure) = group.failure() {
            notes.push(failure_note(group, failure, now));
        }
        if let Some(because) = group.runs_on() {
            notes.push(format!("stays here: {because}"));
        }
        notes.extend(self.waits_for_failback(group));
        notes.extend(self.peers_failures(group));
        if let Some(because) = self.why_down(group, owners, now) {
            notes.push(format!("not running: {because}"));
        }
        if group.in_maintenance(&self.view) {
            notes.push("in maintenance: no node starts, stops or moves it; end it with hactl maintenance off".into());
        }
        if group.wishes().standby {
            notes.push(format!(
                "{} is in standby for it; end it with hactl standby off",
                self.view.me()
            ));
        }
        for peer in self
            .view
            .living()
            .filter(|p| p.intent.standby.contains(name))
        {
            notes.push(format!("{} is in standby for it", peer.name));
        }
        if group.wishes().yielding {
            notes.push(format!(
                "{} gave it away on request and takes it back only if no other node can run it; end this with hactl standby off",
                self.view.me()
            ));
        }
        if let Some(offer) = group.offer() {
            notes.push(format!("offered to {}: {}", offer.to, offer.because));
        }
        notes
    }

    /// What keeps a group from going back to its preferred node, with the newest message of `failback_when`.
    fn waits_for_failback(&self, group: &Group) -> Option<String> {
        let peer = self.view.peer(&group.spec().preferred)?;
        let says = super::checks::failback_unready(&peer.failed_checks)
            .filter(|_| group.failback_waits())?;
        Some(format!(
            "goes back to {} when failback_when succeeds there; it says: {says}",
            peer.name
        ))
    }

    /// Failures that the peers report. The status of that node says what failed.
    fn peers_failures(&self, group: &Group) -> Vec<String> {
        let name = group.name();
        let mut notes = Vec::new();
        for peer in &self.view.peers {
            let at = &peer.name;
            match peer.state(name) {
                GroupState::Failed if peer.is_living() => {
                    notes.push(format!("failed on {at}: run hactl why {name} there, repair it, then run hactl clear {name} there"));
                }
                GroupState::Stuck if peer.unaware.contains(name) => notes.push(format!(
                    "stuck on {at}: it was in maintenance there when {at} fell silent, so no other node may start it; make sure that nothing of it runs there, then run hactl clear {name} here"
                )),
                GroupState::Stuck => notes.push(format!(
                    "stuck on {at}: its stop failed, so no other node may start it; stop it there by hand, then run hactl clear {name} {}",
                    if peer.is_living() { "there" } else { "here" }
                )),
                _ => {}
            }
        }
        notes
    }

    fn why_down(&self, group: &Group, owners: &[NodeName], now: Time) -> Option<String> {
        if !owners.is_empty() {
            return None;
        }
        let blocked = group.blocked_because(now, &self.view);
        if blocked.is_some() || group.state() == GroupState::Claiming {
            return blocked.map(|b| b.to_string());
        }
        if let Some(waiting) = self.view.waits_for(now) {
            return Some(format!("this node waits {waiting}"));
        }
        let candidates = group.candidates(&self.view, &Round::default());
        choose_node(&candidates).err().map(|b| b.to_string())
    }
}

fn failure_note(group: &Group, failure: &GroupFailure, now: Time) -> String {
    let (name, text) = (group.name(), &failure.text);
    let left = duration_for_people(seconds(failure.expires_at.since(now)));
    match group.state() {
        GroupState::Stuck => {
            format!("its stop failed here: {text}; stop it by hand, then run hactl clear {name}")
        }
        GroupState::Failed => format!(
            "failed here: {text}; repair it, then run hactl clear {name} (otherwise forgotten in {left})"
        ),
        _ => format!("failed here before: {text}"),
    }
}

/// In whole seconds: a deadline needs no fractions.
fn seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}

/// Every member with the state of its step.
fn resources(group: &Group, now: Time) -> Vec<ResourceStatus> {
    let steps = group.spec().steps.iter().zip(group.steps());
    let members = |(spec, known): (&crate::model::cluster::Step, &StepState)| {
        let (state, error) = (known.state, known.error.clone());
        let watch = spec.policy.map(|p| known.health.status(now, &p));
        spec.members
            .iter()
            .map(move |token| ResourceStatus {
                token: token.clone(),
                state,
                error: error.clone(),
                watch: watch.clone(),
                unwatched: watch.is_none() && !spec.addresses,
            })
            .collect::<Vec<_>>()
    };
    steps.flat_map(members).collect()
}
