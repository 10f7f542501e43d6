//! Reads probes: `exec`, `tcp`, `process` and `link` here, the others in their modules.
//!
//! Servers are given by address: a probe that resolves a name would test the name server too.

mod database;
mod disk;
mod dns;
mod redis;
mod web;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::HaCfReader;
use super::media::note_missing_interface;
use crate::config::values::number;
use crate::model::health::Probe;
use crate::text::SourceWord;
use crate::text::{did_you_mean, nearest};

/// The first words of the probes.
pub(super) const KINDS: [&str; 11] = [
    "exec", "tcp", "http", "https", "dns", "process", "link", "disk", "mysql", "postgres", "redis",
];

/// Reads a probe. `None` means that the report says why.
pub(super) fn read_probe_words(reader: &mut HaCfReader<'_>, words: &[SourceWord]) -> Option<Probe> {
    let (kind, rest) = words.split_first()?;
    match kind.text.as_str() {
        "exec" => read_exec(reader, kind, rest),
        "http" | "https" => web::read_http(reader, kind, rest),
        "tcp" => {
            let place = only_word(reader, kind, rest, "tcp 10.0.0.1:25")?;
            read_socket_address(reader, place, &place.text, None).map(Probe::Tcp)
        }
        "process" => read_process(reader, kind, rest),
        "link" => {
            let interface = only_word(reader, kind, rest, "link eth0")?;
            note_missing_interface(reader, interface);
            Some(Probe::Link(interface.text.clone()))
        }
        "dns" => dns::read_dns(reader, kind, rest),
        "disk" => disk::read_disk(reader, kind, rest),
        "mysql" | "postgres" => database::read_database(reader, kind, rest),
        "redis" => redis::read_redis(reader, rest),
        _ => None,
    }
}

/// The only word after the kind.
fn only_word<'w>(
    reader: &mut HaCfReader<'_>,
    kind: &SourceWord,
    rest: &'w [SourceWord],
    example: &str,
) -> Option<&'w SourceWord> {
    match rest {
        [word] => Some(word),
        [] => {
            let message = format!("{} needs an argument", kind.quoted());
            let help = format!("for example: {example}");
            reader.report.error(&kind.place, message, help);
            None
        }
        [_, more, ..] => {
            let help = did_you_mean(&more.text, super::health::OPTIONS);
            let message = format!(
                "{} takes one argument; {} is too many",
                kind.quoted(),
                more.quoted()
            );
            reader.report.error(&more.place, message, help);
            None
        }
    }
}

fn read_exec(reader: &mut HaCfReader<'_>, kind: &SourceWord, rest: &[SourceWord]) -> Option<Probe> {
    let Some((path, args)) = rest.split_first() else {
        let help = "for example: exec /etc/ha.d/checks/web";
        let message = "`exec` needs a program";
        reader.report.error(&kind.place, message, help);
        return None;
    };
    if !path.text.starts_with('/') {
        let message = format!("{} is not the whole path of a program", path.quoted());
        let help = "begin it with `/`";
        reader.report.error(&path.place, message, help);
        return None;
    }
    if !(reader.machine.executable)(Path::new(&path.text)) {
        let message = format!("{} is not an executable file", path.quoted());
        reader.report.error(&path.place, message, "");
        return None;
    }
    for arg in args {
        // Every further word may be an argument of the program, so a mistyped option is only a guess.
        if let Some(near) = nearest(&arg.text, super::health::OPTIONS) {
            let message = format!("{} is passed to the program", arg.quoted());
            let help = format!("did you mean `{near}`?");
            reader.report.warning(&arg.place, message, help);
        }
    }
    let args = args.iter().map(|a| a.text.clone()).collect();
    Some(Probe::Exec(PathBuf::from(&path.text), args))
}

fn read_process(
    reader: &mut HaCfReader<'_>,
    kind: &SourceWord,
    rest: &[SourceWord],
) -> Option<Probe> {
    let name = only_word(
        reader,
        kind,
        rest,
        "process nginx, or process /run/nginx.pid",
    )?;
    if name.text.contains('/') && !name.text.starts_with('/') {
        let message = format!("{} is neither a name nor a whole path", name.quoted());
        let help = "write the name of the program, or the path of its pid file from `/` on";
        reader.report.error(&name.place, message, help);
        return None;
    }
    Some(Probe::Process(name.text.clone()))
}

/// `ADDR:PORT`, `[ADDR6]:PORT`, `localhost:PORT`.
fn read_socket_address(
    reader: &mut HaCfReader<'_>,
    word: &SourceWord,
    text: &str,
    usual_port: Option<u16>,
) -> Option<SocketAddr> {
    let bare = text.parse::<IpAddr>().is_ok();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !bare && !port.ends_with(']') => {
            let port = number(port, 1, 65535).and_then(|n| u16::try_from(n).ok());
            let Some(port) = port else {
                let message = format!("{} has no port from 1 to 65535", word.quoted());
                reader
                    .report
                    .error(&word.place, message, "write ADDRESS:PORT");
                return None;
            };
            (host, Some(port))
        }
        _ => (text, usual_port),
    };
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let address = match inner.unwrap_or(host) {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        other => other.parse().ok(),
    };
    match (address, port) {
        (Some(address), Some(port)) => Some(SocketAddr::new(address, port)),
        (Some(_), None) => {
            let message = format!("{} has no port", word.quoted());
            let help = "write ADDRESS:PORT, an IPv6 address in brackets: [fe80::1]:80";
            reader.report.error(&word.place, message, help);
            None
        }
        (None, _) => {
            let message = format!("`{host}` is not an address");
            let help = "host names are not resolved: a check must not depend on a name server; write the address";
            reader.report.error(&word.place, message, help);
            None
        }
    }
}

/// Whether this may be the name of a host. Addresses of IPv4 look like one, too.
pub(super) fn is_host_name(text: &str) -> bool {
    let is_part = |part: &str| {
        let known = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&part.len()) && part.bytes().all(known)
    };
    text.len() <= 253 && text.trim_end_matches('.').split('.').all(is_part)
}
