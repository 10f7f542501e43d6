//! Questions between daemons that have nothing to do with ownership, and their answers. Heartbeats carry them, each one until
//! the answer has come; the engine does not read them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::NodeName;
use super::drbd::Standing;

/// Messages in one heartbeat, at most.
pub const MAX_PEER_MESSAGES: usize = 16;

/// A question to one node, or its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerMessage {
    /// The addressee.
    pub to: NodeName,
    /// The number of the question, chosen by the one who asks; the answer has the same.
    pub id: u64,
    /// The question or answer.
    pub body: PeerMessageBody,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerMessageBody {
    /// A question.
    Ask(PeerQuestion),
    /// An answer; an error is a sentence for an administrator.
    Reply(Result<PeerReply, String>),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerQuestion {
    /// What is the state of this DRBD resource on your node?
    Drbd(String),
    /// Mark your data of this DRBD resource as outdated: this node goes on, or wants to go on, without you.
    Outdate {
        /// Its name in drbd.conf.
        resource: String,
        /// The asking node is Primary and has data that yours lacks. Then your data is outdated even if it has data that the
        /// asking node lacks: it must not be used before an administrator has chosen.
        primary: bool,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerReply {
    /// This resource is not in drbd.conf of this node.
    NotConfigured,
    /// The state of the resource.
    Drbd(Standing),
    /// The state of the data that was to be outdated.
    Outdate(Fenced),
}

/// The state of a node's data after it was asked to outdate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fenced {
    /// Outdated: it is not used.
    Outdated,
    /// Inconsistent: it cannot be used anyway.
    Inconsistent,
    /// Not outdated: the node is Primary and goes on.
    Primary,
    /// Not outdated: the node has data that the asking node lacks.
    Ahead,
    /// The resource is not up on the node, so nobody can use it; the state of its data is unknown.
    NotUp,
}

impl fmt::Display for Fenced {
    /// From the view of the node that was asked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outdated => "outdated; it is not used before it is synchronised",
            Self::Inconsistent => "already inconsistent",
            Self::Primary => "not outdated, because this node is Primary and goes on",
            Self::Ahead => "not outdated, because it is newer",
            Self::NotUp => "the resource is not up here",
        })
    }
}
