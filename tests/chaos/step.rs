//! The steps that are done to a cluster, and their words.

use std::fmt;
use std::time::Duration;

/// A node's name.
pub type Node = &'static str;

#[derive(Clone, Debug, PartialEq)]
pub enum ChaosStep {
    /// Wait.
    Wait(Duration),
    /// End all faults and wait until every group runs.
    Settle,
    /// Power off.
    Crash(Node),
    /// Power on and start the daemon.
    Boot(Node),
    /// The same, but the saved state is lost.
    BootEmpty(Node),
    /// SIGKILL to the daemon alone.
    Kill(Node),
    /// Stop the daemon.
    Stop(Node),
    Start(Node),
    /// SIGSTOP to all processes.
    FreezeAll(Node),
    /// SIGSTOP to the daemon alone.
    Freeze(Node),
    Thaw(Node),
    /// Nothing passes between two nodes; on one link, or all.
    Cut(Node, Node, Option<&'static str>),
    /// Nothing passes from the first to the second.
    CutOneWay(Node, Node, Option<&'static str>),
    /// Nothing passes between a node and anybody.
    Isolate(Node),
    /// Nothing passes from a node to anybody.
    Mute(Node),
    /// Lose this percentage of frames between two nodes.
    Lose(Node, Node, Option<&'static str>, u8),
    /// Delay frames between two nodes by up to this, and double some.
    Delay(Node, Node, Duration),
    /// Cuts, losses and delays end.
    Heal,
    Unplug(Node, &'static str),
    Plug(Node, &'static str),
    GatewayDown,
    GatewayUp,
    /// Run hactl with these arguments.
    Command(Node, String),
    /// The resource script misbehaves.
    Script(Node, &'static str, ScriptMood),
    /// The resource scripts of a node behave again.
    Mend(Node),
    /// Fill the disk with the daemon's state.
    Fill(Node),
    Free(Node),
    /// Somebody deletes an address by hand.
    Remove(Node, &'static str),
    /// Change deadtime; all nodes reload.
    Deadtime(Duration),
    /// Add a group to haresources, or remove it; all nodes reload.
    Group(bool),
    /// A change of the configuration that only one node reloads.
    Only(Node, Box<ChaosStep>),
    /// All nodes reload.
    Rest,
}

/// What a resource script does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScriptMood {
    Fails,
    Hangs,
    Dawdles,
}

impl ScriptMood {
    /// The shell code of this behaviour.
    pub fn shell(self) -> &'static str {
        match self {
            ScriptMood::Fails => "echo it is broken; exit 1",
            ScriptMood::Hangs => "trap '' TERM; sleep 3600",
            ScriptMood::Dawdles => "sleep 1",
        }
    }
}

impl ChaosStep {
    /// The row of the table at the end; none for a step that ends a fault or waits.
    pub fn kind(&self) -> Option<&'static str> {
        Some(match self {
            ChaosStep::Wait(_)
            | ChaosStep::Settle
            | ChaosStep::Boot(_)
            | ChaosStep::BootEmpty(_)
            | ChaosStep::Start(_)
            | ChaosStep::Thaw(_)
            | ChaosStep::Heal
            | ChaosStep::Plug(..)
            | ChaosStep::GatewayUp
            | ChaosStep::Mend(_)
            | ChaosStep::Rest
            | ChaosStep::Free(_) => return None,
            ChaosStep::Crash(_) => "power cut",
            ChaosStep::Kill(_) => "kill -9 of the daemon",
            ChaosStep::Stop(_) => "stop of the daemon",
            ChaosStep::FreezeAll(_) => "freeze of all processes",
            ChaosStep::Freeze(_) => "freeze",
            ChaosStep::Cut(_, "gateway", _) => "cut from the gateway",
            ChaosStep::Cut(_, _, Some(_)) | ChaosStep::CutOneWay(_, _, Some(_)) => {
                "cut of one of two links"
            }
            ChaosStep::Cut(..) => "cut from one node",
            ChaosStep::CutOneWay(..) => "one-way cut from one node",
            ChaosStep::Isolate(_) => "cut from all",
            ChaosStep::Mute(_) => "heard by nobody",
            ChaosStep::Lose(..) => "loss",
            ChaosStep::Delay(..) => "delays and duplicates",
            ChaosStep::Unplug(..) => "cable pulled",
            ChaosStep::GatewayDown => "gateway lost",
            ChaosStep::Command(_, words) => match words.split(' ').next() {
                Some("standby") => "standby",
                Some("takeover") => "takeover",
                Some("restart") => "restart by hactl",
                Some("maintenance") => "maintenance",
                _ => return None,
            },
            ChaosStep::Script(_, _, ScriptMood::Fails) => "script fails",
            ChaosStep::Script(_, _, ScriptMood::Hangs) => "script hangs",
            ChaosStep::Script(_, _, ScriptMood::Dawdles) => "script is slow",
            ChaosStep::Fill(_) => "state disk full",
            ChaosStep::Remove(..) => "address deleted by hand",
            ChaosStep::Deadtime(_) | ChaosStep::Group(_) | ChaosStep::Only(..) => "reload",
        })
    }

    /// The node that it concerns.
    pub fn strikes(&self) -> Option<Node> {
        match self {
            ChaosStep::Crash(n)
            | ChaosStep::Kill(n)
            | ChaosStep::Stop(n)
            | ChaosStep::FreezeAll(n)
            | ChaosStep::Freeze(n)
            | ChaosStep::Isolate(n)
            | ChaosStep::Mute(n)
            | ChaosStep::Unplug(n, _)
            | ChaosStep::Cut(n, ..)
            | ChaosStep::CutOneWay(n, ..)
            | ChaosStep::Fill(n)
            | ChaosStep::Command(n, _)
            | ChaosStep::Script(n, ..) => Some(n),
            _ => None,
        }
    }
}

impl fmt::Display for ChaosStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |link: Option<&str>| link.map_or(String::new(), |l| format!(" {l}"));
        match self {
            ChaosStep::Wait(time) => write!(f, "wait {}ms", time.as_millis()),
            ChaosStep::Settle => write!(f, "settle"),
            ChaosStep::Crash(n) => write!(f, "crash {n}"),
            ChaosStep::Boot(n) => write!(f, "boot {n}"),
            ChaosStep::BootEmpty(n) => write!(f, "boot {n} without its store"),
            ChaosStep::Kill(n) => write!(f, "kill {n}"),
            ChaosStep::Stop(n) => write!(f, "stop {n}"),
            ChaosStep::Start(n) => write!(f, "start {n}"),
            ChaosStep::FreezeAll(n) => write!(f, "freeze all processes of {n}"),
            ChaosStep::Freeze(n) => write!(f, "freeze {n}"),
            ChaosStep::Thaw(n) => write!(f, "thaw {n}"),
            ChaosStep::Cut(a, b, link) => write!(f, "cut {a} {b}{}", on(*link)),
            ChaosStep::CutOneWay(a, b, link) => write!(f, "cut {a} > {b}{}", on(*link)),
            ChaosStep::Isolate(n) => write!(f, "isolate {n}"),
            ChaosStep::Mute(n) => write!(f, "mute {n}"),
            ChaosStep::Lose(a, b, link, percent) => {
                write!(f, "lose {percent}% {a} {b}{}", on(*link))
            }
            ChaosStep::Delay(a, b, most) => write!(f, "delay {a} {b} {}ms", most.as_millis()),
            ChaosStep::Heal => write!(f, "heal"),
            ChaosStep::Unplug(n, link) => write!(f, "unplug {n} {link}"),
            ChaosStep::Plug(n, link) => write!(f, "plug {n} {link}"),
            ChaosStep::GatewayDown => write!(f, "gateway down"),
            ChaosStep::GatewayUp => write!(f, "gateway up"),
            ChaosStep::Command(n, words) => write!(f, "{n}: hactl {words}"),
            ChaosStep::Script(n, action, mood) => write!(f, "script {n} {action} {mood:?}"),
            ChaosStep::Mend(n) => write!(f, "mend {n}"),
            ChaosStep::Fill(n) => write!(f, "fill {n}"),
            ChaosStep::Free(n) => write!(f, "free {n}"),
            ChaosStep::Remove(n, address) => write!(f, "remove {n} {address}"),
            ChaosStep::Deadtime(time) => write!(f, "deadtime {}ms", time.as_millis()),
            ChaosStep::Only(n, step) => write!(f, "{step}, only {n} reloads"),
            ChaosStep::Rest => write!(f, "the others reload"),
            ChaosStep::Group(true) => write!(f, "add group"),
            ChaosStep::Group(false) => write!(f, "remove group"),
        }
    }
}
