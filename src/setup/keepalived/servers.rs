//! Reads `virtual_server`. had balances no load. But some files use it to watch a service of the machine itself: those checks are
//! taken over.

use std::net::IpAddr;
use std::time::Duration;

use super::blocks::Entry;
use super::instance::seconds;
use super::lexer::Word;
use super::model::{Manager, Service, Tracked, TrackedKind};
use crate::text::{Place, Problems};

/// What is watched, and how.
const CHECKS: [&str; 4] = ["TCP_CHECK", "HTTP_GET", "SSL_GET", "MISC_CHECK"];

/// Reads a block. What has one real server may be a check of this machine; with several it is a load balancer.
pub fn read(entry: &Entry, manager: &mut Manager, report: &mut Problems) {
    let real: Vec<&Entry> = entry
        .body
        .iter()
        .filter(|e| e.keyword() == "real_server")
        .collect();
    let service = match real[..] {
        [only] => read_service(entry, only, report),
        _ => None,
    };
    match service {
        Some(service) => manager.tracked.push(service),
        None => report_load_balancer(&entry.place(), report),
    }
}

/// What has no counterpart.
pub fn report_load_balancer(place: &Place, report: &mut Problems) {
    let message = "had is no load balancer: this virtual server has no counterpart";
    let help = "run HAProxy, nginx or ipvsadm on the nodes, and give it the virtual address";
    report.warning(place, message, help);
}

/// A real server as something to watch.
fn read_service(entry: &Entry, real: &Entry, report: &mut Problems) -> Option<Tracked> {
    let (address, port) = (real.words.get(1)?, real.words.get(2));
    let ip: IpAddr = address.text.parse().ok()?;
    let port = port.and_then(|w| w.text.parse().ok())?;
    let check = real.body.iter().find(|e| CHECKS.contains(&e.keyword()))?;
    let mut service = Service {
        address: ip,
        port,
        http: None,
        command: None,
        notify_down: real
            .body
            .iter()
            .find(|e| e.keyword() == "notify_down")
            .and_then(Entry::value)
            .cloned(),
    };
    match check.keyword() {
        "SSL_GET" => {
            let message = "a page over TLS is not fetched: the check only connects";
            let help = "to fetch it: check NAME exec /usr/bin/curl -fsS URL";
            report.note(&check.place(), message, help);
        }
        "HTTP_GET" => service.http = Some(path_of(check)),
        "MISC_CHECK" => service.command = value_of(check, "misc_path").cloned(),
        _ => {}
    }
    let mut time = |of: &Entry, name: &str| value_of(of, name).and_then(|w| seconds(w, report));
    let interval = time(entry, "delay_loop").filter(|t| !t.is_zero());
    let timeout = time(check, "connect_timeout").or_else(|| time(check, "misc_timeout"));
    let retries = ["retry", "nb_get_retry"]
        .iter()
        .find_map(|name| value_of(check, name)?.text.parse::<u32>().ok());
    Some(Tracked {
        kind: TrackedKind::Service(service),
        name: address.clone(),
        interval: interval.unwrap_or(Duration::from_secs(60)),
        timeout: timeout.filter(|t| !t.is_zero()),
        fall: retries.unwrap_or(0).saturating_add(1).min(100),
        rise: 1,
        weight: 0,
    })
}

/// The first page that is fetched.
fn path_of(check: &Entry) -> String {
    let url = check.body.iter().find(|e| e.keyword() == "url");
    let path = url.and_then(|url| value_of(url, "path"));
    let path = path.map_or("/", |word| word.text.as_str());
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

fn value_of<'e>(entry: &'e Entry, keyword: &str) -> Option<&'e Word> {
    let mut lines = entry.body.iter();
    lines
        .find(|line| line.keyword() == keyword)
        .and_then(Entry::value)
}
