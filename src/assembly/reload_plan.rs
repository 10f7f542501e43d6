//! What a new configuration would change: the plan that a reload shows and follows.

use super::assemble::Assembled;
use crate::config::Config;
use crate::config::reload::{live_changes, needs_restart};
use crate::model::cluster::{Cluster, GroupSpec};

/// The plan in words, a line for each change.
///
/// # Errors
/// When something changed that a running daemon cannot take over.
pub fn plan_reload(config: &Config, cluster: &Cluster, new: &Assembled) -> Result<String, String> {
    let fixed = needs_restart(config, &new.config);
    if !fixed.is_empty() {
        return Err(format!(
            "a running daemon cannot change {}; nothing was changed. Run hactl restart: resources stay up",
            fixed.join(", ")
        ));
    }
    let mut lines = live_changes(config, &new.config);
    lines.extend(groups(&cluster.groups, &new.cluster.groups));
    if lines.is_empty() {
        lines.push("nothing changes".to_owned());
    }
    Ok(lines.join("\n"))
}

fn groups(old: &[GroupSpec], new: &[GroupSpec]) -> Vec<String> {
    let find =
        |list: &[GroupSpec], group: &GroupSpec| list.iter().find(|g| g.name == group.name).cloned();
    let members = |group: &GroupSpec| {
        group
            .steps
            .iter()
            .map(|s| s.members.clone())
            .collect::<Vec<_>>()
    };
    let mut lines = Vec::new();
    for group in old.iter().filter(|g| find(new, g).is_none()) {
        lines.push(format!(
            "group {}: removed; it is stopped where it runs",
            group.name
        ));
    }
    for group in new {
        match find(old, group) {
            None => lines.push(format!(
                "group {}: new; it is started on {} once every node has this configuration: reload them all",
                group.name, group.preferred
            )),
            Some(before) if members(&before) != members(group) => lines.push(format!(
                "group {}: its resources changed; it is stopped where it runs, and started again once every node has this configuration: reload them all",
                group.name
            )),
            Some(before) if before.preferred != group.preferred => lines.push(format!(
                "group {}: its preferred node changes from {} to {}; the group stays where it is",
                group.name, before.preferred, group.preferred
            )),
            Some(_) => {}
        }
    }
    lines
}
