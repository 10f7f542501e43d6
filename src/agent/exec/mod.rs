//! Runs programs, with a deadline, and leaves nothing of them behind.
//!
//! * [`supervise`] runs one process in its own group. [`system_tool`] runs a program of the system so, [`agent_call`] an
//!   action of somebody else's agent, [`hook`] a program that is notified of an event.
//! * [`blocking`] does in a thread what may hang inside the kernel.
//! * [`runner`] is what the runtime calls: one action on one step, within the step's deadline.
//! * [`environment`] is what scripts get from us; [`safe_path`] decides whether a file may be run as root, [`program`] and
//!   [`sourced`] whether it can be run at all.

pub mod agent_call;
pub mod blocking;
pub mod environment;
pub mod hook;
pub mod program;
pub mod runner;
pub mod safe_path;
pub mod sourced;
pub mod supervise;
pub mod system_tool;
#[cfg(test)]
pub mod testing;

use std::os::unix::process::ExitStatusExt;

use self::supervise::Ended;
use crate::agent::AgentError;

/// How a program ended, worded to follow its name: `failed with exit code 3`.
pub fn ended(ended: Ended) -> String {
    match ended {
        Ended::Exited(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("failed with exit code {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended in an unknown way".to_owned(),
        },
        Ended::TimedOut => "timed out and was killed".to_owned(),
        Ended::Aborted => "was aborted".to_owned(),
        Ended::Unkillable => "hangs inside the kernel and cannot be killed (is a disk or a network file system gone?)".to_owned(),
    }
}

/// The error of the program `what`, with the end of its output where it printed something.
pub fn failure(what: &str, how: Ended, output: &str) -> AgentError {
    let mut text = format!("{what} {}", ended(how));
    if !output.is_empty() {
        text = format!("{text}: {output}");
    }
    match how {
        Ended::TimedOut | Ended::Unkillable => AgentError::TimedOut(text),
        Ended::Exited(_) | Ended::Aborted => AgentError::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn every_end_is_worded_in_one_place() {
        let exited = |raw| Ended::Exited(ExitStatus::from_raw(raw));
        for (how, text) in [
            (exited(3 << 8), "fsck failed with exit code 3: no disk"),
            (exited(9), "fsck was killed by signal 9: no disk"),
            (Ended::TimedOut, "fsck timed out and was killed: no disk"),
            (Ended::Aborted, "fsck was aborted: no disk"),
        ] {
            assert_eq!(failure("fsck", how, "no disk").to_string(), text);
        }
        let silent = failure("fsck", Ended::Aborted, "");
        assert_eq!(silent, AgentError::Failed("fsck was aborted".to_owned()));
    }
}
