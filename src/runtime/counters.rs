//! What is counted rather than logged: strangers decide how often it happens.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::model::status::OLD_HEARTBEATS;
use crate::wire::Refused;

/// The counters of the heartbeat thread.
#[derive(Debug, Default)]
pub struct Counters {
    sent: AtomicU64,
    believed: AtomicU64,
    overrun: AtomicU64,
    receive_failed: AtomicU64,
    refused: Mutex<BTreeMap<Refused, u64>>,
    strangers: AtomicU64,
    old: AtomicU64,
}

impl Counters {
    /// A heartbeat went out (on every link, counted once).
    pub fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// A heartbeat was believed.
    pub fn believed(&self) {
        self.believed.fetch_add(1, Ordering::Relaxed);
    }

    /// A believed heartbeat found the queue to the engine full.
    pub fn overrun(&self) {
        self.overrun.fetch_add(1, Ordering::Relaxed);
    }

    /// A socket gave an error instead of a datagram.
    pub fn receive_failed(&self) {
        self.receive_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// A heartbeat of a node that ha.cf does not name.
    pub fn stranger(&self) {
        self.strangers.fetch_add(1, Ordering::Relaxed);
    }

    /// A heartbeat was no newer than the last of its sender on that link.
    pub fn old(&self) {
        self.old.fetch_add(1, Ordering::Relaxed);
    }

    /// A datagram was refused; true when it is the first of its kind.
    pub fn refused(&self, why: Refused) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let count = refused.entry(why).or_default();
        *count += 1;
        *count == 1
    }

    /// All that is not zero, for status.
    pub fn shown(&self) -> BTreeMap<String, u64> {
        let named = [
            ("heartbeats sent", &self.sent),
            ("heartbeats believed", &self.believed),
            (
                "heartbeats dropped because the queue was full",
                &self.overrun,
            ),
            ("errors while receiving", &self.receive_failed),
            (
                "heartbeats of nodes that ha.cf does not name",
                &self.strangers,
            ),
            (OLD_HEARTBEATS, &self.old),
        ];
        let mut shown: BTreeMap<String, u64> = named
            .iter()
            .map(|(name, n)| ((*name).to_owned(), n.load(Ordering::Relaxed)))
            .collect();
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        shown.extend(
            refused
                .iter()
                .map(|(why, n)| (format!("datagrams refused: {why}"), *n)),
        );
        shown.retain(|_, n| *n > 0);
        shown
    }
}
