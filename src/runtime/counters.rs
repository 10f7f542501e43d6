//! Events that are counted instead of logged, because anybody on the network decides how often they happen.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::source_filter::Unexpected;
use crate::model::Time;
use crate::model::status::{Liveness, NodeStatus, Note, OLD_HEARTBEATS, Status};
use crate::sys::clock;
use crate::wire::Refused;

/// For how long status tells of a datagram with another key.
const TELL_OTHER_KEY: Duration = Duration::from_secs(30);

/// The counters of the heartbeat thread.
#[derive(Debug, Default)]
pub struct Counters {
    sent: AtomicU64,
    accepted: AtomicU64,
    queue_full: AtomicU64,
    receive_failed: AtomicU64,
    rejected: Mutex<BTreeMap<Refused, u64>>,
    /// The last datagram that was signed with another key: when, from where, and what was wrong.
    other_key: Mutex<Option<(Time, IpAddr, Refused)>>,
    unknown_nodes: AtomicU64,
    unexpected_source: AtomicU64,
    unexpected_ttl: AtomicU64,
    old_heartbeats: AtomicU64,
}

impl Counters {
    /// A heartbeat was sent. It is counted once, however many links it goes out on.
    pub fn heartbeat_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// A heartbeat was authenticated and new.
    pub fn heartbeat_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// A heartbeat was dropped because the queue to the engine was full.
    pub fn queue_full(&self) {
        self.queue_full.fetch_add(1, Ordering::Relaxed);
    }

    /// Reading a socket failed.
    pub fn receive_failed(&self) {
        self.receive_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// A heartbeat came from a node that ha.cf does not name.
    pub fn unknown_node(&self) {
        self.unknown_nodes.fetch_add(1, Ordering::Relaxed);
    }

    /// A heartbeat was no newer than the last of its sender on that link.
    pub fn old_heartbeat(&self) {
        self.old_heartbeats.fetch_add(1, Ordering::Relaxed);
    }

    /// A datagram was dropped unread; true when it is the first of its kind.
    pub fn datagram_dropped(&self, why: Unexpected) -> bool {
        let counter = match why {
            Unexpected::Source => &self.unexpected_source,
            Unexpected::Ttl => &self.unexpected_ttl,
        };
        counter.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// A datagram was rejected; true when it is the first of its kind.
    pub fn datagram_rejected(&self, why: Refused, from: IpAddr) -> bool {
        if matches!(why, Refused::BadDigest | Refused::UnknownKey(_)) {
            let mut last = self
                .other_key
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *last = Some((clock::now(), from, why));
        }
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        let count = rejected.entry(why).or_default();
        *count += 1;
        *count == 1
    }

    /// Adds the counters to a status, and tells of each silent node if datagrams with another key arrive: they may be its own.
    pub fn add_to(&self, status: &mut Status, now: Time) {
        for (name, count) in self.non_zero() {
            *status.counters.entry(name).or_default() += count;
        }
        let last = self
            .other_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let recent = last.filter(|(at, ..)| now < *at + TELL_OTHER_KEY);
        let silent = |n: &&mut NodeStatus| matches!(n.liveness, Liveness::Init | Liveness::Dead);
        if let Some((_, from, why)) = recent {
            for node in status.nodes.iter_mut().filter(silent) {
                let text = format!("is not heard, and datagrams from {from} are refused: {why}");
                node.notes.push(Note::new("other-key", text));
            }
        }
    }

    /// The counters that are not zero, for status.
    fn non_zero(&self) -> BTreeMap<String, u64> {
        let named = [
            ("heartbeats sent", &self.sent),
            ("heartbeats believed", &self.accepted),
            (
                "heartbeats dropped because the queue was full",
                &self.queue_full,
            ),
            ("errors while receiving", &self.receive_failed),
            (
                "heartbeats of nodes that ha.cf does not name",
                &self.unknown_nodes,
            ),
            (OLD_HEARTBEATS, &self.old_heartbeats),
            (
                "datagrams dropped unread: not from an address of a peer",
                &self.unexpected_source,
            ),
            (
                "datagrams dropped unread: from farther away than the peer",
                &self.unexpected_ttl,
            ),
        ];
        let mut counts: BTreeMap<String, u64> = named
            .iter()
            .map(|(name, n)| ((*name).to_owned(), n.load(Ordering::Relaxed)))
            .collect();
        let rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        counts.extend(
            rejected
                .iter()
                .map(|(why, n)| (format!("datagrams refused: {why}"), *n)),
        );
        counts.retain(|_, n| *n > 0);
        counts
    }
}
