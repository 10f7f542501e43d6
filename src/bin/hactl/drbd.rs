//! `hactl drbd`: the DRBD resources on both nodes, and DRBD's `fence-peer` handler.

use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use had::control::api::{ControlAnswer, RefusalCode, Replicated, Request};
use had::control::client::{ClientError, ControlClient};
use had::model::NodeName;
use had::model::drbd::Standing;
use had::text::duration_for_people;

use crate::Failure;
use crate::commands::{UNEXPECTED_ANSWER, print_text, unexpected_answer};

/// Longer than the daemon needs to ask all nodes.
const ALL_NODES_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause before the daemon is asked again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The default timeout of drbd-peer-outdater, in seconds.
const DEFAULT_TIMEOUT: u64 = 60;
/// Exit codes of a `fence-peer` handler, drbd.conf(5).
const UNREACHABLE: u8 = 5;
const GARBAGE: u8 = 20;
const USAGE: u8 = 1;

/// The subcommands of `hactl drbd`.
#[derive(Subcommand)]
pub enum Command {
    /// DRBD's `fence-peer` handler: makes the peer's daemon outdate its data, over the cluster's own links
    #[command(
        after_help = "In drbd.conf: handlers { fence-peer \"/usr/sbin/hactl drbd fence-peer\"; }\n\
        Exit codes, for DRBD. The peer's data is: 3 inconsistent, 4 outdated, 6 Primary and not outdated. 5: the peer is unreachable. 20: unknown"
    )]
    FencePeer(Fence),
}

/// The options of `fence-peer`.
#[derive(Args)]
pub struct Fence {
    /// DRBD resource [default: $DRBD_RESOURCE, which DRBD sets]
    #[arg(short, long)]
    resource: Option<String>,
    /// Ignored: every other node that has the resource is asked
    #[arg(short, long)]
    peer: Option<String>,
    /// How many seconds to wait for an answer
    #[arg(short, long, default_value_t = DEFAULT_TIMEOUT)]
    timeout: u64,
}

/// Runs it.
pub fn run(command: &Command, socket: &Path) -> ExitCode {
    let Command::FencePeer(fence) = command;
    let resource = fence
        .resource
        .clone()
        .or_else(|| std::env::var("DRBD_RESOURCE").ok());
    match resource {
        Some(resource) => fence_peer(&resource, fence.timeout, socket),
        None => usage_error("no resource given: use -r RESOURCE or set DRBD_RESOURCE"),
    }
}

/// dopd's `drbd-peer-outdater [-p PEER] [-r RESOURCE] [-t SECONDS]`.
pub fn run_outdater(words: &[String], socket: &Path) -> ExitCode {
    let mut resource = std::env::var("DRBD_RESOURCE").ok();
    let mut timeout = DEFAULT_TIMEOUT;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match (word.as_str(), words.next()) {
            ("-r", Some(name)) => resource = Some(name.clone()),
            ("-p", Some(_)) => {}
            ("-t", Some(seconds)) if seconds.parse::<u64>().is_ok() => {
                timeout = seconds.parse().unwrap_or(timeout);
            }
            _ => return usage_error("drbd-peer-outdater [-p PEER] [-r RESOURCE] [-t SECONDS]"),
        }
    }
    match resource {
        Some(resource) => fence_peer(&resource, timeout, socket),
        None => usage_error("drbd-peer-outdater [-p PEER] [-r RESOURCE] [-t SECONDS]"),
    }
}

fn usage_error(text: &str) -> ExitCode {
    eprintln!("hactl drbd fence-peer: usage: {text}");
    ExitCode::from(USAGE)
}

fn fence_peer(resource: &str, seconds: u64, socket: &Path) -> ExitCode {
    let timeout = Duration::from_secs(seconds.min(3600));
    let request = Request::FencePeer {
        resource: resource.to_owned(),
        timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
    };
    let asked = ask_until_answered(socket, &request, timeout);
    let (code, text) = match asked {
        Ok(ControlAnswer::Fenced { code, text }) => (code, text),
        Ok(_) => (GARBAGE, UNEXPECTED_ANSWER.to_owned()),
        Err(ClientError::Refused(why)) => (GARBAGE, why.to_string()),
        // As without dopd: DRBD continues by its own rules.
        Err(error) => (UNREACHABLE, error.to_string()),
    };
    eprintln!("{text}");
    ExitCode::from(code)
}

/// Asks until there is an answer. Writes wait meanwhile: without limit while it is undecided whether this side may
/// continue, and until the timeout while the daemon is being restarted.
fn ask_until_answered(
    socket: &Path,
    request: &Request,
    timeout: Duration,
) -> Result<ControlAnswer, ClientError> {
    let until = Instant::now() + timeout;
    loop {
        let asked = ControlClient::connect(socket)
            .and_then(|mut client| client.ask(request, timeout + ALL_NODES_TIMEOUT));
        match asked {
            Err(ClientError::Refused(why)) if why.code == RefusalCode::Busy => eprintln!("{why}"),
            // DRBD's tools may be slow on a machine in trouble.
            Err(ClientError::Refused(why))
                if why.code == RefusalCode::Failed && Instant::now() < until =>
            {
                eprintln!("{why}");
            }
            Err(ClientError::NoDaemon { .. } | ClientError::Closed) if Instant::now() < until => {}
            asked => return asked,
        }
        sleep(RETRY_INTERVAL);
    }
}

/// Prints the state of all resources.
pub fn show_resources(socket: &Path, resource: Option<String>) -> Result<(), Failure> {
    let answer =
        ControlClient::connect(socket)?.ask(&Request::Drbd { resource }, ALL_NODES_TIMEOUT)?;
    let ControlAnswer::Drbd(all) = answer else {
        return Err(unexpected_answer());
    };
    if all.is_empty() {
        return print_text("no group in haresources uses DRBD (drbddisk::RESOURCE)\n");
    }
    let pages: Vec<String> = all.iter().map(resource_text).collect();
    print_text(&pages.join("\n"))
}

fn resource_text(replicated: &Replicated) -> String {
    let resource = &replicated.resource;
    let width = replicated
        .sides
        .iter()
        .map(|(n, _)| n.as_str().len())
        .max()
        .unwrap_or(0);
    let mut text = format!("{resource}\n");
    for (node, side) in &replicated.sides {
        let text_of_side = match side {
            Ok(standing) => side_text(standing),
            Err(why) => format!("unknown: {why}"),
        };
        text += &format!(
            "  {:width$}  {text_of_side}
",
            node.as_str()
        );
    }
    if replicated.sides.is_empty() {
        text += "  no node that answers has it in drbd.conf\n";
    }
    text + &split_brain_help(replicated)
}

fn side_text(standing: &Standing) -> String {
    let Some(state) = &standing.state else {
        return "down; drbdadm up brings it up".to_owned();
    };
    let mut text = state.to_string();
    if standing.ahead {
        text += &format!(
            "; has data that the other side lacks{}",
            written_alone(standing)
        );
    }
    if standing.split_brain {
        text += "; split brain";
    }
    text
}

/// ` (for 12 min, 40 KiB)`
fn written_alone(standing: &Standing) -> String {
    let kib = standing
        .state
        .as_ref()
        .map_or(0, had::model::drbd::State::out_of_sync);
    let since = match standing.ahead_for {
        Some(seconds) => format!("for {}", duration_for_people(Duration::from_secs(seconds))),
        None => "since before the start of the kernel log".to_owned(),
    };
    format!(" ({since}, {kib} KiB)")
}

/// After a split brain: the commands for each choice. Nothing is discarded automatically.
fn split_brain_help(replicated: &Replicated) -> String {
    let known = replicated
        .sides
        .iter()
        .filter_map(|(n, s)| Some((n, s.as_ref().ok()?)));
    let sides: Vec<(&NodeName, &Standing)> = known.collect();
    let [(one, first), (other, second)] = sides.as_slice() else {
        return String::new();
    };
    let both_ahead = first.ahead && second.ahead;
    if !both_ahead && !first.split_brain && !second.split_brain {
        return String::new();
    }
    let resource = &replicated.resource;
    let mut text = "  split brain: each side has data that the other lacks. Check the data on both, save what is needed of the side to discard, then choose:\n".to_owned();
    for ((keep, _), (lose, lost)) in [
        ((one, first), (other, second)),
        ((other, second), (one, first)),
    ] {
        text += &format!(
            "  to keep {keep} and discard what {lose} wrote alone{}:\n    on {lose}:  drbdadm disconnect {resource}; drbdadm secondary {resource} && drbdadm connect --discard-my-data {resource}\n    on {keep}:  drbdadm connect {resource}   (an error that it is already connected is fine)\n",
            written_alone(lost)
        );
    }
    text
}
