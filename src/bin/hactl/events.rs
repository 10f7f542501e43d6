//! `hactl events`: the decisions of the journal, once or as they are taken.
//!
//! The daemon pushes its status to those who follow. Whenever that tells something new, the newest decisions are asked for, and
//! those that were not there before are printed. The journal outlives the daemon, so a restart costs no decision.

mod since;
mod stream;

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use had::control::api::{ControlAnswer, HISTORY_MAX, RefusalCode, Request};
use had::control::client::{ClientError, ControlClient};
use had::control::essence::essence_of;
use had::model::NodeName;
use had::model::journal::Entry;
use had::text::printable;
use serde_json::Value;

use crate::Failure;
use crate::args::Events;
use crate::commands::{ANSWER_TIMEOUT, Tool, print_text, unexpected_answer};
use crate::journal;
use crate::screen::{Screen, reader_has_gone};
use stream::Seen;

pub use since::Since;

/// The daemon answers those who follow at least once a second.
const SILENCE: Duration = Duration::from_secs(4);
/// Time before a new attempt to reach it.
const RETRY: Duration = Duration::from_millis(200);
/// Decisions that change nothing in the status are asked for after this time.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Decisions in one answer while following, unless more were taken meanwhile.
const FEW: usize = 100;

/// Runs the command.
pub fn run(socket: &Path, args: &Events) -> Result<(), Failure> {
    let status = Tool::new(socket).request_status(ANSWER_TIMEOUT)?;
    let entries = ask(socket, HISTORY_MAX)?;
    let mut follower = Follower {
        socket,
        json: args.json,
        node: status.node,
        seen: Seen::default(),
        silent: false,
    };
    let wanted = |entry: &&Entry| match &args.since {
        Some(since) => since.is_before(entry.at_ms),
        None => !args.follow,
    };
    if entries.len() == HISTORY_MAX && entries.first().is_some_and(|e| wanted(&e)) {
        say(&format!(
            "note: these are the newest {HISTORY_MAX} decisions; older ones are not shown"
        ));
    }
    let shown: Vec<Entry> = entries.iter().filter(wanted).cloned().collect();
    follower.print(&shown)?;
    follower.seen.add(entries);
    if args.follow {
        follower.follow()
    } else {
        Ok(())
    }
}

fn ask(socket: &Path, limit: usize) -> Result<Vec<Entry>, ClientError> {
    let request = Request::History { limit };
    match ControlClient::connect(socket)?.ask(&request, ANSWER_TIMEOUT)? {
        ControlAnswer::Decisions(entries) => Ok(entries),
        _ => Ok(Vec::new()),
    }
}

struct Follower<'a> {
    socket: &'a Path,
    json: bool,
    node: NodeName,
    seen: Seen,
    /// Whether it was said that the daemon does not answer.
    silent: bool,
}

impl Follower<'_> {
    fn print(&self, entries: &[Entry]) -> Result<(), Failure> {
        if self.json {
            print_text(&journal::json_lines(entries, &self.node)?)
        } else {
            print_text(&journal::render_entries(entries, Screen::stdout()))
        }
    }

    /// Until nobody reads the output, or the daemon refuses for good.
    fn follow(&mut self) -> Result<(), Failure> {
        loop {
            match self.follow_one_daemon() {
                Ok(()) => return Ok(()),
                Err(Broken::Output(failure)) => return Err(failure),
                Err(Broken::Daemon(error)) if !passes(&error) => return Err(error.into()),
                Err(Broken::Daemon(error)) => self.note_silence(&error),
            }
            if reader_has_gone() {
                return Ok(());
            }
            sleep(RETRY);
        }
    }

    fn note_silence(&mut self, error: &ClientError) {
        if !std::mem::replace(&mut self.silent, true) {
            say(&format!("warning: {error}; trying again until it answers"));
        }
    }

    /// Until nobody reads the output any more.
    fn follow_one_daemon(&mut self) -> Result<(), Broken> {
        let mut client = ControlClient::connect(self.socket)?;
        client.send(&Request::Subscribe)?;
        let (mut essence, mut again, mut asked) = (Value::Null, true, Instant::now());
        loop {
            let ControlAnswer::Status(status) = client.receive(SILENCE)? else {
                return Err(Broken::Output(unexpected_answer()));
            };
            if reader_has_gone() {
                return Ok(());
            }
            let now = essence_of(&status.to_json().map_err(ClientError::Garbled)?);
            let changed = now != essence;
            if changed || again || asked.elapsed() >= ASK_EVERY {
                self.print_newer()?;
                asked = Instant::now();
                // Not before: a daemon that pushes its status may still fail to read its journal.
                if std::mem::take(&mut self.silent) {
                    say("note: the daemon answers again");
                }
            }
            // A decision may reach the journal a moment after the status shows it.
            (essence, again) = (now, changed);
        }
    }

    fn print_newer(&mut self) -> Result<(), Broken> {
        let mut entries = ask(self.socket, FEW)?;
        if entries.len() == FEW && !self.seen.joins(&entries) {
            entries = ask(self.socket, HISTORY_MAX)?;
        }
        if !self.seen.joins(&entries) {
            let whole = entries.len() < HISTORY_MAX || self.seen.last_seen_in(&entries).is_some();
            say(if whole {
                "warning: the journal has lost some of the decisions that were shown, and maybe others"
            } else {
                "warning: too many decisions at once; some are left out"
            });
        }
        let newer = self.seen.add(entries);
        self.print(&newer).map_err(Broken::Output)
    }
}

/// Why following came to an end.
enum Broken {
    /// The connection to the daemon.
    Daemon(ClientError),
    /// Something that another attempt does not help.
    Output(Failure),
}

impl From<ClientError> for Broken {
    fn from(error: ClientError) -> Self {
        Broken::Daemon(error)
    }
}

/// Whether another attempt may help. A daemon that starts or ends refuses for a moment.
fn passes(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(refusal) => {
            matches!(refusal.code, RefusalCode::Busy | RefusalCode::Failed)
        }
        ClientError::NotAllowed { .. } | ClientError::Version(_) | ClientError::Garbled(_) => false,
        ClientError::NoDaemon { .. }
        | ClientError::TimedOut { .. }
        | ClientError::Closed
        | ClientError::Io(_) => true,
    }
}

fn say(text: &str) {
    eprintln!("hactl: {}", printable(text));
}
