//! Rule 35: what a dead node may run is not started before that node is fenced.

use super::Group;
use crate::engine::peer::Peer;
use crate::engine::view::View;
use crate::model::NodeName;
use crate::model::heartbeat::GroupState;

impl Group {
    /// A node that must be fenced before the group is started here.
    pub fn awaits_fencing(&self, view: &View) -> Option<NodeName> {
        let mut nodes = view.peer_nodes();
        nodes.find_map(|p| self.awaits_fencing_of(p, view))
    }

    /// The same of one node.
    pub fn awaits_fencing_of(&self, peer: &Peer, view: &View) -> Option<NodeName> {
        let stuck = peer.state(&self.spec.name) == GroupState::Stuck;
        let waits = !self.wishes.forced
            && view.must_be_fenced(peer)
            && (self.is_guarded_by_fencing(view) || stuck);
        waits.then(|| peer.name.clone())
    }

    /// Whether it would wait for the fencing of this node, were that dead. Then a node that hears nobody may believe that this one
    /// was fenced, and start the group.
    pub fn waits_for_fencing_of(&self, peer: &Peer, view: &View) -> bool {
        view.cluster.fencing.covers(&peer.name) && self.is_guarded_by_fencing(view)
    }

    /// Whether it waits for the fencing of nodes that may run it.
    pub fn is_guarded_by_fencing(&self, view: &View) -> bool {
        view.cluster.fencing.for_all || self.stands_on_shared_storage()
    }
}
