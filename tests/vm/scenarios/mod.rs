//! What must happen, a file for each part of the acceptance.

pub mod boots;
pub mod database;
pub mod systemd;
