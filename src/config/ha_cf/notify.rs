//! Reads `notify PATH [timeout T]` and `notify URL [secret @/FILE] [ca FILE] [timeout T]`.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::health::read_duration;
use super::probe::is_host_name;
use super::{Directive, HaCfReader};
use crate::config::values::number;
use crate::config::{NotifyRule, NotifyTarget};
use crate::model::webhook::Webhook;
use crate::text::{SourceWord, did_you_mean};

/// The deadline of a notified program where none is given.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(30);
/// The deadline of one attempt to tell a server.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);
const WEBHOOK_OPTIONS: &[&str] = &["secret", "ca", "timeout"];

pub(super) fn read_notify(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    let words = directive.plain_values();
    let Some((target, rest)) = words.split_first() else {
        let message = "`notify` needs a program, a folder of programs, or a URL";
        let help = "for example: notify /etc/ha.d/notify.d";
        return reader.report.error(&directive.name.place, message, help);
    };
    let is_url = target.text.contains("://");
    if !is_url && !target.text.starts_with('/') {
        let message = format!("{} is neither a whole path nor a URL", target.quoted());
        let help = "begin it with `/`, or with https://";
        return reader.report.error(&target.place, message, help);
    }
    if !reader.claim_name("notify", &target.text, &target.place) {
        return;
    }
    let read = if is_url {
        read_webhook(reader, target, rest).map(NotifyTarget::Webhook)
    } else {
        read_program_timeout(reader, rest)
            .map(|timeout| NotifyTarget::Programs(PathBuf::from(&target.text), timeout))
    };
    if let Some(read) = read {
        let place = target.place.clone();
        reader.lists.notify.push(NotifyRule {
            target: read,
            place,
        });
    }
}

fn read_program_timeout(reader: &mut HaCfReader<'_>, rest: &[SourceWord]) -> Option<Duration> {
    let (place, message, help) = match rest {
        [] => return Some(PROGRAM_TIMEOUT),
        [word, value] if word.text == "timeout" => return read_duration(reader, value),
        [word] if word.text == "timeout" => {
            let message = format!("{} needs a time", word.quoted());
            (&word.place, message, String::new())
        }
        [word, _, more, ..] if word.text == "timeout" => {
            let message = format!(
                "`notify` takes one path and a timeout; {} is too many",
                more.quoted()
            );
            (&more.place, message, String::new())
        }
        [word, ..] => {
            let help = match did_you_mean(&word.text, ["timeout"]) {
                nothing if nothing.is_empty() => "write a line for each path".to_owned(),
                guess => guess,
            };
            let message = format!("expected `timeout`, found {}", word.quoted());
            (&word.place, message, help)
        }
    };
    reader.report.error(place, message, help);
    None
}

fn read_webhook(
    reader: &mut HaCfReader<'_>,
    word: &SourceWord,
    rest: &[SourceWord],
) -> Option<Webhook> {
    let mut webhook = read_url(reader, word)?;
    let mut timeout = None;
    for pair in rest.chunks(2) {
        let name = pair.first()?;
        if !WEBHOOK_OPTIONS.contains(&name.text.as_str()) {
            let options = WEBHOOK_OPTIONS.iter().copied();
            let help = did_you_mean(&name.text, options);
            let message = format!(
                "{} is none of {}",
                name.quoted(),
                WEBHOOK_OPTIONS.join(", ")
            );
            reader.report.error(&name.place, message, help);
            return None;
        }
        let value = reader.option_value(pair, "a value")?;
        let twice = match name.text.as_str() {
            "timeout" => timeout.replace(read_duration(reader, value)?).is_some(),
            "secret" => {
                let file = reader.secret_file(value)?;
                webhook.secret.replace(file).is_some()
            }
            _ if !value.text.starts_with('/') => {
                let message = format!("{} is not a whole path", value.quoted());
                reader
                    .report
                    .error(&value.place, message, "begin it with `/`");
                return None;
            }
            _ => webhook.ca.replace(PathBuf::from(&value.text)).is_some(),
        };
        reader.refuse_second(name, twice)?;
    }
    if webhook.ca.is_some() && !webhook.secure {
        let message = "`ca` has a meaning for https only";
        reader
            .report
            .error(&word.place, message, "remove it, or write https://");
        return None;
    }
    webhook.timeout = timeout.unwrap_or(webhook.timeout);
    Some(webhook)
}

/// Takes a URL apart. Its host may be a name.
fn read_url(reader: &mut HaCfReader<'_>, word: &SourceWord) -> Option<Webhook> {
    let (secure, rest) = match word.text.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        _ => {
            // Its path may be a secret, and this text goes into logs.
            let message = "this is no URL of a web server";
            let help = "it must begin with https:// or http://";
            reader.report.error(&word.place, message, help);
            return None;
        }
    };
    let (place, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let port = place.rsplit_once(':').filter(|(_, p)| !p.ends_with(']'));
    let (host, port) = match port {
        Some((host, port)) => (host, number(port, 1, 65535)),
        None => (place, Some(if secure { 443 } else { 80 })),
    };
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let good = bare.map_or(is_host_name(host), |h| h.parse::<Ipv6Addr>().is_ok());
    let port = port.and_then(|port| u16::try_from(port).ok());
    let (true, Some(port)) = (good, port) else {
        let message = "the URL has no name or address of a server, or no port from 1 to 65535";
        let help = "for example: https://hooks.example.org:8443/had";
        reader.report.error(&word.place, message, help);
        return None;
    };
    Some(Webhook {
        secure,
        host: host.to_owned(),
        port,
        path,
        secret: None,
        ca: None,
        timeout: WEBHOOK_TIMEOUT,
    })
}
