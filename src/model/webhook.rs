//! `notify URL` of ha.cf: a server that is told what happens.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A server, and what it is sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Webhook {
    /// Whether the URL begins with `https`.
    pub secure: bool,
    /// The name or the address of the server, an address of IPv6 in brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path and the query, from `/` on. It often has a secret.
    pub path: String,
    /// The file with the secret that signs.
    pub secret: Option<PathBuf>,
    /// The file of the authorities that are believed instead of those of the machine.
    pub ca: Option<PathBuf>,
    /// The deadline of one attempt.
    pub timeout: Duration,
}

impl Webhook {
    /// The host as a name service or a certificate has it.
    pub fn name(&self) -> &str {
        let bare = self.host.strip_prefix('[');
        bare.and_then(|h| h.strip_suffix(']')).unwrap_or(&self.host)
    }
}

impl fmt::Display for Webhook {
    /// Without its path, which may have a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}/", self.host, self.port)
    }
}
