//! A whole cluster in virtual time, in one thread: the engines that the daemon runs, a network, machines and agents
//! that do what a scenario tells them. Nothing here reads a clock; the same steps and the same seed give the same run.
//!
//! * `world`: the cluster, its time, and the order in which things happen;
//! * `machine`: one machine, its clock and its agents; `effects`: what the orders of its engine do to it;
//! * `network`: what becomes of a heartbeat on its way; `controls`: what a scenario can do to all of it;
//! * `health`: looks at what runs, and checks of a machine;
//! * `invariant`: what must never be seen, a file each; `downtime`: how long groups were down; `random`: chance from a
//!   seed.
//!
//! A scenario is code that does such deeds to a [`World`], or data: a [`FaultScript`] has a [`ClusterSetup`] and timed [`Fault`]s,
//! is printed and read in plain words (`script_words`, `setting`), drawn from a seed ([`generate()`]), run to a [`RunReport`]
//! ([`run()`]), and cut down to the few steps that break a promise ([`shrink()`]).
//!
//! `had` has no fencing yet, so there are no faults of fencing.

mod controls;
mod downtime;
mod effects;
mod fault;
mod generate;
mod health;
mod invariant;
mod machine;
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

pub use controls::CutDirection;
pub use downtime::Downtime;
pub use fault::{Fault, NetworkPath, StepLocation};
pub use generate::{FaultKind, FaultProfile, generate};
pub use invariant::{DoubleOwnership, Invariant, Violation};
pub use machine::{Behaviour, Clock, Machine, MachineRecording, ProbeBehaviour};
pub use network::Weather;
pub use random::Random;
pub use report::{RunReport, TimelineEntry, TimelineEvent};
pub use run::run;
pub use script::FaultScript;
pub use script_words::ScriptError;
pub use setting::ScriptSetting;
pub use setup::{ClusterSetup, MachineCondition};
pub use shrink::{ShrunkScript, shrink};
pub use world::World;
