//! 3. A stop that failed is not taken for stopped.
//!
//! Promised under every fault but one: where a look has told an untruth, nobody can know better. A node that
//! says a group is offline, failed or claimed there, or that says goodbye, runs no part of it.

use crate::model::heartbeat::{GroupState, Heartbeat, Phase};
use crate::sim::machine::Machine;

/// What is wrong with what a machine says of its groups.
pub(super) fn say(machine: &Machine, heartbeat: &Heartbeat) -> Option<String> {
    heartbeat.groups.iter().find_map(|report| {
        let says_down = heartbeat.phase == Phase::Left
            || matches!(
                report.state,
                GroupState::Offline | GroupState::Failed | GroupState::Claiming
            );
        let wrong = says_down && machine.runs(&report.group) && !machine.was_lied_to;
        wrong.then(|| {
            let (group, state) = (&report.group, report.state);
            format!("says that {group} is {state:?} there, and runs a part of it")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::heard_from_peers::tests::heartbeat;
    use super::*;
    use crate::model::GroupName;

    #[test]
    fn what_runs_and_is_called_stopped_is_seen() {
        let mut machine = Machine::new();
        let offline = heartbeat(1, GroupState::Offline, 1);
        assert_eq!(say(&machine, &offline), None);
        machine.set_step(&GroupName::new("db"), 0, true);
        assert!(say(&machine, &offline).is_some());
        assert_eq!(say(&machine, &heartbeat(1, GroupState::Stuck, 1)), None);
        machine.was_lied_to = true;
        assert_eq!(say(&machine, &offline), None);
    }
}
