//! Reads the `fence` lines: how the machine of a node is switched off.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Directive, HaCfReader};
use crate::model::NodeName;
use crate::model::fence_device::{FenceDevice, FenceLevel, FencePart, OptionValue};
use crate::model::fencing::Fencing;
use crate::text::{Place, SourceWord, mask_secrets};

/// Where the agents of the fence-agents package are.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin"];
/// Agents that cut a machine off from storage or from the network, or only wait. The machine runs on.
const NO_POWER: [&str; 11] = [
    "fence_scsi",
    "fence_mpath",
    "fence_sbd",
    "fence_brocade",
    "fence_sanbox2",
    "fence_cisco_mds",
    "fence_ifmib",
    "fence_kdump",
    "fence_nss_wrapper",
    "fence_heuristics_ping",
    "fence_ack_manual",
];
/// Options that the daemon gives itself.
const OWN_OPTIONS: [&str; 2] = ["action", "nodename"];
/// A shorter `fence_delay` does not outlast a management board that is slow.
const SHORTEST_DELAY: Duration = Duration::from_secs(10);
const EXAMPLE: &str = "for example: fence alice fence_ipmilan ip=10.0.5.1 username=admin lanplus=1";

/// One line as read.
#[derive(Clone, Debug)]
pub struct FenceLine {
    node: SourceWord,
    level: FenceLevel,
}

/// `fence NODE AGENT NAME=VALUE ... [+ AGENT NAME=VALUE ...]`
pub(super) fn read_fence(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    let words = directive.plain_values();
    let Some((node, rest)) = words.split_first() else {
        let message = "`fence` needs a node and a fence agent";
        return reader.report.error(&directive.name.place, message, EXAMPLE);
    };
    let mut parts = Vec::new();
    // Until the whole line is read.
    let unclear = std::mem::replace(&mut reader.lists.fence_unclear, true);
    for part in rest.split(|word| word.text == "+") {
        let Some(part) = read_part(reader, node, part) else {
            return;
        };
        parts.push(part);
    }
    reader.lists.fence_unclear = unclear;
    let (node, level) = (node.clone(), FenceLevel { parts });
    reader.lists.fence.push(FenceLine { node, level });
}

fn read_part(
    reader: &mut HaCfReader<'_>,
    node: &SourceWord,
    words: &[SourceWord],
) -> Option<FencePart> {
    let Some((agent, options)) = words.split_first() else {
        let message = format!("a fence agent for {} is missing here", node.quoted());
        reader.report.error(&node.place, message, EXAMPLE);
        return None;
    };
    let program = find_agent(reader, agent)?;
    let options = options.iter().map(|word| read_option(reader, word));
    // All of them are read, so that all errors are reported.
    let options: Vec<Option<(String, OptionValue)>> = options.collect();
    let options: Vec<(String, OptionValue)> = options.into_iter().collect::<Option<_>>()?;
    for (at, (name, _)) in options.iter().enumerate() {
        if options.iter().take(at).any(|(other, _)| other == name) {
            let message = format!("option `{name}` is set twice");
            let place = words.get(at + 1).map_or(&agent.place, |w| &w.place);
            reader.report.error(place, message, "remove one of the two");
            return None;
        }
    }
    Some(FencePart {
        agent: agent.text.clone(),
        program,
        options,
        place: agent.place.clone(),
    })
}

fn find_agent(reader: &mut HaCfReader<'_>, agent: &SourceWord) -> Option<PathBuf> {
    let base = Path::new(&agent.text).file_name();
    let base = base.and_then(|n| n.to_str()).unwrap_or("");
    if NO_POWER.contains(&base) {
        let message = format!("`{base}` does not switch a machine off: it would run on");
        let help = "use the agent of a power switch, a management board or a hypervisor";
        reader.report.error(&agent.place, message, help);
        return None;
    }
    if agent.text.contains('=') {
        let message = format!("{} is not a fence agent", agent.quoted());
        reader.report.error(&agent.place, message, EXAMPLE);
        return None;
    }
    let whole = agent.text.starts_with('/');
    let candidates: Vec<PathBuf> = if whole {
        vec![PathBuf::from(&agent.text)]
    } else {
        let folders = FOLDERS.iter();
        folders.map(|f| Path::new(f).join(&agent.text)).collect()
    };
    let found = candidates.iter().find(|p| (reader.machine.executable)(p));
    if found.is_none() {
        let message = format!("there is no fence agent {} on this machine", agent.quoted());
        let help = if whole {
            "the path must name a program"
        } else {
            "install the package fence-agents, or write the whole path of the program"
        };
        reader.report.error(&agent.place, message, help);
    }
    found.cloned()
}

fn read_option(reader: &mut HaCfReader<'_>, word: &SourceWord) -> Option<(String, OptionValue)> {
    let Some((name, value)) = word.text.split_once('=').filter(|(n, _)| !n.is_empty()) else {
        let message = format!("{} is not an option of the form NAME=VALUE", word.quoted());
        reader.report.error(&word.place, message, EXAMPLE);
        return None;
    };
    if OWN_OPTIONS.contains(&name) {
        let message = format!("`{name}` is given by the daemon");
        reader.report.error(&word.place, message, "remove it");
        return None;
    }
    if let Some(path) = value.strip_prefix('@') {
        if !path.starts_with('/') {
            let message = format!("the file of `{name}` is not a whole path");
            reader
                .report
                .error(&word.place, message, "begin it with `@/`");
            return None;
        }
        return Some((name.to_owned(), OptionValue::File(PathBuf::from(path))));
    }
    // `passwd_script` names a program that prints the password.
    if mask_secrets(&word.text) != word.text && !value.is_empty() {
        let message = format!("`{name}` is a secret, which does not belong in ha.cf");
        let help = format!(
            "write it to a file that only root can read; the value of `{name}` is then @ and the path of that file"
        );
        reader.report.error(&word.place, message, help);
        return None;
    }
    Some((name.to_owned(), OptionValue::Plain(value.to_owned())))
}

/// What all lines say together, once the nodes are known.
pub(super) fn finish(reader: &mut HaCfReader<'_>) -> (Vec<FenceDevice>, Fencing) {
    let mut devices: Vec<FenceDevice> = Vec::new();
    for line in std::mem::take(&mut reader.lists.fence) {
        let node = NodeName::new(&line.node.text);
        if !accept_node(reader, &line.node, &node) {
            continue;
        }
        match devices.iter_mut().find(|d| d.node == node) {
            Some(device) => device.levels.push(line.level),
            None => devices.push(FenceDevice {
                node,
                levels: vec![line.level],
            }),
        }
    }
    warn_of_uncovered(reader, &devices);
    let nodes = reader.lists.nodes.iter().map(|(node, _)| node);
    let covered = |n: &&NodeName| devices.iter().any(|d| d.node == **n);
    let fencing = Fencing {
        nodes: nodes.filter(covered).cloned().collect(),
        delay: reader
            .duration("fence_delay")
            .unwrap_or(Fencing::USUAL_DELAY),
        for_all: reader.text("fence_for").is_some_and(|w| w == "all"),
        reboot: reader.text("fence_action").is_none_or(|w| w == "reboot"),
    };
    warn_of_unused(reader, &fencing);
    warn_of_short_delay(reader, &fencing);
    (devices, fencing)
}

fn accept_node(reader: &mut HaCfReader<'_>, word: &SourceWord, node: &NodeName) -> bool {
    if reader.lists.witnesses.contains(node) {
        let message = format!(
            "{} is a witness: it runs nothing that could need fencing",
            word.quoted()
        );
        reader.report.error(&word.place, message, "remove the line");
        return false;
    }
    let known = reader.lists.nodes.iter().any(|(n, _)| n == node);
    if !known && !reader.lists.nodes_unclear {
        let names: Vec<&str> = reader.lists.nodes.iter().map(|(n, _)| n.as_str()).collect();
        let message = format!("{} is not one of the nodes in ha.cf", word.quoted());
        let help = format!("the nodes are {}", names.join(", "));
        reader.report.error(&word.place, message, help);
    }
    known
}

/// Where some nodes can be fenced, the others are no safer than before.
fn warn_of_uncovered(reader: &mut HaCfReader<'_>, devices: &[FenceDevice]) {
    if devices.is_empty() || reader.lists.fence_unclear {
        return;
    }
    let witnesses = &reader.lists.witnesses;
    let nodes = reader.lists.nodes.iter();
    let without: Vec<(NodeName, Place)> = nodes
        .filter(|(n, _)| !witnesses.contains(n) && devices.iter().all(|d| d.node != *n))
        .cloned()
        .collect();
    for (node, place) in without {
        let message =
            format!("{node} cannot be fenced: it has no `fence` line, and other nodes have one");
        let help = format!("add one: fence {node} AGENT NAME=VALUE ...");
        reader.report.warning(&place, message, help);
    }
}

/// Where both nodes of a pair may fire, the delay must outlast a power switch.
fn warn_of_short_delay(reader: &mut HaCfReader<'_>, fencing: &Fencing) {
    let place = reader.settings.get("fence_delay").map(|s| s.place.clone());
    let Some(place) = place.filter(|_| fencing.nodes.len() == 2) else {
        return;
    };
    if fencing.delay < SHORTEST_DELAY {
        let message = "`fence_delay` is shorter than switching a machine off may take: both nodes could switch each other off";
        let help = "make it longer than the slowest power switch needs, 30s for instance";
        reader.report.warning(&place, message, help);
    }
}

/// Settings that change nothing without a `fence` line.
fn warn_of_unused(reader: &mut HaCfReader<'_>, fencing: &Fencing) {
    if !fencing.nodes.is_empty() || reader.lists.fence_unclear {
        return;
    }
    for name in ["fence_action", "fence_delay", "fence_for"] {
        let place = reader.settings.get(name).map(|s| s.place.clone());
        if let Some(place) = place {
            let message = format!("`{name}` has no effect: no node has a `fence` line");
            reader.report.warning(&place, message, EXAMPLE);
        }
    }
}
