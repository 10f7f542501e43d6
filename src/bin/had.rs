//! The daemon. It stays in the foreground; a service manager is its parent.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use had::assembly::Folders;
use had::runtime;

/// Cluster resource manager in the style of Linux-HA heartbeat.
///
/// Reads ha.cf, haresources and authkeys, watches the other nodes, and moves groups of resources between them.
/// Stays in the foreground. SIGTERM: stop all groups in order and leave the cluster. SIGHUP: read the configuration again.
/// See had(8); hactl(8) shows its state and controls it.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Folder of ha.cf, haresources, authkeys and resource.d
    #[arg(long, value_name = "DIR", default_value = "/etc/ha.d")]
    config: PathBuf,
    /// Folder for what must survive a reboot: generation, terms, standby, journal
    #[arg(long, value_name = "DIR", default_value = "/var/lib/had")]
    state: PathBuf,
    /// Folder for the control socket and other files that are needed only until the next boot
    #[arg(long, value_name = "DIR", default_value = "/run/had")]
    run: PathBuf,
    /// Only read the configuration as for a start, print its errors, and exit: 0 if had would start, 1 if not
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    if let Some(code) = had::store::journal::process::serve_if_asked() {
        return code;
    }
    let args = Args::parse();
    let folders = Folders {
        config: args.config,
        state: args.state,
        run: args.run,
    };
    if args.check {
        return match had::assembly::check_start(&folders) {
            Ok(()) => ExitCode::SUCCESS,
            Err(text) => {
                print!("{text}");
                ExitCode::FAILURE
            }
        };
    }
    runtime::main(folders)
}
