//! A resource word of haresources, split into its parts.

/// A resource word: `name::arg1::arg2`, or an address alone (which means `IPaddr`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The word as written.
    pub text: String,
    /// The part before the first `::`; `IPaddr` for an address alone.
    pub name: String,
    /// The arguments, without empty ones, as in heartbeat.
    pub args: Vec<String>,
}
