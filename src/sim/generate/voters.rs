//! Nodes that read different lists of nodes.

use super::Generator;
use crate::model::NodeName;
use crate::sim::ScriptSetting;
use crate::sim::fault::Fault;

impl Generator {
    /// A node reads the list that another one has read lately, or a new one.
    pub(super) fn change_voters(&mut self) {
        let node = self.node();
        if self.voters.is_empty() || self.random.chance(400) {
            self.voters = self.random_voters();
        }
        if self.voters.contains(&node) {
            self.reconfigured.insert(node.clone());
            let setting = ScriptSetting::Voters(self.voters.clone());
            self.push(Fault::Reconfigure(node, setting));
        }
    }

    pub(super) fn restore_voters(&mut self) {
        let node = self.node();
        self.push(Fault::Reconfigure(node, ScriptSetting::Whole));
    }

    /// Two voters at least, in any order. One alone would have quorum whatever it hears.
    fn random_voters(&mut self) -> Vec<NodeName> {
        let mut rest = self.setup.cluster.nodes.clone();
        let many = 2 + self.random.below(rest.len().saturating_sub(1) as u64);
        let mut voters = Vec::new();
        for _ in 0..many {
            let Some(name) = self.random.pick(&rest).cloned() else {
                break;
            };
            rest.retain(|n| *n != name);
            voters.push(name);
        }
        voters
    }
}
