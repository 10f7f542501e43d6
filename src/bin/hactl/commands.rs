//! Each subcommand: one request, and what to print.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use had::control::api::{Answer, Code, Request, SOCKET};
use had::control::client::{Client, ClientError};
use had::model::Generation;
use had::model::status::Status;

use crate::args::{Cli, Command, Wait};
use crate::screen::{Screen, print};
use crate::{Failure, compat, demo, journal, rehearse, replay, sim, status};

/// The daemon answers what needs no waiting at once; this is for a machine under heavy load.
const SOON: Duration = Duration::from_secs(20);

/// Runs the command line.
pub fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let socket = socket(cli.socket);
    let tool = Tool { socket: &socket };
    match cli.command {
        Command::Status { json, watch: false } => tool.status(json)?,
        Command::Status { json, watch: true } => tool.watch(json)?,
        Command::Standby { words, wait } => tool.standby(words, &wait)?,
        Command::Takeover { words, force, wait } => {
            let waits = !wait.no_wait;
            let request = Request::Takeover {
                words,
                force,
                wait: waits,
            };
            tool.move_groups(&request, &wait)?;
        }
        Command::Why { group, ago } => tool.why(group, ago)?,
        Command::History { limit } => tool.history(limit)?,
        Command::Clear { group } => tool.say(&Request::Clear { group })?,
        Command::Maintenance { switch, words } => {
            let on = switch == "on";
            tool.say(&Request::Maintenance { words, on })?;
        }
        Command::Reload { dry_run } => tool.say(&Request::Reload { dry_run })?,
        Command::Restart { wait } => tool.restart(&wait)?,
        Command::Check { dir, node } => return Ok(check(&dir, node.as_deref())),
        Command::Sim(args) => return sim::run(&args),
        Command::Replay(args) => return replay::run(&args),
        Command::Agent(command) => return crate::agent::run(command, &socket),
        Command::Drbd {
            resource,
            command: None,
        } => crate::drbd::view(&socket, resource)?,
        Command::Drbd {
            command: Some(command),
            ..
        } => return Ok(crate::drbd::run(&command, &socket)),
        Command::DrbdPeerOutdater(rest) => {
            return Ok(compatible("drbd-peer-outdater", &rest.words, &socket));
        }
        Command::Lab(args) => return Ok(had::lab::cli::run(args, rehearse::of, demo::run)),
        Command::HbStandby(rest) => return Ok(compatible("hb_standby", &rest.words, &socket)),
        Command::HbTakeover(rest) => return Ok(compatible("hb_takeover", &rest.words, &socket)),
        Command::ClStatus(rest) => return Ok(compatible("cl_status", &rest.words, &socket)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what is wrong with a folder, or what it means.
fn check(dir: &Path, node: Option<&str>) -> ExitCode {
    let node = node.map_or_else(had::assembly::own_name, had::model::NodeName::new);
    let (text, good) = had::assembly::check(dir, &node);
    print!("{text}");
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Where the daemon listens: as said, as in the environment, or as always.
pub fn socket(said: Option<PathBuf>) -> PathBuf {
    said.or_else(|| std::env::var_os("HAD_SOCKET").map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(SOCKET))
}

fn compatible(name: &str, words: &[std::ffi::OsString], socket: &Path) -> ExitCode {
    compat::run(name, words, Some(socket.to_owned())).unwrap_or(ExitCode::FAILURE)
}

struct Tool<'a> {
    socket: &'a Path,
}

impl Tool<'_> {
    fn ask(&self, request: &Request, within: Duration) -> Result<Answer, ClientError> {
        Client::connect(self.socket)?.ask(request, within)
    }

    fn get_status(&self, within: Duration) -> Result<Status, Failure> {
        match self.ask(&Request::Status, within)? {
            Answer::Status(status) => Ok(*status),
            _ => Err(odd_answer()),
        }
    }

    fn status(&self, json: bool) -> Result<(), Failure> {
        let status = self.get_status(SOON)?;
        if json {
            let text = serde_json::to_string_pretty(&status).map_err(|e| failed(&e))?;
            return show(&(text + "\n"));
        }
        show(&status::render(&status, Screen::stdout()))
    }

    /// Ends with the daemon, or at Ctrl-C by the signal's own doing: nothing is to be put back.
    fn watch(&self, json: bool) -> Result<(), Failure> {
        let mut client = Client::connect(self.socket)?;
        client.send(&Request::Subscribe)?;
        loop {
            let Answer::Status(status) = client.receive(SOON)? else {
                return Err(odd_answer());
            };
            if json {
                let text = serde_json::to_string(&status).map_err(|e| failed(&e))?;
                show(&(text + "\n"))?;
            } else {
                let screen = Screen::stdout();
                show(&frame(&status::render(&status, screen), screen))?;
            }
        }
    }

    fn standby(&self, words: Vec<String>, wait: &Wait) -> Result<(), Failure> {
        if words.first().is_some_and(|word| word == "off") {
            let mut words: Vec<String> = words.into_iter().skip(1).collect();
            if words.is_empty() {
                words.push("all".to_owned());
            }
            return self.say(&Request::Unstandby { words });
        }
        let request = Request::Standby {
            words,
            lasting: true,
            wait: !wait.no_wait,
        };
        self.move_groups(&request, wait)
    }

    /// Says the outcome, and who has what now: also after a failure, when it matters most.
    fn move_groups(&self, request: &Request, wait: &Wait) -> Result<(), Failure> {
        let within = if wait.no_wait { SOON } else { wait.timeout };
        let outcome = self.ask(request, within);
        let tried = match &outcome {
            Ok(_) | Err(ClientError::TimedOut { .. }) => true,
            Err(ClientError::Refused(refusal)) => refusal.code == Code::Failed,
            Err(_) => false,
        };
        let mut text = match &outcome {
            Ok(answer) => sentence(answer)?,
            Err(_) => String::new(),
        };
        if tried
            && !wait.no_wait
            && let Ok(status) = self.get_status(SOON)
        {
            text += &status::owners(&status, Screen::stdout());
        }
        show(&text)?;
        outcome.map(drop).map_err(Failure::from)
    }

    /// For requests that are answered with a sentence.
    fn say(&self, request: &Request) -> Result<(), Failure> {
        // A reload checks what scripts and addresses there are, and that may take its time.
        let answer = self.ask(request, 3 * SOON)?;
        show(&sentence(&answer)?)
    }

    fn why(&self, group: Option<String>, ago: Option<Duration>) -> Result<(), Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let at_ms = ago.map(|ago| {
            let then = now.unwrap_or_default().saturating_sub(ago);
            u64::try_from(then.as_millis()).unwrap_or(u64::MAX)
        });
        self.entries(&Request::Why { group, at_ms })
    }

    fn history(&self, limit: usize) -> Result<(), Failure> {
        let limit = journal::limit(limit);
        self.entries(&Request::History { limit })
    }

    fn entries(&self, request: &Request) -> Result<(), Failure> {
        match self.ask(request, SOON)? {
            Answer::Decisions(entries) if entries.is_empty() => show("nothing is recorded\n"),
            Answer::Decisions(entries) => show(&journal::render(&entries, Screen::stdout())),
            _ => Err(odd_answer()),
        }
    }

    /// The daemon is back when it answers with a greater generation.
    fn restart(&self, wait: &Wait) -> Result<(), Failure> {
        let before = self.get_status(SOON)?.generation;
        let answer = self.ask(&Request::Restart, SOON)?;
        show(&sentence(&answer)?)?;
        if wait.no_wait {
            return Ok(());
        }
        let began = Instant::now();
        while began.elapsed() < wait.timeout {
            if self.generation(wait.timeout) > Some(before) {
                return show("the daemon is back\n");
            }
            sleep(Duration::from_millis(100));
        }
        Err(Failure {
            code: Failure::TIMED_OUT,
            text: format!(
                "the daemon ended and is not back within {:?}; start it (systemctl start had), or the other nodes take over",
                wait.timeout
            ),
        })
    }

    /// None while there is no daemon.
    fn generation(&self, within: Duration) -> Option<Generation> {
        let status = self.get_status(within.min(SOON)).ok()?;
        Some(status.generation)
    }
}

fn sentence(answer: &Answer) -> Result<String, Failure> {
    match answer {
        Answer::Done(text) | Answer::Plan(text) => Ok(format!("{}\n", text.trim_end())),
        Answer::Status(_) | Answer::Decisions(_) | Answer::Drbd(_) | Answer::Fenced { .. } => {
            Err(odd_answer())
        }
    }
}

/// On a terminal the page replaces the one before; what does not fit is cut off, for scrolling would leave
/// a mess.
fn frame(page: &str, screen: Screen) -> String {
    let Some(rows) = screen.rows else {
        return format!("{page}\n");
    };
    let lines: Vec<&str> = page.lines().collect();
    let mut text = "\x1b[H\x1b[2J".to_owned();
    if lines.len() < rows {
        return text + page;
    }
    let fit = rows.saturating_sub(2);
    for line in lines.iter().take(fit) {
        text += line;
        text.push('\n');
    }
    text += &format!("... {} more lines\n", lines.len().saturating_sub(fit));
    text
}

pub fn show(text: &str) -> Result<(), Failure> {
    print(text).map_err(|error| failed(&error))
}

pub fn failed(error: &dyn std::error::Error) -> Failure {
    Failure {
        code: Failure::FAILED,
        text: error.to_string(),
    }
}

pub fn odd_answer() -> Failure {
    Failure {
        code: Failure::FAILED,
        text: "the daemon answered something else than was asked".to_owned(),
    }
}
