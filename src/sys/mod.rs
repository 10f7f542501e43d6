//! Thin hands on Linux. Nothing here decides.

pub mod arp;
pub mod local_time;
pub mod netlink;
pub mod packet;
pub mod peer;
pub mod terminal;
