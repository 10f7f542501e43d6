//! A decision with its reason: one value, logged, journalled and shown, in one wording.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{GroupName, LinkName, NodeName, Term};

/// What was decided or noticed, about what, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Decision {
    /// The group, where it is about one.
    pub group: Option<GroupName>,
    /// What.
    pub what: What,
    /// Why.
    pub because: Because,
}

/// How much an administrator must care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The usual course.
    Info,
    /// Worth a look in the morning.
    Warning,
    /// Worth waking somebody.
    Error,
}

/// What was decided or noticed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum What {
    /// A peer changed its liveness.
    PeerActive(NodeName),
    /// A peer is silent longer than warntime.
    PeerLate(NodeName),
    /// A peer is silent longer than deadtime.
    PeerDead(NodeName),
    /// A peer said goodbye.
    PeerLeft(NodeName),
    /// A peer's daemon was started anew.
    PeerRestarted(NodeName),
    /// A peer does not hear us.
    PeerDeaf(NodeName),
    /// A peer's configuration differs from ours.
    ConfigDiffers(NodeName),
    /// A peer is heard on a link.
    LinkUp(NodeName, LinkName),
    /// A peer is no longer heard on a link.
    LinkDown(NodeName, LinkName),
    /// A ping node answers.
    PingUp(String),
    /// A ping node no longer answers.
    PingDown(String),
    /// This side counts enough votes.
    QuorumGained {
        /// Ours.
        votes: u32,
        /// Of all.
        total: u32,
    },
    /// This side does not count enough votes.
    QuorumLost {
        /// Ours.
        votes: u32,
        /// Of all.
        total: u32,
    },
    /// This node takes part from now on.
    Joined,
    /// Our own time stood still.
    Gap(Duration),
    /// Found running and kept.
    Adopt(Term),
    /// Asks the others for the right to run it.
    Claim(Term),
    /// Gives up a claim.
    Withdraw,
    /// Starts it.
    Start,
    /// It runs here.
    Online,
    /// Stops it.
    Stop,
    /// It is stopped here.
    Offline,
    /// Offers it to a peer.
    Offer(NodeName),
    /// Takes an offer back.
    OfferEnded(NodeName),
    /// It failed here.
    Failed,
    /// A stop failed: it may still run here.
    Stuck,
    /// A failure no longer counts.
    FailureExpired,
    /// It cannot be started for now.
    Held,
    /// An administrator's wish is noted.
    Commanded(String),
    /// Gives up everything and ends.
    Leaving,
    /// Announces its addresses again.
    Announced,
    /// Takes a new generation.
    NewGeneration(u64),
    /// A check of this node has failed.
    CheckFailed(String),
    /// A check of this node passes (again).
    CheckPassed(String),
    /// A look at a running resource failed, but not yet often enough to act: the how manieth of how many.
    LookFailed {
        /// The resource.
        resource: String,
        /// So many in a row.
        failing: u32,
        /// So many are believed.
        fall: u32,
    },
    /// Restarts a resource, and what stands on it, where they are.
    Restart {
        /// The resource.
        resource: String,
        /// The how manieth restart ...
        count: u32,
        /// ... of how many ...
        of: u32,
        /// ... within this time.
        within: Duration,
    },
    /// Runs on here, although it should go.
    RunsOn,
    /// Its preferred node could have it back, but not yet.
    FailbackWaits(NodeName),
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Because {
    /// It was heard.
    Heard,
    /// It was heard again after being called dead.
    HeardAgain,
    /// Nothing was heard of it for so long.
    SilentFor(Duration),
    /// Not heard since our start, for so long.
    NeverHeard(Duration),
    /// It said so.
    SaidSo,
    /// It shows a greater generation.
    NewerGeneration,
    /// Every other node was heard, or initdead has passed.
    AllHeard,
    /// Nobody holds it and this is its preferred node.
    Preferred,
    /// Its preferred node cannot run it, and this node is the next choice: the text says by what.
    NextChoice(String),
    /// Everybody agreed.
    AllAgreed,
    /// A peer died that ran it.
    OwnerDead(NodeName),
    /// A peer with the better right wants it.
    BetterClaim(NodeName),
    /// A peer holds it.
    HeldBy(NodeName),
    /// A peer holds it and is not well: the text goes on after its name.
    IllAt(NodeName, String),
    /// A peer recognises a node that we cannot hear.
    Hearsay {
        /// The peer.
        peer: NodeName,
        /// Whom it recognises.
        recognises: NodeName,
    },
    /// Both ran it; the other side keeps it.
    SplitHealed {
        /// Who keeps it.
        keeper: NodeName,
    },
    /// Another took it over while this node stood still, and its clock with it.
    Overtaken(NodeName),
    /// This node is in standby.
    Standby,
    /// A peer was told to take it.
    TakeoverBy(NodeName),
    /// Its preferred node is back.
    Failback(NodeName),
    /// Another node sees more ping nodes.
    BetterConnected(NodeName),
    /// This node is leaving.
    Leaving,
    /// Not enough votes.
    NoQuorum,
    /// The right to hold it ran out: too few others confirmed us in time.
    LeaseEnded,
    /// An administrator said so.
    Administrator,
    /// It was found running, and no peer has it.
    FoundRunning,
    /// Only a part of it was found running.
    FoundPartly(String),
    /// A look or an action said so.
    Agent(String),
    /// An address of it still answers on the wire.
    AddressAnswers(String),
    /// The wire has not been silent for long enough yet.
    ProbeRuns,
    /// A peer that is not known to have released it must first be waited for.
    WaitsFor(NodeName),
    /// A dead peer may have lost its right to it only at the end, and then needs this long for its stops.
    StopsStill(NodeName, Duration),
    /// A peer died or is held with a failed stop of it.
    StuckAt(NodeName),
    /// No node may run it.
    NoCandidate(String),
    /// A peer is heard that does not hear us and could act alone.
    Unheard(NodeName),
    /// It was claimed by one that went away.
    ClaimantGone(NodeName),
    /// The configuration changed.
    Reconfigured,
    /// A peer knows of a greater generation or sequence of ours: our store was lost.
    StoreLost(NodeName),
    /// A link or a peer came back and others may remember the wrong owner.
    Healed,
    /// Its time is over.
    Expired,
    /// All its steps are done.
    Finished,
    /// A check of this node fails: its name and what it said.
    CheckFails(String),
    /// A check of this node fails, and nobody else can run the group.
    NobodyBetter {
        /// The check and what it said.
        check: String,
        /// Why no other node can.
        others: String,
    },
    /// What `failback_when` says there.
    NotReady(String),
}

impl Decision {
    /// About the node as a whole.
    pub fn node(what: What, because: Because) -> Self {
        Decision {
            group: None,
            what,
            because,
        }
    }

    /// About one group.
    pub fn group(group: &GroupName, what: What, because: Because) -> Self {
        Decision {
            group: Some(group.clone()),
            what,
            because,
        }
    }

    /// How much an administrator must care.
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
        write!(f, "{}: {}", self.what, self.because)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerActive(n) => write!(f, "node {n} is active"),
            Self::PeerLate(n) => write!(f, "node {n} is late"),
            Self::PeerDead(n) => write!(f, "node {n} is dead"),
            Self::PeerLeft(n) => write!(f, "node {n} has left"),
            Self::PeerRestarted(n) => write!(f, "the daemon on {n} was restarted"),
            Self::PeerDeaf(n) => write!(f, "node {n} does not hear us"),
            Self::ConfigDiffers(n) => write!(f, "the configuration on {n} differs from ours"),
            Self::LinkUp(n, l) => write!(f, "node {n} is heard on {l}"),
            Self::LinkDown(n, l) => write!(f, "node {n} is not heard on {l}"),
            Self::PingUp(n) => write!(f, "ping node {n} answers"),
            Self::PingDown(n) => write!(f, "ping node {n} does not answer"),
            Self::QuorumGained { votes, total } => {
                write!(f, "quorum with {votes} of {total} votes")
            }
            Self::QuorumLost { votes, total } => {
                write!(f, "no quorum with {votes} of {total} votes")
            }
            Self::Joined => write!(f, "this node takes part"),
            Self::Gap(d) => write!(f, "our own time stood still for {d:.1?}"),
            Self::Adopt(t) => write!(f, "kept running (term {})", t.0),
            Self::Claim(t) => write!(f, "claims it (term {})", t.0),
            Self::Withdraw => write!(f, "withdraws its claim"),
            Self::Start => write!(f, "starts it"),
            Self::Online => write!(f, "online"),
            Self::Stop => write!(f, "stops it"),
            Self::Offline => write!(f, "offline"),
            Self::Offer(n) => write!(f, "offers it to {n}"),
            Self::OfferEnded(n) => write!(f, "offers it to {n} no longer"),
            Self::Failed => write!(f, "failed here"),
            Self::Stuck => write!(f, "stuck: its stop failed, it may still run here"),
            Self::FailureExpired => write!(f, "its failure here counts no longer"),
            Self::Held => write!(f, "is not started"),
            Self::Commanded(c) => write!(f, "command: {c}"),
            Self::Leaving => write!(f, "gives up everything"),
            Self::Announced => write!(f, "announces its addresses again"),
            Self::NewGeneration(g) => write!(f, "takes generation {g}"),
            Self::CheckFailed(c) => write!(f, "check {c} fails"),
            Self::CheckPassed(c) => write!(f, "check {c} passes"),
            Self::LookFailed {
                resource,
                failing,
                fall,
            } => write!(f, "{resource} looks ill ({failing} of {fall})"),
            Self::Restart {
                resource,
                count,
                of,
                within,
            } => write!(
                f,
                "restarts {resource} in place ({count} of {of} times within {within:.0?})"
            ),
            Self::RunsOn => write!(f, "runs on here"),
            Self::FailbackWaits(n) => write!(f, "does not go back to {n} yet"),
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heard => write!(f, "heard from it"),
            Self::HeardAgain => write!(f, "heard from it again"),
            Self::SilentFor(d) => write!(f, "nothing heard for {d:.1?}"),
            Self::NeverHeard(d) => write!(f, "nothing heard since our start {d:.1?} ago"),
            Self::SaidSo => write!(f, "it said so"),
            Self::NewerGeneration => write!(f, "it shows a newer generation"),
            Self::AllHeard => write!(f, "every other node was heard, or initdead has passed"),
            Self::Preferred => write!(f, "nobody has it and this is its preferred node"),
            Self::NextChoice(why) => write!(f, "nobody has it; {why}"),
            Self::AllAgreed => write!(f, "every other node agreed, left or is dead"),
            Self::OwnerDead(n) => write!(f, "{n}, which ran it, is dead"),
            Self::BetterClaim(n) => write!(f, "{n} claims it and comes first in ha.cf"),
            Self::HeldBy(n) => write!(f, "{n} has it"),
            Self::IllAt(n, why) => write!(f, "{n} has it and {why}"),
            Self::Hearsay { peer, recognises } => {
                write!(
                    f,
                    "{peer} says that {recognises} has it, which we cannot hear"
                )
            }
            Self::SplitHealed { keeper } => {
                write!(f, "both nodes ran it; {keeper} had it first and keeps it")
            }
            Self::Overtaken(n) => write!(
                f,
                "{n} took it over while this machine stood still, and its clock with it"
            ),
            Self::Standby => write!(f, "this node is in standby for it"),
            Self::TakeoverBy(n) => write!(f, "{n} was told to take it over"),
            Self::Failback(n) => write!(f, "auto_failback, and its preferred node {n} can run it"),
            Self::BetterConnected(n) => write!(f, "{n} reaches more ping nodes"),
            Self::Leaving => write!(f, "this node is leaving"),
            Self::NoQuorum => write!(f, "this side has no quorum"),
            Self::LeaseEnded => write!(
                f,
                "too few nodes and ping nodes confirmed our right to it in time"
            ),
            Self::Administrator => write!(f, "an administrator said so"),
            Self::FoundRunning => write!(f, "found running, and no other node has it"),
            Self::FoundPartly(what) => write!(f, "only a part of it was found running ({what})"),
            Self::Agent(text) => write!(f, "{text}"),
            Self::AddressAnswers(who) => write!(
                f,
                "split brain suspected: an address of it still answers ({who}); end what runs there, or overrule with hactl takeover --force"
            ),
            Self::ProbeRuns => write!(f, "asking on the wire whether its address still answers"),
            Self::WaitsFor(n) => write!(f, "{n} has not agreed yet"),
            Self::StopsStill(n, time) => write!(
                f,
                "{n} may still be stopping it, for {time:?} at most (timeout in ha.cf); if {n} is known to be off, do not wait: hactl takeover --force"
            ),
            Self::StuckAt(n) => write!(
                f,
                "its stop failed on {n}, so it may still run there; see to that node, then run hactl clear"
            ),
            Self::NoCandidate(why) => write!(f, "no node may run it: {why}"),
            Self::Unheard(n) => write!(
                f,
                "{n} is heard but does not hear us and will act as if this node were dead; look at its firewall and at our way to it"
            ),
            Self::ClaimantGone(n) => write!(f, "{n} no longer wants it"),
            Self::Reconfigured => write!(f, "the configuration changed"),
            Self::StoreLost(n) => write!(
                f,
                "{n} remembers a later life of this node: our store was lost"
            ),
            Self::Healed => write!(f, "a peer that may have announced them is heard again"),
            Self::Expired => write!(f, "its time is over"),
            Self::Finished => write!(f, "all steps are done"),
            Self::CheckFails(check) => write!(f, "this node {check}"),
            Self::NobodyBetter { check, others } => write!(
                f,
                "this node {check}, but no other node may run it: {others}; a sick service is better than none"
            ),
            Self::NotReady(text) => write!(f, "failback_when says there: {text}"),
        }
    }
}
