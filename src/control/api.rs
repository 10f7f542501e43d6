//! What is said on the control socket: one JSON object per line each way, answered in order.
//!
//! ```text
//! > {"version":1,"request":{"do":"standby","words":["all"],"lasting":true,"wait":true}}
//! < {"version":1,"result":{"Ok":{"done":"..."}}}
//! < {"version":1,"result":{"Err":{"code":"refused","text":"..."}}}
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::NodeName;
use crate::model::drbd::Standing;
use crate::model::journal::Entry;
use crate::model::status::Status;

/// The version of this language. A daemon answers another version with [`Code::Version`].
pub const VERSION: u32 = 1;

/// Where the daemon listens.
pub const SOCKET: &str = "/run/had/had.sock";

/// More journal entries than this are not answered at once: an answer is held in memory whole.
pub const HISTORY_MAX: usize = 1000;

/// One line from a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// [`VERSION`] of the sender.
    pub version: u32,
    /// What is wanted.
    pub request: Request,
}

/// What a client wants. Group words are what the user typed; the daemon turns them into groups
/// ([`super::select`]), because it knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The node's view of the whole; [`Answer::Status`].
    Status,
    /// The same again and again: at once, then whenever it changed, at most every 200 ms and at
    /// least each second (times of silence grow). The server does this by asking for [`Request::Status`];
    /// it never reaches the daemon itself.
    Subscribe,
    /// Give groups up.
    Standby {
        /// Which.
        words: Vec<String>,
        /// Whether to take them no more until told (`hactl standby`), or only to yield (`hb_standby`).
        lasting: bool,
        /// Whether the answer comes with the outcome, or as soon as the command is accepted.
        wait: bool,
    },
    /// End standby.
    Unstandby {
        /// For which groups.
        words: Vec<String>,
    },
    /// Take groups over.
    Takeover {
        /// Which.
        words: Vec<String>,
        /// Also against an address that still answers, and against a stuck dead node.
        force: bool,
        /// As in [`Request::Standby`].
        wait: bool,
    },
    /// Forget the failure or the stuck stop of a group on this node.
    Clear {
        /// Which group.
        group: String,
    },
    /// Nobody shall start, stop or move these groups; or may again.
    Maintenance {
        /// Which.
        words: Vec<String>,
        /// On or off.
        on: bool,
    },
    /// The newest decisions about a group, or about the node and all groups; [`Answer::Decisions`], oldest first.
    Why {
        /// Which group.
        group: Option<String>,
        /// Only what was decided until then, in wall-clock milliseconds since 1970.
        at_ms: Option<u64>,
    },
    /// The newest journal entries, oldest first; [`Answer::Decisions`].
    History {
        /// How many, at most [`HISTORY_MAX`].
        limit: usize,
    },
    /// Read the configuration anew; [`Answer::Plan`] where it is a dry run.
    Reload {
        /// Only say what would change.
        dry_run: bool,
    },
    /// How DRBD resources stand on every node; [`Answer::Drbd`].
    Drbd {
        /// One of drbd.conf; those of haresources where it is not said.
        resource: Option<String>,
    },
    /// DRBD lost the peer of a resource: have the peer's data outdated before this side goes on without it;
    /// [`Answer::Fenced`].
    FencePeer {
        /// Its name in drbd.conf.
        resource: String,
        /// How long an answer is waited for, in milliseconds.
        timeout_ms: u64,
    },
    /// End the daemon without touching a resource; the peers wait for its return.
    Restart,
    /// The value of an ha.cf directive as in force; [`Answer::Done`] with the bare value.
    Parameter {
        /// The directive.
        name: String,
    },
}

impl Request {
    /// Whether this only looks. Everybody may look; to command takes root or the group `haclient`.
    pub fn only_looks(&self) -> bool {
        match self {
            Self::Status
            | Self::Subscribe
            | Self::Why { .. }
            | Self::History { .. }
            | Self::Parameter { .. } => true,
            Self::Standby { .. }
            | Self::Unstandby { .. }
            | Self::Takeover { .. }
            | Self::Clear { .. }
            | Self::Maintenance { .. }
            | Self::Drbd { .. }
            | Self::FencePeer { .. }
            | Self::Reload { .. }
            | Self::Restart => false,
        }
    }
}

/// One line from the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// [`VERSION`] of the daemon.
    pub version: u32,
    /// What came of it.
    pub result: Result<Answer, Refusal>,
}

/// A good end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The node's view of the whole.
    Status(Box<Status>),
    /// A sentence for the user.
    Done(String),
    /// Journal entries, oldest first.
    Decisions(Vec<Entry>),
    /// What a reload would do.
    Plan(String),
    /// DRBD resources, each with its sides.
    Drbd(Vec<Replicated>),
    /// What became of a peer's data.
    Fenced {
        /// The exit code of a `fence-peer` handler, drbd.conf(5).
        code: u8,
        /// The same as a sentence.
        text: String,
    },
}

/// A DRBD resource as every node that has it tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicated {
    /// Its name in drbd.conf.
    pub resource: String,
    /// Each node, this one first; an error is a sentence why nothing is known of it.
    pub sides: Vec<(NodeName, Result<Standing, String>)>,
}

/// A bad end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind.
    pub code: Code,
    /// A sentence that names the thing and the remedy.
    pub text: String,
}

impl Refusal {
    /// A refusal of that kind.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Refusal {
            code,
            text: text.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The line is no request.
    BadRequest,
    /// The line is of another [`VERSION`].
    Version,
    /// The user may not.
    Denied,
    /// Too many clients, or the daemon is ending.
    Busy,
    /// A group word that names no group, or several.
    NoSuchGroup,
    /// It cannot be done now, and nothing was changed.
    Refused,
    /// It was tried and failed.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Line, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn the_documented_line_is_what_is_spoken() {
        let line = Line {
            version: 1,
            request: Request::Standby {
                words: vec!["all".into()],
                lasting: true,
                wait: true,
            },
        };
        let text = r#"{"version":1,"request":{"do":"standby","words":["all"],"lasting":true,"wait":true}}"#;
        assert_eq!(serde_json::to_string(&line).unwrap(), text);
        assert_eq!(parse(text).unwrap(), line);
    }

    #[test]
    fn unknown_requests_and_fields_are_refused() {
        assert!(parse(r#"{"version":1,"request":{"do":"explode"}}"#).is_err());
        let misspelt =
            r#"{"version":1,"request":{"do":"takeover","words":[],"wait":true,"forse":true}}"#;
        assert!(parse(misspelt).is_err());
    }
}
