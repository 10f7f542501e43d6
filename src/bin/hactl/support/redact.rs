//! Keeps secrets out of the archive.
//!
//! The values of names such as `passwd` are masked everywhere, as in all that `hactl` prints. Besides, everything that the
//! configuration shows to be a secret is looked for in every text, in whatever place: the words of authkeys, the content of files
//! that are named with `@`, passwords that have only a place in a line.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::Duration;

use had::sys::foreign_file::read_regular;
use had::text::{is_secret_name, mask_secrets, printable_lines, secret_values};

use super::collect::within;

const MASK: &str = "***";
/// A shorter word is masked in its place only: as a part of other words it would be everywhere.
const MIN_CHARS: usize = 4;
/// A file with a secret is not longer.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
const FILE_TIME: Duration = Duration::from_secs(3);

/// The secrets of this machine, longest first.
#[derive(Default)]
pub struct Redactor {
    secrets: Vec<String>,
}

impl Redactor {
    /// Learns the secrets of a configuration folder. Also returns the files whose secrets it could not learn, with the reasons.
    pub fn learn(dir: &Path, configuration: &[&str]) -> (Redactor, BTreeMap<String, String>) {
        let (mut found, mut unread) = (BTreeSet::new(), BTreeMap::new());
        let mut secret_file = |path: &Path| {
            read_secrets(path).unwrap_or_else(|why| {
                unread.insert(path.display().to_string(), why);
                String::new()
            })
        };
        let keys = secret_file(&dir.join("authkeys"));
        found.extend(keys.lines().flat_map(in_authkeys).map(str::to_owned));
        for text in configuration {
            for line in text.lines() {
                found.extend(in_line(line).into_iter().map(str::to_owned));
            }
            for file in files_with_secrets(text) {
                let content = secret_file(Path::new(file));
                found.extend(content.lines().map(|line| line.trim().to_owned()));
                found.extend(secret_values(&content).into_iter().map(str::to_owned));
            }
        }
        (Redactor::of(found), unread)
    }

    fn of(found: BTreeSet<String>) -> Redactor {
        let long = found.into_iter().filter(|s| s.chars().count() >= MIN_CHARS);
        let mut secrets: Vec<String> = long.flat_map(|s| [in_json(&s), s]).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Redactor { secrets }
    }

    /// The text without secrets.
    pub fn hide(&self, text: &str) -> String {
        let mut text = printable_lines(&mask_secrets(text));
        for secret in self.secrets.iter().filter(|s| !s.is_empty()) {
            if text.contains(secret) {
                text = text.replace(secret, MASK);
            }
        }
        text
    }

    /// The same of a configuration file, in which short secrets are masked by their place.
    pub fn hide_in_lines(&self, text: &str) -> String {
        let mut hidden = String::new();
        for line in text.lines() {
            hidden += &without(line, &in_line(line));
            hidden.push('\n');
        }
        self.hide(&hidden)
    }
}

/// What is not there has no secrets.
fn read_secrets(path: &Path) -> Result<String, String> {
    let path = path.to_owned();
    match within(FILE_TIME, move || read_regular(&path, MAX_SECRET_BYTES)) {
        Some(Ok(text)) => Ok(text),
        Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err(format!(
            "it did not answer within {} s",
            FILE_TIME.as_secs()
        )),
    }
}

/// The words of a line of authkeys that may be keys, also where the line is mistyped or an old one in a comment.
fn in_authkeys(line: &str) -> Vec<&str> {
    let is_method = |word: &str| matches!(word, "crc" | "sha1" | "md5" | "sha256");
    let words = line.trim_start_matches(['#', ' ', '\t']).split_whitespace();
    let words: Vec<&str> = words.collect();
    let is_key_line = words.get(1).is_some_and(|word| is_method(word));
    if line.trim_start().starts_with('#') && !is_key_line {
        return Vec::new();
    }
    let is_number = |word: &str| word.len() < MIN_CHARS && word.bytes().all(|b| b.is_ascii_digit());
    let none = |word: &&str| *word == "auth" || is_method(word) || is_number(word);
    words.into_iter().filter(|word| !none(word)).collect()
}

/// As it stands in a JSON string.
fn in_json(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    quoted
        .trim_start_matches('"')
        .trim_end_matches('"')
        .to_owned()
}

/// The files that a text names with `@`.
fn files_with_secrets(text: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| c.is_whitespace() || c == ',' || c == '"';
    let named = text.split('@').skip(1).filter(|rest| rest.starts_with('/'));
    named.filter_map(move |rest| rest.split(ends).next()?.split("::").next())
}

/// The secrets in a line of ha.cf or haresources: values of names, words after names, what stands before the host in a URL, and
/// the parameters of heartbeat's `stonith`.
fn in_line(line: &str) -> Vec<&str> {
    let mut found = secret_values(line);
    let words: Vec<&str> = line.split_whitespace().collect();
    for (name, value) in words.iter().zip(words.iter().skip(1)) {
        let name = name.trim_matches(['-', ':', '#', '"', '\'']);
        if is_secret_name(name) && !name.contains('=') {
            found.push(value);
        }
    }
    let bare: Vec<&str> = words.iter().map(|w| w.trim_start_matches('#')).collect();
    let first = bare.iter().position(|w| !w.is_empty());
    let directive = first.and_then(|at| bare.get(at)).copied();
    if let Some(at) = first.filter(|_| directive.is_some_and(|d| d.starts_with("stonith"))) {
        found.extend(words.iter().skip(at + 3));
    }
    // Whoever knows the path of a web hook may use it. A line that is switched off is often longer than a `#`.
    let is_hook = line.contains("notify");
    for url in line.split("://").skip(1).filter_map(first_word) {
        let (host, rest) = url.split_at(url.find(['/', '?', '#']).unwrap_or(url.len()));
        found.extend(host.rsplit_once('@').map(|(user, _)| user));
        found.extend(Some(rest.get(1..).unwrap_or_default()).filter(|_| is_hook));
    }
    found.retain(|secret| !secret.is_empty() && *secret != MASK && !secret.starts_with("@/"));
    found
}

/// What stands before the first blank or quote.
fn first_word(text: &str) -> Option<&str> {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',');
    text.split(ends).next()
}

/// The line with those parts of it masked.
fn without(line: &str, secrets: &[&str]) -> String {
    let mut line = line.to_owned();
    let mut sorted = secrets.to_vec();
    sorted.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in sorted {
        line = line.replace(secret, MASK);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_only_a_place_is_found() {
        for (line, secrets) in [
            (
                "stonith_host alice apc 10.0.0.9 admin hunter2",
                vec!["10.0.0.9", "admin", "hunter2"],
            ),
            ("# stonith baytech /etc/x key", vec!["key"]),
            ("notify /x --password hunter2", vec!["hunter2"]),
            ("check web http://me:hunter2@10.0.0.1/x", vec!["me:hunter2"]),
            ("alice x::passwd=hunter2::y", vec!["hunter2"]),
            ("fence bob x password=@/etc/p ip=1", vec![]),
            ("deadtime 15", vec![]),
            (
                "notify https://hooks.example.org/T0/B1/xyz timeout 10s",
                vec!["T0/B1/xyz"],
            ),
            ("#notify https://x.org?key=abc", vec!["key=abc"]),
            (" # notify\thttps://me:pw@x.org:8/p", vec!["me:pw", "p"]),
            ("notify https://x.org/", vec![]),
            ("check web http://10.0.0.1/health", vec![]),
        ] {
            assert_eq!(in_line(line), secrets, "{line}");
        }
    }

    #[test]
    fn a_known_secret_is_hidden_wherever_it_is() {
        let found = ["hunter2", "a\"b\\c", "xy"].map(str::to_owned);
        let redactor = Redactor::of(found.into_iter().collect());
        let text = r#"said hunter2, "a\"b\\c" and xy: a"b\c"#;
        assert_eq!(redactor.hide(text), r#"said ***, "***" and xy: ***"#);
        let hook = Redactor::of(["T0/xyz".to_owned()].into());
        let said = "cannot reach https://x.org/T0/xyz";
        assert_eq!(hook.hide(said), "cannot reach https://x.org/***");
        let line = "check x http://me:pw@host/ y";
        assert_eq!(redactor.hide_in_lines(line), "check x http://***@host/ y\n");
    }

    #[test]
    fn every_word_of_authkeys_may_be_a_key() {
        for (line, keys) in [
            ("auth 1", vec![]),
            ("1 sha1 hunter2", vec!["hunter2"]),
            ("hunter2", vec!["hunter2"]),
            ("1hunter2 sha1", vec!["1hunter2"]),
            ("# make one with openssl", vec![]),
            ("#2 md5 old-key", vec!["old-key"]),
        ] {
            assert_eq!(in_authkeys(line), keys, "{line}");
        }
    }

    #[test]
    fn secrets_that_cannot_be_read_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let (keys, long) = (dir.path().join("authkeys"), dir.path().join("long"));
        std::fs::create_dir(&keys).unwrap();
        std::fs::write(&long, "x".repeat(65 * 1024)).unwrap();
        let text = format!(
            "fence a x p=@{}\nfence b x p=@/nonexistent\n",
            long.display()
        );
        let (_, unread) = Redactor::learn(dir.path(), &[&text]);
        let files: Vec<&str> = unread.keys().map(String::as_str).collect();
        assert_eq!(files, [keys.to_str().unwrap(), long.to_str().unwrap()]);
        assert_eq!(unread[files[0]], "it is not a regular file");
    }

    #[test]
    fn files_are_named_with_an_at() {
        let text = "fence a x password=@/etc/p ip=1\nalice m::passwd=@/etc/q::x user@/host @me";
        let files: Vec<&str> = files_with_secrets(text).collect();
        assert_eq!(files, ["/etc/p", "/etc/q", "/host"]);
    }
}
