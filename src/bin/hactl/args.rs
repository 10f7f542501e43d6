//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use had::text::{DURATION_FORM, parse_duration};

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  refused or failed; the reason is on standard error
  2  wrong usage
  3  no daemon answers
  4  no outcome in time; what was asked for may still happen

Root and members of the group haclient may command; everybody may look.
When something is wrong, begin with `hactl status`, then `hactl why`. Manual: hactl(8)";

const GROUPS: &str = "Groups are named by:
  all        every group
  local      those that prefer this node
  foreign    those that prefer another node
  failback   those that would go home
  GROUP      a name as in haresources, or its first argument:
             10.1.88.199 for IPaddr::10.1.88.199/24/eth0:1";

const SIM: &str = "Nothing outside is touched, and no daemon is needed: the engine of had runs in virtual time, with exact
agents that take a moment. A script has one fault a line; unless it starts nodes at 0s itself, all are started then:
  at 20s  crash alice
  at 40s  start alice
  at 60s  cut alice bob on eth0
  at 70s  weather loss 30% jitter 10ms from alice to bob
  at 90s  starts of 10.0.0.1/24/eth0 step 2 on bob fail
  at 2m   standby bob 10.0.0.1/24/eth0
  at 3m   heal
All faults are in hactl(8). Random faults are of these kinds: blindness, blocks, checks, commands, crash,
cuts, deaths, failing-starts, failing-stops, force, freeze, hangs, isolation, kill, leave, lies, losses, lost-store,
maintenance, reconfigure, restart, time, weather.

Exit codes:
  0  no group ran on two nodes, and every group that could run ran in the end
  1  one did, or did not; or the folder or the script cannot be used
  2  wrong usage";

const REPLAY: &str = "Needs no daemon. The engine of this tool is given what the daemon's engine was given; that it orders the
same is checked, and the exit code is 1 when it does not.

With --set a second engine with other settings is given the same. Lines that begin with - were,
lines that begin with + would have been. The other nodes do as they did: what they would have
answered to a different course is not known. Orders end as they did in truth; one that was never
given in truth is supposed to succeed, and an address that nobody asked for to be silent.";

/// Looks at a cluster of had daemons and commands it.
#[derive(Parser)]
#[command(name = "hactl", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// Where the daemon listens [default: $HAD_SOCKET, or /run/had/had.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Show nodes, links, quorum, groups and every problem with what to do about it
    Status {
        /// Print all that is known, as JSON
        #[arg(long)]
        json: bool,
        /// Show it again whenever it changes, until Ctrl-C
        #[arg(long, short)]
        watch: bool,
    },
    /// Read a configuration folder and print every problem, and what each resource word became
    Check {
        /// The folder
        #[arg(value_name = "DIR", default_value = "/etc/ha.d")]
        dir: PathBuf,
        /// Judge it as that node [default: this machine's name]
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
    },
    /// Simulate the cluster of a configuration folder: what if a node crashes, a cable breaks, a disk hangs?
    #[command(after_help = SIM, after_long_help = SIM)]
    Sim(Sim),
    /// Try out resource agents: test one, list all, show what one can be told
    #[command(subcommand)]
    Agent(crate::agent::Command),
    /// Show the DRBD resources of haresources on every node, and after a split brain how to choose a side
    #[command(args_conflicts_with_subcommands = true)]
    Drbd {
        /// One resource of drbd.conf
        #[arg(value_name = "RESOURCE")]
        resource: Option<String>,
        #[command(subcommand)]
        command: Option<crate::drbd::Command>,
    },
    /// Rehearse: a whole cluster on this machine, in namespaces
    Lab(had::lab::cli::LabArgs),
    /// Give groups up to other nodes and take them no more, until `standby off`
    #[command(after_help = GROUPS)]
    Standby {
        /// Which groups; `off` ends standby, for all or for the groups that follow
        #[arg(value_name = "GROUP", default_value = "all")]
        words: Vec<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Take groups over from other nodes
    #[command(after_help = GROUPS)]
    Takeover {
        /// Which groups
        #[arg(value_name = "GROUP", default_value = "all")]
        words: Vec<String>,
        /// Also against an address that still answers, and against a dead node on which a stop failed.
        /// Only when you know that nothing of the group runs elsewhere!
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// Show what this node decided last, and why, about one group or about everything
    Why {
        /// A group's name or its first argument
        group: Option<String>,
        /// As of that long ago, such as 30m or 8h
        #[arg(long, value_name = "TIME", value_parser = duration)]
        ago: Option<Duration>,
    },
    /// Show all that this node recorded: the journal
    History {
        /// How many entries, 1000 at most
        #[arg(short = 'n', long = "number", value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// Step through what a daemon recorded (`record` in ha.cf), with its decisions, or with those of other settings
    #[command(after_help = REPLAY)]
    Replay(Replay),
    /// Forget the failure or the failed stop of a group on this node; see first that nothing of it runs
    Clear {
        /// A group's name or its first argument
        group: String,
    },
    /// Neither start, stop nor move groups on any node, or do so again
    #[command(after_help = GROUPS)]
    Maintenance {
        /// on or off
        #[arg(value_parser = ["on", "off"])]
        switch: String,
        /// Which groups
        #[arg(value_name = "GROUP", default_value = "all")]
        words: Vec<String>,
    },
    /// Read the configuration anew; groups that did not change are not touched
    Reload {
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// End the daemon, for its service manager to start it again; resources keep running, other nodes wait
    Restart {
        #[command(flatten)]
        wait: Wait,
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

/// What to simulate.
#[derive(Args)]
pub struct Sim {
    /// The folder
    #[arg(value_name = "DIR", default_value = "/etc/ha.d")]
    pub dir: PathBuf,
    /// Faults and when they happen, from a file (see below)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["faults", "runs"])]
    pub script: Option<PathBuf>,
    /// Kinds of random faults, with commas between
    #[arg(
        long,
        value_name = "KINDS",
        default_value = "crash,kill,freeze,cuts,isolation,weather,commands"
    )]
    pub faults: String,
    /// Where chance comes from; the same number gives the same run [default: a new one each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How many random runs, with the seeds from N upwards; more than one gives a summary
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub runs: u64,
    /// Simulate these nodes instead of those of ha.cf
    #[arg(long, value_name = "NODE,...", value_delimiter = ',')]
    pub nodes: Vec<String>,
    /// How long, such as 10m or 2d [default: until all has settled after the last fault]
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub length: Option<Duration>,
    /// Write what was simulated to a file, for --script
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// What to replay, and how.
#[derive(Args)]
pub struct Replay {
    /// A recording, or the folder with both of its files
    #[arg(value_name = "PATH", default_value = "/var/lib/had")]
    pub path: PathBuf,
    /// What if ha.cf had said so? For example deadtime=6s; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Show what was from then on: `2026-11-21 10:03`, or 10:03:20 of any day
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub from: Option<String>,
    /// Show what was before then
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub to: Option<String>,
    /// Show every event and every order: each heartbeat, each deadline
    #[arg(long)]
    pub events: bool,
    /// Print an object of JSON on each line
    #[arg(long)]
    pub json: bool,
}

/// Words that heartbeat's tools read themselves.
#[derive(Args)]
pub struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

/// How long to wait for the outcome.
#[derive(Args)]
pub struct Wait {
    /// Come back at once; do not wait for the outcome
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait for the outcome, such as 90, 90s or 2m
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = duration)]
    pub timeout: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| DURATION_FORM.to_owned())
}

/// `2026-11-21 10:03:20`, `10:03:20`, each also without the seconds.
fn moment(text: &str) -> Result<String, String> {
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
