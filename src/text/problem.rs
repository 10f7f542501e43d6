//! What is wrong with a configuration, where, and what to do about it.
//!
//! Every reader adds to one [`Problems`], so that an administrator sees all mistakes of all files at once.

use std::fmt;

use super::{Place, printable_char};

/// Problems kept of one reading; whoever feeds a picture in place of a file need not read a million lines.
const MOST_PROBLEMS: usize = 200;
/// Characters of a line that an excerpt shows; longer lines are cut around the place in question.
const EXCERPT: usize = 140;
/// Characters that an excerpt of a long line shows before the place in question.
const LEAD: usize = 40;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Note,
    /// It is read, but probably not what is wanted.
    Warning,
    /// The configuration is refused.
    Error,
}

/// One thing that is wrong, or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Everything that was found in one reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// All of it, ordered by file and line once the reading is over.
    pub list: Vec<Problem>,
    /// How many more there were than are kept.
    pub left_out: usize,
    /// Whether one of those was an error.
    pub left_out_error: bool,
}

impl Problems {
    /// Whether the configuration must be refused.
    pub fn has_errors(&self) -> bool {
        self.left_out_error || self.list.iter().any(|p| p.severity == Severity::Error)
    }

    /// Whether nothing at all is to be said.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether there is no room for more, and what is there is enough to refuse it all. Then nobody needs to read on: the
    /// work for each problem is small, but a file has room for a hundred thousand.
    pub fn full(&mut self) -> bool {
        let full = self.list.len() >= MOST_PROBLEMS && self.has_errors();
        self.left_out = self.left_out.max(usize::from(full));
        full
    }

    /// Adds a problem. An empty `help` is none.
    pub fn add(
        &mut self,
        severity: Severity,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.list.len() >= MOST_PROBLEMS {
            self.left_out += 1;
            self.left_out_error |= severity == Severity::Error;
            return;
        }
        let help = help.into();
        self.list.push(Problem {
            severity,
            place: place.clone(),
            message: message.into(),
            help: (!help.is_empty()).then_some(help),
        });
    }

    /// Adds an error.
    pub fn error(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Error, place, message, help);
    }

    /// Adds a warning.
    pub fn warning(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Warning, place, message, help);
    }

    /// Adds a note.
    pub fn note(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Note, place, message, help);
    }

    /// Brings the problems into the order of the files; those of one place stay as they were found.
    pub fn sort(&mut self) {
        let key = |p: &Problem| (p.place.file.clone(), p.place.line, p.place.column);
        self.list.sort_by_cached_key(key);
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            writeln!(f, "{problem}")?;
        }
        if self.left_out > 0 {
            writeln!(f, "and at least {} problems more", self.left_out)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = &self.place;
        write!(f, "{}:", place.file.display())?;
        if place.line > 0 {
            write!(f, "{}:{}:", place.line, place.column)?;
        }
        let word = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
            Severity::Note => "note: ",
        };
        write!(f, " {word}{}", self.message)?;
        if place.line > 0 {
            excerpt(f, place)?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n       = {help}")?;
        }
        Ok(())
    }
}

/// Prints the line and marks the place under it. What a terminal would obey is made visible instead.
fn excerpt(f: &mut fmt::Formatter<'_>, place: &Place) -> fmt::Result {
    let start = place.column.saturating_sub(1);
    let long = place.text.chars().count() > EXCERPT;
    let skip = if long { start.saturating_sub(LEAD) } else { 0 };
    let before = if skip > 0 { "..." } else { "" };
    let line: Vec<char> = place
        .text
        .chars()
        .skip(skip)
        .take(EXCERPT)
        .map(printable_char)
        .collect();
    let shown: String = line.iter().collect();
    writeln!(f, "\n{:>6} | {before}{}", place.line, shown.trim_end())?;
    let pad: usize = line.iter().take(start - skip).map(|c| columns(*c)).sum();
    let marks: usize = line
        .iter()
        .skip(start - skip)
        .take(place.width)
        .map(|c| columns(*c))
        .sum();
    let marks = "^".repeat(marks.max(1));
    write!(f, "       | {:pad$}{marks}", "", pad = pad + before.len())
}

/// How many columns of a terminal a character takes: East Asian wide ones take two.
fn columns(c: char) -> usize {
    match c {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn at(text: &str, column: usize, width: usize) -> Place {
        Place {
            file: Path::new("ha.d/ha.cf").into(),
            line: 7,
            column,
            width,
            text: text.into(),
        }
    }

    #[test]
    fn a_problem_is_shown_with_its_line_and_a_mark() {
        let mut report = Problems::default();
        report.error(&at("deadtime 1s", 10, 2), "too short", "make it longer");
        assert_eq!(
            report.to_string(),
            "ha.d/ha.cf:7:10: too short\n     7 | deadtime 1s\n       |          ^^\n       = make it longer\n"
        );
        assert!(report.has_errors());
    }

    #[test]
    fn the_mark_stands_below_wide_characters_and_tabs() {
        let mut report = Problems::default();
        report.warning(&at("节点\tabc 坏", 8, 1), "bad", "");
        assert_eq!(
            report.to_string(),
            "ha.d/ha.cf:7:8: warning: bad\n     7 | 节点 abc 坏\n       |          ^^\n"
        );
        assert!(!report.has_errors());
    }

    #[test]
    fn a_long_line_is_cut_around_the_place_and_escapes_are_disarmed() {
        let text = format!("{}\u{1b}[31m{}", "a ".repeat(300), "b".repeat(300));
        let shown = Problem {
            severity: Severity::Note,
            place: at(&text, 601, 5),
            message: "x".into(),
            help: None,
        }
        .to_string();
        assert!(!shown.contains('\u{1b}'));
        assert!(shown.lines().all(|l| l.chars().count() < 170), "{shown}");
        let mark = shown.lines().nth(2).and_then(|l| l.find('^'));
        let seen = shown
            .lines()
            .nth(1)
            .and_then(|l| l.chars().position(|c| c == '\u{fffd}'));
        assert_eq!(mark, seen);
    }

    #[test]
    fn a_place_beyond_its_line_does_no_harm() {
        let shown = Problem {
            severity: Severity::Error,
            place: at("abc", 900, 900),
            message: "x".into(),
            help: None,
        };
        assert!(shown.to_string().contains('^'));
    }

    #[test]
    fn more_problems_than_anybody_reads_are_counted_only() {
        let mut report = Problems::default();
        for _ in 0..1000 {
            report.note(&at("abc", 1, 1), "x", "");
        }
        assert_eq!(report.list.len(), MOST_PROBLEMS);
        assert!(
            report
                .to_string()
                .ends_with("and at least 800 problems more\n")
        );
        assert!(!report.has_errors());
        report.error(&at("abc", 1, 1), "x", "");
        assert!(report.has_errors());
    }
}
