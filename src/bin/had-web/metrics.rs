//! The metrics: the last status, if it is fresh, as families of samples.
//!
//! Labels are names of the configuration and words of a fixed list, so their number has a bound. A gauge of 1 or 0 says
//! whether something is so. A family without a sample is not shown.

mod cluster;
mod counters;
mod fencing;
mod groups;
mod histograms;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use had::model::status::{Distribution, Status};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::view::View;
use histograms::Histograms;

/// The labels of one sample.
type Labels = Vec<(&'static str, String)>;
type GaugeFamily = Family<Labels, Gauge<f64, AtomicU64>>;

/// The two formats that scrapers understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The older text format of Prometheus.
    PrometheusText,
}

impl Format {
    /// What the client accepts; the older format if it does not say.
    pub fn accepted(accept: &str) -> Format {
        if accept.contains("application/openmetrics-text") {
            Format::OpenMetrics
        } else {
            Format::PrometheusText
        }
    }

    /// Its name in a header.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::PrometheusText => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All metrics of this moment.
pub fn render(view: &View, format: Format) -> Result<String, fmt::Error> {
    let mut families = Families(Registry::with_prefix("had"));
    let fresh = view.fresh().ok();
    families.gauge(
        "up",
        "Whether the daemon had on this node answers.",
        [(vec![], number(fresh.is_some()))],
    );
    families.seconds(
        "status_age",
        "Age of what these metrics tell. It grows while the daemon is silent. None before its first answer.",
        view.age().map(|age| (vec![], age)),
    );
    families.gauge(
        "build_info",
        "The version of had-web.",
        [(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)],
    );
    // What a silent daemon said last may no longer be true.
    if let Some(answer) = fresh {
        families.add_status(&answer.status);
    }
    let mut page = String::new();
    match format {
        Format::OpenMetrics => text::encode(&mut page, &families.0)?,
        Format::PrometheusText => prometheus_text::encode(&mut page, &families.0)?,
    }
    Ok(page)
}

struct Families(Registry);

impl Families {
    fn add_status(&mut self, status: &Status) {
        cluster::add(self, status);
        fencing::add(self, status);
        groups::add(self, status);
        counters::add(self, status);
    }

    fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        let family = GaugeFamily::default();
        for (labels, value) in samples {
            family.get_or_create(&labels).set(value);
        }
        self.0.register(name, without_stop(help), family);
    }

    /// A gauge in seconds; its name gets that suffix.
    fn seconds(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, Duration)>,
    ) {
        let family = GaugeFamily::default();
        for (labels, time) in samples {
            family.get_or_create(&labels).set(time.as_secs_f64());
        }
        let help = without_stop(help);
        self.0.register_with_unit(name, help, Unit::Seconds, family);
    }

    /// A histogram in seconds; its name gets that suffix.
    fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, Distribution)>,
    ) {
        let collector = Histograms {
            name,
            help,
            // A daemon of an earlier version does not count them.
            samples: samples
                .into_iter()
                .filter(|(_, d)| !d.buckets.is_empty())
                .collect(),
        };
        self.0.register_collector(Box::new(collector));
    }

    /// A counter; its name gets the suffix `_total`. It begins anew with the daemon.
    fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let family = Family::<Labels, Counter>::default();
        for (labels, count) in samples {
            family.get_or_create(&labels).inc_by(count);
        }
        self.0.register(name, without_stop(help), family);
    }
}

/// The encoder ends a help text with a full stop itself.
fn without_stop(help: &str) -> &str {
    help.trim_end_matches('.')
}

/// 1 for yes, 0 for no.
fn number(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// One label.
fn label(name: &'static str, value: &(impl ToString + ?Sized)) -> (&'static str, String) {
    (name, value.to_string())
}

#[cfg(test)]
mod tests;
