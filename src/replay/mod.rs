//! Replay: the engine runs again on a recording of its inputs, unchanged or with other settings.
//!
//! * [`recording_format`]: the lines of a recording;
//! * [`player`]: runs the engine on a recording and checks that it decides the same;
//! * [`what_if`]: beside it runs a second engine with other settings (`alternative`), whose actions end as
//!   `recorded_outcomes` says.

mod alternative;
pub mod player;
mod recorded_outcomes;
pub mod recording_format;
pub mod what_if;
