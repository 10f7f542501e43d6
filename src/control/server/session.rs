//! One client: its lines, one request at a time, and the limits it is held to.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Call, Caller, Seat};
use crate::control::api::{Answer, Code, Line, Refusal, Request, Response, VERSION};

/// The longest line a client may send.
const LONGEST: usize = 64 * 1024;
/// For how long a client may leave an answer unread.
const READING: Duration = Duration::from_secs(10);
/// Rest between two requests of one client, so that a babbling one cannot keep the daemon busy.
const REST: Duration = Duration::from_millis(5);
/// A client that sent so many lines that are no requests is none of ours, and makes room.
const MISTAKES: usize = 16;
/// The least time between two pushes to a subscriber.
const PUSH_REST: Duration = Duration::from_millis(200);
/// A push comes at least this often, for the times in it grow.
const PUSH_PERIOD: Duration = Duration::from_secs(1);

type Outcome = Result<Answer, Refusal>;

/// One connection.
pub(super) struct Session {
    stream: UnixStream,
    caller: Caller,
    calls: mpsc::Sender<Call>,
    changes: watch::Receiver<()>,
    /// For how long the client may take over a line.
    patience: Duration,
    /// What came in and is not yet a whole line; at most [`LONGEST`] and one read more.
    inbox: Vec<u8>,
}

/// What the client sent next.
enum Next {
    Line(Vec<u8>),
    TooLong,
    End,
}

impl Session {
    pub(super) fn new(
        stream: UnixStream,
        caller: Caller,
        calls: mpsc::Sender<Call>,
        changes: watch::Receiver<()>,
        patience: Duration,
    ) -> Self {
        Session {
            stream,
            caller,
            calls,
            changes,
            patience,
            inbox: Vec::new(),
        }
    }

    /// Serves until the client leaves or breaks a rule.
    pub(super) async fn run(mut self, _seat: Seat) {
        if let Err(error) = self.talk().await {
            tracing::debug!(%error, uid = self.caller.uid, "a control client was dropped");
        }
    }

    /// Says that there is no seat. What does not fit the socket's buffer is not said.
    pub(super) fn turn_away(self) {
        let busy = Refusal::new(Code::Busy, "too many control clients; try again shortly");
        // Past tokio, which would first want to hear from the kernel that there is room.
        let written = self
            .stream
            .into_std()
            .and_then(|mut stream| stream.write(&encode(Err(busy))));
        if let Err(error) = written {
            tracing::debug!(%error, "a control client was turned away in silence");
        }
    }

    async fn talk(&mut self) -> io::Result<()> {
        let mut mistakes = 0;
        while mistakes < MISTAKES {
            let line = match timeout(self.patience, self.next_line()).await?? {
                Next::Line(line) => line,
                Next::End => return Ok(()),
                Next::TooLong => {
                    let text = format!("a request is at most {LONGEST} bytes long");
                    return self.send(Err(Refusal::new(Code::BadRequest, text))).await;
                }
            };
            match self.judge(&line) {
                Ok(Request::Subscribe) => return self.push().await,
                Ok(request) => {
                    let outcome = self.ask(request).await?;
                    self.send(outcome).await?;
                }
                Err(refusal) => {
                    let none = matches!(refusal.code, Code::BadRequest | Code::Version);
                    mistakes += usize::from(none);
                    self.send(Err(refusal)).await?;
                }
            }
            sleep(REST).await;
        }
        Ok(())
    }

    /// Whether the line is a request that this client may make.
    fn judge(&self, line: &[u8]) -> Result<Request, Refusal> {
        let request = parse(line)?;
        if request.only_looks() || self.caller.may_command() {
            return Ok(request);
        }
        let text = "only root and members of the group haclient may do that; try sudo";
        Err(Refusal::new(Code::Denied, text))
    }

    /// Has the daemon answer. An error means that the client left meanwhile, which closes the reply.
    async fn ask(&self, request: Request) -> io::Result<Outcome> {
        let (reply, answer) = oneshot::channel();
        let call = Call {
            request,
            caller: self.caller,
            reply,
        };
        let asked = async {
            if self.calls.send(call).await.is_err() {
                return Err(Refusal::new(Code::Busy, "the daemon is ending"));
            }
            answer.await.unwrap_or_else(|_dropped| {
                let text = "the daemon gave no answer; see its log";
                Err(Refusal::new(Code::Failed, text))
            })
        };
        tokio::select! {
            outcome = asked => Ok(outcome),
            () = self.hung_up() => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Comes back when the client has closed the connection. One that only closed its sending side
    /// (as `echo ... | nc` does) still wants its answer, so reading an end does not tell; hence the looking.
    async fn hung_up(&self) {
        loop {
            sleep(Duration::from_secs(1)).await;
            let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
            if nix::poll::poll(&mut fds, PollTimeout::ZERO) != Ok(0) {
                return;
            }
        }
    }

    /// Serves a subscriber. It ends when a push finds the client gone, or the daemon ends.
    async fn push(&mut self) -> io::Result<()> {
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
                () = sleep_until(began + PUSH_PERIOD) => {}
            }
            sleep_until(began + PUSH_REST).await;
        }
    }

    async fn next_line(&mut self) -> io::Result<Next> {
        let mut searched = 0;
        loop {
            let fresh = self.inbox.iter().skip(searched);
            if let Some(at) = fresh.copied().position(|byte| byte == b'\n') {
                let rest = self.inbox.split_off(searched + at + 1);
                return Ok(Next::Line(std::mem::replace(&mut self.inbox, rest)));
            }
            searched = self.inbox.len();
            if searched >= LONGEST {
                return Ok(Next::TooLong);
            }
            if self.read_some().await? == 0 {
                let last = std::mem::take(&mut self.inbox);
                return Ok(if last.is_empty() {
                    Next::End
                } else {
                    Next::Line(last)
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

    async fn send(&self, outcome: Outcome) -> io::Result<()> {
        let bytes = encode(outcome);
        timeout(READING, self.write_all(&bytes)).await?
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

/// A line as a request. The version is looked at before the rest: another version may know other words.
fn parse(line: &[u8]) -> Result<Request, Refusal> {
    #[derive(Deserialize)]
    struct Envelope {
        version: u32,
    }
    let garbled = |error: serde_json::Error| {
        Refusal::new(Code::BadRequest, format!("not a request: {error}"))
    };
    let envelope: Envelope = serde_json::from_slice(line).map_err(garbled)?;
    if envelope.version != VERSION {
        let text = format!(
            "the client speaks version {} of the control language, the daemon version {VERSION}; install both from one release",
            envelope.version
        );
        return Err(Refusal::new(Code::Version, text));
    }
    let line: Line = serde_json::from_slice(line).map_err(garbled)?;
    Ok(match line.request {
        Request::History { limit } => Request::History {
            limit: limit.min(crate::control::api::HISTORY_MAX),
        },
        request => request,
    })
}

/// A response as a line.
fn encode(result: Outcome) -> Vec<u8> {
    let response = Response {
        version: VERSION,
        result,
    };
    let mut line = serde_json::to_vec(&response).unwrap_or_default();
    line.push(b'\n');
    line
}
