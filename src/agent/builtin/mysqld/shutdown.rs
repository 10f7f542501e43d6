//! Stops a server: TERM first, so that it writes everything to disk and closes its files; KILL shortly before the deadline. After
//! KILL the next node recovers all commits from the log, as after a crash. That takes time and is logged as an error.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{Instant, timeout_at};

use super::server;
use super::settings::ServerSettings;
use crate::agent::exec::supervise::GRACE;
use crate::agent::{AgentError, Limits};
use crate::sys::pidfd::PidFd;

/// Stops all servers on the data directory, and the one that this daemon started, even if it does not use the directory yet.
pub async fn stop_servers(
    settings: &ServerSettings,
    launched: Option<&PidFd>,
    limits: &Limits,
) -> Result<(), AgentError> {
    let total = limits.until.saturating_duration_since(Instant::now());
    // KILL needs some time before the deadline too.
    let kill_at = limits.until - GRACE.min(total / 4);
    if let Some(process) = launched {
        stop_process(process, settings, kill_at, limits).await?;
    }
    // If something else started a server, it may start it again.
    loop {
        let servers = server::find_servers(&settings.datadir, limits).await?;
        let Some(found) = servers.first() else {
            return Ok(());
        };
        tracing::info!(
            "stopping the database server on {} ({found})",
            settings.datadir.display()
        );
        let Ok(process) = PidFd::open(found.pid) else {
            continue; // it has just ended
        };
        // The pid may belong to another process by now.
        if server::is_server_on(found.pid, &settings.datadir) {
            stop_process(&process, settings, kill_at, limits).await?;
        }
    }
}

async fn stop_process(
    process: &PidFd,
    settings: &ServerSettings,
    kill_at: Instant,
    limits: &Limits,
) -> Result<(), AgentError> {
    let datadir = settings.datadir.display();
    let failed = |e: std::io::Error| {
        AgentError::Failed(format!("cannot stop the database server on {datadir}: {e}"))
    };
    process.signal(Signal::SIGTERM).map_err(failed)?;
    // A process that was stopped by SIGSTOP must run to handle TERM.
    process.signal(Signal::SIGCONT).map_err(failed)?;
    let aborted = tokio::select! {
        ended = timeout_at(kill_at, process.ended()) => match ended {
            Ok(ended) => return ended.map_err(failed),
            Err(_) => false,
        },
        () = limits.abort.aborted() => true,
    };
    if aborted {
        return Err(AgentError::Failed(format!(
            "the stop of the database server on {datadir} was aborted; it is still shutting down"
        )));
    }
    tracing::error!(
        "the database server on {datadir} did not shut down in time and is killed; nothing committed is lost, but its next start has to recover. For more time write `timeout mysqld stop 10min` into ha.cf"
    );
    process.signal(Signal::SIGKILL).map_err(failed)?;
    let grace = limits.until.max(Instant::now() + Duration::from_secs(1));
    match timeout_at(grace, process.ended()).await {
        Ok(ended) => ended.map_err(failed),
        Err(_) => Err(AgentError::TimedOut(format!(
            "the database server on {datadir} hangs inside the kernel and cannot be killed (is its disk gone? see dmesg)"
        ))),
    }
}
