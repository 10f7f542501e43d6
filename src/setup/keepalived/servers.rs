//! Reads `virtual_server`. had balances no load. But some files use it to watch a service of the machine itself: those checks are
//! taken over.

use std::net::IpAddr;
use std::time::Duration;

use super::blocks::Entry;
use super::instance::seconds;
use super::keywords;
use super::lexer::Word;
use super::model::{Manager, Service, Tracked, TrackedKind};
use super::server_keywords::{CHECK, REAL, URL, VIRTUAL};
use crate::text::{Place, Problems, quote};

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
        [only] => read_service(entry, only),
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

/// A real server as something to watch. Its remarks count only if it is the machine itself.
fn read_service(entry: &Entry, real: &Entry) -> Option<Tracked> {
    let mut remarks = Problems::default();
    let address = real.words.get(1)?;
    let ip: IpAddr = address.text.parse().ok()?;
    let real_port: u16 = real.words.get(2)?.text.parse().ok()?;
    let check = real.body.iter().find(|e| CHECKS.contains(&e.keyword()))?;
    remark_on_rest(entry, real, check, &mut remarks);
    let url = check.body.iter().find(|line| line.keyword() == "url");
    let is_http = check.keyword() == "HTTP_GET";
    let command = value_of(check, "misc_path").cloned();
    if check.keyword() == "MISC_CHECK" && command.is_none() {
        return None;
    }
    let port = connect_port(check, &mut remarks).unwrap_or(real_port);
    // A line may stand in the check, or for all checks further out.
    let inward = [check, real, entry];
    let value = |name: &str| inward.iter().find_map(|block| value_of(block, name));
    let mut time = |name: &str| value(name).and_then(|w| seconds(w, &mut remarks));
    let interval = time("delay_loop").filter(|t| !t.is_zero());
    let timeout = time("connect_timeout").or_else(|| time("misc_timeout"));
    let retries = ["retry", "nb_get_retry"]
        .iter()
        .find_map(|name| value(name)?.text.parse::<u32>().ok());
    let service = Service {
        address: ip,
        real_port,
        port: Some(port).filter(|port| *port > 0)?,
        http: is_http.then(|| path_of(url)),
        status: url.filter(|_| is_http).and_then(status_of),
        command,
        notify_down: value_of(real, "notify_down").cloned(),
        remarks,
    };
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

/// The port that is asked, if it is not that of the real server.
fn connect_port(check: &Entry, remarks: &mut Problems) -> Option<u16> {
    let word = value_of(check, "connect_port")?;
    let port = word.text.parse().ok().filter(|port| *port > 0);
    if port.is_none() {
        let message = format!("{} is not a port", quote(&word.text));
        remarks.warning(&word.place, message, "the port of the real server is asked");
    }
    port
}

/// The first page that is fetched.
fn path_of(url: Option<&Entry>) -> String {
    let path = url.and_then(|url| value_of(url, "path"));
    let path = path.map_or("/", |word| word.text.as_str());
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

/// The status that a page must have, if it is one.
fn status_of(url: &Entry) -> Option<u16> {
    let line = url.body.iter().find(|l| l.keyword() == "status_code")?;
    let status = line.value().filter(|_| line.words.len() == 2)?;
    status.text.parse().ok().filter(|s| (100..600).contains(s))
}

/// What of the blocks does not become a part of a check.
fn remark_on_rest(entry: &Entry, real: &Entry, check: &Entry, remarks: &mut Problems) {
    const TIMES: [&str; 4] = ["delay_loop", "connect_timeout", "retry", "nb_get_retry"];
    let message = "had forwards nothing: only the check of this virtual server is taken over, and when it fails the groups move";
    let help =
        "clients reach the service if it listens on the virtual address, or on every address";
    remarks.note(&entry.place(), message, help);
    let rest = |line: &&Entry, more: &[&str]| {
        let keyword = line.keyword();
        !TIMES.contains(&keyword) && !more.contains(&keyword)
    };
    for line in entry.body.iter().filter(|l| rest(l, &["real_server"])) {
        keywords::remark(line, VIRTUAL, &TIMES, remarks);
    }
    // `notify_down` is remarked with what it does.
    for line in real.body.iter().filter(|l| rest(l, &["notify_down"])) {
        if !CHECKS.contains(&line.keyword()) {
            keywords::remark(line, REAL, &TIMES, remarks);
        } else if line.place() != check.place() {
            let message =
                "only the first check of a real server is taken over, and this one is left out";
            remarks.warning(
                &line.place(),
                message,
                "write a line `check` for it in ha.cf",
            );
        }
    }
    let read: &[&str] = match check.keyword() {
        "HTTP_GET" | "SSL_GET" => &["url", "connect_port"],
        "MISC_CHECK" => &["misc_path", "misc_timeout"],
        _ => &["connect_port"],
    };
    for line in check.body.iter().filter(|l| rest(l, read)) {
        keywords::remark(line, CHECK, read, remarks);
    }
    remark_on_pages(check, remarks);
}

fn remark_on_pages(check: &Entry, remarks: &mut Problems) {
    if check.keyword() == "SSL_GET" {
        let message = "a page over TLS is not fetched: the check only connects";
        let help = "to fetch it: check NAME exec /usr/bin/curl -fsS URL";
        return remarks.note(&check.place(), message, help);
    }
    if check.keyword() != "HTTP_GET" {
        return;
    }
    let mut pages = check.body.iter().filter(|l| l.keyword() == "url");
    let first = pages.next();
    for line in first.into_iter().flat_map(|url| &url.body) {
        match line.keyword() {
            "path" => {}
            "status_code" if first.is_some_and(|url| status_of(url).is_some()) => {}
            "status_code" => {
                let message = "several status codes, or a range, cannot be asked for";
                remarks.warning(&line.place(), message, "any of 2xx and 3xx passes here");
            }
            _ => keywords::remark(line, URL, &["path", "status_code"], remarks),
        }
    }
    for page in pages {
        let message = "only the first page is fetched, and this one is left out";
        let help = "write a line `check NAME http URL` for it in ha.cf";
        remarks.warning(&page.place(), message, help);
    }
}

fn value_of<'e>(entry: &'e Entry, keyword: &str) -> Option<&'e Word> {
    let mut lines = entry.body.iter();
    lines
        .find(|line| line.keyword() == keyword)
        .and_then(Entry::value)
}
