//! Walks an agent through all that it owes a cluster: what runs is left alone; else it is started twice and stopped twice,
//! with a look after each. Every break of the contract is said, and in the end nothing is left running.

use std::time::Duration;

use crate::agent::exec::runner;
use crate::agent::resolve::ResolvedStep;
use crate::agent::{Abort, Agent, AgentError, Bare, Limits, Status};

/// What a step of the walk came to.
pub enum Step {
    /// As it must be, after so long.
    Good(Duration),
    /// The contract is broken: in what.
    Broken(String),
    /// Not begun: why.
    Refused(String),
    /// No step, but worth knowing.
    Remark(String),
}

/// What is demanded of an action.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Demand {
    Validate,
    Refuse,
    Start,
    Stop,
    Look(Status),
}

/// The walk.
const WALK: [(&str, Demand); 11] = [
    ("validates its configuration", Demand::Validate),
    ("refuses an action that there is not", Demand::Refuse),
    ("says that it is stopped", Demand::Look(Status::Stopped)),
    ("starts", Demand::Start),
    ("says that it runs", Demand::Look(Status::Running)),
    ("starts while it runs", Demand::Start),
    ("still says that it runs", Demand::Look(Status::Running)),
    ("stops", Demand::Stop),
    (
        "says again that it is stopped",
        Demand::Look(Status::Stopped),
    ),
    ("stops while it is stopped", Demand::Stop),
    (
        "still says that it is stopped",
        Demand::Look(Status::Stopped),
    ),
];

/// Walks, and tells of each step. How many steps broke the contract; the walk ends where going on makes no sense.
pub async fn walk(step: &ResolvedStep, abort: &Abort, mut tell: impl FnMut(&str, &Step)) -> usize {
    let subject = Subject { step };
    if let Ok(Status::Running) = runner::monitor(step, abort).await {
        let why = "it runs already, and is not touched: stop it first";
        tell("is stopped before the test", &Step::Refused(why.to_owned()));
        return 1;
    }
    let mut broken = 0;
    let mut started = false;
    for (what, demand) in WALK {
        let outcome = subject.demand(demand, abort).await;
        let bad = !matches!(outcome, Step::Good(_));
        tell(what, &outcome);
        broken += usize::from(bad);
        started |= demand == Demand::Start;
        let pointless = bad && matches!(demand, Demand::Start | Demand::Stop | Demand::Validate);
        if pointless {
            break;
        }
    }
    if broken > 0 && started && !subject.clean().await {
        let why = "it could not be stopped: look what is left of it";
        tell("leaves nothing behind", &Step::Broken(why.to_owned()));
        broken += 1;
    }
    broken
}

struct Subject<'s> {
    step: &'s ResolvedStep,
}

impl Subject<'_> {
    async fn demand(&self, demand: Demand, abort: &Abort) -> Step {
        let times = &self.step.step;
        let time = match demand {
            Demand::Start => times.start,
            Demand::Stop => times.stop,
            Demand::Validate | Demand::Refuse | Demand::Look(_) => times.monitor,
        };
        let limits = Limits::within(time, abort);
        let began = tokio::time::Instant::now();
        let agent = self.step.agent.as_ref();
        let done = match agent.bare() {
            Some(bare) => bare_action(bare, demand, &limits).await,
            None => built_in(agent, demand, &limits).await,
        };
        match (demand, done) {
            (_, Err(error)) => Step::Broken(error.to_string()),
            (Demand::Look(wanted), Ok(Some(seen))) if seen != wanted => {
                Step::Broken(format!("says that it is {}", word(seen)))
            }
            (_, Ok(_)) => Step::Good(began.elapsed()),
        }
    }

    /// Stops what a broken walk may have left, with all patience that the daemon has.
    async fn clean(&self) -> bool {
        let stopped = runner::stop(self.step, &Abort::new()).await;
        stopped.is_ok()
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Running => "running",
        Status::Stopped => "stopped",
        Status::Unclear => "something unclear",
    }
}

async fn bare_action(
    agent: &dyn Bare,
    demand: Demand,
    limits: &Limits,
) -> Result<Option<Status>, AgentError> {
    match demand {
        Demand::Validate => agent.validate(limits).await.map(|()| None),
        Demand::Refuse => agent.refuse(limits).await.map(|()| None),
        Demand::Start => agent.bare_start(limits).await.map(|()| None),
        Demand::Stop => agent.bare_stop(limits).await.map(|()| None),
        Demand::Look(_) => agent.bare_look(limits).await.map(Some),
    }
}

async fn built_in(
    agent: &dyn Agent,
    demand: Demand,
    limits: &Limits,
) -> Result<Option<Status>, AgentError> {
    match demand {
        Demand::Validate | Demand::Refuse => Ok(None),
        Demand::Start => agent.start(limits).await.map(|()| None),
        Demand::Stop => agent.stop(limits).await.map(|()| None),
        Demand::Look(_) => agent.monitor(limits).await.map(Some),
    }
}

#[cfg(test)]
mod tests;
