//! Reads `http` and `https`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::super::HaCfReader;
use super::super::health::OPTIONS;
use super::{is_host_name, read_socket_address};
use crate::config::values::number;
use crate::model::health::{HttpProbe, Probe, TlsWishes};
use crate::text::{SourceWord, did_you_mean};

const HTTP_OPTIONS: &[&str] = &["at", "status", "contains"];
const HTTPS_OPTIONS: &[&str] = &["at", "status", "contains", "ca", "days"];
/// No certificate is given for longer than this.
const MAX_DAYS: u32 = 10_000;

/// What follows the URL, as far as it is given.
#[derive(Default)]
struct WebOptions {
    at: Option<SourceWord>,
    status: Option<u16>,
    contains: Option<String>,
    ca: Option<PathBuf>,
    days: Option<u32>,
}

/// The parts of a URL.
struct Url<'w> {
    /// The host and the port, as they stand there.
    host: &'w str,
    /// The host alone.
    name: &'w str,
    /// From `/` on.
    path: &'w str,
    usual_port: u16,
}

/// `http URL [at ADDRESS] [status N] [contains TEXT]`, `https URL ... [ca FILE] [days N]`
pub(super) fn read_http(
    reader: &mut HaCfReader<'_>,
    kind: &SourceWord,
    rest: &[SourceWord],
) -> Option<Probe> {
    let secure = kind.text == "https";
    let Some((word, wishes)) = rest.split_first() else {
        let help = if secure {
            "for example: https https://www.example.org/ at 127.0.0.1 days 14"
        } else {
            "for example: http http://127.0.0.1/ status 200"
        };
        let message = format!("{} needs a URL", kind.quoted());
        reader.report.error(&kind.place, message, help);
        return None;
    };
    let url = read_url(reader, word, &kind.text)?;
    let known = if secure { HTTPS_OPTIONS } else { HTTP_OPTIONS };
    let mut options = WebOptions::default();
    for pair in wishes.chunks(2) {
        read_web_option(reader, &mut options, pair, known)?;
    }
    let server = find_server(reader, word, &url, options.at.as_ref())?;
    Some(Probe::Http(HttpProbe {
        server,
        at: options.at.is_some(),
        host: url.host.to_owned(),
        path: url.path.to_owned(),
        status: options.status,
        contains: options.contains,
        tls: secure.then(|| TlsWishes {
            name: url.name.to_owned(),
            ca: options.ca,
            days: options.days,
        }),
    }))
}

fn read_web_option(
    reader: &mut HaCfReader<'_>,
    options: &mut WebOptions,
    pair: &[SourceWord],
    known: &[&'static str],
) -> Option<()> {
    let name = pair.first()?;
    if !known.contains(&name.text.as_str()) {
        let help = if HTTPS_OPTIONS.contains(&name.text.as_str()) {
            "only `https` has it".to_owned()
        } else {
            did_you_mean(&name.text, known.iter().copied().chain(OPTIONS))
        };
        let message = format!("{} is not one of {}", name.quoted(), known.join(", "));
        reader.report.error(&name.place, message, help);
        return None;
    }
    let value = reader.option_value(pair, "a value")?;
    let twice = match name.text.as_str() {
        "at" => options.at.replace(value.clone()).is_some(),
        "contains" => options.contains.replace(value.text.clone()).is_some(),
        "status" => {
            let status = read_number(reader, value, (100, 599), "a status")?;
            let status = u16::try_from(status).ok();
            std::mem::replace(&mut options.status, status).is_some()
        }
        "days" => {
            let days = read_number(reader, value, (1, MAX_DAYS), "a number of days")?;
            options.days.replace(days).is_some()
        }
        _ => {
            if !value.text.starts_with('/') {
                let message = format!("{} is not a whole path", value.quoted());
                reader
                    .report
                    .error(&value.place, message, "begin it with `/`");
                return None;
            }
            options.ca.replace(PathBuf::from(&value.text)).is_some()
        }
    };
    reader.refuse_second(name, twice)
}

fn read_number(
    reader: &mut HaCfReader<'_>,
    word: &SourceWord,
    (least, most): (u32, u32),
    what: &str,
) -> Option<u32> {
    let read = number(&word.text, least, most);
    if read.is_none() {
        let message = format!("{} is not {what} from {least} to {most}", word.quoted());
        reader.report.error(&word.place, message, "");
    }
    read
}

/// Takes a URL apart.
fn read_url<'w>(reader: &mut HaCfReader<'_>, word: &'w SourceWord, kind: &str) -> Option<Url<'w>> {
    let text = word.text.as_str();
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme == kind => rest,
        Some((other @ ("http" | "https"), _)) => {
            let message = format!("`{kind}` does not speak {other}");
            let help = format!("write: {other} {text}");
            reader.report.error(&word.place, message, help);
            return None;
        }
        other => {
            let message = format!("{} is not a URL", word.quoted());
            let help = match other {
                Some(_) => format!("it must begin with {kind}://"),
                None => format!("write {kind}://{text}"),
            };
            reader.report.error(&word.place, message, help);
            return None;
        }
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
    let port = host.rsplit_once(':').filter(|(_, p)| !p.ends_with(']'));
    let usual_port = if kind == "https" { 443 } else { 80 };
    let name = port.map_or(host, |(name, _)| name);
    Some(Url {
        host,
        name,
        path,
        usual_port,
    })
}

/// The address to connect to: what is behind `at`, or the host of the URL.
fn find_server(
    reader: &mut HaCfReader<'_>,
    word: &SourceWord,
    url: &Url<'_>,
    at: Option<&SourceWord>,
) -> Option<SocketAddr> {
    let named = is_host_name(url.name) && url.name != "localhost";
    let Some(at) = at else {
        if named && !url.name.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            let message = format!("`{}` is not an address", url.name);
            let help = "host names are not resolved: a check must not depend on a name server; write the address of the server behind the URL: at 10.0.0.1";
            reader.report.error(&word.place, message, help);
            return None;
        }
        return read_socket_address(reader, word, url.host, Some(url.usual_port));
    };
    let bare = url.name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    if !is_host_name(url.name) && bare.is_none_or(|b| b.parse::<IpAddr>().is_err()) {
        let message = format!("`{}` is no name of a host", url.name);
        reader.report.error(&word.place, message, "");
        return None;
    }
    // The port of the URL is that of the address, where that has none.
    let local = url.host.replacen(url.name, "localhost", 1);
    let port = read_socket_address(reader, word, &local, Some(url.usual_port))?.port();
    read_socket_address(reader, at, &at.text, Some(port))
}
