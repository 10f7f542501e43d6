//! The real agents of the package `resource-agents` in namespaces. Needs root, `/dev/net/tun`, loop devices, and the packages
//! that `tests/run` installs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod cluster;
#[path = "../netns/common.rs"]
#[allow(dead_code)]
mod common;
mod stage;
mod verdicts;
