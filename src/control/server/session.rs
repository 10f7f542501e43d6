//! One control client: its requests, one at a time, and its limits.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Caller, ClientSlot, ControlCall};
use crate::control::api::{
    ControlAnswer, Refusal, RefusalCode, Request, RequestLine, Response, VERSION, make_harmless,
};

/// The longest request line of a client.
const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// Time for a client to read an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two requests of one client, so that it cannot keep the daemon busy.
const REQUEST_PAUSE: Duration = Duration::from_millis(5);
/// A client is disconnected after this many lines that are no requests.
const MAX_BAD_REQUESTS: usize = 16;
/// The shortest time between two pushes to a subscriber.
const MIN_PUSH_PERIOD: Duration = Duration::from_millis(200);
/// The longest time between two pushes, because the durations in a status grow.
const MAX_PUSH_PERIOD: Duration = Duration::from_secs(1);

type RequestResult = Result<ControlAnswer, Refusal>;

/// One connection of a client.
pub(super) struct ClientSession {
    stream: UnixStream,
    caller: Caller,
    calls: mpsc::Sender<ControlCall>,
    changes: watch::Receiver<()>,
    /// Time for the client to send a line.
    line_timeout: Duration,
    /// Bytes received that are not a whole line yet; at most [`MAX_REQUEST_BYTES`] and one read more.
    inbox: Vec<u8>,
}

/// What a client sent.
enum ClientLine {
    Line(Vec<u8>),
    TooLong,
    End,
}

impl ClientSession {
    pub(super) fn new(
        stream: UnixStream,
        caller: Caller,
        calls: mpsc::Sender<ControlCall>,
        changes: watch::Receiver<()>,
        line_timeout: Duration,
    ) -> Self {
        ClientSession {
            stream,
            caller,
            calls,
            changes,
            line_timeout,
            inbox: Vec::new(),
        }
    }

    /// Serves the client until it leaves or exceeds a limit.
    pub(super) async fn run(mut self, _seat: ClientSlot) {
        if let Err(error) = self.serve_requests().await {
            tracing::debug!(%error, uid = self.caller.uid, "a control client was dropped");
        }
    }

    /// Refuses the client because there are too many. What does not fit into the socket's buffer is not sent.
    pub(super) fn refuse_busy(self) {
        let busy = Refusal::new(
            RefusalCode::Busy,
            "too many control clients; try again shortly",
        );
        // Without tokio, which would first wait until the kernel reports the socket as writable.
        let written = self
            .stream
            .into_std()
            .and_then(|mut stream| stream.write(&encode(Err(busy))));
        if let Err(error) = written {
            tracing::debug!(%error, "a control client was refused without an answer");
        }
    }

    async fn serve_requests(&mut self) -> io::Result<()> {
        let mut bad_requests = 0;
        while bad_requests < MAX_BAD_REQUESTS {
            let line = match timeout(self.line_timeout, self.next_line()).await?? {
                ClientLine::Line(line) => line,
                ClientLine::End => return Ok(()),
                ClientLine::TooLong => {
                    let text = format!("a request is at most {MAX_REQUEST_BYTES} bytes long");
                    return self
                        .send(Err(Refusal::new(RefusalCode::BadRequest, text)))
                        .await;
                }
            };
            match self.permitted_request(&line) {
                Ok(Request::Subscribe) => return self.push_status().await,
                Ok(request) => {
                    let outcome = self.ask(request).await?;
                    self.send(outcome).await?;
                }
                Err(refusal) => {
                    let bad =
                        matches!(refusal.code, RefusalCode::BadRequest | RefusalCode::Version);
                    bad_requests += usize::from(bad);
                    self.send(Err(refusal)).await?;
                }
            }
            sleep(REQUEST_PAUSE).await;
        }
        Ok(())
    }

    /// The request in a line, when the client is allowed to make it.
    fn permitted_request(&self, line: &[u8]) -> Result<Request, Refusal> {
        let request = parse(line)?;
        if request.is_read_only() || self.caller.may_command() {
            return Ok(request);
        }
        let text = "only root and members of the group haclient may do that; try sudo";
        Err(Refusal::new(RefusalCode::Denied, text))
    }

    /// Asks the daemon. An error means that the client left meanwhile, which closes the reply channel.
    async fn ask(&self, request: Request) -> io::Result<RequestResult> {
        let (reply, answer) = oneshot::channel();
        let call = ControlCall {
            request,
            caller: self.caller,
            reply,
        };
        let asked = async {
            if self.calls.send(call).await.is_err() {
                return Err(Refusal::new(RefusalCode::Busy, "the daemon is ending"));
            }
            answer.await.unwrap_or_else(|_dropped| {
                let text = "the daemon gave no answer; see its log";
                Err(Refusal::new(RefusalCode::Failed, text))
            })
        };
        tokio::select! {
            outcome = asked => Ok(outcome),
            () = self.hung_up() => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Completes when the client has closed the connection. A client that only closed its sending side (as `echo ... | nc`
    /// does) still wants its answer, and a read cannot tell the two apart, so the socket is polled.
    async fn hung_up(&self) {
        loop {
            sleep(Duration::from_secs(1)).await;
            let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
            if nix::poll::poll(&mut fds, PollTimeout::ZERO) != Ok(0) {
                return;
            }
        }
    }

    /// Sends the status again and again, until the client is gone or the daemon ends.
    async fn push_status(&mut self) -> io::Result<()> {
        loop {
            let began = Instant::now();
            let outcome = self.ask(Request::Status).await?;
            let refused = outcome.is_err();
            self.send(outcome).await?;
            if refused {
                return Ok(());
            }
            tokio::select! {
                changed = self.changes.changed() => if changed.is_err() {
                    return Ok(());
                },
                () = sleep_until(began + MAX_PUSH_PERIOD) => {}
            }
            sleep_until(began + MIN_PUSH_PERIOD).await;
        }
    }

    async fn next_line(&mut self) -> io::Result<ClientLine> {
        let mut searched = 0;
        loop {
            let fresh = self.inbox.iter().skip(searched);
            if let Some(at) = fresh.copied().position(|byte| byte == b'\n') {
                let rest = self.inbox.split_off(searched + at + 1);
                return Ok(ClientLine::Line(std::mem::replace(&mut self.inbox, rest)));
            }
            searched = self.inbox.len();
            if searched >= MAX_REQUEST_BYTES {
                return Ok(ClientLine::TooLong);
            }
            if self.read_some().await? == 0 {
                let last = std::mem::take(&mut self.inbox);
                return Ok(if last.is_empty() {
                    ClientLine::End
                } else {
                    ClientLine::Line(last)
                });
            }
        }
    }

    async fn read_some(&mut self) -> io::Result<usize> {
        loop {
            self.stream.readable().await?;
            let mut chunk = [0; 4096];
            match self.stream.try_read(&mut chunk) {
                Ok(n) => {
                    self.inbox.extend(chunk.iter().take(n));
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn send(&self, outcome: RequestResult) -> io::Result<()> {
        let bytes = encode(outcome);
        timeout(READ_TIMEOUT, self.write_all(&bytes)).await?
    }

    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(bytes) {
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Parses a request. The version is checked first, because another version may have other requests.
fn parse(line: &[u8]) -> Result<Request, Refusal> {
    #[derive(Deserialize)]
    struct Envelope {
        version: u32,
    }
    let bad_request = |error: serde_json::Error| {
        Refusal::new(
            RefusalCode::BadRequest,
            format!("cannot read the request: {error}"),
        )
    };
    let envelope: Envelope = serde_json::from_slice(line).map_err(bad_request)?;
    if envelope.version != VERSION {
        let text = format!(
            "hactl uses version {} of the control protocol and the daemon uses version {VERSION}; install both from the same release",
            envelope.version
        );
        return Err(Refusal::new(RefusalCode::Version, text));
    }
    let line: RequestLine = serde_json::from_slice(line).map_err(bad_request)?;
    Ok(match line.request {
        Request::History { limit } => Request::History {
            limit: limit.min(crate::control::api::HISTORY_MAX),
        },
        request => request,
    })
}

/// Encodes a response as a line. Any user may read it.
fn encode(result: RequestResult) -> Vec<u8> {
    let response = Response {
        version: VERSION,
        result,
    };
    let mut value = serde_json::to_value(&response).unwrap_or_default();
    make_harmless(&mut value);
    let mut line = serde_json::to_vec(&value).unwrap_or_default();
    line.push(b'\n');
    line
}
