//! What a new configuration would change: the plan that a reload shows and follows.

use super::assemble::Assembled;
use crate::config::Config;
use crate::config::reload::{live_changes, needs_restart};
use crate::model::cluster::{Cluster, GroupSpec};

/// How a reload is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReloadWish {
    /// Only the plan.
    pub dry_run: bool,
    /// Also a change that gives up votes, quorum or a living node.
    pub force: bool,
}

/// The plan in words, a line for each change. `against` are the reasons why the change should not be made.
///
/// # Errors
/// When it is not made: something changed that a running daemon cannot take over, or the reasons against it stand.
pub fn plan_reload(
    config: &Config,
    cluster: &Cluster,
    new: &Assembled,
    against: &[String],
    wish: ReloadWish,
) -> Result<String, String> {
    let takes_effect = |name: &&str| format!("takes effect after hactl restart: {name}");
    let fixed = needs_restart(config, &new.config);
    if !fixed.is_empty() && !wish.dry_run {
        let lines: Vec<String> = fixed.iter().map(takes_effect).collect();
        return Err(send_to_restart(lines, against));
    }
    let refused = refusals(against);
    if !refused.is_empty() && !wish.dry_run && !wish.force {
        let reasons = refused.join("\n");
        return Err(format!(
            "{reasons}\nnothing was changed; to change it all the same: hactl reload --force"
        ));
    }
    let mut lines: Vec<String> = fixed.iter().map(takes_effect).collect();
    if !fixed.is_empty() {
        lines.push("until then a reload is refused".to_owned());
    }
    lines.extend(live_changes(config, &new.config));
    lines.extend(groups(&cluster.groups, &new.cluster.groups));
    if lines.is_empty() {
        lines.push("nothing changes".to_owned());
    }
    if wish.dry_run {
        lines.extend(refused);
    }
    Ok(lines.join("\n"))
}

/// The reasons against a change, in words.
pub fn refusals(against: &[String]) -> Vec<String> {
    let refused = |reason: &String| format!("refused without --force: {reason}");
    against.iter().map(refused).collect()
}

/// Says that only a restart makes the change, and what that would cost: a restart is refused for the same reasons.
fn send_to_restart(mut lines: Vec<String>, against: &[String]) -> String {
    lines.extend(refusals(against));
    lines.push(if against.is_empty() {
        "nothing was changed; run hactl restart: resources stay up".to_owned()
    } else {
        "nothing was changed; only a restart makes this change, and it is refused for the same reasons; to make it all the same: hactl restart --force".to_owned()
    });
    lines.join("\n")
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
