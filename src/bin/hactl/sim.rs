//! `hactl sim`: what if? The cluster of a folder in virtual time, under a script of faults or under random ones.

mod many;
mod one;

use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use had::model::NodeName;
use had::model::cluster::Cluster;
use had::sim::{ClusterSetup, Fault, FaultProfile, FaultScript, generate};
use std::time::Duration;

use crate::args::Sim;
use crate::screen::{Screen, print};
use crate::{Failure, rehearse};

/// A script that breaks a promise is cut down within so many runs.
const SHRINKING: u32 = 2000;

/// Runs the command.
pub fn run(args: &Sim) -> Result<ExitCode, Failure> {
    let (setup, warnings) = setup(args)?;
    // Below `--json` nothing but JSON.
    if !args.json {
        show(&warnings)?;
    }
    let good = if let Some(path) = &args.script {
        one(args, &from_file(path, setup)?, None)?
    } else {
        let faults: FaultProfile = args.faults.parse().map_err(failed)?;
        let seed = args.seed.unwrap_or_else(fresh);
        if args.runs == 1 {
            one(args, &generate(setup, &faults, seed), Some(&faults))?
        } else {
            let seeds = seed..seed.saturating_add(args.runs);
            let outcome = many::run_seeds(&setup, &faults, seeds);
            save(args, outcome.worst())?;
            show(&if args.json {
                json(&outcome)?
            } else {
                outcome.page(args, Screen::stdout())
            })?;
            outcome.good()
        }
    };
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The lines of a script, set in.
fn indented(script: &str) -> String {
    let mut text = String::new();
    for line in script.lines() {
        text += &format!("    {line}\n");
    }
    text
}

/// One run and its page; whether all was well.
fn one(args: &Sim, script: &FaultScript, faults: Option<&FaultProfile>) -> Result<bool, Failure> {
    let outcome = one::Outcome::of(script);
    save(args, Some(outcome.kept()))?;
    show(&if args.json {
        json(&outcome.summary())?
    } else {
        outcome.page(faults, Screen::stdout())
    })?;
    Ok(outcome.good())
}

/// The world of a folder, and what is to be said about the folder.
fn setup(args: &Sim) -> Result<(ClusterSetup, String), Failure> {
    let loaded = rehearse::load(&args.dir).map_err(failed)?;
    let mut cluster = had::assembly::assemble::outline(&loaded.config);
    let lease = loaded.config.lease;
    if !args.nodes.is_empty() {
        replace_nodes(&mut cluster, &args.nodes)?;
    }
    let mut setup = ClusterSetup::new(cluster);
    setup.kernel_leases = lease;
    setup.length = args.length;
    setup.seed = args.seed.unwrap_or(0);
    Ok((setup, loaded.warnings.to_string()))
}

/// Other nodes than those of ha.cf; groups keep their preferred node where it is one of them.
fn replace_nodes(cluster: &mut Cluster, names: &[String]) -> Result<(), Failure> {
    let mut nodes: Vec<NodeName> = Vec::new();
    for name in names {
        let node = NodeName::new(name);
        if node.as_str().is_empty() || nodes.contains(&node) {
            return Err(failed(format!(
                "--nodes: `{name}` is no name, or given twice"
            )));
        }
        nodes.push(node);
    }
    let first = nodes.first().cloned();
    for group in &mut cluster.groups {
        if let Some(first) = first.clone().filter(|_| !nodes.contains(&group.preferred)) {
            group.preferred = first;
        }
    }
    cluster.nodes = nodes;
    Ok(())
}

/// A script for that folder. One that starts nothing at 0 s begins with a start of every node.
fn from_file(path: &Path, setup: ClusterSetup) -> Result<FaultScript, Failure> {
    let text =
        std::fs::read_to_string(path).map_err(|e| failed(format!("{}: {e}", path.display())))?;
    // What `--save` wrote stands for itself.
    let itself = text.lines().any(|l| l.trim_start().starts_with("nodes "));
    let nodes = setup.cluster.nodes.clone();
    let script = if itself {
        FaultScript::read(&text)
    } else {
        FaultScript::read_for(&text, setup)
    };
    let mut script = script.map_err(|mistakes| {
        let each = mistakes.iter().map(|m| format!("{}:{m}", path.display()));
        failed(format!(
            "the script cannot be read\n{}",
            each.collect::<Vec<_>>().join("\n")
        ))
    })?;
    let starts = |(at, f): &(Duration, Fault)| at.is_zero() && matches!(f, Fault::Start(_));
    if !itself && !script.steps.iter().any(starts) {
        let all = nodes.into_iter().map(|n| (Duration::ZERO, Fault::Start(n)));
        script.steps.splice(0..0, all);
    }
    Ok(script)
}

fn save(args: &Sim, script: Option<&FaultScript>) -> Result<(), Failure> {
    let (Some(path), Some(script)) = (&args.save, script) else {
        return Ok(());
    };
    std::fs::write(path, script.to_string()).map_err(|e| failed(format!("{}: {e}", path.display())))
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| failed(e.to_string()))?;
    Ok(text + "\n")
}

/// A seed that was hardly tried before, and that can be typed.
fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |n| {
        u64::try_from(n.as_millis() % 1_000_000_000).unwrap_or(0)
    })
}

fn show(text: &str) -> Result<(), Failure> {
    print(text).map_err(|e| failed(e.to_string()))
}

fn failed(text: impl Into<String>) -> Failure {
    Failure {
        code: Failure::FAILED,
        text: text.into(),
    }
}

/// Seconds as a person reads them.
fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
