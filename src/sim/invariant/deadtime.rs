//! 4. No takeover before deadtime, and none before initdead after a start, without a goodbye.
//!
//! Promised under every fault. A peer that was never heard in this life is waited for through initdead; one that
//! showed the group as anything but down is waited for through deadtime, and as long as it announced to be away.

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
        let Some(heard) = hearsay.of(peer) else {
            let early = now < hearsay.began + timing.initdead;
            return early
                .then(|| format!("starts {group} before {peer} was heard or initdead is over"));
        };
        let silent = now.since(heard.at);
        let early = silent >= timing.warntime
            && (silent < timing.deadtime || now < heard.back_by)
            && !heard.is_down(group);
        early.then(|| {
            let state = heard.state(group);
            format!("starts {group} although {peer}, silent for {silent:?}, showed it {state:?}")
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

    fn wrong(heard: Option<GroupState>, back: Option<u64>, after: u64) -> bool {
        let mut hearsay = HeardFromPeers::default();
        hearsay.begin(Time(1));
        if let Some(state) = heard {
            let mut word = heartbeat(1, state, 1);
            word.intent.back_within = back.map(Duration::from_millis);
            hearsay.hear(Time(1), &word);
        }
        let now = Time(1) + Duration::from_millis(after);
        let timing = cluster_of(&[]).timing;
        let bob = [NodeName::new("bob")];
        start(&hearsay, now, &GroupName::new("db"), &bob, &timing).is_some()
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
    }
}
