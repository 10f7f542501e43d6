//! `hactl`, the command line tool: a subcommand becomes a request to the daemon, a text and an exit code.
//!
//! Called by the name of one of heartbeat's tools, it behaves like that tool ([`compat`]). Called by the name of the
//! demo's daemon, it is that daemon ([`demo`]).

// A page of text is built once per command: readable code matters more than its allocations.
#![allow(clippy::format_push_string)]

mod adopt;
mod agent;
mod args;
mod commands;
mod compat;
mod demo;
mod drbd;
mod drill;
mod events;
mod fence;
mod import;
mod init;
mod journal;
mod rehearse;
mod replay;
mod screen;
mod sim;
mod status;
mod support;

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use had::control::client::ClientError;
use had::text::{mask_secrets, printable_lines};

/// Why a command did not succeed.
struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// The command was refused or failed.
    const FAILED: u8 = 1;
    /// Wrong usage.
    const USAGE: u8 = 2;
    /// The daemon does not run.
    const NO_DAEMON: u8 = 3;
    /// There was no answer in time.
    const TIMED_OUT: u8 = 4;

    /// A failure with [`Self::FAILED`].
    fn failed(reason: impl std::fmt::Display) -> Self {
        Failure {
            code: Self::FAILED,
            text: reason.to_string(),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::NoDaemon { .. } | ClientError::Closed => Failure::NO_DAEMON,
            ClientError::TimedOut { .. } => Failure::TIMED_OUT,
            ClientError::NotAllowed { .. }
            | ClientError::Version(_)
            | ClientError::Garbled(_)
            | ClientError::Io(_)
            | ClientError::Refused(_) => Failure::FAILED,
        };
        let mut text = error.to_string();
        if !matches!(
            error,
            ClientError::NoDaemon { .. } | ClientError::NotAllowed { .. }
        ) && let Some(source) = error.source()
        {
            text = format!("{text}: {source}");
        }
        Failure { code, text }
    }
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let called = words.first().map(Path::new).and_then(Path::file_name);
    let called = called.unwrap_or_default().to_string_lossy();
    // The daemon of the demo starts this program again.
    if let Some(code) = had::store::journal::process::serve_if_asked() {
        return code;
    }
    if called == demo::DAEMON {
        return demo::daemon();
    }
    if let Some(code) = compat::run(&called, words.get(1..).unwrap_or_default(), None) {
        return code;
    }
    let cli = match args::Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe, as in `hactl --help | head`, is no error.
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match commands::run(cli) {
        Ok(code) => code,
        Err(failure) => {
            let text = printable_lines(&mask_secrets(&failure.text));
            eprintln!("hactl: {text}");
            ExitCode::from(failure.code)
        }
    }
}
