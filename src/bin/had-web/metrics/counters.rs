//! What the daemon counts: heartbeats, what it rejects, and its problems by kind.

use std::collections::BTreeMap;

use had::model::status::{OLD_HEARTBEATS, Status};

use super::{Families, label};

/// The beginnings of the daemon's names for datagrams that it rejects, and a word for each. The names go on with details.
const REJECTED: [(&str, &str); 9] = [
    ("datagrams dropped unread: not from", "unexpected-source"),
    ("datagrams dropped unread: from farther", "too-far-away"),
    ("datagrams refused: the datagram is longer", "too-long"),
    ("datagrams refused: malformed", "malformed"),
    ("datagrams refused: signed with key", "unknown-key"),
    ("datagrams refused: the digest", "bad-digest"),
    ("datagrams refused: a heartbeat of another", "other-cluster"),
    ("datagrams refused: a message of a heartbeat", "heartbeat-3"),
    (
        "datagrams refused: a heartbeat in a format",
        "other-version",
    ),
];
/// The same for heartbeats that are authentic and of no use.
const DROPPED: [(&str, &str); 3] = [
    ("heartbeats dropped because the queue", "queue-full"),
    (OLD_HEARTBEATS, "old"),
    ("heartbeats of nodes that", "unknown-node"),
];

/// Adds the counters.
pub(super) fn add(to: &mut Families, status: &Status) {
    let named = |name: &str| {
        let found = status.counters.get(name).copied();
        [(vec![], found.unwrap_or_default())]
    };
    to.counter(
        "heartbeats_sent",
        "Heartbeats that this node has sent.",
        named("heartbeats sent"),
    );
    to.counter(
        "heartbeats_accepted",
        "Heartbeats of other nodes that were authentic and new.",
        named("heartbeats believed"),
    );
    to.counter(
        "receive_errors",
        "Errors while datagrams were received.",
        named("errors while receiving"),
    );
    let mut rejected = by_word(status, &REJECTED);
    let refused = |name: &&String| name.starts_with("datagrams refused: ");
    let unknown = status.counters.iter().filter(|(name, _)| refused(name));
    let unknown = unknown.filter(|(name, _)| word_of(name, &REJECTED).is_none());
    rejected.insert("other", unknown.map(|(_, n)| *n).sum());
    let samples = |counts: BTreeMap<&'static str, u64>| {
        let sample = |(word, n)| (vec![label("reason", word)], n);
        counts.into_iter().map(sample).collect::<Vec<_>>()
    };
    to.counter(
        "datagrams_rejected",
        "Datagrams that were no authentic heartbeat of this cluster, by reason.",
        samples(rejected),
    );
    to.counter(
        "heartbeats_dropped",
        "Authentic heartbeats that were of no use, by reason.",
        samples(by_word(status, &DROPPED)),
    );
    to.gauge(
        "problems",
        "Problems on the status page, by kind; hactl(8) lists the kinds.",
        problems(status),
    );
}

fn word_of(name: &str, words: &[(&'static str, &'static str)]) -> Option<&'static str> {
    let fits = words.iter().find(|(begin, _)| name.starts_with(begin));
    fits.map(|(_, word)| *word)
}

/// The sums of the counters by word; a word without a counter has 0, so that an increase can be seen.
fn by_word(status: &Status, words: &[(&'static str, &'static str)]) -> BTreeMap<&'static str, u64> {
    let mut sums: BTreeMap<_, _> = words.iter().map(|(_, word)| (*word, 0)).collect();
    for (name, count) in &status.counters {
        if let Some(word) = word_of(name, words) {
            *sums.entry(word).or_default() += count;
        }
    }
    sums
}

fn problems(status: &Status) -> impl Iterator<Item = (super::Labels, f64)> {
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    for problem in status.problems() {
        *counts.entry(problem.id.to_string()).or_default() += 1.0;
    }
    counts
        .into_iter()
        .map(|(id, n)| (vec![label("kind", &id)], n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use had::wire::Refused;

    /// If the daemon words a reason anew, its metric must not become `other` unseen.
    #[test]
    fn every_reason_of_the_daemon_has_its_word() {
        let reasons = [
            Refused::TooLong,
            Refused::Malformed("no end"),
            Refused::UnknownKey(7),
            Refused::BadDigest,
            Refused::OtherCluster,
            Refused::ForeignHeartbeat,
            Refused::OtherVersion,
        ];
        let words: Vec<_> = reasons
            .iter()
            .map(|why| word_of(&format!("datagrams refused: {why}"), &REJECTED))
            .collect();
        assert!(words.iter().all(Option::is_some), "{words:?}");
    }
}
