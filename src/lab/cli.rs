//! `hactl lab ...`

use std::io;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use nix::sys::signal::{SigSet, Signal};

use super::action::LabAction;
use super::control::{HostStatus, LabStatus, ProgramExit};
use super::plan::LabPlan;
use super::probe::ProbeReport;
use super::{Lab, LabError, init, serve, supervise};

/// Prints a line; a reader that went away (`| head`) is no reason to complain.
macro_rules! say {
    ($($words:tt)*) => {
        drop(writeln!(std::io::stdout(), $($words)*))
    };
}

/// How often `probe` asks.
const PROBE_EVERY: Duration = Duration::from_millis(5);

/// Time for a daemon to start, or to refuse its configuration.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two looks at a daemon that starts.
const START_POLL: Duration = Duration::from_millis(20);
/// A daemon logs this when it has accepted its configuration.
const STARTS: &str = " starts on ";

/// Run a whole cluster in namespaces on this machine: try your own configuration, and break things
#[derive(Args, Debug)]
pub struct LabArgs {
    /// Which lab, if several run
    #[arg(long, global = true)]
    pub name: Option<String>,
    /// What to do
    #[command(subcommand)]
    pub verb: LabVerb,
}

/// The verbs of `hactl lab`.
#[derive(Subcommand, Debug)]
pub enum LabVerb {
    /// Show a cluster at work: half a minute of crashes and moves, explained and measured
    Demo,
    /// Build a cluster from a folder with ha.cf, haresources and authkeys, and start it
    ///
    /// Agents really run, and see the disk of this machine. Each node has its own /etc/ha.d (a copy of the folder),
    /// /var/lib/had, /var/log, /run, processes and network. A daemon that ends is started again a second later, as systemd
    /// does, except after `hactl stop` and `hactl lab stop`. The lab of an ordinary user has only that user, so agents cannot
    /// become another one.
    Up {
        /// The folder
        dir: PathBuf,
        /// Do not start the daemons
        #[arg(long)]
        no_start: bool,
    },
    /// Run a command on a host
    Exec {
        /// A node, a ping node, or `client`
        host: String,
        /// The command
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Do something to the running lab
    #[command(flatten)]
    Act(LabAction),
    /// Ping an address from the client every 5 ms, and measure interruptions
    Probe {
        /// The address
        address: std::net::IpAddr,
        /// For this many seconds [default: until Ctrl-C]
        #[arg(long = "for")]
        seconds: Option<u64>,
    },
    /// Show the MAC that the ARP cache of a host has for an address
    Arp {
        /// The host
        host: String,
        /// The address
        address: std::net::IpAddr,
    },
    /// Show which nodes run, with their addresses, and what is cut
    Status,
    /// Show the log of a node's daemon
    Logs {
        /// The node
        host: String,
    },
    /// End the lab
    Down,
    /// The outermost process of a lab; reads its plan from stdin
    #[command(hide = true)]
    Supervise {
        /// End when stdin does.
        #[arg(long)]
        lifeline: bool,
    },
    /// The process that holds a lab.
    #[command(hide = true)]
    Serve {
        /// The lab's folder.
        dir: PathBuf,
    },
    /// The first process of a host.
    #[command(hide = true)]
    Init,
}

/// Runs the command. `plan` makes the plan of a folder with the lab's name, because this module cannot read configurations;
/// `demo` talks to daemons, which it cannot either.
///
/// Must be called from a process that has started no thread: the supervisor makes a user namespace.
pub fn run(
    args: LabArgs,
    plan: impl FnOnce(&std::path::Path, &str) -> Result<LabPlan, String>,
    demo: impl FnOnce() -> ExitCode,
) -> ExitCode {
    match args.verb {
        LabVerb::Supervise { lifeline } => supervise::run(lifeline),
        LabVerb::Serve { dir } => serve::run(&dir),
        LabVerb::Init => init::run(),
        LabVerb::Demo => demo(),
        LabVerb::Up { dir, no_start } => report(up(&dir, args.name.as_deref(), no_start, plan)),
        verb => report(find(args.name.as_deref()).and_then(|lab| act(lab, verb))),
    }
}

fn report(outcome: Result<ExitCode, LabError>) -> ExitCode {
    outcome.unwrap_or_else(|e| {
        eprintln!("hactl lab: {e}");
        ExitCode::FAILURE
    })
}

fn up(
    dir: &std::path::Path,
    name: Option<&str>,
    no_start: bool,
    plan: impl FnOnce(&std::path::Path, &str) -> Result<LabPlan, String>,
) -> Result<ExitCode, LabError> {
    let name = name.map_or_else(|| "lab".to_owned(), str::to_owned);
    let mut plan = plan(dir, &name).map_err(LabError::Plan)?;
    plan.start &= !no_start;
    plan.restart = true;
    let lab = Lab::up_in_background(&plan)?;
    let all_run = !plan.start || wait_for_daemons(&lab)?;
    print_status(&lab.status()?);
    Ok(if all_run {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Waits until each daemon has started or has ended, and prints the log of those that have ended. Whether all run.
fn wait_for_daemons(lab: &Lab) -> Result<bool, LabError> {
    let until = Instant::now() + START_TIMEOUT;
    let hosts = lab.status()?.hosts.into_iter();
    let mut all_run = true;
    for node in hosts.filter(|h| h.member).map(|h| h.name) {
        // With `logfile` in ha.cf the log is elsewhere; then only the process tells.
        while !lab.log(&node)?.contains(STARTS) && Instant::now() < until {
            if lab.had_pid(&node)?.is_none() {
                break;
            }
            std::thread::sleep(START_POLL);
        }
        if lab.had_pid(&node)?.is_none() {
            all_run = false;
            say!(
                "had did not start on {node}:\n{}",
                lab.log(&node)?.trim_end()
            );
        }
    }
    Ok(all_run)
}

/// The lab of that name, or the only one there is.
fn find(name: Option<&str>) -> Result<Lab, LabError> {
    if let Some(name) = name {
        return Lab::attach(name);
    }
    let names = Lab::all()?;
    match names.as_slice() {
        [] => Err(LabError::Refused(
            "no lab is running; start one with: hactl lab up DIR".to_owned(),
        )),
        [only] => Lab::attach(only),
        several => {
            let text = format!(
                "several labs are running; choose one: --name {}",
                several.join(" | --name ")
            );
            Err(LabError::Refused(text))
        }
    }
}

fn act(lab: Lab, verb: LabVerb) -> Result<ExitCode, LabError> {
    match verb {
        LabVerb::Exec { host, command } => return exec(&lab, &host, &command),
        LabVerb::Act(action) => lab.act(action)?,
        LabVerb::Probe { address, seconds } => {
            let probe = lab.probe(address, PROBE_EVERY)?;
            wait_for_end(seconds);
            print_probe(&probe.finish()?);
        }
        LabVerb::Arp { host, address } => {
            let Some(mac) = lab.neighbour(&host, address)? else {
                say!("unknown");
                return Ok(ExitCode::FAILURE);
            };
            say!("{}", mac.map(|b| format!("{b:02x}")).join(":"));
        }
        LabVerb::Status => print_status(&lab.status()?),
        LabVerb::Logs { host } => print!("{}", lab.log(&host)?),
        LabVerb::Down => lab.down()?,
        // These need no running lab.
        LabVerb::Demo
        | LabVerb::Up { .. }
        | LabVerb::Supervise { .. }
        | LabVerb::Serve { .. }
        | LabVerb::Init => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn exec(lab: &Lab, host: &str, command: &[String]) -> Result<ExitCode, LabError> {
    let argv: Vec<&str> = command.iter().map(String::as_str).collect();
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let exit = lab.exec_with(
        host,
        &argv,
        None,
        [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
    )?;
    // The exit code of a shell.
    Ok(match exit {
        ProgramExit::Code(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        ProgramExit::Signal(signal) => {
            ExitCode::from(u8::try_from(signal.saturating_add(128)).unwrap_or(1))
        }
        ProgramExit::TimedOut => ExitCode::FAILURE,
        ProgramExit::HostDied => return Err(LabError::Refused(format!("{host} was powered off"))),
    })
}

/// Waits this many seconds, or until Ctrl-C.
fn wait_for_end(seconds: Option<u64>) {
    if let Some(seconds) = seconds {
        std::thread::sleep(Duration::from_secs(seconds));
        return;
    }
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGINT);
    ends.add(Signal::SIGTERM);
    if ends.thread_block().is_ok() {
        eprintln!("probing; stop with Ctrl-C");
        ends.wait().ok();
    }
}

fn print_probe(report: &ProbeReport) {
    say!("{} of {} requests answered", report.answered, report.sent);
    for (at, gap) in &report.gaps {
        say!(
            "  no answer for {:.3} s, at {:.3} s after boot",
            gap.as_secs_f64(),
            at.since(crate::model::Time::ZERO).as_secs_f64()
        );
    }
    say!(
        "longest interruption: {:.3} s",
        report.longest_gap.as_secs_f64()
    );
    say!("slowest answer: {:.3} s", report.slowest.as_secs_f64());
}

fn print_status(status: &LabStatus) {
    say!("lab {}", status.name);
    let width = status.hosts.iter().map(|h| h.name.len()).max().unwrap_or(0);
    for host in &status.hosts {
        let addresses: Vec<String> = host
            .addresses
            .iter()
            .map(|a| {
                format!(
                    "{} {}/{}",
                    a.label.as_ref().unwrap_or(&a.interface),
                    a.address,
                    a.prefix
                )
            })
            .collect();
        say!(
            "  {:width$}  {:24}  {}",
            host.name,
            state_of(host),
            addresses.join(", ")
        );
    }
    for (segment, from, to, fault) in &status.faults {
        say!("  {segment}: {from} -> {to} {fault}");
    }
}

fn state_of(host: &HostStatus) -> String {
    let had = match host.had {
        Some(pid) => format!("had is running (pid {pid})"),
        None => "had is not running".to_owned(),
    };
    match (host.alive, host.frozen, host.member) {
        (false, _, _) => "off".to_owned(),
        (true, true, _) => "frozen".to_owned(),
        (true, false, true) => had,
        (true, false, false) => "on".to_owned(),
    }
}
