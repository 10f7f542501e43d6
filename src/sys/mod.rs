//! Thin hands on Linux: what needs the kernel and decides nothing.
pub mod fdpass;
pub mod tap;
