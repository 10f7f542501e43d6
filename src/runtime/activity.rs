//! Counts what the daemon does with each group, for status: a program that looks once in a while sees what happened between.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::decision::{Because, Decision, What};
use crate::model::status::{GroupActivity, Status};
use crate::model::{GroupName, Time};

/// The counts of all groups since the daemon started.
#[derive(Debug, Default)]
pub struct Activity {
    groups: BTreeMap<GroupName, Counted>,
}

#[derive(Debug)]
struct Counted {
    counts: GroupActivity,
    changed: Option<Time>,
    claimed: Option<Time>,
}

impl Activity {
    /// Counts a decision.
    pub fn count(&mut self, decision: &Decision, now: Time) {
        let Some(group) = &decision.group else {
            return;
        };
        let entry = self.groups.entry(group.clone());
        let counted = entry.or_insert_with(|| Counted {
            counts: GroupActivity::new(group.clone()),
            changed: None,
            claimed: None,
        });
        counted.count(decision, now);
    }

    /// Adds the counts to a status, for the groups that it has, and what they say of the next takeover.
    pub fn add_to(&self, status: &mut Status, now: Time, deadtime: Duration) {
        for group in &mut status.groups {
            let counted = self.groups.get(&group.name);
            let last = counted.and_then(|c| c.counts.last_start);
            group.takeover = last.map(|start| deadtime + start);
        }
        let known = status
            .groups
            .iter()
            .filter_map(|g| self.groups.get(&g.name));
        status.activity = known
            .map(|counted| GroupActivity {
                changed: counted.changed.map(|at| now.since(at)),
                ..counted.counts.clone()
            })
            .collect();
    }
}

impl Counted {
    fn count(&mut self, decision: &Decision, now: Time) {
        let counts = &mut self.counts;
        match &decision.what {
            What::Claim(_) => {
                self.claimed = Some(now);
                let reason = reason_word(&decision.because).to_owned();
                *counts.claims.entry(reason).or_default() += 1;
                return;
            }
            What::Restart { .. } => {
                counts.restarts += 1;
                return;
            }
            What::Online => {
                counts.starts += 1;
                let took = self.claimed.take().map(|at| now.since(at));
                if let Some(took) = took {
                    counts.start_times.add(took);
                }
                counts.last_start = took;
            }
            What::Offline => counts.stops += 1,
            What::Failed => counts.failures += 1,
            What::Stuck => counts.stuck += 1,
            What::Adopt(_) => {}
            _ => return,
        }
        self.changed = Some(now);
    }
}

/// The reason of a claim as one of a few words.
fn reason_word(because: &Because) -> &'static str {
    match because {
        Because::OwnerDead(_) => "owner-dead",
        Because::Preferred => "preferred",
        Because::NextChoice(_) => "next-choice",
        Because::Administrator | Because::TakeoverBy(_) => "administrator",
        Because::OfferedBy(_) => "offered",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::status::CLAIM_REASONS;
    use crate::model::{NodeName, Term};
    use std::time::Duration;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_takeover_is_counted_with_its_reason_and_its_length() {
        let group = GroupName::new("web");
        let mut activity = Activity::default();
        let dead = Because::OwnerDead(NodeName::new("bob"));
        let happened = [
            (1, What::Claim(Term(3)), dead),
            (2, What::Start, Because::AllAgreed),
            (4, What::Online, Because::Finished),
            (5, What::Held, Because::NoQuorum),
        ];
        for (second, what, because) in happened {
            activity.count(&Decision::group(&group, what, because), at(second));
        }
        activity.count(&Decision::node(What::Joined, Because::AllHeard), at(6));
        let counted = &activity.groups[&group];
        assert_eq!(counted.changed, Some(at(4)));
        assert_eq!(counted.counts.last_start, Some(Duration::from_secs(3)));
        assert_eq!(counted.counts.start_times.sum, Duration::from_secs(3));
        assert_eq!((counted.counts.starts, counted.counts.stops), (1, 0));
        assert_eq!(counted.counts.claims["owner-dead"], 1);
        assert_eq!(activity.groups.len(), 1);
        assert!(
            counted
                .counts
                .claims
                .keys()
                .all(|r| CLAIM_REASONS.contains(&r.as_str()))
        );
    }
}
