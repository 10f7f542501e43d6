//! Texts that are read and texts that are shown, for every room: where a word stands, what is wrong with it, how a problem is
//! printed, durations and counts as people write them, what keeps a foreign text from steering a terminal, and
//! what hides passwords.
//!
//! Everything here is pure and uses no other room.

mod mistake;
mod place;
mod printable;
mod problem;
mod quantity;
mod secret;
mod source;
mod suggest;

pub use self::mistake::Mistake;
pub use self::place::Place;
pub use self::printable::{one_line, printable, printable_char, printable_lines};
pub use self::problem::{Problem, Problems, Severity};
pub use self::quantity::{
    DURATION_FORM, count, duration_for_people, duration_in_files, parse_duration,
};
pub use self::secret::{is_secret_name, mask_secrets, secret_values};
pub use self::source::{SourceLine, SourceWord, is_blank, quote, split_lines};
pub use self::suggest::{did_you_mean, nearest};
