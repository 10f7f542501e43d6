//! Fencing of DRBD: before one side continues without the other, DRBD wants to know the state of the peer's data. The daemons of
//! the other nodes are asked over the cluster's links; this module also answers such questions.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::{arguments, kernel};
use crate::agent::exec::blocking::run_apart;
use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};
use crate::model::NodeName;
use crate::model::drbd::{Disk, Role, State};
use crate::model::peer_message::{Fenced, PeerQuestion, PeerReply};

/// The pause between two checks of a connection whose loss DRBD has not noticed yet.
const PAUSE: Duration = Duration::from_millis(200);
/// How long to wait for that. DRBD notices a dead link within `timeout` and `ping-timeout`, some seconds by default.
const LINK_LOSS_WAIT: Duration = Duration::from_secs(15);

/// The other nodes of the cluster, as far as agents need them.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Whether one of them is alive.
    async fn any_alive(&self) -> bool;
    /// Whether this side has lost quorum, so that another side may continue without it.
    async fn in_minority(&self) -> bool;
    /// Asks all of them. Waits until each has answered or is dead.
    async fn ask(&self, question: PeerQuestion, limits: &Limits) -> Vec<(NodeName, PeerAnswer)>;
}

/// The answer of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAnswer {
    /// The node is dead or has left.
    Gone,
    /// It is alive, but did not answer in time.
    Silent,
    /// It answered; an error is a text for an administrator.
    Said(Result<PeerReply, String>),
}

/// No other nodes: for commands that concern this node alone.
pub struct NoPeers;

#[async_trait]
impl Peers for NoPeers {
    async fn any_alive(&self) -> bool {
        false
    }

    async fn in_minority(&self) -> bool {
        false
    }

    async fn ask(&self, _: PeerQuestion, _: &Limits) -> Vec<(NodeName, PeerAnswer)> {
        Vec::new()
    }
}

/// What all answers mean together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerVerdict {
    /// The peer's data is outdated and will not be used.
    Outdated(NodeName),
    /// The peer's data is inconsistent and will not be used.
    Inconsistent(NodeName),
    /// No node with the resource is alive.
    Gone,
    /// The peer is Primary or has newer data: this side must not continue.
    Newer(NodeName, Fenced),
    /// The state of the peer's data is unknown; the text says why.
    Unknown(String),
}

impl PeerVerdict {
    /// The verdict over all answers.
    pub fn from_answers(resource: &str, answers: &[(NodeName, PeerAnswer)]) -> Self {
        let node_with = |wanted: Fenced| {
            let mut all = answers.iter();
            all.find(
                |(_, a)| matches!(a, PeerAnswer::Said(Ok(PeerReply::Outdate(f))) if *f == wanted),
            )
            .map(|(node, _)| node.clone())
        };
        for newer in [Fenced::Primary, Fenced::Ahead] {
            if let Some(node) = node_with(newer) {
                return PeerVerdict::Newer(node, newer);
            }
        }
        if let Some(node) = node_with(Fenced::Outdated) {
            return PeerVerdict::Outdated(node);
        }
        if let Some(node) = node_with(Fenced::Inconsistent) {
            return PeerVerdict::Inconsistent(node);
        }
        let unknown = |(node, answer): &(NodeName, PeerAnswer)| match answer {
            PeerAnswer::Silent => Some(format!("{node} is alive but does not answer")),
            PeerAnswer::Said(Err(why)) => Some(format!("{node}: {why}")),
            PeerAnswer::Said(Ok(PeerReply::Outdate(Fenced::NotUp))) => Some(format!(
                "{resource} is not up on {node}: drbdadm up {resource} there"
            )),
            PeerAnswer::Said(Ok(_)) | PeerAnswer::Gone => None,
        };
        match answers.iter().find_map(unknown) {
            Some(why) => PeerVerdict::Unknown(why),
            None => PeerVerdict::Gone,
        }
    }

    /// The exit code of a `fence-peer` handler (drbd.conf(5)). If nothing is known about the peer, a side that is already Primary
    /// continues, as it would without a handler; a side that wants to become Primary does not.
    pub fn exit_code(&self, primary: bool) -> u8 {
        match self {
            PeerVerdict::Inconsistent(_) => 3,
            PeerVerdict::Outdated(_) => 4,
            PeerVerdict::Gone => 5,
            PeerVerdict::Newer(_, _) => 6,
            PeerVerdict::Unknown(_) if primary => 5,
            PeerVerdict::Unknown(_) => 20,
        }
    }
}

/// Answers the question of a peer, in a thread of its own: its programs may hang.
///
/// # Errors
/// A text for the administrator on the other side.
pub async fn answer_peer(question: &PeerQuestion, limits: &Limits) -> Result<PeerReply, String> {
    let (question, own_limits) = (question.clone(), limits.clone());
    let answer = move || async move { answer_here(&question, &own_limits).await };
    let answered = run_apart(limits, "the question about DRBD", answer).await;
    answered.unwrap_or_else(|e| Err(e.to_string()))
}

async fn answer_here(question: &PeerQuestion, limits: &Limits) -> Result<PeerReply, String> {
    let (PeerQuestion::Drbd(resource) | PeerQuestion::Outdate { resource, .. }) = question;
    if !arguments::is_name(resource) {
        return Err(format!(
            "`{resource}` cannot be the name of a DRBD resource"
        ));
    }
    let answered = async {
        if !kernel::is_configured(resource, limits).await? {
            return Ok(PeerReply::NotConfigured);
        }
        Ok(match question {
            PeerQuestion::Drbd(_) => {
                PeerReply::Drbd(kernel::read_standing(resource, limits).await?)
            }
            PeerQuestion::Outdate { primary, .. } => {
                PeerReply::Outdate(outdate(resource, *primary, limits).await?)
            }
        })
    };
    answered.await.map_err(|e: AgentError| e.to_string())
}

/// Marks the data of this side as outdated, if that is allowed.
async fn outdate(resource: &str, primary: bool, limits: &Limits) -> Result<Fenced, AgentError> {
    let begun = Instant::now();
    loop {
        let Some(state) = kernel::read_state(resource, limits).await? else {
            return Ok(Fenced::NotUp);
        };
        if let Some(known) = settled_state(&state) {
            return Ok(known);
        }
        if !state.connected() {
            break;
        }
        if begun.elapsed() > LINK_LOSS_WAIT {
            let text = format!("this side of {resource} is still connected: {state}");
            return Err(AgentError::Failed(text));
        }
        sleep(PAUSE).await;
    }
    if !primary && kernel::is_ahead(resource, limits).await? {
        return Ok(Fenced::Ahead);
    }
    let done = system_tool::run("drbdadm", &["outdate", resource], limits).await?;
    let state = kernel::read_state(resource, limits).await?;
    match state.as_ref().and_then(settled_state) {
        Some(known) => Ok(known),
        None => Err(done.failure("drbdadm outdate")),
    }
}

/// The answer if nothing has to be done.
fn settled_state(state: &State) -> Option<Fenced> {
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

    fn verdict(answers: &[PeerAnswer]) -> PeerVerdict {
        let named = |(n, a): (usize, &PeerAnswer)| (NodeName::new(&format!("n{n}")), a.clone());
        let answers: Vec<_> = answers.iter().enumerate().map(named).collect();
        PeerVerdict::from_answers("db", &answers)
    }

    #[test]
    fn the_worst_answer_counts_and_has_the_code_that_drbd_knows() {
        let fenced = |f| PeerAnswer::Said(Ok(PeerReply::Outdate(f)));
        let none = PeerAnswer::Said(Ok(PeerReply::NotConfigured));
        for (answers, codes) in [
            (vec![], (5, 5)),
            (vec![PeerAnswer::Gone], (5, 5)),
            (vec![none.clone()], (5, 5)),
            (vec![PeerAnswer::Gone, none.clone()], (5, 5)),
            (vec![none.clone(), fenced(Fenced::Outdated)], (4, 4)),
            (vec![fenced(Fenced::Inconsistent)], (3, 3)),
            (vec![fenced(Fenced::Primary)], (6, 6)),
            (
                vec![fenced(Fenced::Outdated), fenced(Fenced::Ahead)],
                (6, 6),
            ),
            (vec![fenced(Fenced::NotUp)], (5, 20)),
            (vec![PeerAnswer::Silent], (5, 20)),
            (
                vec![PeerAnswer::Said(Err("no drbdsetup".into())), none],
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
        let said = answer_peer(&PeerQuestion::Drbd("--help".into()), &limits).await;
        assert!(said.unwrap_err().contains("cannot be the name"));
    }
}
