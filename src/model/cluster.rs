//! What the engine must know of the configuration: nodes, times, groups. No paths, no commands.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fencing::Fencing;
use super::health::{Health, Policy};
use super::{GroupName, LinkName, NodeName};
use crate::text::count;

/// A witness remembers so many groups at most. A group that it does not know cannot be started.
pub const MAX_WITNESSED_GROUPS: usize = 1000;

/// The part of the configuration on which decisions rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// This node; one of `nodes`.
    pub me: NodeName,
    /// All members in the order of ha.cf, witnesses too; the earlier has the better right between equals.
    pub nodes: Vec<NodeName>,
    /// Those of `nodes` that have a vote and run no groups.
    #[serde(default)]
    pub witnesses: Vec<NodeName>,
    /// Names of the links, in the order of ha.cf.
    pub links: Vec<LinkName>,
    /// Ping nodes and ping groups, each with one vote.
    pub pings: Vec<PingNode>,
    /// Whether heartbeats also go through the ping nodes (`relay`).
    #[serde(default)]
    pub relay: bool,
    /// How long is long.
    pub timing: Timing,
    /// What becomes of the groups of a side that has no quorum.
    pub quorum: QuorumPolicy,
    /// Whether a group goes back to its preferred node when that returns.
    pub auto_failback: bool,
    /// For how long the preferred node must have been a candidate before a group goes back to it.
    pub failback_delay: Duration,
    /// Whether a group moves to a node that sees more ping nodes (`ipfail`).
    pub follow_connectivity: bool,
    /// Checks of the node, and whether `failback_when` has its say.
    #[serde(default)]
    pub health: Health,
    /// Which nodes can be fenced, and how.
    #[serde(default)]
    pub fencing: Fencing,
    /// The groups in the order of haresources.
    pub groups: Vec<GroupSpec>,
    /// Hash of all that must agree on every node; published, so that a difference shows.
    pub digest: u64,
}

impl Cluster {
    /// A cluster without links, ping nodes and groups, with quorum off. The first node is this one.
    pub fn new(nodes: &[NodeName], timing: Timing) -> Self {
        Cluster {
            me: nodes
                .first()
                .cloned()
                .unwrap_or_else(|| NodeName::new("nobody")),
            nodes: nodes.to_vec(),
            witnesses: Vec::new(),
            links: Vec::new(),
            pings: Vec::new(),
            relay: false,
            timing,
            quorum: QuorumPolicy::Off,
            auto_failback: false,
            failback_delay: Duration::ZERO,
            follow_connectivity: false,
            health: Health::default(),
            fencing: Fencing::default(),
            groups: Vec::new(),
            digest: 1,
        }
    }
}

impl Cluster {
    /// Whether this member has a vote and runs no groups.
    pub fn is_witness(&self, name: &NodeName) -> bool {
        self.witnesses.contains(name)
    }

    /// Whether this node is a witness.
    pub fn this_node_is_witness(&self) -> bool {
        self.is_witness(&self.me)
    }

    /// The number of nodes, and of witnesses if there are any.
    pub fn members_in_words(&self) -> String {
        let nodes = count(
            self.nodes.len().saturating_sub(self.witnesses.len()),
            "node",
        );
        match self.witnesses.len() {
            0 => nodes,
            witnesses => format!("{nodes}, {}", count(witnesses, "witness")),
        }
    }

    /// Why this node refuses commands for groups, if it is a witness.
    pub fn refuse_as_witness(&self) -> Option<String> {
        let me = &self.me;
        self.this_node_is_witness().then(|| {
            format!(
                "{me} is a witness: it has a vote and runs no groups; run this command on a node"
            )
        })
    }

    /// The groups that this node may run. A witness runs none.
    pub fn own_groups(&self) -> &[GroupSpec] {
        if self.this_node_is_witness() {
            &[]
        } else {
            &self.groups
        }
    }

    /// Whether heartbeats go through the ping nodes unless ha.cf says otherwise: where both nodes of a pair would have the
    /// vote of the ping nodes.
    pub fn relays_by_default(voters: usize, pings: usize) -> bool {
        voters == 2 && pings > 0
    }

    /// The links that go through the ping nodes, one for each.
    pub fn relay_links(&self) -> impl Iterator<Item = LinkName> {
        let pings = self.pings.iter().filter(|_| self.relay);
        pings.map(|ping| LinkName::relay(&ping.name))
    }
}

/// An address that shows whether a node is connected: a `ping` node or a `ping_group`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingNode {
    /// The address as written, or the name of the group.
    pub name: String,
    /// Who is asked; one answer is enough.
    pub addresses: Vec<std::net::IpAddr>,
}

/// The times of ha.cf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// A heartbeat is sent each such interval.
    pub keepalive: Duration,
    /// Silence that earns a warning.
    pub warntime: Duration,
    /// Silence that means dead.
    pub deadtime: Duration,
    /// Silence that means dead, for a peer not heard since our own start.
    pub initdead: Duration,
    /// Silence after which a ping node counts as unreachable.
    pub deadping: Duration,
    /// How much sooner than a survivor's deadtime an isolated owner stops its groups; `engine/PROTOCOL.md` says under
    /// "Timing" how large it must be.
    pub margin: Duration,
}

impl Timing {
    /// The other times in their usual relation to these two.
    pub fn usual(keepalive: Duration, deadtime: Duration) -> Self {
        Timing {
            keepalive,
            warntime: deadtime / 2,
            deadtime,
            initdead: deadtime * 2,
            deadping: deadtime,
            margin: Timing::usual_margin(keepalive, deadtime),
        }
    }

    /// The margin that a deadtime and a keepalive leave: `max(2 keepalive, 100 ms, deadtime / 5)`,
    /// but never more than half of deadtime.
    pub fn usual_margin(keepalive: Duration, deadtime: Duration) -> Duration {
        let m = (keepalive * 2)
            .max(Duration::from_millis(100))
            .max(deadtime / 5);
        m.min(deadtime / 2)
    }

    /// How long a right lasts from the sending of what confirms it. It ends this much sooner than a survivor takes its
    /// owner for dead.
    pub fn lease(&self) -> Duration {
        self.deadtime.saturating_sub(self.margin)
    }
}

/// What a side without quorum does with its groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuorumPolicy {
    /// Stop them, before the others begin.
    Stop,
    /// Keep what runs, start nothing.
    Freeze,
    /// Count votes and show them, but act as if quorum were held.
    Ignore,
    /// No votes are counted: two nodes without an arbiter.
    Off,
}

impl QuorumPolicy {
    /// All of them.
    pub const ALL: [QuorumPolicy; 4] = [Self::Stop, Self::Freeze, Self::Ignore, Self::Off];

    /// The word in ha.cf.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Freeze => "freeze",
            Self::Ignore => "ignore",
            Self::Off => "off",
        }
    }

    /// The policy with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == word)
    }
}

/// One line of haresources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSpec {
    /// Its first resource word.
    pub name: GroupName,
    /// The node named first on the line.
    pub preferred: NodeName,
    /// The members in order, gathered into steps. Never empty.
    pub steps: Vec<Step>,
}

/// The deadlines of the actions of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Of a start.
    pub start: Duration,
    /// Of a stop.
    pub stop: Duration,
    /// Of a monitor action.
    pub monitor: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            start: Duration::from_secs(60),
            stop: Duration::from_secs(60),
            monitor: Duration::from_secs(20),
        }
    }
}

/// Members of a group that are started and stopped as one: a run of consecutive addresses, or one other resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The members' words, in order.
    pub members: Vec<String>,
    /// Whether this is a run of addresses: batched, probed on the wire before a start next to a dead peer,
    /// dropped first by a node that is cut off.
    pub addresses: bool,
    /// Deadline of a start.
    pub start: Duration,
    /// Deadline of a stop.
    pub stop: Duration,
    /// Deadline of a look.
    pub monitor: Duration,
    /// How long a node that lost the right to it may need to be rid of it; a takeover from a dead peer waits
    /// that long beyond deadtime. Zero for addresses, and for what does not stand on storage that two can use at once.
    pub removal: Duration,
    /// Whether it is storage that two nodes can open at once and that does not guard itself, or stands on such storage.
    #[serde(default)]
    pub shared_storage: bool,
    /// What follows when looks at it fail while it runs; without it nobody looks.
    #[serde(default)]
    pub policy: Option<Policy>,
}

impl Step {
    /// A step that nobody monitors, and for whose removal no takeover waits.
    pub fn new(members: Vec<String>, addresses: bool, timeouts: Timeouts) -> Self {
        Step {
            members,
            addresses,
            start: timeouts.start,
            stop: timeouts.stop,
            monitor: timeouts.monitor,
            removal: Duration::ZERO,
            shared_storage: false,
            policy: None,
        }
    }
}
