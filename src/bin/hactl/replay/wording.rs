//! Describes each event of a replay in a sentence, unless it is nothing new.

use std::collections::BTreeMap;

use had::engine::{Action, Call, Command, Event, OrderId, Outcome};
use had::model::GroupName;
use had::model::NodeName;
use had::model::cluster::{Cluster, Step};
use had::model::decision::Level;
use had::model::heartbeat::{Heartbeat, Phase};
use had::replay::player::ReplayEvent;
use had::replay::what_if::Branch;
use had::text::count;

/// The description of an event.
pub struct ReplayLine {
    /// For a decision: its level.
    pub level: Option<Level>,
    /// For anything else: its kind.
    pub word: &'static str,
    /// The sentence.
    pub text: String,
}

/// Describes events, and remembers what has been shown.
pub struct ReplayWording {
    /// Show everything.
    all: bool,
    /// The last description of each peer.
    peers: BTreeMap<NodeName, String>,
    /// Groups whose addresses answer, and who answers.
    answering: BTreeMap<GroupName, String>,
    /// Failing monitors and checks, with their message.
    failing: BTreeMap<String, String>,
    /// The agent calls of each engine; true for the hypothetical one.
    orders: BTreeMap<(bool, OrderId), Call>,
    /// The members of each step of each group.
    steps: BTreeMap<GroupName, Vec<String>>,
}

impl ReplayWording {
    pub fn new(all: bool) -> ReplayWording {
        ReplayWording {
            all,
            peers: BTreeMap::new(),
            answering: BTreeMap::new(),
            failing: BTreeMap::new(),
            orders: BTreeMap::new(),
            steps: BTreeMap::new(),
        }
    }

    /// Notes the names of the steps of each group.
    pub fn learn(&mut self, cluster: &Cluster) {
        let step = |s: &Step| s.members.join(" ");
        for group in &cluster.groups {
            let steps = group.steps.iter().map(step).collect();
            self.steps.insert(group.name.clone(), steps);
        }
    }

    /// Describes an event; none if there is nothing new to show.
    pub fn describe(&mut self, world: Branch, seen: &ReplayEvent) -> Option<ReplayLine> {
        Some(match seen {
            ReplayEvent::Began { had, node } => {
                self.forget();
                line("begin", format!("had {had} starts on {node}"))
            }
            ReplayEvent::Missing(count) => {
                self.forget();
                line("begin", missing(*count))
            }
            ReplayEvent::Input(event) => self.event(world, event, "")?,
            ReplayEvent::Supposed(event) => self.event(world, event, " (assumed)")?,
            ReplayEvent::Ordered(action) => self.action(world, action)?,
            ReplayEvent::Parts => line(
                "PARTS",
                "from here on: - as recorded, + with the changed settings",
            ),
            ReplayEvent::Differs => line(
                "DIFFERS",
                "the engine of this hactl decides differently from the daemon: what follows may not be what happened",
            ),
            ReplayEvent::Fails(text) => line(
                "FAILS",
                format!(
                    "the engine of this hactl panics here; this is a bug, please report it: {text}"
                ),
            ),
            ReplayEvent::Unreadable(why) => line(
                "DAMAGE",
                format!("{why}; skipped until the next recorded state"),
            ),
        })
    }

    fn forget(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        *self = ReplayWording {
            steps,
            ..ReplayWording::new(self.all)
        };
    }

    fn event(&mut self, world: Branch, event: &Event, remark: &str) -> Option<ReplayLine> {
        if let Event::AddressSilent { group, .. } = event {
            self.answering.remove(group);
        }
        let text = match event {
            Event::PeerMessages(letters) => {
                format!(
                    "from now on each heartbeat carries {}",
                    count(letters.len(), "message")
                )
            }
            Event::Heard { heartbeat, .. } if !self.all => self.peer_report(heartbeat)?,
            Event::Done {
                group,
                order,
                outcome,
            } => self.done(world, group, *order, outcome),
            Event::AddressAnswered { group, who, .. } => {
                let before = self.answering.insert(group.clone(), who.clone());
                if !self.all && before.as_ref() == Some(who) {
                    return None;
                }
                format!("{group}: {who} answers for one of its addresses")
            }
            Event::OwnHardware(addresses) => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!("hardware addresses of this node: {}", addresses.join(", "))
            }
            Event::OwnReadiness { readiness, .. } => {
                let lacks: Vec<&str> = readiness.lacks.iter().map(|l| l.text.as_str()).collect();
                match lacks.join("; ") {
                    none if none.is_empty() => {
                        "this node looked at itself: it lacks nothing".to_owned()
                    }
                    some => format!("this node looked at itself: {some}"),
                }
            }
            Event::FenceTested { node, result } => match result {
                Ok(()) => format!("the power switch of {node} answers"),
                Err(text) => format!("the power switch of {node} does not answer: {text}"),
            },
            Event::FenceDone { node, result, .. } => match result {
                Ok(power) => format!("the power switch of {node} says: {}", power.as_str()),
                Err(text) => format!("the power switch of {node} failed: {text}"),
            },
            Event::ResourceLost { group, step, text } => {
                format!("{group}: {} was lost: {text}", self.step(group, *step))
            }
            Event::Monitored {
                group,
                step,
                result,
            } => {
                let step = self.step(group, *step);
                self.check_result(&format!("{group}: {step}"), result.as_ref().err())?
            }
            Event::Checked { check, result } => {
                self.check_result(&format!("check {check}"), result.as_ref().err())?
            }
            Event::Carrier { link, up } => {
                let has = if *up { "has" } else { "has lost" };
                format!("{link} {has} its carrier")
            }
            Event::Command { command, .. } => command_words(command),
            Event::Reconfigured(cluster) => {
                self.learn(cluster);
                "the configuration was reloaded".to_owned()
            }
            Event::Heard { .. }
            | Event::HeardUnreadable { .. }
            | Event::Refused { .. }
            | Event::Pong { .. }
            | Event::AddressSilent { .. }
            | Event::MachineAsked { .. }
            | Event::MachineAnswered { .. }
            | Event::Saved { .. }
            | Event::DeadlineReached => {
                if !self.all {
                    return None;
                }
                routine_event(event)
            }
        };
        Some(line("input", format!("{text}{remark}")))
    }

    /// The result of a monitor or check; unless everything is shown, only if it changed.
    fn check_result(&mut self, what: &str, ill: Option<&String>) -> Option<String> {
        let before = match ill {
            Some(text) => self.failing.insert(what.to_owned(), text.clone()),
            None => self.failing.remove(what),
        };
        let news = before.as_ref() != ill;
        (news || self.all).then(|| match ill {
            Some(text) => format!("{what} fails: {text}"),
            None => format!("{what} passes"),
        })
    }

    /// The state that a peer reports, if it changed.
    fn peer_report(&mut self, heartbeat: &Heartbeat) -> Option<String> {
        let mut parts = vec![phase(heartbeat.phase).to_owned()];
        if !heartbeat.quorate {
            parts.push("no quorum".to_owned());
        }
        for report in &heartbeat.groups {
            let mut text = format!("{} {}", report.group, report.state.as_str());
            if let Some(to) = &report.offer {
                text += &format!(", offered to {to}");
            }
            if !report.can {
                text += ", cannot run it";
            }
            parts.push(text);
        }
        if !heartbeat.intent.standby.is_empty() {
            parts.push("in standby".to_owned());
        }
        parts.extend(heartbeat.failed_checks.iter().map(ToString::to_string));
        if heartbeat.intent.back_within.is_some() {
            parts.push("restarting".to_owned());
        }
        let text = parts.join("; ");
        let before = self.peers.insert(heartbeat.src.clone(), text.clone());
        (before.as_ref() != Some(&text)).then(|| format!("{} reports: {text}", heartbeat.src))
    }

    fn done(
        &mut self,
        world: Branch,
        group: &GroupName,
        order: OrderId,
        outcome: &Outcome,
    ) -> String {
        let call = self.orders.get(&(world == Branch::Hypothetical, order));
        let what = call.map_or_else(
            || format!("order {}", order.0),
            |call| self.call(group, *call),
        );
        match outcome {
            Outcome::Succeeded => format!("{group}: {what} succeeded"),
            Outcome::Seen(looks) => format!("{group}: {what} found {}", probe_results(looks)),
            Outcome::Failed(text) => format!("{group}: {what} failed: {text}"),
            Outcome::TimedOut(text) => format!("{group}: {what} took too long: {text}"),
        }
    }

    fn call(&self, group: &GroupName, call: Call) -> String {
        match call {
            Call::Probe => "the probe".to_owned(),
            Call::Start(step) => format!("the start of {}", self.step(group, step)),
            Call::Stop(step) => format!("the stop of {}", self.step(group, step)),
        }
    }

    fn step(&self, group: &GroupName, step: usize) -> String {
        let known = self.steps.get(group).and_then(|steps| steps.get(step));
        known.cloned().unwrap_or_else(|| format!("step {step}"))
    }

    fn action(&mut self, world: Branch, action: &Action) -> Option<ReplayLine> {
        let text = match action {
            Action::Record(decision) => {
                return Some(ReplayLine {
                    level: Some(decision.level()),
                    word: "",
                    text: decision.to_string(),
                });
            }
            Action::Run { group, order, call } => {
                self.orders
                    .insert((world == Branch::Hypothetical, *order), *call);
                if world == Branch::Both {
                    self.orders.insert((true, *order), *call);
                }
                format!("{group}: runs {}", self.call(group, *call))
            }
            Action::Reply { result, .. } => {
                let text = match result {
                    Ok(text) => text.clone(),
                    Err(text) => format!("failed: {text}"),
                };
                return Some(line("answer", text));
            }
            Action::Exit => return Some(line("end", "the daemon ends")),
            Action::Send(heartbeat) => format!("sends heartbeat {}", heartbeat.sequence.0),
            Action::Relay { to, heartbeat } => format!(
                "relays heartbeat {} to {} through the ping nodes",
                heartbeat.sequence.0,
                to.iter()
                    .map(NodeName::as_str)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            Action::PeerMessages { from, .. } => format!("passes on what {from} asks or answers"),
            Action::Ping => "pings the ping nodes".to_owned(),
            Action::Abort(group) => format!("{group}: aborts its running action"),
            Action::WatchAddresses {
                group,
                every: Some(_),
            } => {
                format!("{group}: probes its addresses")
            }
            Action::WatchAddresses { group, every: None } => {
                format!("{group}: stops probing its addresses")
            }
            Action::WatchMachine { node, .. } => {
                format!("asks whether the machine of {node} answers")
            }
            Action::UnwatchMachine(node) => {
                format!("no longer asks whether the machine of {node} answers")
            }
            Action::Fence { node, call, .. } => {
                format!("fences {node}: {}", call.as_str())
            }
            Action::AbortFence(node) => format!("no longer fences {node}"),
            Action::Monitor { group, on: true } => format!("{group}: monitors its resources"),
            Action::Monitor { group, on: false } => {
                format!("{group}: stops monitoring its resources")
            }
            Action::Announce(group) => format!("{group}: announces its addresses"),
            Action::Redefined(group) => format!("{group}: uses its new definition"),
            Action::Renew { group, .. } => format!("{group}: renews its lease"),
            Action::Save { version, .. } => format!("saves its state (version {version})"),
        };
        self.all.then(|| line("action", text))
    }
}

fn line(word: &'static str, text: impl Into<String>) -> ReplayLine {
    ReplayLine {
        level: None,
        word,
        text: text.into(),
    }
}

fn missing(inputs: Option<u64>) -> String {
    let Some(inputs) = inputs else {
        return "the recording begins in the middle of the life of a daemon".to_owned();
    };
    let inputs = count(usize::try_from(inputs).unwrap_or(usize::MAX), "input");
    format!("{inputs} missing before this: the disk was full or too slow")
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Init => "starting",
        Phase::Active => "active",
        Phase::Leaving => "leaving",
        Phase::Left => "left",
    }
}

/// Events that are shown only if everything is.
fn routine_event(event: &Event) -> String {
    match event {
        Event::Heard {
            link, heartbeat, ..
        } => format!(
            "heartbeat {} of {} on {link}",
            heartbeat.sequence.0, heartbeat.src
        ),
        Event::HeardUnreadable { link, heartbeat } => {
            format!(
                "heartbeat of another version of {} on {link}",
                heartbeat.src
            )
        }
        Event::Refused { peer, link } => {
            format!("{peer} refused a heartbeat on {link}: no daemon runs there")
        }
        Event::Pong { ping, .. } => format!("ping node {ping} answers"),
        Event::AddressSilent { group, .. } => {
            format!("{group}: no other node answers for its addresses")
        }
        Event::MachineAsked { node, .. } => {
            format!("the machine of {node}, whose daemon is silent, was asked")
        }
        Event::MachineAnswered { node, .. } => {
            format!("the machine of {node}, whose daemon is silent, answers")
        }
        Event::Saved { version } => format!("the state is saved (version {version})"),
        _ => "a deadline is reached".to_owned(),
    }
}

fn probe_results(looks: &[Option<bool>]) -> String {
    let word = |look: &Option<bool>| match look {
        Some(true) => "up",
        Some(false) => "down",
        None => "unknown",
    };
    looks.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn command_words(command: &Command) -> String {
    let list = |groups: &[GroupName]| {
        let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
        names.join(" ")
    };
    match command {
        Command::Standby { groups, .. } => format!("command: standby {}", list(groups)),
        Command::Unstandby(groups) => format!("command: standby off {}", list(groups)),
        Command::Takeover { groups, force } => {
            let force = if *force { "--force " } else { "" };
            format!("command: takeover {force}{}", list(groups))
        }
        Command::Clear(group) => format!("command: clear {group}"),
        Command::Maintenance { groups, on } => {
            let switch = if *on { "on" } else { "off" };
            format!("command: maintenance {switch} {}", list(groups))
        }
        Command::Leave => "the daemon is told to stop".to_owned(),
        Command::Stop => "command: stop".to_owned(),
        Command::ConfirmDead(node) => format!("command: fence confirm {node}"),
        Command::Fence(node) => format!("command: fence {node}"),
        Command::Forget(node) => format!("command: forget {node}"),
        Command::Restart { .. } => "command: restart".to_owned(),
    }
}
