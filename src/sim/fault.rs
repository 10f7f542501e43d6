//! Everything that a scenario can do to a cluster, as data: a [`Fault`] is drawn, printed, read, and done to a world.
//!
//! Not among them is fencing that is slow or fails: `had` has no fencing yet.

mod apply;
mod names;
pub(super) mod read;

use std::fmt;

use super::controls::CutDirection;
use super::machine::{Behaviour, ProbeBehaviour};
use super::network::Weather;
use super::script_words::Percent;
use super::setting::ScriptSetting;
use crate::engine::Command;
use crate::model::{GroupName, LinkName, NodeName};
use crate::text::duration_in_files;
use std::time::Duration;

/// One thing that is done to the cluster. One that does not apply (to crash what is off, to thaw what moves) does
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Cuts one link or all links between two nodes; a probe on the wire does not pass either.
    Cut {
        /// Who is not heard.
        a: NodeName,
        /// By whom.
        b: NodeName,
        /// Both ways or one.
        way: CutDirection,
        /// Only this link.
        link: Option<LinkName>,
    },
    /// Loses every heartbeat between two nodes, but nothing else: as a firewall does.
    Block {
        /// Who is not heard.
        a: NodeName,
        /// By whom.
        b: NodeName,
        /// Both ways or one.
        way: CutDirection,
    },
    /// Cuts a node from all others and from the ping nodes.
    Isolate(NodeName),
    /// A node no longer sees a ping node, or none of them.
    Blind(NodeName, Option<String>),
    /// It sees it again, or all of them.
    See(NodeName, Option<String>),
    /// Mends every cut; all ping nodes are seen.
    Heal,
    /// What every path, or one path, does to heartbeats from now on.
    Weather(Weather, Option<NetworkPath>),
    /// Power loss.
    Crash(NodeName),
    /// Starts the daemon, and the machine when that is off.
    Start(NodeName),
    /// Kills the daemon; what it started runs on.
    Kill(NodeName),
    /// The daemon stands still; its kernel and its agents do not.
    Freeze(NodeName),
    /// The whole machine stands still, and its clock with it: so a virtual machine that its host suspends.
    Suspend(NodeName),
    /// What stood still goes on. Deaf: what was sent meanwhile is lost.
    Thaw {
        /// Which.
        node: NodeName,
        /// Whether what was sent meanwhile is lost.
        deaf: bool,
    },
    /// Nothing is left of what it kept; only while no daemon runs there.
    LoseStore(NodeName),
    /// Its clock is so many millionths too fast from now on.
    Drift(NodeName, i32),
    /// Its daemon wakes up to so late from now on.
    Late(NodeName, Duration),
    /// How the starts of a step go from now on.
    Starts(StepLocation, Behaviour),
    /// How its stops go.
    Stops(StepLocation, Behaviour),
    /// How looks at it go.
    Looks(StepLocation, ProbeBehaviour),
    /// It runs no more, and its monitor has noticed.
    Lose(StepLocation),
    /// It runs no more, and nobody has noticed: the next look at it does, where it has a monitor.
    Die(StepLocation),
    /// It runs, but looks at it find it ill.
    Ail(StepLocation),
    /// A check of a node, or its `failback_when`, passes from now on or fails.
    Check {
        /// Where.
        node: NodeName,
        /// Which.
        check: String,
        /// Whether it passes.
        passes: bool,
    },
    /// All agents do what they should, and nothing that runs looks ill.
    MendAgents,
    /// An administrator's command.
    Command {
        /// At which node.
        node: NodeName,
        /// What.
        command: Command,
        /// He has looked: it is given only when no machine has power whose daemon is gone or stands still.
        looked: bool,
    },
    /// The configuration of one node changes; its daemon reads it at once.
    Reconfigure(NodeName, ScriptSetting),
    /// Every fault above ends: all is healed, calm, mended, thawed and started. Configurations stay as they are.
    EndAll,
    /// An administrator takes back what he ordered and clears what failed, at every node.
    MakeAmends,
}

/// One way between two nodes, on one link or on all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPath {
    /// Who sends.
    pub from: NodeName,
    /// Who hears.
    pub to: NodeName,
    /// Only on this link.
    pub link: Option<LinkName>,
}

/// One step of a group on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepLocation {
    /// Where.
    pub node: NodeName,
    /// Which group.
    pub group: GroupName,
    /// Which step, from 0; a script counts from 1.
    pub step: usize,
}

impl fmt::Display for StepLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StepLocation { node, group, step } = self;
        write!(f, "{group} step {} on {node}", step.saturating_add(1))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Cut { a, b, way, link } => {
                write!(f, "cut {}", between(a, b, *way))?;
                on_link(f, link.as_ref())
            }
            Fault::Block { a, b, way } => write!(f, "block {}", between(a, b, *way)),
            Fault::Isolate(node) => write!(f, "isolate {node}"),
            Fault::Blind(node, None) => write!(f, "blind {node}"),
            Fault::Blind(node, Some(ping)) => write!(f, "blind {node} {ping}"),
            Fault::See(node, None) => write!(f, "see {node}"),
            Fault::See(node, Some(ping)) => write!(f, "see {node} {ping}"),
            Fault::Heal => f.write_str("heal"),
            Fault::Weather(weather, path) => {
                write!(f, "weather {weather}")?;
                let Some(path) = path else { return Ok(()) };
                write!(f, " from {} to {}", path.from, path.to)?;
                on_link(f, path.link.as_ref())
            }
            Fault::Command {
                node,
                command,
                looked,
            } => {
                ordered(f, node, command)?;
                f.write_str(if *looked { " after a look" } else { "" })
            }
            Fault::Reconfigure(node, setting) => write!(f, "reconfigure {node} {setting}"),
            Fault::EndAll => f.write_str("end all faults"),
            Fault::MakeAmends => f.write_str("make amends"),
            other => other.at_one_node(f),
        }
    }
}

impl Fault {
    /// The words of what is done to one machine.
    fn at_one_node(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Crash(node) => write!(f, "crash {node}"),
            Fault::Start(node) => write!(f, "start {node}"),
            Fault::Kill(node) => write!(f, "kill {node}"),
            Fault::Freeze(node) => write!(f, "freeze {node}"),
            Fault::Suspend(node) => write!(f, "suspend {node}"),
            Fault::Thaw { node, deaf: false } => write!(f, "thaw {node}"),
            Fault::Thaw { node, deaf: true } => write!(f, "thaw {node} deaf"),
            Fault::LoseStore(node) => write!(f, "lose-store {node}"),
            Fault::Drift(node, ppm) => write!(f, "drift {node} {ppm}ppm"),
            Fault::Late(node, most) => write!(f, "late {node} {}", duration_in_files(*most)),
            Fault::Starts(spot, how) => write!(f, "starts of {spot} {how}"),
            Fault::Stops(spot, how) => write!(f, "stops of {spot} {how}"),
            Fault::Looks(spot, how) => write!(f, "looks at {spot} {how}"),
            Fault::Lose(spot) => write!(f, "lose {spot}"),
            Fault::Die(spot) => write!(f, "die {spot}"),
            Fault::Ail(spot) => write!(f, "ail {spot}"),
            Fault::Check {
                node,
                check,
                passes,
            } => {
                let how = if *passes { "passes" } else { "fails" };
                write!(f, "check {check} on {node} {how}")
            }
            _ => f.write_str("mend agents"),
        }
    }
}

fn between(a: &NodeName, b: &NodeName, way: CutDirection) -> String {
    match way {
        CutDirection::Both => format!("{a} {b}"),
        CutDirection::OneWay => format!("{a} to {b}"),
    }
}

fn on_link(f: &mut fmt::Formatter<'_>, link: Option<&LinkName>) -> fmt::Result {
    link.map_or(Ok(()), |link| write!(f, " on {link}"))
}

fn ordered(f: &mut fmt::Formatter<'_>, node: &NodeName, command: &Command) -> fmt::Result {
    let all = |groups: &[GroupName]| {
        let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
        format!(" {}", names.join(" "))
    };
    match command {
        Command::Standby { groups, lasting } => {
            let word = if *lasting { "standby" } else { "yield" };
            write!(f, "{word} {node}{}", all(groups))
        }
        Command::Unstandby(groups) => write!(f, "unstandby {node}{}", all(groups)),
        Command::Takeover { groups, force } => {
            let word = if *force { "force" } else { "takeover" };
            write!(f, "{word} {node}{}", all(groups))
        }
        Command::Clear(group) => write!(f, "clear {node} {group}"),
        Command::Maintenance { groups, on } => {
            let word = if *on { "on" } else { "off" };
            write!(f, "maintenance {node} {word}{}", all(groups))
        }
        Command::Leave => write!(f, "leave {node}"),
        Command::Restart { back_within } => {
            write!(
                f,
                "restart {node} back within {}",
                duration_in_files(*back_within)
            )
        }
    }
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
