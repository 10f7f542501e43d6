//! A decision and its reason as one value. The log, the journal and `hactl` all show it in the words of `wording.rs`.

mod word;
mod wording;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{GroupName, LinkName, NodeName, Term};

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
    /// A peer's heartbeats cannot be read; the text says why, and what to do.
    OtherVersion(NodeName, String),
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
    /// Heartbeats of a member come from the address of a ping node, so that has no vote.
    PingIsMember(String, NodeName),
    /// This node's side has more than half of the votes.
    QuorumGained {
        /// Votes of this node's side.
        votes: u32,
        /// Votes in the whole cluster.
        total: u32,
    },
    /// This node's side goes on with fewer, because nobody else is left.
    QuorumOthersDead {
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
    /// The list of voters changes; the text says which nodes have not shown the new one.
    VotersChange(String),
    /// The list of voters has changed: nobody acts by an old one any more.
    VotersAgreed,
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
    /// Another node runs the group.
    RunsAt(NodeName),
    /// The daemon starts; the text names its version.
    DaemonStarted(String),
    /// The daemon ends; the text says how.
    DaemonEnded(String),
    /// The configuration was read again; the text says what changed.
    Reloaded(String),
    /// Something else removed these addresses, and they were put back.
    AddressesRestored(String),
    /// Packets were rejected lately; the text counts them by reason.
    PacketsRejected(String),
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
    /// A command of an administrator came to nothing.
    CommandFailed(String),
    /// This node stops its groups and leaves the cluster.
    Leaving,
    /// Announces the group's addresses to the network again.
    Announced,
    /// Two machines have the name of this node.
    SharedName {
        /// The name.
        node: NodeName,
        /// The machine that keeps it.
        first: String,
        /// The machine that stays out.
        second: String,
    },
    /// Only one machine has this name now.
    SharedNameEnded(NodeName),
    /// This node does not take part and stops what it runs.
    StaysOut,
    /// A node is heard that an administrator called dead.
    NotDead(NodeName),
    /// The fencing of a node begins: its machine is switched off.
    FenceBegins(NodeName),
    /// The machine of a node is off, by the word of its power switch.
    Fenced(NodeName),
    /// An attempt to fence a node, or to switch its machine on again, failed.
    FenceFailed(NodeName),
    /// The machine of a fenced node was switched on again.
    FencedIsOn(NodeName),
    /// A node that was fenced is heard, and has not been started anew.
    FencedLives(NodeName),
    /// A node is not fenced from here.
    FenceHeld(NodeName),
    /// The power switch of a node does not answer, so that node could not be fenced.
    PowerSwitchFails(NodeName),
    /// It answers again.
    PowerSwitchAnswers(NodeName),
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
    /// An administrator moved the group as an exercise.
    Drilled {
        /// To this node.
        to: NodeName,
        /// How long it was away from its clients then, if that is known.
        gap: Option<Duration>,
        /// Whether it was moved back.
        returned: bool,
        /// The same when it was moved back.
        back: Option<Duration>,
    },
}

/// The reason of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Because {
    /// Heartbeats or answers arrive.
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
    /// A peer offers it because it fails a check; the text continues a sentence after the peer's name.
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
    /// A machine that is no node of this cluster answers for one of its addresses.
    ForeignAnswers(String),
    /// Its addresses are being probed; they have not been silent for long enough yet.
    ProbeRuns,
    /// A node that is no longer in ha.cf still runs it.
    HeldByStranger(NodeName),
    /// A second machine with the name of this node still runs it.
    HeldByNamesake(NodeName),
    /// Another machine has this node's name and the better right to it.
    OtherMachine,
    /// This second machine of a name stays out.
    SecondStaysOut(String),
    /// It is new or changed here, and this node has another configuration, by which it may run a part of it.
    OtherConfiguration(NodeName),
    /// The ping nodes have not answered for deadtime without a gap, so a peer that is not heard may have had their vote.
    PingGap,
    /// A peer has not agreed yet.
    WaitsFor(NodeName),
    /// A dead peer may still be stopping it, for this long at most.
    StopsStill(NodeName, Duration),
    /// The daemon of a peer is silent, its machine answers, and the group may still run there on shared storage.
    MachineAnswers(NodeName),
    /// Another machine has the name of this peer; the one that had it before answers at this address, and may run the group.
    FormerMachineAnswers(NodeName, String),
    /// It is not known yet whether the machine of a silent peer answers.
    MachineProbed(NodeName),
    /// A dead peer may run it, and was not fenced yet.
    AwaitsFencing(NodeName),
    /// A group may run on a dead peer.
    MayRunAt(NodeName),
    /// The power switch of a machine says so.
    PowerSwitch,
    /// This node has not heard that peer, so it may be the one that was cut off.
    NeverHeardSoAsk,
    /// Another node hears that peer: the link between it and this node is broken.
    HeardElsewhere(NodeName),
    /// What that peer's power switch switches is another machine.
    WrongMachine,
    /// A stop of it failed on a peer that is dead now.
    StuckAt(NodeName),
    /// A peer that is dead now had it in maintenance, and has not heard of its end.
    UnawareAt(NodeName),
    /// No node can run it; the text names each node and what is in its way.
    NoCandidate(String),
    /// A peer that does not hear this node may soon take it over.
    Unheard(NodeName),
    /// Another peer should get it now. (Older journals call every end of an offer `ClaimantGone`.)
    #[serde(alias = "ClaimantGone")]
    BetterTarget(NodeName),
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
    /// The votes were counted.
    VotesCounted,
    /// An administrator has confirmed that every voter that is not heard is dead.
    AllOthersDead,
    /// The votes were counted while the list of voters changes; the text says what that waits for.
    VotersChange(String),
    /// The daemon, or the whole machine, was stopped for too long.
    NodeWasStopped,
    /// The wait for nodes that are not heard is over.
    WaitOver,
    /// A peer offers it.
    OfferedBy(NodeName),
    /// A node cannot run it; the text continues a sentence after the node's name.
    CannotRun(NodeName, String),
    /// There is no reason any more to move it.
    NoReasonToMove,
    /// It has moved too often lately.
    MovedOften,
    /// It is in maintenance.
    Maintenance,
    /// An administrator told this node to give it away.
    GivenAway,
    /// No other node can run it.
    NobodyElse,
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

    /// How urgent this is for an administrator.
    pub fn level(&self) -> Level {
        match &self.what {
            What::PeerDead(_)
            | What::Stuck
            | What::QuorumLost { .. }
            | What::Failed
            | What::CheckFailed(_)
            | What::SharedName { .. }
            | What::OtherVersion(..)
            | What::StaysOut
            | What::PingIsMember(..)
            | What::NotDead(_)
            | What::FenceBegins(_)
            | What::FenceFailed(_)
            | What::FencedLives(_)
            | What::FenceHeld(_)
            | What::PowerSwitchFails(_)
            | What::RunsOn => Level::Error,
            What::Held
                if matches!(
                    self.because,
                    Because::AddressAnswers(_)
                        | Because::ForeignAnswers(_)
                        | Because::StuckAt(_)
                        | Because::UnawareAt(_)
                        | Because::MachineAnswers(_)
                        | Because::FormerMachineAnswers(..)
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
            | What::VotersChange(_)
            | What::CommandFailed(_)
            | What::AddressesRestored(_)
            | What::PacketsRejected(_)
            | What::Held
            | What::LookFailed { .. }
            | What::Restart { .. }
            | What::Fenced(_)
            | What::NewGeneration(_) => Level::Warning,
            What::Stop
                if matches!(
                    self.because,
                    Because::LeaseEnded
                        | Because::NoQuorum
                        | Because::SplitHealed { .. }
                        | Because::Overtaken(_)
                        | Because::NodeWasStopped
                        | Because::OtherMachine
                ) =>
            {
                Level::Error
            }
            _ => Level::Info,
        }
    }
}
