//! DRBD lost the peer of a resource, and its writes wait: may this side go on without it?
//!
//! The peer's data is to be outdated first, over the cluster's links. Where nobody answers, this side goes on only with enough
//! votes that were confirmed since the loss: then no other can begin. With too few it must not: its group is being stopped, and
//! what it still wrote nobody else would have. Its disk is taken from under it, so that writes fail that can never be
//! replicated, and given back when it is Secondary.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::peer_requests::PeerClient;
use crate::agent::builtin::drbd::fence::{PeerVerdict, Peers};
use crate::agent::builtin::drbd::{arguments, kernel};
use crate::agent::exec::system_tool;
use crate::agent::resolve::storage_order;
use crate::agent::{Abort, AgentError, Limits};
use crate::assembly::drbd_words;
use crate::config::GroupLine;
use crate::control::api::{Answer, Code, Refusal};
use crate::engine::Event;
use crate::model::cluster::Timeouts;
use crate::model::drbd::Role;
use crate::model::heartbeat::GroupState;
use crate::model::peer_message::{Fenced, Question};
use crate::model::status::{Liveness, NodeStatus, Status};
use crate::model::token::Token;
use crate::model::{GroupName, NodeName};

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
    let fresh = |heard: Option<Duration>| heard.is_some_and(|ago| ago < since);
    let votes = |n: &&NodeStatus| match n.liveness {
        Liveness::Here => true,
        Liveness::Active => fresh(n.silent_for),
        _ => false,
    };
    let nodes = status.nodes.iter().filter(votes).count();
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
    peer_client: PeerClient,
    resource: String,
    /// The group that stands on the resource, and which of its steps that is.
    place: Option<(GroupName, usize)>,
    since: Instant,
}

impl Loss {
    /// Just now.
    ///
    /// # Errors
    /// What cannot be a resource.
    pub fn of(
        resource: String,
        peer_client: &PeerClient,
        groups: &[GroupLine],
    ) -> Result<Self, Refusal> {
        if !arguments::is_name(&resource) {
            let text = format!("`{resource}` cannot be the name of a DRBD resource");
            return Err(Refusal::new(Code::Refused, text));
        }
        Ok(Loss {
            place: groups.iter().find_map(|line| place(line, &resource)),
            peer_client: peer_client.clone(),
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
        let state = kernel::read_state(resource, &limits)
            .await
            .map_err(|e| failed(&e))?;
        let primary = state.is_some_and(|s| s.role == Role::Primary);
        let looked = if primary {
            kernel::is_ahead(resource, &limits).await
        } else {
            Ok(false)
        };
        let ahead = looked.map_err(|e| failed(&e))?;
        let question = Question::Outdate {
            resource: resource.clone(),
            primary: ahead,
        };
        let verdict =
            PeerVerdict::from_answers(resource, &self.peer_client.ask(question, &limits).await);
        match &verdict {
            PeerVerdict::Gone | PeerVerdict::Unknown(_) if primary => {
                self.alone(&verdict, &limits).await
            }
            // This machine stood still, and did not notice: meanwhile the other took over.
            PeerVerdict::Newer(node, _) if primary && !ahead => self.yield_to(node).await,
            PeerVerdict::Newer(node, _) if primary => {
                let text = format!(
                    "split brain: {node} and this side wrote what the other lacks; this side goes on, hactl drbd {resource} shows both"
                );
                Ok(self.told(&text, GONE))
            }
            _ => Ok(self.told(&sentence(resource, &verdict), verdict.exit_code(primary))),
        }
    }

    /// The other side has newer data, and this side wrote nothing that was not replicated: what it still writes would be lost.
    async fn yield_to(&self, node: &NodeName) -> Result<Answer, Refusal> {
        self.take_disk_away().await.map_err(|e| failed(&e))?;
        let text = format!(
            "{node} has newer data of {} than this side, which stood still meanwhile; its disk was taken away, and its group stops here",
            self.resource
        );
        if let Some((group, step)) = &self.place {
            self.peer_client.event(Event::ResourceLost {
                group: group.clone(),
                step: *step,
                text: text.clone(),
            });
        }
        Ok(self.told(&text, GONE))
    }

    fn told(&self, text: &str, code: u8) -> Answer {
        tracing::warn!("{}: {text} (exit code {code} for DRBD)", self.resource);
        Answer::Fenced {
            code,
            text: text.to_owned(),
        }
    }

    /// This side writes, and nobody answered.
    async fn alone(&self, verdict: &PeerVerdict, limits: &Limits) -> Result<Answer, Refusal> {
        while Instant::now() < limits.until {
            let state = kernel::read_state(&self.resource, limits)
                .await
                .map_err(|e| failed(&e))?;
            if state.is_none_or(|s| s.connected() || s.role != Role::Primary) {
                let text = "the peer is connected again, or this side is not Primary any more";
                return Ok(self.told(text, GONE));
            }
            let status = self.peer_client.status().await;
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
        let Some((ours, _)) = &self.place else {
            return false;
        };
        let group = status.groups.iter().find(|g| g.name == *ours);
        let state = group.and_then(|g| g.states.iter().find(|(node, _)| *node == status.node));
        let runs = |s: GroupState| {
            matches!(
                s,
                GroupState::Online | GroupState::Starting | GroupState::Unknown
            )
        };
        state.is_some_and(|(_, s)| !runs(*s))
    }

    /// From now on reads and writes on the device fail, those that wait included; so what is mounted on it can be given up. What
    /// is on the disk stays as it was when the peer was lost.
    async fn take_disk_away(&self) -> Result<(), AgentError> {
        let resource = &self.resource;
        tracing::error!(
            "{resource}: this side must not go on: its disk is taken away until the group is stopped, so that nothing is written that the other side lacks; errors of what used it are no wonder"
        );
        let limits = Limits::within(ORDER, &Abort::new());
        let state = kernel::read_state(resource, &limits).await?;
        // Asked again because what follows failed, the disk may be gone already.
        if state.is_some_and(|s| s.has_disk()) {
            // Before the order: that may take longer than we wait for it.
            tokio::spawn(give_disk_back(resource.clone()));
            order(&["detach", "--force", resource]).await?;
        }
        order(&["resume-io", resource]).await?;
        Ok(())
    }
}

/// The group of a line, and which of its steps is the resource.
fn place(line: &GroupLine, resource: &str) -> Option<(GroupName, usize)> {
    let (word, _) = drbd_words(line).find(|(_, name)| *name == resource)?;
    let tokens: Vec<Token> = line.tokens.iter().map(|(token, _)| token.clone()).collect();
    let words: Vec<_> = tokens.iter().map(|t| (t, Timeouts::default())).collect();
    let steps = storage_order::steps(&words, &[]);
    let step = steps.iter().position(|s| s.members.contains(&word.text))?;
    Some((GroupName::new(&tokens.first()?.text), step))
}

async fn order(words: &[&str]) -> Result<(), AgentError> {
    let limits = Limits::within(ORDER, &Abort::new());
    let done = system_tool::run("drbdadm", words, &limits).await?;
    if done.code == Some(0) {
        return Ok(());
    }
    Err(done.failure("drbdadm"))
}

/// The link may have been given up, when the two met while this side was Primary still.
async fn attach(resource: &str, limits: &Limits) -> Result<(), AgentError> {
    order(&["attach", resource]).await?;
    let alone = kernel::read_state(resource, limits)
        .await?
        .is_some_and(|s| s.stands_alone());
    if alone && !kernel::is_ahead(resource, limits).await? {
        order(&["connect", resource]).await?;
    }
    Ok(())
}

/// As soon as nothing uses it, so that it is synchronised when the link is back.
async fn give_disk_back(resource: String) {
    let until = Instant::now() + STOPS;
    while Instant::now() < until {
        let limits = Limits::within(ORDER, &Abort::new());
        let state = kernel::read_state(&resource, &limits).await;
        if let Ok(Some(state)) = state
            && state.role == Role::Secondary
        {
            if state.has_disk() {
                return;
            }
            match attach(&resource, &limits).await {
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

/// Nobody sees what a handler says to the kernel: it is told here.
fn failed(error: &AgentError) -> Refusal {
    let text = format!("DRBD's loss of a peer cannot be judged, and writes wait: {error}");
    tracing::error!("{text}");
    Refusal::new(Code::Failed, text)
}

fn sentence(resource: &str, verdict: &PeerVerdict) -> String {
    match verdict {
        PeerVerdict::Outdated(node) => format!(
            "the data of {resource} on {node} is outdated; it will not be used before it is synchronised"
        ),
        PeerVerdict::Inconsistent(node) => format!("{node} has no usable data of {resource}"),
        PeerVerdict::Gone => format!("no other node with {resource} lives"),
        PeerVerdict::Newer(node, Fenced::Primary) => {
            format!("{node} is Primary of {resource} and goes on: this side must not")
        }
        PeerVerdict::Newer(node, _) => {
            format!("{node} has newer data of {resource} than this side, which must not go on")
        }
        PeerVerdict::Unknown(why) => {
            format!("what a peer's data of {resource} is worth is not known: {why}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Generation;
    use crate::model::status::{PingStatus, QuorumStatus};

    fn status(
        quorum: QuorumStatus,
        answered: Option<Duration>,
        others: &[(&'static str, Liveness, u64)],
    ) -> Status {
        let node = |(name, liveness, silent): (&str, Liveness, u64)| NodeStatus {
            name: NodeName::new(name),
            liveness,
            silent_for: Some(Duration::from_secs(silent)),
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
            nodes: others
                .iter()
                .copied()
                .chain([("a", Liveness::Here, 0), ("b", Liveness::Dead, 9)])
                .map(node)
                .collect(),
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
    fn the_step_of_a_resource_is_counted_as_the_engine_counts() {
        let text = "a 10.0.0.1/8/lo 10.0.0.2/8/lo drbddisk::x drbddisk::db mysqld\n";
        let path = std::path::Path::new("haresources");
        let mut report = crate::text::Problems::default();
        let lines = crate::config::haresources::parse(text, path, None, &mut report);
        let found = place(lines.first().unwrap(), "db").unwrap();
        assert_eq!(found, (GroupName::new("10.0.0.1/8/lo"), 2));
        assert_eq!(place(lines.first().unwrap(), "none"), None);
    }

    #[test]
    fn only_votes_that_were_confirmed_since_the_loss_count() {
        let secs = Duration::from_secs;
        let (heard, stale) = ([("c", Liveness::Active, 1)], [("c", Liveness::Active, 6)]);
        for (counted, held, answered, others, wanted) in [
            (false, true, None, &[][..], Right::Yes),
            (true, false, Some(1), &[], Right::No),
            (true, true, None, &[], Right::NotKnown),
            (true, true, Some(9), &[], Right::NotKnown),
            (true, true, Some(1), &[], Right::Yes),
            (true, true, None, &heard, Right::Yes),
            (true, true, Some(9), &stale, Right::NotKnown),
        ] {
            let quorum = QuorumStatus {
                held,
                counted,
                votes: 2,
                total: 3,
            };
            let found = right(&status(quorum, answered.map(secs), others), secs(5));
            assert_eq!(found, wanted, "{counted} {held} {answered:?} {others:?}");
        }
    }
}
