//! The daemon's end of the control socket.
//!
//! The server reads requests, checks who may make them, sends each as a [`ControlCall`] to the daemon and writes the answer back.
//! Everybody on the machine may connect, so every client has limits: one request at a time, lines of at most 64 KiB, at most
//! 16 lines that are no requests, 30 s to send a line, 10 s to read an answer. There are at most 64 clients. At most 48 of
//! them may be read-only, so that those cannot lock root out.

mod caller;
mod session;

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::Flock;
use nix::unistd::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::api::{ControlAnswer, Refusal, Request};
use crate::sys::lock_file::{LockError, lock_private};
pub use caller::Caller;
use session::ClientSession;

/// Clients at a time.
const MAX_CLIENTS: usize = 64;
/// Clients without the right to give commands, at a time.
const MAX_READ_ONLY_CLIENTS: usize = 48;

/// Time for a client to send a line.
const LINE_TIMEOUT: Duration = Duration::from_secs(30);

/// A request on its way to the daemon.
#[derive(Debug)]
pub struct ControlCall {
    /// The request, which the caller is allowed to make; never [`Request::Subscribe`].
    pub request: Request,
    /// Who makes it, for the log.
    pub caller: Caller,
    /// Where the answer goes; closed when the client goes away.
    pub reply: oneshot::Sender<Result<ControlAnswer, Refusal>>,
}

/// Why the socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another daemon is running.
    #[error("had is already running{}", pid.map_or_else(String::new, |p| format!(" (pid {p})")))]
    Running {
        /// Its process ID, if its pid file has it.
        pid: Option<u32>,
    },
    /// Something else has the path of the socket.
    #[error("{} exists and is not a socket; rename or remove it", .0.display())]
    NotASocket(PathBuf),
    /// Others could replace the socket, the pid file and the leases.
    #[error(
        "{} belongs to user {owner} and has mode {mode:04o}: only its owner, who runs had, may be able to write there; chown {} and chmod 755 it",
        path.display(), geteuid()
    )]
    OthersWrite {
        /// The folder.
        path: PathBuf,
        /// Its user ID.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// A system call failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// The action that failed.
        what: &'static str,
        /// On this file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

/// The bound socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct ControlServer {
    path: PathBuf,
    listener: std::os::unix::net::UnixListener,
    /// Locked by the running daemon. A socket file alone may be left over, and a request to a frozen daemon would hang.
    pid_file: Flock<File>,
    line_timeout: Duration,
}

impl ControlServer {
    /// Binds the socket and replaces the file of a daemon that died. The pid file is beside it (`had.pid` for `had.sock`). A
    /// missing folder is made.
    pub fn bind(path: &Path) -> Result<ControlServer, BindError> {
        if let Some(folder) = path.parent()
            && !folder.exists()
        {
            fs::create_dir_all(folder)
                .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o755)))
                .map_err(io_error("create the folder", folder))?;
        }
        refuse_writable_folder(path)?;
        let pid_file = lock_pid_file(path)?;
        remove_old_socket(path)?;
        let listener = std::os::unix::net::UnixListener::bind(path)
            .map_err(io_error("bind the socket", path))?;
        // Everybody may connect; the credentials of the client decide what it may do.
        fs::set_permissions(path, Permissions::from_mode(0o666))
            .and_then(|()| listener.set_nonblocking(true))
            .map_err(io_error("set up the socket", path))?;
        Ok(ControlServer {
            path: path.to_owned(),
            listener,
            pid_file,
            line_timeout: LINE_TIMEOUT,
        })
    }

    /// Serves clients until `calls` is closed. `changes` fires whenever the status changes; it wakes subscribers.
    pub async fn serve(
        self,
        calls: mpsc::Sender<ControlCall>,
        changes: watch::Receiver<()>,
    ) -> io::Result<()> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        let slots = ClientSlots::new();
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let Ok(caller) = Caller::from_stream(&stream) else { continue };
                        let session = ClientSession::new(stream, caller, calls.clone(), changes.clone(), self.line_timeout);
                        match slots.take(caller) {
                            Some(slot) => { sessions.spawn(session.run(slot)); }
                            None => session.refuse_busy(),
                        }
                    }
                    // Most likely out of file descriptors, until other clients leave.
                    Err(error) => {
                        tracing::warn!("cannot accept a connection of hactl: {error}");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                },
                Some(_ended) = sessions.join_next() => {}
                () = calls.closed() => return Ok(()),
            }
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the control socket is already removed");
        }
        // The file itself stays: another daemon may just be opening it, and would lock a removed file.
        if let Err(error) = self.pid_file.set_len(0) {
            tracing::debug!(%error, "cannot empty the pid file");
        }
    }
}

/// Limits the number of clients.
struct ClientSlots {
    all: Arc<Semaphore>,
    read_only: Arc<Semaphore>,
}

impl ClientSlots {
    fn new() -> Self {
        ClientSlots {
            all: Arc::new(Semaphore::new(MAX_CLIENTS)),
            read_only: Arc::new(Semaphore::new(MAX_READ_ONLY_CLIENTS)),
        }
    }

    fn take(&self, caller: Caller) -> Option<ClientSlot> {
        let read_only = if caller.may_command() {
            None
        } else {
            Some(Arc::clone(&self.read_only).try_acquire_owned().ok()?)
        };
        let any = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(ClientSlot {
            _any: any,
            _read_only: read_only,
        })
    }
}

/// The place of one client among the limits; its session holds it.
struct ClientSlot {
    _any: OwnedSemaphorePermit,
    _read_only: Option<OwnedSemaphorePermit>,
}

fn io_error<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> BindError + 'a {
    move |source| BindError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

/// Only we may be able to make files beside the socket.
fn refuse_writable_folder(socket: &Path) -> Result<(), BindError> {
    let folder = match socket.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let meta = fs::metadata(folder).map_err(io_error("inspect", folder))?;
    if meta.uid() == geteuid().as_raw() && meta.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(BindError::OthersWrite {
        path: folder.to_owned(),
        owner: meta.uid(),
        mode: meta.mode() & 0o7777,
    })
}

/// Locks the pid file and writes our process ID into it.
fn lock_pid_file(socket: &Path) -> Result<Flock<File>, BindError> {
    let path = &socket.with_extension("pid");
    let mut locked = match lock_private(path, || is_listened_on(socket)) {
        Ok(locked) => locked,
        Err(LockError::Held(file)) => {
            return Err(BindError::Running {
                pid: read_pid(&file),
            });
        }
        Err(LockError::Io(error)) => return Err(io_error("lock the pid file", path)(error)),
    };
    locked
        .set_len(0)
        .and_then(|()| writeln!(locked, "{}", std::process::id()))
        .map_err(io_error("write the pid file", path))?;
    Ok(locked)
}

/// Whether a daemon, running or frozen, has the socket.
fn is_listened_on(socket: &Path) -> bool {
    let connected = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)
        .and_then(|client| client.connect(&SockAddr::unix(socket)?));
    !connected.is_err_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        )
    })
}

fn read_pid(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn remove_old_socket(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            fs::remove_file(path).map_err(io_error("replace the old socket", path))
        }
        Ok(_) => Err(BindError::NotASocket(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("inspect", path)(error)),
    }
}

#[cfg(test)]
mod tests;
