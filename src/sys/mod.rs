//! sys
pub mod fdpass;
pub mod tap;
