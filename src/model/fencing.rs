//! Fencing (STONITH): switching the machine of a node off, so that it is certain that nothing runs there.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::NodeName;

/// What the engine must know of the `fence` lines of ha.cf.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fencing {
    /// The nodes that can be fenced.
    pub nodes: Vec<NodeName>,
    /// How much later the second of two nodes fires that may fence each other (`fence_delay`).
    pub delay: Duration,
    /// Whether every group waits for it, not only those on shared storage (`fence_for all`).
    pub for_all: bool,
    /// Whether the machine is switched on again afterwards (`fence_action reboot`).
    pub reboot: bool,
}

impl Fencing {
    /// The usual `fence_delay`.
    pub const USUAL_DELAY: Duration = Duration::from_secs(30);

    /// Whether a node can be fenced.
    pub fn covers(&self, node: &NodeName) -> bool {
        self.nodes.contains(node)
    }
}

impl Default for Fencing {
    fn default() -> Self {
        Fencing {
            nodes: Vec::new(),
            delay: Fencing::USUAL_DELAY,
            for_all: false,
            reboot: true,
        }
    }
}

/// What is asked of the power switch of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FenceCall {
    /// Switch the machine off, and make sure that it is.
    Off,
    /// Switch it on.
    On,
    /// Only ask whether it is on.
    Status,
}

impl FenceCall {
    /// The word for it, which is the `action` of a fence agent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Status => "status",
        }
    }
}

/// What the power switch of a machine says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    /// The machine has power.
    On,
    /// It has none.
    Off,
}

impl Power {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// How far the fencing of a node has come, for `hactl status` and `hactl fence status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencingStatus {
    /// The node.
    pub node: NodeName,
    /// How far it has come.
    pub state: FencingState,
    /// Attempts that have failed in a row.
    pub failed: u32,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How far the fencing of a node has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FencingState {
    /// There is no reason to fence it.
    Idle,
    /// It will be fenced, or its power switch will be asked, in a moment.
    Waits,
    /// Its power switch is being told or asked.
    Runs,
    /// Its machine was switched off.
    Fenced,
    /// An administrator has confirmed that it is dead.
    Confirmed,
    /// Only an administrator can carry it further.
    Held,
}

impl FencingState {
    /// The word that `hactl fence status` shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Waits => "waits",
            Self::Runs => "runs",
            Self::Fenced => "fenced",
            Self::Confirmed => "confirmed",
            Self::Held => "held",
        }
    }
}
