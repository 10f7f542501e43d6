//! Ways to look whether something is well: `exec`, `tcp`, `http`, `process`, `link`, `mysql`.
//!
//! Servers are named by address: a check that waits for a name server would tell of that one's health.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::Reader;
use super::media::interface_exists;
use crate::config::values::number;
use crate::model::health::{HttpProbe, MysqlProbe, Probe, Replica};
use crate::text::SourceWord;
use crate::text::{did_you_mean, nearest};

/// The first words of all.
pub(super) const KINDS: [&str; 6] = ["exec", "tcp", "http", "process", "link", "mysql"];

/// Reads a way to look; its problems are in the report.
pub(super) fn read(reader: &mut Reader<'_>, words: &[SourceWord]) -> Option<Probe> {
    let (kind, rest) = words.split_first()?;
    match kind.text.as_str() {
        "exec" => exec(reader, kind, rest),
        "http" => http(reader, kind, rest),
        "tcp" => {
            let place = only(reader, kind, rest, "tcp 10.0.0.1:25")?;
            socket(reader, place, &place.text, None).map(Probe::Tcp)
        }
        "process" => process(reader, kind, rest),
        "link" => {
            let interface = only(reader, kind, rest, "link eth0")?;
            interface_exists(reader, interface).then(|| Probe::Link(interface.text.clone()))
        }
        "mysql" => mysql(reader, rest),
        _ => None,
    }
}

/// The one word after the kind.
fn only<'w>(
    reader: &mut Reader<'_>,
    kind: &SourceWord,
    rest: &'w [SourceWord],
    example: &str,
) -> Option<&'w SourceWord> {
    match rest {
        [word] => Some(word),
        [] => {
            let message = format!("{} needs to know of what", kind.quoted());
            let help = format!("for example: {example}");
            reader.report.error(&kind.place, message, help);
            None
        }
        [_, more, ..] => {
            let help = did_you_mean(&more.text, super::health::OPTIONS);
            let message = format!(
                "{} takes one word, not also {}",
                kind.quoted(),
                more.quoted()
            );
            reader.report.error(&more.place, message, help);
            None
        }
    }
}

fn exec(reader: &mut Reader<'_>, kind: &SourceWord, rest: &[SourceWord]) -> Option<Probe> {
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
        // Whatever follows the program is its own, so only a guess is possible.
        if let Some(near) = nearest(&arg.text, super::health::OPTIONS) {
            let message = format!("{} is given to the program", arg.quoted());
            let help = format!("did you mean `{near}`?");
            reader.report.warning(&arg.place, message, help);
        }
    }
    let args = args.iter().map(|a| a.text.clone()).collect();
    Some(Probe::Exec(PathBuf::from(&path.text), args))
}

fn process(reader: &mut Reader<'_>, kind: &SourceWord, rest: &[SourceWord]) -> Option<Probe> {
    let name = only(
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
fn mysql(reader: &mut Reader<'_>, rest: &[SourceWord]) -> Option<Probe> {
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
            Some(self::lag(reader, lag, rest)?)
        }
        Some((word, [wrong, ..])) if word.text == "replica" => {
            let all = ["lag"].into_iter().chain(super::health::OPTIONS);
            let help = did_you_mean(&wrong.text, all);
            let message = format!("{} is not lag", wrong.quoted());
            reader.report.error(&wrong.place, message, help);
            return None;
        }
        Some((word, _)) => {
            not_of_mysql(reader, word);
            return None;
        }
    };
    Some(Probe::Mysql(MysqlProbe { socket, replica }))
}

/// What stands behind `lag`: a time and no more.
fn lag(reader: &mut Reader<'_>, lag: &SourceWord, rest: &[SourceWord]) -> Option<Replica> {
    match rest {
        [time] => super::health::duration(reader, time).map(Replica::Within),
        [] => {
            let help = "for example: mysql replica lag 5s";
            reader.report.error(&lag.place, "`lag` needs a time", help);
            None
        }
        [_, more, ..] => {
            let help = did_you_mean(&more.text, super::health::OPTIONS);
            let message = format!("`lag` takes one time, not also {}", more.quoted());
            reader.report.error(&more.place, message, help);
            None
        }
    }
}

fn not_of_mysql(reader: &mut Reader<'_>, word: &SourceWord) {
    let all = ["replica"].into_iter().chain(super::health::OPTIONS);
    let help = match word.text.as_str() {
        "lag" => "write: replica lag ...".to_owned(),
        text if text.contains([':', '.', '/']) => {
            "the server of this node is asked through its socket, by its whole path: mysql /run/mysqld/mysqld.sock".to_owned()
        }
        text => did_you_mean(text, all),
    };
    let message = format!("{} is neither a socket nor replica", word.quoted());
    reader.report.error(&word.place, message, help);
}

/// `ADDR:PORT`, `[ADDR6]:PORT`, `localhost:PORT`.
fn socket(
    reader: &mut Reader<'_>,
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
            let help = "names are not looked up: a check must not depend on a name server";
            reader.report.error(&word.place, message, help);
            None
        }
    }
}

/// `http URL [status N] [contains TEXT]`
fn http(reader: &mut Reader<'_>, kind: &SourceWord, rest: &[SourceWord]) -> Option<Probe> {
    let Some((url, wishes)) = rest.split_first() else {
        let help = "for example: http http://127.0.0.1/ status 200";
        reader.report.error(&kind.place, "`http` needs a URL", help);
        return None;
    };
    let (server, host, path) = self::url(reader, url)?;
    let mut probe = HttpProbe {
        server,
        host,
        path,
        status: None,
        contains: None,
    };
    for pair in wishes.chunks(2) {
        wish(reader, &mut probe, pair)?;
    }
    Some(Probe::Http(probe))
}

fn wish(reader: &mut Reader<'_>, probe: &mut HttpProbe, pair: &[SourceWord]) -> Option<()> {
    let name = pair.first()?;
    let known = ["status", "contains"];
    if !known.contains(&name.text.as_str()) {
        let all = known.into_iter().chain(super::health::OPTIONS);
        let help = did_you_mean(&name.text, all);
        let message = format!("{} is not status or contains", name.quoted());
        reader.report.error(&name.place, message, help);
        return None;
    }
    let Some(value) = pair.get(1) else {
        let message = format!("{} needs a value", name.quoted());
        reader.report.error(&name.place, message, "");
        return None;
    };
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
    if twice {
        let message = format!("{} is set twice", name.quoted());
        let help = "remove one of the two";
        reader.report.error(&name.place, message, help);
        return None;
    }
    Some(())
}

/// Whom to ask, the name to give, and the path.
fn url(reader: &mut Reader<'_>, word: &SourceWord) -> Option<(SocketAddr, String, String)> {
    let text = word.text.as_str();
    if text.starts_with("https:") {
        let message = "https is not spoken by the built-in check";
        let help = "ask the plain port behind it, or let a program do it: exec /usr/bin/curl -fsS https://...";
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
        let message = "a URL with a user is not understood";
        let help = "let a program ask: exec /usr/bin/curl ...";
        reader.report.error(&word.place, message, help);
        return None;
    }
    let server = socket(reader, word, host, Some(80))?;
    Some((server, host.to_owned(), path.to_owned()))
}
