//! 5. A late scheduler is not taken for a dead peer, and a paused node does not speak from the past.
//!
//! Promised under every fault. No node calls a peer dead for its silence that it has heard within deadtime, however
//! late it woke itself. And after its own time stood still for longer than warntime, a node neither claims nor calls
//! itself the owner of anything before it has heard every peer, or has listened for deadtime.

use std::collections::BTreeSet;

use super::heard_from_peers::HeardFromPeers;
use crate::model::cluster::Timing;
use crate::model::heartbeat::{GroupState, Heartbeat};
use crate::model::{NodeName, Time};

/// What is remembered of one machine's time.
#[derive(Clone, Debug, Default)]
pub(super) struct PauseWatch {
    last: Option<Time>,
    listening: Option<Listening>,
}

#[derive(Clone, Debug)]
struct Listening {
    until: Time,
    heard: BTreeSet<NodeName>,
}

impl PauseWatch {
    pub fn begin(&mut self) {
        *self = PauseWatch::default();
    }

    /// The daemon is awake at this moment of its clock.
    pub fn pass(&mut self, now: Time, timing: &Timing) {
        let last = self.last.replace(now);
        if last.is_some_and(|last| now.since(last) > timing.warntime) {
            self.listening = Some(Listening {
                until: now + timing.deadtime,
                heard: BTreeSet::new(),
            });
        }
        if self.listening.as_ref().is_some_and(|l| now >= l.until) {
            self.listening = None;
        }
    }

    pub fn hear(&mut self, from: &NodeName) {
        if let Some(listening) = &mut self.listening {
            listening.heard.insert(from.clone());
        }
    }

    /// What is wrong with what it says.
    pub fn say<'a>(
        &self,
        now: Time,
        heartbeat: &Heartbeat,
        mut peers: impl Iterator<Item = &'a NodeName>,
    ) -> Option<String> {
        let listening = self.listening.as_ref().filter(|l| now < l.until)?;
        let unheard = peers.find(|p| !listening.heard.contains(*p))?;
        let claims = |s| matches!(s, GroupState::Online | GroupState::Claiming);
        let report = heartbeat.groups.iter().find(|r| claims(r.state))?;
        let (group, state) = (&report.group, report.state);
        Some(format!(
            "says after a pause that {group} is {state:?} there, and has not heard {unheard} yet"
        ))
    }
}

/// What is wrong with calling a peer dead now.
pub(super) fn buries(
    hearsay: &HeardFromPeers,
    now: Time,
    peer: &NodeName,
    timing: &Timing,
) -> Option<String> {
    let silent = now.since(hearsay.of(peer)?.at);
    let wrong = silent < timing.deadtime;
    wrong.then(|| format!("calls {peer} dead and heard it {silent:?} ago"))
}

#[cfg(test)]
mod tests {
    use super::super::heard_from_peers::tests::heartbeat;
    use super::*;
    use crate::sim::world::cluster_of;
    use std::time::Duration;

    #[test]
    fn a_word_from_the_past_is_seen() {
        let timing = cluster_of(&[]).timing;
        let (online, carol) = (heartbeat(1, GroupState::Online, 1), NodeName::new("carol"));
        let mut past = PauseWatch::default();
        past.pass(Time(1), &timing);
        assert_eq!(past.say(Time(1), &online, [&carol].into_iter()), None);
        let thawed = Time(1) + Duration::from_secs(5);
        past.pass(thawed, &timing);
        assert!(past.say(thawed, &online, [&carol].into_iter()).is_some());
        past.hear(&carol);
        assert_eq!(past.say(thawed, &online, [&carol].into_iter()), None);
    }

    #[test]
    fn the_burial_of_one_that_was_heard_is_seen() {
        let timing = cluster_of(&[]).timing;
        let bob = NodeName::new("bob");
        let mut hearsay = HeardFromPeers::default();
        hearsay.hear(Time(1), &heartbeat(1, GroupState::Online, 1));
        let at = |ms| Time(1) + Duration::from_millis(ms);
        assert!(buries(&hearsay, at(1999), &bob, &timing).is_some());
        assert_eq!(buries(&hearsay, at(2000), &bob, &timing), None);
    }
}
