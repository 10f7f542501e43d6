//! How long each group was down, counted from when it first ran.

use std::time::Duration;

use super::world::World;
use crate::model::{GroupName, Time};

/// The downtime of one group, as its users see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Downtime {
    /// When it first ran completely, from the beginning of the run.
    pub first_up: Option<Duration>,
    /// How long it did not run since then, in total.
    pub total: Duration,
    /// The longest of these times.
    pub longest: Duration,
    /// When the longest began.
    pub longest_at: Duration,
    /// How often it went down.
    pub times: u32,
}

/// What has been seen of one group so far.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceWatch {
    down_since: Option<Time>,
    past: Downtime,
}

impl World {
    /// Notes whether a group runs completely anywhere.
    pub(super) fn watch_service(&mut self, group: &GroupName) {
        let now = self.now;
        let spec = self.cluster.groups.iter().find(|g| g.name == *group);
        let steps = spec.map_or(0, |g| g.steps.len());
        let all = |s: &Vec<bool>| s.len() == steps && s.iter().all(|r| *r);
        let up = self
            .machines
            .values()
            .any(|m| m.powered && m.running.get(group).is_some_and(all));
        let service = self.services.entry(group.clone()).or_default();
        match (up, service.past.first_up, service.down_since) {
            (true, None, _) => service.past.first_up = Some(now.since(World::BEGIN)),
            (true, Some(_), Some(_)) => service.comes_up(now),
            (false, Some(_), None) => {
                service.down_since = Some(now);
                service.past.times += 1;
            }
            _ => {}
        }
    }

    /// The downtime of a group until now.
    pub(super) fn downtime(&self, group: &GroupName) -> Downtime {
        let mut service = self.services.get(group).cloned().unwrap_or_default();
        service.comes_up(self.now);
        service.past
    }
}

impl ServiceWatch {
    fn comes_up(&mut self, now: Time) {
        let Some(since) = self.down_since.take() else {
            return;
        };
        let lasted = now.since(since);
        self.past.total += lasted;
        if lasted > self.past.longest {
            self.past.longest = lasted;
            self.past.longest_at = since.since(World::BEGIN);
        }
    }
}
