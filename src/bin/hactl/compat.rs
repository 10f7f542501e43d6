//! heartbeat's own tools: `hb_standby`, `hb_takeover`, `cl_status`, `drbd-peer-outdater`, with their options, outputs and exit codes.
//!
//! In one thing they differ from those: where there is no daemon, or the user may not command, they say so
//! and fail, instead of leaving a file behind that nobody reads.

mod cl_status;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use had::control::api::Request;
use had::control::client::Client;

use crate::commands;

const WORDS: [&str; 4] = ["all", "foreign", "local", "failback"];

/// Runs the tool of that name; none when it is not one of these.
pub fn run(name: &str, words: &[OsString], socket: Option<PathBuf>) -> Option<ExitCode> {
    let text = words.iter().map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = text.collect();
    let socket = commands::socket(socket);
    match name {
        "hb_standby" => Some(hand_over(&words, name, &socket, |words| Request::Standby {
            words,
            lasting: false,
            wait: false,
        })),
        "hb_takeover" => Some(hand_over(&words, name, &socket, |words| {
            Request::Takeover {
                words,
                force: false,
                wait: false,
            }
        })),
        "drbd-peer-outdater" => Some(crate::drbd::outdater(&words, &socket)),
        "cl_status" => Some(cl_status::run(&words, &socket)),
        _ => None,
    }
}

fn hand_over(
    words: &[String],
    name: &str,
    socket: &std::path::Path,
    request: impl Fn(Vec<String>) -> Request,
) -> ExitCode {
    let word = match words {
        [] => "all",
        [word] if WORDS.contains(&word.as_str()) => word,
        _ => {
            println!("usage: {name} [all|foreign|local|failback]");
            return ExitCode::FAILURE;
        }
    };
    if name == "hb_standby" {
        eprintln!("Going standby [{word}].");
    }
    let asked = Client::connect(socket).and_then(|mut client| {
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
