//! `mysql [SOCKET] [replica [lag T]]`: a database server answers, its copying is not broken, it is less than so far behind.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::agent::builtin::mysqld::arguments::Arguments;
use crate::agent::builtin::mysqld::query::{self, Answer};
use crate::agent::builtin::mysqld::replication::{self, Copying};
use crate::agent::builtin::mysqld::{login, settings};
use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};
use crate::model::health::{MysqlProbe, Replica};
use crate::text::Mistake;

/// One server of this node.
pub(super) struct Mysql {
    probe: MysqlProbe,
    login: PathBuf,
    /// Where it answered last, where the configuration of the server says it.
    socket: Mutex<Option<PathBuf>>,
}

/// What this machine lacks for it.
pub(super) fn judge(probe: &MysqlProbe) -> Result<(), Mistake> {
    if system_tool::find(&query::CLIENTS).is_none() {
        return Err(Mistake::new(query::no_client()));
    }
    if probe.socket.is_none() && system_tool::find(&settings::SERVERS).is_none() {
        let help = "or say where a server answers: mysql /run/mysqld/mysqld.sock";
        return Err(Mistake::new(settings::not_installed()).help(help));
    }
    Ok(())
}

impl Mysql {
    /// `login` may not be there.
    pub fn new(probe: &MysqlProbe, login: PathBuf) -> Self {
        let socket = Mutex::new(None);
        let probe = probe.clone();
        Mysql {
            probe,
            login,
            socket,
        }
    }

    pub async fn look(&self, limits: &Limits) -> Result<String, String> {
        let seen = self.ask(limits).await;
        if seen.is_err() {
            // It may answer elsewhere the next time.
            self.socket.lock().await.take();
        }
        seen.map_err(|e| match e {
            AgentError::Failed(said) => said,
            AgentError::TimedOut(_) => "no answer in time".to_owned(),
        })
    }

    async fn ask(&self, limits: &Limits) -> Result<String, AgentError> {
        let socket = self.place(limits).await?;
        let login = login(&self.login)?;
        let Some(wanted) = self.probe.replica else {
            return match query::ask(&socket, login, query::ANYTHING, limits).await? {
                Answer::Rows(_) => Ok("it answers".to_owned()),
                Answer::Alive(why) | Answer::Full(why) => Ok(why),
                Answer::None(said) => Err(AgentError::Failed(said)),
            };
        };
        let copying = replication::look(&socket, login, limits).await?;
        judge_copying(copying, wanted).map_err(AgentError::Failed)
    }

    async fn place(&self, limits: &Limits) -> Result<PathBuf, AgentError> {
        if let Some(socket) = &self.probe.socket {
            return Ok(socket.clone());
        }
        let mut known = self.socket.lock().await;
        if let Some(socket) = &*known {
            return Ok(socket.clone());
        }
        let nothing = || AgentError::Failed("the server has no configuration".to_owned());
        let found = settings::discover(&Arguments::default(), limits).await?;
        let socket = found.ok_or_else(nothing)?.socket;
        Ok(known.insert(socket).clone())
    }
}

fn judge_copying(copying: Copying, wanted: Replica) -> Result<String, String> {
    match (copying, wanted) {
        (Copying::Behind(seconds), Replica::Within(most))
            if Duration::from_secs(seconds) >= most =>
        {
            Err(format!("{seconds} s behind"))
        }
        (Copying::Behind(seconds), Replica::Within(_) | Replica::Intact) => {
            Ok(format!("{seconds} s behind"))
        }
        // What is not known is endlessly far; but nothing is broken here.
        (Copying::Broken(why), _) | (Copying::Unknown(why), Replica::Within(_)) => Err(why),
        (Copying::Unknown(why), Replica::Intact) => Ok(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_too_far_behind_but_not_broken() {
        let within = |seconds| Replica::Within(Duration::from_secs(seconds));
        let behind = Copying::Behind;
        let away = || Copying::Unknown("away".to_owned());
        let broken = || Copying::Broken("torn".to_owned());
        for (copying, wanted, verdict) in [
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
            let seen = judge_copying(copying, wanted);
            let seen = seen.as_deref().map_err(String::as_str);
            assert_eq!(seen, verdict, "{wanted:?}");
        }
    }
}
