//! How often lengths of time fell between fixed bounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{maybe_milliseconds, milliseconds};

/// Counts of lengths of time by size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// The sum of all.
    #[serde(with = "milliseconds")]
    pub sum: Duration,
    /// The counts, from the shortest to the longest.
    pub buckets: Vec<Bucket>,
}

/// How many were longer than those of the bucket before, and not longer than this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// The longest that it counts; none for the last one.
    #[serde(with = "maybe_milliseconds", default)]
    pub up_to: Option<Duration>,
    /// The count.
    pub count: u64,
}

impl Distribution {
    /// Empty, with these bounds in milliseconds, from the shortest to the longest.
    pub fn new(bounds: &[u64]) -> Self {
        let bounds = bounds.iter().map(|ms| Some(Duration::from_millis(*ms)));
        let bucket = |up_to| Bucket { up_to, count: 0 };
        Distribution {
            sum: Duration::ZERO,
            buckets: bounds.chain([None]).map(bucket).collect(),
        }
    }

    /// Counts one.
    pub fn add(&mut self, time: Duration) {
        self.sum = self.sum.saturating_add(time);
        let fits = |b: &&mut Bucket| b.up_to.is_none_or(|up_to| time <= up_to);
        if let Some(bucket) = self.buckets.iter_mut().find(fits) {
            bucket.count = bucket.count.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_in_the_first_bucket_that_it_fits() {
        let mut all = Distribution::new(&[10, 100]);
        for ms in [10, 11, 100, 101, 5] {
            all.add(Duration::from_millis(ms));
        }
        let counts: Vec<u64> = all.buckets.iter().map(|b| b.count).collect();
        assert_eq!(counts, [2, 2, 1]);
        assert_eq!(all.sum, Duration::from_millis(227));
        assert_eq!(all.buckets[2].up_to, None);
    }
}
