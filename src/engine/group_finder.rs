//! Finds groups by name.

use std::cell::Cell;

use super::Group;
use crate::model::GroupName;

/// Finds groups by name. Heartbeats mostly name them in our own order, so the group after the last one that was found is
/// looked at first.
pub(super) struct GroupFinder<'a> {
    groups: &'a [Group],
    next: Cell<usize>,
}

impl<'a> GroupFinder<'a> {
    /// For many names.
    pub fn new(groups: &'a [Group]) -> GroupFinder<'a> {
        let next = Cell::new(0);
        GroupFinder { groups, next }
    }

    /// Where the group is among ours.
    pub fn place(&self, name: &GroupName) -> Option<usize> {
        let is_it = |g: &Group| g.name() == name;
        let next = Some(self.next.get()).filter(|n| self.groups.get(*n).is_some_and(is_it));
        let place = next.or_else(|| self.groups.iter().position(is_it));
        if let Some(place) = place {
            self.next.set(place + 1);
        }
        place
    }
}
