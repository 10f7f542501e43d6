//! Faults, with real daemons on the real kernel: a cluster in a lab for each test. Needs root and `/dev/net/tun`.
//!
//! While a test runs a sampler looks every 10 ms into all nodes: an address with two owners fails the test, whatever
//! it is about. A test that has to allow two owners says why, and for how long.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod clients;
mod common;
mod flood;
mod freezer;
mod hostile;
mod logs;
mod network;
mod partition;
mod restart;
mod scripts;
mod standstill;
mod store;
mod time;
