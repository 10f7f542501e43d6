//! The engine run again on what a daemon has recorded, as it was or with other settings.
//!
//! * [`recording`]: what a recording is made of, as lines of text;
//! * [`player`]: the engine fed with what was recorded, checked against that fingerprint;
//! * [`what_if`]: beside it a second engine with other settings, and where the two part.

mod answers;
mod other;
pub mod player;
pub mod recording;
pub mod what_if;
