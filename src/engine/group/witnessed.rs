//! A group on a witness: known by its name only, and always offline.

use std::time::Duration;

use super::Group;
use super::right::Right;
use super::state::LocalState;
use crate::model::cluster::GroupSpec;
use crate::model::{GroupName, NodeName, Term, Time};

impl Group {
    /// A group that a node has just named. Nothing is probed: nothing of it can run here.
    pub fn witnessed(name: GroupName, now: Time) -> Self {
        let spec = GroupSpec {
            name,
            preferred: NodeName::new(""),
            steps: Vec::new(),
        };
        let mut group = Group::new(spec, Term(0), Right::default());
        group.state = LocalState::Offline;
        group.named_at = Some(now);
        group
    }

    /// Whether this node is a witness to it and never runs it.
    pub fn is_witnessed(&self) -> bool {
        self.named_at.is_some()
    }

    /// A node has named it again.
    pub fn note_named(&mut self, now: Time) {
        if self.is_witnessed() {
            self.named_at = Some(now);
        }
    }

    /// Whether it is known from nodes only, and none has named it for so long.
    pub fn is_unnamed_since(&self, now: Time, limit: Duration) -> bool {
        self.named_at.is_some_and(|at| now >= at + limit)
    }
}
