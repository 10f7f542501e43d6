//! Starts daemons that have ended again, as systemd does with `had.service`: a second later, whatever their exit code, unless
//! they were stopped (`hactl stop`) or their host is off.

use std::sync::Arc;
use std::time::Duration;

use super::control::ProgramExit;
use super::host::Host;
use super::serve::LabServer;

/// How often it is looked for daemons that have ended.
const POLL: Duration = Duration::from_millis(100);
/// `RestartSec` of the unit.
const PAUSE: Duration = Duration::from_secs(1);
/// `RestartPreventExitStatus` of the unit.
const STOPPED: ProgramExit = ProgramExit::Code(7);

/// Looks after all daemons, for ever.
pub fn keep_running(lab: &Arc<LabServer>) {
    loop {
        std::thread::sleep(POLL);
        for host in &lab.hosts {
            if has_ended(host) {
                std::thread::sleep(PAUSE);
                // Somebody else may have started it, or switched the host off.
                if let Err(error) = lab.start_had(host) {
                    eprintln!("{error}");
                }
            }
        }
    }
}

/// Whether the daemon has ended since the last look, and is wanted.
fn has_ended(host: &Host) -> bool {
    let Some(running) = host.running() else {
        return false;
    };
    running.had_pid().is_none() && running.take_exit().is_some_and(|exit| exit != STOPPED)
}
