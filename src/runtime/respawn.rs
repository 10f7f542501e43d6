//! The children of `respawn`: started with the daemon, restarted when they exit, killed when it ends.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::unistd::User;
use tokio::process::Child;
use tokio::task::JoinHandle;

use crate::agent::exec::blocking::run_blocking;
use crate::agent::exec::{program, safe_path};
use crate::agent::{Abort, Limits};
use crate::config::Respawn;
use crate::sys::oom;

/// The exit code of a child that is not to be started again; heartbeat's convention.
const DO_NOT_RESTART: i32 = 100;
/// A child that exits sooner than this counts as a failed start.
const MIN_RUN: Duration = Duration::from_secs(30);
/// The child is given up after more failed starts in a row than this.
const MAX_FAILED_STARTS: u32 = 10;
/// Time to look up the user and start the program.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause before a restart.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// All children; dropped, it kills them.
pub struct RespawnChildren(Vec<RespawnTask>);

struct RespawnTask {
    child: Respawn,
    task: JoinHandle<()>,
}

impl Drop for RespawnTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RespawnChildren {
    /// Starts these.
    pub fn start(children: &[Respawn]) -> RespawnChildren {
        let mut started = RespawnChildren(Vec::new());
        started.reconfigure(children);
        started
    }

    /// Kills those that are no longer configured, starts new ones, and leaves the others alone.
    pub fn reconfigure(&mut self, children: &[Respawn]) {
        let mut running = std::mem::take(&mut self.0);
        // The old ones go first: a new one may need their port.
        running.retain(|r| children.contains(&r.child));
        for child in children {
            let known = running.iter().position(|r| r.child == *child);
            self.0.push(match known {
                Some(at) => running.swap_remove(at),
                None => RespawnTask {
                    child: child.clone(),
                    task: tokio::spawn(keep_running(child.clone())),
                },
            });
        }
    }
}

/// Keeps one child running until the task is aborted; the child is killed with it.
async fn keep_running(respawn: Respawn) {
    let mut failed_starts = 0;
    loop {
        let started_at = Instant::now();
        let name = respawn.command.join(" ");
        match start_child(&respawn).await {
            Ok(mut child) => {
                tracing::info!("respawn: started {name} as user {}", respawn.user);
                if wait_for_exit(&mut child, &name, respawn.failfast).await {
                    return;
                }
            }
            Err(text) => tracing::error!("respawn: cannot start {name}: {text}"),
        }
        failed_starts = if started_at.elapsed() < MIN_RUN {
            failed_starts + 1
        } else {
            0
        };
        if failed_starts > MAX_FAILED_STARTS {
            tracing::error!(
                "respawn: {name} failed {failed_starts} times in a row within {} s of its start and is not started again; \
                 fix it, then run hactl restart",
                MIN_RUN.as_secs()
            );
            return;
        }
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

/// Waits until a child has exited and logs how; true when it must not be restarted.
async fn wait_for_exit(child: &mut Child, name: &str, failfast: bool) -> bool {
    let status = match child.wait().await {
        Ok(status) => status,
        Err(e) => {
            tracing::error!("respawn: cannot wait for {name}: {e}");
            return true;
        }
    };
    match (status.code(), status.signal()) {
        (Some(DO_NOT_RESTART), _) => {
            tracing::info!(
                "respawn: {name} exited with code {DO_NOT_RESTART}, so it is not started again"
            );
            return true;
        }
        (Some(code), _) => {
            tracing::warn!("respawn: {name} exited with code {code}; restarting it");
        }
        (None, signal) => tracing::warn!(
            "respawn: {name} was killed by signal {}; restarting it",
            signal.unwrap_or(0)
        ),
    }
    if failfast {
        tracing::error!(
            "respawn: {name} is marked failfast: heartbeat would reboot this node now, but this daemon does not"
        );
    }
    false
}

/// Looks up the user and starts the child in a thread of its own: a name service or a disk may hang.
async fn start_child(respawn: &Respawn) -> Result<Child, String> {
    let limits = Limits::within(START_TIMEOUT, &Abort::new());
    let respawn = respawn.clone();
    let started = run_blocking(&limits, "start it", move || start(&respawn)).await;
    started.map_err(|e| e.to_string())?
}

fn start(respawn: &Respawn) -> Result<Child, String> {
    let user = User::from_name(&respawn.user)
        .map_err(|e| e.to_string())?
        .ok_or_else(|| format!("there is no user {}", respawn.user))?;
    let (path, args) = respawn.command.split_first().ok_or("no command is named")?;
    // It may have become unsafe since the daemon has read its configuration.
    safe_path::check(Path::new(path)).map_err(|mistake| mistake.message)?;
    let mut command = program::command(Path::new(path));
    oom::unspare_child(&mut command);
    command
        .args(args)
        .uid(user.uid.as_raw())
        .gid(user.gid.as_raw())
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Place;

    fn child(command: &str) -> Respawn {
        Respawn {
            user: "root".to_owned(),
            command: command.split(' ').map(str::to_owned).collect(),
            failfast: false,
            place: Place::whole(Path::new("ha.cf")),
        }
    }

    /// Whether a process of that command line is there.
    fn runs(respawn: &Respawn) -> bool {
        let wanted = format!("{}\0", respawn.command.join("\0"));
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let mut lines = entries.filter_map(|e| std::fs::read(e.path().join("cmdline")).ok());
        lines.any(|line| line == wanted.as_bytes())
    }

    #[tokio::test]
    async fn a_reload_starts_and_ends_only_what_changed() {
        let (stays, goes, comes) = (
            child("/bin/sleep 1001"),
            child("/bin/sleep 1002"),
            child("/bin/sleep 1003"),
        );
        let mut children = RespawnChildren::start(&[stays.clone(), goes]);
        let task_of = |c: &RespawnChildren, wanted: &Respawn| {
            let found = c.0.iter().find(|r| r.child == *wanted);
            found.map(|r| r.task.id())
        };
        let before = task_of(&children, &stays).unwrap();
        let ended = children.0[1].task.abort_handle();
        children.reconfigure(&[comes.clone(), stays.clone()]);
        assert_eq!(task_of(&children, &stays), Some(before));
        assert!(task_of(&children, &comes).is_some());
        assert_eq!(children.0.len(), 2);
        let has_ended = async {
            while !ended.is_finished() {
                tokio::task::yield_now().await;
            }
        };
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, has_ended).await.unwrap();
        let both_run = async {
            while !runs(&stays) || !runs(&comes) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(limit, both_run).await.unwrap();
    }
}
