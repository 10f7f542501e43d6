//! Checks that could never change anything, or keep every node from ever being a candidate.

use std::net::IpAddr;
use std::path::Path;

use super::{known_nodes, virtuals};
use crate::config::ha_cf::HaCf;
use crate::config::haresources::GroupLine;
use crate::config::{CheckRule, HealthRules};
use crate::model::health::{MysqlProbe, Probe, Replica};
use crate::text::{Place, Problems};

/// A check whose failing could never change anything.
pub(super) fn judge(ha_cf: &HaCf, groups: &[GroupLine], report: &mut Problems) {
    let HealthRules {
        checks,
        failback_when,
        monitors,
    } = &ha_cf.lists.health;
    for monitor in monitors {
        if let Some(probe) = &monitor.probe {
            let what = format!("monitor {} {probe}", monitor.name);
            judge_lag(probe, &what, &monitor.place, report);
        }
    }
    let alone = known_nodes(ha_cf).is_some_and(|nodes| nodes.len() == 1);
    for check in checks {
        judge_place(check, groups, report);
        let what = format!("check {} {}", check.policy.name, check.probe);
        judge_lag(&check.probe, &what, &check.place, report);
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
fn judge_place(check: &CheckRule, groups: &[GroupLine], report: &mut Problems) {
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
        Probe::Mysql(mysql) => serves(groups, mysql),
        Probe::Exec(..) | Probe::Link(_) | Probe::Drbd(_) => None,
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

/// The resource that is the asked server: a `mysqld` with the same socket.
fn serves(groups: &[GroupLine], asked: &MysqlProbe) -> Option<(String, usize)> {
    const SOCKET: usize = 2;
    let mut tokens = groups.iter().flat_map(|g| &g.tokens);
    let (token, place) = tokens.find(|(token, _)| {
        let socket = token.args.get(SOCKET).filter(|word| *word != "-");
        token.name == "mysqld" && socket.map(Path::new) == asked.socket.as_deref()
    })?;
    Some((token.text.clone(), place.line))
}

/// The lag of a replica says something about coming back only: it is unknown while the server that is copied is down,
/// and just then this node is needed.
fn judge_lag(probe: &Probe, what: &str, place: &Place, report: &mut Problems) {
    let Probe::Mysql(MysqlProbe {
        replica: Some(Replica::Within(_)),
        ..
    }) = probe
    else {
        return;
    };
    let message = format!(
        "`{what}` fails here when the other server dies, for then nobody knows the lag: just when this node is needed"
    );
    let help = "leave `lag` out; to keep groups from coming back too soon: failback_when mysql replica lag 5s";
    report.warning(place, message, help);
}
