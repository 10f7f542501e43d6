//! `hactl sim`: the cluster of a configuration folder in virtual time, with the faults of a script or random ones.

mod many_runs;
mod one_run;

use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use had::model::NodeName;
use had::model::cluster::Cluster;
use had::sim::{ClusterSetup, FAULT_WORDS, Fault, FaultKind, FaultProfile, FaultScript, generate};
use std::time::Duration;

use crate::args::Sim;
use crate::commands::print_text;
use crate::screen::{Screen, json_page};
use crate::{Failure, rehearse};

/// Runs that may be spent to reduce a script that breaks a promise to the few steps that break it.
const MAX_SHRINK_RUNS: u32 = 2000;
/// Where `--help` begins to say what a fault does.
const MEANING_COLUMN: usize = 40;

/// What `hactl sim --help` says below the options.
pub fn help() -> String {
    let words: Vec<(&str, &str)> = FAULT_WORDS.iter().map(|w| (w.example, w.meaning)).collect();
    let kinds: Vec<(&str, &str)> = FaultKind::ALL
        .iter()
        .map(|k| (k.word(), k.meaning()))
        .collect();
    format!(
        "Simulates all nodes in virtual time, with the engine of had. Nothing outside is touched, and no daemon is needed.
Every start and stop of a resource takes a moment and succeeds, unless a fault says otherwise.

A script has one fault a line, after its time; # begins a comment. Unless a node is started at 0s, all are:
  at 60s  crash alice
  at 2m   start alice

Faults of a script:
{}
Kinds of random faults:
{}
Exit codes:
  0  no group ran on two nodes, and at the end every group that could run was running
  1  otherwise; or the folder or the script cannot be used
  2  wrong usage",
        table(&words),
        table(&kinds)
    )
}

fn table(rows: &[(&str, &str)]) -> String {
    let row = |(left, right): &(&str, &str)| {
        if left.len() < MEANING_COLUMN - 3 {
            format!("  {left:width$}{right}\n", width = MEANING_COLUMN - 2)
        } else {
            format!("  {left}\n{:MEANING_COLUMN$}{right}\n", "")
        }
    };
    rows.iter().map(row).collect()
}

/// Runs the command.
pub fn run(args: &Sim) -> Result<ExitCode, Failure> {
    let (setup, warnings) = setup(args)?;
    // With `--json` nothing but JSON is printed.
    if !args.json {
        print_text(&warnings)?;
    }
    let good = if let Some(path) = &args.script {
        run_one(args, &from_file(path, setup)?, None)?
    } else {
        let faults: FaultProfile = args.faults.parse().map_err(Failure::failed)?;
        let seed = args.seed.unwrap_or_else(seed_from_clock);
        if args.runs == 1 {
            run_one(args, &generate(setup, &faults, seed), Some(&faults))?
        } else {
            let seeds = seed..seed.saturating_add(args.runs);
            let outcome = many_runs::run_seeds(&setup, &faults, seeds);
            save(args, outcome.worst())?;
            print_text(&if args.json {
                json_page(&outcome)?
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

/// The lines of a script, indented.
fn indented(script: &str) -> String {
    let mut text = String::new();
    for line in script.lines() {
        text += &format!("    {line}\n");
    }
    text
}

/// Makes one run and prints its result; returns whether all was well.
fn run_one(
    args: &Sim,
    script: &FaultScript,
    faults: Option<&FaultProfile>,
) -> Result<bool, Failure> {
    let outcome = one_run::FinishedRun::run(script);
    save(args, Some(outcome.script_to_save()))?;
    print_text(&if args.json {
        json_page(&outcome.summary())?
    } else {
        outcome.page(faults, Screen::stdout())
    })?;
    Ok(outcome.good())
}

/// The cluster of a folder, and the warnings about its files.
fn setup(args: &Sim) -> Result<(ClusterSetup, String), Failure> {
    let loaded = rehearse::load(&args.dir).map_err(Failure::failed)?;
    let mut cluster = had::assembly::assemble::simulated_cluster(&loaded.config);
    let lease = loaded.config.lease;
    if !args.nodes.is_empty() {
        replace_nodes(&mut cluster, &args.nodes)?;
    }
    let intervals = had::assembly::watch_plan::intervals(&loaded.config, &cluster.groups);
    let mut setup = ClusterSetup::new(cluster);
    setup.intervals = intervals;
    setup.kernel_leases = lease;
    setup.length = args.length;
    setup.seed = args.seed.unwrap_or(0);
    Ok((setup, loaded.warnings.to_string()))
}

/// Replaces the nodes of ha.cf. A group whose preferred node is not among them prefers the first.
fn replace_nodes(cluster: &mut Cluster, names: &[String]) -> Result<(), Failure> {
    let mut nodes: Vec<NodeName> = Vec::new();
    for name in names {
        let node = NodeName::new(name);
        if node.as_str().is_empty() || nodes.contains(&node) {
            return Err(Failure::failed(format!(
                "--nodes: `{name}` is empty or given twice"
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
    cluster.witnesses.retain(|w| nodes.contains(w));
    cluster.nodes = nodes;
    Ok(())
}

/// Reads a script for this cluster. If it starts no node at 0 s, all nodes are started then.
fn from_file(path: &Path, setup: ClusterSetup) -> Result<FaultScript, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
    // A script that `--save` wrote describes its own cluster.
    let complete = text.lines().any(|l| l.trim_start().starts_with("nodes "));
    let nodes = setup.cluster.nodes.clone();
    let script = if complete {
        FaultScript::read(&text)
    } else {
        FaultScript::read_for(&text, setup)
    };
    let mut script = script.map_err(|mut problems| {
        for problem in &mut problems.list {
            problem.place.file = path.into();
        }
        Failure::failed(format!("the script cannot be read\n{problems}"))
    })?;
    let starts = |(at, f): &(Duration, Fault)| at.is_zero() && matches!(f, Fault::Start(_));
    if !complete && !script.steps.iter().any(starts) {
        let all = nodes.into_iter().map(|n| (Duration::ZERO, Fault::Start(n)));
        script.steps.splice(0..0, all);
    }
    Ok(script)
}

fn save(args: &Sim, script: Option<&FaultScript>) -> Result<(), Failure> {
    let (Some(path), Some(script)) = (&args.save, script) else {
        return Ok(());
    };
    std::fs::write(path, script.to_string())
        .map_err(|e| Failure::failed(format!("{}: {e}", path.display())))
}

/// A seed from the clock, short enough to be typed.
fn seed_from_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |n| {
        u64::try_from(n.as_millis() % 1_000_000_000).unwrap_or(0)
    })
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
