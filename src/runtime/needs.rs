//! Whether this node has what its groups need: interfaces that can carry their addresses, directories to mount on. The engine
//! gets it as the check of each group.
//!
//! Changes of interfaces come from the kernel. What is missing on a disk is asked for again each second until it is there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::engine_handle::EngineHandle;
use crate::agent::exec::blocking::run_apart;
use crate::agent::resolve::{AskMissing, ResolvedStep};
use crate::agent::{Abort, Limits};
use crate::engine::Event;
use crate::model::GroupName;
use crate::model::health::needs_check;
use crate::sys::capability;
use crate::sys::netlink::{self, Address, Change, Link, Netlink};

/// The steps of every group, as they are carried out now.
pub type Definitions = Vec<(GroupName, Arc<Vec<ResolvedStep>>)>;

/// An interface that is restarted, and a bond that takes its next member, have a carrier again by then.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often everything is looked at without a reason.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The pause before what was missing is asked for again, or what could not be read is read again.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Reports for every group whether this node has what it needs, until nobody defines groups any more.
pub async fn report_needs(
    netlink: Netlink,
    mut definitions: watch::Receiver<Definitions>,
    engine: EngineHandle,
) {
    let mut changes = netlink::watch();
    let mut groups: HashMap<GroupName, GroupNeeds> = HashMap::new();
    let news = Arc::new(Notify::new());
    loop {
        take_definitions(&definitions.borrow_and_update(), &mut groups, &news);
        let pause = match (netlink.links().await, netlink.addresses().await) {
            (Ok(links), Ok(present)) => look(&mut groups, &links, &present, &engine).await,
            _ => ASK_EVERY,
        };
        tokio::select! {
            defined = definitions.changed() => if defined.is_err() {
                return;
            },
            Some(()) = next_change(&mut changes, &groups) => {}
            () = news.notified() => {}
            () = sleep(pause) => {}
        }
    }
}

/// Waits for a change that may concern a group, and takes those that wait behind it.
async fn next_change(
    changes: &mut mpsc::Receiver<Change>,
    groups: &HashMap<GroupName, GroupNeeds>,
) -> Option<()> {
    let some_open = groups.values().any(GroupNeeds::has_open_address);
    let concerns = |change: &Change| match change {
        Change::Link(_) | Change::LinkRemoved(_) | Change::Resync => true,
        // Renewals come often.
        Change::AddressAdded(_) | Change::AddressRemoved(_) => some_open,
    };
    while !concerns(&changes.recv().await?) {}
    while changes.try_recv().is_ok() {}
    Some(())
}

fn take_definitions(
    definitions: &Definitions,
    groups: &mut HashMap<GroupName, GroupNeeds>,
    news: &Arc<Notify>,
) {
    groups.retain(|name, _| definitions.iter().any(|(group, _)| group == name));
    for (group, steps) in definitions {
        match groups.get_mut(group) {
            Some(known) if Arc::ptr_eq(&known.steps, steps) => {}
            Some(known) => known.redefine(steps, news),
            None => {
                let mut new = GroupNeeds::default();
                new.redefine(steps, news);
                groups.insert(group.clone(), new);
            }
        }
    }
}

/// Looks at every group and reports what is new. Returns when to look again.
async fn look(
    groups: &mut HashMap<GroupName, GroupNeeds>,
    links: &[Link],
    present: &[Address],
    engine: &EngineHandle,
) -> Duration {
    let links: HashMap<String, Link> = links.iter().map(|l| (l.name.clone(), l.clone())).collect();
    let mut pause = LOOK_EVERY;
    for (group, needs) in groups {
        let Some(found) = needs.find_obstacle(&links, present).await else {
            continue; // it reports soon
        };
        let (report, patience) = needs.verdict.take(found, Instant::now());
        pause = pause.min(patience.unwrap_or(LOOK_EVERY));
        if let Some(found) = report {
            engine.send_event(Event::Checked {
                check: needs_check(group),
                result: found.map(|()| String::new()),
            });
        }
    }
    pause
}

/// What a step lacks that lacked something when it was resolved; none before the first answer.
type Answer = Arc<Mutex<Option<Result<(), String>>>>;

/// What one group needs.
#[derive(Default)]
struct GroupNeeds {
    steps: Arc<Vec<ResolvedStep>>,
    missing: Vec<Answer>,
    asking: JoinSet<()>,
    verdict: Verdict,
}

impl GroupNeeds {
    fn redefine(&mut self, steps: &Arc<Vec<ResolvedStep>>, news: &Arc<Notify>) {
        self.steps = Arc::clone(steps);
        self.asking = JoinSet::new();
        self.missing.clear();
        for ask in steps.iter().filter_map(|s| s.missing.clone()) {
            let answer = Arc::default();
            self.missing.push(Arc::clone(&answer));
            self.asking
                .spawn(ask_until_there(ask, answer, Arc::clone(news)));
        }
    }

    fn has_open_address(&self) -> bool {
        let lists = self.steps.iter().filter_map(|s| s.addresses.as_ref());
        lists
            .flat_map(|a| a.list().to_vec())
            .any(|a| a.open.is_some())
    }

    /// What keeps the group from running here, if anything does; none while that is not known yet.
    async fn find_obstacle(
        &self,
        links: &HashMap<String, Link>,
        present: &[Address],
    ) -> Option<Result<(), String>> {
        for missing in &self.missing {
            let answer = missing
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            if let Err(missing) = answer? {
                return Some(Err(missing));
            }
        }
        for addresses in self.steps.iter().filter_map(|s| s.addresses.as_ref()) {
            if let Some(text) = capability::missing_for_addresses() {
                return Some(Err(text));
            }
            if let Some(obstacle) = addresses.find_obstacle(links, present).await {
                return Some(Err(obstacle));
            }
        }
        Some(Ok(()))
    }
}

/// Asks in a thread of its own, because a disk may hang.
async fn ask_until_there(ask: AskMissing, answer: Answer, news: Arc<Notify>) {
    let limits = Limits::within(ASK_EVERY, &Abort::new()).patient();
    loop {
        let asked = Arc::clone(&ask);
        let found = run_apart(&limits, "the look for a mount point", move || async move {
            asked()
        });
        let found = match found.await {
            Ok(None) => Ok(()),
            Ok(Some(missing)) => Err(missing),
            Err(error) => Err(error.to_string()),
        };
        let there = found.is_ok();
        *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        news.notify_one();
        if there {
            return;
        }
        sleep(ASK_EVERY).await;
    }
}

/// What was reported of a group. An obstacle is reported once it has lasted, its end at once.
#[derive(Default)]
struct Verdict {
    reported: Option<Result<(), String>>,
    reported_at: Option<Instant>,
    failing_since: Option<Instant>,
}

impl Verdict {
    /// What to report now, and when to look again if that is soon.
    fn take(
        &mut self,
        found: Result<(), String>,
        now: Instant,
    ) -> (Option<Result<(), String>>, Option<Duration>) {
        if found.is_ok() {
            self.failing_since = None;
        } else if self.reported == Some(Ok(())) {
            let since = *self.failing_since.get_or_insert(now);
            let left = PATIENCE.saturating_sub(now.saturating_duration_since(since));
            if !left.is_zero() {
                return (None, Some(left));
            }
        }
        let fresh = |at: Instant| now.saturating_duration_since(at) < LOOK_EVERY;
        if self.reported.as_ref() == Some(&found) && self.reported_at.is_some_and(fresh) {
            return (None, None);
        }
        (self.reported, self.reported_at) = (Some(found.clone()), Some(now));
        (Some(found), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_obstacle_is_reported_once_it_has_lasted_and_its_end_at_once() {
        let begin = Instant::now();
        let mut verdict = Verdict::default();
        let mut reports = |looks: &[(u64, bool)]| -> Vec<String> {
            let one = |(ms, well): &(u64, bool)| {
                let found = if *well {
                    Ok(())
                } else {
                    Err("down".to_owned())
                };
                let (report, _) = verdict.take(found, begin + Duration::from_millis(*ms));
                match report {
                    None => "-".to_owned(),
                    Some(report) => report.err().unwrap_or("good".to_owned()),
                }
            };
            looks.iter().map(one).collect()
        };
        // The first look counts as it is.
        assert_eq!(
            reports(&[(0, false), (10, false), (20, true)]),
            ["down", "-", "good"]
        );
        assert_eq!(
            reports(&[(30, false), (1029, false), (1030, false), (1031, true)]),
            ["-", "-", "down", "good"]
        );
        assert_eq!(
            reports(&[(2000, false), (2500, true), (2600, false)]),
            ["-", "-", "-"]
        );
        // What lasts is said again now and then.
        assert_eq!(
            reports(&[(3700, false), (3800, false), (13_800, false)]),
            ["down", "-", "down"]
        );
    }
}
