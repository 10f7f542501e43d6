//! What is not normal, in sentences: of this node, of each peer and of each group. The identifiers are listed in hactl(8).

use std::time::Duration;

use super::seconds;
use crate::engine::group::{Group, GroupFailure};
use crate::engine::peer::{Peer, PeerLink};
use crate::engine::placement::choose_node;
use crate::engine::{Engine, Round, checks};
use crate::model::health::FAILBACK_WHEN;
use crate::model::heartbeat::{GroupState, Phase};
use crate::model::status::{Liveness, Note};
use crate::model::{GroupName, NodeName, Time};
use crate::text::duration_for_people;

/// Lost heartbeats in a thousand from which the loss is reported; a cable in good order loses none.
const MIN_LOSS_SHOWN_PERMILLE: u16 = 100;
/// For how long after a gap in our own time the status reports it.
const SHOW_GAP_FOR: Duration = Duration::from_secs(600);

impl Engine {
    pub(super) fn own_notes(&self, now: Time) -> Vec<Note> {
        let standing = self.groups.iter().filter(|g| g.wishes().standby).count();
        let shared = self.view.shared_name_note(self.view.me());
        let shared = shared.map(|text| Note::new("shared-name", text));
        let mut notes: Vec<Note> = shared.into_iter().collect();
        if standing > 0 && standing == self.groups.len() {
            let text = "in standby: takes no groups; end it with hactl standby off";
            notes.push(Note::new("standby", text));
        }
        let changing = self.view.waits_for_voters();
        notes.extend(changing.map(|text| Note::new("voters-changing", text)));
        if let Some((end, length)) = self.view.gap.filter(|(end, _)| now < *end + SHOW_GAP_FOR) {
            let ago = now.since(end);
            let text = format!(
                "was stopped for {}, until {} ago (paused VM, suspend or overload?); \
                 groups that other nodes took over meanwhile stay there",
                duration_for_people(length),
                duration_for_people(ago)
            );
            notes.push(Note::new("was-stopped", text));
        }
        for link in &self.view.cluster.links {
            let dark = |p: &Peer| p.links.iter().any(|l| l.name == *link && !l.carrier);
            if self.view.peers.iter().any(dark) {
                let text = format!(
                    "{link} has no carrier here: check this node's own cable and switch port first"
                );
                notes.push(Note::new("no-carrier", text));
            }
        }
        notes.extend(self.own_unready_notes());
        notes
    }

    pub(super) fn peer_notes(&self, peer: &Peer, now: Time) -> Vec<Note> {
        let shared = self.view.shared_name_note(&peer.name);
        let shared = shared.map(|text| Note::new("shared-name", text));
        let mut notes: Vec<Note> = shared.into_iter().collect();
        let mut note = |is: bool, id: &'static str, text: String| {
            if is {
                notes.push(Note::new(id, text));
            }
        };
        note(
            peer.has_persons_word(),
            "confirmed-dead",
            "confirmed dead by an administrator (hactl fence confirm), until it is heard"
                .to_owned(),
        );
        let fencing = self.fencing_note(peer, now);
        note(fencing.is_some(), "fencing", fencing.unwrap_or_default());
        let name = &peer.name;
        note(
            matches!(
                peer.liveness,
                Liveness::Init | Liveness::Dead | Liveness::Late
            ) && peer.refused,
            "no-daemon",
            "the machine answers, but had does not run on it: start it there".to_owned(),
        );
        note(
            peer.is_living() && peer.misses >= MIN_LOSS_SHOWN_PERMILLE,
            "heartbeats-lost",
            format!(
                "misses {} % of our heartbeats: check the network between the two nodes (cable, switch, full queue)",
                peer.misses / 10
            ),
        );
        let unreadable = peer.unreadable_note();
        let readable = unreadable.is_none();
        note(!readable, "other-version", unreadable.unwrap_or_default());
        let deaf = readable && self.view.is_deaf(peer);
        note(
            deaf && peer.names_other_life,
            "not-heard-by",
            format!(
                "counts another machine, or the daemon before, as {}",
                self.view.me()
            ),
        );
        note(
            deaf && !peer.names_other_life,
            "not-heard-by",
            format!(
                "is heard, but does not receive our heartbeats: check the firewall on {name} and the network path to it"
            ),
        );
        note(
            peer.is_living() && self.view.differs(peer), "config-differs",
            "its configuration differs from ours, so groups do not move: compare ha.cf and haresources, then run hactl reload"
                .to_owned(),
        );
        note(
            peer.phase == Phase::Leaving && peer.is_living(),
            "node-leaving",
            "leaves the cluster and stops its groups".to_owned(),
        );
        note(
            readable && peer.is_living() && peer.phase == Phase::Init,
            "node-not-joined",
            "does not take part in the cluster yet".to_owned(),
        );
        note(
            peer.back_by > now && peer.is_living(),
            "node-restarting",
            format!(
                "restarting; expected back within {}",
                duration_for_people(seconds(peer.back_by.since(now)))
            ),
        );
        for check in peer.failed_checks.iter().filter(|_| peer.is_living()) {
            // The message of `failback_when` is shown with the group that waits for it.
            note(
                check.check != FAILBACK_WHEN,
                "check-failed",
                match &check.group {
                    None => format!("{check}, so it takes no groups"),
                    Some(group) => format!("{check}, so it does not take {group}"),
                },
            );
        }
        notes.extend(self.peer_unready_notes(peer));
        notes.extend(link_notes(peer));
        notes
    }

    pub(super) fn group_notes(&self, group: &Group, owners: &[NodeName], now: Time) -> Vec<Note> {
        let name = group.name();
        let mut notes = Vec::new();
        let mut note = |id: &'static str, text: String| notes.push(Note::new(id, text));
        if owners.len() > 1 {
            note("group-split", "runs on more than one node".to_owned());
        }
        if let Some(other) = group.doubled() {
            note(
                "ran-twice",
                format!(
                    "it ran here and on {other} at the same time: check its data, then run hactl clear {name}"
                ),
            );
        }
        if let Some(failure) = group.failure() {
            note("failure-here", self.failure_note(group, failure, now));
        }
        if let Some(because) = group.runs_on() {
            note("stays-here", format!("stays here: {because}"));
        }
        if let Some(text) = self.waits_for_failback(group) {
            note("failback-waits", text);
        }
        let peers = self.view.peers.iter();
        notes.extend(peers.filter_map(|peer| Self::failure_elsewhere(peer, name)));
        let mut note = |id: &'static str, text: String| notes.push(Note::new(id, text));
        if let Some(because) = self.why_down(group, owners, now) {
            note("not-running", format!("not running: {because}"));
        }
        if group.is_removed() {
            let when = if group.in_maintenance(&self.view) {
                "when maintenance ends"
            } else {
                "here"
            };
            note(
                "removed",
                format!("no longer in haresources: it is stopped {when}"),
            );
        }
        if group.in_maintenance(&self.view) {
            note("maintenance", self.maintenance_note(group));
        }
        if group.wishes().standby {
            note(
                "standby",
                format!(
                    "{} is in standby for it; end it with hactl standby off",
                    self.view.me()
                ),
            );
        }
        for peer in self
            .view
            .living()
            .filter(|p| p.intent.standby.contains(name))
        {
            note("standby", format!("{} is in standby for it", peer.name));
        }
        if group.wishes().yielding {
            note(
                "given-away",
                format!(
                    "{} gave it away on request and takes it back only if no other node can run it; end this with hactl standby off",
                    self.view.me()
                ),
            );
        }
        if let Some(offer) = group.offer() {
            note(
                "offered",
                format!("offered to {}: {}", offer.to, offer.because),
            );
        }
        notes
    }

    fn failure_note(&self, group: &Group, failure: &GroupFailure, now: Time) -> String {
        let (name, text) = (group.name(), &failure.text);
        match group.state() {
            GroupState::Stuck => {
                format!(
                    "its stop failed here: {text}; stop it by hand, then run hactl clear {name}"
                )
            }
            GroupState::Failed => {
                let retried = group.retried_at(&self.view, &Round::default());
                let (then, at) = match retried {
                    Some(at) => ("no other node can run it, so it is tried again in", at),
                    None => ("otherwise forgotten in", failure.expires_at),
                };
                let left = duration_for_people(seconds(at.since(now)));
                format!(
                    "failed here: {text}; repair it, then run hactl clear {name} ({then} {left})"
                )
            }
            _ => format!("failed here before: {text}"),
        }
    }

    /// Who began the maintenance, because only there it can be ended; a dead node's can be ended anywhere.
    fn maintenance_note(&self, group: &Group) -> String {
        let name = group.name();
        let peers = self.view.peers.iter().filter(|p| p.maintains(name));
        let (living, dead): (Vec<&Peer>, Vec<&Peer>) = peers.partition(|p| p.is_living());
        let here = group.wishes().maintenance || !dead.is_empty();
        let me = here.then(|| self.view.me().as_str());
        let at: Vec<&str> = me
            .into_iter()
            .chain(living.iter().map(|p| p.name.as_str()))
            .collect();
        format!(
            "in maintenance: no node starts, stops or moves it; end it with hactl maintenance off on {}",
            at.join(" and on ")
        )
    }

    /// What keeps a group from going back to its preferred node, with the newest message of `failback_when`.
    fn waits_for_failback(&self, group: &Group) -> Option<String> {
        let peer = self.view.peer(&group.spec().preferred)?;
        let says =
            checks::failback_unready(&peer.failed_checks).filter(|_| group.failback_waits())?;
        Some(format!(
            "goes back to {} when failback_when succeeds there; it says: {says}",
            peer.name
        ))
    }

    /// The failure that a peer reports. The status of that node says what failed.
    fn failure_elsewhere(peer: &Peer, name: &GroupName) -> Option<Note> {
        let at = &peer.name;
        match peer.state(name) {
            GroupState::Failed if peer.is_living() => Some(Note::new(
                "failure-elsewhere",
                format!(
                    "failed on {at}: run hactl why {name} there, repair it, then run hactl clear {name} there"
                ),
            )),
            GroupState::Stuck if peer.is_confirmed_dead() => None,
            GroupState::Stuck if peer.unaware.contains(name) => Some(Note::new(
                "stuck-elsewhere",
                format!(
                    "stuck on {at}: it was in maintenance there when {at} fell silent, so no other node may start it; make sure that nothing of it runs there, then run hactl clear {name} here"
                ),
            )),
            GroupState::Stuck => Some(Note::new(
                "stuck-elsewhere",
                format!(
                    "stuck on {at}: its stop failed, so no other node may start it; stop it there by hand, then run hactl clear {name} {}",
                    if peer.is_living() { "there" } else { "here" }
                ),
            )),
            _ => None,
        }
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

/// What is wrong with the links of a peer that is heard.
fn link_notes(peer: &Peer) -> Vec<Note> {
    let lossy = |l: &&PeerLink| {
        let lost = l.loss.permille() >= MIN_LOSS_SHOWN_PERMILLE;
        peer.is_living() && l.up && lost
    };
    let silent = |l: &&PeerLink| peer.is_living() && !l.up && !l.relay;
    let lossy = peer.links.iter().filter(lossy).map(|link| {
        let text = format!(
            "{} % of its heartbeats are lost on {}: check the cable, the switch and the queues of this link",
            link.loss.permille() / 10,
            link.name
        );
        Note::new("link-lossy", text)
    });
    let silent = peer.links.iter().filter(silent).map(|link| {
        let why = if link.carrier {
            ""
        } else {
            " (no carrier here)"
        };
        let text = format!(
            "not heard on {}{why}: check the cable, the switch and the firewall of this link",
            link.name
        );
        Note::new("link-silent", text)
    });
    lossy.chain(silent).collect()
}
