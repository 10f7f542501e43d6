//! The end of the control socket in `hactl`: blocking, one request after the other.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use super::api::{ControlAnswer, Refusal, Request, RequestLine, Response, VERSION, make_harmless};
use crate::text::duration_for_people;

/// A longer answer is an error.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// Time to connect. The queue of a frozen daemon may be full, and connecting would then block forever.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon listens.
    #[error("cannot reach had at {} ({source}); is it running?", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// This user may not connect.
    #[error("not allowed to connect to {} ({source}); try sudo", path.display())]
    NotAllowed {
        /// The socket.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// No answer in time. The request may still be carried out.
    #[error("no answer from had within {}; the request may still be carried out, see hactl status", duration_for_people(*after))]
    TimedOut {
        /// How long the client waited.
        after: Duration,
    },
    /// The daemon ended or closed the connection.
    #[error("the daemon closed the connection")]
    Closed,
    /// The daemon is of another release.
    #[error(
        "the daemon uses version {0} of the control protocol and hactl uses version {VERSION}; install both from the same release"
    )]
    Version(u32),
    /// The answer cannot be read.
    #[error("cannot read the daemon's answer: {0}")]
    Garbled(#[source] serde_json::Error),
    /// A system call failed.
    #[error("the connection to the daemon failed: {0}")]
    Io(#[source] io::Error),
    /// The daemon refused.
    #[error("{0}")]
    Refused(Refusal),
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct ControlClient {
    stream: UnixStream,
    inbox: Vec<u8>,
}

impl ControlClient {
    /// Connects to a daemon.
    pub fn connect(path: &Path) -> Result<ControlClient, ClientError> {
        let stream = connect(path).map_err(|source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::PermissionDenied => ClientError::NotAllowed { path, source },
                io::ErrorKind::WouldBlock => ClientError::TimedOut {
                    after: CONNECT_TIMEOUT,
                },
                _ => ClientError::NoDaemon { path, source },
            }
        })?;
        Ok(ControlClient {
            stream,
            inbox: Vec::new(),
        })
    }

    /// Sends a request and waits for the answer.
    pub fn ask(
        &mut self,
        request: &Request,
        within: Duration,
    ) -> Result<ControlAnswer, ClientError> {
        self.send(request)?;
        self.receive(within)
    }

    /// Sends a request; the answers to [`Request::Subscribe`] are then received one by one.
    pub fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        let line = RequestLine {
            version: VERSION,
            request: request.clone(),
        };
        let mut bytes = serde_json::to_vec(&line).map_err(ClientError::Garbled)?;
        bytes.push(b'\n');
        match self.stream.write_all(&bytes) {
            // A refused connection may be closed already; the reason can still be read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(ClientError::Io),
        }
    }

    /// Waits for the next answer.
    pub fn receive(&mut self, within: Duration) -> Result<ControlAnswer, ClientError> {
        let line = self.next_line(within)?;
        decode(&line)
    }

    fn next_line(&mut self, within: Duration) -> Result<Vec<u8>, ClientError> {
        let began = Instant::now();
        let mut searched = 0;
        loop {
            let mut fresh = self.inbox.iter().skip(searched);
            if let Some(at) = fresh.position(|byte| *byte == b'\n') {
                let rest = self.inbox.split_off(searched + at + 1);
                return Ok(std::mem::replace(&mut self.inbox, rest));
            }
            searched = self.inbox.len();
            if searched > MAX_ANSWER_BYTES {
                return Err(ClientError::Io(io::ErrorKind::InvalidData.into()));
            }
            let left = within.saturating_sub(began.elapsed());
            if left.is_zero() || !self.read_some(left)? {
                return Err(ClientError::TimedOut { after: within });
            }
        }
    }

    /// Reads what has arrived; false when nothing came in time.
    fn read_some(&mut self, within: Duration) -> Result<bool, ClientError> {
        let mut chunk = [0; 16 * 1024];
        let read = self
            .stream
            .set_read_timeout(Some(within))
            .and_then(|()| self.stream.read(&mut chunk));
        match read {
            Ok(0) => Err(ClientError::Closed),
            Ok(n) => {
                self.inbox.extend(chunk.iter().take(n));
                Ok(true)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(false),
                io::ErrorKind::Interrupted => Ok(true),
                io::ErrorKind::ConnectionReset => Err(ClientError::Closed),
                _ => Err(ClientError::Io(error)),
            },
        }
    }
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // On a Unix socket this timeout also limits the connect.
    socket.set_write_timeout(Some(CONNECT_TIMEOUT))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

fn decode(line: &[u8]) -> Result<ControlAnswer, ClientError> {
    #[derive(Deserialize)]
    struct Envelope {
        version: u32,
    }
    let mut value: Value = serde_json::from_slice(line).map_err(ClientError::Garbled)?;
    // The daemon may be an older one, or not be ours at all.
    make_harmless(&mut value);
    let envelope = Envelope::deserialize(&value).map_err(ClientError::Garbled)?;
    match Response::deserialize(value) {
        // The refusal of another release can still be read.
        Ok(Response {
            result: Err(refusal),
            ..
        }) => Err(ClientError::Refused(refusal)),
        _ if envelope.version != VERSION => Err(ClientError::Version(envelope.version)),
        Ok(Response {
            result: Ok(answer), ..
        }) => Ok(answer),
        Err(error) => Err(ClientError::Garbled(error)),
    }
}
