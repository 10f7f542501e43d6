//! Thin hands on Linux.

pub mod local_time;
pub mod peer;
pub mod terminal;
