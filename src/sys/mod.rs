//! Thin wrappers over Linux. Nothing here makes decisions.

pub mod arp;
pub mod capability;
pub mod clock;
pub mod fdpass;
pub mod foreign_file;
pub mod http;
pub mod icmp;
pub mod kmsg;
pub mod local_time;
pub mod lock_file;
#[cfg(test)]
pub mod machine;
pub mod netlink;
pub mod oom;
pub mod own_address;
pub mod packet;
pub mod peer;
pub mod pidfd;
pub mod process;
pub mod realtime;
pub mod relay;
pub mod tap;
pub mod terminal;
pub mod tls;
pub mod udp;
