//! Splits a text into lines and words with their places.

use std::path::Path;
use std::sync::Arc;

use super::{Place, Problems, Severity, one_line, printable_char};

/// The longest line that is read.
const MAX_LINE_BYTES: usize = 65536;
/// The characters of a word that a message quotes.
const MAX_QUOTED_CHARS: usize = 40;

/// One physical line, without its end.
#[derive(Clone, Debug)]
pub struct SourceLine {
    file: Arc<Path>,
    /// From 1.
    pub number: usize,
    /// Its text.
    pub text: Arc<str>,
}

/// One word with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceWord {
    /// The word.
    pub text: String,
    /// Its place.
    pub place: Place,
}

/// Splits a text into lines. Reports what is odd about the whole file: a byte order mark, and line ends of CR LF, with the
/// severity and the consequence given.
pub fn split_lines(
    text: &str,
    file: &Path,
    crlf: (Severity, &str),
    report: &mut Problems,
) -> Vec<SourceLine> {
    let file: Arc<Path> = file.into();
    let mut lines: Vec<SourceLine> = Vec::new();
    let mut first_crlf = None;
    let whole = text.strip_suffix('\n').unwrap_or(text);
    for (index, raw) in whole.split('\n').enumerate() {
        let raw = match raw.strip_prefix('\u{feff}') {
            Some(rest) if index == 0 => {
                let message = "the file begins with a byte order mark";
                report.error(
                    &Place::whole(&file),
                    message,
                    "save it as plain UTF-8 or ASCII",
                );
                rest
            }
            _ => raw,
        };
        let (text, cr) = raw.strip_suffix('\r').map_or((raw, false), |t| (t, true));
        let mut line = SourceLine {
            file: file.clone(),
            number: index + 1,
            text: text.into(),
        };
        if cr && first_crlf.is_none() {
            first_crlf = Some(line.number);
        }
        line.refuse_long_line(report);
        lines.push(line);
    }
    if let Some(line) = first_crlf {
        let (severity, consequence) = crlf;
        report.add(
            severity,
            &Place::whole(&file),
            format!("lines end in CR LF, from line {line} on: {consequence}"),
            format!("convert it: sed -i 's/\\r$//' {}", file.display()),
        );
    }
    lines
}

impl SourceLine {
    fn refuse_long_line(&mut self, report: &mut Problems) {
        let length = self.text.len();
        if length > MAX_LINE_BYTES {
            let message =
                format!("the line is too long ({length} bytes, at most {MAX_LINE_BYTES})");
            self.text = "".into();
            report.error(&self.place(1, 1), message, "");
        }
    }

    /// A place on this line; column from 1, both in characters.
    pub fn place(&self, column: usize, width: usize) -> Place {
        Place {
            file: self.file.clone(),
            line: self.number,
            column,
            width,
            text: self.text.clone(),
        }
    }

    /// The part before the first `#`.
    pub fn code(&self) -> &str {
        self.text.split('#').next().unwrap_or("")
    }

    /// The words before the first `#`, split where `separates` says so.
    pub fn words(&self, separates: impl Fn(char) -> bool) -> Vec<SourceWord> {
        self.words_of(self.code(), separates)
    }

    /// The words of `part`, which is a beginning of this line.
    pub fn words_of(&self, part: &str, separates: impl Fn(char) -> bool) -> Vec<SourceWord> {
        let mut words = Vec::new();
        let mut word = String::new();
        let mut start = 1;
        for (index, c) in part.chars().chain(['\n']).enumerate() {
            if c != '\n' && !separates(c) {
                word.push(c);
                continue;
            }
            if !word.is_empty() {
                let place = self.place(start, index + 1 - start);
                words.push(SourceWord {
                    text: std::mem::take(&mut word),
                    place,
                });
            }
            start = index + 2;
        }
        words
    }
}

impl SourceWord {
    /// The word for a message, as [`quote`] has it.
    pub fn quoted(&self) -> String {
        quote(&self.text)
    }

    /// Why this word is not readable text, and what to do: control characters, bytes that are not UTF-8, characters that
    /// are invisible or only look like spaces.
    pub fn unreadable(&self) -> Option<(String, &'static str)> {
        let odd = |c: &char| {
            c.is_whitespace() || *c == char::REPLACEMENT_CHARACTER || printable_char(*c) != *c
        };
        let bad = self.text.chars().find(odd)?;
        let (what, help) = match bad {
            char::REPLACEMENT_CHARACTER => {
                let message = format!("{} is not UTF-8 text", self.quoted());
                return Some((message, "only comments may be in another encoding"));
            }
            c if c.is_control() => ("the control character", "remove it"),
            c if c.is_whitespace() || matches!(c, '\u{200b}' | '\u{feff}') => (
                "a character that only looks like a space:",
                "type ordinary spaces; text copied from a web page often has others",
            ),
            _ => ("the invisible character", "remove it"),
        };
        let message = format!("{} contains {what} U+{:04X}", self.quoted(), u32::from(bad));
        Some((message, help))
    }
}

/// A word for a message: in back quotes, cut when it is long, and harmless on a terminal.
pub fn quote(word: &str) -> String {
    format!("`{}`", one_line(word, MAX_QUOTED_CHARS))
}

/// Whether a character separates words everywhere.
pub fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<SourceLine>, Problems) {
        let mut report = Problems::default();
        let lines = split_lines(text, Path::new("f"), (Severity::Error, "bad"), &mut report);
        (lines, report)
    }

    #[test]
    fn words_know_their_columns_in_characters() {
        let (lines, _) = read("é ab,,cd\t# x y\n");
        let words = lines[0].words(|c| is_blank(c) || c == ',');
        let seen: Vec<_> = words
            .iter()
            .map(|w| (w.text.as_str(), w.place.column, w.place.width))
            .collect();
        assert_eq!(seen, [("é", 1, 1), ("ab", 3, 2), ("cd", 7, 2)]);
    }

    #[test]
    fn cr_lf_and_byte_order_mark_are_reported_once() {
        let (lines, report) = read("\u{feff}a\r\nb\r\nc");
        assert_eq!(report.list.len(), 2);
        assert_eq!(&*lines[0].text, "a");
        assert_eq!(&*lines[1].text, "b");
        assert_eq!(&*lines[2].text, "c");
    }

    #[test]
    fn odd_characters_and_foreign_bytes_are_named() {
        for (text, says) in [
            ("a\u{a0}b", "U+00A0"),
            ("a\u{3000}b", "U+3000"),
            ("a\u{202e}b", "invisible character U+202E"),
            ("a\u{7}b", "control character U+0007"),
            ("a\u{fffd}b", "not UTF-8"),
        ] {
            let (lines, _) = read(text);
            let words = lines[0].words(is_blank);
            assert!(words[0].unreadable().unwrap().0.contains(says), "{says}");
        }
        let (lines, _) = read("节点");
        assert_eq!(lines[0].words(is_blank)[0].unreadable(), None);
    }

    #[test]
    fn lines_that_are_too_long_are_not_read() {
        let (lines, report) = read(&"x".repeat(MAX_LINE_BYTES + 1));
        assert!(report.has_errors());
        assert_eq!(&*lines[0].text, "");
    }
}
