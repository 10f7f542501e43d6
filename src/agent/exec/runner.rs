//! Runs one action on one step, within the step's deadline; this is what the runtime calls.
//!
//! Agents keep to their deadline by themselves. The bound here catches those that do not. An agent may also block: it reads
//! files, starts programs and asks for users, any of which can hang on a dead disk or server. So it runs in a thread of its
//! own. Only addresses do not: they talk to nothing but the kernel, and renewing them must not wait for a thread.

use std::sync::Arc;

use futures::future::join_all;
use tokio::time::{sleep, sleep_until};

use crate::agent::exec::blocking::{SLACK, run_apart};
use crate::agent::resolve::ResolvedStep;
use crate::agent::{Abort, Agent, AgentError, Limits, Status};

/// Monitors every step of a group at the same time. Returns whether each runs; `None` if it runs but is not well, or if
/// monitoring failed (the reason is logged). If `held`, meaning that this node may have had the group since boot, an unclear
/// status is `None` too: an earlier daemon may have started the step, and another node must not start it again.
pub async fn probe_steps(steps: &[ResolvedStep], held: bool, abort: &Abort) -> Vec<Option<bool>> {
    let probes = steps.iter().map(|step| async {
        match monitor(step, abort).await {
            Ok(Status::Running) => Some(true),
            Ok(Status::Unclear) if held => {
                tracing::warn!(
                    "status of {} reports neither \"running\" nor \"stopped\"; this node ran it before, so its state counts as unknown",
                    step.step.members.join(" ")
                );
                None
            }
            Ok(Status::Stopped | Status::Unclear) => Some(false),
            Err(error) => {
                tracing::warn!("{error}");
                None
            }
        }
    });
    join_all(probes).await
}

/// Starts a step. If it already runs, that is a success.
pub async fn start(step: &ResolvedStep, abort: &Abort) -> Result<(), AgentError> {
    let limits = Limits::within(step.step.start, abort);
    let start = async |agent: Arc<dyn Agent>, limits: Limits| agent.start(&limits).await;
    bounded(step, "start", &limits, &limits, start).await
}

/// Stops a step, whatever its state. After an error it may still run.
pub async fn stop(step: &ResolvedStep, abort: &Abort) -> Result<(), AgentError> {
    let limits = Limits::within(step.step.stop, abort);
    let stop = async |agent: Arc<dyn Agent>, limits: Limits| agent.stop(&limits).await;
    bounded(step, "stop", &limits, &limits, stop).await
}

/// Checks whether a step runs.
pub async fn monitor(step: &ResolvedStep, abort: &Abort) -> Result<Status, AgentError> {
    let limits = Limits::within(step.step.monitor, abort);
    let monitor = async |agent: Arc<dyn Agent>, limits: Limits| agent.monitor(&limits).await;
    bounded(step, "monitor", &limits, &limits, monitor).await
}

/// The same with these limits, but does not return while the agent hangs. The caller knows when it takes too long, and must
/// not start another meanwhile.
pub async fn monitor_patiently(step: &ResolvedStep, limits: &Limits) -> Result<Status, AgentError> {
    let monitor = async |agent: Arc<dyn Agent>, limits: Limits| agent.monitor(&limits).await;
    bounded(step, "monitor", limits, &limits.patient(), monitor).await
}

async fn bounded<T, F>(
    step: &ResolvedStep,
    action: &str,
    limits: &Limits,
    give_up: &Limits,
    work: impl FnOnce(Arc<dyn Agent>, Limits) -> F + Send + 'static,
) -> Result<T, AgentError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, AgentError>>,
{
    let what = || format!("{action} of {}", step.step.members.join(" "));
    let (agent, own_limits) = (Arc::clone(&step.agent), limits.clone());
    let work = move || work(agent, own_limits);
    if step.addresses.is_none() {
        let done = run_apart(give_up, &what(), work).await;
        return done.unwrap_or_else(Err);
    }
    let aborted = async {
        give_up.abort.aborted().await;
        sleep(SLACK).await;
    };
    tokio::select! {
        biased;
        done = work() => done,
        () = sleep_until(give_up.until + SLACK) => {
            Err(AgentError::TimedOut(format!("{} timed out", what())))
        }
        () = aborted => Err(AgentError::Failed(format!("{} was aborted", what()))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;

    use super::*;
    use crate::model::cluster::{Step, Timeouts};

    /// Monitors as this result; a start waits for the abort, a stop never ends.
    struct Fake(Result<Status, AgentError>);

    #[async_trait]
    impl Agent for Fake {
        async fn start(&self, limits: &Limits) -> Result<(), AgentError> {
            limits.abort.aborted().await;
            Err(AgentError::Failed("aborted".to_owned()))
        }

        async fn stop(&self, _limits: &Limits) -> Result<(), AgentError> {
            std::future::pending().await
        }

        async fn monitor(&self, _limits: &Limits) -> Result<Status, AgentError> {
            self.0.clone()
        }
    }

    fn step(look: Result<Status, AgentError>) -> ResolvedStep {
        ResolvedStep {
            step: Step {
                stop: Duration::ZERO,
                ..Step::new(
                    vec!["fake".to_owned(), "two".to_owned()],
                    false,
                    Timeouts::default(),
                )
            },
            agent: Arc::new(Fake(look)),
            addresses: None,
            missing: None,
            what: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_probe_returns_running_stopped_and_unknown_in_order() {
        let failed = AgentError::Failed("cannot look".to_owned());
        let looks = [Ok(Status::Running), Err(failed), Ok(Status::Stopped)];
        let steps = looks.map(step);
        let seen = probe_steps(&steps, true, &Abort::new()).await;
        assert_eq!(seen, [Some(true), None, Some(false)]);
    }

    #[tokio::test]
    async fn an_unclear_status_is_no_proof_that_a_held_step_is_stopped() {
        let steps = [step(Ok(Status::Unclear))];
        assert_eq!(probe_steps(&steps, true, &Abort::new()).await, [None]);
        assert_eq!(
            probe_steps(&steps, false, &Abort::new()).await,
            [Some(false)]
        );
    }

    #[tokio::test]
    async fn the_error_of_an_aborted_agent_is_kept() {
        let abort = Abort::new();
        abort.abort();
        let error = start(&step(Ok(Status::Stopped)), &abort).await;
        assert_eq!(error, Err(AgentError::Failed("aborted".to_owned())));
    }

    #[tokio::test]
    async fn an_agent_that_ignores_its_deadline_is_given_up() {
        let error = stop(&step(Ok(Status::Running)), &Abort::new()).await;
        let text = "stop of fake two timed out".to_owned();
        assert_eq!(error, Err(AgentError::TimedOut(text)));
    }
}
