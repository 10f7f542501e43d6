//! 4. No takeover before deadtime, or before initdead after a start, unless the peer announced that it leaves.
//!
//! Promised under every fault. A node waits initdead for a peer that it has not heard since it started; only deadtime, if
//! another node tells it that the peer had left. For a peer that
//! reported the group as anything but down it waits deadtime, and also as long as the peer announced to be away, if that
//! announcement names a heartbeat of this life of the node (rule 28).

use super::heard_from_peers::HeardFromPeers;
use crate::model::cluster::Timing;
use crate::model::{GroupName, NodeName, Time};
use crate::text::duration_for_people;

/// Whether starting the group now would be too early.
pub(super) fn check_start(
    heard: &HeardFromPeers,
    now: Time,
    group: &GroupName,
    peers: &[NodeName],
    timing: &Timing,
) -> Option<String> {
    peers.iter().find_map(|peer| {
        let Some(heard) = heard.last_from(peer) else {
            let (wait, name) = if heard.was_told_of_goodbye(peer) {
                (timing.deadtime, "deadtime")
            } else {
                (timing.initdead, "initdead")
            };
            let early = now < heard.began + wait;
            return early.then(|| {
                format!("starts {group} before it has heard {peer} and before {name} is over")
            });
        };
        let silent = now.since(heard.at);
        let early = silent >= timing.warntime
            && (silent < timing.deadtime || now < heard.back_by)
            && !heard.has_namesake
            && !heard.is_down(group);
        early.then(|| {
            let (state, silent) = (heard.state(group).as_str(), duration_for_people(silent));
            format!("starts {group} although {peer}, silent for {silent}, reported it as {state}")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::heard_from_peers::tests::heartbeat;
    use super::*;
    use crate::model::heartbeat::GroupState;
    use crate::sim::world::default_cluster;
    use std::time::Duration;

    fn wrong(heard: Option<GroupState>, back: Option<u64>, after: u64) -> bool {
        wrong_if(true, heard, back, after)
    }

    fn wrong_if(names_us: bool, heard: Option<GroupState>, back: Option<u64>, after: u64) -> bool {
        let mut peers = HeardFromPeers::default();
        peers.start_life(Time(1));
        if let Some(state) = heard {
            let mut word = heartbeat(1, state, 1);
            word.intent.back_within = back.map(Duration::from_millis);
            peers.note_heartbeat(Time(1), &word, names_us, Duration::from_secs(2));
        }
        let now = Time(1) + Duration::from_millis(after);
        let timing = default_cluster(&[]).timing;
        let bob = [NodeName::new("bob")];
        check_start(&peers, now, &GroupName::new("db"), &bob, &timing).is_some()
    }

    #[test]
    fn who_is_told_of_a_goodbye_waits_deadtime() {
        let timing = default_cluster(&[]).timing;
        let mut peers = HeardFromPeers::default();
        peers.start_life(Time(1));
        let carol = NodeName::new("carol");
        let mut told = heartbeat(1, GroupState::Offline, 1);
        let left = |node| crate::model::heartbeat::LeftNode {
            node,
            generation: crate::model::Generation(1),
        };
        told.left = vec![left(carol.clone())];
        peers.note_heartbeat(Time(1), &told, true, timing.deadtime);
        let check = |now| {
            let db = GroupName::new("db");
            check_start(&peers, now, &db, std::slice::from_ref(&carol), &timing)
        };
        let end = Time(1) + timing.deadtime;
        assert!(timing.deadtime < timing.initdead);
        let early = check(Time(end.0 - 1));
        assert!(early.unwrap().contains("before deadtime is over"));
        assert_eq!(check(end), None);
    }

    #[test]
    fn an_early_takeover_is_seen() {
        assert!(wrong(None, None, 3999));
        assert!(!wrong(None, None, 4000));
        assert!(wrong(Some(GroupState::Online), None, 1999));
        assert!(!wrong(Some(GroupState::Online), None, 2000));
        assert!(!wrong(Some(GroupState::Offline), None, 1999));
        assert!(wrong(Some(GroupState::Online), Some(9000), 8999));
        assert!(!wrong(Some(GroupState::Online), Some(9000), 9000));
        let unheard = |after| wrong_if(false, Some(GroupState::Online), Some(9000), after);
        assert!(unheard(1999) && !unheard(2000));
    }
}
