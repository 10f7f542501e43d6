//! What daemons ask each other beside what decides who owns a group: carried by heartbeats, repeated in each until it is
//! answered, and of no meaning to the engine.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::NodeName;
use super::drbd::Standing;

/// No heartbeat carries more.
pub const MAX_PEER_MESSAGES: usize = 16;

/// A question to one node, or its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerMessage {
    /// Who shall read it.
    pub to: NodeName,
    /// Which question of the one who asks; the answer bears the same.
    pub id: u64,
    /// What it says.
    pub body: PeerMessageBody,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerMessageBody {
    /// A question.
    Ask(Question),
    /// Its answer; an error is a sentence for an administrator.
    Reply(Result<Reply, String>),
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// How does a DRBD resource stand at your side?
    Drbd(String),
    /// Mark your data of this DRBD resource as outdated, for this side goes on, or wants to go on, without you.
    Outdate {
        /// Its name in drbd.conf.
        resource: String,
        /// This side writes, and wrote what yours lacks: then also data that this side lacks is outdated, for it must not be
        /// used before somebody has chosen.
        primary: bool,
    },
}

/// What can be answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// No such resource is in this node's drbd.conf.
    NotConfigured,
    /// How it stands.
    Drbd(Standing),
    /// What became of the data that was to be outdated.
    Outdate(Fenced),
}

/// What a side's data is worth after it was asked to outdate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fenced {
    /// It is outdated and will not be used.
    Outdated,
    /// It is worth less than that.
    Inconsistent,
    /// That side writes, and goes on.
    Primary,
    /// That side has what the one who asks lacks, and so is not outdated.
    Ahead,
    /// The resource is not up there, so nobody can use it; what it is worth is not known.
    NotUp,
}

impl fmt::Display for Fenced {
    /// What the side says of its data that was asked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outdated => "it is outdated now, and not used before it is synchronised",
            Self::Inconsistent => "it is worth nothing already",
            Self::Primary => "it is in use here, and stays so",
            Self::Ahead => "it is not outdated, for it is newer",
            Self::NotUp => "the resource is not up here",
        })
    }
}
