//! Each subcommand sends one request to the daemon and prints the answer.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::CommandFactory as _;
use had::control::api::{ControlAnswer, RefusalCode, Request, SCHEMA, SOCKET};
use had::control::client::{ClientError, ControlClient};
use had::model::Generation;
use had::model::status::Status;
use had::text::duration_for_people;
use serde::Serialize;

use crate::args::{Cli, Command, Wait};
use crate::screen::{Screen, json_page, print};
use crate::{Failure, compat, demo, journal, rehearse, replay, sim, status};

/// For requests that the daemon answers at once, also on a machine under heavy load.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// For requests before which the daemon reads files and checks scripts and addresses. It ends its own checks sooner.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);

/// Exit code of `status`: there are problems, and every group runs.
const PROBLEMS: u8 = 5;
/// The same: a group does not run, or runs on several nodes.
const GROUP_DOWN: u8 = 6;

/// Runs the command line.
pub fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let socket = socket_path(cli.socket);
    let tool = Tool::new(&socket);
    match cli.command {
        Command::Status {
            json, watch: true, ..
        } => tool.watch_status(json)?,
        Command::Status { json, brief, .. } => return tool.show_status(json, brief),
        Command::Standby { words, wait } => tool.change_standby(words, &wait)?,
        Command::Takeover { words, force, wait } => {
            let waits = !wait.no_wait;
            let request = Request::Takeover {
                words,
                force,
                wait: waits,
            };
            tool.move_groups(&request, &wait)?;
        }
        Command::Why { group, ago, json } => tool.show_why(group, ago, json)?,
        Command::History { limit, json } => tool.show_history(limit, json)?,
        Command::Events(args) => crate::events::run(&socket, &args)?,
        Command::Clear { group } => tool.run_request(&Request::Clear { group })?,
        Command::Maintenance { switch, words } => {
            let on = switch == "on";
            tool.run_request(&Request::Maintenance { words, on })?;
        }
        Command::Reload { dry_run, force } => {
            tool.run_request(&Request::Reload { dry_run, force })?;
        }
        Command::Forget { node, yes: false } => {
            return Err(Failure::failed(meaning_of_forget(&node)));
        }
        Command::Fence(fence) => tool.fence(fence)?,
        Command::Forget { node, yes: true } => tool.run_request(&Request::Forget { node })?,
        Command::Stop { force, wait } => tool.stop_daemon(force, &wait)?,
        Command::Restart { force, wait } => tool.restart_daemon(force, &wait)?,
        Command::Check {
            dir,
            node,
            elsewhere,
            json,
        } => return check_folder(&dir, node.as_deref(), elsewhere, json),
        Command::Init(args) => crate::init::run(args)?,
        Command::Import(command) => return crate::import::run(command),
        Command::Adopt(command) => return crate::adopt::run(command),
        Command::Sim(args) => return sim::run(&args),
        Command::Replay(args) => return replay::run(&args),
        Command::Agent(command) => return crate::agent::run(command, &socket),
        Command::Drbd {
            resource,
            command: None,
        } => crate::drbd::show_resources(&socket, resource)?,
        Command::Drbd {
            command: Some(command),
            ..
        } => return Ok(crate::drbd::run(&command, &socket)),
        Command::Drill(args) => crate::drill::run(&args, &socket)?,
        Command::Support(args) => return crate::support::run(&args, &socket),
        Command::Schema => print_text(SCHEMA)?,
        Command::Completions { shell } => print_text(&completions(shell)?)?,
        Command::DrbdPeerOutdater(rest) => {
            return Ok(run_compat("drbd-peer-outdater", &rest.words, &socket));
        }
        Command::Lab(args) => return Ok(had::lab::cli::run(args, rehearse::of, demo::run)),
        Command::HbStandby(rest) => return Ok(run_compat("hb_standby", &rest.words, &socket)),
        Command::HbTakeover(rest) => return Ok(run_compat("hb_takeover", &rest.words, &socket)),
        Command::ClStatus(rest) => return Ok(run_compat("cl_status", &rest.words, &socket)),
    }
    Ok(ExitCode::SUCCESS)
}

/// The result of `check` for programs.
#[derive(Serialize)]
struct CheckReport {
    good: bool,
    text: String,
}

/// Prints the problems of a folder, or what it means.
fn check_folder(
    dir: &Path,
    node: Option<&str>,
    elsewhere: bool,
    json: bool,
) -> Result<ExitCode, Failure> {
    let node = node.map(had::model::NodeName::new);
    let (text, good) = if elsewhere {
        had::assembly::check_elsewhere(dir, node.as_ref())
    } else {
        had::assembly::check(dir, &node.unwrap_or_else(had::assembly::own_name))
    };
    if json {
        print_text(&json_page(&CheckReport { good, text })?)?;
    } else {
        print!("{text}");
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The daemon's socket: from the option, from the environment, or the default.
pub fn socket_path(option: Option<PathBuf>) -> PathBuf {
    option
        .or_else(|| std::env::var_os("HAD_SOCKET").map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(SOCKET))
}

fn run_compat(name: &str, words: &[std::ffi::OsString], socket: &Path) -> ExitCode {
    compat::run(name, words, Some(socket.to_owned())).unwrap_or(ExitCode::FAILURE)
}

/// Asks the daemon.
pub struct Tool<'a> {
    socket: &'a Path,
}

impl<'a> Tool<'a> {
    /// The daemon that listens there.
    pub fn new(socket: &'a Path) -> Self {
        Tool { socket }
    }

    pub fn ask(&self, request: &Request, within: Duration) -> Result<ControlAnswer, ClientError> {
        ControlClient::connect(self.socket)?.ask(request, within)
    }

    pub fn request_status(&self, within: Duration) -> Result<Status, Failure> {
        match self.ask(&Request::Status, within)? {
            ControlAnswer::Status(status) => Ok(*status),
            _ => Err(unexpected_answer()),
        }
    }

    fn show_status(&self, json: bool, brief: bool) -> Result<ExitCode, Failure> {
        let status = self.request_status(ANSWER_TIMEOUT)?;
        let text = if json {
            let value = status.to_json().map_err(Failure::failed)?;
            serde_json::to_string_pretty(&value).map_err(Failure::failed)? + "\n"
        } else if brief {
            status::render_brief(&status)
        } else {
            status::render_status(&status, Screen::stdout())
        };
        print_text(&text)?;
        Ok(if status.problems().is_empty() {
            ExitCode::SUCCESS
        } else if status.all_groups_run() {
            ExitCode::from(PROBLEMS)
        } else {
            ExitCode::from(GROUP_DOWN)
        })
    }

    /// Runs until the daemon ends or Ctrl-C.
    fn watch_status(&self, json: bool) -> Result<(), Failure> {
        let mut client = ControlClient::connect(self.socket)?;
        client.send(&Request::Subscribe)?;
        loop {
            let ControlAnswer::Status(status) = client.receive(ANSWER_TIMEOUT)? else {
                return Err(unexpected_answer());
            };
            if json {
                let value = status.to_json().map_err(Failure::failed)?;
                let text = serde_json::to_string(&value).map_err(Failure::failed)?;
                print_text(&(text + "\n"))?;
            } else {
                let screen = Screen::stdout();
                print_text(&terminal_frame(
                    &status::render_status(&status, screen),
                    screen,
                ))?;
            }
        }
    }

    fn change_standby(&self, words: Vec<String>, wait: &Wait) -> Result<(), Failure> {
        if words.first().is_some_and(|word| word == "off") {
            let mut words: Vec<String> = words.into_iter().skip(1).collect();
            if words.is_empty() {
                words.push("all".to_owned());
            }
            return self.run_request(&Request::Unstandby { words });
        }
        let request = Request::Standby {
            words,
            lasting: true,
            wait: !wait.no_wait,
        };
        self.move_groups(&request, wait)
    }

    /// Prints the result, and then the owner of each group: after a failure it matters even more.
    fn move_groups(&self, request: &Request, wait: &Wait) -> Result<(), Failure> {
        let within = if wait.no_wait {
            ANSWER_TIMEOUT
        } else {
            wait.timeout
        };
        let outcome = self.ask(request, within);
        let tried = match &outcome {
            Ok(_) | Err(ClientError::TimedOut { .. }) => true,
            Err(ClientError::Refused(refusal)) => refusal.code == RefusalCode::Failed,
            Err(_) => false,
        };
        let mut text = match &outcome {
            Ok(answer) => answer_text(answer)?,
            Err(_) => String::new(),
        };
        if tried
            && !wait.no_wait
            && let Ok(status) = self.request_status(ANSWER_TIMEOUT)
        {
            text += &status::render_owners(&status, Screen::stdout());
        }
        print_text(&text)?;
        outcome.map(drop).map_err(Failure::from)
    }

    /// Sends a request that is answered with a sentence, and prints it.
    pub fn run_request(&self, request: &Request) -> Result<(), Failure> {
        self.run_long_request(request, CHECK_TIMEOUT)
    }

    /// The same of a request whose answer may take so long.
    pub fn run_long_request(&self, request: &Request, within: Duration) -> Result<(), Failure> {
        let answer = self.ask(request, within)?;
        print_text(&answer_text(&answer)?)
    }

    fn show_why(
        &self,
        group: Option<String>,
        ago: Option<Duration>,
        json: bool,
    ) -> Result<(), Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let at_ms = ago.map(|ago| {
            let then = now.unwrap_or_default().saturating_sub(ago);
            u64::try_from(then.as_millis()).unwrap_or(u64::MAX)
        });
        self.show_entries(&Request::Why { group, at_ms }, json)
    }

    fn show_history(&self, limit: usize, json: bool) -> Result<(), Failure> {
        let limit = journal::limit_entries(limit);
        self.show_entries(&Request::History { limit }, json)
    }

    fn show_entries(&self, request: &Request, json: bool) -> Result<(), Failure> {
        match self.ask(request, ANSWER_TIMEOUT)? {
            ControlAnswer::Decisions(entries) if json => {
                let node = self.request_status(ANSWER_TIMEOUT)?.node;
                print_text(&journal::json_lines(&entries, &node)?)
            }
            ControlAnswer::Decisions(entries) if entries.is_empty() => {
                print_text("no journal entries\n")
            }
            ControlAnswer::Decisions(entries) => {
                print_text(&journal::render_entries(&entries, Screen::stdout()))
            }
            _ => Err(unexpected_answer()),
        }
    }

    fn stop_daemon(&self, force: bool, wait: &Wait) -> Result<(), Failure> {
        let answer = self.ask(&Request::Stop { force }, ANSWER_TIMEOUT)?;
        print_text(&answer_text(&answer)?)?;
        if wait.no_wait {
            return Ok(());
        }
        let began = Instant::now();
        while began.elapsed() < wait.timeout {
            if ControlClient::connect(self.socket).is_err() {
                return print_text("the daemon has ended\n");
            }
            sleep(Duration::from_millis(100));
        }
        Err(Failure {
            code: Failure::TIMED_OUT,
            text: format!(
                "the daemon still stops its groups after {}; hactl status shows which",
                duration_for_people(wait.timeout)
            ),
        })
    }

    /// The daemon is running again when it answers with a higher generation.
    fn restart_daemon(&self, force: bool, wait: &Wait) -> Result<(), Failure> {
        let before = self.request_status(ANSWER_TIMEOUT)?.generation;
        let answer = self.ask(&Request::Restart { force }, CHECK_TIMEOUT)?;
        print_text(&answer_text(&answer)?)?;
        if wait.no_wait {
            return Ok(());
        }
        let began = Instant::now();
        while began.elapsed() < wait.timeout {
            if self.daemon_generation(wait.timeout) > Some(before) {
                return print_text("the daemon is running again\n");
            }
            sleep(Duration::from_millis(100));
        }
        Err(Failure {
            code: Failure::TIMED_OUT,
            text: format!(
                "the daemon ended and did not come back within {}; start it (systemctl start had) before the other nodes take over",
                duration_for_people(wait.timeout)
            ),
        })
    }

    /// `None` while there is no daemon.
    fn daemon_generation(&self, within: Duration) -> Option<Generation> {
        let status = self.request_status(within.min(ANSWER_TIMEOUT)).ok()?;
        Some(status.generation)
    }
}

/// What a shell reads to complete the command line.
fn completions(shell: clap_complete::Shell) -> Result<String, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hactl", &mut script);
    String::from_utf8(script).map_err(Failure::failed)
}

/// What an administrator says with `hactl forget`.
fn meaning_of_forget(node: &str) -> String {
    format!(
        "`hactl forget {node}` says that {node} is gone for good: it is switched off, and will not run again with the old ha.cf. \
         While the list of voters changes, quorum is counted by the old list too, because {node} may still act by it. If it does \
         and you say that it is gone, two nodes may run the same group. Nothing was done; if you are sure: hactl forget {node} --yes"
    )
}

fn answer_text(answer: &ControlAnswer) -> Result<String, Failure> {
    match answer {
        ControlAnswer::Done(text) | ControlAnswer::Plan(text) => {
            Ok(format!("{}\n", text.trim_end()))
        }
        ControlAnswer::Status(_)
        | ControlAnswer::Decisions(_)
        | ControlAnswer::Drbd(_)
        | ControlAnswer::Fenced { .. } => Err(unexpected_answer()),
    }
}

/// On a terminal, a page replaces the one before. Lines that do not fit are cut off, because scrolling would
/// garble the screen.
fn terminal_frame(page: &str, screen: Screen) -> String {
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

/// Prints to standard output.
pub fn print_text(text: &str) -> Result<(), Failure> {
    print(text).map_err(Failure::failed)
}

/// The daemon sent an answer of another kind than the request asks for.
pub const UNEXPECTED_ANSWER: &str =
    "unexpected answer from the daemon; are had and hactl of the same version?";

/// [`UNEXPECTED_ANSWER`] as a failure.
pub fn unexpected_answer() -> Failure {
    Failure::failed(UNEXPECTED_ANSWER)
}
