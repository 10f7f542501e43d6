//! Starts a server: removes what an earlier one left behind, gives it its own session, and sends its output to its error log.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;
use std::process::Stdio;

use nix::unistd::User;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::error_log::ErrorLog;
use super::query::{self, SocketState};
use super::server;
use super::settings::ServerSettings;
use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};
use crate::sys::oom;
use crate::sys::pidfd::PidFd;

/// A server that was just started.
pub struct LaunchedServer {
    /// Must be kept and polled: that reaps the process after its end.
    pub child: Child,
    /// A handle of the same process.
    pub process: PidFd,
}

/// Starts a server. The caller has checked that none runs on its data directory. The error log that is returned is often on the
/// mount of the data: it must be closed once the server is up, or the mount cannot be unmounted.
pub async fn launch_server(
    settings: &ServerSettings,
    limits: &Limits,
) -> Result<(LaunchedServer, ErrorLog), AgentError> {
    check_datadir(&settings.datadir)?;
    free_socket(&settings.socket, limits).await?;
    create_socket_dir(settings)?;
    let log = ErrorLog::open(&settings.error_log, &settings.user).map_err(|e| {
        failed(format!(
            "cannot write the error log of the database server, {}: {e}",
            settings.error_log.display()
        ))
    })?;
    let output = || log.file.try_clone().map(Stdio::from);
    let start = || -> io::Result<(Child, PidFd)> {
        // setsid(1) becomes the server: same pid, its own session, no terminal.
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
        oom::unspare_child(&mut command);
        let child = command.spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        let process = PidFd::open(pid.unwrap_or_default())?;
        Ok((child, process))
    };
    let (child, process) =
        start().map_err(|e| failed(format!("cannot run {}: {e}", settings.program)))?;
    Ok((LaunchedServer { child, process }, log))
}

fn failed(text: String) -> AgentError {
    AgentError::Failed(text)
}

fn check_datadir(datadir: &Path) -> Result<(), AgentError> {
    let shown = datadir.display();
    if !datadir.is_dir() {
        return Err(failed(format!(
            "there is no data directory {shown}; is its file system mounted, and is there a Filesystem before mysqld in haresources?"
        )));
    }
    if !datadir.join("mysql").is_dir() {
        return Err(failed(format!(
            "{shown} contains no database; create one with: mariadb-install-db --datadir={shown} --user=mysql (MySQL: mysqld --initialize)"
        )));
    }
    Ok(())
}

/// Removes a socket that nobody serves, together with MySQL's lock file: the pid in the lock may belong to another process by
/// now, and then MySQL would refuse to start.
async fn free_socket(socket: &Path, limits: &Limits) -> Result<(), AgentError> {
    let shown = socket.display();
    let mut listener = query::find_listener(socket, limits).await;
    // A server that was just killed may keep its sockets for a moment.
    while let SocketState::Served(Some(pid)) = listener
        && server::is_ending(pid)
        && Instant::now() < limits.until
    {
        sleep(super::PAUSE).await;
        listener = query::find_listener(socket, limits).await;
    }
    match listener {
        SocketState::Served(pid) => Err(failed(match pid {
            Some(pid) => format!(
                "the socket {shown} is in use by another process, pid {pid} in {}; stop it, or give this mysqld another socket",
                server::working_dir(pid)
            ),
            None => {
                format!("{shown} is in use or is not a socket; give this mysqld another socket")
            }
        })),
        SocketState::Absent => remove(&lock_of(socket)),
        SocketState::Stale => {
            tracing::info!("removing the socket {shown} that an earlier server left behind");
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

/// Creates the folder of the socket. It is usually in /run, where at boot only the server's systemd unit would create it.
fn create_socket_dir(settings: &ServerSettings) -> Result<(), AgentError> {
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
            "cannot create the folder of the socket, {}: {e}",
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
    async fn a_stale_socket_and_its_lock_are_removed_and_a_served_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s.sock");
        let limits = Limits::within(Duration::from_secs(60), &Abort::new());
        drop(UnixListener::bind(&socket).unwrap());
        fs::write(lock_of(&socket), "1\n").unwrap();
        free_socket(&socket, &limits).await.unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        let _served = UnixListener::bind(&socket).unwrap();
        let error = free_socket(&socket, &limits).await.unwrap_err().to_string();
        let own = format!("in use by another process, pid {}", std::process::id());
        assert!(error.contains(&own), "{error}");
        assert!(socket.exists());
    }

    #[test]
    fn a_data_directory_without_a_database_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let error = check_datadir(dir.path()).unwrap_err().to_string();
        assert!(error.contains("contains no database"), "{error}");
        let error = check_datadir(&dir.path().join("x"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("is its file system mounted"), "{error}");
        fs::create_dir(dir.path().join("mysql")).unwrap();
        assert_eq!(check_datadir(dir.path()), Ok(()));
    }
}
