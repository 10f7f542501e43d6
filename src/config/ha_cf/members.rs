//! Reads who is in the cluster: nodes, ping nodes, the cluster's name; and refuses other managers (`crm`).

use std::net::IpAddr;

use super::media::read_address;
use super::table::ValueForm;
use super::{Directive, DirectiveValue, HaCfReader};
use crate::config::values::boolean;
use crate::model::NodeName;
use crate::model::cluster::PingNode;
use crate::text::SourceWord;

const MAX_MEMBERS: usize = 100;
const MAX_NAME_CHARS: usize = 99;

pub(super) fn read_node(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    read_members(reader, directive, false);
}

/// Reads the members that have a vote and run no groups.
pub(super) fn read_witness(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    read_members(reader, directive, true);
}

fn read_members(reader: &mut HaCfReader<'_>, directive: &Directive<'_>, witness: bool) {
    if directive.values.is_empty() {
        reader.lists.nodes_unclear = true;
        let message = format!("{} needs a name", directive.name.quoted());
        return reader.report.error(
            &directive.name.place,
            message,
            "what `uname -n` prints on that node",
        );
    }
    for word in &directive.values {
        if !is_member_name(reader, word) {
            reader.lists.nodes_unclear = true;
            continue;
        }
        let name = NodeName::new(&word.text);
        let is_known = |list: &[NodeName]| list.contains(&name);
        let same_again = reader.lists.nodes.iter().any(|(n, _)| *n == name)
            && is_known(&reader.lists.witnesses) == witness;
        let first = if same_again {
            reader.claim_or_ignore("the name", name.as_str(), &word.place)
        } else {
            reader.claim_name("the name", name.as_str(), &word.place)
        };
        if first && has_room(reader, word) {
            if witness {
                reader.lists.witnesses.push(name.clone());
            }
            reader.lists.nodes.push((name, word.place.clone()));
        }
    }
}

/// A witness decides between nodes: with one node alone it could only take quorum away.
pub(super) fn judge_witnesses(reader: &mut HaCfReader<'_>) {
    let lists = &reader.lists;
    let nodes = lists.nodes.len().saturating_sub(lists.witnesses.len());
    let first = lists.witnesses.first();
    let Some(witness) = first.filter(|_| nodes < 2 && !lists.nodes_unclear) else {
        return;
    };
    if let Some((_, place)) = lists.nodes.iter().find(|(n, _)| n == witness) {
        let help = "name at least two nodes that run groups: node alice bob";
        let message = "a witness needs two nodes to decide between";
        reader.report.error(&place.clone(), message, help);
    }
}

/// Whether a word can be the name of a node or of a ping group.
fn is_member_name(reader: &mut HaCfReader<'_>, word: &SourceWord) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if !word.text.bytes().all(plain) {
        let message = format!("{} is not a name", word.quoted());
        reader.report.error(
            &word.place,
            message,
            "a name has letters, digits, `-`, `.` and `_`",
        );
        return false;
    }
    if word.text.len() > MAX_NAME_CHARS {
        let message = format!("the name is longer than {MAX_NAME_CHARS} characters");
        reader.report.error(&word.place, message, "");
        return false;
    }
    true
}

fn has_room(reader: &mut HaCfReader<'_>, word: &SourceWord) -> bool {
    if reader.lists.nodes.len() + reader.lists.pings.len() < MAX_MEMBERS {
        return true;
    }
    let message = format!("there are more than {MAX_MEMBERS} nodes and ping nodes");
    reader.report.error(&word.place, message, "");
    false
}

pub(super) fn read_ping(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    read_pings(reader, directive, false);
}

pub(super) fn read_ping6(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    read_pings(reader, directive, true);
}

fn read_pings(reader: &mut HaCfReader<'_>, directive: &Directive<'_>, six: bool) {
    reader.assume_given("ping", &directive.name.place);
    if directive.values.is_empty() {
        let message = format!("{} needs an address", directive.name.quoted());
        return reader.report.error(
            &directive.name.place,
            message,
            "the gateway is a good choice",
        );
    }
    for word in &directive.values {
        let Some(address) = read_address(reader, word, six, "ping") else {
            continue;
        };
        if accept_ping(reader, address, word) && has_room(reader, word) {
            let name = word.text.clone();
            let addresses = vec![address];
            reader.lists.pings.push(PingNode { name, addresses });
        }
    }
}

pub(super) fn read_ping_group(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    reader.assume_given("ping", &directive.name.place);
    let Some((name, hosts)) = directive
        .values
        .split_first()
        .filter(|(_, hosts)| !hosts.is_empty())
    else {
        let message = "`ping_group` needs a name and at least one address";
        return reader.report.error(
            &directive.name.place,
            message,
            "for example: ping_group gateways 10.0.0.1 10.0.0.2",
        );
    };
    if !is_member_name(reader, name)
        || !reader.claim_name("the name", &name.text.to_lowercase(), &name.place)
    {
        return;
    }
    let mut addresses = Vec::new();
    for host in hosts {
        let six = host.text.contains(':');
        if let Some(address) = read_address(reader, host, six, "ping")
            && accept_ping(reader, address, host)
        {
            addresses.push(address);
        }
    }
    if !addresses.is_empty() && has_room(reader, name) {
        let name = name.text.clone();
        reader.lists.pings.push(PingNode { name, addresses });
    }
}

/// Whether an address can be a ping node: it has one vote and is not on this machine.
fn accept_ping(reader: &mut HaCfReader<'_>, address: IpAddr, word: &SourceWord) -> bool {
    if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
        let message = format!("{} cannot be a ping node", word.quoted());
        reader.report.error(
            &word.place,
            message,
            "take an address that is reached over the network, such as the gateway",
        );
        return false;
    }
    let name = address.to_string();
    if !reader.claim_name("ping address", &name, &word.place) {
        return false;
    }
    reader.lists.pinged.insert(address, word.place.clone());
    true
}

pub(super) fn read_autojoin(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    reader.record(directive);
    let value = reader.read_once(
        "autojoin",
        &ValueForm::OneOf(&["none", "other", "any"]),
        directive,
    );
    if let (Some(DirectiveValue::Text(mode)), Some(word)) = (value, directive.values.first())
        && mode != "none"
    {
        let message =
            format!("`autojoin {mode}` is not supported: with haresources the nodes must be known");
        reader.report.error(
            &word.place,
            message,
            "name every member with `node` and write `autojoin none`",
        );
    }
}

pub(super) fn read_cluster(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    reader.record(directive);
    let value = reader.read_once("cluster", &ValueForm::Text, directive);
    if value.is_some()
        && let Some(word) = directive.values.first()
    {
        is_member_name(reader, word);
    }
}

/// Reads `crm` and `pacemaker`, which are one directive with two names.
pub(super) fn read_crm(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    reader.record(directive);
    let value = reader.read_once("crm", &ValueForm::Text, directive);
    let (Some(_), Some(word)) = (value, directive.values.first()) else {
        return;
    };
    let known = ["respawn", "manual", "minimal", "ccm-only", "valgrind"];
    match boolean(&word.text) {
        Some(false) => {}
        None if !known.contains(&word.text.as_str()) => {
            let message = format!("{} is neither `on` nor `off`", word.quoted());
            reader.report.error(&word.place, message, "write off");
        }
        _ => {
            let message = format!(
                "`{} {}` is not supported: had manages the resources of haresources itself",
                directive.name.text, word.text
            );
            reader.report.error(
                &word.place,
                message,
                "write off; Pacemaker runs with corosync",
            );
        }
    }
}
