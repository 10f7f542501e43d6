//! `hactl drill`: a real planned switch as an exercise, with the gap that clients see measured from this node.

mod measure;
mod plan;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use had::control::api::Request;
use had::control::client::ControlClient;
use had::model::NodeName;
use had::model::status::{GroupStatus, Status};
use had::text::duration_for_people;
use serde::Serialize;

use crate::Failure;
use crate::args::duration;
use crate::commands::{ANSWER_TIMEOUT, Tool, print_text};
use crate::screen::{Screen, json_page};
use crate::status::render_owners;
use measure::{Measured, Probe, in_journal};
use plan::{Direction, Plan};

/// Time for the status to show what a command has already reported.
const SHOWN_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// The options of `hactl drill`.
#[derive(Args)]
pub struct Drill {
    /// A group: its name, or the first argument of its name
    #[arg(value_name = "GROUP")]
    group: String,
    /// Move it back afterwards, and measure that too
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
    /// How long to wait for each move, such as 90, 90s or 2m
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
    let plan = Plan::make(&args.group, args.to.as_deref(), &status).map_err(Failure::failed)?;
    confirm(args, &plan)?;
    let drill = Exercise {
        args,
        socket,
        tool,
        plan,
    };
    let mut moves = Vec::new();
    let outcome = drill.run(&mut moves);
    // What is still under way goes on; otherwise an exercise leaves no wish behind.
    let under_way = |failure: &Failure| failure.code == Failure::TIMED_OUT;
    if !outcome.as_ref().is_err_and(under_way) {
        drill.end_giving();
    }
    drill.note(&moves);
    if args.json && !moves.is_empty() {
        let group = drill.plan.group.as_str();
        let moves = &moves;
        print_text(&json_page(&DrillReport { group, moves })?)?;
    }
    outcome
}

/// Asks on a terminal; elsewhere `--yes` is needed.
fn confirm(args: &Drill, plan: &Plan) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    let (group, meaning) = (&plan.group, plan.meaning(args.back));
    if !io::stdin().is_terminal() {
        let text = format!(
            "{meaning} Nothing was done; if you are sure: hactl drill {} --yes",
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
}

impl Exercise<'_> {
    /// Moves it there, and back if that is wanted.
    fn run(&self, moves: &mut Vec<Moved>) -> Result<(), Failure> {
        let there = self.plan.direction;
        let back = self.args.back.then(|| there.reverse());
        for direction in [Some(there), back].into_iter().flatten() {
            let moved = self.go(direction)?;
            self.tell(&moved)?;
            moves.push(moved);
        }
        Ok(())
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
        Failure {
            code,
            text: format!(
                "the drill of {group} did not succeed: {why}\nnow:\n{places}\
                 what to do: `hactl why {group}` says what happened, and `hactl status` what is wrong; \
                 `hactl takeover {group}`, typed on a node that is well, moves it there"
            ),
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
            eprintln!("hactl: warning: end the giving away of the group with hactl standby off");
        }
    }

    fn tell(&self, moved: &Moved) -> Result<(), Failure> {
        if self.args.json {
            return Ok(());
        }
        print_text(&self.line(moved))
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
            returned: moves.len() > 1,
            back_us: moves.get(1).and_then(micros),
        };
        if let Err(error) = self.tool.ask(&request, ANSWER_TIMEOUT) {
            eprintln!("hactl: warning: the drill is not in the journal: {error}");
        }
    }
}

impl Moved {
    fn gap(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.gap_ms? / 1000.0).ok()
    }
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
