//! The media: `bcast`, `ucast`, `mcast`, their IPv6 forms, and `udpport`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::table::Shape;
use super::{Reader, Statement, Value};
use crate::config::values::number;
use crate::model::LinkName;
use crate::model::medium::{Medium, Target};
use crate::text::Place;
use crate::text::SourceWord;
use crate::text::nearest;

const PORT: u16 = 694;
const MOST_MEDIA: usize = 64;

pub(super) fn bcast(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    reader.media_seen = true;
    if statement.values.is_empty() {
        let message = format!("{} needs an interface", statement.name.quoted());
        return reader
            .report
            .error(&statement.name.place, message, "for example: bcast eth0");
    }
    for interface in &statement.values {
        if interface_exists(reader, interface) {
            let port = udpport(reader);
            add(reader, interface, port, Target::Broadcast, &interface.place);
        }
    }
}

pub(super) fn udp(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    let message = "`udp` is an old name of `bcast`";
    reader
        .report
        .warning(&statement.name.place, message, "write `bcast`");
    bcast(reader, statement);
}

pub(super) fn ucast(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    unicast(reader, statement, false);
}

pub(super) fn ucast6(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    unicast(reader, statement, true);
}

fn unicast(reader: &mut Reader<'_>, statement: &Statement<'_>, six: bool) {
    reader.media_seen = true;
    let [interface, peer] = statement.values.as_slice() else {
        return wrong_count(
            reader,
            statement,
            2,
            "an interface and the address of a peer",
        );
    };
    let known = interface_exists(reader, interface);
    if let Some(address) = peer_address(reader, peer, six)
        && known
    {
        let port = udpport(reader);
        add(
            reader,
            interface,
            port,
            Target::Unicast(address),
            &peer.place,
        );
    }
}

fn peer_address(reader: &mut Reader<'_>, word: &SourceWord, six: bool) -> Option<IpAddr> {
    let address = ip(reader, word, six, "ucast")?;
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if broadcast || address.is_multicast() || address.is_unspecified() {
        let message = format!("{} is not the address of one peer", word.quoted());
        reader
            .report
            .error(&word.place, message, "use bcast or mcast for more than one");
        return None;
    }
    Some(address)
}

/// Reads an address of the family that the directive (`ping` or `ping6`, `ucast` or `ucast6`) is for.
pub(super) fn ip(
    reader: &mut Reader<'_>,
    word: &SourceWord,
    six: bool,
    directive: &str,
) -> Option<IpAddr> {
    let family = if six { "IPv6" } else { "IPv4" };
    let help = match word.text.parse::<IpAddr>() {
        Ok(address) if address.is_ipv6() == six => return Some(address),
        Ok(_) if six => format!("write `{directive}` for an IPv4 address"),
        Ok(_) => format!("write `{directive}6` for an IPv6 address"),
        Err(_) if word.text.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
            "an address is four numbers from 0 to 255 with dots between, without leading zeros"
                .to_owned()
        }
        Err(_) if word.text.contains('%') => {
            "leave out the `%` and what follows: the directive names the interface".to_owned()
        }
        Err(_) => {
            "names are not resolved, so that no name server can stop the cluster; write the address"
                .to_owned()
        }
    };
    let message = format!("{} is not an {family} address", word.quoted());
    reader.report.error(&word.place, message, help);
    None
}

pub(super) fn mcast(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    reader.media_seen = true;
    let [interface, group, port, ttl, loopback] = statement.values.as_slice() else {
        return wrong_count(
            reader,
            statement,
            5,
            "interface, group, port, ttl and loop (for example: mcast eth0 239.0.0.1 694 1 0)",
        );
    };
    let known = interface_exists(reader, interface);
    let address = group.text.parse().ok().filter(Ipv4Addr::is_multicast);
    if address.is_none() {
        let message = format!("{} is not a multicast address", group.quoted());
        reader.report.error(
            &group.place,
            message,
            "a group is 224.0.0.0 to 239.255.255.255, for example 239.0.0.1",
        );
    }
    let rest = multicast_rest(reader, port, ttl, loopback);
    if let (true, Some(group), Some((port, ttl, loopback))) = (known, address, rest) {
        let target = Target::Multicast4 {
            group,
            ttl,
            loopback,
        };
        add(reader, interface, port, target, &interface.place);
    }
}

pub(super) fn mcast6(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    reader.media_seen = true;
    let [interface, group, port, hops, loopback] = statement.values.as_slice() else {
        return wrong_count(
            reader,
            statement,
            5,
            "interface, group, port, hops and loop (for example: mcast6 eth0 ff02::694 694 1 0)",
        );
    };
    let known = interface_exists(reader, interface);
    let address = group.text.parse().ok().filter(Ipv6Addr::is_multicast);
    if address.is_none() {
        let message = format!("{} is not an IPv6 multicast address", group.quoted());
        reader.report.error(
            &group.place,
            message,
            "a group begins with ff, for example ff02::694",
        );
    }
    let rest = multicast_rest(reader, port, hops, loopback);
    if let (true, Some(group), Some((port, hops, loopback))) = (known, address, rest) {
        let target = Target::Multicast6 {
            group,
            hops,
            loopback,
        };
        add(reader, interface, port, target, &interface.place);
    }
}

fn multicast_rest(
    reader: &mut Reader<'_>,
    port: &SourceWord,
    hops: &SourceWord,
    loopback: &SourceWord,
) -> Option<(u16, u8, bool)> {
    let number_port = bounded(reader, port, "a port", 1, 65535);
    let number_hops = bounded(reader, hops, "a ttl", 0, 255);
    match number_hops {
        Some(0) => reader.report.warning(
            &hops.place,
            "a ttl of 0 never leaves this machine",
            "1 reaches the own network",
        ),
        Some(5..) => {
            reader
                .report
                .note(&hops.place, "heartbeat 3.0.6 takes a ttl of at most 4", "");
        }
        _ => {}
    }
    let flag = bounded(reader, loopback, "loop", 0, 1);
    Some((
        u16::try_from(number_port?).ok()?,
        u8::try_from(number_hops?).ok()?,
        flag? == 1,
    ))
}

fn bounded(
    reader: &mut Reader<'_>,
    word: &SourceWord,
    what: &str,
    least: u32,
    most: u32,
) -> Option<u32> {
    let value = number(&word.text, least, most);
    if value.is_none() {
        let message = format!(
            "{} is not {what}: a number from {least} to {most}",
            word.quoted()
        );
        reader.report.error(&word.place, message, "");
    }
    value
}

fn wrong_count(reader: &mut Reader<'_>, statement: &Statement<'_>, count: usize, wanted: &str) {
    let name = statement.name.quoted();
    if let Some(extra) = statement.values.get(count) {
        let message = format!("{name} takes {count} values: {wanted}");
        reader
            .report
            .error(&extra.place, message, "a comment begins with `#`");
    } else {
        let message = format!("{name} needs {count} values: {wanted}");
        reader.report.error(&statement.name.place, message, "");
    }
}

pub(super) fn interface_exists(reader: &mut Reader<'_>, word: &SourceWord) -> bool {
    let known = &reader.machine.interfaces;
    if known.contains(&word.text) {
        return true;
    }
    let help = match nearest(&word.text, known.iter().map(String::as_str)) {
        Some(near) => format!(
            "did you mean `{near}`? This machine has: {}",
            known.join(", ")
        ),
        None => format!("this machine has: {}", known.join(", ")),
    };
    let message = format!("there is no interface {}", word.quoted());
    reader.report.error(&word.place, message, help);
    false
}

fn add(reader: &mut Reader<'_>, interface: &SourceWord, port: u16, target: Target, place: &Place) {
    let name = match target {
        Target::Unicast(address) => format!("{} {address}", interface.text),
        Target::Broadcast => interface.text.clone(),
        Target::Multicast4 { group, .. } => format!("{} {group} {port}", interface.text),
        Target::Multicast6 { group, .. } => format!("{} {group} {port}", interface.text),
    };
    if !reader.first(kind(&target), &name, place) {
        return;
    }
    if reader.lists.media.len() == MOST_MEDIA {
        let message = format!("there are more than {MOST_MEDIA} media");
        return reader.report.error(place, message, "");
    }
    let medium = Medium {
        link: LinkName::new(&interface.text),
        interface: interface.text.clone(),
        port,
        target,
    };
    reader.lists.media.push((medium, place.clone()));
}

fn kind(target: &Target) -> &'static str {
    match target {
        Target::Unicast(_) => "ucast",
        Target::Broadcast => "bcast",
        Target::Multicast4 { .. } => "mcast",
        Target::Multicast6 { .. } => "mcast6",
    }
}

/// A link is named after its interface, and after its kind of medium too where the interface has several.
pub(super) fn name_links(media: &mut [(Medium, Place)]) {
    let kinds: Vec<(String, &str)> = media
        .iter()
        .map(|(m, _)| (m.interface.clone(), kind(&m.target)))
        .collect();
    for (medium, _) in media {
        let own = kind(&medium.target);
        if kinds
            .iter()
            .any(|(i, k)| *i == medium.interface && *k != own)
        {
            medium.link = LinkName::new(&format!("{}/{own}", medium.interface));
        }
    }
}

/// The port of `bcast` and `ucast` media that come now.
pub(super) fn udpport(reader: &Reader<'_>) -> u16 {
    let port = reader.number("udpport");
    port.and_then(|n| u16::try_from(n).ok()).unwrap_or(PORT)
}

/// In heartbeat a medium has the port that was set before it; so it is here, because the peers may be heartbeats.
pub(super) fn udpport_directive(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    reader.record(statement);
    let value = reader.one("udpport", &Shape::Number(1, 65535), true, statement);
    let Some(Value::Number(port)) = value else {
        return;
    };
    let before = reader.lists.media.iter().find(|(m, _)| {
        matches!(m.target, Target::Unicast(_) | Target::Broadcast) && u32::from(m.port) != port
    });
    if let Some((medium, place)) = before {
        let message = format!(
            "the medium on line {} comes before this line and uses port {}",
            place.line, medium.port
        );
        reader.report.warning(
            &statement.name.place,
            message,
            "put `udpport` above all media, on every node",
        );
    }
}
