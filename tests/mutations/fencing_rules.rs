//! Faults of fencing: rules 35 to 38.

use crate::table::{Mutation, m};

/// These mutations.
pub const TABLE: &[Mutation] = &[
    m(
        "35: nothing waits for fencing",
        "group/fencing_hold.rs",
        "        waits.then(|| peer.name.clone())",
        "        waits.then(|| peer.name.clone()).filter(|_| false)",
    ),
    m(
        "35: a stop that failed on a dead node is not waited for",
        "group/fencing_hold.rs",
        "            && (self.is_guarded_by_fencing(view) || stuck);",
        "            && self.is_guarded_by_fencing(view) && (stuck || true);",
    ),
    m(
        "35: a machine that answers holds what waits for fencing",
        "group/machine_hold.rs",
        "!p.is_living() && !p.is_confirmed_dead() && !fenced(p)",
        "!p.is_living() && !p.is_confirmed_dead() && (fenced(p) || true)",
    ),
    m(
        "35: a goodbye that was passed on does not count",
        "fencing.rs",
        "            Liveness::Dead => peer.fencing.left_before.is_none(),",
        "            Liveness::Dead => true,",
    ),
    m(
        "36: quorum of a moment ago is enough",
        "fencing.rs",
        "p.acked.is_some_and(|at| at >= since)",
        "p.acked.is_some_and(|at| at >= Time::ZERO)",
    ),
    m(
        "36: a healthy owner waits to be fenced",
        "fencing.rs",
        "            if must && self.must_defend() {",
        "            if must && self.must_defend() && now == Time::ZERO {",
    ),
    m(
        "36: a node of a pair that boots alone fences the other",
        "fencing.rs",
        "        } else if duel && !peer.fencing.heard {",
        "        } else if duel && !peer.fencing.heard && self.now == Time::ZERO {",
    ),
    m(
        "36: both nodes of a pair fire at once",
        "fencing.rs",
        "            Licence::Fire(since + self.view.cluster.fencing.delay)",
        "            Licence::Fire(since)",
    ),
    m(
        "36: a node that stood still remembers whom it had heard",
        "fencing.rs",
        "            peer.fencing.heard = false;\n",
        "",
    ),
    m(
        "37: a machine that is still on counts as off",
        "fencing.rs",
        "            Power::On => Err(\"its machine is still on\".to_owned()),",
        "            Power::On => Ok(()),",
    ),
    m(
        "37: a fenced machine stays off",
        "fencing.rs",
        "            _ if fenced && case.on_attempts > 0 => Some(FenceCall::On),\n",
        "",
    ),
    m(
        "38: a fenced node gives quorum",
        "confirmed_dead.rs",
        "    pub fn has_persons_word(&self) -> bool {\n        self.confirmed_dead",
        "    pub fn has_persons_word(&self) -> bool {\n        self.fencing.fenced || self.confirmed_dead",
    ),
    m(
        "38: a fenced node cannot have had the vote of the ping nodes",
        "group/claim.rs",
        "        let unheard = |p: &Peer| !p.has_persons_word() && unheard(p);",
        "        let unheard = |p: &Peer| !p.is_confirmed_dead() && unheard(p);",
    ),
    m(
        "38: who may take this node for fenced is ignored",
        "group/claim.rs",
        "\n                    && !self.waits_for_fencing_of(peer, view);",
        ";",
    ),
    m(
        "36: a node that another one hears is fenced",
        "fencing.rs",
        "        } else if self.view.heard_by(peer).is_some() {",
        "        } else if false {",
    ),
    m(
        "36: groups that wait for nothing count for who fires first",
        "fencing.rs",
        "            groups.filter(|g| g.is_guarded_by_fencing(&self.view))",
        "            groups.filter(|g| g.is_guarded_by_fencing(&self.view) || true)",
    ),
    m(
        "38: fencing outlives the return of the node",
        "fencing.rs",
        "        for peer in self.view.peers.iter_mut().filter(|p| p.name == *node) {\n            peer.fencing.fenced = false;",
        "        for peer in self.view.peers.iter_mut().filter(|p| p.name == *node) {\n            peer.fencing.heard = true;",
    ),
    m(
        "38: a node that survives its fencing is fenced in the same way again",
        "fencing.rs",
        "                peer.fencing.survived = true;\n",
        "",
    ),
];
