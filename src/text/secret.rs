//! Hides passwords in texts. A resource word may have one (`ocf:heartbeat:x::passwd=...`), and every text about the resource
//! then has it, too: the status that any user may see, the log, the name of a file.

use std::ops::Range;

/// What takes the place of a secret.
const MASK: &str = "***";

/// A name that contains one of these is that of a secret.
const SECRET_NAMES: [&str; 5] = ["passw", "passphrase", "secret", "credential", "token"];
/// A part of a name, between `_`, `-` and `.`, that makes it the name of a secret.
const SECRET_PARTS: [&str; 8] = [
    "pass",
    "pwd",
    "pw",
    "community",
    "apikey",
    "authkey",
    "privkey",
    // The key of IPMI, as fence_ipmilan calls it: hexadecimal_kg.
    "kg",
];
/// The name of a secret when one of these comes before `key`.
const SECRET_KEYS: [&str; 8] = [
    "api",
    "auth",
    "access",
    "private",
    "priv",
    "account",
    "encryption",
    "ssh",
];
/// A name that ends in one of these is that of a place where the secret is, not of the secret.
const PLACES: [&str; 5] = ["file", "path", "dir", "script", "command"];

/// The text without the values of what looks like `password=value`. A value ends at a blank or at `::`.
pub fn mask_secrets(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut end = 0;
    for secret in secrets(text) {
        masked += text.get(end..secret.start).unwrap_or_default();
        masked += MASK;
        end = secret.end;
    }
    masked + text.get(end..).unwrap_or_default()
}

/// The values that [`mask_secrets`] hides.
pub fn secret_values(text: &str) -> Vec<&str> {
    let found = secrets(text);
    found
        .into_iter()
        .filter_map(|range| text.get(range))
        .collect()
}

/// Where the secrets of a text are, in bytes.
pub(super) fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut end = 0;
    for (at, _) in text.match_indices('=') {
        let before = text.get(end..at).unwrap_or_default();
        if at < end || !is_secret_name(last_name(before)) {
            continue;
        }
        let start = at + 1;
        let value = text.get(start..).unwrap_or_default();
        if value.starts_with(MASK) {
            continue;
        }
        let length = value_length(value);
        // What a sentence puts behind a word.
        let value = value.get(..length).unwrap_or_default();
        let value = value.trim_end_matches([':', ',', ';', '.', ')', '`', '"', '\'']);
        end = start + value.len();
        if !value.is_empty() {
            found.push(start..end);
        }
    }
    found
}

/// A value ends at a blank, at `::`, and where a JSON string ends.
fn value_length(value: &str) -> usize {
    let ends = [
        value.find(char::is_whitespace),
        value.find("::"),
        value.find("\","),
        value.find("\"}"),
        value.find("\"]"),
        value.find("\":"),
    ];
    ends.into_iter().flatten().min().unwrap_or(value.len())
}

/// The name at the end of a text.
fn last_name(text: &str) -> &str {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let start = text.trim_end_matches(is_part).len();
    text.get(start..).unwrap_or_default()
}

/// Whether what has this name is a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if PLACES.iter().any(|place| name.ends_with(place)) {
        return false;
    }
    let parts: Vec<&str> = name.split(['_', '-', '.']).collect();
    SECRET_NAMES.iter().any(|secret| name.contains(secret))
        || parts.iter().any(|part| SECRET_PARTS.contains(part))
        || parts
            .windows(2)
            .any(|two| matches!(two, [kind, "key"] if SECRET_KEYS.contains(kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_secrets_are_hidden() {
        for (text, masked) in [
            (
                "ocf:heartbeat:x::user=a::passwd=s3:cret",
                "ocf:heartbeat:x::user=a::passwd=***",
            ),
            ("x::password=a=b::port=80", "x::password=***::port=80"),
            (
                "Filesystem::-o::username=u,password=p,vers=3",
                "Filesystem::-o::username=u,password=***",
            ),
            (
                "start of `x::PASSWD=a` failed: (pass=b), secret=c: d",
                "start of `x::PASSWD=***` failed: (pass=***), secret=***: d",
            ),
            (
                "replication_passwd=x api_key=y auth-key=z snmp.community=q",
                "replication_passwd=*** api_key=*** auth-key=*** snmp.community=***",
            ),
            (
                "hexadecimal_kg=0a kg=0b pkg=x",
                "hexadecimal_kg=*** kg=*** pkg=x",
            ),
            ("token=a secret= passwd", "token=*** secret= passwd"),
            ("pässword=ä passphrase=ö", "pässword=ä passphrase=***"),
        ] {
            assert_eq!(mask_secrets(text), masked);
        }
    }

    #[test]
    fn json_stays_json_and_a_mask_stays() {
        for json in [
            r#"{"token":"x::passwd=hidden","list":["pass=hidden"],"pass=hidden":1}"#,
            r#"{"token":"x::passwd=***","list":["pass=***"],"pass=***":1}"#,
        ] {
            assert_eq!(
                mask_secrets(json),
                r#"{"token":"x::passwd=***","list":["pass=***"],"pass=***":1}"#
            );
        }
    }

    #[test]
    fn other_texts_stay() {
        for text in [
            "",
            "=",
            "==",
            "ip=10.0.0.1::nic=eth0",
            "bypass=1 passive=yes keyfile=/k key=3",
            "passwd_file=/etc/x password_script=/y",
            "the password is wrong",
            "a == b",
        ] {
            assert_eq!(mask_secrets(text), text);
        }
    }
}
