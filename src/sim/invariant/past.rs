//! 5. A node that wakes late does not declare peers dead, and a paused node does not act on what it knew before.
//!
//! Promised under every fault. No node declares a peer dead that it has heard within deadtime, however late it woke
//! itself. And after a pause longer than warntime, a node neither claims nor owns anything before it has heard every
//! peer that it had then, or has listened for deadtime. One that a reload removes is no peer, and one that a reload adds
//! afterwards, also for the second time, is waited for by rule 25.

use std::collections::BTreeSet;

use super::heard_from_peers::HeardFromPeers;
use crate::model::cluster::Timing;
use crate::model::heartbeat::{GroupState, Heartbeat};
use crate::model::{NodeName, Time};
use crate::text::duration_for_people;

/// When a machine was last awake, and what it has heard since a pause.
#[derive(Clone, Debug, Default)]
pub(super) struct PauseWatch {
    last: Option<Time>,
    listening: Option<Listening>,
}

#[derive(Clone, Debug)]
struct Listening {
    until: Time,
    heard: BTreeSet<NodeName>,
    /// The nodes of its configuration when the pause ended.
    nodes: Vec<NodeName>,
}

impl PauseWatch {
    pub fn start_life(&mut self) {
        *self = PauseWatch::default();
    }

    /// The daemon is awake at this time of its clock, and has these nodes in its configuration.
    pub fn advance(&mut self, now: Time, timing: &Timing, nodes: &[NodeName]) {
        let last = self.last.replace(now);
        if last.is_some_and(|last| now.since(last) > timing.warntime) {
            self.listening = Some(Listening {
                until: now + timing.deadtime,
                heard: BTreeSet::new(),
                nodes: nodes.to_vec(),
            });
        }
        if let Some(listening) = &mut self.listening {
            listening.nodes.retain(|n| nodes.contains(n));
        }
        if self.listening.as_ref().is_some_and(|l| now >= l.until) {
            self.listening = None;
        }
    }

    pub fn note_heartbeat(&mut self, from: &NodeName) {
        if let Some(listening) = &mut self.listening {
            listening.heard.insert(from.clone());
        }
    }

    /// Whether a heartbeat claims or owns a group too soon after a pause.
    pub fn check_heartbeat<'a>(
        &self,
        now: Time,
        heartbeat: &Heartbeat,
        mut peers: impl Iterator<Item = &'a NodeName>,
    ) -> Option<String> {
        let listening = self.listening.as_ref().filter(|l| now < l.until)?;
        let unheard =
            peers.find(|p| listening.nodes.contains(p) && !listening.heard.contains(*p))?;
        let claims = |s| matches!(s, GroupState::Online | GroupState::Claiming);
        let report = heartbeat.groups.iter().find(|r| claims(r.state))?;
        let (group, state) = (&report.group, report.state.as_str());
        Some(format!(
            "reports {group} as {state} after a pause before it has heard {unheard}"
        ))
    }
}

/// Whether declaring a peer dead now would be too early.
pub(super) fn check_peer_dead(
    heard: &HeardFromPeers,
    now: Time,
    peer: &NodeName,
    timing: &Timing,
) -> Option<String> {
    let last = heard.last_from(peer)?;
    let silent = now.since(last.at);
    let wrong = silent < timing.deadtime && !last.has_namesake;
    wrong.then(|| {
        format!(
            "declares {peer} dead and heard it {} ago",
            duration_for_people(silent)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::heard_from_peers::tests::heartbeat;
    use super::*;
    use crate::sim::world::default_cluster;
    use std::time::Duration;

    #[test]
    fn a_word_from_the_past_is_seen() {
        let timing = default_cluster(&[]).timing;
        let (online, carol) = (heartbeat(1, GroupState::Online, 1), NodeName::new("carol"));
        let mut past = PauseWatch::default();
        past.advance(Time(1), &timing, std::slice::from_ref(&carol));
        assert_eq!(
            past.check_heartbeat(Time(1), &online, [&carol].into_iter()),
            None
        );
        let thawed = Time(1) + Duration::from_secs(5);
        past.advance(thawed, &timing, std::slice::from_ref(&carol));
        assert!(
            past.check_heartbeat(thawed, &online, [&carol].into_iter())
                .is_some()
        );
        // One that a reload adds after the pause was no peer then.
        let dave = NodeName::new("dave");
        assert_eq!(
            past.check_heartbeat(thawed, &online, [&dave].into_iter()),
            None
        );
        // Nor is one that a reload has removed, if another one adds it again.
        let mut reloaded = past.clone();
        reloaded.advance(thawed, &timing, &[]);
        reloaded.advance(thawed, &timing, std::slice::from_ref(&carol));
        assert_eq!(
            reloaded.check_heartbeat(thawed, &online, [&carol].into_iter()),
            None
        );
        past.note_heartbeat(&carol);
        assert_eq!(
            past.check_heartbeat(thawed, &online, [&carol].into_iter()),
            None
        );
    }

    #[test]
    fn the_burial_of_one_that_was_heard_is_seen() {
        let timing = default_cluster(&[]).timing;
        let bob = NodeName::new("bob");
        let mut heard = HeardFromPeers::default();
        heard.note_heartbeat(
            Time(1),
            &heartbeat(1, GroupState::Online, 1),
            true,
            Duration::from_secs(2),
        );
        let at = |ms| Time(1) + Duration::from_millis(ms);
        assert!(check_peer_dead(&heard, at(1999), &bob, &timing).is_some());
        assert_eq!(check_peer_dead(&heard, at(2000), &bob, &timing), None);
    }
}
