//! What is done to a cluster, a step at a time, in words.

use std::fmt;
use std::time::Duration;

/// A node's name.
pub type Node = &'static str;

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing is done for so long.
    Wait(Duration),
    /// All faults end, and everything must become whole.
    Settle,
    /// Power off.
    Crash(Node),
    /// Power on and start the daemon.
    Boot(Node),
    /// The same, with all that the daemon had remembered gone.
    BootEmpty(Node),
    /// SIGKILL to the daemon alone.
    Kill(Node),
    /// Ask the daemon to end.
    Stop(Node),
    Start(Node),
    /// SIGSTOP to all processes.
    Freeze(Node),
    /// SIGSTOP to the daemon alone.
    Suspend(Node),
    Thaw(Node),
    /// Nothing passes between two nodes; on one link, or all.
    Cut(Node, Node, Option<&'static str>),
    /// Nothing passes from the first to the second.
    CutOneWay(Node, Node, Option<&'static str>),
    /// Nothing passes between a node and anybody.
    Isolate(Node),
    /// Nothing passes from a node to anybody.
    Mute(Node),
    /// So many of a hundred frames are lost between two nodes.
    Lose(Node, Node, Option<&'static str>, u8),
    /// Frames between two nodes are late by up to so much, and some come twice.
    Delay(Node, Node, Duration),
    /// Cuts, losses and delays end.
    Heal,
    Unplug(Node, &'static str),
    Plug(Node, &'static str),
    GatewayDown,
    GatewayUp,
    /// hactl, with these words.
    Command(Node, String),
    /// The resource script does something else than usual.
    Script(Node, &'static str, Mood),
    /// The resource scripts of a node do the usual again.
    Mend(Node),
    /// The disk of the daemon's state has no room.
    Fill(Node),
    Free(Node),
    /// Somebody deletes an address by hand.
    Remove(Node, &'static str),
    /// The configuration says another deadtime; all nodes reload.
    Deadtime(Duration),
    /// haresources gets another group, or loses it; all nodes reload.
    Group(bool),
    /// A change of the configuration that one node alone is told.
    Only(Node, Box<Step>),
    /// All nodes are told what only some know.
    Rest,
}

/// What a resource script does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    Fails,
    Hangs,
    Dawdles,
}

impl Mood {
    /// As shell.
    pub fn shell(self) -> &'static str {
        match self {
            Mood::Fails => "echo it is broken; exit 1",
            Mood::Hangs => "trap '' TERM; sleep 3600",
            Mood::Dawdles => "sleep 1",
        }
    }
}

impl Step {
    /// What the table at the end counts together; none for a step that ends a fault or lets time pass.
    pub fn kind(&self) -> Option<&'static str> {
        Some(match self {
            Step::Wait(_)
            | Step::Settle
            | Step::Boot(_)
            | Step::BootEmpty(_)
            | Step::Start(_)
            | Step::Thaw(_)
            | Step::Heal
            | Step::Plug(..)
            | Step::GatewayUp
            | Step::Mend(_)
            | Step::Rest
            | Step::Free(_) => return None,
            Step::Crash(_) => "power cut",
            Step::Kill(_) => "kill -9 of the daemon",
            Step::Stop(_) => "stop of the daemon",
            Step::Freeze(_) => "freeze",
            Step::Suspend(_) => "freeze of the daemon",
            Step::Cut(_, "gateway", _) => "cut from the gateway",
            Step::Cut(_, _, Some(_)) | Step::CutOneWay(_, _, Some(_)) => "cut of one of two links",
            Step::Cut(..) => "cut from one node",
            Step::CutOneWay(..) => "one-way cut from one node",
            Step::Isolate(_) => "cut from all",
            Step::Mute(_) => "heard by nobody",
            Step::Lose(..) => "loss",
            Step::Delay(..) => "delays and duplicates",
            Step::Unplug(..) => "cable pulled",
            Step::GatewayDown => "gateway lost",
            Step::Command(_, words) => match words.split(' ').next() {
                Some("standby") => "standby",
                Some("takeover") => "takeover",
                Some("restart") => "restart by hactl",
                Some("maintenance") => "maintenance",
                _ => return None,
            },
            Step::Script(_, _, Mood::Fails) => "script fails",
            Step::Script(_, _, Mood::Hangs) => "script hangs",
            Step::Script(_, _, Mood::Dawdles) => "script is slow",
            Step::Fill(_) => "state disk full",
            Step::Remove(..) => "address deleted by hand",
            Step::Deadtime(_) | Step::Group(_) | Step::Only(..) => "reload",
        })
    }

    /// The node that it strikes.
    pub fn strikes(&self) -> Option<Node> {
        match self {
            Step::Crash(n)
            | Step::Kill(n)
            | Step::Stop(n)
            | Step::Freeze(n)
            | Step::Suspend(n)
            | Step::Isolate(n)
            | Step::Mute(n)
            | Step::Unplug(n, _)
            | Step::Cut(n, ..)
            | Step::CutOneWay(n, ..)
            | Step::Fill(n)
            | Step::Command(n, _)
            | Step::Script(n, ..) => Some(n),
            _ => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |link: Option<&str>| link.map_or(String::new(), |l| format!(" {l}"));
        match self {
            Step::Wait(time) => write!(f, "wait {}ms", time.as_millis()),
            Step::Settle => write!(f, "settle"),
            Step::Crash(n) => write!(f, "crash {n}"),
            Step::Boot(n) => write!(f, "boot {n}"),
            Step::BootEmpty(n) => write!(f, "boot {n} without its store"),
            Step::Kill(n) => write!(f, "kill {n}"),
            Step::Stop(n) => write!(f, "stop {n}"),
            Step::Start(n) => write!(f, "start {n}"),
            Step::Freeze(n) => write!(f, "freeze {n}"),
            Step::Suspend(n) => write!(f, "suspend {n}"),
            Step::Thaw(n) => write!(f, "thaw {n}"),
            Step::Cut(a, b, link) => write!(f, "cut {a} {b}{}", on(*link)),
            Step::CutOneWay(a, b, link) => write!(f, "cut {a} > {b}{}", on(*link)),
            Step::Isolate(n) => write!(f, "isolate {n}"),
            Step::Mute(n) => write!(f, "mute {n}"),
            Step::Lose(a, b, link, percent) => write!(f, "lose {percent}% {a} {b}{}", on(*link)),
            Step::Delay(a, b, most) => write!(f, "delay {a} {b} {}ms", most.as_millis()),
            Step::Heal => write!(f, "heal"),
            Step::Unplug(n, link) => write!(f, "unplug {n} {link}"),
            Step::Plug(n, link) => write!(f, "plug {n} {link}"),
            Step::GatewayDown => write!(f, "gateway down"),
            Step::GatewayUp => write!(f, "gateway up"),
            Step::Command(n, words) => write!(f, "{n}: hactl {words}"),
            Step::Script(n, action, mood) => write!(f, "script {n} {action} {mood:?}"),
            Step::Mend(n) => write!(f, "mend {n}"),
            Step::Fill(n) => write!(f, "fill {n}"),
            Step::Free(n) => write!(f, "free {n}"),
            Step::Remove(n, address) => write!(f, "remove {n} {address}"),
            Step::Deadtime(time) => write!(f, "deadtime {}ms", time.as_millis()),
            Step::Only(n, step) => write!(f, "{step}, only {n} reloads"),
            Step::Rest => write!(f, "the others reload"),
            Step::Group(true) => write!(f, "add group"),
            Step::Group(false) => write!(f, "remove group"),
        }
    }
}
