//! Checks that could never change anything, or keep every node from ever being a candidate.

use std::net::IpAddr;

use super::{known_nodes, virtuals};
use crate::config::ha_cf::HaCf;
use crate::config::haresources::GroupLine;
use crate::config::problem::Report;
use crate::config::{CheckRule, HealthRules};
use crate::model::health::Probe;

/// A check whose failing could never change anything.
pub(super) fn judge(ha_cf: &HaCf, groups: &[GroupLine], report: &mut Report) {
    let HealthRules {
        checks,
        failback_when,
        ..
    } = &ha_cf.lists.health;
    let alone = known_nodes(ha_cf).is_some_and(|nodes| nodes.len() == 1);
    for check in checks {
        judge_place(check, groups, report);
        let name = &check.policy.name;
        if groups.is_empty() {
            let message = format!("there is no group, so a failing check `{name}` changes nothing");
            report.warning(&check.place, message, "");
        } else if alone {
            let message = format!(
                "there is no other node, so a failing check `{name}` moves nothing: it only keeps what does not run from being started"
            );
            let help = "to restart what is ill, name its resource: monitor RESOURCE ...";
            report.warning(&check.place, message, help);
        }
    }
    let Some(when) = failback_when else { return };
    if alone || !ha_cf.auto_failback {
        let why = if alone {
            "there is no other node"
        } else {
            "auto_failback is off"
        };
        let message = format!("{why}, so nothing goes back by itself and this changes nothing");
        let help = if alone { "" } else { "say `auto_failback on`" };
        report.warning(&when.place, message, help);
    }
}

/// A check of the node that looks at what runs on its owner only: where nobody runs it, nobody passes and nobody may
/// start it.
fn judge_place(check: &CheckRule, groups: &[GroupLine], report: &mut Report) {
    let name = &check.policy.name;
    let asks = |ip: IpAddr| Some((ip.to_string(), *virtuals(groups).get(&ip)?));
    let moves = match &check.probe {
        Probe::Tcp(server) => asks(server.ip()),
        Probe::Http(http) => asks(http.server.ip()),
        Probe::Process(wanted) => {
            let mut tokens = groups.iter().flat_map(|g| &g.tokens);
            let found = tokens.find(|(token, _)| token.name == *wanted);
            found.map(|(_, place)| (wanted.clone(), place.line))
        }
        Probe::Exec(..) | Probe::Link(_) => None,
    };
    let Some((what, line)) = moves else { return };
    let message = format!(
        "check `{name}` looks at {what}, which runs on one node only (haresources line {line}): where nobody runs it no node passes, and none may start it"
    );
    let help = format!(
        "let the node that runs it look: monitor {what} {} ...",
        check.probe
    );
    report.warning(&check.place, message, help);
}
