//! Splits the lines of keepalived.conf into words: comments from `!` or `#` on, quotation marks, braces, `@host` lines and
//! `$NAME=value`. What may be a password is masked in the lines that problems show.

use std::collections::BTreeMap;
use std::path::Path;

use crate::text::{Place, Problems, Severity, SourceLine, is_blank, split_lines};

/// More text than this is not put in for the names of a line.
const MAX_EXPANDED_BYTES: usize = 65536;

/// A word with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Without quotation marks.
    pub text: String,
    /// Whether it stood in quotation marks.
    pub quoted: bool,
    /// Its place.
    pub place: Place,
}

impl Word {
    /// Whether it is this brace.
    pub fn is_brace(&self, brace: &str) -> bool {
        !self.quoted && self.text == brace
    }
}

/// A line with at least one word.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its words.
    pub words: Vec<Word>,
    whole: Place,
}

impl Line {
    /// The place of its first word.
    pub fn place(&self) -> Place {
        let first = self.words.first().map(|w| w.place.clone());
        first.unwrap_or_else(|| self.whole.clone())
    }
}

/// What is known from one line to the next.
pub struct Lexer {
    /// The name of the node, which `@host` lines are compared with.
    node: String,
    /// Whether an `authentication` block is open.
    in_authentication: bool,
    defined: BTreeMap<String, String>,
}

impl Lexer {
    /// For the node of that name; an empty one is no node's.
    pub fn new(node: &str) -> Self {
        let short = node.split('.').next().unwrap_or("");
        Lexer {
            node: short.to_owned(),
            in_authentication: false,
            defined: BTreeMap::new(),
        }
    }

    /// The lines of a text that have words and are meant for this node.
    pub fn lines(&mut self, text: &str, file: &Path, report: &mut Problems) -> Vec<Line> {
        let crlf = (Severity::Note, "the CR is ignored");
        let mut lines = Vec::new();
        for mut line in split_lines(text, file, crlf, report) {
            let raw = line.text.clone();
            line.text = self.masked(&raw).into();
            let Some(rest) = self.for_this_node(&raw, &line, report) else {
                continue;
            };
            if let Some((name, value)) = definition(rest) {
                self.define(name, value, &line, report);
                continue;
            }
            let offset = raw.chars().count() - rest.chars().count();
            let words = self.words(rest, offset, &line, report);
            let whole = line.place(1, raw.chars().count().max(1));
            if !words.is_empty() {
                lines.push(Line { words, whole });
            }
        }
        lines
    }

    /// The line with asterisks in place of a password.
    fn masked(&mut self, raw: &str) -> String {
        let was_open = self.in_authentication;
        let code = without_comment(raw);
        let mut words = code.split(|c| is_blank(c) || c == '{');
        let opens = words.any(|word| word == "authentication");
        self.in_authentication = (was_open || opens) && !code.contains('}');
        mask_password(raw, was_open)
    }

    /// The line without its condition; nothing if it is for another node.
    fn for_this_node<'l>(
        &self,
        raw: &'l str,
        line: &SourceLine,
        report: &mut Problems,
    ) -> Option<&'l str> {
        let Some(condition) = raw.trim_start().strip_prefix('@') else {
            return Some(raw);
        };
        let end = condition.find(is_blank).unwrap_or(condition.len());
        let (host, rest) = condition.split_at_checked(end)?;
        if self.node.is_empty() {
            let message = "this line is for one host only, and the name of the node is not known";
            let help = "give --node NAME=ADDRESS for each node, in the order of the files";
            report.error(&line.place(1, end + 1), message, help);
            return None;
        }
        let same = |host: &str| host.eq_ignore_ascii_case(&self.node);
        let meant = match host.strip_prefix('^') {
            Some(other) => !same(other),
            None => same(host),
        };
        meant.then_some(rest)
    }

    fn define(&mut self, name: &str, value: &str, line: &SourceLine, report: &mut Problems) {
        let value = without_comment(value).trim_matches(is_blank);
        if value.ends_with('\\') {
            let message = format!("`${name}` has several lines, which is not read");
            let help = "write its lines where it is used";
            // The value may be a password.
            let shown = line.text.split('=').next().unwrap_or("");
            let mut place = line.place(1, shown.chars().count().max(1));
            place.text = format!("{shown}=*** \\").into();
            report.warning(&place, message, help);
        }
        let value = self.expand(value);
        let value = value.trim_end_matches('\\').to_owned();
        self.defined.insert(name.to_owned(), value);
    }

    /// The text with the values of the names in it. An unknown name stays as it is.
    fn expand(&self, text: &str) -> String {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            expanded += before;
            let found = longest_name(from)
                .and_then(|(name, len)| Some((self.defined.get(name)?, from.get(len..)?)));
            match found {
                Some((value, after)) if expanded.len() + value.len() <= MAX_EXPANDED_BYTES => {
                    expanded += value;
                    rest = after;
                }
                _ => {
                    expanded.push('$');
                    rest = from.get(1..).unwrap_or("");
                }
            }
        }
        expanded + rest
    }

    fn words(
        &self,
        text: &str,
        offset: usize,
        line: &SourceLine,
        report: &mut Problems,
    ) -> Vec<Word> {
        let expanded = self.expand(text);
        let whole = line.place(1, line.text.chars().count().max(1));
        let changed = expanded != text;
        let mut splitter = Splitter {
            words: Vec::new(),
            word: String::new(),
            start: None,
            quoted: false,
        };
        let open = splitter.split(&expanded);
        if open {
            let message = "the quotation mark is not closed on this line";
            report.warning(&whole, message, "");
        }
        let words = splitter.words.into_iter();
        words
            .map(|(text, quoted, start, width)| Word {
                text,
                quoted,
                place: if changed {
                    whole.clone()
                } else {
                    line.place(offset + start + 1, width)
                },
            })
            .collect()
    }
}

/// `$NAME=value` at the beginning of a line.
fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim_start().strip_prefix('$')?.split_once('=')?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (!name.is_empty() && name.bytes().all(plain)).then_some((name, value))
}

/// The text before a `#` or `!` that stands outside of quotation marks.
fn without_comment(text: &str) -> &str {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(mark), _) if mark == c => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '#' | '!') => return text.get(..at).unwrap_or(text),
            _ => {}
        }
    }
    text
}

/// The name in `$NAME` or `${NAME}`, and the length of all of it.
fn longest_name(text: &str) -> Option<(&str, usize)> {
    let rest = text.strip_prefix('$')?;
    if let Some(inner) = rest.strip_prefix('{') {
        let (name, _) = inner.split_once('}')?;
        return Some((name, name.len() + 3));
    }
    let other = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let name = rest.get(..rest.find(other).unwrap_or(rest.len()))?;
    (!name.is_empty()).then_some((name, name.len() + 1))
}

/// The words of a line: text, whether it was quoted, first character and number of characters.
struct Splitter {
    words: Vec<(String, bool, usize, usize)>,
    word: String,
    start: Option<usize>,
    quoted: bool,
}

impl Splitter {
    /// Splits a line; whether a quotation mark is still open at its end.
    fn split(&mut self, text: &str) -> bool {
        let mut quote = None;
        let mut escaped = false;
        let mut length = 0;
        for (at, c) in text.chars().enumerate() {
            length = at + 1;
            match (quote, c) {
                (Some(_), _) if escaped => {
                    self.push(c, at);
                    escaped = false;
                }
                (Some(_), '\\') => escaped = true,
                (Some(mark), _) if mark == c => quote = None,
                (None, '"' | '\'') => {
                    self.start.get_or_insert(at);
                    self.quoted = true;
                    quote = Some(c);
                }
                (None, '#' | '!') => {
                    length = at;
                    break;
                }
                (None, '{' | '}') if !self.word.ends_with('$') => {
                    self.end(at);
                    self.words.push((c.to_string(), false, at, 1));
                }
                (None, _) if is_blank(c) => self.end(at),
                _ => self.push(c, at),
            }
        }
        self.end(length);
        quote.is_some()
    }

    fn push(&mut self, c: char, at: usize) {
        self.start.get_or_insert(at);
        self.word.push(c);
    }

    fn end(&mut self, at: usize) {
        if let Some(start) = self.start.take() {
            let word = std::mem::take(&mut self.word);
            let width = at.saturating_sub(start).max(1);
            self.words.push((word, self.quoted, start, width));
        }
        self.quoted = false;
    }
}

/// Whether a word may be a keyword of `authentication` that has grown together with a password, such as `auth_pass1234`.
pub fn may_have_password(word: &str) -> bool {
    word.get(..4)
        .is_some_and(|begin| begin.eq_ignore_ascii_case("auth"))
}

/// The line with asterisks in place of what may be a password: what follows a word that begins with `auth`, and the rest of that
/// word if it is none of keepalived's; in an `authentication` block all that is not its keyword. Columns stay the same.
fn mask_password(raw: &str, in_authentication: bool) -> String {
    const KEYWORDS: [&str; 3] = ["auth_type", "auth_pass", "authentication"];
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let begins = |at: &usize| {
        let (before, rest) = raw.split_at(*at);
        let inside = before.ends_with(|c: char| is_part(c) || "/-.".contains(c));
        may_have_password(rest) && !inside
    };
    let indent = raw.len() - raw.trim_start_matches(is_blank).len();
    let word = raw.char_indices().map(|(at, _)| at).find(begins);
    let Some(at) = word.or(in_authentication.then_some(indent)) else {
        return raw.to_owned();
    };
    let rest = raw.get(at..).unwrap_or("");
    let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    let keyword = rest.get(..length).filter(|w| KEYWORDS.contains(w));
    let shown = match keyword {
        Some(keyword) => keyword.len(),
        None if word.is_some() => "auth".len(),
        None => 0,
    };
    let (before, secret) = raw.split_at(at + shown);
    let hide = |c: char| {
        if is_blank(c) || "{}".contains(c) {
            c
        } else {
            '*'
        }
    };
    before.to_owned() + &secret.chars().map(hide).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, node: &str) -> (Vec<Vec<String>>, Problems) {
        let mut report = Problems::default();
        let lines = Lexer::new(node).lines(text, Path::new("f"), &mut report);
        let words = |line: Line| line.words.into_iter().map(|w| w.text).collect();
        (lines.into_iter().map(words).collect(), report)
    }

    #[test]
    fn words_comments_quotation_marks_and_braces() {
        for (line, words) in [
            ("a b\tc", vec!["a", "b", "c"]),
            ("a!b c", vec!["a"]),
            ("# a", vec![]),
            (
                "script \"/x y # z\" 'q r'",
                vec!["script", "/x y # z", "q r"],
            ),
            ("x \"a \\\" b\"", vec!["x", "a \" b"]),
            ("vrrp_instance VI_1{", vec!["vrrp_instance", "VI_1", "{"]),
            ("group {a}", vec!["group", "{", "a", "}"]),
        ] {
            let found = read(line, "").0.into_iter().flatten().collect::<Vec<_>>();
            assert_eq!(found, words, "{line}");
        }
        assert!(read("a \"b", "").1.to_string().contains("not closed"));
    }

    #[test]
    fn lines_for_one_host_and_names_with_values() {
        let text = "@alice a\n@^alice b\n$N=eth0 eth1\n$M=${N}.7\nc $N x${M}y $Z\n";
        assert_eq!(
            read(text, "alice.example.com").0,
            [
                vec!["a"],
                vec!["c", "eth0", "eth1", "xeth0", "eth1.7y", "$Z"]
            ]
        );
        assert_eq!(read(text, "bob").0.first(), Some(&vec!["b".to_owned()]));
        assert!(read(text, "").1.has_errors());
    }

    #[test]
    fn no_password_is_shown() {
        let mut report = Problems::default();
        let text = "  auth_pass hunter22 # hunter22\n";
        let lines = Lexer::new("").lines(text, Path::new("f"), &mut report);
        assert_eq!(lines[0].words[1].text, "hunter22");
        report.note(&lines[0].place(), "x", "");
        assert!(!report.to_string().contains("hunter22"), "{report}");
    }

    #[test]
    fn no_password_of_a_mistyped_line_is_shown() {
        let text = "authentication {\n  pass hunter22\n  auth_pashunter22\n}\nAUTH_PAS hunter22\nx { authentication { auth_type hunter22 } }\npriority 5\n";
        let mut report = Problems::default();
        for line in Lexer::new("").lines(text, Path::new("f"), &mut report) {
            report.note(&line.place(), "x", "");
        }
        let shown = report.to_string();
        assert!(!shown.contains("hunter"), "{shown}");
        for kept in ["   **** ********\n", "auth*", "AUTH**** ***", "priority 5"] {
            assert!(shown.contains(kept), "{kept} is missing in\n{shown}");
        }
    }

    #[test]
    fn no_value_of_several_lines_is_shown() {
        let shown = read("$A=hunter22 \\\n", "").1.to_string();
        assert!(
            shown.contains("$A=*** \\\n") && !shown.contains("hunter"),
            "{shown}"
        );
    }

    #[test]
    fn comments_after_values_of_names() {
        let text = "$A=eth0 # the first\n$B=\"x # y\" ! z\n$A $B\n";
        assert_eq!(read(text, "").0, [vec!["eth0", "x # y"]]);
    }

    #[test]
    fn names_that_grow_come_to_an_end() {
        let mut text = "$A=xxxxxxxxxxxxxxxx\n".to_owned();
        for _ in 0..60 {
            text += "$A=$A$A$A\n";
        }
        assert!(read(&(text + "$A\n"), "").0.concat().concat().len() < 1 << 20);
    }
}
