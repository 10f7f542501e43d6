//! The page, and what a browser may do with it: run the one script that it has, and ask this program. Nothing that anybody
//! slips into it runs.

use axum::http::HeaderValue;
use sha2::{Digest as _, Sha256};

/// The page, with its styles and its script in itself.
pub const PAGE: &str = include_str!("page.html");

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value of `Content-Security-Policy`.
pub fn content_security() -> HeaderValue {
    let text = format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        source_of("script"),
        source_of("style")
    );
    // Without a policy that can be sent, nothing at all may run.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// The one element of this name in the page, by its digest.
fn source_of(element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let inside = PAGE
        .split_once(&open)
        .and_then(|(_, rest)| rest.split_once(&close));
    let text = inside.map_or("", |(text, _)| text);
    format!("'sha256-{}'", base64(&Sha256::digest(text)))
}

/// As RFC 4648 has it.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4usize {
            let index = (group >> (18 - 6 * place)) & 63;
            let letter = usize::try_from(index).ok().and_then(|i| ALPHABET.get(i));
            let used = place <= chunk.len();
            text.push(letter.filter(|_| used).map_or('=', |l| char::from(*l)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_written_as_browsers_read_them() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn the_page_has_one_script_and_loads_nothing() {
        for once in ["<script", "<style"] {
            assert_eq!(PAGE.matches(once).count(), 1, "{once}");
        }
        for never in [
            "http:",
            "https:",
            " onclick",
            " onload",
            " style=",
            "innerHTML",
            "src=",
        ] {
            assert!(!PAGE.contains(never), "{never}");
        }
        let policy = content_security();
        assert!(!policy.to_str().unwrap().contains("unsafe"));
    }
}
