//! Starts a server: clears away what an earlier one left, gives it a session of its own, and has its output in its error log.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;
use std::process::Stdio;

use nix::unistd::User;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::error_log::ErrorLog;
use super::query::{self, Listener};
use super::server;
use super::settings::Settings;
use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};
use crate::sys::pidfd::PidFd;

/// A server that was started just now.
pub struct Launched {
    /// Must be kept and asked, or nobody takes note of its end.
    pub child: Child,
    /// The same process.
    pub process: PidFd,
}

/// Starts it. No server is on its data directory; the caller has looked. The log, where it says what goes wrong, is mostly on the
/// mount of its data: it must not be kept open once the server is up, or the mount cannot be undone.
pub async fn launch(
    settings: &Settings,
    limits: &Limits,
) -> Result<(Launched, ErrorLog), AgentError> {
    datadir_is_one(&settings.datadir)?;
    free_socket(&settings.socket, limits).await?;
    socket_dir(settings)?;
    let log = ErrorLog::open(&settings.error_log, &settings.user).map_err(|e| {
        failed(format!(
            "cannot write the error log of the database server, {}: {e}",
            settings.error_log.display()
        ))
    })?;
    let output = || log.file.try_clone().map(Stdio::from);
    let start = || -> io::Result<(Child, PidFd)> {
        // setsid(1) becomes the server: same number, a session of its own, no terminal.
        let mut command = Command::new("setsid");
        command.arg(&settings.program).args(&settings.command_line);
        command
            .env_clear()
            .env("PATH", system_tool::PATH)
            .current_dir("/");
        command
            .stdin(Stdio::null())
            .stdout(output()?)
            .stderr(output()?);
        let child = command.spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        let process = PidFd::open(pid.unwrap_or_default())?;
        Ok((child, process))
    };
    let (child, process) =
        start().map_err(|e| failed(format!("cannot run {}: {e}", settings.program)))?;
    Ok((Launched { child, process }, log))
}

fn failed(text: String) -> AgentError {
    AgentError::Failed(text)
}

fn datadir_is_one(datadir: &Path) -> Result<(), AgentError> {
    let shown = datadir.display();
    if !datadir.is_dir() {
        return Err(failed(format!(
            "there is no data directory {shown}; is its file system mounted, and does a Filesystem stand before mysqld in haresources?"
        )));
    }
    if !datadir.join("mysql").is_dir() {
        return Err(failed(format!(
            "{shown} holds no database; make one with: mariadb-install-db --datadir={shown} --user=mysql (MySQL: mysqld --initialize)"
        )));
    }
    Ok(())
}

/// A socket that nobody serves is removed, with the lock that MySQL puts beside it: the number in the lock may belong to
/// another process by now, and MySQL would refuse to start.
async fn free_socket(socket: &Path, limits: &Limits) -> Result<(), AgentError> {
    let shown = socket.display();
    let mut listener = query::listener(socket, limits).await;
    // One that was killed a moment ago may have its sockets for a moment yet.
    while let Listener::Process(Some(pid)) = listener
        && server::is_ending(pid)
        && Instant::now() < limits.until
    {
        sleep(super::PAUSE).await;
        listener = query::listener(socket, limits).await;
    }
    match listener {
        Listener::Process(pid) => Err(failed(match pid {
            Some(pid) => format!(
                "the socket {shown} is served by another process, pid {pid}, which works in {}; stop that, or give this mysqld a socket of its own",
                server::place(pid)
            ),
            None => format!(
                "the socket {shown} is in use, or is no socket; give this mysqld one of its own"
            ),
        })),
        Listener::Absent => remove(&lock_of(socket)),
        Listener::Left => {
            tracing::info!("removing the socket {shown}, which an earlier server left");
            remove(socket)?;
            remove(&lock_of(socket))
        }
    }
}

fn lock_of(socket: &Path) -> std::path::PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn remove(path: &Path) -> Result<(), AgentError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(failed(format!("cannot remove {}: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

/// The folder of the socket is usually in /run, made anew at each boot by a unit that does not run here.
fn socket_dir(settings: &Settings) -> Result<(), AgentError> {
    let Some(dir) = settings.socket.parent().filter(|d| !d.exists()) else {
        return Ok(());
    };
    let make = || -> io::Result<()> {
        DirBuilder::new().mode(0o755).create(dir)?;
        match User::from_name(&settings.user)? {
            Some(user) => chown(dir, Some(user.uid.as_raw()), Some(user.gid.as_raw())),
            None => Ok(()),
        }
    };
    make().map_err(|e| {
        failed(format!(
            "cannot make the folder of the socket, {}: {e}",
            dir.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    use super::*;
    use crate::agent::Abort;

    #[tokio::test]
    async fn a_left_socket_and_its_lock_go_a_served_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s.sock");
        let limits = Limits::within(Duration::from_secs(60), &Abort::new());
        drop(UnixListener::bind(&socket).unwrap());
        fs::write(lock_of(&socket), "1\n").unwrap();
        free_socket(&socket, &limits).await.unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        let _served = UnixListener::bind(&socket).unwrap();
        let error = free_socket(&socket, &limits).await.unwrap_err().to_string();
        let own = format!("served by another process, pid {}", std::process::id());
        assert!(error.contains(&own), "{error}");
        assert!(socket.exists());
    }

    #[test]
    fn a_directory_that_holds_no_database_is_said_to() {
        let dir = tempfile::tempdir().unwrap();
        let error = datadir_is_one(dir.path()).unwrap_err().to_string();
        assert!(error.contains("holds no database"), "{error}");
        let error = datadir_is_one(&dir.path().join("x"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("is its file system mounted"), "{error}");
        fs::create_dir(dir.path().join("mysql")).unwrap();
        assert_eq!(datadir_is_one(dir.path()), Ok(()));
    }
}
