//! How long a client was without an answer, by what was done to the cluster.

use std::collections::BTreeMap;
use std::time::Duration;

/// Shorter ones are the noise of a busy machine.
#[derive(Default)]
pub struct Outages(BTreeMap<String, Vec<Duration>>);

impl Outages {
    pub fn add(&mut self, kind: String, outage: Duration) {
        self.0.entry(kind).or_default().push(outage);
    }

    /// A line for each kind: how often, median and longest.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<42} {:>5} {:>9} {:>9}\n",
            "the client's longest outage after", "count", "median", "longest"
        );
        for (kind, times) in &self.0 {
            let mut times = times.clone();
            times.sort();
            text += &format!(
                "{kind:<42} {:>5} {:>6} ms {:>6} ms\n",
                times.len(),
                times[times.len() / 2].as_millis(),
                times.last().unwrap().as_millis()
            );
        }
        text
    }
}
