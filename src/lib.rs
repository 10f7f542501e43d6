//! `had`: a cluster resource manager in the style of Linux-HA heartbeat with `haresources`.
//!
//! The map. Imports point to the right only:
//!
//! ```text
//! bin -> runtime -> {agent, config, control, store, wire} -> {engine, sys} -> model
//!                    store -> replay -> engine      what a daemon recorded, run again
//!                    sim  -> engine      a whole cluster in virtual time, in one thread
//!                    lab  -> sys         a whole cluster in network namespaces on one machine
//! ```
//!
//! * [`model`]: the words all share: names, time, the heartbeat, decisions, the status.
//! * [`engine`]: decides. Plain data and functions: no socket, file, clock, log or await.
//! * [`config`]: `ha.cf`, `haresources`, `authkeys` to a [`config::Config`], or to every problem at once.
//! * [`wire`]: bytes to heartbeats and back, and the digest that makes them believable.
//! * [`agent`]: starts, stops and looks at resources.
//! * [`sys`]: thin hands on Linux.
//! * [`replay`]: the engine run again on what was recorded, as it was or with other settings.
//! * [`store`]: what outlives the process.
//! * [`control`]: the socket between `had` and `hactl`.
//! * [`runtime`]: the daemon: engine and world put together.
//!
//! Begin with `engine/mod.rs` and `model/`.
#![cfg_attr(test, allow(missing_docs))]

pub mod agent;
pub mod config;
pub mod control;
pub mod engine;
pub mod lab;
pub mod model;
pub mod replay;
pub mod runtime;
pub mod sim;
pub mod store;
pub mod sys;
pub mod wire;
