//! A whole cluster in virtual time, in one thread: the daemon's own engines, with simulated machines, agents and links.
//! Nothing here reads a clock: the same script and the same seed give the same run.
//!
//! * `world`: the cluster, its time, and the order in which things happen;
//! * `machine`: one machine, its clock and its agents; `effects`: what the actions of its engine do to it;
//! * `network`: what happens to a heartbeat on its way; `controls`: what a test or a script can do to the cluster;
//! * `health`: monitors of resources and checks of a machine;
//! * `invariant`: what must never happen, one file each; `downtime`: how long groups were down.
//!
//! A test calls the controls of a [`World`] directly. A [`FaultScript`] is the same as data: a [`ClusterSetup`] and timed
//! [`Fault`]s. It is read and printed in plain words (`fault/table` has them all), generated from a seed ([`generate()`]),
//! run to a [`RunReport`] ([`run()`]), and reduced to the few steps that break a promise ([`shrink()`]).
//!
//! `freeze` stops the daemon alone: its kernel and clock run on. `suspend` stops the whole machine, clock included.
//! A machine that is fenced loses its power; `fencing` has the power switches, which may be slow, fail or lie.

mod clones;
mod controls;
mod deliver;
mod downtime;
mod effects;
mod fault;
mod fencing;
mod generate;
mod health;
mod invariant;
mod machine;
mod machine_answers;
mod network;
mod random;
mod report;
mod run;
mod script;
mod script_words;
mod setting;
mod setup;
mod shrink;
mod world;

pub use clones::CloneKind;
pub use controls::CutDirection;
pub use downtime::Downtime;
pub use fault::{FAULT_WORDS, Fault, FaultWord, NetworkPath, StepLocation};
pub use fencing::PowerSwitch;
pub use generate::{FaultKind, FaultProfile, generate};
pub use invariant::{DoubleOwnership, Invariant, Violation};
pub use machine::{Behaviour, Clock, Machine, MachineRecording, ProbeBehaviour};
pub use network::Weather;
pub use random::Random;
pub use report::{RunReport, TimelineEntry, TimelineEvent};
pub use run::run;
pub use script::FaultScript;
pub use setting::ScriptSetting;
pub use setup::{ClusterSetup, MachineCondition};
pub use shrink::{ShrunkScript, shrink};
pub use world::World;
