//! The built-in `mysqld`: a MariaDB or MySQL server.
//!
//! * `settings`: which server is meant; `server`: which process it is. That is looked up each time, by the data
//!   directory, so a daemon that was restarted finds its server again.
//! * `launch`: starts it; `query`: asks it; `replication`: how far it is behind; `shutdown`: ends it; `error_log`: why it did not start.
//! * `validate`: what `hactl check` can tell beforehand.

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

use self::arguments::Arguments;
use self::error_log::ErrorLog;
use self::launch::Launched;
use self::query::Answer;
use self::server::Server;
use self::settings::Settings;
use crate::agent::{Agent, AgentError, Limits, Status};

/// Beside ha.cf: the login with which a server is asked.
pub(crate) const LOGIN: &str = "mysqld.cnf";
/// Between two questions to a server that does not answer yet.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one question may take during a start.
const QUESTION: Duration = Duration::from_secs(5);

/// One database server.
pub struct Mysqld {
    args: Arguments,
    /// Holds the client's login.
    login: PathBuf,
    state: Mutex<State>,
    /// That it answers with an error was said.
    told: AtomicBool,
}

#[derive(Default)]
struct State {
    /// As found at the last start: a configuration that was edited since says nothing about what runs.
    settings: Option<Settings>,
    /// What we started, while it lives.
    launched: Option<Launched>,
}

impl Mysqld {
    /// Touches nothing yet. `login` may not be there.
    pub fn new(args: Arguments, login: PathBuf) -> Self {
        Mysqld {
            args,
            login,
            state: Mutex::default(),
            told: AtomicBool::new(false),
        }
    }

    async fn settings(
        &self,
        state: &State,
        limits: &Limits,
    ) -> Result<Option<Settings>, AgentError> {
        match &state.settings {
            Some(known) => Ok(Some(known.clone())),
            None => settings::discover(&self.args, limits).await,
        }
    }

    /// Whether it answers. An error of the server's own is an answer, and told once.
    async fn answers(&self, settings: &Settings, limits: &Limits) -> Result<Answer, AgentError> {
        let login = login(&self.login)?;
        let answer = query::ask(&settings.socket, login, query::ANYTHING, limits).await?;
        let bad = match &answer {
            Answer::Alive(why) | Answer::Full(why) => {
                if !self.told.load(Ordering::Relaxed) {
                    tracing::warn!(
                        "the database on {} runs, but {why}",
                        settings.datadir.display()
                    );
                }
                true
            }
            Answer::Rows(_) | Answer::None(_) => false,
        };
        self.told.store(bad, Ordering::Relaxed);
        Ok(answer)
    }

    /// Waits for an answer; ends early when the server does.
    async fn until_it_answers(
        &self,
        settings: &Settings,
        mut launched: Option<(&mut Launched, ErrorLog)>,
        limits: &Limits,
    ) -> Result<(), AgentError> {
        loop {
            if let Some((launched, log)) = &mut launched
                && let Ok(Some(status)) = launched.child.try_wait()
            {
                return Err(AgentError::Failed(format!(
                    "{} ended at once ({status}); {}: {}",
                    settings.program,
                    settings.error_log.display(),
                    log.tail()
                )));
            }
            let last = match self.answers(settings, &limits.at_most(QUESTION)).await {
                Ok(Answer::Rows(_) | Answer::Alive(_) | Answer::Full(_)) => return Ok(()),
                Ok(Answer::None(said)) | Err(AgentError::TimedOut(said)) => said,
                Err(other) => return Err(other),
            };
            if Instant::now() + PAUSE >= limits.until {
                let tail = launched.map(|(_, mut log)| log.tail()).unwrap_or_default();
                return Err(AgentError::TimedOut(format!(
                    "the database on {} runs but answers nothing on {} (a long recovery needs a longer start timeout in ha.cf); last: {last}; {}: {tail}",
                    settings.datadir.display(),
                    settings.socket.display(),
                    settings.error_log.display(),
                )));
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = limits.abort.aborted() => {
                    return Err(AgentError::Failed("the start of the database was ended by order".to_owned()));
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
        let servers = server::on(&settings.datadir, limits).await?;
        if let Some(server) = servers.first() {
            adopted(server, &settings);
            state.settings = Some(settings.clone());
            return self.until_it_answers(&settings, None, limits).await;
        }
        state.launched = None;
        state.settings = Some(settings.clone());
        let (launched, log) = launch::launch(&settings, limits).await?;
        let launched = state.launched.insert(launched);
        self.until_it_answers(&settings, Some((launched, log)), limits)
            .await
    }

    async fn stop(&self, limits: &Limits) -> Result<(), AgentError> {
        let mut state = self.state.lock().await;
        let Some(settings) = self.settings(&state, limits).await? else {
            return Ok(());
        };
        let launched = state.launched.as_ref().map(|l| &l.process);
        shutdown::shutdown(&settings, launched, limits).await?;
        *state = State::default();
        Ok(())
    }

    async fn monitor(&self, limits: &Limits) -> Result<Status, AgentError> {
        let mut state = self.state.lock().await;
        if let Some(launched) = &mut state.launched {
            // So that the kernel may forget it if it has ended; what counts is looked up below.
            launched.child.try_wait().ok();
        }
        let Some(settings) = self.settings(&state, limits).await? else {
            return Ok(Status::Stopped);
        };
        let servers = server::on(&settings.datadir, limits).await?;
        let Some(server) = servers.first() else {
            return Ok(Status::Stopped);
        };
        let silent = |said: String| {
            format!(
                "the database on {} ({server}) runs but does not answer on {}: {said}",
                settings.datadir.display(),
                settings.socket.display()
            )
        };
        match self.answers(&settings, limits).await {
            Ok(Answer::Rows(_) | Answer::Alive(_) | Answer::Full(_)) => Ok(Status::Running),
            Ok(Answer::None(said)) => Err(AgentError::Failed(silent(said))),
            Err(AgentError::TimedOut(said)) => Err(AgentError::TimedOut(silent(said))),
            Err(other) => Err(other),
        }
    }
}

/// The file with the client's login, if there is one, and that it is nobody else's.
pub(crate) fn login(file: &Path) -> Result<Option<&Path>, AgentError> {
    validate::login(file).map_err(|m| AgentError::Failed(m.message))?;
    Ok(file.exists().then_some(file))
}

/// A server that we did not start is ours from now on.
fn adopted(server: &Server, settings: &Settings) {
    let datadir = settings.datadir.display();
    if let Some(unit) = &server.unit {
        tracing::warn!(
            "a database server runs on {datadir} already ({server}); it is taken over as it is and will be stopped with its group. Keep systemd from starting it: systemctl disable {unit}"
        );
    } else {
        tracing::info!(
            "a database server runs on {datadir} already ({server}); it is taken over as it is"
        );
    }
}
