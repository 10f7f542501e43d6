//! Looks at resources that run and at the node itself, again and again; what they find goes to the engine.
//!
//! Each resource and each check has a task of its own, so never two looks at one thing are under way. The looks at a
//! group end, whatever they run with them, before anything is done to the group.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::heartbeat_thread::EngineHandle;
use crate::agent::resolve::ResolvedStep;
use crate::agent::{Abort, AgentError, Limits, Status};
use crate::assembly::watch_plan::{Monitor, WatchPlan};
use crate::engine::Event;
use crate::model::GroupName;
use crate::model::health::{Pace, Probe};
use crate::probe::ActiveProbe;

/// What a look that ends itself at its deadline may need to say so.
const SLACK: Duration = Duration::from_millis(20);

/// The tasks that look. They end when this is dropped.
pub struct Watcher {
    watch_plan: WatchPlan,
    engine: EngineHandle,
    groups: HashMap<GroupName, Tasks>,
    checks: Tasks,
}

/// Tasks that end, with what they run, when this is dropped.
#[derive(Default)]
struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl Tasks {
    /// Ends them and waits until nothing of them runs.
    async fn end(mut self) {
        let tasks = std::mem::take(&mut self.0);
        for task in &tasks {
            task.abort();
        }
        join_all(tasks).await;
    }
}

impl Watcher {
    /// Begins the checks of the node; resources are looked at when told.
    pub fn new(watch_plan: WatchPlan, engine: EngineHandle) -> Self {
        let mut watcher = Watcher {
            watch_plan,
            engine,
            groups: HashMap::new(),
            checks: Tasks::default(),
        };
        watcher.begin_checks();
        watcher
    }

    fn begin_checks(&mut self) {
        let WatchPlan {
            checks,
            env,
            netlink,
            peers,
            ..
        } = &self.watch_plan;
        let task = |(name, probe, pace): &(String, Probe, Pace)| {
            let check = ActiveProbe::new(probe, env, netlink, peers);
            tokio::spawn(keep_checking(
                name.clone(),
                check,
                *pace,
                self.engine.clone(),
            ))
        };
        self.checks = Tasks(checks.iter().map(task).collect());
    }

    /// Begins to look at what runs of a group.
    pub fn begin(&mut self, group: &GroupName, steps: &Arc<Vec<ResolvedStep>>) {
        let monitors = self.watch_plan.monitors.get(group).into_iter().flatten();
        let task = |monitor: &Monitor| {
            let step = steps.get(monitor.step)?.clone();
            let place = (group.clone(), monitor.step);
            let probe = monitor.probe.as_ref();
            let plan = &self.watch_plan;
            let check = probe.map(|p| ActiveProbe::new(p, &plan.env, &plan.netlink, &plan.peers));
            let looker = Looker { step, check };
            let engine = self.engine.clone();
            Some(tokio::spawn(keep_looking(
                place,
                looker,
                monitor.pace,
                engine,
            )))
        };
        let tasks = Tasks(monitors.filter_map(task).collect());
        self.groups.insert(group.clone(), tasks);
    }

    /// Ends the looks at a group; what comes back waits until nothing of them runs.
    pub fn end(&mut self, group: &GroupName) -> impl Future<Output = ()> + Send + use<> {
        let tasks = self.groups.remove(group).unwrap_or_default();
        tasks.end()
    }

    /// WatchPlan as newly configured from now on, at the groups that are looked at.
    pub fn reconfigure(
        &mut self,
        watch_plan: WatchPlan,
        steps: &HashMap<GroupName, Arc<Vec<ResolvedStep>>>,
    ) {
        let checks_changed = self.watch_plan.checks != watch_plan.checks;
        let old = std::mem::replace(&mut self.watch_plan, watch_plan);
        if checks_changed {
            self.begin_checks();
        }
        let watched: Vec<GroupName> = self.groups.keys().cloned().collect();
        for group in watched {
            let changed = old.monitors.get(&group) != self.watch_plan.monitors.get(&group);
            match steps.get(&group) {
                Some(steps) if changed => self.begin(&group, steps),
                Some(_) => {}
                None => drop(self.groups.remove(&group)),
            }
        }
    }
}

/// WatchPlan at one step in its own way or in the configured one.
struct Looker {
    step: ResolvedStep,
    check: Option<ActiveProbe>,
}

impl Looker {
    async fn look(&self, limits: &Limits) -> Result<(), String> {
        if let Some(check) = &self.check {
            return check.run(limits).await.map(drop);
        }
        match self.step.agent.monitor(limits).await {
            // It was started: a script whose status tells nothing says nothing against it.
            Ok(Status::Running | Status::Unclear) => Ok(()),
            Ok(Status::Stopped) => {
                Err(format!("{} does not run", self.step.step.members.join(" ")))
            }
            Err(AgentError::Failed(text) | AgentError::TimedOut(text)) => Err(text),
        }
    }

    async fn changed(&self) {
        match &self.check {
            Some(check) => check.changed().await,
            None => std::future::pending().await,
        }
    }
}

/// WatchPlan at one step until ended. It was only just seen to run, so the first look comes later; but at once where it
/// leads to a handle that tells of the end.
async fn keep_looking(
    (group, step): (GroupName, usize),
    looker: Looker,
    pace: Pace,
    engine: EngineHandle,
) {
    let mut due = Instant::now();
    if !looker
        .check
        .as_ref()
        .is_some_and(ActiveProbe::notices_changes)
    {
        due += pace.every;
    }
    loop {
        tokio::select! {
            () = sleep_until(due) => {}
            () = looker.changed() => {}
        }
        due = Instant::now() + pace.every;
        let limits = Limits::within(pace.timeout, &Abort::new());
        let tell = |result| {
            engine.event(Event::Monitored {
                group: group.clone(),
                step,
                result,
            });
        };
        in_time(looker.look(&limits), pace, tell).await;
    }
}

/// Checks the node until ended, for the first time at once.
async fn keep_checking(name: String, check: ActiveProbe, pace: Pace, engine: EngineHandle) {
    loop {
        let due = Instant::now() + pace.every;
        let limits = Limits::within(pace.timeout, &Abort::new());
        let tell = |result| {
            engine.event(Event::Checked {
                check: name.clone(),
                result,
            });
        };
        in_time(check.run(&limits), pace, tell).await;
        tokio::select! {
            () = sleep_until(due) => {}
            () = check.changed() => {}
        }
    }
}

/// Tells what a look found, or from its deadline on, again and again, that it hangs. It ends by itself soon after, most
/// often; the next one waits for that.
async fn in_time<T>(
    look: impl Future<Output = Result<T, String>>,
    pace: Pace,
    tell: impl Fn(Result<T, String>),
) {
    let mut look = pin!(look);
    let mut patience = pace.timeout + SLACK;
    let mut late = false;
    loop {
        tokio::select! {
            biased;
            found = &mut look => {
                if !late {
                    tell(found);
                }
                return;
            }
            () = sleep(patience) => {
                tell(Err(format!("no answer within {:?}", pace.timeout)));
                (late, patience) = (true, pace.every);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::sync::Notify;

    use super::*;

    fn pace(timeout: Duration) -> Pace {
        Pace {
            every: Duration::from_millis(2),
            timeout,
        }
    }

    #[tokio::test]
    async fn what_a_look_finds_in_time_is_told_once() {
        let told = RefCell::new(Vec::new());
        let tell = |result| told.borrow_mut().push(result);
        in_time(async { Ok(7) }, pace(Duration::from_secs(600)), tell).await;
        assert_eq!(told.into_inner(), [Ok(7)]);
    }

    #[tokio::test]
    async fn a_look_that_hangs_fails_again_and_again_and_what_it_finds_in_the_end_is_old() {
        let (told, enough) = (RefCell::new(Vec::new()), Notify::new());
        let tell = |result| {
            told.borrow_mut().push(result);
            if told.borrow().len() == 3 {
                enough.notify_one();
            }
        };
        let look = async {
            enough.notified().await;
            Ok(())
        };
        in_time(look, pace(Duration::from_millis(1)), tell).await;
        let hangs = Err("no answer within 1ms".to_owned());
        assert_eq!(told.into_inner(), vec![hangs; 3]);
    }
}
