//! A whole cluster in virtual time, in one thread: the engines that the daemon runs, a network, machines and agents
//! that do what a scenario tells them. Nothing here reads a clock; the same steps and the same seed give the same run.
//!
//! * `world`: the cluster, its time, and the order in which things happen;
//! * `machine`: one machine, its clock and its agents; `hands`: what the orders of its engine do to it;
//! * `network`: what becomes of a heartbeat on its way; `faults`: what a scenario can do to all of it;
//! * `witness`: what must never be seen; `random`: chance from a seed.

mod faults;
mod hands;
mod machine;
mod network;
mod random;
mod witness;
mod world;

pub use faults::Way;
pub use machine::{Behaviour, Clock, Machine};
pub use network::Weather;
pub use random::Random;
pub use witness::Double;
pub use world::World;
