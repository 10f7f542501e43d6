//! `hactl support`: one archive for a bug report, with what this machine knows of the cluster, and without secrets.
//!
//! Every part has a deadline and may fail by itself; what failed is named in the archive and on the terminal. The archive gets
//! its name only when it is complete.

mod archive;
mod collect;
mod command;
mod file_end;
mod journal_copy;
mod redact;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use had::assembly::own_name;
use had::sys::local_time::LocalTime;
use had::text::count;

use crate::Failure;
use crate::commands::print_text;
use collect::Collector;

/// The options of `hactl support`.
#[derive(Args)]
pub struct Support {
    /// The archive; it must not exist yet [default: had-support-NODE-TIME.tar.gz in the current folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Configuration folder
    #[arg(long, value_name = "DIR", default_value = "/etc/ha.d")]
    dir: PathBuf,
    /// Folder with the journal and the recording
    #[arg(long, value_name = "DIR", default_value = "/var/lib/had")]
    state: PathBuf,
    /// Its systemd unit
    #[arg(long, value_name = "UNIT", default_value = "had")]
    unit: String,
}

/// A file of the archive.
struct Part {
    name: String,
    text: String,
}

/// Runs the command.
pub fn run(args: &Support, socket: &Path) -> Result<ExitCode, Failure> {
    let stem = format!(
        "had-support-{}-{}",
        own_name(),
        LocalTime::now().file_stamp()
    );
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| format!("{stem}.tar.gz").into());
    // Before anything is collected, which takes a while.
    archive::try_place(&out).map_err(Failure::failed)?;
    let mut collector = Collector::new(args, socket);
    collector.collect();
    let (parts, problems) = collector.finish();
    archive::write(&out, &stem, &parts).map_err(Failure::failed)?;
    print_text(&summary(&out, &parts, &problems))?;
    Ok(ExitCode::SUCCESS)
}

fn summary(out: &Path, parts: &[Part], problems: &[String]) -> String {
    let mut text = format!("{} has {}:\n", out.display(), count(parts.len(), "file"));
    for part in parts {
        text += &format!("  {}\n", part.name);
    }
    if !problems.is_empty() {
        text += "\nnot collected or not complete, as problems.txt in it says too:\n";
        for problem in problems {
            text += &format!("  {problem}\n");
        }
    }
    text += &format!(
        "\nauthkeys and files that are named with @ are not in it, and what looks like a password is masked. \
         Look into it before you send it, because had cannot know every secret: tar -xzf {}\n",
        out.display()
    );
    text
}
