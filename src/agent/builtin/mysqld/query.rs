//! Asks a server something, with the database's own client over its socket. No crate for the protocol: it would make the
//! daemon twice as large, and know fewer ways to log in.
//!
//! The login is what root's own `mariadb` or `mysql` would use, or what the file `mysqld.cnf` beside ha.cf says. No
//! password ever stands on a command line.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout_at;

use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};

/// What any server can answer.
pub const ANYTHING: &str = "SELECT 1";
/// The client, by both of its names.
pub const CLIENTS: [&str; 2] = ["mariadb", "mysql"];
/// Errors that a server has while it ends: it will not answer any more.
const ENDING: [u32; 4] = [1053, 1077, 1078, 1079];
/// Errors that come from the client itself: no server said anything.
const OF_THE_CLIENT: std::ops::Range<u32> = 2000..3000;
/// All connections are in use.
const OUT_OF_CONNECTIONS: [u32; 3] = [1040, 1203, 1226];

/// What clients of MariaDB 11 and late 10.11 say of an error that came before TLS was agreed on.
const UNVERIFIED: &str = "authenticity of the following error cannot be verified: ";

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What it answered: a line of names, then the rows, all with tabs; nothing where there is no row.
    Rows(String),
    /// An error of a server that is alive all the same.
    Alive(String),
    /// The same: it has no connection left for us.
    Full(String),
    /// None; in the client's words.
    None(String),
}

/// Who is behind a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// A process; its number, where it can be told.
    Process(Option<i32>),
    /// Nobody: the file was left over.
    Left,
    /// There is no such file.
    Absent,
}

/// Looks who listens, without saying a word.
pub async fn listener(socket: &Path, limits: &Limits) -> Listener {
    match timeout_at(limits.until, UnixStream::connect(socket)).await {
        Ok(Ok(stream)) => {
            let pid = stream.peer_cred().ok().and_then(|c| c.pid());
            Listener::Process(pid.filter(|pid| *pid > 0))
        }
        Ok(Err(e)) if e.kind() == io::ErrorKind::NotFound => Listener::Absent,
        Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused => Listener::Left,
        // Its queue is full, or it is no socket at all: not ours to remove.
        Ok(Err(_)) | Err(_) => Listener::Process(None),
    }
}

/// Asks one thing. An error means that no client could be run, or that it got no word in its time.
pub async fn ask(
    socket: &Path,
    login: Option<&Path>,
    question: &str,
    limits: &Limits,
) -> Result<Answer, AgentError> {
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
            // With TLS the client keeps the server's early errors to itself; a socket needs none.
            "--loose-skip-ssl",
        ]
        .map(str::to_owned),
    );
    words.push(format!("--socket={}", socket.display()));
    words.push(format!(
        "--connect-timeout={}",
        left.max(Duration::from_secs(1)).as_secs()
    ));
    words.push(format!("--execute={question}"));
    let done = system_tool::run(&client, &words, limits).await?;
    if done.code == Some(0) {
        return Ok(Answer::Rows(done.output));
    }
    Ok(judge(&done.said))
}

/// What is said where there is no client.
pub fn no_client() -> String {
    "no database client is installed (neither mariadb nor mysql), and without it the server cannot be asked; apt install mariadb-client".to_owned()
}

/// What a client that failed tells of the server.
fn judge(said: &str) -> Answer {
    // The client's own number, or the server's that it wraps into a warning.
    let after = |mark| said.split(mark).nth(1).and_then(leading_number);
    match after(UNVERIFIED).or_else(|| after("ERROR ")) {
        Some(n) if OUT_OF_CONNECTIONS.contains(&n) => Answer::Full(format!(
            "it is out of connections ({said}); raise max_connections"
        )),
        Some(n) if n >= 1000 && !OF_THE_CLIENT.contains(&n) && !ENDING.contains(&n) => {
            Answer::Alive(format!(
                "it refuses our question ({said}); write a login into mysqld.cnf beside ha.cf, see haresources(5)"
            ))
        }
        _ => Answer::None(said.to_owned()),
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
        let alive = |said: &str| matches!(judge(said), Answer::Alive(_) | Answer::Full(_));
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
            assert_eq!(judge(said), Answer::None(said.to_owned()));
        }
    }

    #[tokio::test]
    async fn a_socket_that_was_left_over_is_told_from_one_that_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let limits = Limits::within(Duration::from_secs(60), &crate::agent::Abort::new());
        assert_eq!(listener(&path, &limits).await, Listener::Absent);
        let served = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(listener(&path, &limits).await, Listener::Process(Some(own)));
        drop(served);
        assert_eq!(listener(&path, &limits).await, Listener::Left);
    }
}
