//! The protocol of the control socket: one JSON object per line each way, answered in order.
//!
//! ```text
//! > {"version":1,"request":{"do":"standby","words":["all"],"lasting":true,"wait":true}}
//! < {"version":1,"result":{"Ok":{"done":"..."}}}
//! < {"version":1,"result":{"Err":{"code":"refused","text":"..."}}}
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::NodeName;
use crate::model::drbd::Standing;
use crate::model::journal::Entry;
use crate::model::status::Status;
use crate::text::{mask_secrets, printable_lines};

/// The version of this protocol. A daemon answers another version with [`RefusalCode::Version`].
pub const VERSION: u32 = 1;

/// The form of all that `hactl` prints as JSON. By hand, because the types of the daemon have no need of it; tests compare.
pub const SCHEMA: &str = include_str!("schema.json");

/// Where the daemon listens.
pub const SOCKET: &str = "/run/had/had.sock";

/// Journal entries in one answer, at most: an answer is in memory as a whole.
pub const HISTORY_MAX: usize = 1000;

/// One line from a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestLine {
    /// [`VERSION`] of the sender.
    pub version: u32,
    /// The request.
    pub request: Request,
}

/// A request. Its group words are what the user typed; the daemon turns them into groups ([`super::select`]), because it
/// knows the groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The node's view of the cluster; answered with [`ControlAnswer::Status`].
    Status,
    /// The same again and again: at once, then after each change, at most every 200 ms and at least every second. The server
    /// turns this into many [`Request::Status`]; it never reaches the daemon itself.
    Subscribe,
    /// Give groups up.
    Standby {
        /// Which.
        words: Vec<String>,
        /// Whether this node stays in standby until `hactl unstandby` (`hactl standby`), or only gives the groups up once
        /// (`hb_standby`).
        lasting: bool,
        /// Whether to answer with the outcome, or as soon as the command is accepted.
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
        /// Even when an address still answers, or a dead node was stuck.
        force: bool,
        /// As in [`Request::Standby`].
        wait: bool,
    },
    /// Forget the failure or the stuck stop of a group on this node.
    Clear {
        /// Which group.
        group: String,
    },
    /// Suspend (on) or resume (off) automatic control of groups.
    Maintenance {
        /// Which.
        words: Vec<String>,
        /// On or off.
        on: bool,
    },
    /// The newest decisions about a group, or about the node and all groups; [`ControlAnswer::Decisions`], oldest first.
    Why {
        /// Which group.
        group: Option<String>,
        /// Only decisions up to this wall-clock time, in milliseconds since 1970.
        at_ms: Option<u64>,
    },
    /// The newest journal entries, oldest first; [`ControlAnswer::Decisions`].
    History {
        /// How many, at most [`HISTORY_MAX`].
        limit: usize,
    },
    /// Reload the configuration; a dry run is answered with [`ControlAnswer::Plan`].
    Reload {
        /// Only say what would change.
        dry_run: bool,
        /// Also if it gives up votes, quorum or a living node.
        #[serde(default)]
        force: bool,
    },
    /// A node is gone for good: the change of the list of voters no longer waits for it.
    Forget {
        /// Which node.
        node: String,
    },
    /// The machine of a node is off: it counts as dead for certain until it is heard.
    ConfirmDead {
        /// Which node.
        node: String,
    },
    /// Switch the machine of a node off.
    Fence {
        /// Which node.
        node: String,
    },
    /// Ask the power switches of a node's machine, and change nothing.
    FenceTest {
        /// Which node.
        node: String,
    },
    /// An administrator has moved a group as an exercise: for the journal.
    Drilled {
        /// Which group.
        group: String,
        /// The node that took it over.
        to: NodeName,
        /// How long it was away, in microseconds, if that is known.
        gap_us: Option<u64>,
        /// Whether it was moved back.
        returned: bool,
        /// How long it was away then.
        back_us: Option<u64>,
    },
    /// Stop all groups in order, leave the cluster and end.
    Stop {
        /// Also if it costs the other nodes quorum, or a group then runs nowhere.
        force: bool,
    },
    /// The state of DRBD resources on every node; answered with [`ControlAnswer::Drbd`].
    Drbd {
        /// The name of one in drbd.conf; otherwise all those in haresources.
        resource: Option<String>,
    },
    /// DRBD lost the peer of a resource: outdate the peer's data before this node goes on without it; answered with
    /// [`ControlAnswer::Fenced`].
    FencePeer {
        /// Its name in drbd.conf.
        resource: String,
        /// How long to try, in milliseconds.
        timeout_ms: u64,
    },
    /// End the daemon without touching a resource; the peers wait for its return.
    Restart {
        /// Also if the files that it would read give up votes, quorum or a living node. A daemon that does not know this
        /// understands a restart without it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        force: bool,
    },
    /// The value of an ha.cf directive in force; answered with [`ControlAnswer::Done`] and the bare value.
    Parameter {
        /// The directive.
        name: String,
    },
}

impl Request {
    /// Whether this changes nothing. Everybody may make such a request; the others take root or the group `haclient`.
    pub fn is_read_only(&self) -> bool {
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
            | Self::Forget { .. }
            | Self::ConfirmDead { .. }
            | Self::Fence { .. }
            | Self::FenceTest { .. }
            | Self::Drilled { .. }
            | Self::Stop { .. }
            | Self::Restart { .. } => false,
        }
    }
}

impl fmt::Display for Request {
    /// For the log: as the command that makes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status | Self::Subscribe => f.write_str("status"),
            Self::Standby { words, lasting, .. } => {
                let command = if *lasting { "standby" } else { "hb_standby" };
                write!(f, "{command} {}", words.join(" "))
            }
            Self::Unstandby { words } => write!(f, "unstandby {}", words.join(" ")),
            Self::Takeover { words, force, .. } => {
                let force = if *force { "--force " } else { "" };
                write!(f, "takeover {force}{}", words.join(" "))
            }
            Self::Clear { group } => write!(f, "clear {group}"),
            Self::Maintenance { words, on } => {
                let on = if *on { "on" } else { "off" };
                write!(f, "maintenance {on} {}", words.join(" "))
            }
            Self::Why { group, .. } => write!(f, "why {}", group.as_deref().unwrap_or_default()),
            Self::History { .. } => f.write_str("history"),
            Self::Reload { dry_run, force } => {
                let dry_run = if *dry_run { " --dry-run" } else { "" };
                let force = if *force { " --force" } else { "" };
                write!(f, "reload{dry_run}{force}")
            }
            Self::Forget { node } => write!(f, "forget {node} --yes"),
            Self::ConfirmDead { node } => write!(f, "fence confirm {node} --yes"),
            Self::Fence { node } => write!(f, "fence {node} --yes"),
            Self::FenceTest { node } => write!(f, "fence test {node}"),
            Self::Drilled { group, .. } => write!(f, "drill {group} (its result)"),
            Self::Stop { force } => f.write_str(if *force { "stop --force" } else { "stop" }),
            Self::Drbd { resource } => {
                write!(f, "drbd {}", resource.as_deref().unwrap_or_default())
            }
            Self::FencePeer { resource, .. } => write!(f, "drbd fence-peer {resource}"),
            Self::Restart { force } => {
                f.write_str(if *force { "restart --force" } else { "restart" })
            }
            Self::Parameter { name } => write!(f, "parameter {name}"),
        }
    }
}

/// One line from the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// [`VERSION`] of the daemon.
    pub version: u32,
    /// The answer, or why the request was refused.
    pub result: Result<ControlAnswer, Refusal>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlAnswer {
    /// The node's view of the cluster.
    Status(Box<Status>),
    /// A sentence for the user.
    Done(String),
    /// Journal entries, oldest first.
    Decisions(Vec<Entry>),
    /// What a reload would change.
    Plan(String),
    /// DRBD resources, each with its sides.
    Drbd(Vec<Replicated>),
    /// The outcome of fencing a DRBD peer.
    Fenced {
        /// The exit code of a `fence-peer` handler, drbd.conf(5).
        code: u8,
        /// The outcome as a sentence.
        text: String,
    },
}

/// A DRBD resource as each node that has it reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicated {
    /// Its name in drbd.conf.
    pub resource: String,
    /// Each node, this one first; an error says why its state is unknown.
    pub sides: Vec<(NodeName, Result<Standing, String>)>,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The kind of refusal.
    pub code: RefusalCode,
    /// A sentence that says what is wrong and what to do.
    pub text: String,
}

impl Refusal {
    /// Makes a refusal.
    pub fn new(code: RefusalCode, text: impl Into<String>) -> Self {
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
pub enum RefusalCode {
    /// The line is not a request.
    BadRequest,
    /// The request is of another [`VERSION`].
    Version,
    /// The user is not allowed to do this.
    Denied,
    /// Too many clients, or the daemon is ending.
    Busy,
    /// A group word that fits no group, or several.
    NoSuchGroup,
    /// It cannot be done now; nothing was changed.
    Refused,
    /// It was tried and failed.
    Failed,
}

/// Makes all texts of an answer fit to be shown to anybody on a terminal: resource words may have passwords, and agents and
/// peers may have put anything into their messages.
pub fn make_harmless(answer: &mut Value) {
    let harmless = |text: &str| printable_lines(&mask_secrets(text));
    match answer {
        Value::String(text) => *text = harmless(text),
        Value::Array(items) => items.iter_mut().for_each(make_harmless),
        Value::Object(fields) => {
            for (key, mut value) in std::mem::take(fields) {
                make_harmless(&mut value);
                fields.insert(harmless(&key), value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RequestLine, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn the_documented_line_is_the_one_in_use() {
        let line = RequestLine {
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
    fn an_answer_steers_no_terminal_and_has_no_password() {
        let mut answer = serde_json::json!({
            "x::passwd=hidden": ["a\u{1b}[2Jb\nc", 1, null, {"error": "x::passwd=hidden: \u{202e}no"}]
        });
        make_harmless(&mut answer);
        let wanted = serde_json::json!({
            "x::passwd=***": ["a\u{fffd}[2Jb\nc", 1, null, {"error": "x::passwd=***: \u{fffd}no"}]
        });
        assert_eq!(answer, wanted);
    }

    #[test]
    fn unknown_requests_and_fields_are_refused() {
        assert!(parse(r#"{"version":1,"request":{"do":"explode"}}"#).is_err());
        let misspelt =
            r#"{"version":1,"request":{"do":"takeover","words":[],"wait":true,"forse":true}}"#;
        assert!(parse(misspelt).is_err());
    }
}
