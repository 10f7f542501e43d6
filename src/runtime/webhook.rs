//! Tells one server what happens: an HTTP request with a JSON body for each notification, signed with a secret.
//!
//! A server that does not take it is asked again with growing pauses, for a limited time. Then one line of the log says so,
//! and no other one until the server takes something again.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::agent::exec::blocking::run_blocking;
use crate::agent::{Abort, Limits};
use crate::assembly::hooks::MAX_SECRET_BYTES;
use crate::model::keys::Method;
use crate::model::webhook::Webhook;
use crate::sys::clock::wall_seconds;
use crate::sys::foreign_file::read_secret;
use crate::sys::http;
use crate::sys::tls::Trust;
use crate::text::duration_for_people;
use crate::wire::auth::digest;

/// How many requests to one server run at once. A name service that hangs must leave threads for others.
const MAX_AT_ONCE: usize = 2;
/// How many characters of a strange answer are shown.
const MAX_SHOWN_CHARS: usize = 60;

/// How long a notification is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// The pause after the first attempt; each further one is twice as long ...
    pub first_pause: Duration,
    /// ... up to this.
    pub longest_pause: Duration,
    /// No attempt begins later than this after the first one.
    pub retry_for: Duration,
}

impl Patience {
    /// Long enough for a server that is restarted, and for a takeover of its address.
    pub const USUAL: Patience = Patience {
        first_pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(30),
        retry_for: Duration::from_secs(120),
    };
}

/// Why an attempt failed.
enum Failure {
    /// Another attempt may succeed.
    Passing(String),
    /// The server understands, and refuses.
    Final(String),
}

/// What is needed for one attempt, read anew each time: the secret and the authorities may change.
struct Prepared {
    addresses: Vec<SocketAddr>,
    secret: Option<String>,
    trust: Option<Trust>,
}

/// A server, and what became of the notifications for it.
pub(super) struct WebhookSender {
    webhook: Webhook,
    patience: Patience,
    at_once: Arc<Semaphore>,
    /// How many notifications it did not take since the last that it took.
    lost: AtomicU64,
}

impl WebhookSender {
    pub fn new(webhook: Webhook, patience: Patience) -> Arc<Self> {
        Arc::new(WebhookSender {
            webhook,
            patience,
            at_once: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            lost: AtomicU64::new(0),
        })
    }

    /// Sends one notification. Once the daemon `ends`, a failed attempt is not repeated.
    pub async fn deliver(&self, body: &str, what: &str, mut ends: watch::Receiver<bool>) {
        let begun = Instant::now();
        let mut pause = self.patience.first_pause;
        let why = loop {
            let why = match self.attempt(body).await {
                Ok(()) => return self.note_success(),
                Err(Failure::Final(why)) => break why,
                Err(Failure::Passing(why)) => why,
            };
            let late = begun.elapsed() + pause > self.patience.retry_for;
            if late || *ends.borrow() {
                break why;
            }
            tokio::select! {
                () = sleep(pause) => {}
                // The daemon ends, or is gone.
                _ = ends.wait_for(|ends| *ends) => break why,
            }
            pause = (pause * 2).min(self.patience.longest_pause);
        };
        self.note_loss(what, &why, begun.elapsed());
    }

    fn note_success(&self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::info!(
                "notify: {} takes notifications again; {lost} were lost",
                self.webhook
            );
        }
    }

    fn note_loss(&self, what: &str, why: &str, tried: Duration) {
        if self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                "notify: {} was not told \"{what}\", tried for {}: {why}; further ones that it does not take are only counted",
                self.webhook,
                duration_for_people(tried)
            );
        }
    }

    /// One attempt, within the deadline.
    async fn attempt(&self, body: &str) -> Result<(), Failure> {
        let limits = Limits::within(self.webhook.timeout, &Abort::new());
        let permit = Arc::clone(&self.at_once).acquire_owned();
        let Ok(Ok(permit)) = timeout_at(limits.until, permit).await else {
            let why = "earlier attempts have not ended (does the name service answer?)";
            return Err(Failure::Passing(why.to_owned()));
        };
        let webhook = self.webhook.clone();
        // A name service and a dead disk may hang. The thread has the permit until it ends, so that not many of them hang.
        let prepare = move || (prepare(&webhook), permit);
        let prepared = run_blocking(&limits, "prepare the request", prepare).await;
        let (prepared, _permit) = prepared.map_err(|e| Failure::Passing(e.to_string()))?;
        let prepared = prepared.map_err(Failure::Passing)?;
        let sent = timeout_at(limits.until, self.send(body, &prepared, limits.until)).await;
        match sent {
            Ok(Ok(status)) => judge(status),
            Ok(Err(why)) => Err(Failure::Passing(why)),
            Err(_) => Err(Failure::Passing("no answer in time".to_owned())),
        }
    }

    /// Sends the request. Returns the status of the answer.
    async fn send(&self, body: &str, prepared: &Prepared, until: Instant) -> Result<u16, String> {
        let stream = connect(&prepared.addresses, until).await?;
        let request = self.request(body, prepared.secret.as_deref(), wall_seconds());
        match &prepared.trust {
            None => exchange(stream, &request).await,
            Some(trust) => {
                let stream = trust.connect(stream, self.webhook.name()).await?;
                exchange(stream, &request).await
            }
        }
    }

    fn request(&self, body: &str, secret: Option<&str>, now: u64) -> String {
        let Webhook {
            host, port, path, ..
        } = &self.webhook;
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: had\r\nAccept: */*\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\nHad-Timestamp: {now}\r\n",
            body.len()
        );
        if let Some(secret) = secret {
            let signed = format!("{now}.{body}");
            let digest = digest(Method::Sha256, secret.as_bytes(), signed.as_bytes());
            head += &format!("Had-Signature: sha256={digest}\r\n");
        }
        format!("{head}\r\n{body}")
    }
}

/// Reads what is needed. This may block.
fn prepare(webhook: &Webhook) -> Result<Prepared, String> {
    let secret = webhook.secret.as_ref().map(|file| {
        let text = read_secret(file, MAX_SECRET_BYTES)
            .map_err(|e| format!("cannot read {}: {e}", file.display()))?;
        let line = text.lines().next().unwrap_or_default().trim();
        Ok::<_, String>(line.to_owned())
    });
    let trust = webhook.secure.then(|| Trust::load(webhook.ca.as_deref()));
    let place = (webhook.name(), webhook.port);
    let addresses = place
        .to_socket_addrs()
        .map_err(|e| format!("the name {} is not found: {e}", webhook.name()))?;
    Ok(Prepared {
        addresses: addresses.collect(),
        secret: secret.transpose()?,
        trust: trust.transpose()?,
    })
}

/// Connects to the first of these addresses that accepts. One that is silent leaves time for the others.
async fn connect(addresses: &[SocketAddr], until: Instant) -> Result<TcpStream, String> {
    let mut why = "the name of the server has no address".to_owned();
    let left = (1..=addresses.len()).rev();
    for (address, left) in addresses.iter().zip(left) {
        let parts = u32::try_from(left).unwrap_or(u32::MAX);
        let patience = until.saturating_duration_since(Instant::now()) / parts;
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = format!("{address}: {error}"),
            Err(_late) => why = format!("{address} does not answer"),
        }
    }
    Err(why)
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    request: &str,
) -> Result<u16, String> {
    let broken = |e: std::io::Error| format!("the connection broke: {e}");
    let sent = stream.write_all(request.as_bytes()).await;
    sent.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut answer = Vec::new();
    let read = http::read_head(&mut stream, &mut answer).await;
    let whole = read.map_err(broken)?.is_some();
    let status = http::parse_status(&answer).filter(|_| whole);
    status.ok_or_else(|| match String::from_utf8_lossy(&answer).lines().next() {
        None | Some("") => "the server closed the connection without an answer".to_owned(),
        Some(line) => {
            let line: String = line.chars().take(MAX_SHOWN_CHARS).collect();
            format!("the server does not speak HTTP: {line}")
        }
    })
}

/// Redirects are not followed: the secret is meant for one server.
fn judge(status: u16) -> Result<(), Failure> {
    let why = format!("it answers with status {status}");
    match status {
        200..300 => Ok(()),
        408 | 425 | 429 | 500..600 => Err(Failure::Passing(why)),
        _ => Err(Failure::Final(why)),
    }
}

#[cfg(test)]
mod tests;
