//! The words of a script, each in one row: how it is read, how it is printed, and what help says about it.
//!
//! A new fault is a variant of [`Fault`], a row here and an arm in `apply`; for random runs also a row in `generate`.

use std::fmt::{self, Display};

use super::read::FaultReader;
use super::{Fault, NetworkPath, StepLocation};
use crate::engine::Command;
use crate::model::{GroupName, LinkName, NodeName};
use crate::sim::clones::CloneKind;
use crate::sim::controls::CutDirection;
use crate::sim::setting::ScriptSetting;
use crate::text::{Problem, duration_in_files};

/// A word that begins a fault in a script.
pub struct FaultWord {
    /// The word.
    pub word: &'static str,
    /// A fault of this word as a script has it.
    pub example: &'static str,
    /// What it does, in a few words.
    pub meaning: &'static str,
    pub(super) read: fn(&mut FaultReader<'_, '_>) -> Result<Fault, Problem>,
    /// What follows the word; none for a fault of another word.
    print: for<'f> fn(&'f Fault) -> Option<FaultArguments<'f>>,
}

macro_rules! word {
    ($word:literal, $example:literal, $meaning:literal, $read:expr, $pattern:pat => $print:expr) => {
        FaultWord {
            word: $word,
            example: $example,
            meaning: $meaning,
            read: $read,
            print: |fault| match fault {
                $pattern => Some($print),
                _ => None,
            },
        }
    };
}

/// A word that only a node follows.
macro_rules! node_word {
    ($word:literal, $example:literal, $meaning:literal, $fault:ident) => {
        word!($word, $example, $meaning,
            |r| Ok(Fault::$fault(r.node()?)),
            Fault::$fault(node) => with().node(node))
    };
}

/// A word that only a step of a group on a node follows.
macro_rules! step_word {
    ($word:literal, $example:literal, $meaning:literal, $fault:ident) => {
        word!($word, $example, $meaning,
            |r| Ok(Fault::$fault(r.step()?)),
            Fault::$fault(step) => with().step(step))
    };
}

/// How something done to a step goes from now on; `$joint` stands between.
macro_rules! behaviour_word {
    ($word:literal, $joint:literal, $example:literal, $meaning:literal, $fault:ident, $how:ident) => {
        word!($word, $example, $meaning,
            |r| {
                r.words.expect($joint)?;
                Ok(Fault::$fault(r.step()?, r.$how()?))
            },
            Fault::$fault(step, how) => with().text($joint).step(step).text(how))
    };
}

/// A fault of fixed words, of which `$rest` are those behind the first.
macro_rules! fixed_words {
    ($word:literal, [$($rest:literal)+], $example:literal, $meaning:literal, $fault:ident) => {
        word!($word, $example, $meaning,
            |r| {
                $(r.words.expect($rest)?;)+
                Ok(Fault::$fault)
            },
            Fault::$fault => with()$(.text($rest))+)
    };
}

/// A command at a node.
macro_rules! command_word {
    ($word:literal, $example:literal, $meaning:literal, $read:expr, $command:pat => |$with:ident| $print:expr) => {
        word!($word, $example, $meaning,
            |r| r.command($read),
            Fault::Command { node, command: $command, looked } => {
                let $with = with().node(node);
                $print.text_if(*looked, "after a look")
            })
    };
}

/// All words, in the order in which help shows them.
#[rustfmt::skip] // a row for each word
pub const FAULT_WORDS: [FaultWord; 39] = [
    node_word!("crash", "crash alice", "the machine loses its power", Crash),
    node_word!("start", "start alice", "start the daemon, and the machine if it is off", Start),
    node_word!("kill", "kill alice", "kill the daemon; what it started runs on", Kill),
    node_word!("freeze", "freeze alice", "the daemon is stopped (SIGSTOP); kernel, clock and agents keep running", Freeze),
    node_word!("suspend", "suspend alice", "the whole machine and its clock are stopped", Suspend),
    word!("thaw", "thaw alice", "end freeze or suspend (thaw alice deaf: what was sent meanwhile is lost)",
        |r| Ok(Fault::Thaw { node: r.node()?, deaf: r.words.accept("deaf") }),
        Fault::Thaw { node, deaf } => with().node(node).text_if(*deaf, "deaf")),
    word!("clone", "clone alice", "a second machine with this name boots from a copy of its disk (empty: without saved state; running: from its memory)",
        |r| Ok(Fault::Clone(r.node()?, r.clone_kind())),
        Fault::Clone(node, kind) => with().node(node).text_if(*kind == CloneKind::Configuration, "empty")
            .text_if(*kind == CloneKind::Memory, "running")),
    node_word!("lose-store", "lose-store alice", "delete the saved state; only while no daemon runs", LoseStore),
    word!("drift", "drift alice 200ppm", "the clock runs fast (or slow: -200ppm)",
        |r| Ok(Fault::Drift(r.node()?, r.drift()?)),
        Fault::Drift(node, ppm) => with().node(node).text(format_args!("{ppm}ppm"))),
    word!("late", "late alice 50ms", "the daemon wakes up late, by up to this time",
        |r| Ok(Fault::Late(r.node()?, r.words.time("how late at most")?)),
        Fault::Late(node, most) => with().node(node).text(duration_in_files(*most))),
    word!("cut", "cut alice to bob on eth0", "nothing passes (cut alice bob: both ways, on all links)",
        |r| {
            let (a, b, way) = r.between()?;
            Ok(Fault::Cut { a, b, way, link: r.link()? })
        },
        Fault::Cut { a, b, way, link } => with().between(a, b, *way).link(link.as_ref())),
    word!("block", "block alice bob", "only heartbeats are lost (alice to bob: one way)",
        |r| {
            let (a, b, way) = r.between()?;
            Ok(Fault::Block { a, b, way })
        },
        Fault::Block { a, b, way } => with().between(a, b, *way)),
    word!("block-relay", "block-relay alice bob", "heartbeats through ping nodes are lost (alice to bob: one way)",
        |r| {
            let (a, b, way) = r.between()?;
            Ok(Fault::BlockRelay { a, b, way })
        },
        Fault::BlockRelay { a, b, way } => with().between(a, b, *way)),
    node_word!("isolate", "isolate alice", "cut off from all nodes and ping nodes", Isolate),
    word!("blind", "blind alice gw", "a ping node does not answer (blind alice: none does)",
        |r| Ok(Fault::Blind(r.node()?, r.ping()?)),
        Fault::Blind(node, ping) => with().node(node).ping(ping.as_deref())),
    word!("see", "see alice gw", "it answers again (see alice: all do)",
        |r| Ok(Fault::See(r.node()?, r.ping()?)),
        Fault::See(node, ping) => with().node(node).ping(ping.as_deref())),
    word!("heal", "heal", "end all cuts; all ping nodes answer", |_| Ok(Fault::Heal), Fault::Heal => with()),
    word!("weather", "weather loss 30% twice 5% delay 200us jitter 10ms from alice to bob on eth0",
        "lose, double and delay heartbeats, everywhere or on one path (weather calm: no more)",
        |r| Ok(Fault::Weather(r.weather()?, r.path()?)),
        Fault::Weather(weather, path) => with().text(weather).path(path.as_ref())),
    behaviour_word!("starts", "of", "starts of web step 2 on bob fail", "how starts end from now on (or: take 90s, hang, fail half-done)", Starts, behaviour),
    behaviour_word!("stops", "of", "stops of web step 2 on bob hang", "how stops end from now on (or: take 90s, fail, fail half-done)", Stops, behaviour),
    behaviour_word!("looks", "at", "looks at web step 2 on bob say stopped", "what a probe finds (or: say running, fail, hang)", Looks, probe_behaviour),
    step_word!("lose", "lose web step 2 on bob", "it dies, and the daemon notices", Lose),
    step_word!("die", "die web step 2 on bob", "it dies, and only its monitor notices", Die),
    step_word!("ail", "ail web step 2 on bob", "it runs, but its monitor fails", Ail),
    word!("switch", "switch bob take 5s", "how the power switch of a machine behaves (or: fail, idle, unanswered, late 20s, wrong)",
        |r| Ok(Fault::Switch(r.node()?, r.power_switch()?)),
        Fault::Switch(node, how) => with().node(node).text(how)),
    fixed_words!("mend", ["agents"], "mend agents", "all agents work again", MendAgents),
    word!("check", "check disk on bob fails", "a health check fails (or: passes)",
    |r| {
            let (check, node, passes) = r.check()?;
            Ok(Fault::Check { node, check, passes })
        },
    Fault::Check { node, check, passes } => {
        with().text(check).text("on").node(node).text(if *passes { "passes" } else { "fails" })
    }),
    command_word!("standby", "standby bob web db", "give groups away, and do not take them back",
        |r| Ok(Command::Standby { groups: r.groups()?, lasting: true }),
        Command::Standby { groups, lasting: true } => |with| with.groups(groups)),
    command_word!("yield", "yield bob web", "give groups away once",
        |r| Ok(Command::Standby { groups: r.groups()?, lasting: false }),
        Command::Standby { groups, lasting: false } => |with| with.groups(groups)),
    command_word!("unstandby", "unstandby bob web", "end standby",
        |r| Ok(Command::Unstandby(r.groups()?)),
        Command::Unstandby(groups) => |with| with.groups(groups)),
    command_word!("takeover", "takeover bob web", "take groups over",
        |r| Ok(Command::Takeover { groups: r.groups()?, force: false }),
        Command::Takeover { groups, force: false } => |with| with.groups(groups)),
    command_word!("force", "force bob web after a look",
        "takeover --force (after a look: only if every machine that is on has a daemon that runs)",
        |r| Ok(Command::Takeover { groups: r.groups()?, force: true }),
        Command::Takeover { groups, force: true } => |with| with.groups(groups)),
    command_word!("clear", "clear bob web", "forget that a group failed",
        |r| Ok(Command::Clear(r.group()?)),
        Command::Clear(group) => |with| with.group(group)),
    command_word!("maintenance", "maintenance bob on web", "maintenance on or off",
        |r| Ok(Command::Maintenance { on: r.words.on_or_off()?, groups: r.groups()? }),
        Command::Maintenance { groups, on } => |with| with.text(if *on { "on" } else { "off" }).groups(groups)),
    command_word!("leave", "leave bob", "the daemon stops its groups and ends",
        |_| Ok(Command::Leave),
        Command::Leave => |with| with),
    command_word!("restart", "restart bob back within 10s", "the daemon ends without stopping anything",
        |r| Ok(Command::Restart { back_within: r.back_within()? }),
        Command::Restart { back_within } => |with| with.text("back within").text(duration_in_files(*back_within))),
    word!("reconfigure", "reconfigure bob deadtime 3s", "one node reads a changed configuration",
        |r| Ok(Fault::Reconfigure(r.node()?, r.setting()?)),
        Fault::Reconfigure(node, setting) => with().node(node).setting(setting)),
    fixed_words!("end", ["all" "faults"], "end all faults", "everything above ends; all nodes run", EndAll),
    fixed_words!("make", ["amends"], "make amends", "end standby and maintenance, and clear failures", MakeAmends),
];

/// What follows the word of a fault: its text, and the nodes and groups in it.
#[derive(Default)]
struct FaultArguments<'f> {
    text: String,
    nodes: Vec<&'f NodeName>,
    groups: Vec<&'f GroupName>,
}

fn with<'f>() -> FaultArguments<'f> {
    FaultArguments::default()
}

impl<'f> FaultArguments<'f> {
    fn text(mut self, word: impl Display) -> Self {
        self.text += &format!(" {word}");
        self
    }

    fn text_if(self, condition: bool, word: &str) -> Self {
        if condition { self.text(word) } else { self }
    }

    fn node(mut self, node: &'f NodeName) -> Self {
        self.nodes.push(node);
        self.text(node)
    }

    fn group(mut self, group: &'f GroupName) -> Self {
        self.groups.push(group);
        self.text(group)
    }

    fn groups(self, groups: &'f [GroupName]) -> Self {
        groups.iter().fold(self, Self::group)
    }

    fn between(self, a: &'f NodeName, b: &'f NodeName, way: CutDirection) -> Self {
        let one_way = way == CutDirection::OneWay;
        self.node(a).text_if(one_way, "to").node(b)
    }

    fn link(self, link: Option<&LinkName>) -> Self {
        match link {
            Some(link) => self.text("on").text(link),
            None => self,
        }
    }

    fn ping(self, ping: Option<&str>) -> Self {
        self.text_if(ping.is_some(), ping.unwrap_or_default())
    }

    fn path(self, path: Option<&'f NetworkPath>) -> Self {
        let Some(NetworkPath { from, to, link }) = path else {
            return self;
        };
        let from = self.text("from").node(from);
        from.text("to").node(to).link(link.as_ref())
    }

    fn step(self, place: &'f StepLocation) -> Self {
        let number = place.step.saturating_add(1);
        let step = self.group(&place.group).text("step").text(number);
        step.text("on").node(&place.node)
    }

    fn setting(mut self, setting: &'f ScriptSetting) -> Self {
        match setting {
            ScriptSetting::Preferred(group, node) => {
                self.groups.push(group);
                self.nodes.push(node);
            }
            ScriptSetting::Voters(names) => self.nodes.extend(names),
            ScriptSetting::Without(group) | ScriptSetting::With(group) => self.groups.push(group),
            _ => {}
        }
        self.text(setting)
    }
}

impl Fault {
    fn word_and_arguments(&self) -> (&'static str, FaultArguments<'_>) {
        let mut rows = FAULT_WORDS.iter();
        rows.find_map(|row| (row.print)(self).map(|arguments| (row.word, arguments)))
            .unwrap_or_default()
    }

    /// Every node that it names.
    pub fn nodes(&self) -> Vec<&NodeName> {
        self.word_and_arguments().1.nodes
    }

    /// Every group that it names.
    pub fn groups(&self) -> Vec<&GroupName> {
        self.word_and_arguments().1.groups
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, arguments) = self.word_and_arguments();
        write!(f, "{word}{}", arguments.text)
    }
}
