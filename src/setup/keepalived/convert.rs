//! The model to a draft: paths of heartbeats, times, groups, and whether they go back.

use std::net::IpAddr;
use std::time::Duration;

use super::Wanted;
use super::checks::Checks;
use super::model::{Manager, VirtualAddress};
use super::nodes::Node;
use super::paths;
use super::routers::{Router, RouterGroup, all_instances};
use crate::setup::answers;
use crate::setup::draft::{Draft, DraftGroup, DraftTimes};
use crate::text::{Place, Problems, one_line, quote};

/// Shorter times need more care than an import can take.
const MIN_ADVERT: Duration = Duration::from_millis(200);
/// How long machines may take to boot.
const BOOT: Duration = Duration::from_secs(60);

/// Makes the draft. `None` means that the report says why.
pub fn draft(
    wanted: &Wanted,
    managers: &[Manager],
    nodes: &[Node],
    groups: &[RouterGroup<'_>],
    checks: &Checks,
    report: &mut Problems,
) -> Option<Draft> {
    let lines = groups_of(groups, managers, nodes, report);
    if lines.is_empty() {
        let place = managers.first().map(|m| Place::whole(&m.file))?;
        report.error(
            &place,
            "no address can be used, so there is nothing to convert",
            "",
        );
        return None;
    }
    judge_pings(wanted, nodes, groups, managers, report);
    let names: Vec<String> = wanted
        .files
        .iter()
        .filter_map(|path| path.file_name())
        .map(|name| one_line(&name.to_string_lossy(), 60))
        .collect();
    Some(Draft {
        origin: format!(
            "Made by `hactl import keepalived` from {}.",
            names.join(" and ")
        ),
        nodes: nodes.iter().map(|n| n.name.clone()).collect(),
        paths: paths::paths(nodes, groups, report)?,
        pings: wanted.pings.clone(),
        times: times(groups),
        auto_failback: auto_failback(groups, report),
        failback_delay: failback_delay(groups),
        more: checks.lines.clone(),
        groups: lines,
    })
}

/// With the script that calls keepalived's programs.
pub fn with_hook(mut draft: Draft, hook: bool) -> Draft {
    if hook {
        let above = "keepalived: notify, notify_master, notify_backup, notify_fault";
        let line = "notify /etc/ha.d/notify.d/keepalived timeout 30s";
        draft.more.push((above.to_owned(), line.to_owned()));
    }
    draft
}

/// keepalived had no arbiter.
fn judge_pings(
    wanted: &Wanted,
    nodes: &[Node],
    groups: &[RouterGroup<'_>],
    managers: &[Manager],
    report: &mut Problems,
) {
    let Some(place) = managers.first().map(|m| Place::whole(&m.file)) else {
        return;
    };
    if wanted.pings.is_empty() && nodes.len() == 2 {
        let message = "keepalived has no arbiter: when the nodes do not hear each other, both have the addresses. So it is here, without a ping node";
        let help =
            "add --ping ADDRESS, best the gateway: then only the side that reaches it goes on";
        report.note(&place, message, help);
    }
    let virtuals = all_instances(groups)
        .flat_map(|(_, i)| &i.addresses)
        .map(|a| a.ip);
    let own = nodes.iter().flat_map(|n| n.addresses.iter().copied());
    let taken: Vec<IpAddr> = virtuals.chain(own).collect();
    for ping in wanted.pings.iter().filter(|p| taken.contains(p)) {
        let message = format!("{ping} cannot be a ping node: it is an address of the cluster");
        report.error(&place, message, "");
    }
}

/// Times after the shortest `advert_int`: two heartbeats in it, and five of it without one is a failure.
fn times(groups: &[RouterGroup<'_>]) -> DraftTimes {
    let shortest = all_instances(groups).map(|(_, i)| i.advert).min();
    let advert = shortest.unwrap_or(Duration::from_secs(1)).max(MIN_ADVERT);
    let deadtime = advert * 5;
    DraftTimes {
        keepalive: advert / 2,
        warntime: advert * 2,
        deadtime,
        initdead: BOOT.max(deadtime * 2),
    }
}

/// One setting for all groups: on only if all of them went back.
fn auto_failback(groups: &[RouterGroup<'_>], report: &mut Problems) -> bool {
    let goes_back = |g: &&RouterGroup<'_>| g.routers.first().is_some_and(Router::goes_back);
    let backs = groups.iter().filter(goes_back).count();
    if backs > 0 && backs < groups.len() {
        let stays = groups.iter().find(|g| !goes_back(g));
        let place = stays
            .and_then(|g| g.routers.first()?.first())
            .map(|i| i.name.place.clone());
        if let Some(place) = place {
            let message = "some instances went back to their node, and this one stayed: had has one setting, auto_failback";
            report.warning(&place, message, "here all stay (off)");
        }
    }
    backs > 0 && backs == groups.len()
}

fn failback_delay(groups: &[RouterGroup<'_>]) -> Duration {
    let routers = groups.iter().flat_map(|g| &g.routers);
    let preferred = routers.filter_map(Router::preferred).map(|(_, i)| i);
    let counts = preferred.filter(|i| i.state_master.is_none());
    let delays = counts.filter_map(|i| i.preempt_delay.as_ref().map(|(time, _)| *time));
    delays.max().unwrap_or(Duration::ZERO)
}

/// The lines of haresources.
fn groups_of(
    groups: &[RouterGroup<'_>],
    managers: &[Manager],
    nodes: &[Node],
    report: &mut Problems,
) -> Vec<DraftGroup> {
    let mut lines = Vec::new();
    let mut seen: Vec<IpAddr> = Vec::new();
    for group in groups {
        let mut words = Vec::new();
        for router in &group.routers {
            words.extend(router_words(router, managers, &mut seen, report));
        }
        let preferred = group.routers.first().and_then(Router::preferred);
        let preferred = preferred.and_then(|(node, _)| nodes.get(node));
        let (Some(preferred), false) = (preferred, words.is_empty()) else {
            continue;
        };
        judge_preference(group, &preferred.name, nodes, report);
        let kind = if group.sync.is_some() {
            "vrrp_sync_group"
        } else {
            "vrrp_instance"
        };
        lines.push(DraftGroup {
            comment: format!("keepalived: {kind} {}", one_line(&group.name, 60)),
            preferred: preferred.name.clone(),
            words,
        });
    }
    lines
}

/// All instances of a group prefer one node.
fn judge_preference(group: &RouterGroup<'_>, name: &str, nodes: &[Node], report: &mut Problems) {
    for router in group.routers.iter().skip(1) {
        let Some((node, instance)) = router.preferred() else {
            continue;
        };
        if nodes.get(node).is_some_and(|n| n.name != name) {
            let message = format!(
                "this instance has its highest priority on another node than the first one of the group {}",
                quote(&group.name)
            );
            let help = format!("here the whole group prefers {name}");
            report.warning(&instance.priority_place, message, help);
        }
    }
}

/// The name that the daemon gives a group: its first word.
pub fn group_name(group: &RouterGroup<'_>, managers: &[Manager]) -> Option<String> {
    let mut unread = Problems::default();
    let mut seen = Vec::new();
    let words = group
        .routers
        .iter()
        .flat_map(|router| router_words(router, managers, &mut seen, &mut unread));
    words.into_iter().next()
}

/// The addresses of a router, each once, and what announces them again.
fn router_words(
    router: &Router<'_>,
    managers: &[Manager],
    seen: &mut Vec<IpAddr>,
    report: &mut Problems,
) -> Vec<String> {
    let mut words = Vec::new();
    let mut again = Vec::new();
    let mut own: Vec<IpAddr> = Vec::new();
    for (node, instance) in router.present() {
        let refresh = instance.refresh.or_else(|| managers.get(node)?.refresh);
        for address in &instance.addresses {
            if own.contains(&address.ip) {
                continue;
            }
            own.push(address.ip);
            if seen.contains(&address.ip) {
                let message = format!("{} is an address of another instance too", address.ip);
                report.warning(&address.place, message, "it is left out here");
                continue;
            }
            seen.push(address.ip);
            let interface = interface_on_all(router, address, report);
            let Some(word) = address_word(address, interface.as_deref(), report) else {
                continue;
            };
            words.push(word);
            if let (Some(seconds), Some(interface), true) =
                (refresh, interface, address.ip.is_ipv4())
            {
                again.push(format!("SendArp::{}/{interface}::{seconds}", address.ip));
            }
        }
    }
    words.extend(again);
    words
}

/// The interface of an address, if all nodes call it the same.
fn interface_on_all(
    router: &Router<'_>,
    address: &VirtualAddress,
    report: &mut Problems,
) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for (_, instance) in router.present() {
        let own = instance.interface.as_ref().map(|w| w.text.as_str());
        for same in instance.addresses.iter().filter(|a| a.ip == address.ip) {
            let name = same.device.as_deref().or(own);
            names.extend(name.filter(|n| answers::interface(n).is_ok()));
        }
    }
    names.sort_unstable();
    names.dedup();
    match names[..] {
        [name] => Some(name.to_owned()),
        [] => None,
        _ => {
            let message = format!(
                "{} is on {} on different nodes",
                address.ip,
                names.join(" and ")
            );
            let help = "it is written without an interface: each node finds the one of its network";
            report.warning(&address.place, message, help);
            None
        }
    }
}

/// `ADDRESS/PREFIX/INTERFACE:LABEL/BROADCAST`
fn address_word(
    address: &VirtualAddress,
    interface: Option<&str>,
    report: &mut Problems,
) -> Option<String> {
    let Some(interface) = interface else {
        let bare = if address.prefix == if address.ip.is_ipv4() { 32 } else { 128 } {
            address.ip.to_string()
        } else {
            format!("{}/{}", address.ip, address.prefix)
        };
        return usable(&bare, address, report);
    };
    let label = address.label.as_deref().filter(|_| address.ip.is_ipv4());
    let fits = |label: &&str| {
        let rest = label
            .strip_prefix(interface)
            .and_then(|l| l.strip_prefix(':'));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        rest.is_some_and(|l| !l.is_empty() && l.bytes().all(plain)) && label.len() <= 15
    };
    if let Some(label) = label.filter(|l| !fits(l) && *l != interface) {
        let message = format!("the label {} is left out", quote(label));
        let help = format!("a label is {interface}:NAME, of 15 characters at most");
        report.warning(&address.place, message, help);
    }
    let device = label.filter(fits).unwrap_or(interface);
    let mut word = format!("{}/{}/{device}", address.ip, address.prefix);
    if let (Some(IpAddr::V4(broadcast)), IpAddr::V4(_)) = (address.broadcast, address.ip) {
        word += &format!("/{broadcast}");
    }
    usable(&word, address, report)
}

/// The word, if an address of it can be used.
fn usable(word: &str, address: &VirtualAddress, report: &mut Problems) -> Option<String> {
    match crate::agent::address::virtual_address::check_form(word) {
        Ok(()) => Some(word.to_owned()),
        Err(mistake) => {
            report.warning(&address.place, mistake.message, "it is left out");
            None
        }
    }
}
