//! What must happen, a file for each part of the acceptance.

pub mod boots;
pub mod busy;
pub mod database;
pub mod frozen;
pub mod links;
pub mod split;
pub mod systemd;
pub mod times;
