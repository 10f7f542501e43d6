//! What the runtime calls: one action on one step, within the step's deadline.
//!
//! Agents end what they run by themselves when their time is over. The bound here is for those that do not.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{sleep, sleep_until};

use crate::agent::exec::supervise::GRACE;
use crate::agent::resolve::ResolvedStep;
use crate::agent::{Abort, AgentError, Limits, Status};

/// What an agent may need beyond its deadline: TERM, KILL, and to see that it is dead.
const SLACK: Duration = Duration::from_secs(3 * GRACE.as_secs() + 1);

/// Looks at every step of a group, all at the same time. `None` where a step is there but not well, or the look
/// failed; the reason is logged. Where `held` (this node had the group in this boot, as far as is known) a look that tells
/// nothing is `None` too: to take what a former daemon started for stopped would let another node start it.
pub async fn probe(steps: &[ResolvedStep], held: bool, abort: &Abort) -> Vec<Option<bool>> {
    let looks = steps.iter().map(|step| async {
        match monitor(step, abort).await {
            Ok(Status::Running) => Some(true),
            Ok(Status::Unclear) if held => {
                tracing::warn!(
                    "status of {} says neither \"running\" nor \"stopped\", and this node had it: it counts as unknown",
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
    join_all(looks).await
}

/// Starts a step. Running already is success.
pub async fn start(step: &ResolvedStep, abort: &Abort) -> Result<(), AgentError> {
    let limits = Limits::within(step.step.start, abort);
    bounded(step, "start", &limits, step.agent.start(&limits)).await
}

/// Stops a step, whatever its state. An error means that it may still run.
pub async fn stop(step: &ResolvedStep, abort: &Abort) -> Result<(), AgentError> {
    let limits = Limits::within(step.step.stop, abort);
    bounded(step, "stop", &limits, step.agent.stop(&limits)).await
}

/// Looks at a step.
pub async fn monitor(step: &ResolvedStep, abort: &Abort) -> Result<Status, AgentError> {
    let limits = Limits::within(step.step.monitor, abort);
    bounded(step, "monitor", &limits, step.agent.monitor(&limits)).await
}

async fn bounded<T>(
    step: &ResolvedStep,
    action: &str,
    limits: &Limits,
    work: impl Future<Output = Result<T, AgentError>>,
) -> Result<T, AgentError> {
    let what = || format!("{action} of {}", step.step.members.join(" "));
    let aborted = async {
        limits.abort.aborted().await;
        sleep(SLACK).await;
    };
    tokio::select! {
        biased;
        done = work => done,
        () = sleep_until(limits.until + SLACK) => {
            Err(AgentError::TimedOut(format!("{}: no end at its deadline", what())))
        }
        () = aborted => Err(AgentError::Failed(format!("{}: ended by order", what()))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;

    use super::*;
    use crate::agent::Agent;
    use crate::model::cluster::Step;

    /// Looks like this; starting hangs until aborted, and then takes its time.
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
                members: vec!["fake".to_owned(), "two".to_owned()],
                addresses: false,
                start: Duration::from_secs(600),
                stop: Duration::ZERO,
                monitor: Duration::from_secs(600),
                removal: Duration::ZERO,
                policy: None,
            },
            agent: Arc::new(Fake(look)),
            addresses: None,
            what: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_probe_tells_running_stopped_and_unknown_in_order() {
        let failed = AgentError::Failed("cannot look".to_owned());
        let looks = [Ok(Status::Running), Err(failed), Ok(Status::Stopped)];
        let steps = looks.map(step);
        let seen = probe(&steps, true, &Abort::new()).await;
        assert_eq!(seen, [Some(true), None, Some(false)]);
    }

    #[tokio::test]
    async fn a_look_that_tells_nothing_is_no_proof_that_what_was_held_is_stopped() {
        let steps = [step(Ok(Status::Unclear))];
        assert_eq!(probe(&steps, true, &Abort::new()).await, [None]);
        assert_eq!(probe(&steps, false, &Abort::new()).await, [Some(false)]);
    }

    #[tokio::test]
    async fn an_agent_that_heeds_the_abort_has_the_last_word() {
        let abort = Abort::new();
        abort.abort();
        let error = start(&step(Ok(Status::Stopped)), &abort).await;
        assert_eq!(error, Err(AgentError::Failed("aborted".to_owned())));
    }

    #[tokio::test]
    async fn an_agent_that_knows_no_deadline_is_ended_all_the_same() {
        let error = stop(&step(Ok(Status::Running)), &Abort::new()).await;
        let text = "stop of fake two: no end at its deadline".to_owned();
        assert_eq!(error, Err(AgentError::TimedOut(text)));
    }
}
