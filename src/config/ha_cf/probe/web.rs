//! Reads `http`.

use std::net::SocketAddr;

use super::super::HaCfReader;
use super::super::health::OPTIONS;
use super::read_socket_address;
use crate::config::values::number;
use crate::model::health::{HttpProbe, Probe};
use crate::text::{SourceWord, did_you_mean};

/// `http URL [status N] [contains TEXT]`
pub(super) fn read_http(
    reader: &mut HaCfReader<'_>,
    kind: &SourceWord,
    rest: &[SourceWord],
) -> Option<Probe> {
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
        let all = known.into_iter().chain(OPTIONS);
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
