//! Tests whether an agent fulfils its contract with the cluster: it is started twice and stopped twice, with a monitor action
//! after each. A resource that already runs is not touched. Every violation is reported, and nothing is left running.

use std::time::Duration;

use crate::agent::exec::runner;
use crate::agent::resolve::ResolvedStep;
use crate::agent::{Abort, Agent, AgentError, Limits, RawActions, Status};

/// The result of one test.
pub enum TestResult {
    /// It passed; how long it took.
    Passed(Duration),
    /// The contract is violated; how.
    Violated(String),
    /// The test was not begun; why.
    Refused(String),
    /// Not a test, but a remark.
    Remark(String),
}

/// What is tested.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TestedAction {
    Validate,
    RejectUnknown,
    Start,
    Stop,
    Monitor(Status),
}

/// What is tested only where the agent has such an action.
const ONLY_OF_OCF: [TestedAction; 2] = [TestedAction::Validate, TestedAction::RejectUnknown];

/// All tests in order.
const TESTS: [(&str, TestedAction); 11] = [
    ("validates its configuration", TestedAction::Validate),
    ("rejects an unknown action", TestedAction::RejectUnknown),
    (
        "reports that it is stopped",
        TestedAction::Monitor(Status::Stopped),
    ),
    ("starts", TestedAction::Start),
    (
        "reports that it runs",
        TestedAction::Monitor(Status::Running),
    ),
    ("starts while it runs", TestedAction::Start),
    (
        "still reports that it runs",
        TestedAction::Monitor(Status::Running),
    ),
    ("stops", TestedAction::Stop),
    (
        "reports again that it is stopped",
        TestedAction::Monitor(Status::Stopped),
    ),
    ("stops while it is stopped", TestedAction::Stop),
    (
        "still reports that it is stopped",
        TestedAction::Monitor(Status::Stopped),
    ),
];

/// Runs the tests and reports each result. Returns the number of violations. Ends early if further tests make no sense.
pub async fn run_tests(
    step: &ResolvedStep,
    abort: &Abort,
    mut report: impl FnMut(&str, &TestResult),
) -> usize {
    let subject = TestSubject { step };
    if let Ok(Status::Running) = runner::monitor(step, abort).await {
        let why = "it already runs and is not touched: stop it first";
        report(
            "is stopped before the test",
            &TestResult::Refused(why.to_owned()),
        );
        return 1;
    }
    let mut violations = 0;
    let mut started = false;
    let checks_itself = step
        .agent
        .raw_actions()
        .is_some_and(RawActions::checks_itself);
    let is_made = |action| checks_itself || !ONLY_OF_OCF.contains(&action);
    for (what, action) in TESTS.into_iter().filter(|(_, action)| is_made(*action)) {
        let outcome = subject.run_action(action, abort).await;
        let bad = !matches!(outcome, TestResult::Passed(_));
        report(what, &outcome);
        violations += usize::from(bad);
        started |= action == TestedAction::Start;
        let pointless = bad
            && matches!(
                action,
                TestedAction::Start | TestedAction::Stop | TestedAction::Validate
            );
        if pointless {
            break;
        }
    }
    if violations > 0 && started && !subject.clean_up().await {
        let why = "it could not be stopped after the test: stop what still runs by hand";
        report(
            "leaves nothing behind",
            &TestResult::Violated(why.to_owned()),
        );
        violations += 1;
    }
    violations
}

struct TestSubject<'s> {
    step: &'s ResolvedStep,
}

impl TestSubject<'_> {
    async fn run_action(&self, action: TestedAction, abort: &Abort) -> TestResult {
        let times = &self.step.step;
        let time = match action {
            TestedAction::Start => times.start,
            TestedAction::Stop => times.stop,
            TestedAction::Validate | TestedAction::RejectUnknown | TestedAction::Monitor(_) => {
                times.monitor
            }
        };
        let limits = Limits::within(time, abort);
        let began = tokio::time::Instant::now();
        let agent = self.step.agent.as_ref();
        let done = match agent.raw_actions() {
            Some(raw) => run_raw_action(raw, action, &limits).await,
            None => run_agent_action(agent, action, &limits).await,
        };
        match (action, done) {
            (_, Err(error)) => TestResult::Violated(error.to_string()),
            (TestedAction::Monitor(wanted), Ok(Some(found))) if found != wanted => {
                TestResult::Violated(format!("reports that it is {}", status_word(found)))
            }
            (_, Ok(_)) => TestResult::Passed(began.elapsed()),
        }
    }

    /// Stops what failed tests may have left, with the same retries as the daemon.
    async fn clean_up(&self) -> bool {
        let stopped = runner::stop(self.step, &Abort::new()).await;
        stopped.is_ok()
    }
}

fn status_word(status: Status) -> &'static str {
    match status {
        Status::Running => "running",
        Status::Stopped => "stopped",
        Status::Unclear => "in an unclear state",
    }
}

async fn run_raw_action(
    agent: &dyn RawActions,
    action: TestedAction,
    limits: &Limits,
) -> Result<Option<Status>, AgentError> {
    match action {
        TestedAction::Validate => agent.validate(limits).await.map(|()| None),
        TestedAction::RejectUnknown => agent.reject_unknown_action(limits).await.map(|()| None),
        TestedAction::Start => agent.raw_start(limits).await.map(|()| None),
        TestedAction::Stop => agent.raw_stop(limits).await.map(|()| None),
        TestedAction::Monitor(_) => agent.raw_monitor(limits).await.map(Some),
    }
}

async fn run_agent_action(
    agent: &dyn Agent,
    action: TestedAction,
    limits: &Limits,
) -> Result<Option<Status>, AgentError> {
    match action {
        TestedAction::Validate | TestedAction::RejectUnknown => Ok(None),
        TestedAction::Start => agent.start(limits).await.map(|()| None),
        TestedAction::Stop => agent.stop(limits).await.map(|()| None),
        TestedAction::Monitor(_) => agent.monitor(limits).await.map(Some),
    }
}

#[cfg(test)]
mod tests;
