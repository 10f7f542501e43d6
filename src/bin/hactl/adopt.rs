//! `hactl adopt`: had goes on with what heartbeat started, without a stop.

use std::path::{Path, PathBuf};
use std::process::{Command as Program, ExitCode, Stdio};

use clap::{Args, Subcommand};
use had::assembly::adoption::{
    Findings, Found, FoundGroup, find_running, mark_addresses, other_nodes,
};
use had::store::state_file::StateFile;
use had::text::{count, duration_for_people};

use crate::Failure;
use crate::commands::print_text;

mod old_manager;

/// The steps of the adoption.
#[derive(Subcommand)]
pub enum Command {
    /// Look at what runs here, and say what stands in the way. Changes nothing
    Check(Folder),
    /// End heartbeat on this node without its stop scripts: what it has started runs on
    EndHeartbeat {
        /// Heartbeat has ended on all other nodes, or is ended there within deadtime
        #[arg(long)]
        others_end: bool,
        #[command(flatten)]
        folder: Folder,
    },
    /// Prepare the first start of had on this node: mark addresses as its own, and put every group into maintenance
    Prepare {
        #[command(flatten)]
        folder: Folder,
        /// Folder for what had keeps
        #[arg(long, value_name = "DIR", default_value = "/var/lib/had")]
        state: PathBuf,
    },
}

/// Where the configuration is.
#[derive(Args)]
pub struct Folder {
    /// Configuration folder
    #[arg(long = "config", value_name = "DIR", default_value = "/etc/ha.d")]
    config: PathBuf,
}

/// Runs it.
pub fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Check(folder) => check(&folder.config),
        Command::EndHeartbeat { others_end, folder } => end_heartbeat(&folder.config, others_end),
        Command::Prepare { folder, state } => prepare(&folder.config, &state),
    }
}

fn check(config: &Path) -> Result<ExitCode, Failure> {
    let findings = find_running(config).map_err(Failure::failed)?;
    let obstacles = obstacles(&findings);
    let mut text = heartbeat_line() + &groups_text(&findings.groups);
    text += &obstacles_text(&obstacles);
    if obstacles.is_empty() {
        text += "nothing stands in the way; nothing was changed\n";
    }
    print_text(&text)?;
    Ok(exit_code(&obstacles))
}

fn end_heartbeat(config: &Path, others_end: bool) -> Result<ExitCode, Failure> {
    let findings = find_running(config).map_err(Failure::failed)?;
    if old_manager::find_all().is_empty() {
        return Err(Failure::failed("heartbeat does not run on this node"));
    }
    let mut obstacles = obstacles(&findings);
    if !others_end {
        obstacles.extend(others_may_take_over(&findings));
    }
    if !obstacles.is_empty() {
        print_text(&(obstacles_text(&obstacles) + "nothing was done\n"))?;
        return Ok(ExitCode::FAILURE);
    }
    let ended = old_manager::end_all().map_err(Failure::failed)?;
    let processes = count(ended.len(), "process");
    print_text(&format!(
        "heartbeat has ended on this node ({processes} killed)\n"
    ))?;
    let after = find_running(config).map_err(Failure::failed)?;
    print_text(&(groups_text(&after.groups) + &what_follows(&after)))?;
    Ok(ExitCode::SUCCESS)
}

/// What an administrator does next, and how to go back.
fn what_follows(findings: &Findings) -> String {
    let deadtime = duration_for_people(findings.cluster.timing.deadtime);
    let next = if findings.groups.iter().all(FoundGroup::is_down) {
        "next, end heartbeat on the nodes that run groups".to_owned()
    } else {
        format!(
            "what it had started runs on, and nobody watches it. Where heartbeat still runs, end it within {deadtime}: else it starts \
             the same there"
        )
    };
    format!("{next}. Until had is started, `systemctl start heartbeat` goes back\n")
}

fn prepare(config: &Path, state: &Path) -> Result<ExitCode, Failure> {
    let findings = find_running(config).map_err(Failure::failed)?;
    if let Some(process) = old_manager::find_all().first() {
        return Err(Failure::failed(format!(
            "{} (process {}) of heartbeat still runs on this node; end it first: hactl adopt end-heartbeat",
            process.name(),
            process.pid
        )));
    }
    let opened = StateFile::open(state).map_err(Failure::failed)?;
    let warnings = opened.warnings.iter();
    let warnings: Vec<String> = warnings.map(|w| format!("warning: {w}\n")).collect();
    let mut kept = opened.kept;
    kept.maintenance = findings.groups.iter().map(|g| g.name.clone()).collect();
    let save = opened.file.save(&kept);
    save.map_err(|e| Failure::failed(format!("cannot write to {}: {e}", state.display())))?;
    mark_addresses(&findings.unmarked).map_err(Failure::failed)?;
    let mut text = warnings.concat() + &groups_text(&findings.groups);
    for address in &findings.unmarked {
        text += &format!("{address} is marked as had's own\n");
    }
    let all = count(findings.groups.len(), "group");
    text += &format!(
        "{all} will be in maintenance when had starts: it looks, and starts, stops and moves nothing. When had runs on all nodes and \
         hactl status shows each group where it belongs, type on each node: hactl maintenance off\n"
    );
    print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn heartbeat_line() -> String {
    let all = old_manager::find_all();
    match all.first() {
        Some(first) => format!(
            "heartbeat runs here: {}, the first is process {}\n",
            count(all.len(), "process"),
            first.pid
        ),
        None => "heartbeat does not run here\n".to_owned(),
    }
}

fn groups_text(groups: &[FoundGroup]) -> String {
    groups.iter().map(group_line).collect()
}

fn group_line(group: &FoundGroup) -> String {
    let name = &group.name;
    if group.runs() {
        return format!("group {name}: runs here\n");
    }
    if group.is_down() {
        return format!("group {name}: does not run here\n");
    }
    let kinds = [
        ("running", of_kind(group, |f| *f == Found::Running)),
        ("not running", of_kind(group, |f| *f == Found::Stopped)),
        (
            "unclear",
            of_kind(group, |f| matches!(f, Found::Unclear(_))),
        ),
    ];
    let kinds = kinds.iter().filter(|(_, words)| !words.is_empty());
    let kinds: Vec<String> = kinds
        .map(|(kind, words)| format!("{kind}: {words}"))
        .collect();
    format!("group {name}: runs here in part ({})\n", kinds.join("; "))
}

/// The words of the steps that were found so.
fn of_kind(group: &FoundGroup, is_so: impl Fn(&Found) -> bool) -> String {
    let words = group.steps.iter().filter(|(_, found)| is_so(found));
    let words: Vec<&str> = words.map(|(word, _)| word.as_str()).collect();
    words.join(", ")
}

/// What keeps had from going on with what runs here.
fn obstacles(findings: &Findings) -> Vec<String> {
    let old = old_manager::find_all();
    let mut all = Vec::new();
    if old_manager::runs_pacemaker(&old) {
        all.push(
            "this heartbeat runs Pacemaker, which has its own configuration; had reads haresources"
                .to_owned(),
        );
    }
    if let Some(device) = old_manager::find_watchdog(&old) {
        all.push(format!(
            "heartbeat holds {} open: this machine would be reset when heartbeat ends. Take the watchdog line out of ha.cf, \
             and restart heartbeat while its resources are on another node",
            device.display()
        ));
    }
    if let Some(busy) = old_manager::find_busy() {
        all.push(format!(
            "heartbeat starts or stops something now: {busy}; wait until it is done"
        ));
    }
    all.extend(findings.groups.iter().filter_map(group_obstacle));
    all
}

/// Why a group would not be adopted as it is.
fn group_obstacle(group: &FoundGroup) -> Option<String> {
    let name = &group.name;
    let unclear = group.steps.iter().find_map(|(word, found)| match found {
        Found::Unclear(why) => Some(format!(
            "group {name}: it cannot be told whether {word} runs: {why}"
        )),
        Found::Running | Found::Stopped => None,
    });
    let in_part = !group.runs() && !group.is_down();
    unclear.or_else(|| {
        in_part.then(|| {
            format!("group {name} runs here in part; after its maintenance had would stop that part, and start the group anew")
        })
    })
}

/// Why heartbeat must not end here before it ends elsewhere.
fn others_may_take_over(findings: &Findings) -> Option<String> {
    let here = findings.groups.iter().filter(|g| !g.is_down());
    let here: Vec<&str> = here.map(|g| g.name.as_str()).collect();
    let alive: Vec<&str> = other_nodes(&findings.cluster)
        .map(had::model::NodeName::as_str)
        .filter(|node| !counts_as_dead(node))
        .collect();
    if here.is_empty() || alive.is_empty() {
        return None;
    }
    let deadtime = duration_for_people(findings.cluster.timing.deadtime);
    Some(format!(
        "{} runs here, and heartbeat on {} may live: {deadtime} after the end of this one it would start the same there. End \
         heartbeat first on the nodes where nothing runs. Where several nodes run groups, end it on all of them within {deadtime}, \
         with --others-end on each",
        here.join(", "),
        alive.join(", ")
    ))
}

/// Whether heartbeat on this node takes another one for dead.
fn counts_as_dead(node: &str) -> bool {
    let asked = Program::new("cl_status")
        .args(["nodestatus", node])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    asked.is_ok_and(|out| out.stdout.trim_ascii() == b"dead")
}

fn obstacles_text(obstacles: &[String]) -> String {
    let mut text = String::new();
    for obstacle in obstacles {
        text += &format!("error: {obstacle}\n");
    }
    if !obstacles.is_empty() {
        text += &format!("\n{}\n", count(obstacles.len(), "error"));
    }
    text
}

fn exit_code(obstacles: &[String]) -> ExitCode {
    if obstacles.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use had::model::GroupName;

    use super::*;

    fn group(found: &[(&str, Found)]) -> FoundGroup {
        let steps = found
            .iter()
            .map(|(word, f)| ((*word).to_owned(), f.clone()));
        FoundGroup {
            name: GroupName::new("web"),
            steps: steps.collect(),
        }
    }

    #[test]
    fn each_state_of_a_group_has_its_words() {
        let unclear = Found::Unclear("nginx: timed out".to_owned());
        let (up, down) = (Found::Running, Found::Stopped);
        for (address, script, line, obstacle) in [
            (&up, &up, "group web: runs here\n", None),
            (&down, &down, "group web: does not run here\n", None),
            (
                &up,
                &down,
                "group web: runs here in part (running: 10.0.0.1; not running: nginx)\n",
                Some("group web runs here in part;"),
            ),
            (
                &up,
                &unclear,
                "group web: runs here in part (running: 10.0.0.1; unclear: nginx)\n",
                Some("group web: it cannot be told whether nginx runs: nginx: timed out"),
            ),
        ] {
            let group = group(&[("10.0.0.1", address.clone()), ("nginx", script.clone())]);
            assert_eq!(group_line(&group), line);
            let said = group_obstacle(&group);
            assert_eq!(said.is_some(), obstacle.is_some(), "{said:?}");
            assert!(said.unwrap_or_default().starts_with(obstacle.unwrap_or("")));
        }
    }

    #[test]
    fn every_obstacle_is_an_error_and_they_are_counted() {
        assert_eq!(obstacles_text(&[]), "");
        let two = ["one".to_owned(), "two".to_owned()];
        assert_eq!(obstacles_text(&two), "error: one\nerror: two\n\n2 errors\n");
    }
}
