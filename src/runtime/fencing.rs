//! DRBD lost the peer of a resource and blocks writes: may this node go on without the peer?
//!
//! First the peer is asked over the cluster's links to outdate its data. When it does not answer, this node goes on only with
//! a majority of votes that were confirmed since the loss: then no other node can take over. Without a majority it must not
//! go on. Its group is being stopped, and no other node would have what it still wrote. So its disk is detached, which makes
//! the blocked writes fail, and attached again when the resource is Secondary.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::peer_requests::PeerClient;
use crate::agent::builtin::drbd::fence::{PeerVerdict, Peers};
use crate::agent::builtin::drbd::{arguments, kernel};
use crate::agent::exec::blocking::run_apart;
use crate::agent::exec::system_tool;
use crate::agent::resolve::storage_order::{self, StepWord};
use crate::agent::{Abort, AgentError, Limits};
use crate::assembly::drbd_word_for;
use crate::config::GroupLine;
use crate::control::api::{ControlAnswer, Refusal, RefusalCode};
use crate::engine::Event;
use crate::model::drbd::Role;
use crate::model::heartbeat::GroupState;
use crate::model::peer_message::{Fenced, PeerQuestion};
use crate::model::status::{Liveness, NodeStatus, Status};
use crate::model::token::Token;
use crate::model::voter_list::VoterList;
use crate::model::votes::VoteShares;
use crate::model::{GroupName, NodeName};

/// Time between two checks of votes and connection.
const CHECK_EVERY: Duration = Duration::from_millis(250);
/// Time for one command of drbdadm.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the group to stop. After that its disk is no longer attached again automatically.
const GROUP_STOP_TIMEOUT: Duration = Duration::from_secs(1800);
/// The exit code of a `fence-peer` handler with which DRBD goes on by its own rules.
const EXIT_PEER_GONE: u8 = 5;

/// Whether this node may go on without its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MayGoOn {
    Yes,
    Unknown,
    No,
}

/// Whether the votes that were confirmed since the loss allow this node to go on.
fn may_go_on(status: &Status, since: Duration) -> MayGoOn {
    if !status.quorum.counted {
        return MayGoOn::Yes;
    }
    if !status.quorum.held {
        return MayGoOn::No;
    }
    let fresh = |heard: Option<Duration>| heard.is_some_and(|ago| ago < since);
    let votes = |n: &NodeStatus| match n.liveness {
        Liveness::Here => true,
        Liveness::Active => fresh(n.silent_for),
        _ => false,
    };
    let first_node = status.nodes.iter().position(|n| !n.witness).unwrap_or(0);
    let shares =
        VoteShares::new(status.nodes.len(), status.pings.len()).with_first_node(first_node);
    let nodes = status.nodes.iter().enumerate();
    let nodes: u32 = nodes
        .filter(|(_, node)| votes(node))
        .map(|(rank, _)| shares.of_node(rank))
        .sum();
    let pings = status.pings.iter().filter(|p| fresh(p.answered)).count();
    // While the list of voters changes, the former lists must agree too. The ping nodes may be others now.
    let by_former = |list: &VoterList| {
        let votes = status.nodes.iter().filter(|n| votes(n));
        let sum: u32 = votes.map(|n| list.votes_of(&n.name)).sum();
        sum >= list.shares().needed()
    };
    let enough = nodes + shares.of_arbiter(pings) >= shares.needed();
    if enough && status.former_voters.iter().all(by_former) {
        MayGoOn::Yes
    } else {
        MayGoOn::Unknown
    }
}

/// The loss of a peer of one resource.
pub struct PeerLoss {
    peer_client: PeerClient,
    resource: String,
    /// The group that the resource belongs to, and its step in that group.
    group_step: Option<(GroupName, usize)>,
    lost_at: Instant,
}

impl PeerLoss {
    /// The peer was lost just now.
    ///
    /// # Errors
    /// When the name cannot be that of a resource.
    pub fn new(
        resource: String,
        peer_client: &PeerClient,
        groups: &[GroupLine],
    ) -> Result<Self, Refusal> {
        if !arguments::is_name(&resource) {
            let text = format!("`{resource}` cannot be the name of a DRBD resource");
            return Err(Refusal::new(RefusalCode::Refused, text));
        }
        Ok(PeerLoss {
            group_step: groups.iter().find_map(|line| group_step(line, &resource)),
            peer_client: peer_client.clone(),
            resource,
            lost_at: Instant::now(),
        })
    }

    /// Gets the peers' data outdated, or finds that this node must not go on.
    ///
    /// # Errors
    /// When neither is certain in time. The handler then asks again, and writes stay blocked.
    async fn fence_peer(&self, timeout: Duration) -> Result<ControlAnswer, Refusal> {
        let resource = &self.resource;
        tracing::warn!(
            "DRBD lost the peer of {resource} and blocks writes; asking the other nodes to outdate their data"
        );
        let limits = Limits::within(timeout, &Abort::new());
        let state = kernel::read_state(resource, &limits)
            .await
            .map_err(|e| log_failure(&e))?;
        let primary = state.is_some_and(|s| s.role == Role::Primary);
        let ahead = if primary {
            kernel::is_ahead(resource, &limits).await
        } else {
            Ok(false)
        };
        let ahead = ahead.map_err(|e| log_failure(&e))?;
        let question = PeerQuestion::Outdate {
            resource: resource.clone(),
            primary: ahead,
        };
        let verdict =
            PeerVerdict::from_answers(resource, &self.peer_client.ask(question, &limits).await);
        match &verdict {
            PeerVerdict::Gone | PeerVerdict::Unknown(_) if primary => {
                self.go_on_or_give_up(&verdict, &limits).await
            }
            // This node was stopped for a while without noticing, and the other one took over meanwhile.
            PeerVerdict::Newer(node, _) if primary && !ahead => self.yield_to(node).await,
            PeerVerdict::Newer(node, _) if primary => {
                let text = format!(
                    "split brain: both {node} and this node have data that the other lacks. This node goes on; hactl drbd {resource} shows both sides"
                );
                Ok(self.verdict(&text, EXIT_PEER_GONE))
            }
            _ => Ok(self.verdict(
                &verdict_text(resource, &verdict),
                verdict.exit_code(primary),
            )),
        }
    }

    /// The other node has newer data, and everything that this node wrote is replicated. What it wrote from now on would be
    /// lost, so it gives up.
    async fn yield_to(&self, node: &NodeName) -> Result<ControlAnswer, Refusal> {
        self.detach_disk().await.map_err(|e| log_failure(&e))?;
        let text = format!(
            "{node} is Primary of {0} or has newer data of it, so this node must not go on (was it paused?); the disk of {0} was detached here, and its group is stopped here",
            self.resource
        );
        if let Some((group, step)) = &self.group_step {
            self.peer_client.send_event(Event::ResourceLost {
                group: group.clone(),
                step: *step,
                text: text.clone(),
            });
        }
        Ok(self.verdict(&text, EXIT_PEER_GONE))
    }

    fn verdict(&self, text: &str, code: u8) -> ControlAnswer {
        tracing::warn!("{}: {text} (exit code {code} for DRBD)", self.resource);
        ControlAnswer::Fenced {
            code,
            text: text.to_owned(),
        }
    }

    /// This node is Primary, and no peer has outdated its data: waits until it may go on, must give up, or is connected again.
    async fn go_on_or_give_up(
        &self,
        verdict: &PeerVerdict,
        limits: &Limits,
    ) -> Result<ControlAnswer, Refusal> {
        while Instant::now() < limits.until {
            let state = kernel::read_state(&self.resource, limits)
                .await
                .map_err(|e| log_failure(&e))?;
            if state.is_none_or(|s| s.connected() || s.role != Role::Primary) {
                let text = "the peer is connected again, or this node is no longer Primary";
                return Ok(self.verdict(text, EXIT_PEER_GONE));
            }
            let status = self.peer_client.status().await;
            let may_go_on = status
                .as_ref()
                .map(|s| may_go_on(s, self.lost_at.elapsed()));
            if may_go_on == Some(MayGoOn::Yes) {
                let text = verdict_text(&self.resource, verdict);
                return Ok(self.verdict(&text, verdict.exit_code(true)));
            }
            if may_go_on == Some(MayGoOn::No) && status.is_some_and(|s| self.is_given_up(&s)) {
                self.detach_disk().await.map_err(|e| log_failure(&e))?;
                let text = "this node has no quorum and must not go on; its disk was detached";
                return Ok(self.verdict(text, EXIT_PEER_GONE));
            }
            sleep(CHECK_EVERY).await;
        }
        let text = format!(
            "writes on {} are blocked: its peer is not connected, and too few nodes and ping nodes have confirmed that this node may go on without it; repair the replication link",
            self.resource
        );
        Err(Refusal::new(RefusalCode::Busy, text))
    }

    /// Whether the group of the resource is not, or no longer, meant to run here.
    fn is_given_up(&self, status: &Status) -> bool {
        let Some((ours, _)) = &self.group_step else {
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

    /// Makes reads and writes on the device fail, blocked ones included, so that what is mounted on it can be stopped. The data
    /// on the disk stays as it was when the peer was lost.
    async fn detach_disk(&self) -> Result<(), AgentError> {
        let resource = &self.resource;
        tracing::error!(
            "{resource}: this node must not go on. The disk of the resource is detached until its group is stopped, so that nothing is written that the other node lacks. Processes that use it will get I/O errors."
        );
        let limits = Limits::within(COMMAND_TIMEOUT, &Abort::new());
        let state = kernel::read_state(resource, &limits).await?;
        // When this is repeated after a failure of the commands below, the disk may be detached already.
        if state.is_some_and(|s| s.has_disk()) {
            // Before the command, which may take longer than we wait for it.
            let (limits, detached) = (limits.patient(), resource.clone());
            tokio::spawn(async move {
                let attach = move || attach_when_secondary(detached);
                if let Err(e) = run_apart(&limits, "the repair of DRBD", attach).await {
                    tracing::error!("{e}");
                }
            });
            run_drbdadm(&["detach", "--force", resource]).await?;
        }
        run_drbdadm(&["resume-io", resource]).await?;
        Ok(())
    }
}

/// Decides whether this node may go on, in a thread of its own: the programs of DRBD may hang.
pub async fn fence_peer(loss: PeerLoss, timeout: Duration) -> Result<ControlAnswer, Refusal> {
    let limits = Limits::within(timeout, &Abort::new()).patient();
    let decide = move || async move { loss.fence_peer(timeout).await };
    let decided = run_apart(&limits, "the decision about DRBD", decide).await;
    decided.unwrap_or_else(|e| Err(Refusal::new(RefusalCode::Failed, e.to_string())))
}

/// The group of a line and the step of the resource, when the line has it.
fn group_step(line: &GroupLine, resource: &str) -> Option<(GroupName, usize)> {
    let word = drbd_word_for(line, resource)?;
    let tokens: Vec<Token> = line.tokens.iter().map(|(token, _)| token.clone()).collect();
    let words: Vec<_> = tokens.iter().map(StepWord::usual).collect();
    let steps = storage_order::steps(&words, &[]);
    let step = steps.iter().position(|s| s.members.contains(&word.text))?;
    Some((GroupName::new(&tokens.first()?.text), step))
}

async fn run_drbdadm(words: &[&str]) -> Result<(), AgentError> {
    let limits = Limits::within(COMMAND_TIMEOUT, &Abort::new());
    let done = system_tool::run("drbdadm", words, &limits).await?;
    if done.code == Some(0) {
        return Ok(());
    }
    Err(done.failure("drbdadm"))
}

/// Attaches the disk. The connection is made again, too, when DRBD gave it up because the two nodes met while this one was
/// still Primary.
async fn attach_disk(resource: &str, limits: &Limits) -> Result<(), AgentError> {
    run_drbdadm(&["attach", resource]).await?;
    let stands_alone = kernel::read_state(resource, limits)
        .await?
        .is_some_and(|s| s.stands_alone());
    if stands_alone && !kernel::is_ahead(resource, limits).await? {
        run_drbdadm(&["connect", resource]).await?;
    }
    Ok(())
}

/// Attaches the disk again as soon as nothing uses the resource, so that it is synchronised when the peer is back.
async fn attach_when_secondary(resource: String) {
    let until = Instant::now() + GROUP_STOP_TIMEOUT;
    while Instant::now() < until {
        let limits = Limits::within(COMMAND_TIMEOUT, &Abort::new());
        let state = kernel::read_state(&resource, &limits).await;
        if let Ok(Some(state)) = state
            && state.role == Role::Secondary
        {
            if state.has_disk() {
                return;
            }
            match attach_disk(&resource, &limits).await {
                Ok(()) => {
                    tracing::info!(
                        "{resource}: its disk is attached again; it is synchronised when the peer is connected"
                    );
                }
                Err(e) => tracing::error!(
                    "{resource}: cannot attach its disk again: {e}; run drbdadm attach {resource}"
                ),
            }
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
    tracing::error!(
        "{resource} is still Primary and its disk is detached. After its group is stopped, run drbdadm secondary {resource} and drbdadm attach {resource}"
    );
}

/// Nobody sees the output of a handler that the kernel runs, so the error is logged here.
fn log_failure(error: &AgentError) -> Refusal {
    let text = format!(
        "cannot decide whether this node may go on without its DRBD peer; writes stay blocked: {error}"
    );
    tracing::error!("{text}");
    Refusal::new(RefusalCode::Failed, text)
}

fn verdict_text(resource: &str, verdict: &PeerVerdict) -> String {
    match verdict {
        PeerVerdict::Outdated(node) => format!(
            "the data of {resource} on {node} is outdated and is not used before it is synchronised"
        ),
        PeerVerdict::Inconsistent(node) => format!("{node} has no usable data of {resource}"),
        PeerVerdict::Gone => format!("no other node with {resource} is alive"),
        PeerVerdict::Newer(node, Fenced::Primary) => {
            format!("{node} is Primary of {resource} and goes on, so this node must not")
        }
        PeerVerdict::Newer(node, _) => {
            format!("{node} has newer data of {resource}, so this node must not go on")
        }
        PeerVerdict::Unknown(why) => {
            format!("the state of the peer's data of {resource} is unknown: {why}")
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
            witness: false,
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
                member: None,
            }],
            quorum,
            former_voters: vec![],
            fencing: vec![],
            groups: vec![],
            checks: vec![],
            counters: std::collections::BTreeMap::new(),
            lateness: None,
            activity: Vec::new(),
        }
    }

    #[test]
    fn the_step_of_a_resource_is_counted_as_the_engine_counts() {
        let text = "a 10.0.0.1/8/lo 10.0.0.2/8/lo drbddisk::x drbddisk::db mysqld\n";
        let path = std::path::Path::new("haresources");
        let mut report = crate::text::Problems::default();
        let lines = crate::config::haresources::parse(text, path, None, &mut report);
        let found = group_step(lines.first().unwrap(), "db").unwrap();
        assert_eq!(found, (GroupName::new("10.0.0.1/8/lo"), 2));
        assert_eq!(group_step(lines.first().unwrap(), "none"), None);
    }

    #[test]
    fn only_votes_that_were_confirmed_since_the_loss_count() {
        let secs = Duration::from_secs;
        let (heard, stale) = ([("c", Liveness::Active, 1)], [("c", Liveness::Active, 6)]);
        for (counted, held, answered, others, wanted) in [
            (false, true, None, &[][..], MayGoOn::Yes),
            (true, false, Some(1), &[], MayGoOn::No),
            (true, true, None, &[], MayGoOn::Unknown),
            (true, true, Some(9), &[], MayGoOn::Unknown),
            (true, true, Some(1), &[], MayGoOn::Yes),
            (true, true, None, &heard, MayGoOn::Yes),
            (true, true, Some(9), &stale, MayGoOn::Unknown),
        ] {
            let quorum = QuorumStatus {
                held,
                counted,
                ignored: false,
                votes: 2,
                total: 3,
            };
            let found = may_go_on(&status(quorum, answered.map(secs), others), secs(5));
            assert_eq!(found, wanted, "{counted} {held} {answered:?} {others:?}");
        }
    }

    /// While the list of voters changes, others may still act by the old one.
    #[test]
    fn a_former_list_must_agree_too() {
        let quorum = || QuorumStatus {
            held: true,
            counted: true,
            ignored: false,
            votes: 2,
            total: 3,
        };
        let list = |names: &[&str]| VoterList {
            nodes: names.iter().map(|n| NodeName::new(n)).collect(),
            witnesses: vec![],
            pings: vec![],
            quorum: crate::model::cluster::QuorumPolicy::Stop,
        };
        let secs = Duration::from_secs;
        let heard = [("c", Liveness::Active, 1)];
        for (former, wanted) in [
            (list(&["a", "b", "c"]), MayGoOn::Yes),
            (list(&["a", "b", "d"]), MayGoOn::Unknown),
        ] {
            let mut status = status(quorum(), None, &heard);
            status.former_voters = vec![former];
            assert_eq!(may_go_on(&status, secs(5)), wanted);
        }
    }
}
