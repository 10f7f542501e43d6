//! The tool's end of the control socket: blocking, one request after the other.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use socket2::{Domain, SockAddr, Socket, Type};

use super::api::{Answer, Line, Refusal, Request, Response, VERSION};

/// An answer longer than this is not read to its end.
const LONGEST: usize = 64 * 1024 * 1024;
/// A frozen daemon's queue may be full, and then even to connect would wait for ever.
const CONNECT: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon answers at {} ({source}); is had running?", path.display())]
    NoDaemon {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// This user may not connect.
    #[error("not allowed to connect to {} ({source}); try sudo", path.display())]
    NotAllowed {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No answer in time. What was asked for may still happen.
    #[error("no answer within {after:?}; what was asked for may still happen, see hactl status")]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// The daemon ended or dropped us.
    #[error("the daemon closed the connection")]
    Closed,
    /// The daemon is of another release.
    #[error(
        "the daemon speaks version {0} of the control language, this tool version {VERSION}; install both from one release"
    )]
    Version(u32),
    /// What came is no answer.
    #[error("the daemon's answer makes no sense")]
    Garbled(#[source] serde_json::Error),
    /// The system refused.
    #[error("the connection to the daemon failed")]
    Io(#[source] io::Error),
    /// The daemon refused.
    #[error("{0}")]
    Refused(Refusal),
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    inbox: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn connect(path: &Path) -> Result<Client, ClientError> {
        let stream = connect(path).map_err(|source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::PermissionDenied => ClientError::NotAllowed { path, source },
                io::ErrorKind::WouldBlock => ClientError::TimedOut { after: CONNECT },
                _ => ClientError::NoDaemon { path, source },
            }
        })?;
        Ok(Client {
            stream,
            inbox: Vec::new(),
        })
    }

    /// Asks and waits for the answer.
    pub fn ask(&mut self, request: &Request, within: Duration) -> Result<Answer, ClientError> {
        self.send(request)?;
        self.receive(within)
    }

    /// Asks only; the answers to [`Request::Subscribe`] are then received one by one.
    pub fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        let line = Line {
            version: VERSION,
            request: request.clone(),
        };
        let mut bytes = serde_json::to_vec(&line).map_err(ClientError::Garbled)?;
        bytes.push(b'\n');
        match self.stream.write_all(&bytes) {
            // One that was turned away may be closed already and still hold the reason for us.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(ClientError::Io),
        }
    }

    /// Waits for the next answer.
    pub fn receive(&mut self, within: Duration) -> Result<Answer, ClientError> {
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
            if searched > LONGEST {
                return Err(ClientError::Io(io::ErrorKind::InvalidData.into()));
            }
            let left = within.saturating_sub(began.elapsed());
            if left.is_zero() || !self.read_some(left)? {
                return Err(ClientError::TimedOut { after: within });
            }
        }
    }

    /// Reads what there is; false when there was nothing in time.
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
    // For a Unix socket this deadline holds for the connect, too.
    socket.set_write_timeout(Some(CONNECT))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

fn decode(line: &[u8]) -> Result<Answer, ClientError> {
    #[derive(Deserialize)]
    struct Envelope {
        version: u32,
    }
    let envelope: Envelope = serde_json::from_slice(line).map_err(ClientError::Garbled)?;
    match serde_json::from_slice::<Response>(line) {
        // A daemon of another release still refuses in words that we know.
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
