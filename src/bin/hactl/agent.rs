//! `hactl agent`: tests a resource agent, lists all agents, shows the manual or the parameters of one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use had::agent::contract::TestResult;
use had::agent::external::ocf::metadata::MetaData;
use had::assembly::agents;
use had::control::api::{ControlAnswer, Request};
use had::control::client::ControlClient;

use crate::Failure;
use crate::commands::print_text;
use crate::screen::print;

/// Time for the daemon to say what it runs.
const STATUS_TIMEOUT: Duration = Duration::from_secs(20);

/// The subcommands of `hactl agent`.
#[derive(Subcommand)]
pub enum Command {
    /// Start and stop a resource, twice each, with a monitor after each, and report what its agent does wrong
    Test {
        /// The resource, written as in haresources: such as nginx::/etc/nginx/web.conf or ocf:heartbeat:Dummy
        #[arg(value_name = "RESOURCE")]
        word: String,
        /// Configuration folder
        #[arg(long, value_name = "DIR", default_value = "/etc/ha.d")]
        dir: PathBuf,
    },
    /// List the agents that haresources can use on this machine
    List {
        /// Configuration folder
        #[arg(long, value_name = "DIR", default_value = "/etc/ha.d")]
        dir: PathBuf,
    },
    /// Show how a built-in is written, the manual of a script in resource.d, or the parameters and default timeouts of an OCF agent
    Show {
        /// The agent: such as nginx, or ocf:heartbeat:nginx
        #[arg(value_name = "AGENT")]
        word: String,
        /// Configuration folder
        #[arg(long, value_name = "DIR", default_value = "/etc/ha.d")]
        dir: PathBuf,
    },
}

/// Runs it.
pub fn run(command: Command, socket: &Path) -> Result<ExitCode, Failure> {
    match command {
        Command::Test { word, dir } => test_agent(&dir, &word, socket),
        Command::List { dir } => {
            print_text(&list_text(&agents::list_agents(&dir)))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Show { word, dir } => {
            let built_in = agents::built_in_manual(&dir, &word);
            if let Some(manual) = built_in.or_else(|| agents::script_manual(&dir, &word)) {
                print_text(&manual)?;
                return Ok(ExitCode::SUCCESS);
            }
            let (name, meta) = agents::ocf_metadata(&dir, &word).map_err(Failure::failed)?;
            print_text(&parameters_text(&name, &meta))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn test_agent(dir: &Path, word: &str, socket: &Path) -> Result<ExitCode, Failure> {
    if let Some(group) = managing_group(word, socket) {
        return Err(Failure::failed(format!(
            "{word} belongs to group {group}, which the daemon manages: a test would start and stop it behind the daemon's back\n  \
             = test it with other arguments, or on a machine outside the cluster"
        )));
    }
    // Even if nobody reads the output, the test goes on to its end, so that no resource stays running.
    let mut tell = |what: &str, step: &TestResult| drop(print(&step_line(what, step)));
    let broken = agents::test_agent(dir, word, &mut tell).map_err(Failure::failed)?;
    if broken == 0 {
        print_text(&format!("{word} passes all tests\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::failed(format!(
        "{word} fails the tests marked with !"
    )))
}

/// The group that the resource belongs to, if the daemon runs.
fn managing_group(word: &str, socket: &Path) -> Option<String> {
    let mut client = ControlClient::connect(socket).ok()?;
    let Ok(ControlAnswer::Status(status)) = client.ask(&Request::Status, STATUS_TIMEOUT) else {
        return None;
    };
    let mut groups = status.groups.iter();
    let group = groups.find(|g| g.resources.iter().any(|r| r.token == word))?;
    Some(group.name.to_string())
}

fn step_line(what: &str, step: &TestResult) -> String {
    match step {
        TestResult::Passed(took) => format!("   {what} ({:.2} s)\n", took.as_secs_f64()),
        TestResult::Violated(why) | TestResult::Refused(why) => format!("!  {what}: NO: {why}\n"),
        TestResult::Remark(why) => format!("   note: {why}\n"),
    }
}

fn list_text(kinds: &[(String, Vec<String>)]) -> String {
    let mut text = String::new();
    for (kind, names) in kinds.iter().filter(|(_, names)| !names.is_empty()) {
        text += &format!("{kind}:\n    {}\n", names.join("\n    "));
    }
    text
}

fn parameters_text(name: &str, meta: &MetaData) -> String {
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
        None => format!("{action} default"),
    });
    text += &format!("timeouts, unless ha.cf sets others: {}\n", times.join(", "));
    text
}
