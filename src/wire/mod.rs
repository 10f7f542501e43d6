//! Encodes heartbeats to bytes and back, and signs and verifies them. No socket and no clock.
//!
//! A datagram is decoded in four steps. Each handles only what the step before has accepted:
//!
//! ```text
//! bytes --message::split--> signed part, index, digest      reads the frame and the tail, no field
//!       --auth::verify----> authenticated                     one pass over the bytes
//!       --Datagram::fields> ordered fields                    message.rs
//!       --heartbeat-------> model::Heartbeat                  heartbeat.rs
//! ```

pub mod auth;
mod fields;
pub mod heartbeat;
pub mod message;
mod readiness;

use thiserror::Error;

pub use heartbeat::{Envelope, encode};

use crate::model::heartbeat::{Heartbeat, UnreadableHeartbeat};
use crate::model::keys::Keys;

/// Why a datagram was rejected. Cheap to make and count, because anybody on the network decides how often it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Error)]
pub enum Refused {
    /// Longer than any message may be.
    #[error("the datagram is longer than {} bytes", message::MAX_BYTES)]
    TooLong,
    /// Not a message; the text says why.
    #[error("malformed datagram: {0}")]
    Malformed(&'static str),
    /// Signed with a key that authkeys does not have.
    #[error(
        "signed with key {0}, which authkeys does not have; authkeys must be the same on every node"
    )]
    UnknownKey(u8),
    /// The digest does not match: the datagram is damaged, forged, or signed with another key.
    #[error("the digest does not match; authkeys must be the same on every node")]
    BadDigest,
    /// Signed with our key, but by a cluster of another name.
    #[error(
        "a heartbeat of another cluster that uses the same key; give each cluster its own authkeys"
    )]
    OtherCluster,
    /// An authenticated message of a heartbeat 3.0.6 node.
    #[error("a message of a heartbeat 3.0.6 node, which cannot share a cluster with had")]
    ForeignHeartbeat,
    /// A heartbeat in the format of another version of had.
    #[error(
        "a heartbeat in a format of another version of had; run the same version on every node"
    )]
    OtherVersion,
}

/// Authenticates and decodes a datagram.
///
/// `cluster` is the name of our cluster; a heartbeat of another one is rejected even with the same key. The caller checks whether
/// the heartbeat is newer than the last one, and whether it is our own.
///
/// # Errors
/// [`Refused`] says why. No field of a datagram with a wrong digest is interpreted.
pub fn decode(bytes: &[u8], keys: &Keys, cluster: &str) -> Result<Heartbeat, Refused> {
    let datagram = message::split(bytes)?;
    auth::verify(keys, datagram.index, datagram.signed, datagram.digest)?;
    heartbeat::read(&datagram.fields()?, cluster)
}

/// What can be read of an authentic heartbeat of our cluster that [`decode`] has refused; none of any other datagram. `now`, in
/// milliseconds, stands for the numbers of one that has none.
pub fn decode_unreadable(
    bytes: &[u8],
    keys: &Keys,
    cluster: &str,
    now: u64,
) -> Option<UnreadableHeartbeat> {
    let datagram = message::split(bytes).ok()?;
    auth::verify(keys, datagram.index, datagram.signed, datagram.digest).ok()?;
    heartbeat::read_unreadable(&datagram.fields().ok()?, cluster, now)
}
