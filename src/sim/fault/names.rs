//! Whom and what a fault names.

use super::{Fault, NetworkPath, StepLocation};
use crate::engine::Command;
use crate::model::{GroupName, NodeName};
use crate::sim::setting::ScriptSetting;

impl Fault {
    /// Every node that it names.
    pub fn nodes(&self) -> Vec<&NodeName> {
        match self {
            Fault::Cut { a, b, .. } | Fault::Block { a, b, .. } => vec![a, b],
            Fault::Weather(_, Some(NetworkPath { from, to, .. })) => vec![from, to],
            Fault::Reconfigure(node, ScriptSetting::Preferred(_, preferred)) => {
                vec![node, preferred]
            }
            Fault::Isolate(node)
            | Fault::Blind(node, _)
            | Fault::See(node, _)
            | Fault::Crash(node)
            | Fault::Start(node)
            | Fault::Kill(node)
            | Fault::Freeze(node)
            | Fault::Suspend(node)
            | Fault::Thaw { node, .. }
            | Fault::LoseStore(node)
            | Fault::Drift(node, _)
            | Fault::Late(node, _)
            | Fault::Command { node, .. }
            | Fault::Reconfigure(node, _)
            | Fault::Check { node, .. }
            | Fault::Starts(StepLocation { node, .. }, _)
            | Fault::Stops(StepLocation { node, .. }, _)
            | Fault::Looks(StepLocation { node, .. }, _)
            | Fault::Lose(StepLocation { node, .. })
            | Fault::Die(StepLocation { node, .. })
            | Fault::Ail(StepLocation { node, .. }) => vec![node],
            Fault::Heal
            | Fault::Weather(_, None)
            | Fault::MendAgents
            | Fault::EndAll
            | Fault::MakeAmends => Vec::new(),
        }
    }

    /// Every group that it names.
    pub fn groups(&self) -> Vec<&GroupName> {
        match self {
            Fault::Starts(spot, _)
            | Fault::Stops(spot, _)
            | Fault::Looks(spot, _)
            | Fault::Lose(spot)
            | Fault::Die(spot)
            | Fault::Ail(spot) => vec![&spot.group],
            Fault::Reconfigure(
                _,
                ScriptSetting::Preferred(group, _)
                | ScriptSetting::Without(group)
                | ScriptSetting::With(group),
            ) => vec![group],
            Fault::Command { command, .. } => match command {
                Command::Standby { groups, .. }
                | Command::Unstandby(groups)
                | Command::Takeover { groups, .. }
                | Command::Maintenance { groups, .. } => groups.iter().collect(),
                Command::Clear(group) => vec![group],
                Command::Leave | Command::Restart { .. } => Vec::new(),
            },
            _ => Vec::new(),
        }
    }
}
