//! 2. A group is not started before what ran it elsewhere is known to have stopped.
//!
//! Promised under every fault, and judged by what the starting node itself was told: no other node that it heard within
//! warntime may last have shown the group as anything but down.

use super::heard_from_peers::HeardFromPeers;
use crate::model::cluster::Timing;
use crate::model::{GroupName, NodeName, Time};

/// What is wrong with a start now.
pub(super) fn start(
    hearsay: &HeardFromPeers,
    now: Time,
    group: &GroupName,
    peers: &[NodeName],
    timing: &Timing,
) -> Option<String> {
    peers.iter().find_map(|peer| {
        let heard = hearsay.of(peer)?;
        let lately = now < heard.at + timing.warntime;
        (lately && !heard.is_down(group)).then(|| {
            let (state, silent) = (heard.state(group), now.since(heard.at));
            format!("starts {group} although {peer} showed it {state:?} {silent:?} ago")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::heard_from_peers::tests::heartbeat;
    use super::*;
    use crate::model::heartbeat::GroupState;
    use crate::sim::world::cluster_of;
    use std::time::Duration;

    #[test]
    fn a_start_beside_one_that_runs_is_seen() {
        let timing = cluster_of(&[]).timing;
        let (db, bob) = (GroupName::new("db"), [NodeName::new("bob")]);
        let soon = Time(1) + Duration::from_millis(100);
        for (state, wrong) in [
            (GroupState::Online, true),
            (GroupState::Stopping, true),
            (GroupState::Offline, false),
            (GroupState::Failed, false),
        ] {
            let mut hearsay = HeardFromPeers::default();
            hearsay.hear(Time(1), &heartbeat(1, state, 1));
            assert_eq!(
                start(&hearsay, soon, &db, &bob, &timing).is_some(),
                wrong,
                "{state:?}"
            );
        }
    }
}
