//! Runs programs, with a deadline, and leaves nothing of them behind.
//!
//! * [`supervise`] runs one process in its own group. [`system_tool`] runs a program of the system so, [`agent_call`] an
//!   action of somebody else's agent, [`hook`] a program that is notified of an event.
//! * [`blocking`] does in a thread what may hang inside the kernel.
//! * [`runner`] is what the runtime calls: one action on one step, within the step's deadline.
//! * [`environment`] is what scripts get from us; [`safe_path`] decides whether a file may be run as root.

pub mod agent_call;
pub mod blocking;
pub mod environment;
pub mod hook;
pub mod runner;
pub mod safe_path;
pub mod supervise;
pub mod system_tool;
