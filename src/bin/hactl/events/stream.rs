//! Which decisions of an answer were not in the answers before.

use had::control::api::HISTORY_MAX;
use had::model::journal::Entry;

/// The newest decisions so far.
#[derive(Default)]
pub struct Seen(Vec<Entry>);

impl Seen {
    /// Takes an answer in, and returns what is new in it. Where the journal has lost what was shown last, that is what comes after
    /// the last decision that was shown.
    pub fn add(&mut self, answer: Vec<Entry>) -> Vec<Entry> {
        let joint = self.known_in(&answer);
        let known = joint.unwrap_or_else(|| self.last_seen_in(&answer).map_or(0, |at| at + 1));
        if joint.is_none() && !answer.is_empty() {
            self.0 = answer.iter().take(known).cloned().collect();
        }
        let newer: Vec<Entry> = answer.into_iter().skip(known).collect();
        self.0.extend(newer.iter().cloned());
        let most = self.0.len().saturating_sub(HISTORY_MAX);
        self.0.drain(..most);
        newer
    }

    /// Whether an answer begins with something that was seen, so that nothing is missing between.
    pub fn joins(&self, answer: &[Entry]) -> bool {
        self.0.is_empty() || answer.is_empty() || self.known_in(answer).is_some()
    }

    /// Where the last decision of an answer is that was seen.
    pub fn last_seen_in(&self, answer: &[Entry]) -> Option<usize> {
        answer.iter().rposition(|entry| self.0.contains(entry))
    }

    /// How many at the beginning of an answer were seen. Two decisions may be equal, even to the millisecond, so a whole
    /// stretch is compared.
    fn known_in(&self, answer: &[Entry]) -> Option<usize> {
        (1..=answer.len()).rev().find(|count| {
            let part = answer.iter().take(*count).rev();
            part.zip(self.0.iter().rev()).all(|(a, b)| a == b) && !self.0.is_empty()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use had::model::decision::{Because, Decision, What};

    fn entries(times: &[u64]) -> Vec<Entry> {
        let entry = |at: &u64| Entry::new(*at, Decision::node(What::Joined, Because::AllHeard));
        times.iter().map(entry).collect()
    }

    fn times(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.at_ms).collect()
    }

    #[test]
    fn each_decision_is_new_once() {
        let mut seen = Seen::default();
        assert_eq!(times(&seen.add(entries(&[1, 2]))), [1, 2]);
        assert_eq!(times(&seen.add(entries(&[1, 2]))), [] as [u64; 0]);
        // The second answer no longer has the first one.
        assert_eq!(times(&seen.add(entries(&[2, 3, 4]))), [3, 4]);
        // The wall clock was set back.
        assert_eq!(times(&seen.add(entries(&[3, 4, 1]))), [1]);
    }

    #[test]
    fn equal_decisions_are_counted() {
        let mut seen = Seen::default();
        seen.add(entries(&[1, 5, 5]));
        assert_eq!(times(&seen.add(entries(&[1, 5, 5, 5]))), [5]);
        assert_eq!(times(&seen.add(entries(&[5, 5, 5, 6]))), [6]);
    }

    #[test]
    fn a_new_journal_is_all_new_and_a_gap_is_noticed() {
        let mut seen = Seen::default();
        assert!(seen.joins(&entries(&[7, 8])));
        seen.add(entries(&[1, 2, 3]));
        assert!(seen.joins(&entries(&[3, 4])));
        assert!(!seen.joins(&entries(&[7, 8])));
        assert_eq!(times(&seen.add(entries(&[7, 8]))), [7, 8]);
        assert_eq!(times(&seen.add(entries(&[]))), [] as [u64; 0]);
        assert!(seen.joins(&[]));
    }

    #[test]
    fn what_the_journal_lost_does_not_make_the_rest_new() {
        let mut seen = Seen::default();
        seen.add(entries(&[1, 2, 3, 4, 5]));
        let answer = entries(&[1, 2, 3, 6, 7]);
        assert!(!seen.joins(&answer));
        assert_eq!(seen.last_seen_in(&answer), Some(2));
        assert_eq!(times(&seen.add(answer)), [6, 7]);
        // It is told once.
        let answer = entries(&[1, 2, 3, 6, 7, 8]);
        assert!(seen.joins(&answer));
        assert_eq!(times(&seen.add(answer)), [8]);
    }
}
