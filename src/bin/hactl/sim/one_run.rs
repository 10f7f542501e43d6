//! One run of `hactl sim`: its timeline, each group's downtime, and every moment with two owners with what led to it.

use std::time::{Duration, Instant};

use had::model::NodeName;
use had::model::cluster::{Cluster, QuorumPolicy};
use had::model::cluster_setting::CLUSTER_SETTINGS;
use had::model::decision::Level;
use had::sim::{
    DoubleOwnership, FaultProfile, FaultScript, RunReport, ShrunkScript, TimelineEvent, World, run,
    shrink,
};
use had::text::count;
use serde::Serialize;

use super::{MAX_SHRINK_RUNS, indented, seconds};
use crate::screen::{Screen, Tone};

/// How many faults before a moment with two owners are shown.
const MAX_CAUSES: usize = 8;

/// A script that was run, and the result.
pub struct FinishedRun<'a> {
    script: &'a FaultScript,
    report: RunReport,
    shrunk: Option<ShrunkScript>,
    took: Duration,
}

/// The result for programs. Times are seconds from the beginning.
#[derive(Serialize)]
pub struct RunSummary {
    seed: u64,
    simulated_s: f64,
    steps: u64,
    groups: Vec<GroupTimes>,
    two_owners: Vec<TwoOwners>,
    /// Why no promise rules two owners out; none where one does.
    not_promised: Option<String>,
    broken_promises: Vec<String>,
    /// Groups that do not run at the end, and why.
    down_at_the_end: Vec<String>,
    timeline: Vec<TimelineLine>,
}

#[derive(Serialize)]
struct GroupTimes {
    group: String,
    first_up_s: Option<f64>,
    times_down: u32,
    down_s: f64,
    longest_s: f64,
    longest_at_s: f64,
    longest_after: Option<String>,
}

#[derive(Serialize)]
struct TwoOwners {
    group: String,
    nodes: Vec<String>,
    at_s: f64,
    lasted_s: f64,
    led_there: Vec<String>,
}

#[derive(Serialize)]
struct TimelineLine {
    at_s: f64,
    node: Option<String>,
    text: String,
}

impl<'a> FinishedRun<'a> {
    /// Runs the script, and reduces it if a promise was broken.
    pub fn run(script: &'a FaultScript) -> FinishedRun<'a> {
        let begun = Instant::now();
        let report = run(script);
        let took = begun.elapsed();
        let shrunk = report.first().and_then(|_| shrink(script, MAX_SHRINK_RUNS));
        FinishedRun {
            script,
            report,
            shrunk,
            took,
        }
    }

    /// Whether no group ran on two nodes and no promise was broken.
    pub fn good(&self) -> bool {
        self.report.violations.is_empty() && self.report.doubles.is_empty()
    }

    /// The script for `--save`: reduced if a promise was broken.
    pub fn script_to_save(&self) -> &FaultScript {
        self.shrunk.as_ref().map_or(self.script, |s| &s.script)
    }

    /// The report for people.
    pub fn page(&self, faults: Option<&FaultProfile>, screen: Screen) -> String {
        let mut text = cluster_summary(self.script, faults);
        text += &self.timeline(screen);
        text += &format!(
            "\nsimulated {:.1} s in {:.0} ms\n",
            self.report.simulated.as_secs_f64(),
            self.took.as_secs_f64() * 1000.0
        );
        for group in self.group_times() {
            text += &downtime(&group);
        }
        for why in &self.report.unsettled {
            let line = format!("at the end: {why}");
            text += &format!("{}\n", screen.paint(Tone::Bad, &line));
        }
        text += &self.doubles(screen);
        text + &self.broken(screen)
    }

    fn timeline(&self, screen: Screen) -> String {
        let mut text = String::new();
        for entry in &self.report.timeline {
            let line = entry.to_string();
            let tone = match &entry.event {
                TimelineEvent::Fault(_) => Tone::Heading,
                TimelineEvent::Decision(_, d) if d.level() != Level::Info => Tone::Bad,
                TimelineEvent::Decision(..) => Tone::Plain,
            };
            text += &screen.paint(tone, &line);
            text.push('\n');
        }
        text
    }

    fn doubles(&self, screen: Screen) -> String {
        let all = self.two_owners();
        let mut text = String::new();
        if all.is_empty() {
            text += &format!(
                "{}\n",
                screen.paint(Tone::Good, "no group ran on two nodes")
            );
        }
        for double in &all {
            let line = format!(
                "TWO OWNERS: {} ran on {} from {:.2} s on, for {:.2} s; before that:",
                double.group,
                double.nodes.join(" and "),
                double.at_s,
                double.lasted_s
            );
            text += &format!("{}\n", screen.paint(Tone::Bad, &line));
            for step in &double.led_there {
                text += &format!("    {step}\n");
            }
        }
        if let Some(why) = self
            .report
            .not_promised
            .as_ref()
            .filter(|_| !all.is_empty())
        {
            text += &format!(
                "    this cannot be prevented with this configuration and these faults: {why}\n"
            );
            text += &format!("    {}\n", advice(&self.script.setup.cluster));
        }
        text
    }

    fn broken(&self, screen: Screen) -> String {
        let Some(violation) = self.report.first() else {
            return String::new();
        };
        let mut text = screen.paint(Tone::Bad, &format!("BROKEN PROMISE {violation}"));
        text += "\n    This is a bug in had: please report it with this shorter script, which breaks the promise too:\n";
        let script = self.script_to_save().to_string();
        text + &indented(&script)
    }

    fn group_times(&self) -> Vec<GroupTimes> {
        let groups = self.report.groups.iter();
        groups
            .map(|(name, d)| GroupTimes {
                group: name.to_string(),
                first_up_s: d.first_up.map(|t| t.as_secs_f64()),
                times_down: d.times,
                down_s: d.total.as_secs_f64(),
                longest_s: d.longest.as_secs_f64(),
                longest_at_s: d.longest_at.as_secs_f64(),
                longest_after: self
                    .faults_until(d.longest_at)
                    .pop()
                    .filter(|_| d.times > 0),
            })
            .collect()
    }

    fn two_owners(&self) -> Vec<TwoOwners> {
        let told = |d: &DoubleOwnership| {
            let at = d.from.since(World::BEGIN);
            let mut led_there = self.faults_until(at);
            led_there.drain(..led_there.len().saturating_sub(MAX_CAUSES));
            TwoOwners {
                group: d.group.to_string(),
                nodes: d.on.iter().map(ToString::to_string).collect(),
                at_s: at.as_secs_f64(),
                lasted_s: d.lasted.as_secs_f64(),
                led_there,
            }
        };
        self.report.doubles.iter().map(told).collect()
    }

    /// The faults up to that time, oldest first.
    fn faults_until(&self, at: Duration) -> Vec<String> {
        let entries = self.report.timeline.iter().take_while(|e| e.at <= at);
        entries
            .filter_map(|e| match &e.event {
                TimelineEvent::Fault(fault) => Some(format!("at {} {fault}", seconds(e.at))),
                TimelineEvent::Decision(..) => None,
            })
            .collect()
    }

    /// The result for programs.
    pub fn summary(&self) -> RunSummary {
        let line = |e: &had::sim::TimelineEntry| match &e.event {
            TimelineEvent::Fault(fault) => TimelineLine {
                at_s: e.at.as_secs_f64(),
                node: None,
                text: fault.to_string(),
            },
            TimelineEvent::Decision(node, decision) => TimelineLine {
                at_s: e.at.as_secs_f64(),
                node: Some(node.to_string()),
                text: decision.to_string(),
            },
        };
        RunSummary {
            seed: self.script.setup.seed,
            simulated_s: self.report.simulated.as_secs_f64(),
            steps: self.report.steps,
            groups: self.group_times(),
            two_owners: self.two_owners(),
            not_promised: self.report.not_promised.map(|why| why.to_string()),
            broken_promises: self
                .report
                .violations
                .iter()
                .map(ToString::to_string)
                .collect(),
            down_at_the_end: self.report.unsettled.clone(),
            timeline: self.report.timeline.iter().map(line).collect(),
        }
    }
}

/// The cluster and its timing in two lines.
pub fn cluster_summary(script: &FaultScript, faults: Option<&FaultProfile>) -> String {
    let cluster = &script.setup.cluster;
    let role = |node: &NodeName| {
        if cluster.is_witness(node) {
            " (witness)"
        } else {
            ""
        }
    };
    let name = |node: &NodeName| format!("{node}{}", role(node));
    let names: Vec<String> = cluster.nodes.iter().map(name).collect();
    let shown = ["keepalive", "warntime", "deadtime", "initdead", "quorum"];
    let settings = CLUSTER_SETTINGS.iter().filter(|s| shown.contains(&s.name));
    let settings = settings.map(|s| format!("{} {}", s.name, (s.value)(cluster)));
    let faults = faults.map_or(String::new(), |f| format!("; faults: {f}"));
    format!(
        "seed {}: {}; {}, {}, {}{faults}\n{}\n\n",
        script.setup.seed,
        names.join(", "),
        count(cluster.links.len(), "link"),
        count(cluster.pings.len(), "ping node"),
        count(cluster.groups.len(), "group"),
        settings.collect::<Vec<_>>().join(", ")
    )
}

fn downtime(group: &GroupTimes) -> String {
    let Some(first) = group.first_up_s else {
        return format!("{}: never ran\n", group.group);
    };
    if group.times_down == 0 {
        return format!("{}: runs since {first:.2} s, never down\n", group.group);
    }
    format!(
        "{}: runs since {first:.2} s; down {}, {:.2} s in total; longest {:.2} s, after: {}\n",
        group.group,
        match group.times_down {
            1 => "once".to_owned(),
            times => format!("{times} times"),
        },
        group.down_s,
        group.longest_s,
        group.longest_after.as_deref().unwrap_or("nothing")
    )
}

/// What would prevent two owners.
pub fn advice(cluster: &Cluster) -> &'static str {
    match (
        cluster.quorum,
        cluster.pings.is_empty(),
        cluster.nodes.len(),
    ) {
        (QuorumPolicy::Off | QuorumPolicy::Ignore, true, 2) => {
            "add `ping GATEWAY` to ha.cf: then a node that is cut off stops its groups before the other node starts them"
        }
        (QuorumPolicy::Off | QuorumPolicy::Ignore, ..) => {
            "set `quorum stop` in ha.cf: then only a majority of nodes runs groups"
        }
        (_, _, 2) => "add a witness or a third node: a ping node alone cannot decide every case",
        _ => "see had(7)",
    }
}
