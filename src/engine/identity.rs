//! Rule 30: two machines with one name. Each life of a daemon has an instance; the first life of a name that a node knows is the
//! member, and a second one that is heard beside it frees and commands nothing.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::peer::{Freshness, Peer};
use super::second_life::{SecondLife, label, name_rank, remembered_life};
use super::view::View;
use super::{Action, Engine};
use crate::model::decision::{Because, Decision, What};
use crate::model::heartbeat::{Heartbeat, Phase};
use crate::model::identity::{FirstLife, Identity, Instance, Namesake};
use crate::model::status::Liveness;
use crate::model::{Generation, GroupName, NodeName, Sequence, Time};

/// Namesakes that are read from one heartbeat.
const MAX_NAMESAKES_READ: usize = 64;
/// For how long a silent one is remembered: longer than a stop may take.
const REMEMBERED: Duration = Duration::from_secs(600);

/// A name that two machines have, as far as this node knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SharedName {
    pub node: NodeName,
    first: String,
    second: String,
    until: Time,
}

/// Who this life is, and who else has its name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Names {
    pub identity: Identity,
    /// Other lives that are heard under our own name.
    lives: Vec<SecondLife>,
    /// Another machine has our name and the better right to it, by what was heard until then.
    gives_way_until: Time,
    /// Whether that is so now.
    pub gives_way: bool,
    pub shared: Vec<SharedName>,
    /// Until then a life that was heard may not be the member of that name: we have not listened for long enough.
    listens_until: Time,
}

impl Names {
    pub fn new(identity: Identity, now: Time, keepalive: Duration) -> Self {
        Names {
            identity,
            listens_until: now + keepalive * 2,
            ..Names::default()
        }
    }
}

impl View {
    /// Rule 28, and the same for what a peer has heard of us as a second life.
    pub fn acknowledged(&self, heartbeat: &Heartbeat) -> Option<(Generation, Sequence)> {
        let own = self.names.identity.instance;
        let heard = heartbeat.heard.iter().find(|h| h.node == *self.me());
        let first = heard.filter(|h| h.instance.is_none() || own.is_none() || h.instance == own);
        let second = || {
            let mut all = heartbeat.namesakes.iter();
            all.find(|n| n.node == *self.me() && Some(n.instance) == own)
                .map(|n| (n.generation, n.sequence))
        };
        first.map(|h| (h.generation, h.sequence)).or_else(second)
    }

    /// Whether a living peer names another life of ours as the member.
    fn is_named_second(&self, now: Time) -> bool {
        let timing = &self.cluster.timing;
        self.living()
            .any(|p| p.names_other_life && !p.blocks_no_longer(now, timing))
    }

    /// Rules 2 and 30. Whether this node takes part.
    pub fn takes_part(&self, now: Time) -> bool {
        let first = self.joined || !self.is_named_second(now);
        !self.names.gives_way && first && self.may_join(now)
    }

    /// Why this node stays out beside others of its name; continues a sentence after "waits".
    pub fn waits_for_name(&self, now: Time) -> Option<String> {
        let me = self.me();
        if self.names.gives_way {
            return Some(format!(
                "until the other machine that calls itself {me} is gone: give one of the two another name, or switch it off"
            ));
        }
        let named = !self.joined && self.is_named_second(now);
        named
            .then(|| format!(
                "until the other nodes count the daemon that sent as {me} before as gone (deadtime at most); if a second machine has this name, give it another one"
            ))
    }

    /// A second life of a peer, or of our own name, that may run something of the group.
    pub fn held_by_second_life(
        &self,
        now: Time,
        group: &GroupName,
        stop: Duration,
    ) -> Option<NodeName> {
        let deadtime = self.cluster.timing.deadtime;
        let holds = |l: &SecondLife| l.may_hold(now, group, deadtime, stop);
        if !self.names.gives_way && self.names.lives.iter().any(holds) {
            return Some(self.me().clone());
        }
        let peer = self.peers.iter().find(|p| p.second_lives.iter().any(holds));
        peer.map(|p| p.name.clone())
    }

    /// Whether this node has just started and may not have heard the first machine of each name yet.
    pub fn listens_for_names(&self, now: Time) -> bool {
        self.names.identity.instance.is_some() && now < self.names.listens_until
    }

    /// The second lives that are heard, for the heartbeat of this node.
    pub fn published_namesakes(&self, now: Time) -> Vec<Namesake> {
        let timing = &self.cluster.timing;
        let heard = |l: &&SecondLife| now < l.last_heard + timing.deadtime;
        let mut all = Vec::new();
        for life in self.names.lives.iter().filter(heard) {
            let first = if life.is_proved(now, timing.deadtime) {
                FirstLife::Lives
            } else {
                FirstLife::MayLive
            };
            all.push(life.published(self.me(), first, None));
        }
        for peer in &self.peers {
            for life in peer.second_lives.iter().filter(heard) {
                let first = if life.is_proved(now, timing.deadtime) {
                    FirstLife::Lives
                } else if peer.liveness == Liveness::Init
                    || peer.known_life_may_live(now, life.succeeds, timing.initdead)
                {
                    FirstLife::MayLive
                } else {
                    FirstLife::Gone
                };
                all.push(life.published(&peer.name, first, peer.address));
            }
        }
        all
    }

    /// What status says about a node whose name two machines have.
    pub fn shared_name_note(&self, node: &NodeName) -> Option<String> {
        let shared = self.names.shared.iter().find(|s| s.node == *node)?;
        let SharedName { first, second, .. } = shared;
        Some(format!(
            "two machines call themselves {node}: {first} and {second}; {second} stays out of the cluster: give it another name, or switch it off"
        ))
    }

    /// When something about names changes by itself.
    pub fn name_deadlines(&self) -> impl Iterator<Item = Time> {
        let shared = self.names.shared.iter().map(|s| s.until);
        let all = shared.chain([self.names.gives_way_until, self.names.listens_until]);
        all.filter(|at| *at > Time::ZERO)
    }
}

impl Engine {
    /// A heartbeat of another life than the member's. Only a fresh one counts: a recorded one proves nothing.
    pub(super) fn take_second_life(
        &mut self,
        now: Time,
        from: Option<IpAddr>,
        heartbeat: &Heartbeat,
        freshness: Freshness,
    ) {
        let timing = self.view.cluster.timing;
        let acked = self.view.acknowledged(heartbeat);
        let acked = acked.and_then(|(_, sequence)| self.view.sent.find(sequence));
        let prefers_second = self.peers_know_first(&heartbeat.src, heartbeat);
        let Some(peer) = self.view.peers.iter_mut().find(|p| p.name == heartbeat.src) else {
            return;
        };
        let (Some(instance), Some(first)) = (heartbeat.identity.instance, peer.instance) else {
            return;
        };
        if freshness != Freshness::Fresh {
            self.old_heartbeats = self.old_heartbeats.saturating_add(1);
            return;
        }
        let (machines, out) = (&mut self.view.machines, &mut self.round.out);
        self.round.save |= machines.take_second_life(heartbeat, out);
        let known = peer.second_lives.len();
        let lives = &mut peer.second_lives;
        let Some(life) = remembered_life(lives, now, instance, timing.deadtime) else {
            return;
        };
        if !life.take_heartbeat(now, from, heartbeat) {
            return;
        }
        life.acked = acked.map(|s| s.at).max(life.acked);
        // Whoever acknowledges what we sent after both had been heard lived when both had begun.
        let both = peer.instance_since.max(life.first_heard);
        let lives_since =
            |acked: Option<Time>| acked.is_some_and(|at| at >= both && now < at + timing.deadtime);
        let proved = lives_since(life.acked) && lives_since(peer.acked);
        if proved {
            life.proved_at = Some(now);
        }
        let (rank, second) = (life.name_rank(), life.label());
        if !proved {
            if peer.second_lives.len() > known {
                self.publisher.request_answer();
            }
            return;
        }
        let neither_takes_part = peer.phase == Phase::Init && heartbeat.phase == Phase::Init;
        let first_label = label(peer.address, first);
        let swap = if neither_takes_part {
            prefers_second
        } else {
            rank < peer.name_rank(first)
        };
        let node = peer.name.clone();
        if swap {
            peer.swap_lives(now, instance);
            self.note_shared_name(now, &node, &second, &first_label);
        } else {
            self.note_shared_name(now, &node, &first_label, &second);
        }
    }

    /// Where neither life takes part: whether the first of the peers that know a life of this name knows this one.
    fn peers_know_first(&self, node: &NodeName, heartbeat: &Heartbeat) -> bool {
        let mut peers: Vec<&Peer> = self.view.living().filter(|p| p.name != *node).collect();
        peers.sort_by_key(|p| p.rank);
        let first = peers
            .iter()
            .find_map(|p| Some((p.rank, *p.knows_lives.get(node)?)));
        first.is_some_and(|(rank, instance)| {
            rank < self.view.rank && Some(instance) == heartbeat.identity.instance
        })
    }

    /// A heartbeat with our own name. Our own come back by broadcast and multicast.
    pub(super) fn take_own_name(&mut self, now: Time, from: Option<IpAddr>, heartbeat: &Heartbeat) {
        let own = self.view.names.identity.instance;
        let (Some(own), Some(other)) = (own, heartbeat.identity.instance) else {
            return;
        };
        if own == other {
            let newest = (self.view.generation, self.publisher.sequence());
            if (heartbeat.generation, heartbeat.sequence) > newest {
                self.found_copy(now, from);
            }
            return;
        }
        let deadtime = self.view.cluster.timing.deadtime;
        let answers = self
            .view
            .acknowledged(heartbeat)
            .is_some_and(|(g, sequence)| {
                let sent = self.view.sent.find(sequence);
                g == self.view.generation && sent.is_some_and(|s| now < s.at + deadtime)
            });
        let lives = &mut self.view.names.lives;
        let Some(life) = remembered_life(lives, now, other, deadtime) else {
            return;
        };
        if !life.take_heartbeat(now, from, heartbeat) || !answers {
            return;
        }
        life.proved_at = Some(now);
        let (theirs, second) = (life.name_rank(), life.label());
        let (phase, quorate) = (self.view.phase(), self.view.quorate);
        let ours = name_rank(phase, quorate, self.view.generation, own);
        // Where neither takes part, the peers decide if there are any.
        let peers_decide = theirs.0 && ours.0 && self.view.living().next().is_some();
        let me = self.view.me().clone();
        if peers_decide {
        } else if theirs < ours {
            self.note_shared_name(now, &me, &second, "this machine");
            self.give_way(now);
        } else {
            self.note_shared_name(now, &me, "this machine", &second);
        }
    }

    /// A peer has heard a heartbeat of this life that we did not send: this machine was copied while it ran. It goes on
    /// under another instance.
    pub(super) fn found_copy(&mut self, now: Time, from: Option<IpAddr>) {
        let Some(own) = self.view.names.identity.instance else {
            return;
        };
        let mixed = (own.0 ^ now.0.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.view.names.identity = Identity {
            instance: Some(Instance(mixed)),
            succeeds: None,
        };
        // The next daemon must not call that life its own.
        self.round.save = true;
        let me = self.view.me().clone();
        self.note_shared_name(now, &me, &label(from, own), "this machine");
        self.give_way(now);
    }

    /// What a peer says of the lives that it hears, of our own among them.
    pub(super) fn take_names(&mut self, now: Time, heartbeat: &Heartbeat, fresh: bool) {
        let me = self.view.me().clone();
        let own = self.view.names.identity.instance;
        let nodes = &self.view.cluster.nodes;
        let known = heartbeat.heard.iter().filter(|h| nodes.contains(&h.node));
        let known = known.filter_map(|h| Some((h.node.clone(), h.instance?)));
        let known = known.collect();
        let named = heartbeat.heard.iter().find(|h| h.node == me);
        let named = named.filter(|h| h.instance.is_some());
        if let Some(peer) = self.view.peers.iter_mut().find(|p| p.name == heartbeat.src) {
            peer.knows_lives = known;
            peer.names_other_life = own.is_some() && named.is_some_and(|h| h.instance != own);
        }
        let namesakes = heartbeat.namesakes.iter().filter(|_| fresh);
        for second in namesakes.take(MAX_NAMESAKES_READ) {
            if !self.view.cluster.nodes.contains(&second.node) {
                continue;
            }
            let first = heartbeat.heard.iter().find(|h| h.node == second.node);
            let first = first.and_then(|h| h.instance);
            let ours = second.node == me && Some(second.instance) == own;
            match second.first {
                FirstLife::MayLive => {}
                FirstLife::Gone => {
                    let later = named.filter(|h| ours && h.generation >= self.view.generation);
                    if let Some(heard) = later {
                        self.notice_lost_store(&heartbeat.src, heard.generation);
                    }
                }
                FirstLife::Lives => {
                    let (address, first) = if second.node == heartbeat.src {
                        let sender = self.view.peer(&heartbeat.src);
                        (sender.and_then(|p| p.address), heartbeat.identity.instance)
                    } else {
                        (second.first_address, first)
                    };
                    let first = label(address, first.unwrap_or(Instance(0)));
                    let other = label(second.address, second.instance);
                    self.note_shared_name(now, &second.node, &first, &other);
                    if ours {
                        self.give_way(now);
                    }
                }
            }
        }
    }

    /// Another machine has the better right to our name.
    fn give_way(&mut self, now: Time) {
        let names = &mut self.view.names;
        names.gives_way_until = now + self.view.cluster.timing.deadtime;
        if !std::mem::replace(&mut names.gives_way, true) {
            self.round
                .record_node(What::StaysOut, Because::OtherMachine);
        }
        self.update_joined();
    }

    /// Notes that two machines have one name, and says so once.
    fn note_shared_name(&mut self, now: Time, node: &NodeName, first: &str, second: &str) {
        let until = now + self.view.longest_deadtime() * 2;
        let shared = &mut self.view.names.shared;
        if let Some(known) = shared.iter_mut().find(|s| s.node == *node) {
            known.until = until;
            // Another one of the two may have taken the name meanwhile.
            first.clone_into(&mut known.first);
            second.clone_into(&mut known.second);
            return;
        }
        shared.push(SharedName {
            node: node.clone(),
            first: first.to_owned(),
            second: second.to_owned(),
            until,
        });
        let (node, first) = (node.clone(), first.to_owned());
        let second = second.to_owned();
        let because = Because::SecondStaysOut(second.clone());
        let what = What::SharedName {
            node,
            first,
            second,
        };
        self.round.record_node(what, because);
        self.publisher.request_answer();
    }

    /// Forgets namesakes that are silent. After that this node may take part again.
    pub(super) fn forget_namesakes(&mut self, now: Time) {
        let names = &mut self.view.names;
        names.gives_way &= now < names.gives_way_until;
        let recent = |l: &SecondLife| now < l.last_heard + REMEMBERED;
        names.lives.retain(recent);
        for peer in &mut self.view.peers {
            peer.second_lives.retain(recent);
        }
        let (stay, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut names.shared)
            .into_iter()
            .partition(|s| now < s.until);
        names.shared = stay;
        for shared in gone {
            let what = What::SharedNameEnded(shared.node);
            let decision =
                Decision::node(what, Because::SilentFor(self.view.longest_deadtime() * 2));
            self.round.out.push(Action::Record(decision));
        }
    }
}
