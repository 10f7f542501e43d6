//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use had::text::{DURATION_FORM, parse_duration};

use crate::events::Since;

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  refused or failed; the reason is on standard error
  2  wrong usage
  3  the daemon does not answer
  4  no result in time; the command may still take effect
  5, 6  of `hactl status` only: there are problems; a group does not run

Every user may run the commands that only show something. The others need root or membership in the group haclient.
When something is wrong, begin with `hactl status`, then `hactl why`. Manual: hactl(8)";

const STATUS: &str = "Exit codes:
  0  all is well
  3  the daemon does not answer
  5  there are problems, and every group runs
  6  a group does not run, or runs on several nodes
With --watch it ends with 0.";

const GROUPS: &str = "GROUP is one of:
  all        all groups
  local      groups whose preferred node is this one
  foreign    groups whose preferred node is another one
  failback   groups that are not on their preferred node: `standby` moves the
             foreign ones away, `takeover` moves the local ones here
  NAME       one group: its name as in haresources, or the first argument of that name
             (10.1.88.199 for IPaddr::10.1.88.199/24/eth0:1)";

const EVENTS: &str = "Without --since, all decisions that the daemon has at hand are printed, or with --follow only those from now on.
A restart of the daemon does not end --follow: it says so on standard error and goes on with what was missed.
The fields of the objects are in `hactl schema` and hactl(8).";

const REPLAY: &str = "Needs no daemon. The recorded inputs are given to the decision engine of this hactl, and its decisions are
compared with the recorded ones; the exit code is 1 if they differ.

With --set, the inputs are also given to a second engine with the changed settings. Lines that begin with
- show what happened, lines that begin with + what would have happened. The other nodes do what they did:
how they would have reacted is not known. Actions end as they did in the recording. An action that is not in the
recording is assumed to succeed, and an address that nobody probed is assumed to be silent.";

/// Show and control a cluster of had daemons
#[derive(Parser)]
#[command(name = "hactl", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// Control socket of the daemon [default: $HAD_SOCKET, or /run/had/had.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Subcommand)]
pub enum Command {
    /// Show nodes, links, quorum and groups, and every problem with what to do about it
    #[command(after_help = STATUS)]
    Status {
        /// Print everything as JSON, with a list of the problems
        #[arg(long)]
        json: bool,
        /// Print one line: how many problems, the owner of each group, and the kinds of problems
        #[arg(long, conflicts_with_all = ["json", "watch"])]
        brief: bool,
        /// Show it again after every change, until Ctrl-C
        #[arg(long, short)]
        watch: bool,
    },
    /// Make the files of a new cluster; on a terminal, ask for what the options leave out
    Init(crate::init::Init),
    /// Make a configuration of the files of another manager
    #[command(subcommand)]
    Import(crate::import::Command),
    /// Go on with what heartbeat 3 has started, without a stop: see had-from-heartbeat(7)
    #[command(subcommand)]
    Adopt(crate::adopt::Command),
    /// Check a configuration folder: print every problem, and what each resource means
    Check {
        /// Configuration folder
        #[arg(value_name = "DIR", default_value = "/etc/ha.d")]
        dir: PathBuf,
        /// Check it as this node of ha.cf would [default: this machine's name]
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
        /// The files are for other machines: check only the files, not the interfaces, scripts and file modes here
        #[arg(long)]
        elsewhere: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Simulate the cluster of a configuration folder: what if a node crashes, a cable breaks, a disk hangs?
    #[command(after_help = crate::sim::help())]
    Sim(Sim),
    /// Test, list or describe resource agents
    #[command(subcommand)]
    Agent(crate::agent::Command),
    /// Show the DRBD resources of all nodes; after a split brain, also how to keep one side
    #[command(args_conflicts_with_subcommands = true)]
    Drbd {
        /// Only this resource of drbd.conf
        #[arg(value_name = "RESOURCE")]
        resource: Option<String>,
        #[command(subcommand)]
        command: Option<crate::drbd::Command>,
    },
    /// Run a whole cluster on this machine, in network namespaces, to rehearse failures
    Lab(had::lab::cli::LabArgs),
    /// Move groups to other nodes, and do not run them here until `standby off`
    #[command(after_help = GROUPS)]
    Standby {
        /// Which groups; `off` ends standby for the groups after it, or for all
        #[arg(value_name = "GROUP", default_value = "all")]
        words: Vec<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Move groups to this node
    #[command(after_help = GROUPS)]
    Takeover {
        /// Which groups
        #[arg(value_name = "GROUP", default_value = "all")]
        words: Vec<String>,
        /// Start even if an address still answers, a dead node may still run the group, or a check of this node fails.
        /// Only when you know that nothing of the group runs elsewhere: otherwise data can be destroyed!
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// Move a group to another node as an exercise, and measure how long its clients wait
    Drill(crate::drill::Drill),
    /// Show the last decisions of this node and their reasons, about one group or about everything
    Why {
        /// A group: its name, or the first argument of its name
        group: Option<String>,
        /// As they were this long ago, such as 30m or 8h
        #[arg(long, value_name = "TIME", value_parser = duration)]
        ago: Option<Duration>,
        /// Print JSON, one object per line
        #[arg(long)]
        json: bool,
    },
    /// Show the journal: what this node decided and noticed, oldest first
    History {
        /// Show this many of the newest entries, at most 1000
        #[arg(short = 'n', long = "number", value_name = "N", default_value_t = 50)]
        limit: usize,
        /// Print JSON, one object per line
        #[arg(long)]
        json: bool,
    },
    /// Print the journal for programs, and go on as decisions are taken
    #[command(after_help = EVENTS)]
    Events(Events),
    /// Collect everything for a bug report into one archive, without secrets
    Support(crate::support::Support),
    /// Replay what a daemon recorded (`record` in ha.cf): what it decided, or would have decided with other settings
    #[command(after_help = REPLAY)]
    Replay(Replay),
    /// Forget that a group failed, or that its stop failed, on this node. First make sure that nothing of it runs
    Clear {
        /// A group: its name, or the first argument of its name
        group: String,
    },
    /// Suspend (on) or resume (off) automatic control of groups on all nodes
    #[command(after_help = GROUPS)]
    Maintenance {
        /// `on`: no node starts, stops or moves the groups; `off`: they are controlled again
        #[arg(value_parser = ["on", "off"])]
        switch: String,
        /// Which groups
        #[arg(value_name = "GROUP", default_value = "all")]
        words: Vec<String>,
    },
    /// Read the configuration again; groups whose definition did not change are not touched
    Reload {
        /// Only print what would change
        #[arg(long)]
        dry_run: bool,
        /// Also if the change turns votes off, costs this side quorum or removes a node that is heard
        #[arg(long)]
        force: bool,
    },
    /// Say that a node is gone for good, so that a change of the list of voters no longer waits for it
    Forget {
        /// Its name in the new or the old ha.cf
        node: String,
        /// You are sure; without it, only what this means is printed
        #[arg(long)]
        yes: bool,
    },
    /// Switch the machine of a node off, show how far that is, or say that it is off
    Fence(Fence),
    /// Stop all groups of this node in order and end the daemon; other nodes take over
    Stop {
        /// Also if the other nodes lose quorum by it, or a group then runs nowhere
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// Restart the daemon through its service manager; resources keep running, and the other nodes wait for it
    Restart {
        /// Also if the changed files turn votes off, cost this side quorum or remove a node that is heard
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// Print the form of everything that is printed as JSON, as a JSON Schema
    Schema,
    /// Print the completions of a shell for hactl; the packages install those of bash, zsh and fish
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    #[command(name = "drbd-peer-outdater", hide = true, disable_help_flag = true)]
    DrbdPeerOutdater(Rest),
    #[command(name = "hb_standby", hide = true, disable_help_flag = true)]
    HbStandby(Rest),
    #[command(name = "hb_takeover", hide = true, disable_help_flag = true)]
    HbTakeover(Rest),
    #[command(name = "cl_status", hide = true, disable_help_flag = true)]
    ClStatus(Rest),
}

/// `hactl fence`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Fence {
    /// Switch the machine of this node off; without a node, show how far fencing is
    #[arg(value_name = "NODE")]
    pub node: Option<String>,
    /// You are sure; without it, only what this means is printed
    #[arg(long, requires = "node")]
    pub yes: bool,
    #[command(subcommand)]
    pub command: Option<FenceCommand>,
}

/// The subcommands of `fence`.
#[derive(Subcommand)]
pub enum FenceCommand {
    /// Show for each node whether it can be fenced, and how far that is
    Status {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask the power switches of a node whether its machine is on; this changes nothing
    Test {
        /// Its name in ha.cf
        node: String,
    },
    /// Say that the machine of a silent node is off. Then nothing waits for that node until it is heard, and when every node
    /// that is not heard is confirmed, this side has quorum
    Confirm {
        /// Its name in ha.cf
        node: String,
        /// You are sure; without it, only what this means is printed
        #[arg(long)]
        yes: bool,
    },
}

/// The options of `hactl sim`.
#[derive(Args)]
pub struct Sim {
    /// Configuration folder
    #[arg(value_name = "DIR", default_value = "/etc/ha.d")]
    pub dir: PathBuf,
    /// File with faults and their times (see below)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["faults", "runs"])]
    pub script: Option<PathBuf>,
    /// Kinds of random faults, separated by commas
    #[arg(
        long,
        value_name = "KINDS",
        default_value = "crash,kill,freeze,cuts,isolation,weather,commands"
    )]
    pub faults: String,
    /// Seed of the random faults; the same seed gives the same run [default: a new one each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Number of random runs, with consecutive seeds; more than one prints a summary
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub runs: u64,
    /// Simulate these nodes instead of those of ha.cf
    #[arg(long, value_name = "NODE,...", value_delimiter = ',')]
    pub nodes: Vec<String>,
    /// Simulated time, such as 10m or 2d [default: until everything has settled after the last fault]
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub length: Option<Duration>,
    /// Write the simulated faults to a file, for --script
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// The options of `hactl events`.
#[derive(Args)]
pub struct Events {
    /// Go on: print each decision when it is taken, until Ctrl-C or until nobody reads the output
    #[arg(long, short)]
    pub follow: bool,
    /// Print JSON, one object per line
    #[arg(long)]
    pub json: bool,
    /// Begin there: a time ago such as 30m, or `2026-11-21 10:03`, or 10:03 of today
    #[arg(long, value_name = "WHEN", value_parser = Since::parse)]
    pub since: Option<Since>,
}

/// The options of `hactl replay`.
#[derive(Args)]
pub struct Replay {
    /// A recording, or the folder with both of its files
    #[arg(value_name = "PATH", default_value = "/var/lib/had")]
    pub path: PathBuf,
    /// Replay with this setting of ha.cf, for example deadtime=6s; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Show only what happened from this time on: `2026-11-21 10:03`, or 10:03:20 of any day
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub from: Option<String>,
    /// Show only what happened before this time
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub to: Option<String>,
    /// Show every event and every action: each heartbeat, each deadline
    #[arg(long)]
    pub events: bool,
    /// Print JSON, one object per line
    #[arg(long)]
    pub json: bool,
}

/// The arguments of heartbeat's own tools, which parse them themselves.
#[derive(Args)]
pub struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

/// How long to wait for the result.
#[derive(Args)]
pub struct Wait {
    /// Return at once; do not wait for the result
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait for the result, such as 90, 90s or 2m
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = duration)]
    pub timeout: Duration,
}

/// A length of time with its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| DURATION_FORM.to_owned())
}

/// `2026-11-21 10:03:20`, `10:03:20`, each also without the seconds.
pub fn moment(text: &str) -> Result<String, String> {
    let (date, time) = text
        .split_once(' ')
        .map_or((None, text), |(date, time)| (Some(date), time));
    let like = |text: &str, form: &str| {
        let fits = |(c, f): (char, char)| if f == '0' { c.is_ascii_digit() } else { c == f };
        text.len() == form.len() && text.chars().zip(form.chars()).all(fits)
    };
    let good = date.is_none_or(|date| like(date, "0000-00-00"))
        && (like(time, "00:00") || like(time, "00:00:00"));
    if good {
        Ok(text.to_owned())
    } else {
        Err("write it as \"2026-11-21 10:03:20\", as 10:03:20 or as 10:03".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn moments_are_written_as_they_are_shown() {
        for good in [
            "2026-11-21 10:03:20",
            "2026-11-21 10:03",
            "10:03",
            "10:03:20",
        ] {
            assert_eq!(moment(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "10",
            "2026-11-21",
            "1:03",
            "10:03:20.5",
            "yesterday",
            "2026-11-21  10:03",
            "1٣:03",
        ] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_have_units_and_nonsense_is_refused() {
        let seconds = |text| duration(text).map(|d| d.as_secs_f64());
        assert_eq!(seconds("90"), Ok(90.0));
        assert_eq!(seconds("1500ms"), Ok(1.5));
        assert_eq!(seconds("2m"), Ok(120.0));
        assert_eq!(seconds("1.5h"), Ok(5400.0));
        for bad in ["", "s", "-1", "1w", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
