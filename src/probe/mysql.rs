//! `mysql [SOCKET] [replica [lag T]]`: a database server answers; as a replica it replicates, and lags less than T.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Mutex;

use super::lag::LastLag;
use crate::agent::builtin::mysqld::arguments::ServerArguments;
use crate::agent::builtin::mysqld::query::{self, QueryAnswer};
use crate::agent::builtin::mysqld::replication::{self, Replication};
use crate::agent::builtin::mysqld::{login_file, settings};
use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};
use crate::model::health::{DatabaseWishes, Replica};
use crate::text::Mistake;

/// A database server of this node.
pub(super) struct DatabaseProbe {
    probe: DatabaseWishes,
    login: PathBuf,
    pub(super) lag: LastLag,
    /// The socket, if it is the one of the server's own configuration. Forgotten after an error.
    socket: Mutex<Option<PathBuf>>,
}

/// Checks that the programs that it needs are installed.
pub(super) fn validate(probe: &DatabaseWishes) -> Result<(), Mistake> {
    if system_tool::find(&query::CLIENTS).is_none() {
        return Err(Mistake::new(query::no_client()));
    }
    if probe.socket.is_none() && system_tool::find(&settings::SERVERS).is_none() {
        let help = "or name the socket of a server: mysql /run/mysqld/mysqld.sock";
        return Err(Mistake::new(settings::not_installed()).help(help));
    }
    Ok(())
}

impl DatabaseProbe {
    /// `login` need not exist.
    pub fn new(probe: &DatabaseWishes, login: PathBuf) -> Self {
        let socket = Mutex::new(None);
        let probe = probe.clone();
        DatabaseProbe {
            probe,
            login,
            lag: LastLag::default(),
            socket,
        }
    }

    pub async fn run(&self, limits: &Limits) -> Result<String, String> {
        self.lag.set(None);
        let found = self.query(limits).await;
        if found.is_err() {
            // The server may use another socket next time.
            self.socket.lock().await.take();
        }
        found.map_err(|e| match e {
            AgentError::Failed(text) | AgentError::NotExecuted(text) => text,
            AgentError::TimedOut(_) => super::NO_ANSWER.to_owned(),
        })
    }

    async fn query(&self, limits: &Limits) -> Result<String, AgentError> {
        let socket = self.find_socket(limits).await?;
        let login = login_file(&self.login)?;
        let Some(wanted) = self.probe.replica else {
            return match query::run_query(&socket, login, query::SIMPLEST_QUERY, limits).await? {
                QueryAnswer::Rows(_) => Ok("it answers".to_owned()),
                QueryAnswer::Alive(why) | QueryAnswer::Full(why) => Ok(why),
                QueryAnswer::None(text) => Err(AgentError::Failed(text)),
            };
        };
        let replication_state = replication::query_replication(&socket, login, limits).await?;
        self.lag.set(Some(&replication_state));
        judge_replication(replication_state, wanted).map_err(AgentError::Failed)
    }

    async fn find_socket(&self, limits: &Limits) -> Result<PathBuf, AgentError> {
        if let Some(socket) = &self.probe.socket {
            return Ok(socket.clone());
        }
        let mut known = self.socket.lock().await;
        if let Some(socket) = &*known {
            return Ok(socket.clone());
        }
        let nothing = || AgentError::Failed("the server has no configuration file".to_owned());
        let found = settings::discover(&ServerArguments::default(), limits).await?;
        let socket = found.ok_or_else(nothing)?.socket;
        Ok(known.insert(socket).clone())
    }
}

pub(super) fn judge_replication(
    replication_state: Replication,
    wanted: Replica,
) -> Result<String, String> {
    match (replication_state, wanted) {
        (Replication::Behind(seconds), Replica::Within(limit))
            if Duration::from_secs(seconds) >= limit =>
        {
            Err(format!("{seconds} s behind"))
        }
        (Replication::Behind(seconds), Replica::Within(_) | Replica::Intact) => {
            Ok(format!("{seconds} s behind"))
        }
        // An unknown lag counts as too long, but not as broken replication.
        (Replication::Broken(why), _) | (Replication::Unknown(why), Replica::Within(_)) => Err(why),
        (Replication::Unknown(why), Replica::Intact) => Ok(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_lag_is_too_long_but_not_broken() {
        let within = |seconds| Replica::Within(Duration::from_secs(seconds));
        let behind = Replication::Behind;
        let away = || Replication::Unknown("away".to_owned());
        let broken = || Replication::Broken("torn".to_owned());
        for (replication_state, wanted, verdict) in [
            (behind(0), within(1), Ok("0 s behind")),
            (behind(1), within(1), Err("1 s behind")),
            (behind(4), within(5), Ok("4 s behind")),
            (behind(5), within(5), Err("5 s behind")),
            (
                behind(u64::MAX),
                Replica::Intact,
                Ok("18446744073709551615 s behind"),
            ),
            (away(), within(86400), Err("away")),
            (away(), Replica::Intact, Ok("away")),
            (broken(), within(86400), Err("torn")),
            (broken(), Replica::Intact, Err("torn")),
        ] {
            let seen = judge_replication(replication_state, wanted);
            let seen = seen.as_deref().map_err(String::as_str);
            assert_eq!(seen, verdict, "{wanted:?}");
        }
    }
}
