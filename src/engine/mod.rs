//! Decides. Facts in, orders out; time is an argument. Nothing here awaits, reads a clock, logs or touches the system.

pub mod action;
pub mod event;

pub use action::{Action, Call};
pub use event::{Command, Event, Kept, OrderId, Outcome};
