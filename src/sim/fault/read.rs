//! Reads a fault from the words in which it is printed.

use std::str::FromStr;
use std::time::Duration;

use super::{FAULT_WORDS, Fault, NetworkPath, StepLocation};
use crate::engine::Command;
use crate::model::{GroupName, LinkName, NodeName};
use crate::sim::clones::CloneKind;
use crate::sim::controls::CutDirection;
use crate::sim::fencing::PowerSwitch;
use crate::sim::machine::{Behaviour, ProbeBehaviour};
use crate::sim::network::Weather;
use crate::sim::script_words::ScriptLine;
use crate::sim::setting::ScriptSetting;
use crate::sim::setup::ClusterSetup;
use crate::text::Problem;

/// The most that a clock may drift, in millionths.
const MAX_DRIFT_PPM: i64 = 10_000;

impl FromStr for Fault {
    type Err = Problem;

    /// Takes any name; a script checks names against its header.
    fn from_str(text: &str) -> Result<Fault, Problem> {
        let mut reader = FaultReader {
            words: ScriptLine::split(1, text),
            setup: None,
        };
        let fault = reader.fault()?;
        reader.words.end()?;
        Ok(fault)
    }
}

/// Reads the words of one line; with a setup, only names that are in it.
pub(in crate::sim) struct FaultReader<'w, 's> {
    pub words: ScriptLine<'w>,
    pub setup: Option<&'s ClusterSetup>,
}

impl FaultReader<'_, '_> {
    pub fn fault(&mut self) -> Result<Fault, Problem> {
        let word = self.words.next("a fault")?;
        match FAULT_WORDS.iter().find(|row| row.word == word.text) {
            Some(row) => (row.read)(self),
            None => Err(self
                .words
                .unknown(word, "fault", FAULT_WORDS.iter().map(|row| row.word))),
        }
    }

    /// Reads a command at a node, and `after a look` behind it.
    pub(super) fn command(
        &mut self,
        read: fn(&mut Self) -> Result<Command, Problem>,
    ) -> Result<Fault, Problem> {
        let (node, command) = (self.node()?, read(self)?);
        let looked = self.words.accept("after");
        if looked {
            self.words.expect("a")?;
            self.words.expect("look")?;
        }
        Ok(Fault::Command {
            node,
            command,
            looked,
        })
    }

    pub(super) fn clone_kind(&mut self) -> CloneKind {
        if self.words.accept("empty") {
            CloneKind::Configuration
        } else if self.words.accept("running") {
            CloneKind::Memory
        } else {
            CloneKind::Disk
        }
    }

    pub(super) fn power_switch(&mut self) -> Result<PowerSwitch, Problem> {
        let known = ["take", "fail", "idle", "unanswered", "late", "wrong"];
        Ok(match self.words.one_of("behaviour", &known)? {
            "take" => PowerSwitch::Takes(self.words.time("how long it takes")?),
            "fail" => PowerSwitch::Fails,
            "idle" => PowerSwitch::Idle,
            "unanswered" => PowerSwitch::Unanswered,
            "late" => PowerSwitch::Late(self.words.time("how late")?),
            _ => PowerSwitch::Wrong,
        })
    }

    pub(super) fn back_within(&mut self) -> Result<Duration, Problem> {
        self.words.expect("back")?;
        self.words.expect("within")?;
        self.words.time("how long the others wait")
    }

    pub(super) fn drift(&mut self) -> Result<i32, Problem> {
        let ppm = self
            .words
            .number("a drift", "ppm", -MAX_DRIFT_PPM, MAX_DRIFT_PPM)?;
        Ok(i32::try_from(ppm).unwrap_or(0))
    }

    pub(super) fn between(&mut self) -> Result<(NodeName, NodeName, CutDirection), Problem> {
        let a = self.node()?;
        let way = if self.words.accept("to") {
            CutDirection::OneWay
        } else {
            CutDirection::Both
        };
        Ok((a, self.node()?, way))
    }

    pub(super) fn link(&mut self) -> Result<Option<LinkName>, Problem> {
        if !self.words.accept("on") {
            return Ok(None);
        }
        let word = self.words.next("a link")?;
        let link = LinkName::new(word.text);
        match self.setup {
            Some(s) if !s.cluster.links.contains(&link) => {
                let known = s.cluster.links.iter().map(LinkName::as_str);
                Err(self.words.unknown(word, "link", known))
            }
            _ => Ok(Some(link)),
        }
    }

    pub(super) fn path(&mut self) -> Result<Option<NetworkPath>, Problem> {
        if !self.words.accept("from") {
            return Ok(None);
        }
        let from = self.node()?;
        self.words.expect("to")?;
        let to = self.node()?;
        let link = self.link()?;
        Ok(Some(NetworkPath { from, to, link }))
    }

    pub(super) fn weather(&mut self) -> Result<Weather, Problem> {
        let mut weather = Weather::CALM;
        if self.words.accept("calm") {
            return Ok(weather);
        }
        let mut any = false;
        loop {
            match self.words.peek() {
                Some("loss") => {
                    self.words.expect("loss")?;
                    weather.loss = self.words.share("how much is lost")?;
                }
                Some("twice") => {
                    self.words.expect("twice")?;
                    weather.twice = self.words.share("how much comes twice")?;
                }
                Some("delay") => {
                    self.words.expect("delay")?;
                    weather.delay = self.words.time("the least delay")?;
                }
                Some("jitter") => {
                    self.words.expect("jitter")?;
                    weather.jitter = self.words.time("what is added to the delay at most")?;
                }
                Some("from") | None if any => return Ok(weather),
                _ => {
                    let known = ["calm", "loss", "twice", "delay", "jitter"];
                    return self.words.one_of("weather", &known).map(|_| weather);
                }
            }
            any = true;
        }
    }

    pub(super) fn behaviour(&mut self) -> Result<Behaviour, Problem> {
        match self.words.one_of("behaviour", &["take", "fail", "hang"])? {
            "take" => Ok(Behaviour::Works(self.words.time("how long it takes")?)),
            "fail" if self.words.accept("half-done") => Ok(Behaviour::FailsHalfDone),
            "fail" => Ok(Behaviour::Fails("simulated failure".to_owned())),
            _ => Ok(Behaviour::Hangs),
        }
    }

    pub(super) fn probe_behaviour(&mut self) -> Result<ProbeBehaviour, Problem> {
        match self
            .words
            .one_of("behaviour of a probe", &["say", "fail", "hang"])?
        {
            "say" => {
                let said = self.words.one_of("state", &["running", "stopped"])?;
                Ok(ProbeBehaviour::Says(said == "running"))
            }
            "fail" => Ok(ProbeBehaviour::Fails),
            _ => Ok(ProbeBehaviour::Hangs),
        }
    }

    pub(super) fn check(&mut self) -> Result<(String, NodeName, bool), Problem> {
        let word = self.words.next("a check")?;
        if let Some(s) = self.setup.filter(|s| !s.has_check(word.text)) {
            return Err(self.words.unknown(word, "check", s.checks()));
        }
        self.words.expect("on")?;
        let node = self.node()?;
        let how = self.words.one_of("result", &["passes", "fails"])?;
        Ok((word.text.to_owned(), node, how == "passes"))
    }

    pub(super) fn step(&mut self) -> Result<StepLocation, Problem> {
        let group = self.group()?;
        self.words.expect("step")?;
        let of = self.setup.and_then(|s| s.group(&group));
        let most = of.map_or(1000, |g| i64::try_from(g.steps.len()).unwrap_or(1000));
        let step = self.words.number("a step of a group", "", 1, most)?;
        self.words.expect("on")?;
        let step = usize::try_from(step - 1).unwrap_or(0);
        let node = self.node()?;
        Ok(StepLocation { node, group, step })
    }

    pub fn node(&mut self) -> Result<NodeName, Problem> {
        let word = self.words.next("a node")?;
        let node = NodeName::new(word.text);
        match self.setup {
            Some(s) if !s.cluster.nodes.contains(&node) => {
                let known = s.cluster.nodes.iter().map(NodeName::as_str);
                Err(self.words.unknown(word, "node", known))
            }
            _ => Ok(node),
        }
    }

    pub(super) fn ping(&mut self) -> Result<Option<String>, Problem> {
        if self.words.is_empty() {
            return Ok(None);
        }
        let word = self.words.next("a ping node")?;
        let known = |s: &&ClusterSetup| s.cluster.pings.iter().any(|p| p.name == word.text);
        if let Some(s) = self.setup.filter(|s| !known(s)) {
            let names = s.cluster.pings.iter().map(|p| p.name.as_str());
            return Err(self.words.unknown(word, "ping node", names));
        }
        Ok(Some(word.text.to_owned()))
    }

    pub(super) fn group(&mut self) -> Result<GroupName, Problem> {
        let word = self.words.next("a group")?;
        let group = GroupName::new(word.text);
        match self.setup {
            Some(s) if s.group(&group).is_none() => {
                let known = s.cluster.groups.iter().map(|g| g.name.as_str());
                Err(self.words.unknown(word, "group", known))
            }
            _ => Ok(group),
        }
    }

    /// At least one group, up to the end of the line or to `after a look`.
    pub(super) fn groups(&mut self) -> Result<Vec<GroupName>, Problem> {
        let mut groups = vec![self.group()?];
        while self.words.peek().is_some_and(|w| w != "after") {
            groups.push(self.group()?);
        }
        Ok(groups)
    }

    pub(super) fn setting(&mut self) -> Result<ScriptSetting, Problem> {
        let first = self.words.next("a setting")?;
        match first.text {
            "preferred" => {
                let group = self.group()?;
                Ok(ScriptSetting::Preferred(group, self.node()?))
            }
            "without" => Ok(ScriptSetting::Without(self.group()?)),
            "with" => Ok(ScriptSetting::With(self.group()?)),
            "voters" => {
                let mut names = vec![self.node()?];
                while !self.words.is_empty() {
                    names.push(self.node()?);
                }
                Ok(ScriptSetting::Voters(names))
            }
            "whole" => Ok(ScriptSetting::Whole),
            other => {
                let setting = ScriptSetting::read(other, &mut self.words)?;
                let more = ["preferred", "without", "with", "voters", "whole"];
                let known = ScriptSetting::words().chain(more);
                setting.ok_or_else(|| self.words.unknown(first, "setting", known))
            }
        }
    }
}
