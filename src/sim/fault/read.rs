//! Reads a fault from the words in which it is printed.

use std::str::FromStr;

use super::{Fault, NetworkPath, StepLocation};
use crate::engine::Command;
use crate::model::{GroupName, LinkName, NodeName};
use crate::sim::controls::CutDirection;
use crate::sim::machine::{Behaviour, ProbeBehaviour};
use crate::sim::network::Weather;
use crate::sim::script_words::{ScriptError, ScriptLine};
use crate::sim::setting::ScriptSetting;
use crate::sim::setup::ClusterSetup;

/// The first words of all faults.
const KNOWN: [&str; 36] = [
    "cut",
    "block",
    "isolate",
    "blind",
    "see",
    "heal",
    "weather",
    "crash",
    "start",
    "kill",
    "freeze",
    "suspend",
    "thaw",
    "lose-store",
    "drift",
    "late",
    "starts",
    "stops",
    "looks",
    "lose",
    "die",
    "ail",
    "check",
    "mend",
    "standby",
    "yield",
    "unstandby",
    "takeover",
    "force",
    "clear",
    "maintenance",
    "leave",
    "restart",
    "reconfigure",
    "end",
    "make",
];

/// Most that a clock may drift.
const DRIFT: i64 = 10_000;

impl FromStr for Fault {
    type Err = ScriptError;

    /// Names are taken as they are; those of a script are held against its header.
    fn from_str(text: &str) -> Result<Fault, ScriptError> {
        let mut reader = Reader {
            words: ScriptLine::of(1, text),
            setup: None,
        };
        let fault = reader.fault()?;
        reader.words.end()?;
        Ok(fault)
    }
}

/// Reads the words of one line; with a setup, only names that it knows.
pub(in crate::sim) struct Reader<'w, 's> {
    pub words: ScriptLine<'w>,
    pub setup: Option<&'s ClusterSetup>,
}

impl Reader<'_, '_> {
    pub fn fault(&mut self) -> Result<Fault, ScriptError> {
        let first = self.words.one_of("fault", &KNOWN)?;
        match first {
            "cut" => self.cut(),
            "block" => self.block(),
            "isolate" => Ok(Fault::Isolate(self.node()?)),
            "blind" => Ok(Fault::Blind(self.node()?, self.ping()?)),
            "see" => Ok(Fault::See(self.node()?, self.ping()?)),
            "heal" => Ok(Fault::Heal),
            "weather" => Ok(Fault::Weather(self.weather()?, self.path()?)),
            "starts" => Ok(Fault::Starts(self.spot("of")?, self.behaviour()?)),
            "stops" => Ok(Fault::Stops(self.spot("of")?, self.behaviour()?)),
            "looks" => Ok(Fault::Looks(self.spot("at")?, self.look()?)),
            "lose" => Ok(Fault::Lose(self.rest_of_spot()?)),
            "die" => Ok(Fault::Die(self.rest_of_spot()?)),
            "ail" => Ok(Fault::Ail(self.rest_of_spot()?)),
            "check" => self.check(),
            "mend" => self.words.expect("agents").map(|()| Fault::MendAgents),
            "end" => {
                self.words.expect("all")?;
                self.words.expect("faults").map(|()| Fault::EndAll)
            }
            "make" => self.words.expect("amends").map(|()| Fault::MakeAmends),
            "reconfigure" => {
                let node = self.node()?;
                Ok(Fault::Reconfigure(node, self.setting()?))
            }
            other => self.machine_or_command(other),
        }
    }

    fn machine_or_command(&mut self, first: &str) -> Result<Fault, ScriptError> {
        let node = self.node()?;
        Ok(match first {
            "crash" => Fault::Crash(node),
            "start" => Fault::Start(node),
            "kill" => Fault::Kill(node),
            "freeze" => Fault::Freeze(node),
            "suspend" => Fault::Suspend(node),
            "thaw" => {
                let deaf = self.words.accept("deaf");
                Fault::Thaw { node, deaf }
            }
            "lose-store" => Fault::LoseStore(node),
            "drift" => {
                let ppm = self.words.number("a drift", "ppm", -DRIFT, DRIFT)?;
                Fault::Drift(node, i32::try_from(ppm).unwrap_or(0))
            }
            "late" => Fault::Late(node, self.words.time("how late at most")?),
            other => {
                let command = self.command(other)?;
                let looked = self.looked()?;
                Fault::Command {
                    node,
                    command,
                    looked,
                }
            }
        })
    }

    fn command(&mut self, word: &str) -> Result<Command, ScriptError> {
        Ok(match word {
            "standby" | "yield" => Command::Standby {
                groups: self.groups()?,
                lasting: word == "standby",
            },
            "unstandby" => Command::Unstandby(self.groups()?),
            "takeover" | "force" => Command::Takeover {
                groups: self.groups()?,
                force: word == "force",
            },
            "clear" => Command::Clear(self.group()?),
            "maintenance" => {
                let on = self.words.on_or_off()?;
                let groups = self.groups()?;
                Command::Maintenance { groups, on }
            }
            "restart" => {
                self.words.expect("back")?;
                self.words.expect("within")?;
                let back_within = self.words.time("how long the others shall wait")?;
                Command::Restart { back_within }
            }
            _ => Command::Leave,
        })
    }

    fn looked(&mut self) -> Result<bool, ScriptError> {
        if !self.words.accept("after") {
            return Ok(false);
        }
        self.words.expect("a")?;
        self.words.expect("look").map(|()| true)
    }

    fn cut(&mut self) -> Result<Fault, ScriptError> {
        let (a, b, way) = self.between()?;
        let link = self.link()?;
        Ok(Fault::Cut { a, b, way, link })
    }

    fn block(&mut self) -> Result<Fault, ScriptError> {
        let (a, b, way) = self.between()?;
        Ok(Fault::Block { a, b, way })
    }

    fn between(&mut self) -> Result<(NodeName, NodeName, CutDirection), ScriptError> {
        let a = self.node()?;
        let way = if self.words.accept("to") {
            CutDirection::OneWay
        } else {
            CutDirection::Both
        };
        Ok((a, self.node()?, way))
    }

    fn link(&mut self) -> Result<Option<LinkName>, ScriptError> {
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

    fn path(&mut self) -> Result<Option<NetworkPath>, ScriptError> {
        if !self.words.accept("from") {
            return Ok(None);
        }
        let from = self.node()?;
        self.words.expect("to")?;
        let to = self.node()?;
        let link = self.link()?;
        Ok(Some(NetworkPath { from, to, link }))
    }

    fn weather(&mut self) -> Result<Weather, ScriptError> {
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

    fn behaviour(&mut self) -> Result<Behaviour, ScriptError> {
        match self.words.one_of("behaviour", &["take", "fail", "hang"])? {
            "take" => Ok(Behaviour::Works(self.words.time("how long it takes")?)),
            "fail" if self.words.accept("half-done") => Ok(Behaviour::FailsHalfDone),
            "fail" => Ok(Behaviour::Fails("it does not want to".to_owned())),
            _ => Ok(Behaviour::Hangs),
        }
    }

    fn look(&mut self) -> Result<ProbeBehaviour, ScriptError> {
        match self.words.one_of("way to look", &["say", "fail", "hang"])? {
            "say" => {
                let said = self.words.one_of("state", &["running", "stopped"])?;
                Ok(ProbeBehaviour::Says(said == "running"))
            }
            "fail" => Ok(ProbeBehaviour::Fails),
            _ => Ok(ProbeBehaviour::Hangs),
        }
    }

    fn check(&mut self) -> Result<Fault, ScriptError> {
        let word = self.words.next("a check")?;
        if let Some(s) = self.setup.filter(|s| !s.has_check(word.text)) {
            return Err(self.words.unknown(word, "check", s.checks()));
        }
        self.words.expect("on")?;
        let node = self.node()?;
        let how = self.words.one_of("result", &["passes", "fails"])?;
        Ok(Fault::Check {
            node,
            check: word.text.to_owned(),
            passes: how == "passes",
        })
    }

    fn spot(&mut self, joined_by: &str) -> Result<StepLocation, ScriptError> {
        self.words.expect(joined_by)?;
        self.rest_of_spot()
    }

    fn rest_of_spot(&mut self) -> Result<StepLocation, ScriptError> {
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

    pub fn node(&mut self) -> Result<NodeName, ScriptError> {
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

    fn ping(&mut self) -> Result<Option<String>, ScriptError> {
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

    fn group(&mut self) -> Result<GroupName, ScriptError> {
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

    /// One group at least, up to the end or to `after a look`.
    fn groups(&mut self) -> Result<Vec<GroupName>, ScriptError> {
        let mut groups = vec![self.group()?];
        while self.words.peek().is_some_and(|w| w != "after") {
            groups.push(self.group()?);
        }
        Ok(groups)
    }

    fn setting(&mut self) -> Result<ScriptSetting, ScriptError> {
        let first = self.words.next("a setting")?;
        match first.text {
            "preferred" => {
                let group = self.group()?;
                Ok(ScriptSetting::Preferred(group, self.node()?))
            }
            "without" => Ok(ScriptSetting::Without(self.group()?)),
            "with" => Ok(ScriptSetting::With(self.group()?)),
            "whole" => Ok(ScriptSetting::Whole),
            other => {
                let setting = ScriptSetting::read(other, &mut self.words)?;
                let more = ["preferred", "without", "with", "whole"];
                let known = ScriptSetting::WORDS.iter().chain(&more).copied();
                setting.ok_or_else(|| self.words.unknown(first, "setting", known))
            }
        }
    }
}
