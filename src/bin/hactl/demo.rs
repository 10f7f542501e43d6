//! `hactl lab demo`: shows a cluster at work. Each act is explained, done, checked, and measured by a client.
//!
//! It needs only this program and the kernel: the daemon is this program too, started by another name.

mod stage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use had::assembly::Folders;
use had::lab::{LinkDirection, ProbeReport};
use had::runtime;

use crate::screen::{Screen, Tone, print};
use stage::{DemoStage, WatchedAct};

/// Started by this name, this program is the daemon, because `cargo run --bin hactl` builds no other.
pub const DAEMON: &str = "had";

const INTRODUCTION: &str = "\
A small cluster, all of it on this machine: the nodes alice and bob, a gateway, and a client.
The nodes share the address 10.0.0.100. The client pings it every 5 ms.

    ha.cf         node alice bob             the members
                  ping 10.0.0.254            the gateway has a vote
                  keepalive 100ms            a heartbeat ten times a second
                  deadtime 1s                a node is dead after this silence
    haresources   alice 10.0.0.100/24/eth0   the resource and its preferred node
";

/// How long the client goes on pinging after each act. After the kill of a daemon it is longer: if the new daemon did not
/// adopt the address, its lease would end within 2 s.
const AFTER: Duration = Duration::from_millis(500);
const AFTER_KILL: Duration = Duration::from_millis(2500);
const BOTH: &[&str] = &["alice", "bob"];

/// The daemon with its default folders; each node has its own.
pub fn daemon() -> ExitCode {
    let folders = Folders {
        config: PathBuf::from("/etc/ha.d"),
        state: PathBuf::from("/var/lib/had"),
        run: PathBuf::from("/run/had"),
    };
    runtime::main(folders)
}

/// Plays all acts; succeeds only if each ended as expected.
pub fn run() -> ExitCode {
    match play() {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("\nhactl lab demo: {text}");
            ExitCode::FAILURE
        }
    }
}

fn play() -> Result<(), String> {
    show(INTRODUCTION)?;
    let began = Instant::now();
    let stage = DemoStage::build()?;
    acts(&stage).map_err(|text| format!("{text}\n\n{}", stage.logs()))?;
    let looks = stage.check_moves(&["alice", "bob", "alice", "bob"])?;
    show(&format!(
        "\nEverything went as expected, in {:.0} s. The address was checked {looks} times and was never on both nodes.\n\
         Now try your own configuration:  hactl lab up DIR  (a folder with ha.cf, haresources, authkeys), then hactl lab --help\n",
        began.elapsed().as_secs_f64()
    ))
}

fn acts(stage: &DemoStage) -> Result<(), String> {
    cold_start(stage)?;
    crash(stage)?;
    come_back(stage)?;
    standby(stage)?;
    kill_the_daemon(stage)?;
    isolate(stage)
}

fn cold_start(stage: &DemoStage) -> Result<(), String> {
    announce(
        "Cold start",
        "Both daemons start. When they have heard each other, alice takes the address: haresources names her as preferred node.",
    )?;
    let watched = stage.act(|lab| {
        lab.start_had("alice")?;
        lab.start_had("bob")
    })?;
    stage.introduce_gateway()?;
    outcome(stage, "alice", BOTH, watched)
}

fn crash(stage: &DemoStage) -> Result<(), String> {
    announce(
        "The owner crashes",
        "alice loses power. bob hears nothing for deadtime; the gateway still answers, so he is not cut off himself, and takes over.",
    )?;
    let watched = stage.act(|lab| lab.crash("alice"))?;
    outcome(stage, "bob", &["bob"], watched)
}

fn come_back(stage: &DemoStage) -> Result<(), String> {
    announce(
        "The old owner comes back",
        "alice boots again. With `auto_failback off` the address stays on bob.",
    )?;
    let watched = stage.act(|lab| {
        lab.restart("alice")?;
        lab.start_had("alice")
    })?;
    outcome(stage, "bob", BOTH, watched)
}

fn standby(stage: &DemoStage) -> Result<(), String> {
    announce(
        "Maintenance",
        "`hactl standby` on bob hands the address to alice, and waits until she has it.",
    )?;
    let watched = stage.act(|lab| stage.hactl(lab, "bob", &["standby"]).map(drop))?;
    outcome(stage, "alice", BOTH, watched)?;
    stage.command("bob", &["standby", "off"])
}

fn kill_the_daemon(stage: &DemoStage) -> Result<(), String> {
    announce(
        "The daemon is killed",
        "kill -9 of had on alice; a new one starts, as systemd would do it, finds the address and keeps it.",
    )?;
    let watched = stage.act(|lab| {
        lab.kill_had("alice")?;
        lab.start_had("alice")
    })?;
    sleep(AFTER_KILL);
    outcome(stage, "alice", BOTH, watched)
}

fn isolate(stage: &DemoStage) -> Result<(), String> {
    announce(
        "The owner is cut off",
        "alice runs, but nothing reaches her. She has 1 of 3 votes and stops; bob and the gateway have 2 of 3, and bob takes over.",
    )?;
    let watched = stage.act(|lab| lab.isolate("alice", None, LinkDirection::Both))?;
    outcome(stage, "bob", &["bob"], watched)?;
    announce(
        "The network is repaired",
        "The nodes hear each other again. Nothing is stopped.",
    )?;
    let watched = stage.act(had::lab::Lab::heal_all)?;
    outcome(stage, "bob", BOTH, watched)
}

fn announce(title: &str, sentence: &str) -> Result<(), String> {
    let screen = Screen::stdout();
    show(&format!(
        "\n{}\n  {sentence}\n",
        screen.paint(Tone::Heading, title)
    ))
}

/// Waits until the act has ended as expected, then shows what the client measured.
fn outcome(
    stage: &DemoStage,
    owner: &str,
    in_touch: &[&str],
    watched: WatchedAct,
) -> Result<(), String> {
    stage.settled(owner, in_touch)?;
    sleep(AFTER);
    let seen = Screen::stdout().paint(Tone::Good, &measured(&watched.finish()?));
    show(&format!(
        "  {seen} {owner} has the address, and the gateway sends to {owner}.\n"
    ))
}

fn measured(report: &ProbeReport) -> String {
    let lost = report.sent.saturating_sub(report.answered);
    let outage = report.outage().as_secs_f64() * 1000.0;
    if lost == 0 {
        format!("No ping was lost; the slowest answer took {outage:.1} ms.")
    } else {
        format!(
            "No answer for {outage:.0} ms ({lost} of {} pings lost).",
            report.sent
        )
    }
}

fn show(text: &str) -> Result<(), String> {
    print(text).map_err(|e| e.to_string())
}
