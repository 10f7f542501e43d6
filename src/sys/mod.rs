//! Thin hands on Linux. Nothing here decides.

pub mod arp;
pub mod netlink;
pub mod packet;

#[cfg(test)]
pub mod machine;
