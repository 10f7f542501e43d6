//! Where log lines go: standard error or journald, `logfile`, `debugfile` and syslog, as ha.cf says. Only the slow side
//! logs; the heartbeat thread hands its lines over. And even the slow side only hands them on: each place has a thread.

mod place;
mod sink;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Logging;
use crate::sys::local_time::LocalTime;
use crate::text::printable_lines;
use place::{Line, Place};
use sink::Sink;

/// How long the last lines may take at the end of the daemon.
const ENDS: Duration = Duration::from_secs(1);

/// All places of the log.
pub struct Log(Vec<Sink>);

/// Sets the log up for the life of the process. What could not be opened is given back as sentences.
pub fn begin(logging: &Logging) -> (Arc<Log>, Vec<String>) {
    let debug = if logging.debug > 0 {
        LevelFilter::DEBUG
    } else {
        LevelFilter::INFO
    };
    let mut troubles = Vec::new();
    let mut sinks = Vec::new();
    let mut add = |(sink, trouble): (Option<Sink>, Option<String>)| {
        sinks.extend(sink);
        troubles.extend(trouble);
    };
    add(match Place::journal() {
        Some(journal) => Sink::start("journald".into(), debug, || Ok(journal)),
        None => Sink::start("standard error".into(), debug, || Ok(Place::console())),
    });
    for (path, level) in [
        (&logging.logfile, LevelFilter::INFO),
        (&logging.debugfile, debug),
    ] {
        let Some(path) = path.clone() else { continue };
        let name = path.display().to_string();
        add(Sink::start(name, level, || Place::file(path)));
    }
    if let Some(facility) = logging.logfacility.clone() {
        let name = format!("syslog ({facility})");
        let open = move || Place::syslog(&facility);
        add(Sink::start(name, LevelFilter::INFO, open));
    }
    let log = Arc::new(Log(sinks));
    let layer = Teller(Arc::clone(&log)).with_filter(debug);
    if tracing_subscriber::registry()
        .with(layer)
        .try_init()
        .is_err()
    {
        troubles.push("the log was set up before".to_owned());
    }
    (log, troubles)
}

impl Log {
    /// Lines that could not be written, by place; for status.
    pub fn lost(&self) -> impl Iterator<Item = (String, u64)> {
        let counted = self.0.iter().map(|s| (s.name.as_str(), s.lost()));
        let lost = counted.filter(|(_, n)| *n > 0);
        lost.map(|(name, n)| (format!("log lines lost, not written to {name}"), n))
    }

    fn tell(&self, line: Line) {
        let line = Arc::new(line);
        let wants = |s: &&Sink| s.level >= line.level;
        let stuck: Vec<&Sink> = self
            .0
            .iter()
            .filter(wants)
            .filter(|s| s.give(&line))
            .collect();
        for sink in stuck {
            let text = format!(
                "{} takes no log lines any more, it hangs: they are lost, and counted in hactl status; the cluster runs on",
                sink.name
            );
            let warning = Arc::new(Line {
                level: Level::WARN,
                when: line.when.clone(),
                text,
            });
            for other in self.0.iter().filter(|s| s.name != sink.name) {
                // One that is full as well has said so, or will.
                other.give(&warning);
            }
        }
    }
}

/// Lets the last lines be written, when it is dropped.
pub struct Ending(pub Arc<Log>);

impl Drop for Ending {
    fn drop(&mut self) {
        let until = Instant::now() + ENDS;
        for sink in &self.0.0 {
            sink.flush(until);
        }
    }
}

/// Makes a line of each event.
struct Teller(Arc<Log>);

impl<S: tracing::Subscriber> Layer<S> for Teller {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut sentence = Sentence(String::new());
        event.record(&mut sentence);
        self.0.tell(Line {
            level: *event.metadata().level(),
            when: LocalTime::now().to_string(),
            text: printable_lines(&sentence.0),
        });
    }
}

/// The sentence of an event.
struct Sentence(String);

impl tracing::field::Visit for Sentence {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write;
        // Whence a line of a library comes that speaks by way of the crate `log`.
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
