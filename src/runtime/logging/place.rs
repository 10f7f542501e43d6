//! Where log lines end up. Every write here may hang; each place has a thread of its own for that.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use tracing::Level;

/// A sentence for the log.
#[derive(Clone, Debug)]
pub struct Line {
    pub level: Level,
    /// Local wall-clock time, for people.
    pub when: String,
    pub text: String,
}

/// One of the places.
#[derive(Debug)]
pub enum Place {
    /// Standard error; in colours on a terminal.
    Console { colours: bool },
    /// Opened anew for each line, so that a rotation needs no signal.
    File(PathBuf),
    /// RFC 3164 lines to /dev/log.
    Syslog { socket: UnixDatagram, facility: u8 },
    /// journald's own protocol.
    Journal(UnixDatagram),
}

const SYSLOG: &str = "/dev/log";
const JOURNAL: &str = "/run/systemd/journal/socket";
/// The longest sentence that is sure to fit a datagram.
const LONGEST: usize = 48 * 1024;

impl Place {
    /// Standard error.
    pub fn console() -> Place {
        let colours = io::stderr().is_terminal();
        Place::Console { colours }
    }

    /// A file that can be written now.
    pub fn file(path: PathBuf) -> io::Result<Place> {
        append_to(&path)?;
        Ok(Place::File(path))
    }

    /// The log daemon of the machine.
    pub fn syslog(facility: &str) -> io::Result<Place> {
        let facility = facility_code(facility).ok_or(io::ErrorKind::InvalidInput)?;
        let socket = UnixDatagram::unbound()?;
        socket.connect(SYSLOG)?;
        Ok(Place::Syslog { socket, facility })
    }

    /// journald, where it reads our standard error: it then knows more of each line than a text.
    pub fn journal() -> Option<Place> {
        std::env::var_os("JOURNAL_STREAM")?;
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(JOURNAL).ok()?;
        Some(Place::Journal(socket))
    }

    /// Writes a line, however long that takes.
    pub fn write(&mut self, line: &Line) -> io::Result<()> {
        match self {
            Place::Console { colours: true } => io::stderr().write_all(in_colours(line).as_bytes()),
            Place::Console { colours: false } => io::stderr().write_all(plain(line).as_bytes()),
            Place::File(path) => append_to(path)?.write_all(plain(line).as_bytes()),
            Place::Syslog { socket, facility } => {
                let number = *facility * 8 + severity(line.level);
                let text = format!("<{number}>had[{}]: {}", std::process::id(), cut(&line.text));
                send(socket, SYSLOG, text.as_bytes())
            }
            Place::Journal(socket) => send(socket, JOURNAL, &journal_entry(line)),
        }
    }
}

fn append_to(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// The daemon at the other end may have been restarted.
fn send(socket: &UnixDatagram, path: &str, bytes: &[u8]) -> io::Result<()> {
    if socket.send(bytes).is_err() {
        socket.connect(path)?;
        socket.send(bytes)?;
    }
    Ok(())
}

fn plain(line: &Line) -> String {
    format!("{} {:>5} {}\n", line.when, line.level.as_str(), line.text)
}

fn in_colours(line: &Line) -> String {
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

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Fields as `NAME=value`; the sentence may have line breaks, so its length goes before it.
fn journal_entry(line: &Line) -> Vec<u8> {
    let text = cut(&line.text);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line {
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
    fn journald_gets_a_sentence_with_line_breaks_whole() {
        let entry = journal_entry(&line("a\nb"));
        let expected = b"PRIORITY=4\nSYSLOG_IDENTIFIER=had\nMESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n";
        assert_eq!(entry, expected);
    }

    #[test]
    fn a_very_long_sentence_is_cut_between_characters() {
        let text = "é".repeat(LONGEST);
        assert!(cut(&text).len() <= LONGEST && !cut(&text).is_empty());
        assert_eq!(cut("short"), "short");
    }
}
