//! A whole cluster in virtual time, in one thread: the engines that the daemon runs, a network, machines and agents
//! that do what a scenario tells them. Nothing here reads a clock; the same steps and the same seed give the same run.
//!
//! * `world`: the cluster, its time, and the order in which things happen;
//! * `machine`: one machine, its clock and its agents; `hands`: what the orders of its engine do to it;
//! * `network`: what becomes of a heartbeat on its way; `deeds`: what a scenario can do to all of it;
//! * `health`: looks at what runs, and checks of a machine;
//! * `invariant`: what must never be seen, a file each; `service`: how long groups were down; `random`: chance from a
//!   seed.
//!
//! A scenario is code that does such deeds to a [`World`], or data: a [`Script`] has a [`Setup`] and timed [`Fault`]s,
//! is printed and read in plain words (`words`, `setting`), drawn from a seed ([`draw()`]), run to a [`Report`]
//! ([`run()`]), and cut down to the few steps that break a promise ([`shrink()`]).
//!
//! `had` has no fencing yet, so there are no faults of fencing.

mod deeds;
mod draw;
mod fault;
mod hands;
mod health;
mod invariant;
mod machine;
mod network;
mod random;
mod report;
mod run;
mod script;
mod service;
mod setting;
mod setup;
mod shrink;
mod words;
mod world;

pub use deeds::Way;
pub use draw::{Faults, Kind, draw};
pub use fault::{Fault, Path, Spot};
pub use invariant::{Double, Invariant, Violation};
pub use machine::{Behaviour, Clock, Look, Machine, Tape};
pub use network::Weather;
pub use random::Random;
pub use report::{Entry, Report, Told};
pub use run::run;
pub use script::Script;
pub use service::Downtime;
pub use setting::Setting;
pub use setup::{Condition, Setup};
pub use shrink::{Shrunk, shrink};
pub use words::Mistake;
pub use world::World;
