//! heartbeat's own tools: `hb_standby`, `hb_takeover`, `cl_status` and `drbd-peer-outdater`, with their options, output and
//! exit codes.
//!
//! One difference: without a daemon, or without permission, they print an error and fail. heartbeat's tools left a
//! file behind that nobody read.

mod cl_status;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use had::control::api::Request;
use had::control::client::ControlClient;

use crate::commands;

/// The arguments that `hb_standby` and `hb_takeover` accept.
const GROUP_WORDS: [&str; 4] = ["all", "foreign", "local", "failback"];

/// Runs the tool of this name; `None` if it is not one of heartbeat's.
pub fn run(name: &str, words: &[OsString], socket: Option<PathBuf>) -> Option<ExitCode> {
    let text = words.iter().map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = text.collect();
    let socket = commands::socket_path(socket);
    match name {
        "hb_standby" => Some(move_groups(&words, name, &socket, |words| {
            Request::Standby {
                words,
                lasting: false,
                wait: false,
            }
        })),
        "hb_takeover" => Some(move_groups(&words, name, &socket, |words| {
            Request::Takeover {
                words,
                force: false,
                wait: false,
            }
        })),
        "drbd-peer-outdater" => Some(crate::drbd::run_outdater(&words, &socket)),
        "cl_status" => Some(cl_status::run(&words, &socket)),
        _ => None,
    }
}

fn move_groups(
    words: &[String],
    name: &str,
    socket: &std::path::Path,
    request: impl Fn(Vec<String>) -> Request,
) -> ExitCode {
    let word = match words {
        [] => "all",
        [word] if GROUP_WORDS.contains(&word.as_str()) => word,
        _ => {
            println!("usage: {name} [all|foreign|local|failback]");
            return ExitCode::FAILURE;
        }
    };
    if name == "hb_standby" {
        eprintln!("Going standby [{word}].");
    }
    let asked = ControlClient::connect(socket).and_then(|mut client| {
        let request = request(vec![word.to_owned()]);
        client.ask(&request, Duration::from_secs(20))
    });
    match asked {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
