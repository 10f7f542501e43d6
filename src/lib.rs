//! `had`: a cluster resource manager in the style of Linux-HA heartbeat with `haresources`.
//!
//! The map. Imports point to the right only:
//!
//! ```text
//! bin -> runtime -> {assembly, control, store, wire} -> ... -> {engine, sys} -> model
//!        runtime, bin -> assembly -> {agent, config, probe}
//!        runtime -> probe -> agent
//!        bin -> setup -> {assembly, agent}
//!        store -> replay -> engine
//!        agent, control, store, lab -> sys
//!        sim -> engine
//!        text: used by all, uses nothing
//! ```
//!
//! * [`model`]: the types that all rooms share: names, time, the heartbeat, decisions, the status.
//! * [`text`]: places in files, problems and how they are shown, durations, and what makes text harmless on a terminal.
//! * [`engine`]: decides. Plain data and functions: no socket, file, clock, log or await.
//! * [`config`]: reads `ha.cf`, `haresources` and `authkeys` into a [`config::Config`], or reports every problem at once.
//! * [`wire`]: encodes heartbeats to bytes and back, and signs and verifies them.
//! * [`agent`]: starts, stops and monitors resources.
//! * [`probe`]: checks whether a service or the node itself is well, for `check` and `monitor` of ha.cf.
//! * [`assembly`]: from the configuration files to runnable things: agents, monitors, hooks, the engine's cluster.
//! * [`setup`]: makes a first configuration, from answers or from the files of another manager.
//! * [`sys`]: thin wrappers over Linux.
//! * [`store`]: what outlives the process: state, leases, journal, recording.
//! * [`replay`]: runs the engine again on a recording, as it was or with other settings.
//! * [`control`]: the socket between `had` and `hactl`.
//! * [`runtime`]: the daemon: connects the engine to the network, the agents and the clients.
//! * [`sim`]: a whole cluster in virtual time, in one thread.
//! * [`lab`]: a whole cluster in network namespaces on one machine.
//!
//! Begin with `engine/mod.rs` and `model/`.
#![cfg_attr(test, allow(missing_docs))]

pub mod agent;
pub mod assembly;
pub mod config;
pub mod control;
pub mod engine;
pub mod lab;
pub mod model;
pub mod probe;
pub mod replay;
pub mod runtime;
pub mod setup;
pub mod sim;
pub mod store;
pub mod sys;
pub mod text;
pub mod wire;
