//! Everything that a script can do to a cluster, as data: a [`Fault`] is generated, read, printed and applied to a world.

mod apply;
pub(super) mod read;
mod table;

use std::fmt;
use std::time::Duration;

use super::clones::CloneKind;
use super::controls::CutDirection;
use super::fencing::PowerSwitch;
use super::machine::{Behaviour, ProbeBehaviour};
use super::network::Weather;
use super::script_words::Percent;
use super::setting::ScriptSetting;
use crate::engine::Command;
use crate::model::{GroupName, LinkName, NodeName};
use crate::text::duration_in_files;

pub use table::{FAULT_WORDS, FaultWord};

/// One thing that is done to the cluster. A fault that does not apply (crash what is off, thaw what runs) does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Cuts one link or all links between two nodes, also for address probes.
    Cut {
        /// The node that is not heard.
        a: NodeName,
        /// The node that does not hear it.
        b: NodeName,
        /// Both ways or one.
        way: CutDirection,
        /// Only this link.
        link: Option<LinkName>,
    },
    /// Loses heartbeats between two nodes, but nothing else, as a firewall may.
    Block {
        /// The node that is not heard.
        a: NodeName,
        /// The node that does not hear it.
        b: NodeName,
        /// Both ways or one.
        way: CutDirection,
    },
    /// Loses the heartbeats between two nodes that go through ping nodes, as a network that drops forged sources does.
    BlockRelay {
        /// The node that is not heard.
        a: NodeName,
        /// The node that does not hear it.
        b: NodeName,
        /// Both ways or one.
        way: CutDirection,
    },
    /// Cuts a node from all others and from the ping nodes.
    Isolate(NodeName),
    /// A ping node, or all of them, no longer answers a node.
    Blind(NodeName, Option<String>),
    /// It answers again.
    See(NodeName, Option<String>),
    /// Ends all cuts; all ping nodes answer.
    Heal,
    /// How heartbeats travel from now on, everywhere or on one path.
    Weather(Weather, Option<NetworkPath>),
    /// Power loss.
    Crash(NodeName),
    /// Starts the daemon, and the machine when that is off.
    Start(NodeName),
    /// Kills the daemon; what it started runs on.
    Kill(NodeName),
    /// Stops the daemon alone; its kernel, clock and agents run on.
    Freeze(NodeName),
    /// Stops the whole machine and its clock, like a virtual machine that is suspended.
    Suspend(NodeName),
    /// Ends freeze or suspend.
    Thaw {
        /// The node.
        node: NodeName,
        /// Whether what was sent to it meanwhile is lost.
        deaf: bool,
    },
    /// A second machine with the name of a node boots, with a copy of its disk or only of its configuration; or a copy of the
    /// running machine goes on.
    Clone(NodeName, CloneKind),
    /// Deletes the saved state; only while no daemon runs there.
    LoseStore(NodeName),
    /// The clock runs fast by this many millionths from now on.
    Drift(NodeName, i32),
    /// The daemon wakes up to this late from now on.
    Late(NodeName, Duration),
    /// How starts of a step go from now on.
    Starts(StepLocation, Behaviour),
    /// How stops of a step go from now on.
    Stops(StepLocation, Behaviour),
    /// How probes of a step go from now on.
    Looks(StepLocation, ProbeBehaviour),
    /// A step dies, and the daemon is told.
    Lose(StepLocation),
    /// A step dies, and only its monitor notices, if it has one.
    Die(StepLocation),
    /// A step runs, but its monitor fails.
    Ail(StepLocation),
    /// A health check of a node, or its `failback_when`, passes or fails from now on.
    Check {
        /// The node.
        node: NodeName,
        /// The name of the check.
        check: String,
        /// Whether it passes.
        passes: bool,
    },
    /// How the power switch of a machine behaves from now on.
    Switch(NodeName, PowerSwitch),
    /// All agents work again, and all monitors pass.
    MendAgents,
    /// An administrator's command.
    Command {
        /// The node at which it is given.
        node: NodeName,
        /// The command.
        command: Command,
        /// The administrator has looked: the command is given only if every machine that is on has a daemon that runs.
        looked: bool,
    },
    /// The configuration of one node changes, and its daemon reloads it at once.
    Reconfigure(NodeName, ScriptSetting),
    /// Ends every fault above and starts all nodes. Configurations stay as they are.
    EndAll,
    /// Ends standby and maintenance and clears failures at every node.
    MakeAmends,
}

/// The path from one node to another, on one link or on all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPath {
    /// The sender.
    pub from: NodeName,
    /// The receiver.
    pub to: NodeName,
    /// Only on this link.
    pub link: Option<LinkName>,
}

/// One step of a group on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepLocation {
    /// The node.
    pub node: NodeName,
    /// The group.
    pub group: GroupName,
    /// The index of the step, from 0; a script counts from 1.
    pub step: usize,
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Behaviour::Works(time) => write!(f, "take {}", duration_in_files(*time)),
            Behaviour::Fails(_) => f.write_str("fail"),
            Behaviour::FailsHalfDone => f.write_str("fail half-done"),
            Behaviour::Hangs => f.write_str("hang"),
        }
    }
}

impl fmt::Display for ProbeBehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProbeBehaviour::Says(true) => "say running",
            ProbeBehaviour::Says(false) => "say stopped",
            ProbeBehaviour::Fails => "fail",
            ProbeBehaviour::Hangs => "hang",
        })
    }
}

impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Weather::CALM {
            return f.write_str("calm");
        }
        let (loss, twice) = (Percent(self.loss), Percent(self.twice));
        write!(f, "loss {loss} twice {twice}")?;
        let (delay, jitter) = (
            duration_in_files(self.delay),
            duration_in_files(self.jitter),
        );
        write!(f, " delay {delay} jitter {jitter}")
    }
}
