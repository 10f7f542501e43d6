//! Rule 6: the right to hold a group. It rests on confirmations: a peer that recognises this node confirms the right from
//! the time at which this node sent the heartbeat that the peer acknowledges. With `quorum stop` the right is a lease,
//! which ends when too few confirmations are recent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::peer::Peer;
use crate::engine::quorum;
use crate::engine::view::View;
use crate::model::cluster::Timing;
use crate::model::status::Liveness;
use crate::model::voter_list::VoterList;
use crate::model::{NodeName, Time};

/// A right that has grown by less is not announced to the runtime again.
const MIN_RENEWAL_STEP: Duration = Duration::from_millis(50);

/// Our right to one group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Right {
    /// For each peer: when we sent the newest heartbeat that it acknowledged while it recognised us.
    supports: BTreeMap<NodeName, Time>,
    /// The end of a right from before a restart, or from before our own time stood still.
    end_from_before: Time,
    /// Since when we publish that we hold the group.
    held_since: Time,
    /// The end of the right as the runtime knows it; zero when it knows of none.
    renewed: Time,
}

impl Right {
    pub fn from_before(end: Time) -> Self {
        Right {
            end_from_before: end,
            ..Right::default()
        }
    }

    /// A peer confirms the right from this time of sending on.
    pub fn add_confirmation(&mut self, peer: &NodeName, sent: Time) {
        let at = self.supports.entry(peer.clone()).or_insert(sent);
        *at = (*at).max(sent);
    }

    /// When we sent the newest heartbeat with which a peer confirmed the right.
    pub fn confirmed_by(&self, peer: &NodeName) -> Option<Time> {
        self.supports.get(peer).copied()
    }

    /// Nothing is left of the right, and nothing that was confirmed counts for the next one.
    pub fn give_up(&mut self) {
        self.supports.clear();
        self.end_from_before = Time::ZERO;
    }

    /// Nothing was found running, so there is no right left from before.
    pub fn forget_former(&mut self) {
        self.end_from_before = Time::ZERO;
    }

    /// It does not end before that because of what changes now, if it would have lasted so long.
    pub fn keep_until(&mut self, at: Time, view: &View) {
        self.end_from_before = self.ends_at(view).min(at).max(self.end_from_before);
    }

    /// Our own time stood still: only what was confirmed before that counts. Returns its end.
    pub fn stand_on_former(&mut self, view: &View) -> Time {
        self.end_from_before = if view.has_leases() {
            self.ends_at(view)
        } else {
            Time::ZERO
        };
        self.end_from_before
    }

    /// When the right ends. Never, where it is no lease.
    pub fn ends_at(&self, view: &View) -> Time {
        if !view.has_leases() {
            return Time::NEVER;
        }
        let ends = |list: &VoterList, arbiter| {
            let others_dead =
                view.right_end_if_others_dead(list, |peer| self.confirmed_until(peer, view));
            self.ends_by(list, arbiter, view).max(others_dead)
        };
        let by_list = view.earliest_by_list(ends);
        by_list.unwrap_or(Time::NEVER).max(self.end_from_before)
    }

    /// Until when a peer confirms it.
    fn confirmed_until(&self, peer: &Peer, view: &View) -> Time {
        let counts = peer.liveness != Liveness::Left && view.counts_by_our_lists(peer);
        let at = self.supports.get(&peer.name).filter(|_| counts);
        at.map_or(Time::ZERO, |at| *at + peer.lease_by(&view.cluster.timing))
    }

    /// When it ends by one list of voters.
    fn ends_by(&self, list: &VoterList, has_arbiter: bool, view: &View) -> Time {
        let peers = self.supports.keys().filter_map(|name| {
            let end = self.confirmed_until(view.peer(name)?, view);
            (end > Time::ZERO).then_some((end, list.votes_of(name)))
        });
        let arbiter = view.arbiter_lease_end().filter(|_| has_arbiter);
        let ends: Vec<(Time, u32)> = peers.chain(arbiter.map(|end| (end, 1))).collect();
        let needed = list.shares().needed();
        let others_needed = needed.saturating_sub(list.votes_of(view.me()));
        quorum::lease_end(&ends, others_needed)
    }

    pub fn publish_from(&mut self, now: Time) {
        self.held_since = now;
    }

    /// Whether somebody who has acknowledged what we sent at this time knows that we hold the group.
    pub fn is_known_to(&self, acknowledged: Option<Time>) -> bool {
        acknowledged.is_some_and(|sent| sent >= self.held_since)
    }

    /// Whether the runtime must be told that the right lasts until then. Each time costs a file, so it is told only when
    /// the right has grown by a good part of a lease.
    pub fn note_renewal(&mut self, until: Time, timing: &Timing) -> bool {
        let forever = until == Time::NEVER && self.renewed != Time::NEVER;
        // A step of a whole keepalive would leave out every other renewal when scheduling varies by a moment.
        let step = (timing.lease() / 8).min(timing.keepalive / 2);
        let step = step.max(MIN_RENEWAL_STEP);
        let known =
            self.renewed == until || (self.renewed != Time::NEVER && until < self.renewed + step);
        if forever || !known {
            self.renewed = until;
        }
        forever || !known
    }

    /// The same for a right that is stretched for an announced restart.
    pub fn stretch_to(&mut self, until: Time) {
        self.renewed = until;
    }

    /// Whether the runtime knows of a right that ends before that.
    pub fn ends_before(&self, until: Time) -> bool {
        until > self.renewed
    }

    /// The runtime no longer counts on the right, or must be told anew.
    pub fn forget_renewal(&mut self) {
        self.renewed = Time::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{PersistentState, new_view};
    use crate::model::cluster::{Cluster, QuorumPolicy};
    use crate::model::fencing::Fencing;
    use crate::model::health::Health;

    /// A node that counts votes with two others: keepalive 1 s, and a right lasts 8 s.
    fn view(quorum: QuorumPolicy) -> View {
        let s = Duration::from_secs;
        let cluster = Cluster {
            me: NodeName::new("alice"),
            nodes: ["alice", "bob", "carol"].map(NodeName::new).to_vec(),
            witnesses: Vec::new(),
            links: Vec::new(),
            pings: Vec::new(),
            relay: false,
            timing: Timing {
                keepalive: s(1),
                warntime: s(5),
                deadtime: s(10),
                initdead: s(20),
                deadping: s(10),
                margin: s(2),
            },
            quorum,
            auto_failback: false,
            failback_delay: Duration::ZERO,
            follow_connectivity: false,
            health: Health::default(),
            fencing: Fencing::default(),
            groups: Vec::new(),
            digest: 0,
        };
        new_view(cluster, &PersistentState::default(), Time::ZERO)
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_right_lasts_from_the_newest_confirmation_that_counts() {
        let mut view = view(QuorumPolicy::Stop);
        let bob = NodeName::new("bob");
        let mut right = Right::default();
        assert_eq!(right.ends_at(&view), Time::ZERO);
        right.add_confirmation(&bob, at(100));
        right.add_confirmation(&bob, at(90));
        assert_eq!(right.confirmed_by(&bob), Some(at(100)));
        assert_eq!(right.ends_at(&view), at(108));
        view.peers[0].liveness = Liveness::Left;
        assert_eq!(
            right.ends_at(&view),
            Time::ZERO,
            "who left confirms nothing"
        );
        let without_votes = self::view(QuorumPolicy::Off);
        assert_eq!(right.ends_at(&without_votes), Time::NEVER);
    }

    #[test]
    fn an_end_from_before_counts_until_it_is_given_up() {
        let view = view(QuorumPolicy::Stop);
        let bob = NodeName::new("bob");
        let mut right = Right::from_before(at(50));
        assert_eq!(right.ends_at(&view), at(50));
        right.add_confirmation(&bob, at(60));
        assert_eq!(right.stand_on_former(&view), at(68));
        right.forget_former();
        assert_eq!(
            right.ends_at(&view),
            at(68),
            "the confirmation still stands"
        );
        right.give_up();
        assert_eq!(right.ends_at(&view), Time::ZERO);
        assert_eq!(right.confirmed_by(&bob), None);
    }

    #[test]
    fn a_holder_is_known_to_those_who_acknowledge_what_it_sent_since() {
        let mut right = Right::default();
        right.publish_from(at(10));
        for (acknowledged, known) in [(None, false), (Some(at(9)), false), (Some(at(10)), true)] {
            assert_eq!(right.is_known_to(acknowledged), known, "{acknowledged:?}");
        }
    }

    #[test]
    fn the_runtime_is_told_of_a_right_only_when_it_has_grown() {
        let timing = view(QuorumPolicy::Stop).cluster.timing;
        let mut right = Right::default();
        let half = Duration::from_millis(500);
        // The right ends then; is the runtime told?
        for (until, told) in [
            (at(8), true),
            (at(8), false),
            (at(8) + half / 2, false),
            (at(8) + half, true),
            (at(7), false),
            (Time::NEVER, true),
            (Time::NEVER, false),
            (at(20), true),
        ] {
            assert_eq!(right.note_renewal(until, &timing), told, "{until:?}");
        }
        assert!(right.ends_before(at(21)));
        right.stretch_to(at(30));
        assert!(!right.ends_before(at(30)));
        right.forget_renewal();
        assert!(right.note_renewal(at(20), &timing));
    }
}
