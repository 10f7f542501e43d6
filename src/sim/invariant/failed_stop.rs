//! 3. A group whose stop failed does not count as stopped.
//!
//! Promised under every fault but one: after a wrong probe result a node cannot know better. A node that reports a
//! group as offline, failed or claimed, or that says goodbye, runs no part of it.

use crate::model::heartbeat::{GroupState, Heartbeat, Phase};
use crate::sim::machine::Machine;

/// Whether a heartbeat reports a group as down that runs.
pub(super) fn check_heartbeat(machine: &Machine, heartbeat: &Heartbeat) -> Option<String> {
    heartbeat.groups.iter().find_map(|report| {
        let says_down = heartbeat.phase == Phase::Left
            || matches!(
                report.state,
                GroupState::Offline | GroupState::Failed | GroupState::Claiming
            );
        let wrong = says_down && machine.runs(&report.group) && !machine.probe_was_wrong;
        wrong.then(|| {
            let (group, state) = (&report.group, report.state.as_str());
            format!("reports {group} as {state} but runs a part of it")
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
        assert_eq!(check_heartbeat(&machine, &offline), None);
        machine.set_step(&GroupName::new("db"), 0, true);
        assert!(check_heartbeat(&machine, &offline).is_some());
        assert_eq!(
            check_heartbeat(&machine, &heartbeat(1, GroupState::Stuck, 1)),
            None
        );
        machine.probe_was_wrong = true;
        assert_eq!(check_heartbeat(&machine, &offline), None);
    }
}
