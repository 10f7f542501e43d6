//! Reads `authkeys`: a line `auth N` names the key that signs, and lines `N method key` list the keys.
//!
//! No secret reaches a report: every word that may be one is masked before places are made.

use std::collections::BTreeMap;
use std::path::Path;

use super::values::number;
use crate::model::keys::{Key, Keys, Method};
use crate::text::did_you_mean;
use crate::text::{Place, Problems, Severity};
use crate::text::{SourceLine, SourceWord, is_blank, split_lines};

const METHODS: [Method; 4] = [Method::Crc, Method::Md5, Method::Sha1, Method::Sha256];
/// Shorter secrets are easy to guess.
const MIN_SECRET_CHARS: usize = 8;

/// What `authkeys` says.
#[derive(Clone, Debug, Default)]
pub struct AuthKeys {
    /// The keys. `None` where they have errors.
    pub keys: Option<Keys>,
    /// The place of each `crc`, for the warning about its use on a network.
    pub crc: Vec<Place>,
}

/// Reads the text of `authkeys`.
pub fn parse(text: &str, file: &Path, report: &mut Problems) -> AuthKeys {
    let mut reader = AuthKeysReader {
        report,
        signing: None,
        auth_line: None,
        keys: BTreeMap::new(),
        crc: Vec::new(),
        broken: false,
    };
    let crlf = (Severity::Warning, "the CR is ignored");
    for line in split_lines(text, file, crlf, reader.report) {
        if reader.report.is_full() {
            break;
        }
        reader.read_line(line);
    }
    reader.finish(file)
}

struct AuthKeysReader<'a> {
    report: &'a mut Problems,
    signing: Option<(u8, Place)>,
    auth_line: Option<Place>,
    keys: BTreeMap<u8, (Key, Place)>,
    crc: Vec<Place>,
    /// Whether a line was refused. Then a key that is missing may only be mistyped.
    broken: bool,
}

impl AuthKeysReader<'_> {
    fn read_line(&mut self, mut line: SourceLine) {
        let raw = line.text.clone();
        line.text = mask_secrets(&raw).into();
        let words = line.words_of(&raw, is_blank);
        let Some(first) = words.first() else { return };
        if first.text.starts_with('#') {
            return;
        }
        if let Some(word) = words.iter().find(|w| w.unreadable().is_some()) {
            let message =
                "this word contains control characters, unusual spaces or bytes that are not UTF-8";
            self.refuse_line(
                &word.place,
                message,
                "type it again; it is not shown because it may be a secret",
            );
        } else if first.text == "auth" {
            self.read_auth_line(first, &words);
        } else if let Some(index) = first.text.strip_prefix("auth").and_then(key_number) {
            let help = format!("write `auth {index}`");
            let message = "a space is missing before the number of the key";
            self.report.warning(&first.place, message, help);
            self.sign_with(index, first, first);
        } else if let Some(index) = key_number(&first.text) {
            self.read_key_line(index, first, &words);
        } else if first.text.bytes().all(|b| b.is_ascii_digit()) {
            self.refuse_line(&first.place, "the number of a key is 0 to 15", "");
        } else {
            let hint = did_you_mean(&first.text, ["auth"]);
            let help = if hint.is_empty() {
                "a line is `auth N`, or `N method key`, or begins with `#`".to_owned()
            } else {
                hint
            };
            self.refuse_line(&first.place, "neither `auth` nor the number of a key", help);
        }
    }

    fn refuse_line(&mut self, place: &Place, message: &str, help: impl Into<String>) {
        self.broken = true;
        self.report.error(place, message, help);
    }

    fn read_auth_line(&mut self, auth: &SourceWord, words: &[SourceWord]) {
        let Some(word) = words.get(1) else {
            self.auth_line.get_or_insert(auth.place.clone());
            self.refuse_line(
                &auth.place,
                "`auth` needs the number of a key",
                "for example: auth 1",
            );
            return;
        };
        let Some(index) = key_number(&word.text) else {
            self.auth_line.get_or_insert(auth.place.clone());
            self.refuse_line(
                &word.place,
                "the number of a key is 0 to 15",
                "for example: auth 1",
            );
            return;
        };
        self.ignore_extra_word(words.get(2), "`auth` takes one number");
        self.sign_with(index, auth, word);
    }

    fn sign_with(&mut self, index: u8, auth: &SourceWord, number: &SourceWord) {
        if let Some(before) = &self.auth_line {
            let message = format!("`auth` is already on line {}", before.line);
            let help = "one key signs; messages signed with any listed key are accepted";
            return self.report.error(&auth.place, message, help);
        }
        self.auth_line = Some(auth.place.clone());
        self.signing = Some((index, number.place.clone()));
    }

    fn read_key_line(&mut self, index: u8, first: &SourceWord, words: &[SourceWord]) {
        let before = self.keys.get(&index).map(|(_, place)| place.line);
        if let Some(line) = before {
            let message = format!("key {index} is already on line {line}");
            self.refuse_line(
                &first.place,
                &message,
                "give each key a number of its own, 0 to 15",
            );
            return;
        }
        let Some(word) = words.get(1) else {
            let help = format!("for example: {index} sha256 followed by the key");
            self.refuse_line(&first.place, "a key needs a method", help);
            return;
        };
        let Some(method) = METHODS.into_iter().find(|m| m.as_str() == word.text) else {
            let hint = did_you_mean(&word.text, METHODS.map(Method::as_str));
            let known = "methods are crc, md5, sha1 and sha256";
            let help = if hint.is_empty() {
                known.to_owned()
            } else {
                format!("{hint} {known}")
            };
            self.refuse_line(&word.place, "unknown method", help);
            return;
        };
        if let Some(key) = self.read_secret(method, word, words) {
            self.keys.insert(index, (key, first.place.clone()));
        } else {
            self.broken = true;
        }
    }

    fn read_secret(
        &mut self,
        method: Method,
        word: &SourceWord,
        words: &[SourceWord],
    ) -> Option<Key> {
        let secret = words.get(2);
        if method == Method::Crc {
            if let Some(extra) = secret {
                let message = "`crc` takes no key: the rest of this line is ignored";
                let help = "it is a checksum only; sha256 and sha1 take a key";
                self.report.warning(&extra.place, message, help);
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
        self.ignore_extra_word(words.get(3), "a key is one word");
        if secret.text.len() < MIN_SECRET_CHARS {
            let message =
                format!("a key of fewer than {MIN_SECRET_CHARS} characters is easy to guess");
            self.report
                .warning(&secret.place, message, "make one: openssl rand -hex 20");
        }
        Some(Key {
            method,
            secret: secret.text.clone().into_bytes(),
        })
    }

    /// heartbeat does not read it either.
    fn ignore_extra_word(&mut self, extra: Option<&SourceWord>, message: &str) {
        if let Some(extra) = extra {
            let message = format!("{message}: the rest of this line is ignored");
            let help = "a comment needs a line of its own";
            self.report.warning(&extra.place, message, help);
        }
    }

    fn finish(self, file: &Path) -> AuthKeys {
        let whole = Place::whole(file);
        if self.auth_line.is_none() && !self.broken {
            self.report
                .error(&whole, "no `auth` line", "name the key that signs: auth 1");
        }
        if let Some((index, place)) = &self.signing
            && !self.keys.contains_key(index)
            && !self.broken
        {
            let listed: Vec<String> = self.keys.keys().map(u8::to_string).collect();
            let help = if listed.is_empty() {
                format!("no key is listed; add a line: {index} sha256 followed by the key")
            } else {
                format!("listed are: {}", listed.join(", "))
            };
            self.report
                .error(place, format!("key {index} is not in this file"), help);
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
fn key_number(word: &str) -> Option<u8> {
    u8::try_from(number(word, 0, 15)?).ok()
}

/// The line with asterisks for every word that may be a secret. Columns stay the same.
fn mask_secrets(raw: &str) -> String {
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
        assert_eq!(mask_secrets("auth 1"), "auth 1");
        assert_eq!(mask_secrets(" 1 sha1 secret more"), " 1 sha1 ****** ****");
        assert_eq!(mask_secrets("1 secret"), "1 ******");
        assert_eq!(mask_secrets("secret 1 sha1"), "****** 1 ****");
        assert_eq!(mask_secrets("auth sha1 éé"), "auth sha1 **");
        assert_eq!(mask_secrets("1sha1secret"), "***********");
    }

    #[test]
    fn no_message_quotes_a_secret() {
        let bad = "auth hunter22\n1 hunter22\nhunter22 sha1 x\n2 sha1 ok hunter22\n3 crc hunter22\nhunter22\n\
                   4 sha1\u{a0}hunter22\n5 sha1 hunter22\u{7}\nauth 1 hunter22\n9999 hunter22";
        let (_, report) = read(bad);
        assert_eq!(report.list.len(), 12, "{report}");
        assert!(!report.to_string().contains("hunter22"), "{report}");
        assert!(!format!("{report:?}").contains("hunter22"));
    }
}
