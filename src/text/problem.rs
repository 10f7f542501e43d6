//! What is wrong with a configuration, where, and what to do about it.
//!
//! Every reader adds to one [`Problems`], so that an administrator sees all mistakes of all files at once.

use std::fmt;

use super::secret::secrets;
use super::{Place, count, mask_secrets, printable, printable_char, printable_lines};

/// Problems kept of one reading. A file that is no configuration at all would earn a hundred thousand.
const MAX_PROBLEMS: usize = 200;
/// Characters of a line that an excerpt shows. A longer line is cut around the place in question.
const MAX_EXCERPT_CHARS: usize = 140;
/// Characters that the excerpt of a long line shows before the place in question.
const EXCERPT_LEAD_CHARS: usize = 40;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// It is accepted, but probably not what was meant.
    Warning,
    /// The configuration is refused.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
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

/// All problems that one reading found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// The problems, ordered by file and line once the reading is over.
    pub list: Vec<Problem>,
    /// How many more were found than are kept.
    pub left_out: usize,
    /// Whether one of those was an error.
    pub left_out_error: bool,
}

impl Problems {
    /// Whether the configuration must be refused.
    pub fn has_errors(&self) -> bool {
        self.left_out_error || self.list.iter().any(|p| p.severity == Severity::Error)
    }

    /// Whether there is no problem.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are of each kind: `6 errors, 1 warning`, `no errors`.
    pub fn summary(&self) -> String {
        let found = |severity| self.list.iter().filter(|p| p.severity == severity).count();
        let mut text = match found(Severity::Error) {
            0 if self.left_out_error => "some errors".to_owned(),
            0 => "no errors".to_owned(),
            errors => count(errors, "error"),
        };
        for (severity, noun) in [(Severity::Warning, "warning"), (Severity::Note, "note")] {
            match found(severity) {
                0 => {}
                number => text += &format!(", {}", count(number, noun)),
            }
        }
        if self.left_out > 0 {
            text += &format!(", and at least {} more", count(self.left_out, "problem"));
        }
        text
    }

    /// All problems, and a last line that counts them and says what follows.
    pub fn page(&self, consequence: &str) -> String {
        format!("{self}{}: {consequence}\n", self.summary())
    }

    /// Whether there is no room for more and an error is among them. Then the rest of the file need not be read.
    pub fn is_full(&mut self) -> bool {
        let full = self.list.len() >= MAX_PROBLEMS && self.has_errors();
        self.left_out = self.left_out.max(usize::from(full));
        full
    }

    /// Adds a problem. An empty `help` means that there is none.
    pub fn add(
        &mut self,
        severity: Severity,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.list.len() >= MAX_PROBLEMS {
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

    /// Orders the problems by file, line and column. Problems of one place stay in the order in which they were found.
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
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = &self.place;
        let file = place.file.display().to_string();
        write!(f, "{}: {}:", self.severity, printable(&file))?;
        if place.line > 0 {
            write!(f, "{}:{}:", place.line, place.column)?;
        }
        let shown = |text: &str| printable_lines(&mask_secrets(text));
        write!(f, " {}", shown(&self.message))?;
        if place.line > 0 {
            write_excerpt(f, place)?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n       = {}", shown(help))?;
        }
        Ok(())
    }
}

/// Prints the line and marks the place under it.
fn write_excerpt(f: &mut fmt::Formatter<'_>, place: &Place) -> fmt::Result {
    let start = place.column.saturating_sub(1);
    let long = place.text.chars().count() > MAX_EXCERPT_CHARS;
    let skip = if long {
        start.saturating_sub(EXCERPT_LEAD_CHARS)
    } else {
        0
    };
    let before = if skip > 0 { "..." } else { "" };
    let hidden = secrets(&place.text);
    let line: Vec<char> = place
        .text
        .char_indices()
        .map(|(at, c)| {
            let secret = hidden.iter().any(|range| range.contains(&at));
            if secret { '*' } else { c }
        })
        .skip(skip)
        .take(MAX_EXCERPT_CHARS)
        .map(printable_char)
        .collect();
    let shown: String = line.iter().collect();
    writeln!(f, "\n{:>6} | {before}{}", place.line, shown.trim_end())?;
    let pad: usize = line
        .iter()
        .take(start - skip)
        .map(|c| column_width(*c))
        .sum();
    let marks: usize = line
        .iter()
        .skip(start - skip)
        .take(place.width)
        .map(|c| column_width(*c))
        .sum();
    let marks = "^".repeat(marks.max(1));
    write!(f, "       | {:pad$}{marks}", "", pad = pad + before.len())
}

/// The columns of a terminal that a character takes: two for East Asian wide characters.
fn column_width(c: char) -> usize {
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
            "error: ha.d/ha.cf:7:10: too short\n     7 | deadtime 1s\n       |          ^^\n       = make it longer\n"
        );
        assert!(report.has_errors());
        report.warning(&at("deadtime 1s", 10, 2), "odd", "");
        assert_eq!(report.summary(), "1 error, 1 warning");
        assert_eq!(Problems::default().summary(), "no errors");
    }

    #[test]
    fn no_password_and_no_sequence_is_shown() {
        let mut report = Problems::default();
        let place = at("a x::passwd=hidden::b=1 c", 25, 1);
        report.error(&place, "x::passwd=hidden: \u{1b}[2Jno", "write pass=hidden");
        assert_eq!(
            report.to_string(),
            "error: ha.d/ha.cf:7:25: x::passwd=***: \u{fffd}[2Jno\n     7 | a x::passwd=******::b=1 c\n       |                         ^\n       = write pass=***\n"
        );
    }

    #[test]
    fn the_mark_stands_below_wide_characters_and_tabs() {
        let mut report = Problems::default();
        report.warning(&at("节点\tabc 坏", 8, 1), "bad", "");
        assert_eq!(
            report.to_string(),
            "warning: ha.d/ha.cf:7:8: bad\n     7 | 节点 abc 坏\n       |          ^^\n"
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
    fn a_place_beyond_its_line_is_no_panic() {
        let shown = Problem {
            severity: Severity::Error,
            place: at("abc", 900, 900),
            message: "x".into(),
            help: None,
        };
        assert!(shown.to_string().contains('^'));
    }

    #[test]
    fn problems_beyond_the_limit_are_only_counted() {
        let mut report = Problems::default();
        for _ in 0..1000 {
            report.note(&at("abc", 1, 1), "x", "");
        }
        assert_eq!(report.list.len(), MAX_PROBLEMS);
        assert_eq!(
            report.summary(),
            "no errors, 200 notes, and at least 800 problems more"
        );
        assert!(!report.has_errors());
        report.error(&at("abc", 1, 1), "x", "");
        assert!(report.has_errors());
    }
}
