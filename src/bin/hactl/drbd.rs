//! `hactl drbd`: both sides of what DRBD replicates, and its `fence-peer` handler.

use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use had::control::api::{Answer, Code, Replicated, Request};
use had::control::client::{Client, ClientError};
use had::model::NodeName;
use had::model::drbd::Standing;
use had::text::duration_for_people;

use crate::Failure;
use crate::commands::{odd_answer, show};

/// More than the daemon takes to ask all nodes.
const ENOUGH: Duration = Duration::from_secs(60);
/// Before it is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// What drbd-peer-outdater waited by default.
const USUAL_TIMEOUT: u64 = 60;
/// Exit codes of a `fence-peer` handler, drbd.conf(5).
const UNREACHABLE: u8 = 5;
const GARBAGE: u8 = 20;
const USAGE: u8 = 1;

/// What else can be done.
#[derive(Subcommand)]
pub enum Command {
    /// DRBD's `fence-peer` handler: has the peer's daemon outdate its data, over the cluster's links
    #[command(
        after_help = "In drbd.conf: handlers { fence-peer \"/usr/sbin/hactl drbd fence-peer\"; }\n\
        Exit codes are those that DRBD expects: 3 inconsistent, 4 outdated, 5 gone, 6 newer than here, 20 not known"
    )]
    FencePeer(Fence),
}

/// Which resource, and how long.
#[derive(Args)]
pub struct Fence {
    /// The resource [default: $DRBD_RESOURCE, as DRBD sets it]
    #[arg(short, long)]
    resource: Option<String>,
    /// Accepted and not needed: every other node that has the resource is asked
    #[arg(short, long)]
    peer: Option<String>,
    /// How many seconds an answer is waited for
    #[arg(short, long, default_value_t = USUAL_TIMEOUT)]
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
        None => usage("neither -r RESOURCE nor DRBD_RESOURCE says which resource"),
    }
}

/// As dopd's `drbd-peer-outdater [-p PEER] [-r RESOURCE] [-t SECONDS]`.
pub fn outdater(words: &[String], socket: &Path) -> ExitCode {
    let mut resource = std::env::var("DRBD_RESOURCE").ok();
    let mut timeout = USUAL_TIMEOUT;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match (word.as_str(), words.next()) {
            ("-r", Some(name)) => resource = Some(name.clone()),
            ("-p", Some(_)) => {}
            ("-t", Some(seconds)) if seconds.parse::<u64>().is_ok() => {
                timeout = seconds.parse().unwrap_or(timeout);
            }
            _ => return usage("drbd-peer-outdater [-p PEER] [-r RESOURCE] [-t SECONDS]"),
        }
    }
    match resource {
        Some(resource) => fence_peer(&resource, timeout, socket),
        None => usage("drbd-peer-outdater [-p PEER] [-r RESOURCE] [-t SECONDS]"),
    }
}

fn usage(text: &str) -> ExitCode {
    eprintln!("hactl drbd fence-peer: usage: {text}");
    ExitCode::from(USAGE)
}

fn fence_peer(resource: &str, seconds: u64, socket: &Path) -> ExitCode {
    let timeout = Duration::from_secs(seconds.min(3600));
    let request = Request::FencePeer {
        resource: resource.to_owned(),
        timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
    };
    let asked = ask(socket, &request, timeout);
    let (code, text) = match asked {
        Ok(Answer::Fenced { code, text }) => (code, text),
        Ok(_) => (
            GARBAGE,
            "the daemon answered something else than was asked".to_owned(),
        ),
        Err(ClientError::Refused(why)) => (GARBAGE, why.to_string()),
        // As without dopd: DRBD goes on by its own rules.
        Err(error) => (UNREACHABLE, error.to_string()),
    };
    eprintln!("{text}");
    ExitCode::from(code)
}

/// Asks until there is an answer. While it is neither allowed nor forbidden to go on, writes wait for as long as that lasts;
/// for a daemon that is being restarted they wait until the time is up.
fn ask(socket: &Path, request: &Request, timeout: Duration) -> Result<Answer, ClientError> {
    let until = Instant::now() + timeout;
    loop {
        let asked =
            Client::connect(socket).and_then(|mut client| client.ask(request, timeout + ENOUGH));
        match asked {
            Err(ClientError::Refused(why)) if why.code == Code::Busy => eprintln!("{why}"),
            // DRBD's tools may be slow on a machine in trouble.
            Err(ClientError::Refused(why))
                if why.code == Code::Failed && Instant::now() < until =>
            {
                eprintln!("{why}");
            }
            Err(ClientError::NoDaemon { .. } | ClientError::Closed) if Instant::now() < until => {}
            asked => return asked,
        }
        sleep(AGAIN);
    }
}

/// Prints how all resources stand.
pub fn view(socket: &Path, resource: Option<String>) -> Result<(), Failure> {
    let answer = Client::connect(socket)?.ask(&Request::Drbd { resource }, ENOUGH)?;
    let Answer::Drbd(all) = answer else {
        return Err(odd_answer());
    };
    if all.is_empty() {
        return show("no group of haresources stands on DRBD (drbddisk::RESOURCE)\n");
    }
    let pages: Vec<String> = all.iter().map(page).collect();
    show(&pages.join("\n"))
}

fn page(replicated: &Replicated) -> String {
    let resource = &replicated.resource;
    let width = replicated
        .sides
        .iter()
        .map(|(n, _)| n.as_str().len())
        .max()
        .unwrap_or(0);
    let mut text = format!("{resource}\n");
    for (node, side) in &replicated.sides {
        let told = match side {
            Ok(standing) => told(standing),
            Err(why) => format!("not known: {why}"),
        };
        text += &format!("  {:width$}  {told}\n", node.as_str());
    }
    if replicated.sides.is_empty() {
        text += "  no node that answers has it in its drbd.conf\n";
    }
    text + &choice(replicated)
}

fn told(standing: &Standing) -> String {
    let Some(state) = &standing.state else {
        return "not up: drbdadm up brings it up".to_owned();
    };
    let mut text = state.to_string();
    if standing.ahead {
        text += &format!("; wrote what the other side lacks{}", lone(standing));
    }
    if standing.split_brain {
        text += "; split brain";
    }
    text
}

/// ` (for 12 min, 40 KiB)`
fn lone(standing: &Standing) -> String {
    let kib = standing
        .state
        .as_ref()
        .map_or(0, had::model::drbd::State::out_of_sync);
    let since = match standing.ahead_for {
        Some(seconds) => format!("for {}", duration_for_people(Duration::from_secs(seconds))),
        None => "since before what the kernel's log tells".to_owned(),
    };
    format!(" ({since}, {kib} KiB)")
}

/// After a split brain: what each choice takes. Nothing is thrown away by itself.
fn choice(replicated: &Replicated) -> String {
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
    let mut text = "  split brain: each side wrote what the other lacks. Look at the data on both, copy away what is worth it, then choose:\n".to_owned();
    for ((keep, _), (lose, lost)) in [
        ((one, first), (other, second)),
        ((other, second), (one, first)),
    ] {
        text += &format!(
            "  to keep {keep} and throw away what {lose} wrote alone{}:\n    on {lose}:  drbdadm disconnect {resource}; drbdadm secondary {resource} && drbdadm connect --discard-my-data {resource}\n    on {keep}:  drbdadm connect {resource}   (says that it is connected already? good)\n",
            lone(lost)
        );
    }
    text
}
