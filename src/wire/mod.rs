//! Bytes to heartbeats and back, and the digest that makes them believable. Nothing else: no socket, no clock.
//!
//! The way in has four steps, and each sees only what the step before has let through:
//!
//! ```text
//! bytes --message::split--> what is signed, index, digest    looks at the frame and the tail, at no field
//!       --auth::verify----> believed                          one pass over the bytes
//!       --Datagram::fields> ordered fields                    message.rs
//!       --heartbeat-------> model::Heartbeat                  heartbeat.rs
//! ```

pub mod auth;
mod fields;
pub mod heartbeat;
pub mod message;

use thiserror::Error;

pub use heartbeat::{Envelope, encode};

use crate::model::heartbeat::Heartbeat;
use crate::model::keys::Keys;

/// Why a datagram was not taken. Cheap to make and to count: strangers decide how often it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Error)]
pub enum Refused {
    /// Longer than any message may be.
    #[error("the datagram is longer than {} bytes", message::MAX_BYTES)]
    TooLong,
    /// Not a message; the text says what is wrong with it.
    #[error("malformed datagram: {0}")]
    Malformed(&'static str),
    /// It names a key that authkeys does not have.
    #[error(
        "signed with key {0}, which authkeys does not have; authkeys must be the same on every node"
    )]
    UnknownKey(u8),
    /// The digest does not fit: damaged, forged, or made with another key.
    #[error("the digest does not match; authkeys must be the same on every node")]
    BadDigest,
    /// Signed with our key but of a cluster of another name.
    #[error(
        "a heartbeat of another cluster that uses the same key; give each cluster its own authkeys"
    )]
    OtherCluster,
    /// A believed message that is not ours: a heartbeat 3.0.6 node sent it.
    #[error("a message of a heartbeat 3.0.6 node, which cannot share a cluster with had")]
    ForeignHeartbeat,
    /// A heartbeat of a had whose format we do not know.
    #[error(
        "a heartbeat in a format of another version of had; run the same version on every node"
    )]
    OtherVersion,
}

/// Takes a datagram apart and believes it.
///
/// `cluster` is our cluster's name; a heartbeat of another one is refused even when the key is the same.
/// Whether the heartbeat is newer than the last, and whether it is our own come back, is for the caller to judge.
///
/// # Errors
/// [`Refused`] says why; nothing of a datagram with a wrong digest is interpreted.
pub fn decode(bytes: &[u8], keys: &Keys, cluster: &str) -> Result<Heartbeat, Refused> {
    let datagram = message::split(bytes)?;
    auth::verify(keys, datagram.index, datagram.signed, datagram.digest)?;
    heartbeat::read(&datagram.fields()?, cluster)
}
