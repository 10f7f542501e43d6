//! Ends a server: TERM, by which it writes everything out and closes its files, and at the end of the time KILL. A server that
//! got KILL is gone, which is all that the next node needs; what was committed it finds again in the log, as after
//! a crash. That is said loudly, because recovery takes time.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{Instant, timeout_at};

use super::server;
use super::settings::Settings;
use crate::agent::exec::supervise::GRACE;
use crate::agent::{AgentError, Limits};
use crate::sys::pidfd::PidFd;

/// Ends all servers on the data directory, and what we started even if it has not got that far.
pub async fn shutdown(
    settings: &Settings,
    launched: Option<&PidFd>,
    limits: &Limits,
) -> Result<(), AgentError> {
    let total = limits.until.saturating_duration_since(Instant::now());
    // KILL needs its time too, before the deadline.
    let kill_at = limits.until - GRACE.min(total / 4);
    if let Some(process) = launched {
        end(process, settings, kill_at, limits).await?;
    }
    // Whoever watches over a server that another hand started may start it again.
    loop {
        let servers = server::on(&settings.datadir, limits).await?;
        let Some(found) = servers.first() else {
            return Ok(());
        };
        tracing::info!(
            "stopping the database server on {} ({found})",
            settings.datadir.display()
        );
        let Ok(process) = PidFd::open(found.pid) else {
            continue; // it has just gone
        };
        // The number may have gone to another process meanwhile.
        if server::is_on(found.pid, &settings.datadir) {
            end(&process, settings, kill_at, limits).await?;
        }
    }
}

async fn end(
    process: &PidFd,
    settings: &Settings,
    kill_at: Instant,
    limits: &Limits,
) -> Result<(), AgentError> {
    let datadir = settings.datadir.display();
    let failed = |e: std::io::Error| {
        AgentError::Failed(format!("cannot stop the database server on {datadir}: {e}"))
    };
    process.signal(Signal::SIGTERM).map_err(failed)?;
    // One that was stopped (SIGSTOP) could not heed it.
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
            "the stop of the database server on {datadir} was ended by order; it still shuts down"
        )));
    }
    tracing::error!(
        "the database server on {datadir} did not shut down in time and gets KILL; nothing committed is lost, but its next start has to recover. Give it longer: `timeout mysqld stop 10min` in ha.cf"
    );
    process.signal(Signal::SIGKILL).map_err(failed)?;
    let grace = limits.until.max(Instant::now() + Duration::from_secs(1));
    match timeout_at(grace, process.ended()).await {
        Ok(ended) => ended.map_err(failed),
        Err(_) => Err(AgentError::TimedOut(format!(
            "the database server on {datadir} is still there after KILL: it waits inside the kernel (is its disk gone? see dmesg)"
        ))),
    }
}
