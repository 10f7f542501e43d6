//! `hactl import`: a configuration made of the files of another manager.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use had::setup::draft::Draft;
use had::setup::keepalived::source::Disk;
use had::setup::keepalived::{Imported, Wanted, import};
use had::setup::{answers, folder};
use had::text::count;

use crate::Failure;
use crate::commands::print_text;
use crate::init::next_steps;

/// The managers whose files can be imported.
#[derive(Subcommand)]
pub enum Command {
    /// Make one configuration of the keepalived.conf of each node, and say what has no counterpart
    Keepalived(Keepalived),
}

/// The options of `hactl import keepalived`.
#[derive(Args)]
pub struct Keepalived {
    /// The keepalived.conf of each node; or one file that is the same on all, with --node for each
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// A node, in the order of the files: the name that `uname -n` prints on it, and its addresses, one for each link
    /// [default: router_id, and the unicast addresses]
    #[arg(long = "node", value_name = "NAME=ADDRESS,...", value_parser = answers::node)]
    nodes: Vec<(String, Vec<IpAddr>)>,
    /// A machine that answers pings and is none of the nodes, best the gateway: keepalived has no such arbiter
    #[arg(long = "ping", value_name = "ADDRESS", value_parser = answers::machine_address)]
    pings: Vec<IpAddr>,
    /// Where to write the files
    #[arg(long, value_name = "DIR", default_value = "/etc/ha.d")]
    out: PathBuf,
    /// Replace what is there
    #[arg(long)]
    force: bool,
}

/// Runs it.
pub fn run(command: Command) -> Result<ExitCode, Failure> {
    let Command::Keepalived(args) = command;
    let wanted = Wanted {
        files: args.files,
        nodes: args.nodes,
        pings: args.pings,
    };
    let imported = import(&wanted, &Disk);
    let Some(draft) = &imported.draft else {
        print_text(&imported.problems.page("nothing was written"))?;
        return Ok(ExitCode::FAILURE);
    };
    let mut files = folder::files(draft).map_err(Failure::failed)?;
    files.extend(imported.scripts.iter().cloned());
    if !args.force {
        folder::refuse_existing(&args.out, &files).map_err(Failure::failed)?;
    }
    folder::write(&args.out, &files).map_err(Failure::failed)?;
    print_text(&report(&imported, draft, &args.out))?;
    Ok(ExitCode::SUCCESS)
}

fn report(imported: &Imported, draft: &Draft, out: &std::path::Path) -> String {
    let written = format!(
        "written to {}: {}, {}, {}",
        out.display(),
        count(draft.nodes.len(), "node"),
        count(draft.groups.len(), "group"),
        count(imported.scripts.len(), "script"),
    );
    let mut names = vec!["ha.cf", "haresources", "authkeys"];
    for script in &imported.scripts {
        let folder = script.name.split('/').next().unwrap_or("");
        if !names.contains(&folder) {
            names.push(folder);
        }
    }
    let next = next_steps(out, &imported.nodes, &names, &["keepalived"]);
    imported.problems.page(&written) + &next
}
