//! 2. No group is started before it is known to have stopped on its old node.
//!
//! Promised under every fault, and judged by what the starting node has heard: no peer that it heard within warntime may
//! have reported the group as anything but down.

use super::heard_from_peers::HeardFromPeers;
use crate::model::cluster::Timing;
use crate::model::{GroupName, NodeName, Time};
use crate::text::duration_for_people;

/// Whether a peer still reports the group as not stopped.
pub(super) fn check_start(
    heard: &HeardFromPeers,
    now: Time,
    group: &GroupName,
    peers: &[NodeName],
    timing: &Timing,
) -> Option<String> {
    peers.iter().find_map(|peer| {
        let heard = heard.last_from(peer)?;
        let lately = now < heard.at + timing.warntime;
        (lately && !heard.has_namesake && !heard.is_down(group)).then(|| {
            let state = heard.state(group).as_str();
            let silent = duration_for_people(now.since(heard.at));
            format!("starts {group} although {peer} reported it as {state} {silent} ago")
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

    #[test]
    fn a_start_beside_one_that_runs_is_seen() {
        let timing = default_cluster(&[]).timing;
        let (db, bob) = (GroupName::new("db"), [NodeName::new("bob")]);
        let soon = Time(1) + Duration::from_millis(100);
        for (state, wrong) in [
            (GroupState::Online, true),
            (GroupState::Stopping, true),
            (GroupState::Offline, false),
            (GroupState::Failed, false),
        ] {
            let mut heard = HeardFromPeers::default();
            heard.note_heartbeat(
                Time(1),
                &heartbeat(1, state, 1),
                true,
                Duration::from_secs(2),
            );
            assert_eq!(
                check_start(&heard, soon, &db, &bob, &timing).is_some(),
                wrong,
                "{state:?}"
            );
        }
    }
}
