//! Writes the log to standard error or journald, and to `logfile`, `debugfile` and syslog as ha.cf says. Each target has a
//! thread of its own, because writing may block. The heartbeat thread sends its lines by way of the slow half.

mod sink;
mod target;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Logging;
use crate::sys::local_time::LocalTime;
use crate::text::{mask_secrets, printable_lines};
use sink::LogSink;
use target::{LogLine, LogTarget};

/// Time to write the last lines when the daemon ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// All targets of the log.
pub struct Log(Vec<LogSink>);

/// Sets up the log for the life of the process. A sentence is returned for each target that could not be opened.
pub fn start(logging: &Logging) -> (Arc<Log>, Vec<String>) {
    let debug = if logging.debug > 0 {
        LevelFilter::DEBUG
    } else {
        LevelFilter::INFO
    };
    let mut problems = Vec::new();
    let mut sinks = Vec::new();
    let mut add = |(sink, problem): (Option<LogSink>, Option<String>)| {
        sinks.extend(sink);
        problems.extend(problem);
    };
    add(match LogTarget::journal() {
        Some(journal) => LogSink::start("journald".into(), debug, || Ok(journal)),
        None => LogSink::start("standard error".into(), debug, || Ok(LogTarget::console())),
    });
    for (path, level) in [
        (&logging.logfile, LevelFilter::INFO),
        (&logging.debugfile, debug),
    ] {
        let Some(path) = path.clone() else { continue };
        let name = path.display().to_string();
        add(LogSink::start(name, level, || LogTarget::file(path)));
    }
    if let Some(facility) = logging.logfacility.clone() {
        let name = format!("syslog ({facility})");
        let open = move || LogTarget::syslog(&facility);
        add(LogSink::start(name, LevelFilter::INFO, open));
    }
    let log = Arc::new(Log(sinks));
    let layer = LogLayer(Arc::clone(&log)).with_filter(debug);
    if tracing_subscriber::registry()
        .with(layer)
        .try_init()
        .is_err()
    {
        problems.push("internal error: logging was already initialised; the log directives of ha.cf have no effect".to_owned());
    }
    (log, problems)
}

impl Log {
    /// The number of lost lines by target, for status.
    pub fn lost(&self) -> impl Iterator<Item = (String, u64)> {
        let counted = self.0.iter().map(|s| (s.name.as_str(), s.lost()));
        let lost = counted.filter(|(_, n)| *n > 0);
        lost.map(|(name, n)| (format!("log lines lost, not written to {name}"), n))
    }

    fn write(&self, line: LogLine) {
        let line = Arc::new(line);
        let wants = |s: &&LogSink| s.level >= line.level;
        let just_filled: Vec<&LogSink> = self
            .0
            .iter()
            .filter(wants)
            .filter(|s| s.push(&line))
            .collect();
        for sink in just_filled {
            let text = format!(
                "{} does not accept log lines; they are dropped and counted in hactl status. The cluster is not affected.",
                sink.name
            );
            let warning = Arc::new(LogLine {
                level: Level::WARN,
                when: line.when.clone(),
                text,
            });
            for other in self.0.iter().filter(|s| s.name != sink.name) {
                // A target that is full, too, has been or will be reported itself.
                other.push(&warning);
            }
        }
    }
}

/// Waits until the last lines are written, when it is dropped.
pub struct FlushOnDrop(pub Arc<Log>);

impl Drop for FlushOnDrop {
    fn drop(&mut self) {
        let until = Instant::now() + FLUSH_TIMEOUT;
        for sink in &self.0.0 {
            sink.flush(until);
        }
    }
}

/// Turns each tracing event into a line.
struct LogLayer(Arc<Log>);

impl<S: tracing::Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut event_text = EventText(String::new());
        event.record(&mut event_text);
        self.0.write(LogLine {
            level: *event.metadata().level(),
            when: LocalTime::now().to_string(),
            text: printable_lines(&mask_secrets(&event_text.0)),
        });
    }
}

/// The text of a tracing event.
struct EventText(String);

impl tracing::field::Visit for EventText {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write;
        // Libraries that use the crate `log` name their module and file in these fields.
        if field.name().starts_with("log.") {
            return;
        }
        let written = if field.name() == "message" {
            write!(self.0, "{value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
        if written.is_err() {
            self.0.push_str("(cannot be shown)");
        }
    }
}

#[cfg(test)]
mod tests;
