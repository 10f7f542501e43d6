//! DRBD's question what the peer's data is worth before this side goes on without it: asked of the peers' daemons over the
//! cluster's links, answered here.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::{arguments, kernel};
use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};
use crate::model::NodeName;
use crate::model::drbd::{Disk, Role, State};
use crate::model::peer_message::{Fenced, Question, Reply};

/// Between two looks at a link whose loss is not noticed yet.
const PAUSE: Duration = Duration::from_millis(200);
/// How long that is waited for: DRBD notices a dead link within `timeout` and `ping-timeout`, seconds by default.
const NOTICE: Duration = Duration::from_secs(15);

/// The other nodes of the cluster, as far as agents need them.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Whether one of them lives.
    async fn any_lives(&self) -> bool;
    /// Whether votes are counted and this side has too few of them: another may go on without it.
    async fn in_minority(&self) -> bool;
    /// Asks all of them, until each has answered or is dead.
    async fn ask(&self, question: Question, limits: &Limits) -> Vec<(NodeName, Answer)>;
}

/// What came of a question to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is dead, or has left.
    Gone,
    /// It lives and did not answer in time.
    Silent,
    /// It answered; an error is a sentence for an administrator.
    Said(Result<Reply, String>),
}

/// Nobody else: for a look at one node alone.
pub struct Nobody;

#[async_trait]
impl Peers for Nobody {
    async fn any_lives(&self) -> bool {
        false
    }

    async fn in_minority(&self) -> bool {
        false
    }

    async fn ask(&self, _: Question, _: &Limits) -> Vec<(NodeName, Answer)> {
        Vec::new()
    }
}

/// What all answers come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The peer's data will not be used.
    Outdated(NodeName),
    /// The same, because it is worth nothing.
    Inconsistent(NodeName),
    /// Nobody who has the resource lives.
    Gone,
    /// The peer writes, or has what this side lacks: this side must not go on.
    Newer(NodeName, Fenced),
    /// Its data is not known; the sentence says why.
    Unknown(String),
}

impl Verdict {
    /// Of all answers.
    pub fn of(resource: &str, answers: &[(NodeName, Answer)]) -> Self {
        let said = |wanted: Fenced| {
            let mut all = answers.iter();
            all.find(|(_, a)| matches!(a, Answer::Said(Ok(Reply::Outdate(f))) if *f == wanted))
                .map(|(node, _)| node.clone())
        };
        for newer in [Fenced::Primary, Fenced::Ahead] {
            if let Some(node) = said(newer) {
                return Verdict::Newer(node, newer);
            }
        }
        if let Some(node) = said(Fenced::Outdated) {
            return Verdict::Outdated(node);
        }
        if let Some(node) = said(Fenced::Inconsistent) {
            return Verdict::Inconsistent(node);
        }
        let unknown = |(node, answer): &(NodeName, Answer)| match answer {
            Answer::Silent => Some(format!("{node} lives and does not answer")),
            Answer::Said(Err(why)) => Some(format!("{node}: {why}")),
            Answer::Said(Ok(Reply::Outdate(Fenced::NotUp))) => Some(format!(
                "{resource} is not up on {node}: drbdadm up {resource} there"
            )),
            Answer::Said(Ok(_)) | Answer::Gone => None,
        };
        match answers.iter().find_map(unknown) {
            Some(why) => Verdict::Unknown(why),
            None => Verdict::Gone,
        }
    }

    /// The exit code of a `fence-peer` handler (drbd.conf(5)). A side that writes already goes on next to a peer of which
    /// nothing is known, as it would without a handler; one that only wants to begin does not.
    pub fn exit_code(&self, primary: bool) -> u8 {
        match self {
            Verdict::Inconsistent(_) => 3,
            Verdict::Outdated(_) => 4,
            Verdict::Gone => 5,
            Verdict::Newer(_, _) => 6,
            Verdict::Unknown(_) if primary => 5,
            Verdict::Unknown(_) => 20,
        }
    }
}

/// Answers a peer.
///
/// # Errors
/// A sentence for the administrator on the other side.
pub async fn answer(question: &Question, limits: &Limits) -> Result<Reply, String> {
    let (Question::Drbd(resource) | Question::Outdate { resource, .. }) = question;
    if !arguments::is_name(resource) {
        return Err(format!(
            "`{resource}` cannot be the name of a DRBD resource"
        ));
    }
    let answered = async {
        if !kernel::configured(resource, limits).await? {
            return Ok(Reply::NotConfigured);
        }
        Ok(match question {
            Question::Drbd(_) => Reply::Drbd(kernel::standing(resource, limits).await?),
            Question::Outdate { primary, .. } => {
                Reply::Outdate(outdate(resource, *primary, limits).await?)
            }
        })
    };
    answered.await.map_err(|e: AgentError| e.to_string())
}

/// Marks the data of this side as outdated, where it may be.
async fn outdate(resource: &str, primary: bool, limits: &Limits) -> Result<Fenced, AgentError> {
    let begun = Instant::now();
    loop {
        let Some(state) = kernel::look(resource, limits).await? else {
            return Ok(Fenced::NotUp);
        };
        if let Some(known) = already(&state) {
            return Ok(known);
        }
        if !state.connected() {
            break;
        }
        if begun.elapsed() > NOTICE {
            let text = format!("this side of {resource} is connected still: {state}");
            return Err(AgentError::Failed(text));
        }
        sleep(PAUSE).await;
    }
    if !primary && kernel::ahead(resource, limits).await? {
        return Ok(Fenced::Ahead);
    }
    let done = system_tool::run("drbdadm", &["outdate", resource], limits).await?;
    let state = kernel::look(resource, limits).await?;
    match state.as_ref().and_then(already) {
        Some(known) => Ok(known),
        None => Err(kernel::failed("drbdadm outdate", &done)),
    }
}

/// What needs no order.
fn already(state: &State) -> Option<Fenced> {
    if state.role == Role::Primary {
        return Some(Fenced::Primary);
    }
    let has = |wanted: fn(&Disk) -> bool| state.volumes.iter().any(|v| wanted(&v.disk));
    if has(|d| !matches!(d, Disk::UpToDate | Disk::Consistent | Disk::Outdated)) {
        return Some(Fenced::Inconsistent);
    }
    has(|d| *d == Disk::Outdated).then_some(Fenced::Outdated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(answers: &[Answer]) -> Verdict {
        let named = |(n, a): (usize, &Answer)| (NodeName::new(&format!("n{n}")), a.clone());
        let answers: Vec<_> = answers.iter().enumerate().map(named).collect();
        Verdict::of("db", &answers)
    }

    #[test]
    fn the_worst_answer_counts_and_has_the_code_that_drbd_knows() {
        let fenced = |f| Answer::Said(Ok(Reply::Outdate(f)));
        let none = Answer::Said(Ok(Reply::NotConfigured));
        for (answers, codes) in [
            (vec![], (5, 5)),
            (vec![Answer::Gone], (5, 5)),
            (vec![none.clone()], (5, 5)),
            (vec![Answer::Gone, none.clone()], (5, 5)),
            (vec![none.clone(), fenced(Fenced::Outdated)], (4, 4)),
            (vec![fenced(Fenced::Inconsistent)], (3, 3)),
            (vec![fenced(Fenced::Primary)], (6, 6)),
            (
                vec![fenced(Fenced::Outdated), fenced(Fenced::Ahead)],
                (6, 6),
            ),
            (vec![fenced(Fenced::NotUp)], (5, 20)),
            (vec![Answer::Silent], (5, 20)),
            (
                vec![Answer::Said(Err("no drbdsetup".into())), none],
                (5, 20),
            ),
        ] {
            let verdict = verdict(&answers);
            let found = (verdict.exit_code(true), verdict.exit_code(false));
            assert_eq!(found, codes, "{answers:?}: {verdict:?}");
        }
    }

    #[tokio::test]
    async fn what_a_peer_names_is_not_given_to_a_program_unseen() {
        let limits = Limits::within(Duration::from_secs(60), &crate::agent::Abort::new());
        let said = answer(&Question::Drbd("--help".into()), &limits).await;
        assert!(said.unwrap_err().contains("cannot be the name"));
    }
}
