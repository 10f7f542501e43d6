//! The daemon's end of the control socket.
//!
//! The server knows nothing of clusters: it reads requests, says who may make them, hands each over a
//! bounded channel as a [`Call`] and writes the answer back. Everybody on the machine may connect, so every
//! client is held to limits: one request at a time, lines of at most 64 KiB of which 16 may be no requests, 30 s
//! for a line, 10 s to read an answer, 64 clients of whom 48 may be without the right to command (so that they
//! cannot lock root out).

mod caller;
mod session;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::net::UnixListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::api::{Answer, Refusal, Request};
pub use caller::Caller;
use session::Session;

/// Clients at a time.
const SEATS: usize = 64;
/// Of these, for clients that may only look.
const LOOKERS: usize = 48;

/// For how long a client may take over a line.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request on its way to the daemon.
#[derive(Debug)]
pub struct Call {
    /// What is wanted; never [`Request::Subscribe`], and the caller may make it.
    pub request: Request,
    /// Who wants it, for the log.
    pub caller: Caller,
    /// Where the answer goes. It is closed when the client goes away.
    pub reply: oneshot::Sender<Result<Answer, Refusal>>,
}

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another daemon has it.
    #[error("already running{}", pid.map_or_else(String::new, |p| format!(" (pid {p})")))]
    Running {
        /// That daemon, where it wrote its number down.
        pid: Option<u32>,
    },
    /// Something else lies where the socket should be.
    #[error("{} is not a socket; move it away", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// The bound socket. Its file goes when this is dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    listener: std::os::unix::net::UnixListener,
    /// A lock on the pid file decides who is the living daemon: a socket file alone may be left over,
    /// and asking a frozen daemon whether it lives could hang.
    pid_file: Flock<File>,
    patience: Duration,
}

impl Server {
    /// Takes the socket, and replaces the file of a daemon that died. The pid file lies beside it
    /// (`had.pid` for `had.sock`). The folder is made when missing.
    pub fn bind(path: &Path) -> Result<Server, BindError> {
        if let Some(folder) = path.parent()
            && !folder.exists()
        {
            fs::create_dir_all(folder)
                .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o755)))
                .map_err(io_error("make the folder", folder))?;
        }
        let pid_file = lock(&path.with_extension("pid"))?;
        remove_left_over(path)?;
        let listener = std::os::unix::net::UnixListener::bind(path)
            .map_err(io_error("bind the socket", path))?;
        // Everybody may connect; who may command is decided by the peer's credentials.
        fs::set_permissions(path, Permissions::from_mode(0o666))
            .and_then(|()| listener.set_nonblocking(true))
            .map_err(io_error("set up the socket", path))?;
        Ok(Server {
            path: path.to_owned(),
            listener,
            pid_file,
            patience: PATIENCE,
        })
    }

    /// Serves until `calls` is closed. `changes` is touched whenever the status changes, and
    /// that is what wakes subscribers.
    pub async fn serve(
        self,
        calls: mpsc::Sender<Call>,
        changes: watch::Receiver<()>,
    ) -> io::Result<()> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        let seats = Seats::new();
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let Ok(caller) = Caller::of(&stream) else { continue };
                        let session = Session::new(stream, caller, calls.clone(), changes.clone(), self.patience);
                        match seats.take(caller) {
                            Some(seat) => { sessions.spawn(session.run(seat)); }
                            None => session.turn_away(),
                        }
                    }
                    // Out of file descriptors, most likely: those who sit must leave first.
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a control client");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                },
                Some(_ended) = sessions.join_next() => {}
                () = calls.closed() => return Ok(()),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the control socket is gone already");
        }
        // The file itself stays: to remove a lock that another may just be opening would make two locks.
        if let Err(error) = self.pid_file.set_len(0) {
            tracing::debug!(%error, "cannot empty the pid file");
        }
    }
}

/// The right to be served.
struct Seats {
    all: Arc<Semaphore>,
    lookers: Arc<Semaphore>,
}

impl Seats {
    fn new() -> Self {
        Seats {
            all: Arc::new(Semaphore::new(SEATS)),
            lookers: Arc::new(Semaphore::new(LOOKERS)),
        }
    }

    fn take(&self, caller: Caller) -> Option<Seat> {
        let looker = if caller.may_command() {
            None
        } else {
            Some(Arc::clone(&self.lookers).try_acquire_owned().ok()?)
        };
        let any = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Seat {
            _any: any,
            _looker: looker,
        })
    }
}

/// Held by a session for as long as it lives.
struct Seat {
    _any: OwnedSemaphorePermit,
    _looker: Option<OwnedSemaphorePermit>,
}

fn io_error<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> BindError + 'a {
    move |source| BindError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

/// Locks the pid file and writes our number into it.
fn lock(path: &Path) -> Result<Flock<File>, BindError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path)
        .map_err(io_error("open the pid file", path))?;
    let mut locked = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(locked) => locked,
        Err((file, Errno::EWOULDBLOCK)) => {
            return Err(BindError::Running {
                pid: read_pid(&file),
            });
        }
        Err((_, errno)) => return Err(io_error("lock the pid file", path)(errno.into())),
    };
    locked
        .set_len(0)
        .and_then(|()| writeln!(locked, "{}", std::process::id()))
        .map_err(io_error("write the pid file", path))?;
    Ok(locked)
}

fn read_pid(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn remove_left_over(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            fs::remove_file(path).map_err(io_error("replace the left-over socket", path))
        }
        Ok(_) => Err(BindError::NotASocket(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("look at", path)(error)),
    }
}

#[cfg(test)]
mod tests;
