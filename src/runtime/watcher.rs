//! Monitors running resources and checks this node, and sends the results to the engine.
//!
//! Each resource and each check has a task of its own, so no two probes of the same thing run at once. Before anything is
//! done to a group, its monitors are stopped, together with whatever they run.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::engine_handle::EngineHandle;
use crate::agent::exec::runner;
use crate::agent::resolve::ResolvedStep;
use crate::agent::{Abort, Limits, Status};
use crate::assembly::watch_plan::{Monitor, WatchPlan};
use crate::engine::Event;
use crate::model::GroupName;
use crate::model::health::{Pace, Probe};
use crate::model::status::CheckStatus;
use crate::probe::ActiveProbe;
use crate::text::duration_for_people;

/// A probe ends itself at its deadline; it may take this long to report that.
const REPORT_SLACK: Duration = Duration::from_millis(20);
/// What still runs of a probe that was aborted has ended after this time, unless it hangs inside the kernel.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// The monitors of all groups and the checks of this node. Dropped, it ends them.
pub struct Watcher {
    watch_plan: WatchPlan,
    engine: EngineHandle,
    groups: HashMap<GroupName, ProbeTasks>,
    checks: ProbeTasks,
    lags: Lags,
}

/// How far behind the replicas are that checks watch, by the name of the check.
type Lags = Arc<Mutex<HashMap<String, Duration>>>;

/// Tasks that are aborted, together with what they run, when this is dropped.
#[derive(Default)]
struct ProbeTasks {
    tasks: Vec<JoinHandle<()>>,
    /// Every probe of these tasks has a clone, also in a thread of its own.
    probes: Abort,
}

impl Drop for ProbeTasks {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl ProbeTasks {
    /// Aborts the tasks and waits until nothing of them runs, except what hangs inside the kernel.
    async fn stop(mut self) {
        let tasks = std::mem::take(&mut self.tasks);
        for task in &tasks {
            task.abort();
        }
        join_all(tasks).await;
        let probes = std::mem::take(&mut self.probes);
        if timeout(END_TIMEOUT, probes.released()).await.is_err() {
            tracing::warn!("a probe hangs inside the kernel and is left behind");
        }
    }
}

impl Watcher {
    /// Starts the checks of this node. Monitors of a group start with [`Watcher::start_group`].
    pub fn new(watch_plan: WatchPlan, engine: EngineHandle) -> Self {
        let mut watcher = Watcher {
            watch_plan,
            engine,
            groups: HashMap::new(),
            checks: ProbeTasks::default(),
            lags: Lags::default(),
        };
        watcher.start_checks();
        watcher
    }

    fn start_checks(&mut self) {
        let WatchPlan {
            checks,
            env,
            netlink,
            peers,
            ..
        } = &self.watch_plan;
        let probes = Abort::new();
        self.lags = Lags::default();
        let task = |(name, probe, pace): &(String, Probe, Pace)| {
            let check = ActiveProbe::new(probe, env, netlink, peers);
            tokio::spawn(keep_checking(
                name.clone(),
                Arc::new(check),
                *pace,
                probes.clone(),
                (self.engine.clone(), Arc::clone(&self.lags)),
            ))
        };
        let tasks = checks.iter().map(task).collect();
        self.checks = ProbeTasks { tasks, probes };
    }

    /// Adds how far behind replicas are, which the engine does not need.
    pub fn add_lags(&self, checks: &mut [CheckStatus]) {
        let lags = lock(&self.lags);
        for check in checks {
            check.lag = lags.get(&check.name).copied();
        }
    }

    /// Starts the monitors of a group.
    pub fn start_group(&mut self, group: &GroupName, steps: &Arc<Vec<ResolvedStep>>) {
        let watched = self.watch_plan.monitors.get(group).into_iter().flatten();
        let probes = Abort::new();
        let task = |watched: &Monitor| {
            let plan = &self.watch_plan;
            let probe = watched.probe.as_ref();
            let active = |p| ActiveProbe::new(p, &plan.env, &plan.netlink, &plan.peers);
            let monitor = StepMonitor {
                step: steps.get(watched.step)?.clone(),
                check: probe.map(active).map(Arc::new),
            };
            Some(tokio::spawn(keep_monitoring(
                (group.clone(), watched.step),
                monitor,
                watched.pace,
                probes.clone(),
                self.engine.clone(),
            )))
        };
        let tasks = watched.filter_map(task).collect();
        let tasks = ProbeTasks { tasks, probes };
        self.groups.insert(group.clone(), tasks);
    }

    /// Stops the monitors of a group. The future completes when nothing of them runs any more.
    pub fn stop_group(&mut self, group: &GroupName) -> impl Future<Output = ()> + Send + use<> {
        let tasks = self.groups.remove(group).unwrap_or_default();
        tasks.stop()
    }

    /// Uses a new configuration. Monitors and checks that did not change go on undisturbed.
    pub fn reconfigure(
        &mut self,
        watch_plan: WatchPlan,
        steps: &HashMap<GroupName, Arc<Vec<ResolvedStep>>>,
    ) {
        let checks_changed = self.watch_plan.checks != watch_plan.checks;
        let old = std::mem::replace(&mut self.watch_plan, watch_plan);
        if checks_changed {
            self.start_checks();
        }
        let watched: Vec<GroupName> = self.groups.keys().cloned().collect();
        for group in watched {
            let changed = old.monitors.get(&group) != self.watch_plan.monitors.get(&group);
            match steps.get(&group) {
                Some(steps) if changed => self.start_group(&group, steps),
                Some(_) => {}
                None => drop(self.groups.remove(&group)),
            }
        }
    }
}

/// Probes one step, with its own agent or with the configured probe.
struct StepMonitor {
    step: ResolvedStep,
    check: Option<Arc<ActiveProbe>>,
}

impl StepMonitor {
    async fn probe(&self, limits: &Limits) -> Result<(), String> {
        if let Some(check) = &self.check {
            return check.run(limits).await.map(drop);
        }
        match runner::monitor_patiently(&self.step, limits).await {
            // It was started, and a script whose status says nothing gives no reason to doubt that.
            Ok(Status::Running | Status::Unclear) => Ok(()),
            Ok(Status::Stopped) => Err(format!(
                "{} is not running",
                self.step.step.members.join(" ")
            )),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn changed(&self) {
        match &self.check {
            Some(check) => check.changed().await,
            None => std::future::pending().await,
        }
    }
}

/// Monitors one step until aborted. It has just been seen running, so the first probe waits; a check that needs a first
/// probe to notice the end of a process runs it at once.
async fn keep_monitoring(
    (group, step): (GroupName, usize),
    monitor: StepMonitor,
    pace: Pace,
    probes: Abort,
    engine: EngineHandle,
) {
    let mut due = Instant::now();
    if !monitor.check.as_ref().is_some_and(|c| c.notices_changes()) {
        due += pace.every;
    }
    loop {
        tokio::select! {
            () = sleep_until(due) => {}
            () = monitor.changed() => {}
        }
        due = Instant::now() + pace.every;
        let limits = Limits::within(pace.timeout, &probes);
        let report = |result| {
            engine.send_event(Event::Monitored {
                group: group.clone(),
                step,
                result,
            });
        };
        report_in_time(monitor.probe(&limits), pace, report).await;
    }
}

/// Runs one check of this node until aborted, for the first time at once.
async fn keep_checking(
    name: String,
    check: Arc<ActiveProbe>,
    pace: Pace,
    probes: Abort,
    (engine, lags): (EngineHandle, Lags),
) {
    loop {
        let due = Instant::now() + pace.every;
        let limits = Limits::within(pace.timeout, &probes);
        let report = |result| {
            engine.send_event(Event::Checked {
                check: name.clone(),
                result,
            });
        };
        report_in_time(check.run(&limits), pace, report).await;
        keep_lag(&lags, &name, check.lag());
        tokio::select! {
            () = sleep_until(due) => {}
            () = check.changed() => {}
        }
    }
}

/// Reports the result of a probe. From its deadline on, it reports a timeout again and again until the probe ends, and the
/// result that then comes too late is dropped.
async fn report_in_time<T>(
    probe: impl Future<Output = Result<T, String>>,
    pace: Pace,
    report: impl Fn(Result<T, String>),
) {
    let mut probe = pin!(probe);
    let mut patience = pace.timeout + REPORT_SLACK;
    let mut late = false;
    loop {
        tokio::select! {
            biased;
            found = &mut probe => {
                if !late {
                    report(found);
                }
                return;
            }
            () = sleep(patience) => {
                report(Err(format!("no answer within {}", duration_for_people(pace.timeout))));
                (late, patience) = (true, pace.every);
            }
        }
    }
}

fn keep_lag(lags: &Lags, check: &str, lag: Option<Duration>) {
    let mut lags = lock(lags);
    match lag {
        Some(lag) => lags.insert(check.to_owned(), lag),
        None => lags.remove(check),
    };
}

fn lock(lags: &Lags) -> MutexGuard<'_, HashMap<String, Duration>> {
    lags.lock().unwrap_or_else(PoisonError::into_inner)
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
    async fn a_result_in_time_is_reported_once() {
        let reported = RefCell::new(Vec::new());
        let report = |result| reported.borrow_mut().push(result);
        report_in_time(async { Ok(7) }, pace(Duration::from_secs(600)), report).await;
        assert_eq!(reported.into_inner(), [Ok(7)]);
    }

    #[tokio::test]
    async fn a_probe_that_hangs_fails_again_and_again_and_its_late_result_is_dropped() {
        let (reported, enough) = (RefCell::new(Vec::new()), Notify::new());
        let report = |result| {
            reported.borrow_mut().push(result);
            if reported.borrow().len() == 3 {
                enough.notify_one();
            }
        };
        let probe = async {
            enough.notified().await;
            Ok(())
        };
        report_in_time(probe, pace(Duration::from_millis(1)), report).await;
        let hangs = Err("no answer within 1.00 ms".to_owned());
        assert_eq!(reported.into_inner(), vec![hangs; 3]);
    }
}
