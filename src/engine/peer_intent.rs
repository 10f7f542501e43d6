//! What an administrator wishes for the groups of a peer, as it says.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::GroupName;
use crate::model::heartbeat::Heartbeat;

/// The wishes for the groups of a peer, put together from the parts of its heartbeats.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct PeerIntent {
    /// Groups that it gives away and does not take.
    pub standby: BTreeSet<GroupName>,
    /// Groups that it gives away once.
    pub yielding: BTreeSet<GroupName>,
    /// Groups that are to come to it.
    pub wanted: BTreeSet<GroupName>,
    /// Those of them that come against the rules that `--force` overrides.
    pub forced: BTreeSet<GroupName>,
    /// Groups that it has in maintenance.
    pub maintenance: BTreeSet<GroupName>,
}

impl PeerIntent {
    /// Takes in what a heartbeat says. It is complete for the groups that it reports; for maintenance it is complete for all.
    pub fn take(&mut self, heartbeat: &Heartbeat, ours: impl Fn(&GroupName) -> bool) {
        let said = &heartbeat.intent;
        let lists = [
            (&mut self.standby, &said.standby),
            (&mut self.yielding, &said.yielding),
            (&mut self.wanted, &said.wanted),
            (&mut self.forced, &said.forced),
        ];
        for (known, said) in lists {
            for report in &heartbeat.groups {
                known.remove(&report.group);
            }
            known.extend(said.iter().filter(|name| ours(name)).cloned());
        }
        self.maintenance = said.maintenance.iter().cloned().collect();
    }
}
