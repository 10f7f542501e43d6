//! Everything on the status page that an administrator should see to, each with an identifier that stays the same.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::{
    CheckState, CheckStatus, GroupStatus, LinkStatus, Liveness, NodeStatus, PingStatus,
    ResourceState, Status,
};
use crate::model::health::FAILBACK_WHEN;
use crate::model::heartbeat::{GroupState, Phase};
use crate::model::{GroupName, JSON_VERSION, NodeName};

/// A sentence about a node or a group. It reads like its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenNote")]
pub struct Note {
    /// The kind of problem. It stays the same when the text is worded anew.
    pub id: Cow<'static, str>,
    /// The sentence.
    pub text: String,
}

/// A daemon of an earlier version sends the text alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenNote {
    Text(String),
    Whole { id: String, text: String },
}

impl From<WrittenNote> for Note {
    fn from(written: WrittenNote) -> Self {
        match written {
            WrittenNote::Text(text) => Note::new("other", text),
            WrittenNote::Whole { id, text } => Note {
                id: Cow::Owned(id),
                text,
            },
        }
    }
}

impl Note {
    /// A note of this kind.
    pub fn new(id: &'static str, text: impl Into<String>) -> Self {
        Note {
            id: Cow::Borrowed(id),
            text: text.into(),
        }
    }
}

impl Deref for Note {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl Borrow<str> for Note {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusProblem {
    /// Its kind; hactl(8) lists them.
    pub id: Cow<'static, str>,
    /// The node that it is about, if it is about one.
    pub node: Option<NodeName>,
    /// The group that it is about, if it is about one.
    pub group: Option<GroupName>,
    /// The problem in words, with what to do.
    pub text: String,
}

impl Status {
    /// All problems, in the order of the page.
    pub fn problems(&self) -> Vec<StatusProblem> {
        let mut found = Vec::new();
        let here = |note: Note| problem(note, Some(&self.node), None);
        found.extend(self.phase_problem().map(here));
        for node in &self.nodes {
            let notes = node.problems();
            found.extend(
                notes
                    .into_iter()
                    .map(|n| problem(n, Some(&node.name), None)),
            );
        }
        let pings = self.pings.iter().filter_map(PingStatus::problem);
        found.extend(pings.map(|note| problem(note, None, None)));
        found.extend(self.quorum_problem().map(|n| problem(n, None, None)));
        for group in &self.groups {
            let notes = group.problems(&self.node);
            found.extend(
                notes
                    .into_iter()
                    .map(|n| problem(n, None, Some(&group.name))),
            );
        }
        let checks = self.checks.iter().filter_map(CheckStatus::problem);
        found.extend(checks.map(here));
        found
    }

    /// Everything as JSON, the problems and the version of the JSON included: what `hactl status --json` prints.
    pub fn to_json(&self) -> serde_json::Result<serde_json::Value> {
        let mut value = serde_json::to_value(self)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("schema".to_owned(), JSON_VERSION.into());
            let problems = serde_json::to_value(self.problems())?;
            fields.insert("problems".to_owned(), problems);
        }
        Ok(value)
    }

    /// Whether every group runs on one node.
    pub fn all_groups_run(&self) -> bool {
        self.groups.iter().all(GroupStatus::runs)
    }

    /// What is wrong with the part that this node takes.
    pub fn phase_problem(&self) -> Option<Note> {
        Some(match self.phase {
            Phase::Active => return None,
            Phase::Init => {
                let waiting = self.waiting.as_deref().unwrap_or("for the other nodes");
                let text =
                    format!("this node does not take part in the cluster yet; it waits {waiting}");
                Note::new("not-joined", text)
            }
            Phase::Leaving => Note::new(
                "leaving",
                "this node is leaving the cluster and stops its groups",
            ),
            Phase::Left => Note::new("leaving", "this node has left the cluster"),
        })
    }

    /// That votes are missing.
    pub fn quorum_problem(&self) -> Option<Note> {
        let quorum = &self.quorum;
        let needed = quorum.total / 2 + 1;
        if !quorum.counted || quorum.held {
            return None;
        }
        let silent = self
            .nodes
            .iter()
            .filter(|n| matches!(n.liveness, Liveness::Dead | Liveness::Left));
        let confirm: Vec<String> = silent
            .map(|n| format!("hactl fence confirm {} --yes", n.name))
            .collect();
        let help = if confirm.is_empty() {
            String::new()
        } else {
            format!(
                "; bring nodes or ping nodes back or, if the machines of all silent nodes are surely off: {}",
                confirm.join(" and ")
            )
        };
        let (votes, total) = (quorum.votes, quorum.total);
        let text = format!(
            "lost: {votes} of {total} votes, {needed} needed; no group can be started on this side{help}"
        );
        Some(Note::new("quorum-lost", text))
    }
}

fn problem(note: Note, node: Option<&NodeName>, group: Option<&GroupName>) -> StatusProblem {
    StatusProblem {
        id: note.id,
        node: node.cloned(),
        group: group.cloned(),
        text: note.text,
    }
}

impl NodeStatus {
    /// Its problems: those of its links, that it is silent, and its notes.
    pub fn problems(&self) -> Vec<Note> {
        let heard = matches!(self.liveness, Liveness::Active | Liveness::Late);
        let links = self.links.iter().filter(|_| heard);
        let mut found: Vec<Note> = links.filter_map(LinkStatus::problem).collect();
        found.extend(self.silence());
        found.extend(self.notes.iter().cloned());
        found
    }

    /// Says why it is not active, if its notes do not.
    pub fn silence(&self) -> Option<Note> {
        if !self.notes.is_empty() && self.liveness != Liveness::Left {
            return None;
        }
        Some(match self.liveness {
            Liveness::Init => Note::new(
                "node-not-heard",
                "not heard since this daemon started; is had running there?",
            ),
            Liveness::Late => Note::new("node-late", "silent for longer than warntime"),
            Liveness::Dead => {
                let links: Vec<&str> = self.links.iter().map(|l| l.link.as_str()).collect();
                let links = links.join(", ");
                Note::new(
                    "node-dead",
                    format!(
                        "silent for longer than deadtime on {links}; check that machine and its links"
                    ),
                )
            }
            Liveness::Left => Note::new(
                "node-left",
                "its daemon was stopped, so it can take nothing over; start it there",
            ),
            Liveness::Here | Liveness::Active => return None,
        })
    }
}

impl PingStatus {
    /// That it is of no use as a ping node.
    pub fn problem(&self) -> Option<Note> {
        let name = &self.name;
        if let Some(node) = &self.member {
            let text = format!(
                "{name} is the machine of {node}, so it has no vote: take an address outside the cluster, such as the gateway"
            );
            return Some(Note::new("ping-is-member", text));
        }
        (!self.up).then(|| Note::new("ping-down", format!("{name} does not answer")))
    }
}

impl LinkStatus {
    /// What is wrong with it. The cluster works without a relay, so that is no problem.
    pub fn problem(&self) -> Option<Note> {
        let name = &self.link;
        let text = match (self.hears, self.heard) {
            _ if self.relay => return None,
            (true, Some(true) | None) => return None,
            (true, Some(false)) => format!("{name}: one-way: we hear it, it does not hear us"),
            (false, Some(true)) => format!("{name}: one-way: it hears us, we do not hear it"),
            (false, Some(false) | None) => format!("{name}: down"),
        };
        Some(Note::new("link-down", text))
    }
}

impl GroupStatus {
    /// Whether one node runs it.
    pub fn runs(&self) -> bool {
        let [owner] = self.owners.as_slice() else {
            return false;
        };
        let state = self.states.iter().find(|(node, _)| node == owner);
        state.is_some_and(|(_, state)| *state == GroupState::Online)
    }

    /// Its problems: where it is, its resources on this node, and its notes.
    pub fn problems(&self, me: &NodeName) -> Vec<Note> {
        let place = self.place_problem();
        let mut found: Vec<Note> = place.into_iter().collect();
        let broken = self
            .resources
            .iter()
            .filter(|r| self.is_broken(r.state, me));
        found.extend(broken.map(|r| {
            let error = r.error.as_deref().unwrap_or("does not run");
            Note::new("resource-failed", format!("{}: {error}", r.token))
        }));
        found.extend(self.notes.iter().cloned());
        found
    }

    /// Whether the state of a resource on this node is a problem.
    fn is_broken(&self, resource: ResourceState, me: &NodeName) -> bool {
        let here = self.states.iter().find(|(node, _)| node == me);
        let must_run = here.is_some_and(|(_, state)| *state == GroupState::Online);
        resource == ResourceState::Failed || (must_run && resource != ResourceState::Running)
    }

    /// That it is where it should not be.
    fn place_problem(&self) -> Option<Note> {
        let at = |wanted: GroupState| {
            let mut states = self.states.iter();
            states.find(|(_, s)| *s == wanted).map(|(node, _)| node)
        };
        if self.owners.len() > 1 {
            return Some(Note::new("group-split", "runs on several nodes"));
        }
        if let Some(node) = at(GroupState::Stuck) {
            return Some(Note::new("group-stuck", format!("a stop failed on {node}")));
        }
        if self.owners.is_empty() && at(GroupState::Claiming).is_none() {
            return Some(Note::new("group-down", "runs nowhere"));
        }
        let node = at(GroupState::Failed)?;
        Some(Note::new("group-failed", format!("failed on {node}")))
    }
}

impl CheckStatus {
    /// That it fails. A failing `failback_when` is a problem only of the group that waits for it.
    pub fn problem(&self) -> Option<Note> {
        let fails = self.state == CheckState::Failed && self.name != FAILBACK_WHEN;
        fails.then(|| {
            Note::new(
                "check-failed",
                format!("{} fails: {}", self.name, self.text),
            )
        })
    }
}
