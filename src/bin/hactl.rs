//! The tool.
use std::process::ExitCode;

use clap::Parser;
use had::lab::cli::LabArgs;

#[derive(Parser)]
enum Args {
    /// A whole cluster on this machine.
    Lab(LabArgs),
}

fn main() -> ExitCode {
    let Args::Lab(args) = Args::parse();
    // A plan written by hand, until the configuration can be read.
    had::lab::cli::run(args, |dir, _name| {
        let text = std::fs::read_to_string(dir.join("plan.json")).map_err(|e| e.to_string())?;
        serde_json::from_str(&text).map_err(|e| e.to_string())
    })
}
