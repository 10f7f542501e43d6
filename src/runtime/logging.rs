//! Where log lines go: standard error or journald, `logfile`, `debugfile` and syslog, as ha.cf says. Only the slow side
//! logs; the heartbeat thread hands its lines over.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Logging;
use crate::sys::local_time::LocalTime;

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

/// Sets the log up for the life of the process. What could not be opened is given back as sentences.
pub fn begin(logging: &Logging) -> Vec<String> {
    let mut troubles = Vec::new();
    let debug = if logging.debug > 0 {
        LevelFilter::DEBUG
    } else {
        LevelFilter::INFO
    };
    let mut layers: Vec<Boxed> = vec![console(debug)];
    for (path, level) in [
        (&logging.logfile, LevelFilter::INFO),
        (&logging.debugfile, debug),
    ] {
        let Some(path) = path else { continue };
        match Reopened::open(path) {
            Ok(file) => layers.push(lines(file, level)),
            Err(e) => troubles.push(format!("cannot write {}: {e}", path.display())),
        }
    }
    if let Some(facility) = &logging.logfacility {
        match Syslog::open(facility) {
            Ok(syslog) => layers.push(Box::new(syslog.with_filter(LevelFilter::INFO))),
            Err(e) => troubles.push(format!("cannot log to syslog ({facility}): {e}")),
        }
    }
    if tracing_subscriber::registry()
        .with(layers)
        .try_init()
        .is_err()
    {
        troubles.push("the log was set up before".to_owned());
    }
    troubles
}

/// journald when it reads our standard error, a plain line otherwise.
fn console(level: LevelFilter) -> Boxed {
    if std::env::var_os("JOURNAL_STREAM").is_some()
        && let Ok(journald) = tracing_journald::layer()
    {
        return Box::new(
            journald
                .with_syslog_identifier("had".to_owned())
                .with_filter(level),
        );
    }
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_timer(WallClock);
    Box::new(layer.with_filter(level))
}

fn lines(file: Reopened, level: LevelFilter) -> Boxed {
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(file)
        .with_ansi(false)
        .with_target(false)
        .with_timer(WallClock);
    Box::new(layer.with_filter(level))
}

/// Local wall-clock time, for people.
struct WallClock;

impl FormatTime for WallClock {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        write!(w, "{}", LocalTime::now())
    }
}

/// A log file that is opened anew for each line, so that a rotation needs no signal.
#[derive(Clone, Debug)]
struct Reopened(Arc<Path>);

impl Reopened {
    fn open(path: &Path) -> io::Result<Reopened> {
        append_to(path)?;
        Ok(Reopened(path.into()))
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl<'a> MakeWriter<'a> for Reopened {
    type Writer = Box<dyn Write + 'a>;
    fn make_writer(&'a self) -> Self::Writer {
        // A full disk or a missing folder must not end the daemon: the line still goes to the console.
        match append_to(&self.0) {
            Ok(file) => Box::new(file),
            Err(_) => Box::new(io::sink()),
        }
    }
}

/// RFC 3164 lines to /dev/log.
struct Syslog {
    socket: Mutex<UnixDatagram>,
    facility: u8,
}

impl Syslog {
    fn open(facility: &str) -> io::Result<Syslog> {
        let socket = UnixDatagram::unbound()?;
        socket.connect("/dev/log")?;
        socket.set_nonblocking(true)?;
        let facility = facility_code(facility).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Syslog {
            socket: Mutex::new(socket),
            facility,
        })
    }
}

/// The facilities of RFC 3164, section 4.1.1, by their names in syslog.conf.
fn facility_code(name: &str) -> Option<u8> {
    const NAMES: [&str; 12] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp",
    ];
    if let Some(local) = name
        .strip_prefix("local")
        .and_then(|n| n.parse::<u8>().ok())
        .filter(|n| *n < 8)
    {
        return Some(16 + local);
    }
    NAMES
        .iter()
        .position(|n| *n == name)
        .and_then(|at| u8::try_from(at).ok())
}

impl<S: tracing::Subscriber> Layer<S> for Syslog {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let severity = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        let mut text = Message(String::new());
        event.record(&mut text);
        let line = format!(
            "<{}>had[{}]: {}",
            self.facility * 8 + severity,
            std::process::id(),
            text.0
        );
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if socket.send(line.as_bytes()).is_err() && socket.connect("/dev/log").is_ok() {
            // The log daemon was restarted; when it is not there the console has the line.
            drop(socket.send(line.as_bytes()));
        }
    }
}

/// The sentence of an event.
struct Message(String);

impl tracing::field::Visit for Message {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write;
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
mod tests {
    use super::*;

    #[test]
    fn facilities_have_the_numbers_of_the_standard() {
        for (name, code) in [
            ("kern", Some(0)),
            ("daemon", Some(3)),
            ("local0", Some(16)),
            ("local7", Some(23)),
        ] {
            assert_eq!(facility_code(name), code);
        }
        for wrong in ["local8", "local", "none", ""] {
            assert_eq!(facility_code(wrong), None, "{wrong}");
        }
    }
}
