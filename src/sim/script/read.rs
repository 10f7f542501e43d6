//! Reads a script line by line, and finds all its errors at once.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::FaultScript;
use crate::model::cluster::{GroupSpec, PingNode, Step, Timing};
use crate::model::fencing::Fencing;
use crate::model::health::{CheckPolicy, FAILBACK_WHEN, Policy};
use crate::model::{GroupName, LinkName, NodeName};
use crate::sim::fault::Fault;
use crate::sim::fault::read::FaultReader;
use crate::sim::script_words::{SCRIPT, ScriptLine, ScriptWord};
use crate::sim::setting::ScriptSetting;
use crate::sim::setup::{ClusterSetup, MachineCondition, default_step};
use crate::sim::world::default_cluster;
use crate::text::{Place, Problem, Problems};

/// Reading stops after this many errors.
const MAX_ERRORS: usize = 50;
/// The engine's work grows with the square of the number of nodes.
const MAX_NODES: usize = 64;
/// Words of a `step` line.
const STEP_WORDS: [&str; 10] = [
    "start", "stop", "monitor", "removal", "storage", "fall", "rise", "restart", "within", ":",
];

/// Lines that may be repeated.
const REPEATABLE: [&str; 8] = [
    "at", "witness", "ping", "group", "step", "check", "interval", "machine",
];

/// The header as it has been read so far.
struct HeaderReader {
    setup: ClusterSetup,
    /// The cluster comes from a configuration folder, not from the header.
    given: bool,
    /// Whether the script sets these; otherwise they follow from the other times.
    margin: bool,
    deadping: bool,
    /// Lines seen so far that may not be repeated.
    seen: BTreeSet<String>,
}

pub(super) fn read(text: &str, given: Option<ClusterSetup>) -> Result<FaultScript, Problems> {
    let mut header = HeaderReader {
        given: given.is_some(),
        setup: given.unwrap_or_else(|| ClusterSetup::new(default_cluster(&[]))),
        margin: false,
        deadping: false,
        seen: BTreeSet::new(),
    };
    let (mut problems, mut steps, mut notes) = (Problems::default(), Vec::new(), Vec::new());
    let mut first = true;
    for (number, line) in text.lines().enumerate() {
        if let Some(note) = line.strip_prefix('#').filter(|_| first) {
            // A line may end as on another system.
            let note = note.strip_prefix(' ').unwrap_or(note);
            notes.push(note.trim_end().to_owned());
            continue;
        }
        let words = ScriptLine::split(number + 1, line);
        if words.is_empty() {
            continue;
        }
        first = false;
        if let Err(problem) = header.line(words, &mut steps) {
            problems.list.push(problem);
        }
        if problems.list.len() >= MAX_ERRORS {
            return Err(problems);
        }
    }
    header.finish(&mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    steps.sort_by_key(|(at, _)| *at);
    Ok(FaultScript {
        notes,
        setup: header.setup,
        steps,
    })
}

impl HeaderReader {
    fn line(
        &mut self,
        mut words: ScriptLine<'_>,
        steps: &mut Vec<(Duration, Fault)>,
    ) -> Result<(), Problem> {
        let first = words.next("a line")?;
        if first.text == "at" {
            let at = words.time("when")?;
            let mut reader = FaultReader {
                words,
                setup: Some(&self.setup),
            };
            steps.push((at, reader.fault()?));
            return reader.words.end();
        }
        if self.seen.contains(first.text) {
            let message = format!("`{}` is already given above", first.text);
            return Err(words.at_word(first, message, "remove one of the two lines"));
        }
        self.common_line(first, &mut words)?;
        if !REPEATABLE.contains(&first.text) {
            self.seen.insert(first.text.to_owned());
        }
        words.end()
    }

    /// Lines that are allowed in every script.
    fn common_line<'a>(
        &mut self,
        first: ScriptWord<'a>,
        words: &mut ScriptLine<'a>,
    ) -> Result<(), Problem> {
        match first.text {
            "seed" => {
                let word = words.next("a number")?;
                self.setup.seed = word.text.parse().map_err(|_| {
                    let help = "a seed is a whole number";
                    words.at_word(word, format!("`{}` is not a seed", word.text), help)
                })?;
            }
            "for" => self.setup.length = Some(words.time("how long the run is")?),
            "kernel_leases" => self.setup.kernel_leases = words.on_or_off()?,
            "machine" => self.machine(words)?,
            _ if self.given => {
                let known = ["at", "seed", "for", "kernel_leases", "machine"];
                let mut problem = words.unknown(first, "line", known.into_iter());
                problem.message = format!(
                    "`{}` is not allowed in a script that is run with a configuration folder",
                    first.text
                );
                let source = "; nodes, groups and times come from the configuration";
                problem.help = problem.help.map(|help| help + source);
                return Err(problem);
            }
            _ => self.cluster_line(first, words)?,
        }
        Ok(())
    }

    fn cluster_line<'a>(
        &mut self,
        first: ScriptWord<'a>,
        words: &mut ScriptLine<'a>,
    ) -> Result<(), Problem> {
        match first.text {
            "nodes" => self.nodes(words),
            "witness" => self.witness(words),
            "fence" => self.fence(words),
            "links" => {
                let links = names(words, "a link", LinkName::new)?;
                self.setup.cluster.links = links;
                Ok(())
            }
            "ping" => {
                let name = words.next("a ping node")?.text.to_owned();
                let addresses = Vec::new();
                self.setup.cluster.pings.push(PingNode { name, addresses });
                Ok(())
            }
            "group" => self.group(words),
            "step" => self.step(first, words),
            "check" => self.check(words),
            "interval" => {
                let mut again = words.clone();
                let interval = words.time("an interval")?;
                if interval.is_zero() {
                    let word = again.next("an interval")?;
                    return Err(again.at_word(word, "this time must be greater than 0", ""));
                }
                words.expect(":")?;
                let what = names(words, "a resource, or check and its name", str::to_owned)?;
                self.setup.intervals.insert(what.join(" "), interval);
                Ok(())
            }
            FAILBACK_WHEN => {
                self.setup.cluster.health.failback_when = true;
                Ok(())
            }
            other => {
                let Some(setting) = ScriptSetting::read(other, words)? else {
                    let more = [
                        "at",
                        "nodes",
                        "witness",
                        "fence",
                        "links",
                        "ping",
                        "group",
                        "step",
                        "check",
                        "interval",
                        FAILBACK_WHEN,
                        "kernel_leases",
                    ];
                    let last = ["machine", "seed", "for"];
                    let known = more.into_iter().chain(ScriptSetting::words()).chain(last);
                    return Err(words.unknown(first, "script line", known));
                };
                self.margin |= other == "margin";
                self.deadping |= other == "deadping";
                let before = self.setup.cluster.clone();
                setting.set(&mut self.setup.cluster, &before);
                Ok(())
            }
        }
    }

    fn nodes(&mut self, words: &mut ScriptLine<'_>) -> Result<(), Problem> {
        let mut again = words.clone();
        let nodes = names(words, "a node", NodeName::new)?;
        for (i, node) in nodes.iter().enumerate() {
            let word = again.next("a node")?;
            if nodes.iter().take(i).any(|n| n == node) {
                return Err(words.at_word(word, format!("{node} is named twice"), ""));
            }
            if i >= MAX_NODES {
                let message = format!("a script has {MAX_NODES} nodes at most");
                return Err(words.at_word(word, message, ""));
            }
        }
        if let Some(first) = nodes.first() {
            self.setup.cluster.me = first.clone();
        }
        self.setup.cluster.nodes = nodes;
        Ok(())
    }

    /// The nodes that can be fenced, and how.
    fn fence(&mut self, words: &mut ScriptLine<'_>) -> Result<(), Problem> {
        let delay = if words.accept("delay") {
            words.time("how much later the second fires")?
        } else {
            Fencing::USUAL_DELAY
        };
        let (for_all, reboot) = (words.accept("all"), words.accept("reboot"));
        words.expect(":")?;
        self.setup.cluster.fencing = Fencing {
            nodes: names(words, "a node", NodeName::new)?,
            delay,
            for_all,
            reboot,
        };
        Ok(())
    }

    /// A member that only votes: one of the nodes above, or one more.
    fn witness(&mut self, words: &mut ScriptLine<'_>) -> Result<(), Problem> {
        let word = words.next("a witness")?;
        let name = NodeName::new(word.text);
        let cluster = &mut self.setup.cluster;
        if cluster.nodes.is_empty() {
            let help = "write the line `nodes` above";
            return Err(words.at_word(word, "a witness belongs below the nodes", help));
        }
        if cluster.is_witness(&name) {
            return Err(words.at_word(word, format!("{name} is named twice"), ""));
        }
        if !cluster.nodes.contains(&name) {
            if cluster.nodes.len() >= MAX_NODES {
                let message = format!("a script has {MAX_NODES} nodes at most");
                return Err(words.at_word(word, message, ""));
            }
            cluster.nodes.push(name.clone());
        }
        cluster.witnesses.push(name);
        Ok(())
    }

    fn group(&mut self, words: &mut ScriptLine<'_>) -> Result<(), Problem> {
        let word = words.next("a group")?;
        let name = GroupName::new(word.text);
        if self.setup.group(&name).is_some() {
            return Err(words.at_word(word, format!("the group {name} is defined twice"), ""));
        }
        words.expect("on")?;
        let mut reader = FaultReader {
            words: words.clone(),
            setup: Some(&self.setup),
        };
        let preferred = reader.node()?;
        *words = reader.words;
        let steps = Vec::new();
        self.setup.cluster.groups.push(GroupSpec {
            name,
            preferred,
            steps,
        });
        Ok(())
    }

    fn step<'a>(
        &mut self,
        first: ScriptWord<'a>,
        words: &mut ScriptLine<'a>,
    ) -> Result<(), Problem> {
        let kind = words.one_of("kind of step", &["address", "script"])?;
        let mut step = default_step(kind == "address");
        loop {
            match words.one_of("word in a step", &STEP_WORDS)? {
                "fall" => policy_of(&mut step).fall = count(words, 1)?,
                "rise" => policy_of(&mut step).rise = count(words, 1)?,
                "restart" => policy_of(&mut step).restart = count(words, 0)?,
                "within" => {
                    policy_of(&mut step).within = words.time("how long it is remembered")?;
                }
                "storage" => step.shared_storage = true,
                "start" => step.start = words.time("a deadline")?,
                "stop" => step.stop = words.time("a deadline")?,
                "monitor" => step.monitor = words.time("a deadline")?,
                "removal" => step.removal = words.time("how long it takes at most")?,
                _ => break,
            }
        }
        step.members = names(words, "a resource", str::to_owned)?;
        let Some(group) = self.setup.cluster.groups.last_mut() else {
            let help = "begin a group first: group NAME on NODE";
            return Err(words.at_word(first, "a step belongs below its group", help));
        };
        group.steps.push(step);
        Ok(())
    }

    fn check(&mut self, words: &mut ScriptLine<'_>) -> Result<(), Problem> {
        let word = words.next("a check")?;
        if self.setup.has_check(word.text) || word.text == FAILBACK_WHEN {
            let message = format!("there is already a check named {}", word.text);
            return Err(words.at_word(word, message, ""));
        }
        let mut check = CheckPolicy {
            name: word.text.to_owned(),
            fall: 1,
            rise: 1,
            stays: false,
            group: None,
        };
        while !words.is_empty() {
            match words.one_of("word in a check", &["fall", "rise", "owner", "of"])? {
                "of" => check.group = Some(GroupName::new(words.next("a group")?.text)),
                "fall" => check.fall = count(words, 1)?,
                "owner" => {
                    check.stays = words.one_of("word after owner", &["stays", "goes"])? == "stays";
                }
                _ => check.rise = count(words, 1)?,
            }
        }
        self.setup.cluster.health.checks.push(check);
        Ok(())
    }

    fn machine(&mut self, words: &mut ScriptLine<'_>) -> Result<(), Problem> {
        let mut reader = FaultReader {
            words: words.clone(),
            setup: Some(&self.setup),
        };
        let node = reader.node()?;
        *words = reader.words;
        let mut condition = MachineCondition::default();
        while !words.is_empty() {
            match words.one_of("word in a machine line", &["clock", "drift", "late"])? {
                "clock" => condition.clock = words.time("what its clock shows")?,
                "drift" => {
                    let ppm = words.number("a drift", "ppm", -10_000, 10_000)?;
                    condition.ppm = i32::try_from(ppm).unwrap_or(0);
                }
                _ => condition.late = words.time("how late at most")?,
            }
        }
        self.setup.machines.insert(node, condition);
        Ok(())
    }

    /// Errors that only the whole header shows.
    fn finish(&mut self, problems: &mut Problems) {
        if self.given {
            return;
        }
        let mut missing = |message: String, help: &str| {
            problems.error(&Place::whole(Path::new(SCRIPT)), message, help);
        };
        let cluster = &mut self.setup.cluster;
        if cluster.nodes.is_empty() {
            missing(
                "the script has no nodes".to_owned(),
                "name them: nodes alice bob",
            );
        }
        for group in cluster.groups.iter().filter(|g| g.steps.is_empty()) {
            let help = "add one below it: step address : 10.0.0.1";
            missing(format!("the group {} has no steps", group.name), help);
        }
        for check in &cluster.health.checks {
            let stands = |g: &GroupName| cluster.groups.iter().any(|known| known.name == *g);
            if let Some(group) = check.group.as_ref().filter(|g| !stands(g)) {
                let message = format!("check {} is for the unknown group {group}", check.name);
                missing(message, "`of` names the group that the check is for");
            }
        }
        let timing = &mut cluster.timing;
        if !self.margin {
            timing.margin = Timing::usual_margin(timing.keepalive, timing.deadtime);
        }
        if !self.deadping {
            timing.deadping = timing.deadtime;
        }
        if timing.keepalive >= timing.deadtime || timing.deadtime > timing.initdead {
            let help = "keepalive must be shorter than deadtime, and deadtime at most initdead";
            missing(
                "keepalive, deadtime and initdead contradict each other".to_owned(),
                help,
            );
        }
    }
}

/// The monitoring policy of a step, with default values at first.
fn policy_of(step: &mut Step) -> &mut Policy {
    step.policy.get_or_insert(Policy {
        fall: 1,
        rise: 1,
        restart: 1,
        within: Duration::from_secs(600),
    })
}

fn count(words: &mut ScriptLine<'_>, least: i64) -> Result<u32, Problem> {
    let count = words.number("a number", "", least, 1000)?;
    Ok(u32::try_from(count).unwrap_or(1))
}

fn names<T>(
    words: &mut ScriptLine<'_>,
    what: &str,
    name: impl Fn(&str) -> T,
) -> Result<Vec<T>, Problem> {
    let mut all = vec![name(words.next(what)?.text)];
    while !words.is_empty() {
        all.push(name(words.next(what)?.text));
    }
    Ok(all)
}
