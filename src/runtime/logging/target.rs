//! The targets of the log. Every write here may block, so each target has a thread of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use tracing::Level;

/// One line of the log.
#[derive(Clone, Debug)]
pub struct LogLine {
    pub level: Level,
    /// Local wall-clock time.
    pub when: String,
    pub text: String,
}

/// Where lines are written to.
#[derive(Debug)]
pub enum LogTarget {
    /// Standard error, in colours on a terminal.
    Console { colours: bool },
    /// A file, opened again for each line, so that log rotation needs no signal.
    File(PathBuf),
    /// Syslog: RFC 3164 lines to /dev/log.
    Syslog { socket: UnixDatagram, facility: u8 },
    /// journald, in its own protocol.
    Journal(UnixDatagram),
}

const SYSLOG: &str = "/dev/log";
const JOURNAL: &str = "/run/systemd/journal/socket";
/// The longest text that fits into a datagram in any case.
const MAX_TEXT_BYTES: usize = 48 * 1024;

impl LogTarget {
    /// Standard error.
    pub fn console() -> LogTarget {
        let colours = io::stderr().is_terminal();
        LogTarget::Console { colours }
    }

    /// A file. It is an error when it cannot be written now.
    pub fn file(path: PathBuf) -> io::Result<LogTarget> {
        append_to(&path)?;
        Ok(LogTarget::File(path))
    }

    /// The syslog daemon of this machine.
    pub fn syslog(facility: &str) -> io::Result<LogTarget> {
        let facility = facility_code(facility).ok_or(io::ErrorKind::InvalidInput)?;
        let socket = UnixDatagram::unbound()?;
        socket.connect(SYSLOG)?;
        Ok(LogTarget::Syslog { socket, facility })
    }

    /// journald, when it reads our standard error. Its own protocol also carries the priority of each line.
    pub fn journal() -> Option<LogTarget> {
        std::env::var_os("JOURNAL_STREAM")?;
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(JOURNAL).ok()?;
        Some(LogTarget::Journal(socket))
    }

    /// Writes a line. Blocks as long as the target does.
    pub fn write(&mut self, line: &LogLine) -> io::Result<()> {
        match self {
            LogTarget::Console { colours: true } => {
                io::stderr().write_all(in_colours(line).as_bytes())
            }
            LogTarget::Console { colours: false } => io::stderr().write_all(plain(line).as_bytes()),
            LogTarget::File(path) => append_to(path)?.write_all(plain(line).as_bytes()),
            LogTarget::Syslog { socket, facility } => {
                let number = *facility * 8 + severity(line.level);
                let text = format!(
                    "<{number}>had[{}]: {}",
                    std::process::id(),
                    truncated(&line.text)
                );
                send_datagram(socket, SYSLOG, text.as_bytes())
            }
            LogTarget::Journal(socket) => send_datagram(socket, JOURNAL, &journal_entry(line)),
        }
    }
}

fn append_to(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Sends a datagram, and connects again first when the log daemon was restarted.
fn send_datagram(socket: &UnixDatagram, path: &str, bytes: &[u8]) -> io::Result<()> {
    if socket.send(bytes).is_err() {
        socket.connect(path)?;
        socket.send(bytes)?;
    }
    Ok(())
}

fn plain(line: &LogLine) -> String {
    format!("{} {:>5} {}\n", line.when, line.level.as_str(), line.text)
}

fn in_colours(line: &LogLine) -> String {
    let colour = match line.level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG | Level::TRACE => 34,
    };
    let (when, level, text) = (&line.when, line.level.as_str(), &line.text);
    format!("\x1b[2m{when}\x1b[0m \x1b[{colour}m{level:>5}\x1b[0m {text}\n")
}

fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

fn truncated(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Fields as `NAME=value`. The text may have line breaks, so its length goes before it.
fn journal_entry(line: &LogLine) -> Vec<u8> {
    let text = truncated(&line.text);
    let length = u64::try_from(text.len()).unwrap_or_default();
    let mut entry = format!(
        "PRIORITY={}\nSYSLOG_IDENTIFIER=had\nMESSAGE\n",
        severity(line.level)
    )
    .into_bytes();
    entry.extend(length.to_le_bytes());
    entry.extend(text.as_bytes());
    entry.push(b'\n');
    entry
}

/// The number of a facility by its name in syslog.conf (RFC 3164, section 4.1.1).
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine {
            level: Level::WARN,
            when: "12:00".into(),
            text: text.into(),
        }
    }

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

    #[test]
    fn a_line_has_time_level_and_text() {
        assert_eq!(plain(&line("look")), "12:00  WARN look\n");
    }

    #[test]
    fn journald_gets_a_text_with_line_breaks_whole() {
        let entry = journal_entry(&line("a\nb"));
        let expected = b"PRIORITY=4\nSYSLOG_IDENTIFIER=had\nMESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n";
        assert_eq!(entry, expected);
    }

    #[test]
    fn a_very_long_text_is_cut_between_characters() {
        let text = "é".repeat(MAX_TEXT_BYTES);
        assert!(truncated(&text).len() <= MAX_TEXT_BYTES && !truncated(&text).is_empty());
        assert_eq!(truncated("short"), "short");
    }
}
