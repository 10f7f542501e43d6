//! Datagrams captured between heartbeat 3.0.6 nodes, and what must be read from them.
//!
//! Each file of `samples/` says in its comments how it was signed, whether its digest fits, and what its fields are.
// The lint spares tests themselves, not what they call.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod versions;

use std::fs;
use std::path::Path;

use had::model::keys::{Key, Keys, Method};
use had::wire::message::{self, Field, Framing};
use had::wire::{Refused, auth, decode};

/// What a sample file says of itself.
struct Sample {
    name: String,
    keys: Keys,
    fits: bool,
    inner: bool,
    text: bool,
    /// `(TYPE) NAME = VALUE`
    fields: Vec<String>,
    bytes: Vec<u8>,
}

fn samples() -> Vec<Sample> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/samples");
    let files = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let samples = files.filter(|path| path.extension().is_some_and(|e| e == "txt"));
    let mut all: Vec<Sample> = samples.map(|path| sample(&path)).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn sample(path: &Path) -> Sample {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(path).unwrap();
    let after = |what: &str| {
        let at = text.find(what).unwrap_or_else(|| panic!("{name}: {what}"));
        &text[at + what.len()..]
    };
    let word = |what: &str| {
        after(what)
            .split([' ', ',', '\n'])
            .next()
            .unwrap()
            .to_owned()
    };
    let secret = match after(", key ").lines().next().unwrap() {
        "(none)" => "",
        quoted => quoted.trim_matches('"'),
    };
    let index = word("auth: index ").parse().unwrap();
    let method = match word("method ").as_str() {
        "crc" => Method::Crc,
        "md5" => Method::Md5,
        "sha1" => Method::Sha1,
        other => panic!("{name}: method {other}"),
    };
    let key = Key {
        method,
        secret: secret.into(),
    };
    let hex: String = after("\nhex:\n").split_whitespace().collect();
    Sample {
        keys: Keys {
            signing: index,
            keys: [(index, key)].into(),
        },
        fits: word("digest verified: ") == "yes",
        inner: word("inner auth field verified: ") == "yes",
        text: word("framing: ") == "text",
        fields: text
            .lines()
            .filter_map(|l| l.strip_prefix("#   "))
            .map(str::to_owned)
            .collect(),
        bytes: (0..hex.len() / 2)
            .map(|i| u8::from_str_radix(&hex[i * 2..i * 2 + 2], 16).unwrap())
            .collect(),
        name,
    }
}

/// A field as the comments write it.
fn comment(field: &Field<'_>) -> String {
    let value = match (field.kind, field.value.len()) {
        (0, _) => String::from_utf8(field.value.to_vec()).unwrap(),
        (1, 16) => {
            let number = u128::from_be_bytes((*field.value).try_into().unwrap());
            let hex = format!("{number:032x}");
            let parts = [
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..],
            ];
            parts.join("-")
        }
        (_, length) => format!("<{length} bytes>"),
    };
    let name = String::from_utf8(field.name.to_vec()).unwrap();
    format!("({}) {name} = {value}", field.kind)
}

#[test]
fn all_samples_are_there() {
    assert_eq!(samples().len(), 54);
}

#[test]
fn digests_are_as_the_comments_say() {
    for s in samples() {
        let d = message::split(&s.bytes).unwrap();
        let verdict = auth::verify(&s.keys, d.index, d.signed, d.digest);
        let expected = if s.fits {
            Ok(())
        } else {
            Err(Refused::BadDigest)
        };
        assert_eq!(verdict, expected, "{}", s.name);
    }
}

#[test]
fn the_wrongly_keyed_one_fits_a_node_that_signs_with_key_one() {
    let all = samples();
    let bent: Vec<_> = all.iter().filter(|s| !s.fits).collect();
    let [s] = bent.as_slice() else {
        panic!("one sample is keyed wrongly")
    };
    let mut keys = s.keys.clone();
    keys.keys.insert(
        1,
        Key {
            method: Method::Sha1,
            secret: "TestKey-One".into(),
        },
    );
    keys.signing = 1;
    let d = message::split(&s.bytes).unwrap();
    assert_eq!(auth::verify(&keys, d.index, d.signed, d.digest), Ok(()));
}

#[test]
fn fields_are_as_the_comments_list_them() {
    for s in samples() {
        let d = message::split(&s.bytes).unwrap();
        assert_eq!(d.framing == Framing::Text, s.text, "{}", s.name);
        let mut fields: Vec<String> = d.fields().unwrap().fields.iter().map(comment).collect();
        if s.text {
            let digest = String::from_utf8(d.digest.to_vec()).unwrap();
            fields.push(format!("(0) auth = {} {digest}", d.index));
        }
        assert_eq!(fields, s.fields, "{}", s.name);
    }
}

#[test]
fn written_again_they_are_the_same_bytes() {
    for s in samples() {
        let d = message::split(&s.bytes).unwrap();
        let m = d.fields().unwrap();
        let digest = str::from_utf8(d.digest).unwrap();
        let again = if s.text {
            let lines = String::from_utf8(m.to_text()).unwrap();
            format!(">>>\n{lines}auth={} {digest}\n<<<\n\0", d.index).into_bytes()
        } else {
            message::close(m.to_netstrings(), d.index, digest)
        };
        assert_eq!(again, s.bytes, "{}", s.name);
    }
}

#[test]
fn inner_digests_fit_the_text_form() {
    let mut seen = 0;
    for s in samples().iter().filter(|s| s.inner) {
        let mut m = message::split(&s.bytes).unwrap().fields().unwrap();
        let claimed = m.get("auth").unwrap().to_vec();
        m.fields.retain(|f| *f.name != *b"auth");
        let (index, digest) = auth::sign(&s.keys, &m.to_text());
        let ours = format!("{index} {digest}");
        assert_eq!(ours.as_bytes(), claimed, "{}", s.name);
        seen += 1;
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn a_3_0_6_node_is_recognised_as_such() {
    for s in samples().iter().filter(|s| s.fits) {
        let verdict = decode(&s.bytes, &s.keys, "ha");
        assert_eq!(verdict, Err(Refused::ForeignHeartbeat), "{}", s.name);
    }
}

#[test]
fn every_truncation_is_refused() {
    for s in samples() {
        for end in 0..s.bytes.len() {
            // The NUL after a text message need not be there.
            if s.text && end + 1 == s.bytes.len() {
                continue;
            }
            let verdict = decode(&s.bytes[..end], &s.keys, "ha");
            assert!(
                verdict.is_err_and(|e| e != Refused::ForeignHeartbeat),
                "{} cut at {end}",
                s.name
            );
        }
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    for s in samples().iter().filter(|s| s.fits) {
        for bit in 0..s.bytes.len() * 8 {
            let mut bent = s.bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            let verdict = decode(&bent, &s.keys, "ha");
            assert!(
                verdict.is_err_and(|e| e != Refused::ForeignHeartbeat),
                "{} bit {bit}",
                s.name
            );
        }
    }
}
