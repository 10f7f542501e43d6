//! Faults with real daemons on the real kernel. Each test has a cluster in a lab. Needs root and `/dev/net/tun`.
//!
//! A sampler looks at all nodes every 10 ms. An address with two owners fails any test, unless the test says why and for
//! how long it allows that.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod addresses;
mod blocked;
mod clients;
mod common;
mod facts;
mod fencing;
mod flood;
mod foreign;
mod freezer;
mod hostile;
mod identity;
mod logs;
mod machine;
mod network;
mod partition;
mod readiness;
mod relay;
mod restart;
mod scripts;
mod standstill;
mod store;
mod time;
mod witness;
