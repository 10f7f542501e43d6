//! A decision and its reason as one value. The log, the journal and `hactl` all show it in the words of this file.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{GroupName, LinkName, NodeName, Term};
use crate::text::duration_for_people;

/// What was decided or noticed, about what, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Decision {
    /// The group it is about; `None` for the node as a whole.
    pub group: Option<GroupName>,
    /// What was decided or noticed.
    pub what: What,
    /// The reason.
    pub because: Because,
}

/// How urgent a decision is for an administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Normal operation.
    Info,
    /// To be looked at during working hours.
    Warning,
    /// To be looked at now.
    Error,
}

/// What a node decided or noticed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum What {
    /// Heartbeats of a peer arrive (again).
    PeerActive(NodeName),
    /// A peer has been silent for longer than warntime.
    PeerLate(NodeName),
    /// A peer has been silent for longer than deadtime.
    PeerDead(NodeName),
    /// A peer announced that it shuts down, with all its groups stopped.
    PeerLeft(NodeName),
    /// A peer's daemon was restarted.
    PeerRestarted(NodeName),
    /// A peer does not receive this node's heartbeats.
    PeerDeaf(NodeName),
    /// A peer's configuration differs from this node's.
    ConfigDiffers(NodeName),
    /// Heartbeats of a peer arrive on a link.
    LinkUp(NodeName, LinkName),
    /// Heartbeats of a peer stopped arriving on a link.
    LinkDown(NodeName, LinkName),
    /// A ping node answers.
    PingUp(String),
    /// A ping node no longer answers.
    PingDown(String),
    /// This node's side has more than half of the votes.
    QuorumGained {
        /// Votes of this node's side.
        votes: u32,
        /// Votes in the whole cluster.
        total: u32,
    },
    /// This node's side has half of the votes or fewer.
    QuorumLost {
        /// Votes of this node's side.
        votes: u32,
        /// Votes in the whole cluster.
        total: u32,
    },
    /// This node takes part in the cluster from now on.
    Joined,
    /// The daemon, or the whole machine, was stopped for this long.
    Gap(Duration),
    /// The group was found running and is kept running, under this term.
    Adopt(Term),
    /// Asks the other nodes for the right to run the group, under this term.
    Claim(Term),
    /// Gives up its claim.
    Withdraw,
    /// Starts the group.
    Start,
    /// All resources of the group run here.
    Online,
    /// Stops the group.
    Stop,
    /// All resources of the group are stopped here.
    Offline,
    /// Offers the group to a peer.
    Offer(NodeName),
    /// Withdraws the offer to a peer.
    OfferEnded(NodeName),
    /// The group failed here and is stopped.
    Failed,
    /// A stop failed, so the group may still run here.
    Stuck,
    /// A failure no longer keeps the group from this node.
    FailureExpired,
    /// The group cannot be started for now.
    Held,
    /// An administrator gave a command about the group.
    Commanded(String),
    /// This node stops its groups and leaves the cluster.
    Leaving,
    /// Announces the group's addresses to the network again.
    Announced,
    /// Takes a new generation number.
    NewGeneration(u64),
    /// A check of this node has failed.
    CheckFailed(String),
    /// A check of this node passes (again).
    CheckPassed(String),
    /// A monitor of a running resource failed, but not yet often enough to act.
    LookFailed {
        /// The resource.
        resource: String,
        /// Failed monitors in a row, this one included.
        failing: u32,
        /// This many in a row count as a failure.
        fall: u32,
    },
    /// Restarts a resource, and those after it in its group, without leaving the node.
    Restart {
        /// The resource.
        resource: String,
        /// Number of this restart ...
        count: u32,
        /// ... of this many allowed ...
        of: u32,
        /// ... within this time.
        within: Duration,
    },
    /// The group stays here although it should move.
    RunsOn,
    /// The group does not go back to its preferred node yet.
    FailbackWaits(NodeName),
}

/// The reason of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Because {
    /// It was heard or answered.
    Heard,
    /// It was heard again after it was late, dead or gone.
    HeardAgain,
    /// It has been silent for this long.
    SilentFor(Duration),
    /// Nothing was heard since this daemon started, this long ago.
    NeverHeard(Duration),
    /// Its own heartbeats say so.
    SaidSo,
    /// Its heartbeats carry a higher generation.
    NewerGeneration,
    /// Every other node was heard, or is dead after initdead.
    AllHeard,
    /// No other node has it, and this is its preferred node.
    Preferred,
    /// Its preferred node cannot run it, and this node is the next choice; the text gives the reason.
    NextChoice(String),
    /// All other nodes agree, or are not there to object.
    AllAgreed,
    /// The peer that ran it is dead.
    OwnerDead(NodeName),
    /// A peer that comes first in ha.cf claims it too.
    BetterClaim(NodeName),
    /// A peer has it.
    HeldBy(NodeName),
    /// A peer has it and fails a check; the text continues a sentence after the peer's name.
    IllAt(NodeName, String),
    /// A peer recognises a node that this node cannot hear.
    Hearsay {
        /// The peer.
        peer: NodeName,
        /// The node that it recognises.
        recognises: NodeName,
    },
    /// It ran on two nodes, and the other one keeps it.
    SplitHealed {
        /// The node that keeps it.
        keeper: NodeName,
    },
    /// A peer took it over while this machine and its clock were suspended.
    Overtaken(NodeName),
    /// This node is in standby for the group.
    Standby,
    /// An administrator told a peer to take the group.
    TakeoverBy(NodeName),
    /// Its preferred node can run it again.
    Failback(NodeName),
    /// A peer reaches more ping nodes.
    BetterConnected(NodeName),
    /// This node leaves the cluster.
    Leaving,
    /// This side does not have enough votes.
    NoQuorum,
    /// This node's lease ended: too few nodes and ping nodes confirmed it in time.
    LeaseEnded,
    /// An administrator asked for it.
    Administrator,
    /// It already ran here, and no peer has it.
    FoundRunning,
    /// Only a part of it already ran here.
    FoundPartly(String),
    /// The message of a resource agent, a monitor or a check.
    Agent(String),
    /// Another machine still answers for one of its addresses.
    AddressAnswers(String),
    /// Its addresses are being probed; they have not been silent for long enough yet.
    ProbeRuns,
    /// A peer has not agreed yet.
    WaitsFor(NodeName),
    /// A dead peer may still be stopping it, for this long at most.
    StopsStill(NodeName, Duration),
    /// A stop of it failed on a peer that is dead now.
    StuckAt(NodeName),
    /// No node can run it; the text names each node and what is in its way.
    NoCandidate(String),
    /// A peer that does not hear this node may soon take it over.
    Unheard(NodeName),
    /// The peer that was offered it no longer claims it.
    ClaimantGone(NodeName),
    /// The configuration changed.
    Reconfigured,
    /// A peer knows a higher generation or sequence of this node: the state file was lost.
    StoreLost(NodeName),
    /// Another node may have announced the same addresses.
    Healed,
    /// Its time has passed.
    Expired,
    /// All steps are done.
    Finished,
    /// A check of this node fails; the text continues a sentence after "this node".
    CheckFails(String),
    /// A check of this node fails, but no other node can run the group.
    NobodyBetter {
        /// The check and its message, to continue a sentence after "this node".
        check: String,
        /// The other nodes, each with what is in its way.
        others: String,
    },
    /// The message of `failback_when` on the preferred node.
    NotReady(String),
}

impl Decision {
    /// A decision about the node as a whole.
    pub fn node(what: What, because: Because) -> Self {
        Decision {
            group: None,
            what,
            because,
        }
    }

    /// A decision about one group.
    pub fn group(group: &GroupName, what: What, because: Because) -> Self {
        Decision {
            group: Some(group.clone()),
            what,
            because,
        }
    }

    /// The reason in words. `None` where the decision says it all by itself.
    pub fn reason(&self) -> Option<String> {
        Some(match (&self.what, &self.because) {
            (
                What::LinkUp(..)
                | What::PingUp(_)
                | What::QuorumGained { .. }
                | What::QuorumLost { .. },
                Because::Heard,
            )
            | (What::PeerDeaf(_) | What::ConfigDiffers(_), Because::SaidSo)
            | (What::Commanded(_), Because::Administrator)
            | (What::Gap(_), Because::Expired) => return None,
            (What::PingDown(_), Because::SilentFor(time)) => {
                format!("no reply for {}", duration_for_people(*time))
            }
            (What::Leaving, Because::Administrator) => "the daemon was told to stop".to_owned(),
            (What::Online, Because::Finished) => "all its resources are started".to_owned(),
            (What::Offline, Because::Finished) => "all its resources are stopped".to_owned(),
            (What::Withdraw, Because::Expired) => "this node was stopped meanwhile".to_owned(),
            (What::Claim(_), Because::HeldBy(node)) => format!("{node} offers it"),
            (What::Claim(_), Because::IllAt(node, why)) => {
                format!("{node} offers it, because {node} {why}")
            }
            (What::FailbackWaits(node), Because::NotReady(text)) => {
                format!("failback_when on {node} says: {text}")
            }
            (_, because) => because.to_string(),
        })
    }

    /// How urgent this is for an administrator.
    pub fn level(&self) -> Level {
        match &self.what {
            What::PeerDead(_)
            | What::Stuck
            | What::QuorumLost { .. }
            | What::Failed
            | What::CheckFailed(_)
            | What::RunsOn => Level::Error,
            What::Held
                if matches!(
                    self.because,
                    Because::AddressAnswers(_) | Because::StuckAt(_)
                ) =>
            {
                Level::Error
            }
            What::PeerLate(_)
            | What::PeerDeaf(_)
            | What::ConfigDiffers(_)
            | What::LinkDown(..)
            | What::PingDown(_)
            | What::Gap(_)
            | What::Held
            | What::LookFailed { .. }
            | What::Restart { .. }
            | What::NewGeneration(_) => Level::Warning,
            What::Stop
                if matches!(
                    self.because,
                    Because::LeaseEnded
                        | Because::NoQuorum
                        | Because::SplitHealed { .. }
                        | Because::Overtaken(_)
                ) =>
            {
                Level::Error
            }
            _ => Level::Info,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(group) = &self.group {
            write!(f, "{group}: ")?;
        }
        write!(f, "{}", self.what)?;
        if let Some(reason) = self.reason() {
            write!(f, ": {reason}")?;
        }
        if let (What::Stuck, Some(group)) = (&self.what, &self.group) {
            write!(f, "; stop it by hand, then run hactl clear {group}")?;
        }
        Ok(())
    }
}

/// As a line of the log has it after the group's name.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerActive(n) => write!(f, "node {n} is active"),
            Self::PeerLate(n) => write!(f, "node {n} is late"),
            Self::PeerDead(n) => write!(f, "node {n} is dead"),
            Self::PeerLeft(n) => write!(f, "node {n} has left the cluster"),
            Self::PeerRestarted(n) => write!(f, "the daemon on {n} was restarted"),
            Self::PeerDeaf(n) => write!(
                f,
                "node {n} does not receive our heartbeats; check the firewall on {n} and the network path to it"
            ),
            Self::ConfigDiffers(n) => write!(
                f,
                "the configuration on {n} differs from ours; groups do not move until ha.cf and haresources agree"
            ),
            Self::LinkUp(n, l) => write!(f, "node {n} is heard on {l}"),
            Self::LinkDown(n, l) => write!(f, "node {n} is not heard on {l}"),
            Self::PingUp(n) => write!(f, "ping node {n} answers"),
            Self::PingDown(n) => write!(f, "ping node {n} does not answer"),
            Self::QuorumGained { votes, total } => {
                write!(f, "quorum gained: {}", votes_of(*votes, *total))
            }
            Self::QuorumLost { votes, total } => {
                write!(f, "quorum lost: {}", votes_of(*votes, *total))
            }
            Self::Joined => write!(f, "this node takes part in the cluster"),
            Self::Gap(d) => write!(
                f,
                "this node was stopped for {} (paused VM, suspend or overload?); nothing it knew before is trusted",
                duration_for_people(*d)
            ),
            Self::Adopt(t) => write!(f, "kept running (term {})", t.0),
            Self::Claim(t) => write!(f, "claiming (term {})", t.0),
            Self::Withdraw => write!(f, "withdrew its claim"),
            Self::Start => write!(f, "starting here"),
            Self::Online => write!(f, "online"),
            Self::Stop => write!(f, "stopping here"),
            Self::Offline => write!(f, "offline"),
            Self::Offer(n) => write!(f, "offering it to {n}"),
            Self::OfferEnded(n) => write!(f, "withdrew its offer to {n}"),
            Self::Failed => write!(f, "failed here"),
            Self::Stuck => write!(f, "stuck: its stop failed, so it may still run here"),
            Self::FailureExpired => write!(f, "its failure here no longer counts"),
            Self::Held => write!(f, "not started"),
            Self::Commanded(c) => write!(f, "command of an administrator: {c}"),
            Self::Leaving => write!(f, "this node leaves the cluster and stops all its groups"),
            Self::Announced => write!(f, "announcing its addresses again"),
            Self::NewGeneration(g) => write!(f, "continuing with generation {g}"),
            Self::CheckFailed(c) => write!(f, "check {c} fails"),
            Self::CheckPassed(c) => write!(f, "check {c} passes"),
            Self::LookFailed {
                resource,
                failing,
                fall,
            } => write!(
                f,
                "monitor of {resource} failed ({failing} of {fall} in a row)"
            ),
            Self::Restart {
                resource,
                count,
                of,
                within,
            } => write!(
                f,
                "restarting {resource} in place ({count} of {of} restarts within {})",
                duration_for_people(*within)
            ),
            Self::RunsOn => write!(f, "stays here"),
            Self::FailbackWaits(n) => write!(f, "does not go back to {n} yet"),
        }
    }
}

/// Such as `1 of 3 votes, 2 needed`.
fn votes_of(votes: u32, total: u32) -> String {
    format!("{votes} of {total} votes, {} needed", total / 2 + 1)
}

/// The reason without its decision. [`Decision::reason`] knows better words for some pairs.
impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heard => write!(f, "heartbeats arrive"),
            Self::HeardAgain => write!(f, "heartbeats arrive again"),
            Self::SilentFor(d) => write!(f, "nothing heard for {}", duration_for_people(*d)),
            Self::NeverHeard(d) => write!(
                f,
                "nothing heard since this daemon started {} ago",
                duration_for_people(*d)
            ),
            Self::SaidSo => write!(f, "its heartbeats say so"),
            Self::NewerGeneration => write!(f, "its heartbeats carry a higher generation"),
            Self::AllHeard => write!(f, "every other node was heard, or is dead after initdead"),
            Self::Preferred => {
                write!(f, "no other node has it, and this is its preferred node")
            }
            Self::NextChoice(why) => write!(f, "no other node has it; {why}"),
            Self::AllAgreed => write!(f, "every other node agrees, has left or is dead"),
            Self::OwnerDead(n) => write!(f, "{n}, which ran it, is dead"),
            Self::BetterClaim(n) => write!(f, "{n} claims it too and comes first in ha.cf"),
            Self::HeldBy(n) => write!(f, "{n} has it"),
            Self::IllAt(n, why) => write!(f, "{n} has it and {why}"),
            Self::Hearsay { peer, recognises } => write!(
                f,
                "{peer} reports that {recognises} has it, and this node cannot hear {recognises}"
            ),
            Self::SplitHealed { keeper } => {
                write!(
                    f,
                    "it ran on both nodes; {keeper} had it first and keeps it"
                )
            }
            Self::Overtaken(n) => write!(
                f,
                "{n} took it over while this machine and its clock were suspended"
            ),
            Self::Standby => write!(f, "this node is in standby for it"),
            Self::TakeoverBy(n) => write!(f, "an administrator told {n} to take it over"),
            Self::Failback(n) => write!(
                f,
                "auto_failback is on, and its preferred node {n} can run it"
            ),
            Self::BetterConnected(n) => write!(f, "{n} reaches more ping nodes"),
            Self::Leaving => write!(f, "this node leaves the cluster"),
            Self::NoQuorum => write!(f, "this side has no quorum"),
            Self::LeaseEnded => write!(
                f,
                "too few nodes and ping nodes confirmed in time that this node may run it"
            ),
            Self::Administrator => write!(f, "an administrator asked for it"),
            Self::FoundRunning => write!(f, "it already ran here, and no other node has it"),
            Self::FoundPartly(what) => write!(f, "only a part of it already ran here ({what})"),
            Self::Agent(text) => write!(f, "{text}"),
            Self::AddressAnswers(who) => write!(
                f,
                "split brain suspected: one of its addresses still answers ({who}); stop what runs there, or override with hactl takeover --force"
            ),
            Self::ProbeRuns => write!(f, "checking that no machine answers for its addresses"),
            Self::WaitsFor(n) => write!(f, "{n} has not agreed yet"),
            Self::StopsStill(n, time) => write!(
                f,
                "{n} may still be stopping it, for {} at most (timeout in ha.cf); if {n} is known to be off, do not wait: hactl takeover --force",
                duration_for_people(*time)
            ),
            Self::StuckAt(n) => write!(
                f,
                "its stop failed on {n}, so it may still run there; make sure that it does not, then run hactl clear"
            ),
            Self::NoCandidate(why) => write!(f, "no node may run it: {why}"),
            Self::Unheard(n) => write!(
                f,
                "{n} does not receive our heartbeats and will take it over; check the firewall on {n} and the network path to it"
            ),
            Self::ClaimantGone(n) => write!(f, "{n} cannot take it now, or need not"),
            Self::Reconfigured => write!(f, "the configuration changed"),
            Self::StoreLost(n) => write!(
                f,
                "{n} knows a later generation of this node, so this node's state file was lost or is an old copy"
            ),
            Self::Healed => write!(f, "another node may have announced them"),
            Self::Expired => write!(f, "its time has passed"),
            Self::Finished => write!(f, "all steps are done"),
            Self::CheckFails(check) => write!(f, "this node {check}"),
            Self::NobodyBetter { check, others } => {
                write!(
                    f,
                    "this node {check}, but no other node can run it: {others}"
                )
            }
            Self::NotReady(text) => write!(f, "failback_when there says: {text}"),
        }
    }
}
