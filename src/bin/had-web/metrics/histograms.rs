//! Histograms that the daemon has counted: their counts are handed on.

use std::fmt;

use had::model::status::{Bucket, Distribution};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::Labels;

/// One family of histograms in seconds.
#[derive(Debug)]
pub(super) struct Histograms {
    pub name: &'static str,
    pub help: &'static str,
    pub samples: Vec<(Labels, Distribution)>,
}

impl Collector for Histograms {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        if self.samples.is_empty() {
            return Ok(());
        }
        let unit = Unit::Seconds;
        let mut family =
            encoder.encode_descriptor(self.name, self.help, Some(&unit), MetricType::Histogram)?;
        for (labels, all) in &self.samples {
            let bucket = |b: &Bucket| {
                let up_to = b.up_to.map_or(f64::INFINITY, |time| time.as_secs_f64());
                (up_to, b.count)
            };
            let buckets: Vec<(f64, u64)> = all.buckets.iter().map(bucket).collect();
            let count = buckets.iter().map(|(_, n)| *n).sum();
            let mut one = family.encode_family(labels)?;
            one.encode_histogram::<Labels>(all.sum.as_secs_f64(), count, &buckets, None)?;
        }
        Ok(())
    }
}
