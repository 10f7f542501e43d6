//! Thin hands on Linux: each file does one thing with the kernel and decides nothing.

pub mod clock;
pub mod icmp;
pub mod realtime;
pub mod udp;

#[cfg(test)]
mod testing;
