//! The states of a group on this node, each with the data that only this state has.
//!
//! `PROTOCOL.md` draws how one follows the other. A group is `Unknown` again when our own time stood still, when
//! maintenance ends and when an administrator clears a stuck group: then it must be probed before anything is decided.

use serde::{Deserialize, Serialize};

use super::handover::Offer;
use super::stack::{ProbeResult, StopOrder};
use crate::model::decision::Because;
use crate::model::heartbeat::GroupState;

/// What the group does on this node. [`GroupState`] is the part of it that is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LocalState {
    /// Not known whether it runs here.
    Unknown {
        /// What the probe found; nothing while it still runs.
        probe_result: Option<ProbeResult>,
    },
    /// Nothing of it runs here.
    Offline,
    /// This node asks all others whether it may start the group.
    Claiming,
    /// The steps are being started.
    Starting {
        /// It was online: some steps are restarted in place.
        restarting: bool,
        /// Our own time stood still meanwhile: once it is up, its right must be judged anew.
        stood_still: bool,
        /// It is offered since before the restart in place.
        offer: Option<Offer>,
    },
    /// Every step runs.
    Online {
        /// It is offered to another node.
        offer: Option<Offer>,
    },
    /// The steps are being stopped.
    Stopping {
        /// Why.
        because: Because,
        /// The stop begins, in this order, when the order that is still out has ended.
        waits_to_begin: Option<StopOrder>,
        /// The right goes on, so the addresses stay until it is their turn.
        keeps_right: bool,
        /// The offer for which it is stopped.
        offer: Option<Offer>,
    },
    /// It failed here and was stopped cleanly: no candidate until the failure is cleared or has expired.
    Failed,
    /// A step could not be stopped: what runs here is not known.
    Stuck,
}

impl LocalState {
    /// A state in which the probe is still out.
    pub fn unprobed() -> Self {
        Self::Unknown { probe_result: None }
    }

    pub fn probed(result: ProbeResult) -> Self {
        let probe_result = Some(result);
        Self::Unknown { probe_result }
    }

    /// As it is published.
    pub fn published(&self) -> GroupState {
        match self {
            Self::Unknown { .. } => GroupState::Unknown,
            Self::Offline => GroupState::Offline,
            Self::Claiming => GroupState::Claiming,
            Self::Starting { .. } => GroupState::Starting,
            Self::Online { .. } => GroupState::Online,
            Self::Stopping { .. } => GroupState::Stopping,
            Self::Failed => GroupState::Failed,
            Self::Stuck => GroupState::Stuck,
        }
    }

    pub fn is_online(&self) -> bool {
        matches!(self, Self::Online { .. })
    }

    pub fn offer(&self) -> Option<&Offer> {
        match self {
            Self::Starting { offer, .. }
            | Self::Online { offer }
            | Self::Stopping { offer, .. } => offer.as_ref(),
            Self::Unknown { .. } | Self::Offline | Self::Claiming | Self::Failed | Self::Stuck => {
                None
            }
        }
    }

    pub fn take_back_offer(&mut self) {
        if let Self::Starting { offer, .. } | Self::Online { offer } = self {
            *offer = None;
        }
    }
}
