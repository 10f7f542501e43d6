//! Real daemons on the real kernel, each node in its own namespaces. Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod announce;
mod common;
mod daemon;
mod drbd;
mod drill;
mod events;
mod groups;
mod health;
mod imported;
mod interface;
mod judge;
mod lab_up;
mod media;
mod mysql;
mod notify;
mod planned;
mod replay;
mod seeds;
mod support;
mod tool;
mod web;
