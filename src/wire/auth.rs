//! Digests: heartbeat's `crc`, `md5` and `sha1`, and our own `sha256`. All but `crc` are HMACs with the key's
//! bytes. On the wire a digest is lower-case hexadecimal, that of `crc` without leading zeros.

use std::fmt::Write;

use crc::{CRC_32_CKSUM, Crc};
use hmac::{Hmac, KeyInit, Mac};
use subtle::ConstantTimeEq;

use super::Refused;
use crate::model::keys::{Keys, Method};

/// The polynomial of `cksum`, whose result also covers the length; heartbeat leaves the length out.
static CKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_CKSUM);

/// The digest of `bytes` as it is sent.
pub fn digest(method: Method, secret: &[u8], bytes: &[u8]) -> String {
    match method {
        Method::Crc => format!("{:x}", CKSUM.checksum(bytes)),
        Method::Md5 => hmac::<Hmac<md5::Md5>>(secret, bytes),
        Method::Sha1 => hmac::<Hmac<sha1::Sha1>>(secret, bytes),
        Method::Sha256 => hmac::<Hmac<sha2::Sha256>>(secret, bytes),
    }
}

/// HMAC accepts keys of every length, so the empty result (which [`verify`] never accepts) does not occur.
fn hmac<M: Mac + KeyInit>(secret: &[u8], bytes: &[u8]) -> String {
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(secret) else {
        return String::new();
    };
    mac.update(bytes);
    hex(&mac.finalize().into_bytes())
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

/// The index of our signing key and its digest of `bytes`. Without a signing key, which [`crate::config`] does not allow, the
/// digest is empty and every node rejects it.
pub fn sign(keys: &Keys, bytes: &[u8]) -> (u8, String) {
    let digest = keys
        .keys
        .get(&keys.signing)
        .map(|key| digest(key.method, &key.secret, bytes))
        .unwrap_or_default();
    (keys.signing, digest)
}

/// Checks `claimed` against `bytes` with the key of the index that the datagram names.
///
/// A 3.0.6 node uses the method of that index with the secret of its own signing key, which is a bug that installations rely
/// on. So that combination is accepted, too. It takes one of our secrets, so it does not help an attacker.
///
/// # Errors
/// [`Refused::UnknownKey`] when we have no such key, [`Refused::BadDigest`] when the digest does not match.
pub fn verify(keys: &Keys, index: u8, bytes: &[u8], claimed: &[u8]) -> Result<(), Refused> {
    let named = keys.keys.get(&index).ok_or(Refused::UnknownKey(index))?;
    if digests_match(&digest(named.method, &named.secret, bytes), claimed) {
        return Ok(());
    }
    let ours = keys.keys.get(&keys.signing).map(|key| &key.secret);
    match ours {
        Some(secret)
            if !secret.is_empty() && *secret != named.secret && named.method != Method::Crc =>
        {
            if digests_match(&digest(named.method, secret, bytes), claimed) {
                return Ok(());
            }
            Err(Refused::BadDigest)
        }
        _ => Err(Refused::BadDigest),
    }
}

/// Compares in a time that does not depend on where they differ. An empty digest never matches.
fn digests_match(computed: &str, claimed: &[u8]) -> bool {
    !claimed.is_empty() && bool::from(computed.as_bytes().ct_eq(claimed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::keys::Key;

    fn keys(signing: u8, list: &[(u8, Method, &str)]) -> Keys {
        let key = |method: &Method, secret: &str| Key {
            method: *method,
            secret: secret.into(),
        };
        Keys {
            signing,
            keys: list.iter().map(|(i, m, s)| (*i, key(m, s))).collect(),
        }
    }

    #[test]
    fn crc_is_cksum_without_the_length_and_without_padding() {
        // The check value of CRC-32/CKSUM.
        assert_eq!(digest(Method::Crc, b"", b"123456789"), "765e7680");
    }

    #[test]
    fn hmacs_match_published_vectors() {
        // RFC 2202 and RFC 4231, test case 2 of each.
        let (key, text) = (
            b"Jefe".as_slice(),
            b"what do ya want for nothing?".as_slice(),
        );
        assert_eq!(
            digest(Method::Md5, key, text),
            "750c783e6ab0b503eaa86e310a5db738"
        );
        assert_eq!(
            digest(Method::Sha1, key, text),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
        );
        assert_eq!(
            digest(Method::Sha256, key, text),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn only_the_named_key_or_our_signing_key_is_accepted() {
        let ours = keys(
            1,
            &[
                (1, Method::Sha1, "one"),
                (2, Method::Sha1, "two"),
                (3, Method::Sha1, "three"),
            ],
        );
        for (secret, believed) in [("one", true), ("two", true), ("three", false), ("", false)] {
            let claimed = digest(Method::Sha1, secret.as_bytes(), b"text");
            let verdict = verify(&ours, 2, b"text", claimed.as_bytes());
            assert_eq!(verdict.is_ok(), believed, "{secret}");
        }
        assert_eq!(
            verify(&ours, 4, b"text", b"00"),
            Err(Refused::UnknownKey(4))
        );
    }

    #[test]
    fn a_signing_key_without_a_secret_opens_no_other_index() {
        let ours = keys(1, &[(1, Method::Crc, ""), (2, Method::Sha1, "two")]);
        let claimed = digest(Method::Sha1, b"", b"text");
        assert_eq!(
            verify(&ours, 2, b"text", claimed.as_bytes()),
            Err(Refused::BadDigest)
        );
    }

    #[test]
    fn a_missing_signing_key_signs_nothing_that_is_accepted() {
        let none = keys(1, &[]);
        assert_eq!(sign(&none, b"text"), (1, String::new()));
        let some = keys(1, &[(1, Method::Sha1, "one")]);
        assert_eq!(verify(&some, 1, b"text", b""), Err(Refused::BadDigest));
    }
}
