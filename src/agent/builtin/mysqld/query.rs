//! Runs one statement with the database's own client over the server's socket. A crate for the protocol would double the size of
//! the daemon and support fewer ways to log in.
//!
//! The login is that of root's own client, or that of the file `mysqld.cnf` beside ha.cf. No password is on a command line.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout_at;

use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};

/// A statement that any server can answer.
pub const SIMPLEST_QUERY: &str = "SELECT 1";
/// Both names of the client.
pub const CLIENTS: [&str; 2] = ["mariadb", "mysql"];
/// Errors of a server that shuts down.
const SHUTDOWN_ERRORS: [u32; 4] = [1053, 1077, 1078, 1079];
/// Errors of the client itself: no server answered.
const CLIENT_ERRORS: std::ops::Range<u32> = 2000..3000;
/// Errors when all connections are in use.
const OUT_OF_CONNECTIONS: [u32; 3] = [1040, 1203, 1226];

/// The clients of MariaDB 11 and late 10.11 put this before an error that came before the TLS handshake.
const UNVERIFIED_PREFIX: &str = "authenticity of the following error cannot be verified: ";

/// The answer of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryAnswer {
    /// A line with the names of the columns, then the rows, separated by tabs. Empty if there is no row.
    Rows(String),
    /// An error, but the server runs.
    Alive(String),
    /// The server runs, but all its connections are in use.
    Full(String),
    /// No answer; the text is the client's error.
    None(String),
}

/// The state of a server's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketState {
    /// A process serves it; its pid, if it is known.
    Served(Option<i32>),
    /// No process serves it.
    Stale,
    /// The file does not exist.
    Absent,
}

/// Finds out who serves a socket, without sending anything.
pub async fn find_listener(socket: &Path, limits: &Limits) -> SocketState {
    match timeout_at(limits.until, UnixStream::connect(socket)).await {
        Ok(Ok(stream)) => {
            let pid = stream.peer_cred().ok().and_then(|c| c.pid());
            SocketState::Served(pid.filter(|pid| *pid > 0))
        }
        Ok(Err(e)) if e.kind() == io::ErrorKind::NotFound => SocketState::Absent,
        Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused => SocketState::Stale,
        // Its queue is full, or it is not a socket: it must not be removed.
        Ok(Err(_)) | Err(_) => SocketState::Served(None),
    }
}

/// Runs one statement. An error means that the client could not be run, or timed out.
pub async fn run_query(
    socket: &Path,
    login: Option<&Path>,
    statement: &str,
    limits: &Limits,
) -> Result<QueryAnswer, AgentError> {
    let client = system_tool::find(&CLIENTS).ok_or_else(|| AgentError::Failed(no_client()))?;
    let left = limits
        .until
        .saturating_duration_since(tokio::time::Instant::now());
    let mut words: Vec<String> = Vec::new();
    if let Some(path) = login {
        words.push(format!("--defaults-extra-file={}", path.display()));
    }
    words.extend(
        [
            "--no-auto-rehash",
            "--batch",
            "--host=localhost",
            "--protocol=socket",
            // With TLS the client hides early errors of the server. A socket does not need TLS.
            "--loose-skip-ssl",
        ]
        .map(str::to_owned),
    );
    words.push(format!("--socket={}", socket.display()));
    words.push(format!(
        "--connect-timeout={}",
        left.max(Duration::from_secs(1)).as_secs()
    ));
    words.push(format!("--execute={statement}"));
    let done = system_tool::run(&client, &words, limits).await?;
    if done.code == Some(0) {
        return Ok(QueryAnswer::Rows(done.output));
    }
    Ok(classify_error(&done.message))
}

/// The message if no client is installed.
pub fn no_client() -> String {
    "no database client is installed (neither mariadb nor mysql); the server cannot be monitored without it; apt install mariadb-client".to_owned()
}

/// What the error message of a client tells about the server.
fn classify_error(message: &str) -> QueryAnswer {
    // The number of the error, or the one that the client wraps into a warning.
    let after = |mark| message.split(mark).nth(1).and_then(leading_number);
    match after(UNVERIFIED_PREFIX).or_else(|| after("ERROR ")) {
        Some(n) if OUT_OF_CONNECTIONS.contains(&n) => QueryAnswer::Full(format!(
            "all its connections are in use ({message}); raise max_connections"
        )),
        Some(n) if n >= 1000 && !CLIENT_ERRORS.contains(&n) && !SHUTDOWN_ERRORS.contains(&n) => {
            QueryAnswer::Alive(format!(
                "it refuses queries ({message}); write a login into mysqld.cnf beside ha.cf, see haresources(5)"
            ))
        }
        _ => QueryAnswer::None(message.to_owned()),
    }
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_with_an_error_is_alive_and_who_does_not_answer_is_not() {
        let alive = |said: &str| {
            matches!(
                classify_error(said),
                QueryAnswer::Alive(_) | QueryAnswer::Full(_)
            )
        };
        for said in [
            "ERROR 1040 (HY000): Too many connections",
            "ERROR 1040 (08004): Too many connections",
            "ERROR 2002 (HY000): Received error packet before completion of TLS handshake. The authenticity of the following error cannot be verified: 1040 - Too many connections",
            "ERROR 1203 (42000): User root already has more than 'max_user_connections'",
            "ERROR 1045 (28000): Access denied for user 'root'@'localhost' (using password: NO)",
            "ERROR 1698 (28000): Access denied for user 'root'@'localhost'",
            "ERROR 3118 (HY000): Access denied for user 'root'@'localhost'. Account is locked.",
        ] {
            assert!(alive(said), "{said}");
        }
        for said in [
            "ERROR 2002 (HY000): Can't connect to local server through socket '/x' (2)",
            "ERROR 2013 (HY000): Lost connection to server at 'reading initial communication packet'",
            "ERROR 1053 (08S01): Server shutdown in progress",
            "mariadb: unknown variable 'x=1'",
            "ERROR",
            "",
        ] {
            assert!(!alive(said), "{said}");
            assert_eq!(classify_error(said), QueryAnswer::None(said.to_owned()));
        }
    }

    #[tokio::test]
    async fn a_socket_that_was_left_over_is_told_from_one_that_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let limits = Limits::within(Duration::from_secs(60), &crate::agent::Abort::new());
        assert_eq!(find_listener(&path, &limits).await, SocketState::Absent);
        let served = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(
            find_listener(&path, &limits).await,
            SocketState::Served(Some(own))
        );
        drop(served);
        assert_eq!(find_listener(&path, &limits).await, SocketState::Stale);
    }
}
