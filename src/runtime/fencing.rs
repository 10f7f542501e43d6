//! DRBD lost the peer of a resource, and its writes wait: may this side go on without it?
//!
//! The peer's data is to be outdated first, over the cluster's links. Where nobody answers, this side goes on only with enough
//! votes that were confirmed since the loss: then no other can begin. With too few it must not: its group is being stopped, and
//! what it still wrote nobody else would have. Its disk is taken from under it, so that writes fail that can never be
//! replicated, and given back when it is Secondary.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::drbd;
use super::post::Post;
use crate::agent::drbd::fence::{Peers, Verdict};
use crate::agent::drbd::{arguments, kernel};
use crate::agent::{Abort, AgentError, Limits, tool};
use crate::config::GroupLine;
use crate::control::api::{Answer, Code, Refusal};
use crate::model::drbd::Role;
use crate::model::heartbeat::GroupState;
use crate::model::letter::{Fenced, Question};
use crate::model::status::{Liveness, Status};

/// Between two looks at votes and link.
const PAUSE: Duration = Duration::from_millis(250);
/// How long an order to DRBD may take.
const ORDER: Duration = Duration::from_secs(30);
/// How long a group may take to be stopped before its disk is not given back any more.
const STOPS: Duration = Duration::from_secs(1800);
/// What a handler exits with when DRBD shall go on as it thinks right.
const GONE: u8 = 5;

/// May this side go on?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Yes,
    NotKnown,
    No,
}

/// Whether votes confirmed since the loss allow to go on.
fn right(status: &Status, since: Duration) -> Right {
    if !status.quorum.counted {
        return Right::Yes;
    }
    if !status.quorum.held {
        return Right::No;
    }
    let lives = |l: Liveness| matches!(l, Liveness::Here | Liveness::Active);
    let nodes = status.nodes.iter().filter(|n| lives(n.liveness)).count();
    let fresh = |answered: Option<Duration>| answered.is_some_and(|ago| ago < since);
    let pings = status.pings.iter().filter(|p| fresh(p.answered)).count();
    let votes = u32::try_from(nodes.saturating_add(pings)).unwrap_or(u32::MAX);
    if votes.saturating_mul(2) > status.quorum.total {
        Right::Yes
    } else {
        Right::NotKnown
    }
}

/// One loss of a peer.
pub struct Loss {
    post: Post,
    resource: String,
    /// The words of the group that stands on the resource.
    group: Vec<String>,
    since: Instant,
}

impl Loss {
    /// Just now.
    ///
    /// # Errors
    /// What cannot be a resource.
    pub fn of(resource: String, post: &Post, groups: &[GroupLine]) -> Result<Self, Refusal> {
        if !arguments::is_name(&resource) {
            let text = format!("`{resource}` cannot be the name of a DRBD resource");
            return Err(Refusal::new(Code::Refused, text));
        }
        let stands =
            |line: &&GroupLine| drbd::configured(std::slice::from_ref(line)).contains(&resource);
        let words = groups
            .iter()
            .find(stands)
            .into_iter()
            .flat_map(|l| &l.tokens);
        Ok(Loss {
            group: words.map(|(token, _)| token.text.clone()).collect(),
            post: post.clone(),
            resource,
            since: Instant::now(),
        })
    }

    /// Has the peers' data outdated, or finds that this side must not go on.
    ///
    /// # Errors
    /// When neither is known in time: the handler asks again, and writes wait.
    pub async fn answer(&self, timeout: Duration) -> Result<Answer, Refusal> {
        let resource = &self.resource;
        tracing::warn!(
            "DRBD lost the peer of {resource}; the other nodes are asked to outdate their data"
        );
        let limits = Limits::within(timeout, &Abort::new());
        let state = kernel::look(resource, &limits)
            .await
            .map_err(|e| failed(&e))?;
        let primary = state.is_some_and(|s| s.role == Role::Primary);
        let question = Question::Outdate {
            resource: resource.clone(),
            primary,
        };
        let verdict = Verdict::of(resource, &self.post.ask(question, &limits).await);
        if primary && matches!(verdict, Verdict::Gone | Verdict::Unknown(_)) {
            return self.alone(&verdict, &limits).await;
        }
        Ok(self.told(&sentence(resource, &verdict), verdict.exit_code(primary)))
    }

    fn told(&self, text: &str, code: u8) -> Answer {
        tracing::warn!("{}: {text} (exit code {code} for DRBD)", self.resource);
        Answer::Fenced {
            code,
            text: text.to_owned(),
        }
    }

    /// This side writes, and nobody answered.
    async fn alone(&self, verdict: &Verdict, limits: &Limits) -> Result<Answer, Refusal> {
        while Instant::now() < limits.until {
            let state = kernel::look(&self.resource, limits)
                .await
                .map_err(|e| failed(&e))?;
            if state.is_none_or(|s| s.connected() || s.role != Role::Primary) {
                let text = "the peer is connected again, or this side is not Primary any more";
                return Ok(self.told(text, GONE));
            }
            let status = self.post.status().await;
            let right = status.as_ref().map(|s| right(s, self.since.elapsed()));
            if right == Some(Right::Yes) {
                let text = sentence(&self.resource, verdict);
                return Ok(self.told(&text, verdict.exit_code(true)));
            }
            if right == Some(Right::No) && status.is_some_and(|s| self.is_given_up(&s)) {
                self.take_disk_away().await.map_err(|e| failed(&e))?;
                let text = "this side has no right to go on, and its disk was taken away";
                return Ok(self.told(text, GONE));
            }
            sleep(PAUSE).await;
        }
        let text = format!(
            "writes on {} wait: its peer is gone, and this side has too few votes to go on without it",
            self.resource
        );
        Err(Refusal::new(Code::Busy, text))
    }

    /// Whether the group on it is being stopped, or should be.
    fn is_given_up(&self, status: &Status) -> bool {
        let first = self.group.first();
        let mut groups = status.groups.iter();
        let group = groups.find(|g| g.resources.first().map(|r| &r.token) == first);
        let state = group.and_then(|g| g.states.iter().find(|(node, _)| *node == status.node));
        let runs = |s: GroupState| {
            matches!(
                s,
                GroupState::Online | GroupState::Starting | GroupState::Unknown
            )
        };
        first.is_some() && state.is_some_and(|(_, s)| !runs(*s))
    }

    /// From now on reads and writes on the device fail, those that wait included; so what is mounted on it can be given up. What
    /// is on the disk stays as it was when the peer was lost.
    async fn take_disk_away(&self) -> Result<(), AgentError> {
        let resource = &self.resource;
        tracing::error!(
            "{resource}: cut off, and too few votes to go on: its disk is taken away until the group is stopped, so that nothing is written that the other side lacks; errors of what used it are no wonder"
        );
        order(&["detach", "--force", resource]).await?;
        order(&["resume-io", resource]).await?;
        tokio::spawn(give_disk_back(resource.clone()));
        Ok(())
    }
}

async fn order(words: &[&str]) -> Result<(), AgentError> {
    let limits = Limits::within(ORDER, &Abort::new());
    let done = tool::run("drbdadm", words, &limits).await?;
    if done.code == Some(0) {
        return Ok(());
    }
    Err(kernel::failed("drbdadm", &done))
}

/// As soon as nothing uses it, so that it is synchronised when the link is back.
async fn give_disk_back(resource: String) {
    let until = Instant::now() + STOPS;
    while Instant::now() < until {
        let limits = Limits::within(ORDER, &Abort::new());
        let state = kernel::look(&resource, &limits).await;
        if matches!(state, Ok(Some(s)) if s.role == Role::Secondary) {
            match order(&["attach", &resource]).await {
                Ok(()) => {
                    tracing::info!(
                        "{resource} has its disk back; it is synchronised when the link is there"
                    );
                }
                Err(e) => tracing::error!(
                    "{resource} does not get its disk back: {e}; drbdadm attach {resource}"
                ),
            }
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
    tracing::error!(
        "{resource} is Primary still and has no disk; when its group is stopped: drbdadm secondary {resource}; drbdadm attach {resource}"
    );
}

fn failed(error: &AgentError) -> Refusal {
    Refusal::new(Code::Failed, error.to_string())
}

fn sentence(resource: &str, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Outdated(node) => format!(
            "the data of {resource} on {node} is outdated; it will not be used before it is synchronised"
        ),
        Verdict::Inconsistent(node) => format!("{node} has no usable data of {resource}"),
        Verdict::Gone => format!("no other node with {resource} lives"),
        Verdict::Newer(node, Fenced::Primary) => {
            format!("{node} is Primary of {resource} and goes on: this side must not")
        }
        Verdict::Newer(node, _) => {
            format!("{node} has newer data of {resource} than this side, which must not go on")
        }
        Verdict::Unknown(why) => {
            format!("what a peer's data of {resource} is worth is not known: {why}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::status::{NodeStatus, PingStatus, QuorumStatus};
    use crate::model::{Generation, NodeName};

    fn status(quorum: QuorumStatus, answered: Option<Duration>) -> Status {
        let node = |(name, liveness): (&str, Liveness)| NodeStatus {
            name: NodeName::new(name),
            liveness,
            silent_for: None,
            generation: None,
            reach: None,
            links: vec![],
            notes: vec![],
        };
        Status {
            node: NodeName::new("a"),
            generation: Generation(1),
            phase: crate::model::heartbeat::Phase::Active,
            waiting: None,
            nodes: [("a", Liveness::Here), ("b", Liveness::Dead)]
                .map(node)
                .into(),
            pings: vec![PingStatus {
                name: "gateway".into(),
                up: true,
                answered,
            }],
            quorum,
            groups: vec![],
            checks: vec![],
            counters: std::collections::BTreeMap::new(),
            lateness: None,
        }
    }

    #[test]
    fn only_votes_that_were_confirmed_since_the_loss_count() {
        let secs = Duration::from_secs;
        for (counted, held, answered, wanted) in [
            (false, true, None, Right::Yes),
            (true, false, Some(1), Right::No),
            (true, true, None, Right::NotKnown),
            (true, true, Some(9), Right::NotKnown),
            (true, true, Some(1), Right::Yes),
        ] {
            let quorum = QuorumStatus {
                held,
                counted,
                votes: 2,
                total: 3,
            };
            let found = right(&status(quorum, answered.map(secs)), secs(5));
            assert_eq!(found, wanted, "{counted} {held} {answered:?}");
        }
    }
}
