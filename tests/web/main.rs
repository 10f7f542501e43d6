//! `had-web` beside real daemons in a lab: metrics, health checks of a load balancer, the page, and hostile clients.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod access;
mod attention;
mod browser;
#[allow(dead_code)] // what only others of its users need
#[path = "../netns/common.rs"]
mod cluster;
mod hostile;
#[path = "../netns/judge.rs"]
mod judge;
mod metrics;
mod owner;
mod page;
mod prometheus;
mod rig;
mod schema;
