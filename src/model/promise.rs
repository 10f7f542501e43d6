//! What a cluster promises: each group runs on one node at a time. The one table that the invariant of the simulator,
//! `hactl check`, `hactl sim`, the README and the manual share, word for word.

use std::fmt;

use super::cluster::{Cluster, QuorumPolicy};

/// The shapes of clusters that differ in what they promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterShape {
    /// One node, three or more, or two and a witness.
    Majority,
    /// Two nodes with an arbiter.
    PairWithPingNode,
    /// Two nodes that do not count votes.
    PairAlone,
    /// `quorum freeze`, `ignore`, or `off` where votes could be counted.
    VotesOverridden,
}

impl ClusterShape {
    /// All of them, in the order of the table.
    pub const ALL: [ClusterShape; 4] = [
        Self::Majority,
        Self::PairWithPingNode,
        Self::PairAlone,
        Self::VotesOverridden,
    ];

    /// The shape of this cluster.
    pub fn of(cluster: &Cluster) -> Self {
        let shares = cluster.vote_shares();
        match cluster.quorum {
            QuorumPolicy::Stop if shares.has_arbiter() => Self::PairWithPingNode,
            QuorumPolicy::Stop => Self::Majority,
            QuorumPolicy::Off if cluster.nodes.len() <= 2 && cluster.pings.is_empty() => {
                Self::PairAlone
            }
            _ => Self::VotesOverridden,
        }
    }

    /// What belongs to this shape, as a table names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Majority => {
                "three or more nodes, or two nodes and a witness, with any number of ping nodes"
            }
            Self::PairWithPingNode => "two nodes and a ping node",
            Self::PairAlone => "two nodes, no ping node (`quorum off`)",
            Self::VotesOverridden => {
                "`quorum freeze` or `ignore`, or `off` with more than two nodes"
            }
        }
    }

    /// When a group has one owner in such a cluster.
    pub fn one_owner(self) -> &'static str {
        match self {
            Self::Majority => "always, except below",
            Self::PairWithPingNode => {
                "always, except below, while heartbeats relayed through the ping node arrive in time (`relay`; status \
                 shows whether they do). Where the network drops, loses or delays them: if a network failure \
                 separates a node from the other and from the ping node. **Not** if both nodes still reach the ping \
                 node but neither each other nor each other's addresses, and **not** if a second fault follows within \
                 two `deadtime`s"
            }
            Self::PairAlone => {
                "while they hear each other or each other's addresses. **If all links are cut, both run everything**; and \
                 if they are cut apart before either has a group, both may start it"
            }
            Self::VotesOverridden => {
                "as two nodes without a ping node: a side that is cut off keeps what it runs"
            }
        }
    }
}

/// What no cluster excludes, whatever its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// A stop that is slower than the survivor waits.
    SlowStop,
    /// A daemon that is killed and not started again, or frozen.
    DeadDaemon,
    /// A stop that fails where nobody hears of it.
    FailedStop,
    /// A machine that stood still with its clock.
    SuspendedMachine,
    /// A second machine with the name of a node.
    ClonedMachine,
    /// Maintenance of which the others do not know.
    UnheardMaintenance,
    /// A service that something else started.
    ForeignStart,
    /// An agent that says "stopped" of what runs.
    WrongStatus,
    /// Nodes with different `quorum` or `relay`.
    DifferentQuorum,
    /// A node that does not know by which lists of voters the others act.
    UnknownVoters,
    /// An administrator's statement that is not true.
    BlindCommand,
}

impl Exception {
    /// All of them, in the order of the list.
    pub const ALL: [Exception; 11] = [
        Self::SlowStop,
        Self::DeadDaemon,
        Self::FailedStop,
        Self::SuspendedMachine,
        Self::ClonedMachine,
        Self::UnheardMaintenance,
        Self::ForeignStart,
        Self::WrongStatus,
        Self::DifferentQuorum,
        Self::UnknownVoters,
        Self::BlindCommand,
    ];

    /// What is not covered.
    pub fn text(self) -> &'static str {
        match self {
            Self::SlowStop => {
                "a node that is cut off loses its addresses in time, but its other services may still be stopping when \
                 another node starts them. Only shared storage and what `takeover_waits` names is waited for, as long as \
                 its stop deadlines say, or ten seconds if DRBD guards it"
            }
            Self::DeadDaemon => {
                "a daemon that is killed and stays dead, or hangs: its addresses vanish (not with `lease off`), its other \
                 services and its mounts stay. What stands on shared storage is not started elsewhere while that machine \
                 answers; a machine that is cut off too cannot answer"
            }
            Self::FailedStop => {
                "a stop that fails on a node that is cut off, or a machine that hangs and still writes to shared storage \
                 afterwards: only fencing covers this"
            }
            Self::SuspendedMachine => {
                "a machine that is suspended with its clock: when it continues, it answers until it hears of the new owner"
            }
            Self::ClonedMachine => {
                "a machine that is cloned with its name: a copy of its memory runs its groups too, until it hears of heartbeats \
                 that it did not send; and if a network failure separates the two machines, both sides count that name"
            }
            Self::UnheardMaintenance => {
                "a group in maintenance on a node that is cut off: its right does not end there, and a node that has not heard \
                 of the maintenance takes it over"
            }
            Self::ForeignStart => {
                "a service that systemd or a person starts beside the cluster: it runs until `had` looks at it"
            }
            Self::WrongStatus => "an agent that reports a running service as stopped",
            Self::DifferentQuorum => "`quorum` or `relay` in ha.cf that differ between nodes",
            Self::UnknownVoters => {
                "a new node, or one that lost its state file, that starts before the others have read a new list of nodes"
            }
            Self::BlindCommand => {
                "`hactl clear` or `forget` or `fence confirm` or `takeover --force` without checking that the group runs nowhere else, or a `fence` line that switches off another machine than that of its node"
            }
        }
    }
}

/// Why two owners are possible: because of the shape of the cluster, or by an exception that no shape excludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPromised {
    /// The row of the table.
    Shape(ClusterShape),
    /// The item of the list.
    Exception(Exception),
}

impl fmt::Display for NotPromised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(shape) => write!(
                f,
                "{} have one owner {}",
                shape.name(),
                shape.one_owner().replace("**", "")
            ),
            Self::Exception(exception) => write!(f, "not covered: {}", exception.text()),
        }
    }
}
