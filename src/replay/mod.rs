//! The engine run again on what a daemon has recorded, as it was or with other settings.
//!
//! * [`recording_format`]: what a recording is made of, as lines of text;
//! * [`player`]: the engine fed with what was recorded, checked against that fingerprint;
//! * [`what_if`]: beside it a second engine with other settings, and where the two part.

mod alternative;
pub mod player;
mod recorded_outcomes;
pub mod recording_format;
pub mod what_if;
