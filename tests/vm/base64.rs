//! How the guest agent writes bytes into JSON.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |n: usize| u32::from(chunk.get(n).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * n) & 63) as usize];
            text.push(if n <= chunk.len() { letter.into() } else { '=' });
        }
    }
    text
}

pub fn decode(text: &str) -> Vec<u8> {
    let value = |letter: u8| (0..64).find(|n| LETTERS[*n as usize] == letter);
    let values: Vec<u32> = text.bytes().filter_map(value).collect();
    let mut bytes = Vec::new();
    for chunk in values.chunks(4) {
        let bits = (0..4).fold(0, |bits, n| bits << 6 | chunk.get(n).copied().unwrap_or(0));
        bytes.extend(&bits.to_be_bytes()[1..chunk.len().max(1)]);
    }
    bytes
}

/// What the tests of this file would be if it were a library.
pub fn holds_what_it_says() {
    for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
        assert_eq!(encode(bytes.as_bytes()), text);
    }
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(decode(&encode(&all)), all);
}
