//! The words of a script line, and errors that point at one of them.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::text::{DURATION_FORM, Place, Problem, Severity, did_you_mean, parse_duration};

/// The name of a script in its problems, until the reader of the file puts the real one there.
pub(super) const SCRIPT: &str = "script";

/// The longest duration in a script. It also keeps arithmetic on times far from overflow.
const MAX_TIME: Duration = Duration::from_secs(366 * 24 * 3600);
/// One word of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScriptWord<'a> {
    pub text: &'a str,
    /// The first character, from 1.
    column: usize,
}

/// The words of one line that are still to be read.
#[derive(Clone, Debug)]
pub(super) struct ScriptLine<'a> {
    line: usize,
    text: &'a str,
    all: Vec<ScriptWord<'a>>,
    at: usize,
}

impl<'a> ScriptLine<'a> {
    /// The words of a line up to its comment: `#` at the beginning of a word.
    pub fn split(line: usize, text: &'a str) -> Self {
        let mut words = Vec::new();
        let mut column = 1;
        for piece in text.split(char::is_whitespace) {
            if piece.starts_with('#') {
                break;
            }
            if !piece.is_empty() {
                words.push(ScriptWord {
                    text: piece,
                    column,
                });
            }
            column += piece.chars().count() + 1;
        }
        ScriptLine {
            line,
            text,
            all: words,
            at: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.peek().is_none()
    }

    pub fn peek(&self) -> Option<&'a str> {
        self.all.get(self.at).map(|w| w.text)
    }

    /// Takes the next word; `wanted` names it in the error if there is none.
    pub fn next(&mut self, wanted: &str) -> Result<ScriptWord<'a>, Problem> {
        let Some(word) = self.all.get(self.at).copied() else {
            return Err(self.after(format!("{wanted} is missing here")));
        };
        self.at += 1;
        Ok(word)
    }

    /// Takes the next word if it is `word`.
    pub fn accept(&mut self, word: &str) -> bool {
        let there = self.peek() == Some(word);
        self.at += usize::from(there);
        there
    }

    /// Takes the next word, which must be `wanted`.
    pub fn expect(&mut self, wanted: &str) -> Result<(), Problem> {
        let word = self.next(&format!("`{wanted}`"))?;
        if word.text == wanted {
            return Ok(());
        }
        Err(self.at_word(
            word,
            format!("expected `{wanted}`, found `{}`", word.text),
            "",
        ))
    }

    /// Takes the next word, which must be one of `known`.
    pub fn one_of(&mut self, what: &str, known: &[&'a str]) -> Result<&'a str, Problem> {
        let word = self.next(what)?;
        let found = known.iter().find(|k| **k == word.text);
        found
            .copied()
            .ok_or_else(|| self.unknown(word, what, known.iter().copied()))
    }

    /// The error for a word that is none of `known`.
    pub fn unknown<'b>(
        &self,
        word: ScriptWord<'_>,
        what: &str,
        known: impl Iterator<Item = &'b str>,
    ) -> Problem {
        let known: Vec<&str> = known.collect();
        let near = did_you_mean(word.text, known.iter().copied());
        let all = if known.is_empty() {
            "there are none".to_owned()
        } else {
            format!("possible here: {}", known.join(", "))
        };
        let help = if near.is_empty() {
            all
        } else {
            format!("{near} ({all})")
        };
        self.at_word(word, format!("unknown {what} `{}`", word.text), help)
    }

    pub fn time(&mut self, what: &str) -> Result<Duration, Problem> {
        let word = self.next(what)?;
        let time = parse_duration(word.text).filter(|time| *time <= MAX_TIME);
        time.ok_or_else(|| {
            let help = format!("{DURATION_FORM}; a year at most");
            self.at_word(word, format!("`{}` is not a time", word.text), help)
        })
    }

    /// Takes a percentage; returns thousandths.
    pub fn share(&mut self, what: &str) -> Result<u32, Problem> {
        let word = self.next(what)?;
        let share = word.text.strip_suffix('%').and_then(thousandths);
        share.ok_or_else(|| {
            let help = "a percentage has at most one digit after the point: 30%, 2.5%";
            self.at_word(word, format!("`{}` is not a percentage", word.text), help)
        })
    }

    /// Takes a whole number from `least` to `most` with `suffix` behind it.
    pub fn number(
        &mut self,
        what: &str,
        suffix: &str,
        least: i64,
        most: i64,
    ) -> Result<i64, Problem> {
        let word = self.next(what)?;
        let digits = word.text.strip_suffix(suffix);
        let number = digits
            .filter(|d| !d.starts_with('+'))
            .and_then(|d| d.parse().ok());
        number
            .filter(|n| (least..=most).contains(n))
            .ok_or_else(|| {
                let message = format!("`{}` is not a valid number here", word.text);
                self.at_word(
                    word,
                    message,
                    format!("{what} is from {least}{suffix} to {most}{suffix}"),
                )
            })
    }

    pub fn on_or_off(&mut self) -> Result<bool, Problem> {
        Ok(self.one_of("switch", &["on", "off"])? == "on")
    }

    /// The error for a word that is left at the end of the line.
    pub fn end(&mut self) -> Result<(), Problem> {
        match self.all.get(self.at).copied() {
            None => Ok(()),
            Some(word) => Err(self.at_word(word, format!("unexpected word `{}`", word.text), "")),
        }
    }

    pub fn at_word(
        &self,
        word: ScriptWord<'_>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Problem {
        let width = word.text.chars().count();
        self.problem(word.column, width, message.into(), help.into())
    }

    /// An error that points behind the last word.
    fn after(&self, message: String) -> Problem {
        let end = |w: &ScriptWord| w.column + w.text.chars().count() + 1;
        self.problem(self.all.last().map_or(1, end), 1, message, String::new())
    }

    fn problem(&self, column: usize, width: usize, message: String, help: String) -> Problem {
        Problem {
            severity: Severity::Error,
            place: Place {
                file: Path::new(SCRIPT).into(),
                line: self.line,
                column,
                width,
                text: self.text.into(),
            },
            message,
            help: (!help.is_empty()).then_some(help),
        }
    }
}

/// A percentage with at most one digit after the point, in thousandths.
fn thousandths(percent: &str) -> Option<u32> {
    let (whole, tenth) = percent.split_once('.').unwrap_or((percent, "0"));
    let digits =
        |s: &str, max| (1..=max).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole, 3) || !digits(tenth, 1) {
        return None;
    }
    let share = whole.parse::<u32>().ok()? * 10 + tenth.parse::<u32>().ok()?;
    (share <= 1000).then_some(share)
}

/// Thousandths in percent.
pub(super) struct Percent(pub u32);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 / 10)?;
        match self.0 % 10 {
            0 => f.write_str("%"),
            tenth => write!(f, ".{tenth}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_shown_as_they_are_read() {
        for word in ["30%", "2.5%", "0%", "100%"] {
            let share = ScriptLine::split(1, word).share("a share").unwrap();
            assert_eq!(Percent(share).to_string(), word);
        }
    }

    #[test]
    fn what_is_no_time_and_no_share() {
        for word in ["", "s", "0.1ns", "367d"] {
            assert!(ScriptLine::split(1, word).time("a time").is_err(), "{word}");
        }
        for word in ["30", "101%", "0.05%", "%", "-1%"] {
            assert!(
                ScriptLine::split(1, word).share("a share").is_err(),
                "{word}"
            );
        }
    }

    #[test]
    fn a_mistake_shows_its_word_and_what_is_known() {
        let mut words = ScriptLine::split(3, "at 1s crahs alice # a comment");
        words.expect("at").unwrap();
        words.time("a time").unwrap();
        let mistake = words.one_of("fault", &["crash", "heal"]).unwrap_err();
        assert_eq!(
            mistake.to_string(),
            "error: script:3:7: unknown fault `crahs`\n     3 | at 1s crahs alice # a comment\n       |       ^^^^^\n       \
             = did you mean `crash`? (possible here: crash, heal)"
        );
    }
}
