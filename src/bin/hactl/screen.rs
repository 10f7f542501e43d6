//! Output to the terminal: width, colour, wrapping, and a closed pipe.

use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use had::model::JSON_VERSION;
use had::sys::terminal;
use had::text::{mask_secrets, printable_lines};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use crate::Failure;

/// What the terminal can show.
#[derive(Clone, Copy)]
pub struct Screen {
    /// Characters per line.
    pub width: usize,
    /// Whether colours are shown.
    pub colour: bool,
    /// Number of lines, if it is a terminal.
    pub rows: Option<usize>,
}

/// The kind of a text, shown by its colour.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Heading,
    Good,
    Bad,
}

impl Screen {
    /// Standard output. Output to a pipe is not wrapped, so that it can be searched line by line.
    pub fn stdout() -> Screen {
        let size = terminal::terminal_size(io::stdout());
        let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
        let width = size.map(|size| size.columns).or(columns);
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Screen {
            width: width.unwrap_or(usize::MAX).max(20),
            colour: io::stdout().is_terminal() && !plain,
            rows: size.map(|size| size.rows),
        }
    }

    /// The text in the tone's colour.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Heading => "1",
            Tone::Good => "32",
            Tone::Bad => "31",
        };
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Lines of at most the width; the first begins with `first`, the others with as many blanks.
    /// A word longer than a line is not broken: it is probably a name that somebody wants to copy.
    pub fn wrap(self, tone: Tone, first: &str, text: &str) -> String {
        let indent = first.chars().count();
        let mut lines = Vec::new();
        let mut line = first.to_owned();
        let mut used = indent;
        for word in text.split_whitespace() {
            let len = word.chars().count();
            if used > indent && used.saturating_add(1 + len) > self.width {
                lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
                used = indent;
            }
            if used > indent {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += len;
        }
        lines.push(line);
        let painted: Vec<String> = lines.iter().map(|line| self.paint(tone, line)).collect();
        painted.join("\n") + "\n"
    }
}

/// The sequences that [`Screen::paint`] and a page that is refreshed use.
const OWN_SEQUENCES: [&str; 5] = [
    "\x1b[0m",
    "\x1b[1m",
    "\x1b[32m",
    "\x1b[31m",
    "\x1b[H\x1b[2J",
];

/// The text with no other sequences than ours and without passwords: what agents, peers and files say is part of it.
fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        let (before, after) = rest.split_at(at);
        shown += &printable_lines(before);
        let own = OWN_SEQUENCES.iter().find(|own| after.starts_with(**own));
        let taken = own.map_or(1, |own| own.len());
        shown += own.copied().unwrap_or("\u{fffd}");
        rest = after.get(taken..).unwrap_or_default();
    }
    mask_secrets(&(shown + &printable_lines(rest)))
}

/// A value that becomes an object, with the version of the JSON, as a page for programs.
pub fn json_page(value: &impl Serialize) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Versioned<'a, T> {
        schema: u32,
        #[serde(flatten)]
        value: &'a T,
    }
    let schema = JSON_VERSION;
    let text = serde_json::to_string_pretty(&Versioned { schema, value });
    Ok(text.map_err(Failure::failed)? + "\n")
}

/// Writes to standard output. If the reader has gone (`hactl status | head -1`), the program ends without an error.
pub fn print(text: &str) -> io::Result<()> {
    match print_and_go_on(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result,
    }
}

/// The same for a program that has more to do, even if nobody reads what it says.
pub fn print_and_go_on(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(harmless(text).as_bytes())?;
    out.flush()
}

/// Whether nobody can read what is written to standard output any more: the other end of its pipe is closed.
pub fn reader_has_gone() -> bool {
    let out = io::stdout();
    let mut asked = [PollFd::new(out.as_fd(), PollFlags::empty())];
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    poll(&mut asked, PollTimeout::ZERO).is_ok()
        && asked
            .iter()
            .any(|fd| fd.revents().is_some_and(|found| found.intersects(gone)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(width: usize, colour: bool) -> Screen {
        Screen {
            width,
            colour,
            rows: None,
        }
    }

    #[test]
    fn lines_are_wrapped_between_words_and_hang_under_the_first() {
        let text = screen(20, false).wrap(
            Tone::Bad,
            "  ! ",
            "one two three four averyverylongwordindeed x",
        );
        assert_eq!(
            text,
            "  ! one two three\n    four\n    averyverylongwordindeed\n    x\n"
        );
        assert_eq!(screen(20, false).wrap(Tone::Plain, "- ", ""), "- \n");
    }

    #[test]
    fn only_our_own_sequences_reach_the_terminal() {
        let page = screen(80, true).paint(Tone::Bad, "a\x1b]0;title\x07 passwd=hidden\n");
        assert_eq!(
            harmless(&format!("\x1b[H\x1b[2J{page}b\u{9b}31m\x1b")),
            "\x1b[H\x1b[2J\x1b[31ma\u{fffd}]0;title\u{fffd} passwd=***\n\x1b[0mb\u{fffd}31m\u{fffd}"
        );
    }

    #[test]
    fn colour_surrounds_each_line() {
        let text = screen(6, true).wrap(Tone::Bad, "", "one two");
        assert_eq!(text, "\x1b[31mone\x1b[0m\n\x1b[31mtwo\x1b[0m\n");
    }
}
