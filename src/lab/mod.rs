//! A whole cluster on this machine: every node in namespaces of its own, and a network in user space between them.
//!
//! Nothing but a kernel with namespaces and `/dev/net/tun` is needed. The network cards of the hosts are TAP devices; the
//! other end of each is a descriptor in the switch, which forwards frames, and loses or delays them on request.
//!
//! The processes of a lab:
//!
//! ```text
//! caller (hactl lab, a test) --control socket--> serve          pid 1 of the lab's pid namespace; the switch; everything
//!   supervise                                      |             the caller asks for is done here
//!     waits for serve, then removes its folder     +-- init      pid 1 of a host's own namespaces; reaps, starts, signals
//!                                                        +-- had, agents, what `exec` runs
//! ```
//!
//! Nothing can be left over: `serve` ends when `supervise` does (a pipe breaks), `supervise` ends when the test that started
//! it does (another pipe breaks), and with `serve` the kernel ends everything in its pid namespace. A host crashes by the
//! end of its `init`, which ends everything there in the same way; its cards leave the switch first.
//!
//! Start reading with [`LabPlan`] and [`Lab`].

mod action;
pub mod cli;
mod client;
mod control;
pub mod derive;
mod disk;
mod exec;
mod faults;
mod host;
mod init;
mod net;
mod plan;
mod probe;
mod sampler;
mod serve;
mod service;
mod subnet;
mod supervise;
mod switch;

use std::io;

use nix::time::{ClockId, clock_gettime};

pub use action::LabAction;
pub use client::{Lab, RunningProbe, RunningSampler, STOP_TIMEOUT};
pub use control::{HeldAddress, HostStatus, LabStatus, LinkDirection, ProgramExit};
pub use exec::{EXEC_TIMEOUT, ExecOutput, SpawnedProgram};
pub use plan::{CLIENT, Iface, LabPlan, NodePlan, PingPlan};
pub use probe::{ProbeReport, run as ping_until};
pub use sampler::{DuplicateAddress, SamplerReport};

use crate::model::Time;

/// Why a lab could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The plan cannot be built.
    #[error("{0}")]
    Plan(String),
    /// The system refused; `doing` says what was attempted.
    #[error("{doing}: {source}")]
    System {
        /// What was attempted, with the names it was attempted on.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel's netlink refused.
    #[error("{doing}: {source}")]
    Netlink {
        /// What was attempted.
        doing: String,
        /// What the kernel said.
        source: rtnetlink::Error,
    },
    /// The lab's supervisor refused, for this reason.
    #[error("{0}")]
    Refused(String),
    /// The supervisor does not answer.
    #[error(
        "the lab {0} is not running (or its supervisor has died); start it with: hactl lab up DIR --name {0}"
    )]
    Gone(String),
}

/// Adds what was attempted to the error of a system call.
trait ErrorContext<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, LabError>;
}

impl<T, E: Into<io::Error>> ErrorContext<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|e| LabError::System {
            doing: what(),
            source: e.into(),
        })
    }
}

/// The current time on the clock that all hosts of a lab and the caller share.
fn now() -> Time {
    let read = clock_gettime(ClockId::CLOCK_BOOTTIME).map(std::time::Duration::from);
    Time::ZERO + read.unwrap_or_default()
}
