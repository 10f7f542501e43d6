//! `hactl lab demo`: a cluster for a newcomer to see. Each act is told, done, checked, and measured by a client.
//!
//! It needs nothing beyond this program and the kernel: also the daemon is this program, called by another name.

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

/// By this name the lab starts this program as daemon: `cargo run --bin hactl` builds no other.
pub const DAEMON: &str = "had";

const INTRODUCTION: &str = "\
A small cluster, all of it on this machine: the nodes alice and bob, a gateway, and a client.
The nodes share the address 10.0.0.100. The client asks it every 5 ms throughout.

    ha.cf         node alice bob             who is in it
                  ping 10.0.0.254            the gateway, their witness
                  keepalive 100ms            a heartbeat ten times a second
                  deadtime 1s                silence that means dead
    haresources   alice 10.0.0.100/24/eth0   what runs, and where best
";

/// How long the client goes on asking after each act, and after the kill of a daemon: the lease that the dead one left
/// on the address would end within 2 s, were it not adopted.
const AFTER: Duration = Duration::from_millis(500);
const AFTER_KILL: Duration = Duration::from_millis(2500);
const BOTH: &[&str] = &["alice", "bob"];

/// The daemon with its usual folders, which are a node's own.
pub fn daemon() -> ExitCode {
    let folders = Folders {
        config: PathBuf::from("/etc/ha.d"),
        state: PathBuf::from("/var/lib/had"),
        run: PathBuf::from("/run/had"),
    };
    runtime::main(folders)
}

/// Plays all acts. Success only if each went as it should.
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
    say(INTRODUCTION)?;
    let began = Instant::now();
    let stage = DemoStage::build()?;
    acts(&stage).map_err(|text| format!("{text}\n\n{}", stage.logs()))?;
    let looks = stage.moved(&["alice", "bob", "alice", "bob"])?;
    say(&format!(
        "\nAll went as it should, in {:.0} s. Of {looks} looks at both nodes none found the address on both.\n\
         Now your own configuration:  hactl lab up DIR  (a folder with ha.cf, haresources, authkeys), then hactl lab --help\n",
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
        "Both daemons start. Nothing runs before the nodes have heard each other; then alice, named first, takes the address.",
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
        "alice loses power. bob hears nothing for deadtime, sees with the gateway that it is not he who is cut off, and takes over.",
    )?;
    let watched = stage.act(|lab| lab.crash("alice"))?;
    outcome(stage, "bob", &["bob"], watched)
}

fn come_back(stage: &DemoStage) -> Result<(), String> {
    announce(
        "It comes back",
        "alice boots again. With `auto_failback off` what runs well stays where it is.",
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
        "`hactl standby` on bob: he hands the address to alice, and the command waits until she has it.",
    )?;
    let watched = stage.act(|lab| stage.hactl(lab, "bob", &["standby"]).map(drop))?;
    outcome(stage, "alice", BOTH, watched)?;
    stage.command("bob", &["standby", "off"])
}

fn kill_the_daemon(stage: &DemoStage) -> Result<(), String> {
    announce(
        "The daemon is killed",
        "kill -9 of had on alice, and a new one, as systemd would do it: it finds what runs and adopts it.",
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
        "alice lives, but her cables are dead. She has 1 of 3 votes and gives up; bob and the gateway are 2 of 3 and go on.",
    )?;
    let watched = stage.act(|lab| lab.isolate("alice", None, LinkDirection::Both))?;
    outcome(stage, "bob", &["bob"], watched)?;
    announce(
        "The cables are mended",
        "The nodes hear each other again, and agree without stopping anything.",
    )?;
    let watched = stage.act(had::lab::Lab::heal_all)?;
    outcome(stage, "bob", BOTH, watched)
}

fn announce(title: &str, sentence: &str) -> Result<(), String> {
    let screen = Screen::stdout();
    say(&format!(
        "\n{}\n  {sentence}\n",
        screen.paint(Tone::Heading, title)
    ))
}

/// Waits until the act has ended well, then says what the client saw.
fn outcome(
    stage: &DemoStage,
    owner: &str,
    in_touch: &[&str],
    watched: WatchedAct,
) -> Result<(), String> {
    stage.settled(owner, in_touch)?;
    sleep(AFTER);
    let seen = Screen::stdout().paint(Tone::Good, &told(&watched.finish()?));
    say(&format!(
        "  {seen} {owner} has the address, and the gateway sends to {owner}.\n"
    ))
}

fn told(report: &ProbeReport) -> String {
    let lost = report.sent.saturating_sub(report.answered);
    let outage = report.outage().as_secs_f64() * 1000.0;
    if lost == 0 {
        format!("No request failed; the slowest answer took {outage:.1} ms.")
    } else {
        format!(
            "No answer for {outage:.0} ms ({lost} of {} requests).",
            report.sent
        )
    }
}

fn say(text: &str) -> Result<(), String> {
    print(text).map_err(|e| e.to_string())
}
