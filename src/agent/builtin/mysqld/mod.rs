//! The built-in `mysqld`: a MariaDB or MySQL server.
//!
//! * `settings`: the settings of the server; `server`: its process, found by the data directory each time, so that a daemon
//!   that was restarted finds its server again.
//! * `launch`: starts it; `query`: runs a statement; `replication`: its lag as a replica; `shutdown`: stops it; `error_log`: why
//!   it did not start.
//! * `validate`: the checks of `hactl check`.

pub mod arguments;
mod error_log;
mod launch;
pub(crate) mod query;
pub(crate) mod replication;
mod server;
pub(crate) mod settings;
mod shutdown;
pub mod validate;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use self::arguments::ServerArguments;
use self::error_log::ErrorLog;
use self::launch::LaunchedServer;
use self::query::QueryAnswer;
use self::server::DatabaseServer;
use self::settings::ServerSettings;
use crate::agent::{Agent, AgentError, Limits, Status};

/// The file beside ha.cf with the login for queries.
pub(crate) const LOGIN: &str = "mysqld.cnf";
/// The pause between queries to a server that does not answer yet.
const PAUSE: Duration = Duration::from_millis(100);
/// The deadline of one query during a start.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// One database server.
pub struct Mysqld {
    args: ServerArguments,
    /// The file with the client's login.
    login: PathBuf,
    state: Mutex<ServerState>,
    /// Whether the log already says that it answers with an error.
    error_logged: AtomicBool,
}

#[derive(Default)]
struct ServerState {
    /// As found at the last start. The configuration may have been edited since.
    settings: Option<ServerSettings>,
    /// The server that this daemon started, while it runs.
    launched: Option<LaunchedServer>,
}

impl Mysqld {
    /// The server; nothing is changed yet. `login` need not exist.
    pub fn new(args: ServerArguments, login: PathBuf) -> Self {
        Mysqld {
            args,
            login,
            state: Mutex::default(),
            error_logged: AtomicBool::new(false),
        }
    }

    async fn settings(
        &self,
        state: &ServerState,
        limits: &Limits,
    ) -> Result<Option<ServerSettings>, AgentError> {
        match &state.settings {
            Some(known) => Ok(Some(known.clone())),
            None => settings::discover(&self.args, limits).await,
        }
    }

    /// Whether the server answers. An error of the server itself is an answer too, and logged once.
    async fn query_server(
        &self,
        settings: &ServerSettings,
        limits: &Limits,
    ) -> Result<QueryAnswer, AgentError> {
        let login = login_file(&self.login)?;
        let answer =
            query::run_query(&settings.socket, login, query::SIMPLEST_QUERY, limits).await?;
        let bad = match &answer {
            QueryAnswer::Alive(why) | QueryAnswer::Full(why) => {
                if !self.error_logged.load(Ordering::Relaxed) {
                    tracing::warn!(
                        "the database server on {} runs, but {why}",
                        settings.datadir.display()
                    );
                }
                true
            }
            QueryAnswer::Rows(_) | QueryAnswer::None(_) => false,
        };
        self.error_logged.store(bad, Ordering::Relaxed);
        Ok(answer)
    }

    /// Waits until the server answers or ends.
    async fn wait_for_answer(
        &self,
        settings: &ServerSettings,
        mut launched: Option<(&mut LaunchedServer, ErrorLog)>,
        limits: &Limits,
    ) -> Result<(), AgentError> {
        loop {
            if let Some((launched, log)) = &mut launched
                && let Ok(Some(status)) = launched.child.try_wait()
            {
                return Err(AgentError::Failed(format!(
                    "{} ended during its start ({status}); {}: {}",
                    settings.program,
                    settings.error_log.display(),
                    log.tail()
                )));
            }
            let last = match self
                .query_server(settings, &limits.at_most(QUERY_TIMEOUT))
                .await
            {
                Ok(QueryAnswer::Rows(_) | QueryAnswer::Alive(_) | QueryAnswer::Full(_)) => {
                    return Ok(());
                }
                Ok(QueryAnswer::None(text)) | Err(AgentError::TimedOut(text)) => text,
                Err(other) => return Err(other),
            };
            if Instant::now() + PAUSE >= limits.until {
                let tail = launched.map(|(_, mut log)| log.tail()).unwrap_or_default();
                return Err(AgentError::TimedOut(format!(
                    "the database server on {} runs but does not answer on {} (a long recovery needs a longer start timeout in ha.cf); last error: {last}; {}: {tail}",
                    settings.datadir.display(),
                    settings.socket.display(),
                    settings.error_log.display(),
                )));
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = limits.abort.aborted() => {
                    return Err(AgentError::Failed("the start of the database server was aborted".to_owned()));
                }
            }
        }
    }
}

#[async_trait]
impl Agent for Mysqld {
    async fn start(&self, limits: &Limits) -> Result<(), AgentError> {
        let mut state = self.state.lock().await;
        let found = settings::discover(&self.args, limits).await?;
        let Some(settings) = found else {
            let path = self.args.defaults.clone().unwrap_or_default();
            return Err(AgentError::Failed(format!(
                "there is no defaults file {}; is its file system mounted?",
                path.display()
            )));
        };
        let servers = server::find_servers(&settings.datadir, limits).await?;
        if let Some(server) = servers.first() {
            log_adoption(server, &settings);
            state.settings = Some(settings.clone());
            return self.wait_for_answer(&settings, None, limits).await;
        }
        state.launched = None;
        state.settings = Some(settings.clone());
        let (launched, log) = launch::launch_server(&settings, limits).await?;
        let launched = state.launched.insert(launched);
        self.wait_for_answer(&settings, Some((launched, log)), limits)
            .await
    }

    async fn stop(&self, limits: &Limits) -> Result<(), AgentError> {
        let mut state = self.state.lock().await;
        let Some(settings) = self.settings(&state, limits).await? else {
            return Ok(());
        };
        let launched = state.launched.as_ref().map(|l| &l.process);
        shutdown::stop_servers(&settings, launched, limits).await?;
        *state = ServerState::default();
        Ok(())
    }

    async fn monitor(&self, limits: &Limits) -> Result<Status, AgentError> {
        let mut state = self.state.lock().await;
        if let Some(launched) = &mut state.launched {
            // Reaps it if it has ended. Whether a server runs is looked up below.
            launched.child.try_wait().ok();
        }
        let Some(settings) = self.settings(&state, limits).await? else {
            return Ok(Status::Stopped);
        };
        let servers = server::find_servers(&settings.datadir, limits).await?;
        let Some(server) = servers.first() else {
            return Ok(Status::Stopped);
        };
        let unresponsive = |error: String| {
            format!(
                "the database server on {} ({server}) runs but does not answer on {}: {error}",
                settings.datadir.display(),
                settings.socket.display()
            )
        };
        match self.query_server(&settings, limits).await {
            Ok(QueryAnswer::Rows(_) | QueryAnswer::Alive(_) | QueryAnswer::Full(_)) => {
                Ok(Status::Running)
            }
            Ok(QueryAnswer::None(text)) => Err(AgentError::Failed(unresponsive(text))),
            Err(AgentError::TimedOut(text)) => Err(AgentError::TimedOut(unresponsive(text))),
            Err(other) => Err(other),
        }
    }
}

/// The file with the client's login, if it exists. An error if others than root can read it.
pub(crate) fn login_file(file: &Path) -> Result<Option<&Path>, AgentError> {
    validate::check_login_file(file).map_err(|m| AgentError::Failed(m.message))?;
    Ok(file.exists().then_some(file))
}

/// Logs that a server which this daemon did not start belongs to the group from now on.
fn log_adoption(server: &DatabaseServer, settings: &ServerSettings) {
    let datadir = settings.datadir.display();
    if let Some(unit) = &server.unit {
        tracing::warn!(
            "a database server already runs on {datadir} ({server}); it is adopted and will be stopped with its group. Keep systemd from starting it: systemctl disable {unit}"
        );
    } else {
        tracing::info!("a database server already runs on {datadir} ({server}); it is adopted");
    }
}
