//! Reads probes: `exec`, `tcp`, `http`, `process`, `link`, `mysql`.
//!
//! Servers are given by address: a probe that resolves a name would test the name server too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::HaCfReader;
use super::media::note_missing_interface;
use crate::config::values::number;
use crate::model::health::{HttpProbe, MysqlProbe, Probe, Replica};
use crate::text::SourceWord;
use crate::text::{did_you_mean, nearest};

/// The first words of the probes.
pub(super) const KINDS: [&str; 6] = ["exec", "tcp", "http", "process", "link", "mysql"];

/// Reads a probe. `None` means that the report says why.
pub(super) fn read_probe_words(reader: &mut HaCfReader<'_>, words: &[SourceWord]) -> Option<Probe> {
    let (kind, rest) = words.split_first()?;
    match kind.text.as_str() {
        "exec" => read_exec(reader, kind, rest),
        "http" => read_http(reader, kind, rest),
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
        "mysql" => read_mysql(reader, rest),
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

/// `mysql [SOCKET] [replica [lag T]]`
fn read_mysql(reader: &mut HaCfReader<'_>, rest: &[SourceWord]) -> Option<Probe> {
    let (socket, wishes) = match rest.split_first() {
        Some((word, wishes)) if word.text.starts_with('/') => {
            (Some(PathBuf::from(&word.text)), wishes)
        }
        _ => (None, rest),
    };
    let replica = match wishes.split_first() {
        None => None,
        Some((word, [])) if word.text == "replica" => Some(Replica::Intact),
        Some((word, [lag, rest @ ..])) if word.text == "replica" && lag.text == "lag" => {
            Some(read_lag(reader, lag, rest)?)
        }
        Some((word, [wrong, ..])) if word.text == "replica" => {
            let all = ["lag"].into_iter().chain(super::health::OPTIONS);
            let help = did_you_mean(&wrong.text, all);
            let message = format!("expected `lag`, found {}", wrong.quoted());
            reader.report.error(&wrong.place, message, help);
            return None;
        }
        Some((word, _)) => {
            report_unknown_mysql_word(reader, word);
            return None;
        }
    };
    Some(Probe::Mysql(MysqlProbe { socket, replica }))
}

/// Reads the time after `lag`.
fn read_lag(reader: &mut HaCfReader<'_>, lag: &SourceWord, rest: &[SourceWord]) -> Option<Replica> {
    match rest {
        [time] => super::health::read_duration(reader, time).map(Replica::Within),
        [] => {
            let help = "for example: mysql replica lag 5s";
            reader.report.error(&lag.place, "`lag` needs a time", help);
            None
        }
        [_, more, ..] => {
            let help = did_you_mean(&more.text, super::health::OPTIONS);
            let message = format!("`lag` takes one time; {} is too many", more.quoted());
            reader.report.error(&more.place, message, help);
            None
        }
    }
}

fn report_unknown_mysql_word(reader: &mut HaCfReader<'_>, word: &SourceWord) {
    let all = ["replica"].into_iter().chain(super::health::OPTIONS);
    let help = match word.text.as_str() {
        "lag" => "write: replica lag ...".to_owned(),
        text if text.contains([':', '.', '/']) => {
            "the server is asked through its socket on this node; write its whole path: mysql /run/mysqld/mysqld.sock".to_owned()
        }
        text => did_you_mean(text, all),
    };
    let message = format!(
        "{} is neither the path of a socket nor `replica`",
        word.quoted()
    );
    reader.report.error(&word.place, message, help);
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

/// `http URL [status N] [contains TEXT]`
fn read_http(reader: &mut HaCfReader<'_>, kind: &SourceWord, rest: &[SourceWord]) -> Option<Probe> {
    let Some((url, wishes)) = rest.split_first() else {
        let help = "for example: http http://127.0.0.1/ status 200";
        reader.report.error(&kind.place, "`http` needs a URL", help);
        return None;
    };
    let (server, host, path) = read_url(reader, url)?;
    let mut probe = HttpProbe {
        server,
        host,
        path,
        status: None,
        contains: None,
    };
    for pair in wishes.chunks(2) {
        read_http_option(reader, &mut probe, pair)?;
    }
    Some(Probe::Http(probe))
}

fn read_http_option(
    reader: &mut HaCfReader<'_>,
    probe: &mut HttpProbe,
    pair: &[SourceWord],
) -> Option<()> {
    let name = pair.first()?;
    let known = ["status", "contains"];
    if !known.contains(&name.text.as_str()) {
        let all = known.into_iter().chain(super::health::OPTIONS);
        let help = did_you_mean(&name.text, all);
        let message = format!("{} is neither `status` nor `contains`", name.quoted());
        reader.report.error(&name.place, message, help);
        return None;
    }
    let value = reader.option_value(pair, "a value")?;
    let twice = if name.text == "contains" {
        probe.contains.replace(value.text.clone()).is_some()
    } else {
        let status = number(&value.text, 100, 599).and_then(|n| u16::try_from(n).ok());
        if status.is_none() {
            let message = format!("{} is not a status from 100 to 599", value.quoted());
            reader.report.error(&value.place, message, "");
            return None;
        }
        std::mem::replace(&mut probe.status, status).is_some()
    };
    reader.refuse_second(name, twice)
}

/// The server's address, the host name for the request, and the path.
fn read_url(
    reader: &mut HaCfReader<'_>,
    word: &SourceWord,
) -> Option<(SocketAddr, String, String)> {
    let text = word.text.as_str();
    if text.starts_with("https:") {
        let message = "the built-in probe does not support https";
        let help =
            "probe the plain port behind it, or use a program: exec /usr/bin/curl -fsS https://...";
        reader.report.error(&word.place, message, help);
        return None;
    }
    let Some(rest) = text.strip_prefix("http://") else {
        let message = format!("{} is not a URL", word.quoted());
        let help = format!("write http://{text}");
        let help = if text.contains("://") {
            "it must begin with http://"
        } else {
            &help
        };
        reader.report.error(&word.place, message, help);
        return None;
    };
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    if host.contains('@') {
        let message = "a URL with a user name is not supported";
        let help = "use a program: exec /usr/bin/curl ...";
        reader.report.error(&word.place, message, help);
        return None;
    }
    let server = read_socket_address(reader, word, host, Some(80))?;
    Some((server, host.to_owned(), path.to_owned()))
}
