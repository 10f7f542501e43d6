//! Warns of checks that have no effect, or that would keep every node from being a candidate.

use std::net::IpAddr;
use std::path::Path;

use super::{known_nodes, virtual_addresses};
use crate::config::ha_cf::HaCf;
use crate::config::haresources::GroupLine;
use crate::config::{CheckRule, HealthRules};
use crate::model::health::{DatabaseWishes, Probe, Replica};
use crate::text::{Place, Problems};

/// Warns of monitors and checks that do not do what they seem to.
pub(super) fn judge_health_rules(ha_cf: &HaCf, groups: &[GroupLine], report: &mut Problems) {
    let HealthRules {
        checks,
        failback_when,
        monitors,
    } = &ha_cf.config.health;
    for monitor in monitors {
        if let Some(probe) = &monitor.probe {
            let what = format!("monitor {} {probe}", monitor.name);
            warn_of_lag(probe, &what, &monitor.place, report);
        }
    }
    let alone = known_nodes(ha_cf).is_some_and(|nodes| nodes.len() == 1);
    for check in checks {
        warn_of_probe_on_owner(check, groups, report);
        let what = format!("check {} {}", check.policy.name, check.probe);
        warn_of_lag(&check.probe, &what, &check.place, report);
        let name = &check.policy.name;
        if groups.is_empty() {
            let message = format!("there is no group, so check `{name}` has no effect");
            report.warning(&check.place, message, "");
        } else if alone {
            let message = format!(
                "there is no other node, so a failing check `{name}` moves nothing; it only keeps groups from being started"
            );
            let help = "to restart a failed resource: monitor RESOURCE ...";
            report.warning(&check.place, message, help);
        }
    }
    let Some(when) = failback_when else { return };
    if alone || !ha_cf.config.auto_failback {
        let why = if alone {
            "there is no other node"
        } else {
            "auto_failback is off"
        };
        let message = format!("`failback_when` has no effect: {why}");
        let help = if alone {
            ""
        } else {
            "write `auto_failback on`"
        };
        report.warning(&when.place, message, help);
    }
}

/// Warns of a check that probes a resource of the cluster. Only its owner passes such a check, so while nobody runs the
/// resource, no node may start it.
fn warn_of_probe_on_owner(check: &CheckRule, groups: &[GroupLine], report: &mut Problems) {
    let name = &check.policy.name;
    let asks = |ip: IpAddr| Some((ip.to_string(), *virtual_addresses(groups).get(&ip)?));
    let moves = match &check.probe {
        Probe::Tcp(server) => asks(server.ip()),
        Probe::Http(http) => asks(http.server.ip()),
        Probe::Dns(dns) => asks(dns.server.ip()),
        Probe::Redis(redis) => asks(redis.server.ip()),
        Probe::Process(wanted) => {
            let mut tokens = groups.iter().flat_map(|g| &g.tokens);
            let found = tokens.find(|(token, _)| token.name == *wanted);
            found.map(|(_, place)| (wanted.clone(), place.line))
        }
        Probe::Mysql(mysql) => asked_server(groups, mysql),
        Probe::Exec(..) | Probe::Postgres(_) | Probe::Link(_) | Probe::Disk(_) | Probe::Drbd(_) => {
            None
        }
    };
    let Some((what, line)) = moves else { return };
    let message = format!(
        "check `{name}` probes {what}, which runs on one node only (haresources line {line}): every other node fails the check and could not take it over"
    );
    let help = format!("probe it where it runs: monitor {what} {} ...", check.probe);
    report.warning(&check.place, message, help);
}

/// The resource that is the probed server: a `mysqld` with the same socket.
fn asked_server(groups: &[GroupLine], asked: &DatabaseWishes) -> Option<(String, usize)> {
    const SOCKET: usize = 2;
    let mut tokens = groups.iter().flat_map(|g| &g.tokens);
    let (token, place) = tokens.find(|(token, _)| {
        let socket = token.args.get(SOCKET).filter(|word| *word != "-");
        token.name == "mysqld" && socket.map(Path::new) == asked.socket.as_deref()
    })?;
    Some((token.text.clone(), place.line))
}

/// Warns of a check for the lag of a replica, or for its link. Both are lost when the replicated server dies, which is when
/// this node is needed.
fn warn_of_lag(probe: &Probe, what: &str, place: &Place, report: &mut Problems) {
    let (word, why, instead) = match probe {
        Probe::Mysql(DatabaseWishes {
            replica: Some(Replica::Within(_)),
            ..
        }) => (
            "lag",
            "because the lag is then unknown",
            "mysql replica lag 5s",
        ),
        Probe::Postgres(DatabaseWishes {
            replica: Some(Replica::Within(_)),
            ..
        }) => (
            "lag",
            "because the lag is then unknown",
            "postgres replica lag 5s",
        ),
        Probe::Redis(redis) if redis.link_up => (
            "link up",
            "because the link is then down",
            "redis role replica link up",
        ),
        _ => return,
    };
    let message = format!(
        "`{what}` fails on this node when the other server dies, {why}: this node could not take over"
    );
    let help =
        format!("leave out `{word}`; to delay the failback only, write: failback_when {instead}");
    report.warning(place, message, help);
}
