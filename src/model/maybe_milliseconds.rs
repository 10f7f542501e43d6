//! The same of a length of time that may be unknown.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::milliseconds::{Written, as_number};

/// Writes a number, or nothing.
#[allow(clippy::ref_option)] // what serde asks for
pub fn serialize<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    time.map(as_number).serialize(to)
}

/// Reads a number, or the form of earlier versions.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let written = Option::<Written>::deserialize(from)?;
    Ok(written.map(Written::read))
}
