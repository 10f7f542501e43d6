//! A whole cluster in virtual time, in one thread: the engines that the daemon runs, a network, machines and agents
//! that do what a scenario tells them. Nothing here reads a clock; the same steps give the same run.

mod machine;
mod world;

pub use machine::{Behaviour, Machine};
pub use world::{Double, Way, World};
