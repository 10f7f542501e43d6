//! Rule 33: who answers for an address of a group. Nodes publish their hardware addresses, so an answer can be told to be of a
//! node or of a machine that is none.

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::model::NodeName;
use crate::model::decision::Because;
use crate::model::hardware_address::HardwareAddress;

/// An answer for an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AddressAnswer {
    /// The address, and what answers.
    pub who: String,
    pub from: Answerer,
}

/// Whose hardware address answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answerer {
    Node(NodeName),
    /// It is none of any node.
    Foreign,
    /// The hardware addresses of some node are not known.
    Unknown,
}

impl AddressAnswer {
    /// Whether it is of a machine that is no node of this cluster.
    pub fn is_foreign(&self) -> bool {
        self.from == Answerer::Foreign
    }

    /// Why the group is not started.
    pub fn objection(&self) -> Because {
        let who = self.who.clone();
        match &self.from {
            Answerer::Node(node) => {
                Because::AddressAnswers(format!("{who}, an interface of {node}"))
            }
            Answerer::Foreign => Because::ForeignAnswers(who),
            Answerer::Unknown => Because::AddressAnswers(who),
        }
    }
}

impl Engine {
    /// Whose answer this is. It is foreign only when the hardware addresses of all nodes are known and it is none of them.
    pub(super) fn identify(&self, who: String, from: Option<HardwareAddress>) -> AddressAnswer {
        let known = |node: &NodeName| {
            if node == self.view.me() {
                &self.publisher.hardware[..]
            } else {
                self.view.machines.hardware(node)
            }
        };
        let cluster = &self.view.cluster;
        let mut nodes = cluster.nodes.iter().filter(|n| !cluster.is_witness(n));
        let from = match from {
            None => Answerer::Unknown,
            Some(from) => match nodes.clone().find(|n| known(n).contains(&from)) {
                Some(node) => Answerer::Node(node.clone()),
                None if nodes.all(|n| !known(n).is_empty()) => Answerer::Foreign,
                None => Answerer::Unknown,
            },
        };
        AddressAnswer { who, from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Event, PersistentState};
    use crate::model::Time;
    use crate::model::cluster::{Cluster, Timing};
    use crate::model::heartbeat::Heartbeat;
    use crate::model::{Generation, Sequence};

    fn hardware(last: u8) -> HardwareAddress {
        HardwareAddress([2, 0, 0, 0, 0, last])
    }

    #[test]
    fn an_answer_is_foreign_only_when_the_hardware_of_all_nodes_is_known() {
        let second = std::time::Duration::from_secs(1);
        let nodes = ["alice", "bob", "carol"].map(NodeName::new);
        let cluster = Cluster::new(&nodes, Timing::usual(second, second * 10));
        let (mut engine, _) = Engine::new(cluster, PersistentState::default(), Time(1));
        let said = |engine: &Engine, from| {
            let answer = engine.identify("10.0.0.5 is answered by it".to_owned(), Some(from));
            answer.objection().to_string()
        };
        let own = Event::OwnHardware(vec![hardware(1)]);
        drop(engine.handle(Time(2), own));
        for (node, last) in [("bob", 2), ("carol", 3)] {
            assert!(!said(&engine, hardware(9)).contains("no node of this cluster"));
            let name = NodeName::new(node);
            let mut heartbeat = Heartbeat::new(name, Generation(1), Sequence(1));
            heartbeat.hardware = vec![hardware(last), hardware(last + 10)];
            assert!(engine.view.machines.learn_hardware(&heartbeat));
            assert!(!engine.view.machines.learn_hardware(&heartbeat));
        }
        assert!(said(&engine, hardware(9)).contains("which is no node of this cluster"));
        assert!(
            said(&engine, hardware(13))
                .contains("10.0.0.5 is answered by it, an interface of carol")
        );
        assert!(!said(&engine, hardware(1)).contains("no node of this cluster"));
        let kept = engine.view.machines.to_keep(true);
        assert_eq!(kept[&nodes[2]].hardware, [hardware(3), hardware(13)]);
    }
}
