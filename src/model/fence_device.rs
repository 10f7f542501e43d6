//! The `fence` lines of ha.cf: which programs switch off the machine of a node.

use std::path::PathBuf;

use super::NodeName;
use crate::text::Place;

/// All that can switch off the machine of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceDevice {
    /// The node.
    pub node: NodeName,
    /// Tried in order; one that succeeds is enough.
    pub levels: Vec<FenceLevel>,
}

/// One line: all its parts must succeed, such as the two power supplies of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceLevel {
    /// The parts.
    pub parts: Vec<FencePart>,
}

/// One fence agent with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FencePart {
    /// The agent as written.
    pub agent: String,
    /// Its file.
    pub program: PathBuf,
    /// What it gets on standard input, besides the action.
    pub options: Vec<(String, OptionValue)>,
    /// Where it is written.
    pub place: Place,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// As written.
    Plain(String),
    /// The first line of this file, read when it is used (`@/path`).
    File(PathBuf),
}
