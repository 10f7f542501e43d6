//! Which life of which machine sends under a node's name: two machines may have the same name by mistake.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Generation, NodeName, Sequence};

/// A number that each life of a daemon draws at random. Two machines with one name, or a daemon and the one before it, have
/// different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instance(pub u64);

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Who a life of a daemon is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// What it has drawn; none for a daemon of a version that draws nothing.
    pub instance: Option<Instance>,
    /// The life before it on this machine, if that ended in the same boot: so that life is certainly over.
    #[serde(default)]
    pub succeeds: Option<Instance>,
}

/// A second life that a node hears under the name of another node, or of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Namesake {
    /// The name.
    pub node: NodeName,
    /// The second life.
    pub instance: Instance,
    /// Its generation.
    pub generation: Generation,
    /// Its newest heartbeat: an acknowledgement.
    pub sequence: Sequence,
    /// What is known of the first life, which is named among those heard.
    pub first: FirstLife,
    /// Where the heartbeats of the first life come from.
    pub first_address: Option<IpAddr>,
    /// Where those of the second come from.
    pub address: Option<IpAddr>,
}

/// What is known of the first life of a name when a second one is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FirstLife {
    /// It was heard a moment ago and may live.
    MayLive,
    /// It lives, and so does the second: two machines have this name.
    Lives,
    /// It is gone. The second is its successor as soon as it has a later generation.
    Gone,
}
