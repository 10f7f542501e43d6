//! A resource word of haresources, taken apart.

/// A resource word: `name::arg1::arg2`, or an address alone (which means `IPaddr`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The word as written.
    pub text: String,
    /// What comes before the first `::`; `IPaddr` for an address alone.
    pub name: String,
    /// The arguments, empty ones dropped as heartbeat does.
    pub args: Vec<String>,
}
