//! Reads the files of a folder and checks them against each other.

mod health;

use std::collections::BTreeMap;
use std::fs::{self, Metadata, OpenOptions};
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::sys::socket::SockaddrStorage;

use super::authkeys::{self, AuthKeys};
use super::ha_cf::{self, HaCf};
use super::haresources::{self, GroupLine, resource_address};
use super::{Config, HealthRules, HostFacts, Loaded, digest};
use crate::model::NodeName;
use crate::model::cluster::MAX_WITNESSED_GROUPS;
use crate::model::medium::Target;
use crate::text::nearest;
use crate::text::{Place, Problems};

/// A longer file is not a configuration.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads `ha.cf`, `haresources` and `authkeys` in `dir`, for the node of that name on this machine.
pub fn load(dir: &Path, node: &NodeName) -> Result<Loaded, Problems> {
    load_on(&HostFacts::here(), dir, Some(node))
}

/// Reads them for that machine. Without a node they are read for the first member.
pub fn load_on(
    machine: &HostFacts,
    dir: &Path,
    node: Option<&NodeName>,
) -> Result<Loaded, Problems> {
    let mut report = Problems::default();
    let report = &mut report;
    let ha_cf_path = dir.join("ha.cf");
    let ha_cf = read_file(&ha_cf_path, report)
        .map(|text| parse_ha_cf(&text, &ha_cf_path, machine, node, report));
    if let (Some(ha_cf), Some(node)) = (&ha_cf, node) {
        judge_self(ha_cf, node, &ha_cf_path, report);
    }
    let witness = ha_cf.as_ref().is_some_and(|ha_cf| is_witness(ha_cf, node));
    let groups = if witness {
        Some(Vec::new())
    } else {
        let path = dir.join("haresources");
        read_file(&path, report).map(|text| parse_haresources(&text, &path, ha_cf.as_ref(), report))
    };
    let path = dir.join("authkeys");
    if machine.checks_modes {
        judge_secrecy(&path, report);
    }
    let keys = read_file(&path, report).map(|text| authkeys::parse(&text, &path, report));
    if let (Some(ha_cf), Some(keys)) = (&ha_cf, &keys) {
        judge_crc(ha_cf, keys, report);
    }
    if let (Some(ha_cf), Some(groups)) = (&ha_cf, &groups)
        && !witness
    {
        judge_addresses(ha_cf, groups, report);
        judge_witnesses(ha_cf, machine, report);
        judge_names(ha_cf, groups, report);
        health::judge_health_rules(ha_cf, groups, report);
    }
    report.sort();
    if let (
        Some(ha_cf),
        Some(groups),
        Some(AuthKeys {
            keys: Some(keys), ..
        }),
    ) = (ha_cf, groups, keys)
        && !report.has_errors()
    {
        let mut config = Config {
            dir: dir.to_owned(),
            node: node
                .or(first_node(&ha_cf.config))
                .cloned()
                .unwrap_or_else(|| NodeName::new("")),
            groups,
            keys,
            ..ha_cf.config
        };
        if witness {
            config.run_nothing();
        }
        config.digest = digest::config_digest(&config);
        let warnings = std::mem::take(report);
        return Ok(Loaded { config, warnings });
    }
    Err(std::mem::take(report))
}

/// Reads ha.cf. A witness runs none of the programs that it names, so they need not be there.
fn parse_ha_cf(
    text: &str,
    path: &Path,
    machine: &HostFacts,
    node: Option<&NodeName>,
    report: &mut Problems,
) -> HaCf {
    let mut problems = report.clone();
    let mut ha_cf = ha_cf::parse(text, path, machine, &mut problems);
    if is_witness(&ha_cf, node) {
        let machine = HostFacts {
            interfaces: machine.interfaces.clone(),
            ..HostFacts::elsewhere()
        };
        problems = report.clone();
        ha_cf = ha_cf::parse(text, path, &machine, &mut problems);
    }
    *report = problems;
    ha_cf
}

fn is_witness(ha_cf: &HaCf, node: Option<&NodeName>) -> bool {
    node.is_some_and(|node| ha_cf.lists.witnesses.contains(node))
}

/// The first member that runs groups.
fn first_node(config: &Config) -> Option<&NodeName> {
    let mut nodes = config.nodes.iter();
    nodes.find(|name| !config.witnesses.contains(name))
}

fn parse_haresources(
    text: &str,
    path: &Path,
    ha_cf: Option<&HaCf>,
    report: &mut Problems,
) -> Vec<GroupLine> {
    let nodes = ha_cf.and_then(known_nodes);
    let groups = haresources::parse(text, path, nodes.as_deref(), report);
    if groups.is_empty() && !report.list.iter().any(|p| *p.place.file == *path) {
        let message = "no group: there is nothing to manage";
        report.warning(&Place::whole(path), message, "");
    }
    let witnesses = ha_cf.map_or(&[][..], |ha_cf| &ha_cf.lists.witnesses);
    for group in groups.iter().filter(|g| witnesses.contains(&g.preferred)) {
        let message = format!("{} is a witness: it runs no groups", group.preferred);
        let help = "begin the line with a `node` of ha.cf";
        let place = group.tokens.first().map(|(_, place)| place);
        report.error(place.unwrap_or(&Place::whole(path)), message, help);
    }
    if !witnesses.is_empty() && groups.len() > MAX_WITNESSED_GROUPS {
        let message = format!("a witness knows {MAX_WITNESSED_GROUPS} groups at most");
        report.error(&Place::whole(path), message, "");
    }
    groups
}

impl Config {
    /// Leaves out what a witness does not run: programs, monitors and checks.
    fn run_nothing(&mut self) {
        self.health = HealthRules::default();
        self.respawn.clear();
        self.notify.clear();
        self.compare.clear();
        self.fence_devices.clear();
        self.follow_connectivity = false;
    }
}

impl HostFacts {
    /// Some other machine, which has every interface, user and program that the files name.
    pub fn elsewhere() -> Self {
        HostFacts {
            interfaces: None,
            user_exists: |_| true,
            executable: |_| true,
            checks_modes: false,
            own_addresses: Vec::new(),
            broadcasts: Vec::new(),
        }
    }

    /// This machine.
    pub fn here() -> Self {
        let entries = fs::read_dir("/sys/class/net")
            .into_iter()
            .flatten()
            .flatten();
        let mut interfaces: Vec<String> = entries
            .filter_map(|e| e.file_name().into_string().ok())
            .filter(|name| name != "bonding_masters")
            .collect();
        interfaces.sort();
        let (own_addresses, broadcasts) = own_addresses();
        HostFacts {
            interfaces: Some(interfaces),
            checks_modes: true,
            own_addresses,
            broadcasts,
            user_exists: |name| matches!(nix::unistd::User::from_name(name), Ok(Some(_))),
            executable: |path| {
                let runs = |m: Metadata| m.is_file() && m.permissions().mode() & 0o111 != 0;
                fs::metadata(path).is_ok_and(runs)
            },
        }
    }
}

/// The addresses of this machine, and the broadcast addresses of its networks.
fn own_addresses() -> (Vec<IpAddr>, Vec<IpAddr>) {
    let (mut own, mut broadcasts) = (Vec::new(), Vec::new());
    for of_interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let ip = |address: Option<SockaddrStorage>| {
            let v4 = address?.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| Some(IpAddr::V6(address?.as_sockaddr_in6()?.ip())))
        };
        own.extend(ip(of_interface.address));
        broadcasts.extend(ip(of_interface.broadcast));
    }
    (own, broadcasts)
}

/// Reads one file.
fn read_file(path: &Path, report: &mut Problems) -> Option<String> {
    let whole = Place::whole(path);
    // An ordinary open of a pipe would wait for ever.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let opened = options.open(path);
    let opened = opened.and_then(|file| Ok((file.metadata()?, file)));
    let file = match opened {
        Ok((meta, _)) if !meta.is_file() => {
            report.error(&whole, "is not a regular file", "");
            return None;
        }
        Ok((_, file)) => file,
        Err(error) => {
            report.error(&whole, format!("cannot be read: {error}"), "");
            return None;
        }
    };
    let mut bytes = Vec::new();
    if let Err(error) = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes) {
        report.error(&whole, format!("cannot be read: {error}"), "");
        return None;
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        report.error(&whole, format!("is longer than {MAX_FILE_BYTES} bytes"), "");
        return None;
    }
    // Comments may be in any encoding. A word that is not UTF-8 is refused by its reader.
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Only the owner may read the keys.
fn judge_secrecy(path: &Path, report: &mut Problems) {
    let Ok(meta) = fs::metadata(path) else {
        return;
    };
    let mode = meta.permissions().mode() & 0o7777;
    if meta.is_file() && mode & 0o077 != 0 {
        let message = format!("can be read or written by group or others (mode {mode:04o})");
        let help = format!("chmod 600 {}", path.display());
        report.error(&Place::whole(path), message, help);
    }
}

/// The members, if every `node` line could be read.
fn known_nodes(ha_cf: &HaCf) -> Option<Vec<NodeName>> {
    let lists = &ha_cf.lists;
    let known = !lists.nodes_unclear && !lists.nodes.is_empty();
    known.then(|| lists.nodes.iter().map(|(n, _)| n.clone()).collect())
}

fn judge_self(ha_cf: &HaCf, node: &NodeName, path: &Path, report: &mut Problems) {
    let Some(nodes) = known_nodes(ha_cf) else {
        return;
    };
    if nodes.contains(node) {
        return;
    }
    let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
    let short = |name: &str| name.split('.').next().unwrap_or("").to_owned();
    let same_short = names.iter().find(|n| short(n) == short(node.as_str()));
    let close = same_short
        .copied()
        .or_else(|| nearest(node.as_str(), names.iter().copied()));
    let help = match close {
        Some(close) => format!("`uname -n` says `{node}` here; is it the one meant by `{close}`?"),
        None => format!(
            "`uname -n` says `{node}` here; the nodes are {}",
            names.join(", ")
        ),
    };
    let message = format!("this node (`{node}`) is not one of the nodes in ha.cf");
    let place = ha_cf
        .lists
        .nodes
        .iter()
        .find(|(n, _)| close == Some(n.as_str()));
    let whole = Place::whole(path);
    report.error(place.map_or(&whole, |(_, place)| place), message, help);
}

fn judge_crc(ha_cf: &HaCf, keys: &AuthKeys, report: &mut Problems) {
    if ha_cf.lists.media.iter().all(|(m, _)| m.interface == "lo") {
        return;
    }
    for place in &keys.crc {
        let message = "`crc` has no secret: anybody on the network can pose as a node";
        report.warning(place, message, "use sha256 with a key");
    }
}

/// The addresses that are resources, each with its line.
fn virtual_addresses(groups: &[GroupLine]) -> BTreeMap<IpAddr, usize> {
    let tokens = groups.iter().flat_map(|g| &g.tokens);
    tokens
        .filter_map(|(token, place)| Some((resource_address(token)?, place.line)))
        .collect()
}

/// Refuses a ping node that is a resource or a node, and warns of a peer whose address is a resource.
fn judge_addresses(ha_cf: &HaCf, groups: &[GroupLine], report: &mut Problems) {
    let virtuals = virtual_addresses(groups);
    for (address, place) in &ha_cf.lists.pinged {
        if let Some(line) = virtuals.get(address) {
            let message = format!(
                "ping address {address} is a resource (haresources line {line}): the node that holds it always reaches it, so it proves nothing"
            );
            report.error(
                place,
                message,
                "take an address outside the cluster, such as the gateway",
            );
        }
    }
    for (medium, place) in &ha_cf.lists.media {
        let Target::Unicast(peer) = medium.target else {
            continue;
        };
        if let Some(line) = virtuals.get(&peer) {
            let message = format!(
                "peer address {peer} is a resource (haresources line {line}) and will move"
            );
            report.warning(place, message, "take the address that belongs to the node");
        }
        if let Some(place) = ha_cf.lists.pinged.get(&peer) {
            let message = format!(
                "ping address {peer} is a node of this cluster; a ping node must be outside of it"
            );
            report.error(
                place,
                message,
                "take an address outside the cluster, such as the gateway",
            );
        }
    }
}

/// Refuses a ping node on this machine, and one that is no machine at all.
fn judge_witnesses(ha_cf: &HaCf, machine: &HostFacts, report: &mut Problems) {
    for (address, place) in &ha_cf.lists.pinged {
        let what = if machine.own_addresses.contains(address) {
            "an address of this node: a node always reaches itself, so it proves nothing"
        } else if machine.broadcasts.contains(address) || *address == Ipv4Addr::BROADCAST {
            "a broadcast address: no machine answers from it"
        } else {
            continue;
        };
        let message = format!("ping address {address} is {what}");
        let help = "take an address outside the cluster, such as the gateway";
        report.error(place, message, help);
    }
}

/// Warns of rules for a resource that does not exist.
fn judge_names(ha_cf: &HaCf, groups: &[GroupLine], report: &mut Problems) {
    let tokens = || {
        groups
            .iter()
            .flat_map(|g| &g.tokens)
            .map(|(token, _)| token)
    };
    let timeouts = ha_cf.lists.timeouts.iter();
    let timeouts = timeouts.map(|(rule, place)| (&rule.name, place));
    let monitors = ha_cf.config.health.monitors.iter();
    let monitors = monitors.map(|rule| (&rule.name, &rule.place));
    let waits = ha_cf.lists.takeover_waits.iter();
    let waits = waits.map(|(rule, place)| (&rule.name, place));
    for (name, place) in waits.clone() {
        let is = |t: &&crate::model::token::Token| t.name == *name || t.text == *name;
        let message = if name == "*" {
            "`*` names no resource: this rule has no effect".to_owned()
        } else if tokens()
            .find(is)
            .is_some_and(|t| haresources::ADDRESSES.contains(&t.name.as_str()))
        {
            format!("`{name}` is an address, which no takeover waits for: this rule has no effect")
        } else {
            continue;
        };
        let help = "name the resources that a takeover shall wait for, or not";
        report.warning(place, message, help);
    }
    for (name, place) in timeouts.chain(monitors).chain(waits) {
        if name == "*" || tokens().any(|t| t.name == *name || t.text == *name) {
            continue;
        }
        let close = nearest(name, tokens().map(|t| t.name.as_str()));
        let help = close.map_or_else(String::new, |c| format!("did you mean `{c}`?"));
        let message = format!("no resource is called `{name}`: this rule has no effect");
        report.warning(place, message, help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_loopback_a_root_and_a_shell() {
        let machine = HostFacts::here();
        assert!(machine.interfaces.iter().flatten().any(|i| i == "lo"));
        assert!((machine.user_exists)("root"));
        assert!(!(machine.user_exists)("nobody-of-this-name"));
        assert!((machine.executable)(Path::new("/bin/sh")));
        assert!(!(machine.executable)(Path::new("/etc/passwd")));
        assert!(!(machine.executable)(Path::new("/etc")));
    }
}
