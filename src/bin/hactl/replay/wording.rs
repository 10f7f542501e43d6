//! Each moment of a replay in words, or nothing where it says nothing new.

use std::collections::BTreeMap;

use had::engine::{Action, Call, Command, Event, OrderId, Outcome};
use had::model::GroupName;
use had::model::NodeName;
use had::model::cluster::{Cluster, Step};
use had::model::decision::Level;
use had::model::heartbeat::Heartbeat;
use had::replay::player::ReplayEvent;
use had::replay::what_if::Branch;

/// A moment in words.
pub struct ReplayLine {
    /// For a decision: how much it matters.
    pub level: Option<Level>,
    /// What kind of thing it is, otherwise.
    pub word: &'static str,
    /// The sentence.
    pub text: String,
}

/// Knows what has been said already.
pub struct ReplayWording {
    /// Everything is said.
    all: bool,
    /// What each peer said last.
    peers: BTreeMap<NodeName, String>,
    /// Groups whose addresses answer.
    answering: BTreeMap<GroupName, String>,
    /// What looks ill, with what it said.
    ill: BTreeMap<String, String>,
    /// What was ordered, in each of the worlds.
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
            ill: BTreeMap::new(),
            orders: BTreeMap::new(),
            steps: BTreeMap::new(),
        }
    }

    /// Learns how the steps of each group are called.
    pub fn learn(&mut self, cluster: &Cluster) {
        let step = |s: &Step| s.members.join(" ");
        for group in &cluster.groups {
            let steps = group.steps.iter().map(step).collect();
            self.steps.insert(group.name.clone(), steps);
        }
    }

    /// What is to be said of a moment.
    pub fn of(&mut self, world: Branch, seen: &ReplayEvent) -> Option<ReplayLine> {
        Some(match seen {
            ReplayEvent::Began { had, node } => {
                self.forget();
                said("begin", format!("had {had} begins on {node}"))
            }
            ReplayEvent::Missing(count) => {
                self.forget();
                said("begin", missing(*count))
            }
            ReplayEvent::Input(event) => self.event(world, event, "")?,
            ReplayEvent::Supposed(event) => self.event(world, event, " (supposed)")?,
            ReplayEvent::Ordered(action) => self.action(world, action)?,
            ReplayEvent::Parts => said("PARTS", "from here on: - what was, + what would have been"),
            ReplayEvent::Differs => said(
                "DIFFERS",
                "the engine of this hactl has ordered something else than the daemon did; what follows may not be what was",
            ),
            ReplayEvent::Fails(text) => said(
                "FAILS",
                format!("the engine fails here, which is a defect of had: {text}"),
            ),
            ReplayEvent::Unreadable(why) => said(
                "DAMAGE",
                format!("{why}; nothing is known until the next state"),
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
                format!("{} letters go out with each heartbeat", letters.len())
            }
            Event::Heard { heartbeat, .. } if !self.all => self.news(heartbeat)?,
            Event::Done {
                group,
                order,
                outcome,
            } => self.done(world, group, *order, outcome),
            Event::AddressAnswered { group, who } => {
                let before = self.answering.insert(group.clone(), who.clone());
                if !self.all && before.as_ref() == Some(who) {
                    return None;
                }
                format!("{group}: an address of it answers ({who})")
            }
            Event::ResourceLost { group, step, text } => {
                format!("{group}: {} was lost: {text}", self.step(group, *step))
            }
            Event::Monitored {
                group,
                step,
                result,
            } => {
                let step = self.step(group, *step);
                self.look(&format!("{group}: {step}"), result.as_ref().err())?
            }
            Event::Checked { check, result } => {
                self.look(&format!("check {check}"), result.as_ref().err())?
            }
            Event::Carrier { link, up } => {
                let has = if *up { "has" } else { "has lost" };
                format!("{link} {has} its carrier")
            }
            Event::Command { command, .. } => command_words(command),
            Event::Reconfigured(cluster) => {
                self.learn(cluster);
                "the configuration was read anew".to_owned()
            }
            Event::Heard { .. }
            | Event::Refused { .. }
            | Event::Pong { .. }
            | Event::AddressSilent { .. }
            | Event::Saved { .. }
            | Event::DeadlineReached => {
                if !self.all {
                    return None;
                }
                small(event)
            }
        };
        Some(said("told", format!("{text}{remark}")))
    }

    /// What a look came to: where not everything is said, only that a thing falls ill, what is new of its illness, and
    /// that it is well again.
    fn look(&mut self, what: &str, ill: Option<&String>) -> Option<String> {
        let before = match ill {
            Some(text) => self.ill.insert(what.to_owned(), text.clone()),
            None => self.ill.remove(what),
        };
        let news = before.as_ref() != ill;
        (news || self.all).then(|| match ill {
            Some(text) => format!("{what} is ill: {text}"),
            None => format!("{what} is well"),
        })
    }

    /// What is new in what a peer says.
    fn news(&mut self, heartbeat: &Heartbeat) -> Option<String> {
        let mut parts = vec![format!("{:?}", heartbeat.phase).to_lowercase()];
        if !heartbeat.quorate {
            parts.push("no quorum".to_owned());
        }
        for report in &heartbeat.groups {
            let mut text = format!("{} {}", report.group, report.state.as_str());
            if let Some(to) = &report.offer {
                text += &format!(" and offered to {to}");
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
            parts.push("restarts".to_owned());
        }
        let text = parts.join("; ");
        let before = self.peers.insert(heartbeat.src.clone(), text.clone());
        (before.as_ref() != Some(&text)).then(|| format!("{} says: {text}", heartbeat.src))
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
            Outcome::Seen(looks) => format!("{group}: {what} found {}", looks_words(looks)),
            Outcome::Failed(text) => format!("{group}: {what} failed: {text}"),
            Outcome::TimedOut(text) => format!("{group}: {what} took too long: {text}"),
        }
    }

    fn call(&self, group: &GroupName, call: Call) -> String {
        match call {
            Call::Probe => "a look at all of it".to_owned(),
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
                format!("{group}: orders {}", self.call(group, *call))
            }
            Action::Reply { result, .. } => {
                let text = match result {
                    Ok(text) => text.clone(),
                    Err(text) => format!("refused or failed: {text}"),
                };
                return Some(said("answer", text));
            }
            Action::Exit => return Some(said("end", "the daemon ends")),
            Action::Send(heartbeat) => format!("sends heartbeat {}", heartbeat.sequence.0),
            Action::Ping => "asks the ping nodes".to_owned(),
            Action::Abort(group) => format!("{group}: orders to end what runs for it"),
            Action::WatchAddresses { group, on: true } => {
                format!("{group}: asks for its addresses")
            }
            Action::WatchAddresses { group, on: false } => {
                format!("{group}: asks for its addresses no longer")
            }
            Action::Monitor { group, on: true } => format!("{group}: looks at what runs"),
            Action::Monitor { group, on: false } => {
                format!("{group}: looks at what runs no longer")
            }
            Action::Announce(group) => format!("{group}: announces its addresses"),
            Action::Redefined(group) => format!("{group}: its new definition counts"),
            Action::Renew { group, .. } => format!("{group}: its right is renewed"),
            Action::Save { version, .. } => format!("saves what must be kept ({version})"),
        };
        self.all.then(|| said("orders", text))
    }
}

fn said(word: &'static str, text: impl Into<String>) -> ReplayLine {
    ReplayLine {
        level: None,
        word,
        text: text.into(),
    }
}

fn missing(count: Option<u64>) -> String {
    match count {
        Some(count) => {
            format!("{count} events are missing before this: the disk was too slow or full")
        }
        None => "the recording begins here, in the middle of the life of a daemon".to_owned(),
    }
}

/// What is only said when everything is.
fn small(event: &Event) -> String {
    match event {
        Event::Heard { link, heartbeat } => format!(
            "heartbeat {} of {} on {link}",
            heartbeat.sequence.0, heartbeat.src
        ),
        Event::Refused { peer, link } => {
            format!("{peer} refused a heartbeat on {link}: no daemon there")
        }
        Event::Pong { ping, .. } => format!("ping node {ping} answers"),
        Event::AddressSilent { group, .. } => format!("{group}: none of its addresses answers"),
        Event::Saved { version } => format!("what must be kept is saved ({version})"),
        _ => "a deadline has come".to_owned(),
    }
}

fn looks_words(looks: &[Option<bool>]) -> String {
    let word = |look: &Option<bool>| match look {
        Some(true) => "up",
        Some(false) => "down",
        None => "not known",
    };
    looks.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn command_words(command: &Command) -> String {
    let list = |groups: &[GroupName]| {
        let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
        names.join(" ")
    };
    match command {
        Command::Standby { groups, .. } => format!("somebody commands: standby {}", list(groups)),
        Command::Unstandby(groups) => format!("somebody commands: standby off {}", list(groups)),
        Command::Takeover { groups, force } => {
            let force = if *force { "--force " } else { "" };
            format!("somebody commands: takeover {force}{}", list(groups))
        }
        Command::Clear(group) => format!("somebody commands: clear {group}"),
        Command::Maintenance { groups, on } => {
            let switch = if *on { "on" } else { "off" };
            format!("somebody commands: maintenance {switch} {}", list(groups))
        }
        Command::Leave => "told to end".to_owned(),
        Command::Restart { .. } => "somebody commands: restart".to_owned(),
    }
}
