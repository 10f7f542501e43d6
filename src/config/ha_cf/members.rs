//! Who is in the cluster: nodes, ping nodes, the cluster's name; and who shall run it (`crm`).

use std::net::IpAddr;

use super::media::ip;
use super::table::Shape;
use super::{Reader, Statement, Value};
use crate::config::values::boolean;
use crate::model::NodeName;
use crate::model::cluster::PingNode;
use crate::text::SourceWord;

const MOST_MEMBERS: usize = 100;
const LONGEST_NAME: usize = 99;

pub(super) fn node(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    if statement.values.is_empty() {
        reader.lists.nodes_unclear = true;
        return reader.report.error(
            &statement.name.place,
            "`node` needs a name",
            "what `uname -n` prints on that node",
        );
    }
    for word in &statement.values {
        if !member_name(reader, word) {
            reader.lists.nodes_unclear = true;
            continue;
        }
        let name = NodeName::new(&word.text);
        if reader.first("the name", name.as_str(), &word.place) && room(reader, word) {
            reader.lists.nodes.push((name, word.place.clone()));
        }
    }
}

/// Whether a word can be the name of a node or of a ping group.
fn member_name(reader: &mut Reader<'_>, word: &SourceWord) -> bool {
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
    if word.text.len() > LONGEST_NAME {
        let message = format!("the name is longer than {LONGEST_NAME} characters");
        reader.report.error(&word.place, message, "");
        return false;
    }
    true
}

fn room(reader: &mut Reader<'_>, word: &SourceWord) -> bool {
    if reader.lists.nodes.len() + reader.lists.pings.len() < MOST_MEMBERS {
        return true;
    }
    let message = format!("there are more than {MOST_MEMBERS} nodes and ping nodes");
    reader.report.error(&word.place, message, "");
    false
}

pub(super) fn ping(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    pings(reader, statement, false);
}

pub(super) fn ping6(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    pings(reader, statement, true);
}

fn pings(reader: &mut Reader<'_>, statement: &Statement<'_>, six: bool) {
    reader.meant("ping", &statement.name.place);
    if statement.values.is_empty() {
        let message = format!("{} needs an address", statement.name.quoted());
        return reader.report.error(
            &statement.name.place,
            message,
            "the gateway is a good choice",
        );
    }
    for word in &statement.values {
        let Some(address) = ip(reader, word, six, "ping") else {
            continue;
        };
        if witness(reader, address, word) && room(reader, word) {
            let name = word.text.clone();
            let addresses = vec![address];
            reader.lists.pings.push(PingNode { name, addresses });
        }
    }
}

pub(super) fn ping_group(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    reader.meant("ping", &statement.name.place);
    let Some((name, hosts)) = statement
        .values
        .split_first()
        .filter(|(_, hosts)| !hosts.is_empty())
    else {
        let message = "`ping_group` needs a name and at least one address";
        return reader.report.error(
            &statement.name.place,
            message,
            "for example: ping_group gateways 10.0.0.1 10.0.0.2",
        );
    };
    if !member_name(reader, name)
        || !reader.first("the name", &name.text.to_lowercase(), &name.place)
    {
        return;
    }
    let mut addresses = Vec::new();
    for host in hosts {
        let six = host.text.contains(':');
        if let Some(address) = ip(reader, host, six, "ping")
            && witness(reader, address, host)
        {
            addresses.push(address);
        }
    }
    if !addresses.is_empty() && room(reader, name) {
        let name = name.text.clone();
        reader.lists.pings.push(PingNode { name, addresses });
    }
}

/// Whether an address can bear witness: one vote each, and not from inside this machine.
fn witness(reader: &mut Reader<'_>, address: IpAddr, word: &SourceWord) -> bool {
    if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
        let message = format!("{} is no outside witness", word.quoted());
        reader.report.error(
            &word.place,
            message,
            "take an address that is reached over the network, such as the gateway",
        );
        return false;
    }
    let name = address.to_string();
    if !reader.first("ping address", &name, &word.place) {
        return false;
    }
    reader.lists.witnesses.insert(address, word.place.clone());
    true
}

pub(super) fn autojoin(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    reader.record(statement);
    let value = reader.one(
        "autojoin",
        &Shape::OneOf(&["none", "other", "any"]),
        true,
        statement,
    );
    if let (Some(Value::Text(mode)), Some(word)) = (value, statement.values.first())
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

pub(super) fn cluster(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    reader.record(statement);
    let value = reader.one("cluster", &Shape::Text, true, statement);
    if value.is_some()
        && let Some(word) = statement.values.first()
    {
        member_name(reader, word);
    }
}

/// `crm` and `pacemaker` are one directive with two names.
pub(super) fn crm(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    reader.record(statement);
    let value = reader.one("crm", &Shape::Text, true, statement);
    let (Some(_), Some(word)) = (value, statement.values.first()) else {
        return;
    };
    let known = ["respawn", "manual", "minimal", "ccm-only", "valgrind"];
    match boolean(&word.text) {
        Some(false) => {}
        None if !known.contains(&word.text.as_str()) => {
            let message = format!("{} is not on or off", word.quoted());
            reader.report.error(&word.place, message, "write off");
        }
        _ => {
            let message = format!(
                "`{} {}` is not supported: resources are managed by haresources here",
                statement.name.text, word.text
            );
            reader.report.error(
                &word.place,
                message,
                "write off; for Pacemaker, run it with corosync instead",
            );
        }
    }
}
