//! Agents that are part of this program and need no script: file systems, DRBD, database servers, and `Delay`.
//! The built-ins for addresses are in [`super::address`].

pub mod drbd;
pub mod filesystem;
pub mod mysqld;
pub mod pseudo;
