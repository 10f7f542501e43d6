//! Reads the media: `bcast`, `ucast`, `mcast`, their IPv6 forms, and `udpport`.

use std::net::{IpAddr, Ipv4Addr};

use super::table::{NO_SERIAL, USE_IP, ValueForm};
use super::{Directive, DirectiveValue, HaCfReader};
use crate::config::values::number;
use crate::model::LinkName;
use crate::model::medium::{Medium, Target};
use crate::text::Place;
use crate::text::SourceWord;
use crate::text::nearest;

const DEFAULT_PORT: u16 = 694;
const MAX_MEDIA: usize = 64;

pub(super) fn read_bcast(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    reader.media_seen = true;
    if directive.values.is_empty() {
        let message = format!("{} needs an interface", directive.name.quoted());
        return reader
            .report
            .error(&directive.name.place, message, "for example: bcast eth0");
    }
    for interface in &directive.values {
        note_missing_interface(reader, interface);
        let port = port_for_media(reader);
        add_medium(reader, interface, port, Target::Broadcast, &interface.place);
    }
}

pub(super) fn read_udp(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    let message = "`udp` is an old name of `bcast`";
    reader
        .report
        .warning(&directive.name.place, message, "write `bcast`");
    read_bcast(reader, directive);
}

pub(super) fn read_ucast(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    read_unicast(reader, directive, false);
}

pub(super) fn read_ucast6(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    read_unicast(reader, directive, true);
}

fn read_unicast(reader: &mut HaCfReader<'_>, directive: &Directive<'_>, six: bool) {
    reader.media_seen = true;
    let [interface, peer] = directive.values.as_slice() else {
        return report_value_count(
            reader,
            directive,
            2,
            "an interface and the address of a peer",
        );
    };
    note_missing_interface(reader, interface);
    if let Some(address) = read_peer_address(reader, peer, six) {
        let port = port_for_media(reader);
        add_medium(
            reader,
            interface,
            port,
            Target::Unicast(address),
            &peer.place,
        );
    }
}

fn read_peer_address(reader: &mut HaCfReader<'_>, word: &SourceWord, six: bool) -> Option<IpAddr> {
    let address = read_address(reader, word, six, "ucast")?;
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

/// Reads an address of the family that the directive is for: IPv4 for `ping` and `ucast`, IPv6 for `ping6` and `ucast6`.
pub(super) fn read_address(
    reader: &mut HaCfReader<'_>,
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
            "host names are not resolved, so that the cluster does not depend on a name server; write the address"
                .to_owned()
        }
    };
    let message = format!("{} is not an {family} address", word.quoted());
    reader.report.error(&word.place, message, help);
    None
}

pub(super) fn read_mcast(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    let example =
        "interface, group, port, ttl and loop (for example: mcast eth0 239.0.0.1 694 1 0)";
    read_multicast(reader, directive, false, example);
}

pub(super) fn read_mcast6(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    let example =
        "interface, group, port, hops and loop (for example: mcast6 eth0 ff02::694 694 1 0)";
    read_multicast(reader, directive, true, example);
}

fn read_multicast(reader: &mut HaCfReader<'_>, directive: &Directive<'_>, six: bool, wanted: &str) {
    reader.media_seen = true;
    let [interface, group, port, hops, loopback] = directive.values.as_slice() else {
        return report_value_count(reader, directive, 5, wanted);
    };
    note_missing_interface(reader, interface);
    let of_family = |ip: &IpAddr| ip.is_multicast() && ip.is_ipv6() == six;
    let address = group.text.parse().ok().filter(of_family);
    if address.is_none() {
        let (kind, help) = if six {
            (
                "an IPv6 multicast",
                "a group begins with ff, for example ff02::694",
            )
        } else {
            (
                "a multicast",
                "a group is 224.0.0.0 to 239.255.255.255, for example 239.0.0.1",
            )
        };
        let message = format!("{} is not {kind} address", group.quoted());
        reader.report.error(&group.place, message, help);
    }
    let options = read_multicast_options(reader, port, hops, loopback);
    let (Some(address), Some((port, hops, loopback))) = (address, options) else {
        return;
    };
    let target = match address {
        IpAddr::V4(group) => Target::Multicast4 {
            group,
            ttl: hops,
            loopback,
        },
        IpAddr::V6(group) => Target::Multicast6 {
            group,
            hops,
            loopback,
        },
    };
    add_medium(reader, interface, port, target, &interface.place);
}

fn read_multicast_options(
    reader: &mut HaCfReader<'_>,
    port: &SourceWord,
    hops: &SourceWord,
    loopback: &SourceWord,
) -> Option<(u16, u8, bool)> {
    let number_port = read_bounded(reader, port, "a port", 1, 65535);
    let number_hops = read_bounded(reader, hops, "a ttl", 0, 255);
    if number_hops == Some(0) {
        reader.report.warning(
            &hops.place,
            "with a ttl of 0 no packet leaves this machine",
            "a ttl of 1 reaches the local network",
        );
    }
    let flag = read_bounded(reader, loopback, "loop", 0, 1);
    Some((
        u16::try_from(number_port?).ok()?,
        u8::try_from(number_hops?).ok()?,
        flag? == 1,
    ))
}

fn read_bounded(
    reader: &mut HaCfReader<'_>,
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

fn report_value_count(
    reader: &mut HaCfReader<'_>,
    directive: &Directive<'_>,
    count: usize,
    wanted: &str,
) {
    let name = directive.name.quoted();
    if let Some(extra) = directive.values.get(count) {
        let message = format!("{name} takes {count} values: {wanted}");
        reader
            .report
            .error(&extra.place, message, "a comment begins with `#`");
    } else {
        let message = format!("{name} needs {count} values: {wanted}");
        reader.report.error(&directive.name.place, message, "");
    }
}

/// Remembers an interface that this machine does not have (now), with what may help.
pub(super) fn note_missing_interface(reader: &mut HaCfReader<'_>, word: &SourceWord) {
    let Some(known) = &reader.machine.interfaces else {
        return;
    };
    if known.contains(&word.text) {
        return;
    }
    let help = match nearest(&word.text, known.iter().map(String::as_str)) {
        Some(near) => format!(
            "did you mean `{near}`? This machine has: {}",
            known.join(", ")
        ),
        None => format!("this machine has: {}", known.join(", ")),
    };
    reader.missing_interfaces.push((word.clone(), help));
}

/// Reports the missing interfaces. With one that heartbeats can use, `had` starts and waits for the others.
pub(super) fn report_missing_interfaces(reader: &mut HaCfReader<'_>) {
    let known = reader.machine.interfaces.iter().flatten();
    let media = &reader.lists.media;
    let known: Vec<&String> = known.collect();
    let usable = media.iter().any(|(m, _)| known.contains(&&m.interface));
    for (word, help) in std::mem::take(&mut reader.missing_interfaces) {
        let message = format!("there is no interface {}", word.quoted());
        if usable {
            let message =
                format!("{message} now; had starts without it and uses it when it appears");
            reader.report.warning(&word.place, message, help);
        } else {
            reader.report.error(&word.place, message, help);
        }
    }
}

/// `serial` and `baud`: nothing is sent there.
pub(super) fn read_serial(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    reader.media_seen = true;
    reader.serial_lines.push(directive.name.place.clone());
}

/// A serial line beside other media is ignored; alone it is an error.
pub(super) fn report_serial_lines(reader: &mut HaCfReader<'_>) {
    let alone = reader.lists.media.is_empty();
    for place in std::mem::take(&mut reader.serial_lines) {
        let message = format!("`serial` is not supported: {NO_SERIAL}");
        if alone {
            reader.report.error(&place, message, USE_IP);
        } else {
            let message = format!("{message}; this line is ignored");
            reader.report.warning(&place, message, USE_IP);
        }
    }
}

fn add_medium(
    reader: &mut HaCfReader<'_>,
    interface: &SourceWord,
    port: u16,
    target: Target,
    place: &Place,
) {
    let name = match target {
        Target::Unicast(address) => format!("{} {address}", interface.text),
        Target::Broadcast => interface.text.clone(),
        Target::Multicast4 { group, .. } => format!("{} {group} {port}", interface.text),
        Target::Multicast6 { group, .. } => format!("{} {group} {port}", interface.text),
    };
    if !reader.claim_or_ignore(medium_kind(&target), &name, place) {
        return;
    }
    if reader.lists.media.len() == MAX_MEDIA {
        let message = format!("there are more than {MAX_MEDIA} media");
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

fn medium_kind(target: &Target) -> &'static str {
    match target {
        Target::Unicast(_) => "ucast",
        Target::Broadcast => "bcast",
        Target::Multicast4 { .. } => "mcast",
        Target::Multicast6 { .. } => "mcast6",
    }
}

/// Names each link after its interface, and also after its kind of medium where an interface has several kinds.
pub(super) fn name_links(media: &mut [(Medium, Place)]) {
    let kinds: Vec<(String, &str)> = media
        .iter()
        .map(|(m, _)| (m.interface.clone(), medium_kind(&m.target)))
        .collect();
    for (medium, _) in media {
        let own = medium_kind(&medium.target);
        if kinds
            .iter()
            .any(|(i, k)| *i == medium.interface && *k != own)
        {
            medium.link = LinkName::new(&format!("{}/{own}", medium.interface));
        }
    }
}

/// The port of the next `bcast` and `ucast` media.
pub(super) fn port_for_media(reader: &HaCfReader<'_>) -> u16 {
    let port = reader.number("udpport");
    port.and_then(|n| u16::try_from(n).ok())
        .unwrap_or(DEFAULT_PORT)
}

/// A medium has the port that was set before it, as in heartbeat.
pub(super) fn read_udpport(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    reader.record(directive);
    let value = reader.read_once("udpport", &ValueForm::Number(1, 65535), directive);
    let Some(DirectiveValue::Number(port)) = value else {
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
            &directive.name.place,
            message,
            "put `udpport` above all media, on every node",
        );
    }
}
