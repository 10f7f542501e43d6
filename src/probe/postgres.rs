//! `postgres [SOCKET] [replica [lag T]]`: a server of PostgreSQL answers; as a replica it replicates, and lags less than T.
//!
//! It is asked by its own client `psql`, as `mysql` is by its own. The login is that of `postgres.conf` beside ha.cf, else
//! that of the account to which the socket belongs, which usually needs no password.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use tokio::process::Command;

use super::lag::LastLag;
use super::mysql::judge_replication;
use crate::agent::builtin::mysqld::login_file;
use crate::agent::builtin::mysqld::replication::Replication;
use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};
use crate::model::health::DatabaseWishes;
use crate::text::Mistake;

/// The file with the login, beside ha.cf: a connection service file of libpq with the section `[had]`.
pub(super) const LOGIN: &str = "postgres.conf";
/// The socket of Debian and of rpm distributions.
const USUAL_SOCKET: &str = "/run/postgresql/.s.PGSQL.5432";
/// What the name of a socket begins with; the port follows.
const SOCKET_NAME: &str = ".s.PGSQL.";
const CLIENT: &str = "psql";
const READY: &str = "pg_isready";
/// One row: a replica or not, whether it is paused, whether it has asked nobody for changes, whether changes arrive, whether all
/// that the other server has is applied, and how long ago the last applied change was made there, in seconds.
const QUERY: &str = "SELECT pg_is_in_recovery(), \
    CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END, \
    (SELECT setting = '' FROM pg_settings WHERE name = 'primary_conninfo'), \
    EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'), \
    pg_last_wal_replay_lsn() >= greatest(pg_last_wal_receive_lsn(), (SELECT latest_end_lsn FROM pg_stat_wal_receiver)), \
    ceil(greatest(0, extract(epoch FROM now() - pg_last_xact_replay_timestamp())))::bigint";

/// A server of this node.
pub(super) struct PostgresProbe {
    wishes: DatabaseWishes,
    socket: PathBuf,
    login: PathBuf,
    pub(super) lag: LastLag,
}

/// Checks that the programs that it needs are installed.
pub(super) fn validate() -> Result<(), Mistake> {
    let missing = [CLIENT, READY]
        .into_iter()
        .find(|p| system_tool::find(&[p]).is_none());
    missing.map_or(Ok(()), |name| Err(Mistake::new(not_installed(name))))
}

fn not_installed(name: &str) -> String {
    format!(
        "{name} is not installed; PostgreSQL cannot be asked without it; apt install postgresql-client"
    )
}

impl PostgresProbe {
    /// `login` need not exist.
    pub fn new(wishes: &DatabaseWishes, login: PathBuf) -> Self {
        let socket = wishes.socket.clone();
        PostgresProbe {
            wishes: wishes.clone(),
            socket: socket.unwrap_or_else(|| USUAL_SOCKET.into()),
            login,
            lag: LastLag::default(),
        }
    }

    pub async fn run(&self, limits: &Limits) -> Result<String, String> {
        self.lag.set(None);
        self.query(limits).await.map_err(|e| match e {
            AgentError::Failed(text) | AgentError::NotExecuted(text) => text,
            AgentError::TimedOut(_) => super::NO_ANSWER.to_owned(),
        })
    }

    async fn query(&self, limits: &Limits) -> Result<String, AgentError> {
        let (folder, port) = self.place()?;
        let query = match self.wishes.replica {
            None => "SELECT 1",
            Some(_) => QUERY,
        };
        let client = self.client(&folder, &port, query)?;
        let done = system_tool::run_command(client, CLIENT, limits).await?;
        if done.code != Some(0) {
            return self
                .judge_refusal(&folder, &port, done.message, limits)
                .await;
        }
        match self.wishes.replica {
            None => Ok("it answers".to_owned()),
            Some(wanted) => {
                let found = read_row(done.output.trim_end());
                self.lag.set(Some(&found));
                judge_replication(found, wanted).map_err(AgentError::Failed)
            }
        }
    }

    /// The folder and the port that the path of the socket stands for.
    fn place(&self) -> Result<(String, String), AgentError> {
        let name = self.socket.file_name().and_then(|n| n.to_str());
        let port = name.and_then(|n| n.strip_prefix(SOCKET_NAME));
        let folder = self.socket.parent().and_then(Path::to_str);
        match (folder, port) {
            (Some(folder), Some(port)) => Ok((folder.to_owned(), port.to_owned())),
            _ => Err(AgentError::Failed(format!(
                "{} is no socket of PostgreSQL, whose name is {SOCKET_NAME} and the port",
                self.socket.display()
            ))),
        }
    }

    /// The client, logged in as said above.
    fn client(&self, folder: &str, port: &str, query: &str) -> Result<Command, AgentError> {
        let program = system_tool::find(&[CLIENT])
            .ok_or_else(|| AgentError::Failed(not_installed(CLIENT)))?;
        let login = login_file(&self.login)?;
        let mut place = format!("dbname=postgres host='{folder}' port='{port}'");
        if login.is_some() {
            place += " service=had";
        }
        let args = ["-X", "-q", "-A", "-t", "-w", "-d", &place, "-c", query];
        let mut command = system_tool::command(&program, &args);
        if let Some(file) = login {
            command.env("PGSERVICEFILE", file);
        } else if Uid::effective().is_root()
            && let Ok(meta) = fs::symlink_metadata(&self.socket)
            && let Ok(Some(owner)) = User::from_uid(Uid::from_raw(meta.uid()))
        {
            command.env("PGUSER", owner.name);
            command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw());
        }
        Ok(command)
    }

    /// Whether a server that refuses a query runs. It knows better than its messages, which may be in any language.
    async fn judge_refusal(
        &self,
        folder: &str,
        port: &str,
        message: String,
        limits: &Limits,
    ) -> Result<String, AgentError> {
        let program =
            system_tool::find(&[READY]).ok_or_else(|| AgentError::Failed(not_installed(READY)))?;
        let done = system_tool::run(&program, &["-q", "-h", folder, "-p", port], limits).await?;
        if done.code == Some(0) && self.wishes.replica.is_none() {
            return Ok(format!("it refuses queries ({message})"));
        }
        Err(AgentError::Failed(message))
    }
}

/// Reads the row of [`QUERY`].
fn read_row(row: &str) -> Replication {
    let fields: Vec<&str> = row.split('|').collect();
    let [replica, paused, asks_nobody, arrives, applied, behind] = fields.as_slice() else {
        return Replication::Unknown("its answer about replication cannot be read".to_owned());
    };
    if *replica != "t" {
        return Replication::Broken("it is not a replica".to_owned());
    }
    if *paused == "t" {
        return Replication::Broken("changes are not applied: the replay is paused".to_owned());
    }
    if *arrives != "t" {
        return if *asks_nobody == "t" {
            Replication::Broken("no changes arrive: primary_conninfo is empty".to_owned())
        } else {
            Replication::Unknown("no changes arrive from the other server".to_owned())
        };
    }
    match (*applied, behind.parse()) {
        ("t", _) => Replication::Behind(0),
        (_, Ok(seconds)) => Replication::Behind(seconds),
        (_, Err(_)) => Replication::Unknown("its lag is not known".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_away_is_told_from_what_is_broken() {
        let broken = |text: &str| Replication::Broken(text.to_owned());
        let unknown = |text: &str| Replication::Unknown(text.to_owned());
        for (row, wanted) in [
            ("t|f|f|t|t|3600", Replication::Behind(0)),
            ("t|f||t|t|", Replication::Behind(0)),
            ("t|f|f|t|f|7", Replication::Behind(7)),
            ("t|f|f|t|f|", unknown("its lag is not known")),
            ("f||t|f||", broken("it is not a replica")),
            (
                "t|t|f|t|f|7",
                broken("changes are not applied: the replay is paused"),
            ),
            (
                "t|f|t|f|t|7",
                broken("no changes arrive: primary_conninfo is empty"),
            ),
            (
                "t|f|f|f|t|7",
                unknown("no changes arrive from the other server"),
            ),
            ("", unknown("its answer about replication cannot be read")),
        ] {
            assert_eq!(read_row(row), wanted, "{row}");
        }
    }
}
