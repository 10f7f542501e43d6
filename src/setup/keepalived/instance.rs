//! Reads `vrrp_instance`.

use std::net::IpAddr;
use std::time::Duration;

use super::blocks::Entry;
use super::lexer::Word;
use super::model::{Instance, Notify, VirtualAddress};
use super::reader::{is_notify, read_notify};
use super::{keywords, tracked};
use crate::text::{Problems, quote};

/// What is read of an instance.
const READ: [&str; 22] = [
    "state",
    "interface",
    "priority",
    "nopreempt",
    "preempt_delay",
    "advert_int",
    "virtual_router_id",
    "authentication",
    "unicast_src_ip",
    "mcast_src_ip",
    "unicast_peer",
    "virtual_ipaddress",
    "virtual_ipaddress_excluded",
    "track_script",
    "track_process",
    "track_interface",
    "notify",
    "notify_master",
    "notify_backup",
    "notify_fault",
    "garp_master_refresh",
    "version",
];
/// More is a mistake, and would take long.
const MAX_ADDRESSES: usize = 1000;
/// The shortest and the longest `advert_int`.
const MIN_ADVERT: Duration = Duration::from_millis(10);
const MAX_ADVERT: Duration = Duration::from_secs(255);
/// Longer times are mistakes.
const MAX_SECONDS: f64 = 86400.0;

/// Reads an instance. `version` is that of the file.
pub fn read(entry: &Entry, version: u32, report: &mut Problems) -> Option<Instance> {
    let Some(name) = entry.value() else {
        report.warning(&entry.place(), "this instance has no name", "");
        return None;
    };
    let mut instance = Instance {
        name: name.clone(),
        interface: None,
        state_master: None,
        priority: 100,
        priority_place: name.place.clone(),
        nopreempt: None,
        preempt_delay: None,
        advert: Duration::from_secs(1),
        advert_place: name.place.clone(),
        router_id: None,
        auth_type: None,
        auth_pass: None,
        source: None,
        peers: Vec::new(),
        addresses: Vec::new(),
        tracks: Vec::new(),
        notify: Notify::default(),
        refresh: None,
        version,
    };
    for line in &entry.body {
        read_line(line, &mut instance, report);
    }
    if instance.addresses.iter().any(|a| a.ip.is_ipv6()) {
        instance.version = 3;
    }
    judge_advert(&mut instance, report);
    if instance.addresses.len() > MAX_ADDRESSES {
        let message = format!("there are more than {MAX_ADDRESSES} addresses");
        report.error(&name.place, message, "");
        instance.addresses.truncate(MAX_ADDRESSES);
    }
    Some(instance)
}

fn read_line(line: &Entry, instance: &mut Instance, report: &mut Problems) {
    match line.keyword() {
        "interface" => instance.interface = line.value().cloned(),
        "virtual_router_id" => instance.router_id = line.value().cloned(),
        "nopreempt" => instance.nopreempt = Some(line.place()),
        "unicast_src_ip" | "mcast_src_ip" => {
            instance.source = line.value().and_then(|word| address(word, report));
        }
        "unicast_peer" => {
            let words = line.body.iter().filter_map(|row| row.words.first());
            instance
                .peers
                .extend(words.filter_map(|word| address(word, report)));
        }
        "authentication" => read_authentication(line, instance, report),
        "virtual_ipaddress" | "virtual_ipaddress_excluded" => {
            let rows = line.body.iter();
            let read = rows.filter_map(|row| read_address(row, report));
            instance.addresses.extend(read);
        }
        "track_script" | "track_process" | "track_interface" => {
            instance.tracks.extend(tracked::read_tracks(line, report));
        }
        keyword if is_notify(keyword) => read_notify(line, &mut instance.notify, report),
        "state"
        | "priority"
        | "preempt_delay"
        | "advert_int"
        | "garp_master_refresh"
        | "version" => {
            read_value(line, instance, report);
        }
        _ => keywords::remark(line, keywords::INSTANCE, &READ, report),
    }
}

/// The lines that have one value.
fn read_value(line: &Entry, instance: &mut Instance, report: &mut Problems) {
    let Some(word) = line.value() else {
        let message = format!("`{}` has no value", line.keyword());
        return report.warning(&line.place(), message, "");
    };
    let number = word.text.parse::<u32>().ok();
    match line.keyword() {
        "state" => {
            let master = word.text == "MASTER";
            instance.state_master = master.then(|| word.place.clone());
            if !master && word.text != "BACKUP" {
                let message = format!("{} is neither MASTER nor BACKUP", quote(&word.text));
                report.warning(&word.place, message, "keepalived reads it as BACKUP");
            }
        }
        "priority" => {
            if let Some(priority) = number.filter(|n| (1..=255).contains(n)) {
                instance.priority = priority;
                instance.priority_place = word.place.clone();
            } else {
                let message = format!("{} is not a priority from 1 to 255", quote(&word.text));
                report.warning(&word.place, message, "keepalived takes 100 instead");
            }
        }
        "preempt_delay" => {
            instance.preempt_delay = seconds(word, report).map(|time| (time, word.place.clone()));
        }
        "advert_int" => match seconds(word, report) {
            Some(time) if (MIN_ADVERT..=MAX_ADVERT).contains(&time) => {
                instance.advert = time;
                instance.advert_place = word.place.clone();
            }
            Some(_) => {
                let message = format!("{} is not from 0.01 to 255 seconds", quote(&word.text));
                report.warning(&word.place, message, "keepalived takes 1 instead");
            }
            None => {}
        },
        "version" => instance.version = number.filter(|n| matches!(n, 2 | 3)).unwrap_or(2),
        _ => instance.refresh = number.filter(|n| (1..=86400).contains(n)),
    }
}

/// Version 2 of VRRP counts whole seconds; keepalived rounds.
fn judge_advert(instance: &mut Instance, report: &mut Problems) {
    let advert = instance.advert;
    if instance.version == 2 && advert.subsec_nanos() != 0 {
        let rounded = advert + Duration::from_millis(500);
        instance.advert = Duration::from_secs(rounded.as_secs().max(1));
        let message = format!(
            "version 2 of VRRP knows only whole seconds: keepalived sends every {}",
            crate::text::duration_for_people(instance.advert)
        );
        let help = "this is taken here too; fractions need `vrrp_version 3`";
        report.note(&instance.advert_place, message, help);
    }
}

/// A time in seconds.
pub fn seconds(word: &Word, report: &mut Problems) -> Option<Duration> {
    let read = word.text.parse::<f64>().ok();
    let read = read.filter(|n| (0.0..=MAX_SECONDS).contains(n));
    if read.is_none() {
        let message = format!("{} is not a number of seconds", quote(&word.text));
        report.warning(&word.place, message, "");
    }
    // Nanoseconds would show the rounding of the number.
    let milliseconds = read.map(|n| Duration::from_secs_f64((n * 1000.0).round() / 1000.0));
    milliseconds.map(|d| Duration::from_millis(u64::try_from(d.as_millis()).unwrap_or(0)))
}

fn address(word: &Word, report: &mut Problems) -> Option<IpAddr> {
    let read = word.text.parse().ok();
    if read.is_none() {
        let message = format!("{} is not an IP address", quote(&word.text));
        report.warning(&word.place, message, "");
    }
    read
}

fn read_authentication(line: &Entry, instance: &mut Instance, report: &mut Problems) {
    for row in &line.body {
        match row.keyword() {
            "auth_type" => instance.auth_type = row.value().cloned(),
            "auth_pass" => instance.auth_pass = row.value().cloned(),
            // The word may be the password.
            _ => keywords::report_unnamed(&row.place(), report),
        }
    }
}

/// `10.0.0.9/24 brd 10.0.0.255 dev eth0 scope global label eth0:1`
fn read_address(row: &Entry, report: &mut Problems) -> Option<VirtualAddress> {
    let word = row.words.first()?;
    let (ip, prefix) = word
        .text
        .split_once('/')
        .map_or((word.text.as_str(), None), |(ip, p)| (ip, Some(p)));
    let (ip, word_place) = (ip.parse::<IpAddr>().ok(), &word.place);
    let longest = |ip: &IpAddr| if ip.is_ipv4() { 32 } else { 128 };
    let prefix = match (prefix, &ip) {
        (Some(text), Some(ip)) => text.parse().ok().filter(|p| (1..=longest(ip)).contains(p)),
        (None, Some(ip)) => Some(longest(ip)),
        (_, None) => None,
    };
    let (Some(ip), Some(prefix)) = (ip, prefix) else {
        let message = format!(
            "{} is not an address with a prefix length",
            quote(&word.text)
        );
        report.warning(word_place, message, "it is left out");
        return None;
    };
    let mut address = VirtualAddress {
        ip,
        prefix,
        device: None,
        label: None,
        broadcast: None,
        place: word.place.clone(),
    };
    read_address_options(row, &mut address, report);
    Some(address)
}

fn read_address_options(row: &Entry, address: &mut VirtualAddress, report: &mut Problems) {
    let mut words = row.words.iter().skip(1);
    while let Some(word) = words.next() {
        let quiet = [
            "-nodad",
            "mngtmpaddr",
            "noprefixroute",
            "home",
            "no_track",
            "nodad",
        ];
        if quiet.contains(&word.text.as_str()) {
            continue;
        }
        let value = words.next().map(|w| w.text.clone());
        match (word.text.as_str(), value) {
            ("dev", Some(value)) => address.device = Some(value),
            ("label", Some(value)) => address.label = Some(value),
            ("brd" | "broadcast", Some(value)) => address.broadcast = value.parse().ok(),
            ("scope", Some(scope)) if scope == "global" => {}
            ("scope" | "peer" | "track_group" | "preferred_lft", Some(_)) => {
                let message = format!("{} has no counterpart", quote(&word.text));
                report.note(
                    &word.place,
                    message,
                    "the address is added with global scope",
                );
            }
            (other, _) => {
                let known = ["dev", "label", "brd", "scope"];
                keywords::report_unknown(&word.place, other, &known, false, report);
            }
        }
    }
}
