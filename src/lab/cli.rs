//! `hactl lab ...`

use std::io;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use nix::sys::signal::{SigSet, Signal};

use super::control::{HostStatus, LabStatus, LinkDirection, ProgramExit};
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

/// A whole cluster on this machine, in namespaces: rehearse your own configuration, and break things.
#[derive(Args, Debug)]
pub struct LabArgs {
    /// Which lab; needed only when several run.
    #[arg(long, global = true)]
    pub name: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub verb: LabVerb,
}

/// The verbs of `hactl lab`.
#[derive(Subcommand, Debug)]
pub enum LabVerb {
    /// See a cluster at work: half a minute of crashes and moves, told and measured.
    Demo,
    /// Build a cluster from a folder with ha.cf, haresources and authkeys, and start it.
    ///
    /// Agents run for real, and see this machine's disk: only /etc/ha.d (a copy of the folder), /var/lib/had, /var/log, /run, the
    /// processes and the network are a node's own. An ordinary user's lab has one user only, so agents cannot become another.
    Up {
        /// The folder.
        dir: PathBuf,
        /// Do not start the daemon on the nodes.
        #[arg(long)]
        no_start: bool,
    },
    /// Run a command in a node.
    Exec {
        /// The node (or a ping node, or `client`).
        host: String,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Cut a node's power.
    Crash {
        /// The node.
        host: String,
    },
    /// Boot a node again; its disk is as it was.
    Restart {
        /// The node.
        host: String,
    },
    /// Stop the daemon of a node.
    Stop {
        /// The node.
        host: String,
    },
    /// Start the daemon of a node.
    Start {
        /// The node.
        host: String,
    },
    /// Stop all processes of a node, as a paused virtual machine.
    Freeze {
        /// The node.
        host: String,
    },
    /// Let them go on.
    Thaw {
        /// The node.
        host: String,
    },
    /// Let nothing pass between two nodes (or one and all others).
    Cut {
        /// One.
        a: String,
        /// The other.
        b: Option<String>,
        /// On this interface or segment only.
        #[arg(long)]
        link: Option<String>,
        /// Only from the first to the second.
        #[arg(long)]
        oneway: bool,
    },
    /// End cuts and losses, all or between two nodes.
    Heal {
        /// One.
        a: Option<String>,
        /// The other.
        b: Option<String>,
    },
    /// Lose so many of a hundred frames.
    Loss {
        /// 0 to 100.
        #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
        percent: u8,
        /// On this interface or segment only.
        #[arg(long)]
        link: Option<String>,
    },
    /// Pull the cable out of a node's network card, or all.
    Unplug {
        /// The node.
        host: String,
        /// The card.
        link: Option<String>,
    },
    /// Plug it in again.
    Plug {
        /// The node.
        host: String,
        /// The card.
        link: Option<String>,
    },
    /// Ping an address from the client every 5 ms, and measure the silences.
    Probe {
        /// The address.
        address: std::net::IpAddr,
        /// For so many seconds; without it until Ctrl-C.
        #[arg(long = "for")]
        seconds: Option<u64>,
    },
    /// Show the MAC that a host's ARP cache has for an address.
    Arp {
        /// The host.
        host: String,
        /// The address.
        address: std::net::IpAddr,
    },
    /// Show who lives, with addresses, and what is cut.
    Status,
    /// Show what a node's daemon has written.
    Logs {
        /// The node.
        host: String,
    },
    /// End the lab.
    Down,
    /// The outermost process of a lab; its plan comes on stdin.
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

/// Does what the arguments say. `plan` makes the plan of a folder (the caller can read configurations, this module cannot): it is
/// given the folder and the lab's name. `demo` is the caller's too: it speaks with daemons.
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
    let lab = Lab::up_in_background(&plan)?;
    print_status(&lab.status()?);
    Ok(ExitCode::SUCCESS)
}

/// The lab of that name, or the only one there is.
fn find(name: Option<&str>) -> Result<Lab, LabError> {
    if let Some(name) = name {
        return Lab::attach(name);
    }
    let names = Lab::all()?;
    match names.as_slice() {
        [] => Err(LabError::Refused(
            "no lab runs; start one with: hactl lab up DIR".to_owned(),
        )),
        [only] => Lab::attach(only),
        several => {
            let text = format!(
                "several labs run, say which: --name {}",
                several.join(" | --name ")
            );
            Err(LabError::Refused(text))
        }
    }
}

fn act(lab: Lab, verb: LabVerb) -> Result<ExitCode, LabError> {
    match verb {
        LabVerb::Exec { host, command } => return exec(&lab, &host, &command),
        LabVerb::Crash { host } => lab.crash(&host)?,
        LabVerb::Restart { host } => lab.restart(&host)?,
        LabVerb::Stop { host } => lab.stop_had(&host)?,
        LabVerb::Start { host } => lab.start_had(&host)?,
        LabVerb::Freeze { host } => lab.freeze(&host)?,
        LabVerb::Thaw { host } => lab.thaw(&host)?,
        LabVerb::Cut { a, b, link, oneway } => {
            let way = if oneway {
                LinkDirection::Out
            } else {
                LinkDirection::Both
            };
            match b {
                Some(b) => lab.cut(&a, &b, link.as_deref(), way)?,
                None => lab.isolate(&a, link.as_deref(), way)?,
            }
        }
        LabVerb::Heal { a, b } => lab.heal_some(a.as_deref(), b.as_deref())?,
        LabVerb::Loss { percent, link } => lab.loss(percent, link.as_deref())?,
        LabVerb::Unplug { host, link } => lab.unplug(&host, link.as_deref())?,
        LabVerb::Plug { host, link } => lab.plug(&host, link.as_deref())?,
        LabVerb::Probe { address, seconds } => {
            let probe = lab.probe(address, PROBE_EVERY)?;
            wait(seconds);
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
        // Done before a lab was looked for.
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
    // As shells do it.
    Ok(match exit {
        ProgramExit::Code(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        ProgramExit::Signal(signal) => {
            ExitCode::from(u8::try_from(signal.saturating_add(128)).unwrap_or(1))
        }
        ProgramExit::TimedOut => ExitCode::FAILURE,
        ProgramExit::HostDied => return Err(LabError::Refused(format!("{host} was powered off"))),
    })
}

/// So many seconds, or until Ctrl-C.
fn wait(seconds: Option<u64>) {
    if let Some(seconds) = seconds {
        std::thread::sleep(Duration::from_secs(seconds));
        return;
    }
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGINT);
    ends.add(Signal::SIGTERM);
    if ends.thread_block().is_ok() {
        eprintln!("probing; Ctrl-C ends it");
        ends.wait().ok();
    }
}

fn print_probe(report: &ProbeReport) {
    say!("{} of {} requests answered", report.answered, report.sent);
    for (at, gap) in &report.gaps {
        say!(
            "  silent for {:.3} s at {:.3} s after boot",
            gap.as_secs_f64(),
            at.since(crate::model::Time::ZERO).as_secs_f64()
        );
    }
    say!("longest silence: {:.3} s", report.longest_gap.as_secs_f64());
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
        Some(pid) => format!("had runs (pid {pid})"),
        None => "had does not run".to_owned(),
    };
    match (host.alive, host.frozen, host.member) {
        (false, _, _) => "off".to_owned(),
        (true, true, _) => "frozen".to_owned(),
        (true, false, true) => had,
        (true, false, false) => "on".to_owned(),
    }
}
