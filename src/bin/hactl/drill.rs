//! `hactl drill`: a real planned switch as an exercise, with the gap that clients see measured from this node.

mod back;
mod measure;
mod plan;
mod signals;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use had::control::api::Request;
use had::control::client::ControlClient;
use had::model::NodeName;
use had::model::status::{GroupStatus, Status};
use had::text::{duration_for_people, printable};
use serde::Serialize;

use crate::Failure;
use crate::args::duration;
use crate::commands::{ANSWER_TIMEOUT, Tool, print_text};
use crate::screen::{Screen, json_page, print_and_go_on};
use crate::status::render_owners;
use measure::{Measured, Probe, in_journal};
use plan::{Direction, Plan};
use signals::Held;

/// Time for the status to show what a command has already reported.
const SHOWN_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// Between two looks whether the group may go back.
const READY_POLL: Duration = Duration::from_millis(200);

/// The options of `hactl drill`.
#[derive(Args)]
pub struct Drill {
    /// A group: its name, or the first argument of its name
    #[arg(value_name = "GROUP")]
    group: String,
    /// Move it back when this node is ready to take it back, and measure that too
    #[arg(long)]
    back: bool,
    /// The node that is to take it [default: where the cluster moves it; on another node than its own, this one]
    #[arg(long, value_name = "NODE")]
    to: Option<String>,
    /// You are sure; without it, you are asked, or without a terminal only what this means is printed
    #[arg(long)]
    yes: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// How long to wait for each move, and with --back until this node is ready again, such as 90, 90s or 2m
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = duration)]
    timeout: Duration,
}

/// The result for programs.
#[derive(Serialize)]
struct DrillReport<'a> {
    group: &'a str,
    moves: &'a [Moved],
}

/// One move that succeeded.
#[derive(Serialize)]
struct Moved {
    from: NodeName,
    to: NodeName,
    gap_ms: Option<f64>,
    measured: Measured,
}

/// Runs the command.
pub fn run(args: &Drill, socket: &Path) -> Result<(), Failure> {
    let tool = Tool::new(socket);
    let status = tool.request_status(ANSWER_TIMEOUT)?;
    let to = args.to.as_deref();
    let plan = Plan::make(&args.group, to, args.back, &status).map_err(Failure::failed)?;
    if args.back && args.timeout < back::LOOKED_AGAIN {
        let least = duration_for_people(back::LOOKED_AGAIN);
        let text = format!(
            "--back needs a --timeout of at least {least}: so long this node needs to look whether it is ready again; nothing was done"
        );
        return Err(Failure::failed(text));
    }
    confirm(args, &plan)?;
    let held = Held::new().map_err(|e| Failure::failed(format!("cannot hold signals: {e}")))?;
    let drill = Exercise {
        args,
        socket,
        tool,
        plan,
        held,
    };
    let mut moves = Vec::new();
    let outcome = drill.run(&mut moves);
    // What is still under way goes on; otherwise an exercise leaves no wish behind.
    let under_way = |failure: &Failure| failure.code == Failure::TIMED_OUT;
    if drill.plan.direction == Direction::Away && !outcome.as_ref().is_err_and(under_way) {
        drill.end_giving();
    }
    drill.note(&moves);
    if args.json && !moves.is_empty() {
        let group = drill.plan.group.as_str();
        let moves = &moves;
        // The outcome counts, also where nobody reads.
        drop(print_and_go_on(&json_page(&DrillReport { group, moves })?));
    }
    outcome
}

/// Whether it came back to where it was.
fn returned(moves: &[Moved]) -> bool {
    matches!(moves, [there, back] if back.to == there.from)
}

/// Asks on a terminal; elsewhere `--yes` is needed.
fn confirm(args: &Drill, plan: &Plan) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    let (group, meaning) = (&plan.group, plan.meaning(args.back));
    if !io::stdin().is_terminal() {
        let back = if args.back { " --back" } else { "" };
        let text = format!(
            "{meaning} Nothing was done; if you are sure: hactl drill {}{back} --yes",
            args.group
        );
        return Err(Failure::failed(text));
    }
    print_text(&format!("{meaning}\nMove {group} now? Type yes: "))?;
    io::stdout().flush().map_err(Failure::failed)?;
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(Failure::failed)?;
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(Failure::failed("nothing was done"))
}

/// A drill that is under way.
struct Exercise<'a> {
    args: &'a Drill,
    socket: &'a Path,
    tool: Tool<'a>,
    plan: Plan,
    held: Held,
}

impl Exercise<'_> {
    /// Moves it there, and back if that is wanted.
    fn run(&self, moves: &mut Vec<Moved>) -> Result<(), Failure> {
        let there = self.go(self.plan.direction)?;
        let left = Instant::now();
        self.tell(&there);
        let (from, to) = (there.from.clone(), there.to.clone());
        moves.push(there);
        if !self.args.back {
            self.tell_given(&from);
            return Ok(());
        }
        self.until_ready(left, &from, &to)?;
        let back = self.go(Direction::Here)?;
        self.tell(&back);
        let now = back.to.clone();
        moves.push(back);
        if returned(moves) {
            return Ok(());
        }
        Err(self.stuck(&format!("{now} has it, not {from}"), Failure::FAILED))
    }

    /// Until the node that gave it away is ready to take it back: not with data that lacks what was written meanwhile.
    fn until_ready(&self, left: Instant, origin: &NodeName, at: &NodeName) -> Result<(), Failure> {
        say(&format!(
            "note: waiting until {origin} is ready to take it back, {} at least",
            duration_for_people(back::LOOKED_AGAIN)
        ));
        loop {
            let ago = left.elapsed();
            let status = self.status();
            let obstacles = status.map(|s| back::obstacles(&s, &self.plan.group, origin, ago));
            let obstacles = obstacles.unwrap_or_else(|| vec!["the daemon does not answer".into()]);
            if self.held.came() {
                return Err(stays(at, &["the drill was interrupted".to_owned()]));
            }
            if obstacles.is_empty() {
                return Ok(());
            }
            // One more poll, for what becomes true just at the end.
            if ago > self.args.timeout + READY_POLL {
                return Err(stays(at, &obstacles));
            }
            sleep(READY_POLL);
        }
    }

    /// Moves the group once and measures.
    fn go(&self, direction: Direction) -> Result<Moved, Failure> {
        let from = self
            .owner()
            .ok_or_else(|| self.stuck("it runs on no node", 1))?;
        let began = wall_milliseconds();
        let probe = self.plan.address.and_then(Probe::start);
        let order = direction.order(&self.plan.group);
        let asked =
            ControlClient::connect(self.socket).and_then(|mut c| c.ask(&order, self.args.timeout));
        let arrived = asked.is_ok().then(|| self.until_moved(&from)).flatten();
        let gap = probe.and_then(Probe::finish);
        if let Err(error) = asked {
            let failure = Failure::from(error);
            return Err(self.stuck(&failure.text, failure.code));
        }
        let Some(to) = arrived else {
            return Err(self.stuck("no other node runs it", Failure::FAILED));
        };
        let (gap, measured) = match gap {
            Some(gap) => (Some(gap), Measured::Address),
            None => in_journal(self.socket, &self.plan.group, began),
        };
        let gap_ms = gap.map(|gap| gap.as_secs_f64() * 1000.0);
        Ok(Moved {
            from,
            to,
            gap_ms,
            measured,
        })
    }

    fn status(&self) -> Option<Status> {
        self.tool.request_status(ANSWER_TIMEOUT).ok()
    }

    fn owner(&self) -> Option<NodeName> {
        let status = self.status()?;
        owner_of(&status, &self.plan).cloned()
    }

    /// The node that runs it, once that is another one than before.
    fn until_moved(&self, from: &NodeName) -> Option<NodeName> {
        let began = Instant::now();
        while began.elapsed() < SHOWN_WITHIN {
            match self.owner() {
                Some(owner) if owner != *from => return Some(owner),
                // It stays, and nothing moves any more.
                Some(_) if began.elapsed() > SHOWN_WITHIN / 4 => return None,
                _ => sleep(POLL),
            }
        }
        None
    }

    /// The drill went wrong: where the group is now, and what to do.
    fn stuck(&self, why: &str, code: u8) -> Failure {
        let group = &self.plan.group;
        let wide = Screen {
            width: usize::MAX,
            colour: false,
            rows: None,
        };
        let places = self.status().map(|status| render_owners(&status, wide));
        let places = places.unwrap_or_else(|| "  the daemon does not answer\n".to_owned());
        let advice = if code == Failure::TIMED_OUT {
            self.advice_under_way()
        } else {
            format!(
                "`hactl why {group}` says what happened, and `hactl status` what is wrong; \
                 `hactl takeover {group}`, typed on a node that is well, moves it there"
            )
        };
        Failure {
            code,
            text: format!(
                "the drill of {group} did not succeed: {why}\nnow:\n{places}what to do: {advice}"
            ),
        }
    }

    fn advice_under_way(&self) -> String {
        let wait = "the move still goes on: wait and look at `hactl status --watch`; do not order another move";
        match self.plan.direction {
            Direction::Away => format!(
                "{wait}; afterwards type `hactl standby off {}` here",
                self.plan.group
            ),
            Direction::Here => wait.to_owned(),
        }
    }

    /// A preferred node that gave its group away on request of another one remembers that.
    fn tell_given(&self, from: &NodeName) {
        let group = &self.plan.group;
        if self.plan.direction == Direction::Here && self.plan.preferred == *from {
            say(&format!(
                "note: {from} has given it away and takes it back only if no other node can run it; \
                 `hactl standby off {group}`, typed there, ends this (with auto_failback on the group then goes back)"
            ));
        }
    }

    /// Without this, the node that gave the group away would not take it back by itself.
    fn end_giving(&self) {
        let words = vec![self.plan.group.to_string()];
        if self
            .tool
            .ask(&Request::Unstandby { words }, ANSWER_TIMEOUT)
            .is_err()
        {
            let group = &self.plan.group;
            say(&format!(
                "warning: end the giving away of the group with hactl standby off {group}"
            ));
        }
    }

    /// A reader who has gone does not keep the drill from its end.
    fn tell(&self, moved: &Moved) {
        if !self.args.json {
            drop(print_and_go_on(&self.line(moved)));
        }
    }

    fn line(&self, moved: &Moved) -> String {
        let Moved { from, to, .. } = moved;
        let how = match (moved.gap(), moved.measured, self.plan.address) {
            (Some(gap), Measured::Address, Some(address)) => {
                format!(
                    " in {}, by pings of {address} from here",
                    duration_for_people(gap)
                )
            }
            (Some(gap), ..) => format!(" in {}, by the journal", duration_for_people(gap)),
            (None, ..) => "; how long that took could not be measured".to_owned(),
        };
        format!(
            "drill of {}: {to} took over from {from}{how}\n",
            self.plan.group
        )
    }

    /// Tells the daemon, for the journal and for status.
    fn note(&self, moves: &[Moved]) {
        let Some(first) = moves.first() else { return };
        let micros = |moved: &Moved| {
            moved
                .gap()
                .and_then(|gap| u64::try_from(gap.as_micros()).ok())
        };
        let request = Request::Drilled {
            group: self.plan.group.to_string(),
            to: first.to.clone(),
            gap_us: micros(first),
            returned: returned(moves),
            back_us: moves.get(1).and_then(micros),
        };
        if let Err(error) = self.tool.ask(&request, ANSWER_TIMEOUT) {
            say(&format!(
                "warning: the drill is not in the journal: {error}"
            ));
        }
    }
}

impl Moved {
    fn gap(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.gap_ms? / 1000.0).ok()
    }
}

/// The group is not moved back.
fn stays(at: &NodeName, reasons: &[String]) -> Failure {
    Failure::failed(format!("it stays on {at}: {}", reasons.join("; ")))
}

/// A closed terminal is no reason to end.
fn say(text: &str) {
    drop(writeln!(io::stderr(), "hactl: {}", printable(text)));
}

/// The one node that runs it.
fn owner_of<'s>(status: &'s Status, plan: &Plan) -> Option<&'s NodeName> {
    let group = status.groups.iter().find(|g| g.name == plan.group)?;
    Some(group).filter(|g| GroupStatus::runs(g))?.owners.first()
}

fn wall_milliseconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or_default()
}
