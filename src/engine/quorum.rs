//! Rules 6 and 15: votes, and the end of a lease. `model::votes` says who has how many; a side with more than half of all
//! has quorum. A lease ends when so many confirmations are old that the rest no longer make a quorum.

use serde::{Deserialize, Serialize};

use super::{Engine, new_ping};
use crate::model::decision::{Because, What};
use crate::model::votes::VoteShares;
use crate::model::{NodeName, Time};

/// Votes counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Votes {
    pub ours: u32,
    pub total: u32,
    pub needed: u32,
}

impl Votes {
    /// More than half.
    pub fn are_enough(self) -> bool {
        self.ours >= self.needed
    }
}

/// One ping node as seen from here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ping {
    pub name: String,
    /// When the newest echo request that it answered was sent.
    pub answered: Option<Time>,
    pub up: bool,
    /// The member that sends heartbeats from its address. It proves nothing then: a machine that is well reaches itself, and
    /// one that has crashed takes the ping node along.
    #[serde(default)]
    pub member: Option<NodeName>,
}

/// How long the arbiter has answered without a gap. Both are times of sending.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct ArbiterReach {
    /// Of the first request that was answered after the last gap.
    pub since: Time,
    /// Of the newest request that was answered.
    pub newest: Time,
    /// Of the newest answered request from which a right may be counted: before it, answers came without a gap for longer than a
    /// gap may last. A shorter run may lie between two answers that the peer gets, and the peer then hears nothing of it.
    pub steady: Time,
}

impl Engine {
    /// A ping node answered. One at the address of a member has no vote: a machine always reaches itself, and one that has
    /// crashed does not answer.
    pub(super) fn take_ping_answer(&mut self, ping: usize, sent: Time) {
        let addresses = self.view.cluster.pings.get(ping).map(|p| &p.addresses);
        let mut addresses = addresses.into_iter().flatten();
        let member = addresses
            .find_map(|a| self.view.machines.node_at(*a))
            .cloned();
        let Some(ping) = self.view.pings.get_mut(ping) else {
            return;
        };
        if let Some(node) = member {
            if ping.member.as_ref() != Some(&node) {
                let what = What::PingIsMember(ping.name.clone(), node.clone());
                self.round.record_node(what, Because::Heard);
            }
            *ping = Ping {
                member: Some(node),
                ..new_ping(&ping.name)
            };
            return;
        }
        ping.member = None;
        ping.answered = Some(ping.answered.map_or(sent, |at| at.max(sent)));
        if !ping.up && self.now < sent + self.view.cluster.timing.deadping {
            ping.up = true;
            self.round
                .record_node(What::PingUp(ping.name.clone()), Because::Heard);
        }
    }
}

/// When the arbiter confirmed a right: the newest time at or after which more than half of the ping nodes were asked and
/// answered. None without an arbiter, or when too few have ever answered.
pub(super) fn newest_arbiter_answer(pings: &[Ping], shares: VoteShares) -> Option<Time> {
    if !shares.has_arbiter() {
        return None;
    }
    let mut newest_first: Vec<Time> = pings.iter().filter_map(|p| p.answered).collect();
    newest_first.sort_unstable_by(|a, b| b.cmp(a));
    newest_first.get(shares.pings_needed() - 1).copied()
}

/// When a lease ends that rests on these confirmations. Each has the time at which it ends, and the votes of who confirmed.
/// Our own votes need no confirmation. `Time::NEVER` if no other votes are needed.
pub(super) fn lease_end(confirmed: &[(Time, u32)], others_needed: u32) -> Time {
    if others_needed == 0 {
        return Time::NEVER;
    }
    let mut latest_first = confirmed.to_vec();
    latest_first.sort_unstable_by(|a, b| b.cmp(a));
    let mut votes = 0;
    let last_needed = latest_first.iter().find(|(_, share)| {
        votes += share;
        votes >= others_needed
    });
    last_needed.map_or(Time::ZERO, |(end, _)| *end)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;
    use crate::engine::{Action, Event, MachineRecord, PersistentState};
    use crate::model::cluster::{Cluster, PingNode, Timing};

    /// When each confirmation ends and its votes, how many are needed, when the right ends.
    type LeaseRow = (&'static [(u64, u32)], u32, Time);
    /// The nodes, when each ping node answered, when the arbiter confirmed.
    type ArbiterRow = (usize, &'static [Option<u64>], Option<Time>);

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000_000)
    }

    #[test]
    fn a_right_ends_with_the_last_confirmation_that_quorum_needs() {
        let table: [LeaseRow; 9] = [
            (&[(100, 1)], 1, at(100)),
            (&[], 1, Time::ZERO),
            (&[(100, 1), (103, 1)], 1, at(103)),
            (&[(100, 1), (103, 1)], 2, at(100)),
            (&[(100, 1)], 2, Time::ZERO),
            (&[(100, 1), (101, 1), (102, 1), (103, 1)], 2, at(102)),
            (&[], 0, Time::NEVER),
            (&[(100, 2)], 2, at(100)),
            (&[(100, 2), (103, 1)], 2, at(100)),
        ];
        for (confirmed, needed, expected) in table {
            let confirmed: Vec<(Time, u32)> = confirmed.iter().map(|(s, v)| (at(*s), *v)).collect();
            assert_eq!(
                lease_end(&confirmed, needed),
                expected,
                "{confirmed:?}, {needed} needed"
            );
        }
    }

    /// bob was heard from an address of the group.
    #[test]
    fn a_ping_node_that_is_a_member_has_no_vote() {
        let nodes = ["alice", "bob"].map(NodeName::new);
        let timing = Timing::usual(Duration::from_secs(1), Duration::from_secs(10));
        let mut cluster = Cluster::new(&nodes, timing);
        let address: IpAddr = "10.0.0.2".parse().unwrap();
        cluster.pings = vec![PingNode {
            name: "group".to_owned(),
            addresses: vec!["10.0.0.9".parse().unwrap(), address],
        }];
        let record = MachineRecord {
            addresses: vec![address],
            ..MachineRecord::default()
        };
        let kept = |machines: &[(NodeName, MachineRecord)]| PersistentState {
            machines: machines.iter().cloned().collect(),
            ..PersistentState::default()
        };
        let pong = Event::Pong {
            ping: 0,
            sent: at(1),
        };
        let (mut engine, _) = Engine::new(cluster.clone(), kept(&[]), Time::ZERO);
        let _orders = engine.handle(at(1), pong.clone());
        assert!(engine.status(at(1)).pings[0].up);

        let kept = kept(&[(nodes[1].clone(), record)]);
        let (mut engine, _) = Engine::new(cluster, kept, Time::ZERO);
        let orders = engine.handle(at(1), pong);
        let told = What::PingIsMember("group".to_owned(), nodes[1].clone());
        let tells = |o: &Action| matches!(o, Action::Record(decision) if decision.what == told);
        assert!(orders.iter().any(tells), "{orders:?}");
        let ping = &engine.status(at(1)).pings[0];
        assert_eq!((ping.up, ping.member.as_ref()), (false, Some(&nodes[1])));
        assert_eq!(engine.view.pings[0].answered, None);
    }

    #[test]
    fn the_arbiter_confirms_with_more_than_half_of_the_ping_nodes() {
        let ping = |answered: &Option<u64>| Ping {
            name: "gateway".to_owned(),
            answered: answered.map(at),
            up: answered.is_some(),
            member: None,
        };
        let table: [ArbiterRow; 5] = [
            (2, &[Some(5)], Some(at(5))),
            (2, &[Some(5), None], None),
            (2, &[Some(5), Some(7)], Some(at(5))),
            (2, &[Some(5), Some(7), Some(9)], Some(at(7))),
            (3, &[Some(5)], None),
        ];
        for (nodes, answered, expected) in table {
            let pings: Vec<Ping> = answered.iter().map(ping).collect();
            let shares = VoteShares::new(nodes, pings.len());
            let told = format!("{nodes} nodes, {answered:?}");
            assert_eq!(newest_arbiter_answer(&pings, shares), expected, "{told}");
        }
    }
}
