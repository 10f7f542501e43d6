//! What daemons of former versions of the protocol have sent: today's code reads it with the meaning that it had.
//!
//! A file of `trace/` is a run of three nodes that carol has heard: for each heartbeat its meaning as JSON, then the datagram in
//! hexadecimal. Version 1 is as it was before heartbeats named an instance and a range of versions.

use std::fs;
use std::path::Path;

use had::model::heartbeat::Heartbeat;
use had::model::keys::{Key, Keys, Method};
use had::wire::decode;

#[test]
fn a_recorded_trace_means_what_it_meant() {
    let secret = "a recorded trace".into();
    let method = Method::Sha256;
    let keys = Keys {
        signing: 2,
        keys: [(2, Key { method, secret })].into(),
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/trace/version-1.txt");
    let text = fs::read_to_string(file).unwrap();
    let mut lines = text.lines().filter(|l| !l.is_empty());
    let mut read = 0;
    while let (Some(meaning), Some(hex)) = (lines.next(), lines.next()) {
        let digits = hex.as_bytes().chunks(2);
        let bytes: Vec<u8> = digits
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        let meant: Heartbeat = serde_json::from_str(meaning).unwrap();
        assert_eq!(decode(&bytes, &keys, "shop"), Ok(meant));
        read += 1;
    }
    assert_eq!(read, 41);
}
