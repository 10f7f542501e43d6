//! `hactl agent`: tries an agent out, lists those that there are, shows what one can be told.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use had::agent::contract::Step;
use had::agent::ocf::metadata::MetaData;
use had::assembly::agents;
use had::control::api::{Answer, Request};
use had::control::client::Client;

use crate::Failure;
use crate::screen::print;

/// For the daemon to say what it runs.
const SOON: Duration = Duration::from_secs(20);

/// What to do with agents.
#[derive(Subcommand)]
pub enum Command {
    /// Start and stop one, twice each, with a look after each, and say where it breaks the contract
    Test {
        /// The resource as in haresources, such as nginx::/etc/nginx/web.conf or ocf:heartbeat:Dummy
        #[arg(value_name = "RESOURCE")]
        word: String,
        /// The configuration folder
        #[arg(long, value_name = "DIR", default_value = "/etc/ha.d")]
        dir: PathBuf,
    },
    /// List what may stand in haresources on this machine
    List {
        /// The configuration folder
        #[arg(long, value_name = "DIR", default_value = "/etc/ha.d")]
        dir: PathBuf,
    },
    /// Show the manual of a script of resource.d, or the parameters of an OCF agent and the times it advises
    Show {
        /// Such as nginx, or ocf:heartbeat:nginx
        #[arg(value_name = "AGENT")]
        word: String,
        /// The configuration folder
        #[arg(long, value_name = "DIR", default_value = "/etc/ha.d")]
        dir: PathBuf,
    },
}

/// Runs it.
pub fn run(command: Command, socket: &Path) -> Result<ExitCode, Failure> {
    match command {
        Command::Test { word, dir } => test(&dir, &word, socket),
        Command::List { dir } => {
            show(&listed(&agents::list(&dir)))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Show { word, dir } => {
            if let Some(manual) = agents::manual(&dir, &word) {
                show(&manual)?;
                return Ok(ExitCode::SUCCESS);
            }
            let (name, meta) = agents::show(&dir, &word).map_err(failed)?;
            show(&described(&name, &meta))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn test(dir: &Path, word: &str, socket: &Path) -> Result<ExitCode, Failure> {
    if let Some(group) = managed_in(word, socket) {
        return Err(failed(format!(
            "{word} is a resource of group {group}, which the daemon manages: a test would start and stop it behind its back\n  \
             = test it with other arguments, or on a machine outside of the cluster"
        )));
    }
    // A closed pipe is no reason to leave a resource running.
    let mut tell = |what: &str, step: &Step| drop(print(&line(what, step)));
    let broken = agents::test(dir, word, &mut tell).map_err(failed)?;
    if broken == 0 {
        show(&format!("{word} keeps the contract\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    Err(failed(format!("{word} breaks the contract")))
}

/// The group of the running daemon that the resource belongs to.
fn managed_in(word: &str, socket: &Path) -> Option<String> {
    let mut client = Client::connect(socket).ok()?;
    let Ok(Answer::Status(status)) = client.ask(&Request::Status, SOON) else {
        return None;
    };
    let mut groups = status.groups.iter();
    let group = groups.find(|g| g.resources.iter().any(|r| r.token == word))?;
    Some(group.name.to_string())
}

fn line(what: &str, step: &Step) -> String {
    match step {
        Step::Good(took) => format!("   {what} ({:.2} s)\n", took.as_secs_f64()),
        Step::Broken(why) | Step::Refused(why) => format!("!  {what}: NO: {why}\n"),
        Step::Remark(why) => format!("   note: {why}\n"),
    }
}

fn listed(kinds: &[(String, Vec<String>)]) -> String {
    let mut text = String::new();
    for (kind, names) in kinds.iter().filter(|(_, names)| !names.is_empty()) {
        text += &format!("{kind}:\n    {}\n", names.join("\n    "));
    }
    text
}

fn described(name: &str, meta: &MetaData) -> String {
    let mut text = format!("{name}: {}\n", meta.short);
    for parameter in &meta.parameters {
        text += &format!("    {}=", parameter.name);
        text += match (&parameter.default, parameter.required) {
            (Some(default), _) => default,
            (None, true) => "VALUE (must be given)",
            (None, false) => "",
        };
        if parameter.deprecated {
            text += " (deprecated)";
        }
        text += &format!("\n        {}\n", parameter.short);
    }
    let times = ["start", "stop", "monitor"].map(|action| match meta.timeout(action) {
        Some(time) => format!("{action} {}s", time.as_secs()),
        None => format!("{action} as usual"),
    });
    text += &format!("times unless ha.cf says otherwise: {}\n", times.join(", "));
    text
}

fn show(text: &str) -> Result<(), Failure> {
    print(text).map_err(|e| failed(e.to_string()))
}

fn failed(text: String) -> Failure {
    Failure {
        code: Failure::FAILED,
        text,
    }
}
