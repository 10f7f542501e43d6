//! `authkeys`: one `auth N` line that names the key we sign with, and lines `N method key`.
//!
//! No secret ever reaches a report: every word that is not surely a keyword is masked before places are made.

use std::collections::BTreeMap;
use std::path::Path;

use super::values::number;
use crate::model::keys::{Key, Keys, Method};
use crate::text::did_you_mean;
use crate::text::{Place, Problems, Severity};
use crate::text::{SourceLine, SourceWord, is_blank, split_lines};

const METHODS: [Method; 4] = [Method::Crc, Method::Md5, Method::Sha1, Method::Sha256];
/// Shorter secrets are guessed; the sample files of old had three letters.
const SHORT_SECRET: usize = 8;

/// What `authkeys` says.
#[derive(Clone, Debug, Default)]
pub struct AuthKeys {
    /// The keys; none when something about them is wrong.
    pub keys: Option<Keys>,
    /// Where each `crc` stands, so that its use on a network can be judged.
    pub crc: Vec<Place>,
}

/// Reads the text of `authkeys`.
pub fn parse(text: &str, file: &Path, report: &mut Problems) -> AuthKeys {
    let mut reader = Reader {
        report,
        signing: None,
        auth_line: None,
        keys: BTreeMap::new(),
        crc: Vec::new(),
        broken: false,
    };
    let crlf = (Severity::Warning, "read as if they ended in LF alone");
    for line in split_lines(text, file, crlf, reader.report) {
        if reader.report.full() {
            break;
        }
        reader.line(line);
    }
    reader.finish(file)
}

struct Reader<'a> {
    report: &'a mut Problems,
    signing: Option<(u8, Place)>,
    auth_line: Option<Place>,
    keys: BTreeMap<u8, (Key, Place)>,
    crc: Vec<Place>,
    /// A key line was refused, so what seems to be missing may only be mistyped.
    broken: bool,
}

impl Reader<'_> {
    fn line(&mut self, mut line: SourceLine) {
        let raw = line.text.clone();
        line.text = masked(&raw).into();
        let words = line.words_of(&raw, is_blank);
        let Some(first) = words.first() else { return };
        if first.text.starts_with('#') {
            return;
        }
        if let Some(word) = words.iter().find(|w| w.unreadable().is_some()) {
            let message =
                "this word contains control characters, odd blanks or bytes that are not UTF-8";
            self.refuse(
                &word.place,
                message,
                "type it anew; `hactl check` never shows it",
            );
        } else if first.text == "auth" {
            self.auth(first, &words);
        } else if let Some(index) = index(first) {
            self.key(index, first, &words);
        } else if first.text.bytes().all(|b| b.is_ascii_digit()) {
            self.refuse(&first.place, "the number of a key is 0 to 15", "");
        } else {
            let hint = did_you_mean(&first.text, ["auth"]);
            let help = if hint.is_empty() {
                "a line is `auth N`, or `N method key`, or begins with `#`".to_owned()
            } else {
                hint
            };
            self.refuse(&first.place, "neither `auth` nor the number of a key", help);
        }
    }

    fn refuse(&mut self, place: &Place, message: &str, help: impl Into<String>) {
        self.broken = true;
        self.report.error(place, message, help);
    }

    fn auth(&mut self, auth: &SourceWord, words: &[SourceWord]) {
        if let Some(before) = &self.auth_line {
            let message = format!("`auth` is already on line {}", before.line);
            self.report.error(
                &auth.place,
                message,
                "one key signs; all listed keys are believed",
            );
            return;
        }
        self.auth_line = Some(auth.place.clone());
        let Some(word) = words.get(1) else {
            self.refuse(
                &auth.place,
                "`auth` needs the number of a key",
                "for example: auth 1",
            );
            return;
        };
        let Some(index) = index(word) else {
            self.refuse(
                &word.place,
                "the number of a key is 0 to 15",
                "for example: auth 1",
            );
            return;
        };
        self.nothing_after(words.get(2), "`auth` takes one number");
        self.signing = Some((index, word.place.clone()));
    }

    fn key(&mut self, index: u8, first: &SourceWord, words: &[SourceWord]) {
        let before = self.keys.get(&index).map(|(_, place)| place.line);
        if let Some(line) = before {
            let message = format!("key {index} is already on line {line}");
            self.refuse(
                &first.place,
                &message,
                "give each key a number of its own, 0 to 15",
            );
            return;
        }
        let Some(word) = words.get(1) else {
            let help = format!("for example: {index} sha256 followed by the key");
            self.refuse(&first.place, "a key needs a method", help);
            return;
        };
        let Some(method) = METHODS.into_iter().find(|m| m.as_str() == word.text) else {
            let hint = did_you_mean(&word.text, METHODS.map(Method::as_str));
            let known = "methods are crc, md5, sha1 and sha256 (had only)";
            let help = if hint.is_empty() {
                known.to_owned()
            } else {
                format!("{hint} {known}")
            };
            self.refuse(&word.place, "unknown method", help);
            return;
        };
        if let Some(key) = self.secret(method, word, words) {
            self.keys.insert(index, (key, first.place.clone()));
        } else {
            self.broken = true;
        }
    }

    fn secret(&mut self, method: Method, word: &SourceWord, words: &[SourceWord]) -> Option<Key> {
        let secret = words.get(2);
        if method == Method::Crc {
            if let Some(extra) = secret {
                let message = "`crc` takes no key";
                self.report.error(
                    &extra.place,
                    message,
                    "it is a checksum only; sha256 and sha1 take a key",
                );
                return None;
            }
            self.crc.push(word.place.clone());
            return Some(Key {
                method,
                secret: Vec::new(),
            });
        }
        let Some(secret) = secret else {
            let message = format!("`{}` needs a key", method.as_str());
            self.report.error(
                &word.place,
                message,
                "one word, the same on every node; make one: openssl rand -hex 20",
            );
            return None;
        };
        self.nothing_after(words.get(3), "a key is one word");
        if secret.text.len() < SHORT_SECRET {
            let message = format!("a key of fewer than {SHORT_SECRET} characters is soon guessed");
            self.report
                .warning(&secret.place, message, "make one: openssl rand -hex 20");
        }
        if method == Method::Sha256 {
            self.report.note(
                &word.place,
                "heartbeat 3.0.6 does not know `sha256`",
                "use sha1 while a 3.0.6 node is in the cluster",
            );
        }
        Some(Key {
            method,
            secret: secret.text.clone().into_bytes(),
        })
    }

    fn nothing_after(&mut self, extra: Option<&SourceWord>, message: &str) {
        if let Some(extra) = extra {
            self.refuse(
                &extra.place,
                message,
                "remove the rest; a comment needs a line of its own",
            );
        }
    }

    fn finish(self, file: &Path) -> AuthKeys {
        let whole = Place::whole(file);
        if self.auth_line.is_none() && !self.broken {
            self.report
                .error(&whole, "no `auth` line", "say which key signs: auth 1");
        }
        if let Some((index, place)) = &self.signing {
            match self.keys.get(index) {
                Some((_, key)) if key.line < place.line => {
                    let message =
                        format!("heartbeat 3.0.6 does not find key {index} above the `auth` line");
                    self.report
                        .note(place, message, "put the `auth` line first");
                }
                None if !self.broken => {
                    let listed: Vec<String> = self.keys.keys().map(u8::to_string).collect();
                    let help = if listed.is_empty() {
                        format!("no key is listed; add a line: {index} sha1 followed by the key")
                    } else {
                        format!("listed are: {}", listed.join(", "))
                    };
                    self.report
                        .error(place, format!("key {index} is not in this file"), help);
                }
                _ => {}
            }
        }
        let keys = self
            .keys
            .into_iter()
            .map(|(index, (key, _))| (index, key))
            .collect();
        let keys = self.signing.map(|(signing, _)| Keys { signing, keys });
        AuthKeys {
            keys,
            crc: self.crc,
        }
    }
}

/// The number of a key.
fn index(word: &SourceWord) -> Option<u8> {
    u8::try_from(number(&word.text, 0, 15)?).ok()
}

/// The line with every word that may be a secret starred out. Columns stay.
fn masked(raw: &str) -> String {
    let mut shown = String::with_capacity(raw.len());
    let mut nth = 0;
    for part in raw.split_inclusive(is_blank) {
        let word = part.trim_end_matches(is_blank);
        if word.is_empty() {
            shown.push_str(part);
            continue;
        }
        let short_number = word.len() <= 2 && word.bytes().all(|b| b.is_ascii_digit());
        let keyword = match nth {
            0 => word == "auth" || short_number,
            1 => short_number || METHODS.iter().any(|m| m.as_str() == word),
            _ => false,
        };
        nth += 1;
        if keyword {
            shown.push_str(part);
        } else {
            shown.extend(part.chars().map(|c| if is_blank(c) { c } else { '*' }));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (AuthKeys, Problems) {
        let mut report = Problems::default();
        let keys = parse(text, Path::new("authkeys"), &mut report);
        (keys, report)
    }

    #[test]
    fn a_usual_file() {
        let (read, report) =
            read("# keys\nauth 2\n1 crc\n2 sha1 0123456789\n 3 md5\t#ab'cdefg  \n");
        assert!(report.is_empty(), "{report}");
        let keys = read.keys.unwrap();
        assert_eq!(keys.signing, 2);
        assert_eq!(keys.keys[&2].secret, b"0123456789");
        assert_eq!(keys.keys[&3].secret, b"#ab'cdefg");
        assert_eq!(keys.keys[&1].method, Method::Crc);
        assert_eq!(read.crc.len(), 1);
    }

    #[test]
    fn nothing_but_keywords_survives_the_mask() {
        assert_eq!(masked("auth 1"), "auth 1");
        assert_eq!(masked(" 1 sha1 secret more"), " 1 sha1 ****** ****");
        assert_eq!(masked("1 secret"), "1 ******");
        assert_eq!(masked("secret 1 sha1"), "****** 1 ****");
        assert_eq!(masked("auth sha1 éé"), "auth sha1 **");
        assert_eq!(masked("1sha1secret"), "***********");
    }

    #[test]
    fn no_message_quotes_a_secret() {
        let bad = "auth hunter22\n1 hunter22\nhunter22 sha1 x\n2 sha1 ok hunter22\n3 crc hunter22\nhunter22\n\
                   4 sha1\u{a0}hunter22\n5 sha1 hunter22\u{7}\nauth 1 hunter22\n9999 hunter22";
        let (_, report) = read(bad);
        assert_eq!(report.list.len(), 11, "{report}");
        assert!(!report.to_string().contains("hunter22"), "{report}");
        assert!(!format!("{report:?}").contains("hunter22"));
    }
}
