//! Unmounts the file system, and what is mounted inside it.
//!
//! If it is busy, the processes that use these mounts, and only they, get TERM, and KILL after a third of the time. A mount is
//! never only detached (`umount -l`): it would look unmounted while its users go on writing beside the next owner.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use super::arguments::MountArguments;
use super::identity::MountIdentity;
use super::kernel;
use super::mountinfo::{Device, Mount, MountTable};
use super::users::{self, MountSet, MountUser};
use crate::agent::exec::blocking::run_blocking;
use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};
use crate::sys::pidfd::PidFd;

/// The first pause between two attempts. It doubles each time.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// Unmounts all mounts of the file system. If there is none, that is a success.
pub async fn release(
    args: &MountArguments,
    identity: &MountIdentity,
    limits: &Limits,
) -> Result<(), AgentError> {
    let mut work = Release {
        args,
        identity,
        limits,
        kill_from: Instant::now() + limits.until.saturating_duration_since(Instant::now()) / 3,
        whole: args.is_exclusive().then_some(identity.device).flatten(),
        signalled: BTreeSet::new(),
        umount_error: String::new(),
        last_obstacle: String::new(),
    };
    let mut pause = PAUSE;
    loop {
        let Some(obstacle) = work.attempt().await? else {
            return Ok(());
        };
        work.last_obstacle.clone_from(&obstacle);
        if Instant::now() + pause >= limits.until {
            return Err(AgentError::TimedOut(obstacle));
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = limits.abort.aborted() => {
                return Err(AgentError::Failed(format!("the unmount was aborted; {obstacle}")));
            }
        }
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

struct Release<'a> {
    args: &'a MountArguments,
    identity: &'a MountIdentity,
    limits: &'a Limits,
    /// From then on users get KILL, before it TERM.
    kill_from: Instant,
    /// The device number of the file system, if all of it belongs to this resource.
    whole: Option<Device>,
    /// The processes that already got a signal, and whether it was KILL.
    signalled: BTreeSet<(i32, bool)>,
    /// The last error message of umount(8).
    umount_error: String,
    /// What prevented the unmount in the last round.
    last_obstacle: String,
}

impl Release<'_> {
    /// One round. Returns what prevents the unmount; `None` when nothing is left.
    async fn attempt(&mut self) -> Result<Option<String>, AgentError> {
        for mount in self.remaining_mounts()? {
            self.unmount(&mount).await?;
        }
        let left = self.remaining_mounts()?;
        let device = self.busy_device();
        if left.is_empty() && device.is_none() {
            return Ok(None);
        }
        let target = self.target(&left)?;
        let points: Vec<PathBuf> = left.iter().map(|m| m.point.clone()).collect();
        let whole = self.whole;
        let limits = self.limits;
        let wanted = target.clone();
        let look = run_blocking(limits, "find out who uses the mount", move || {
            (
                users::find_users(&wanted),
                users::own_use(&wanted),
                kernel::holders(&points, whole),
            )
        });
        let (mut users, own, others) = look.await.map_err(|e| self.with_last_obstacle(e))?;
        self.signal_users(&users, target).await?;
        users.extend(own);
        Ok(Some(self.describe_obstacle(
            &left,
            device.as_deref(),
            &users,
            &others,
        )))
    }

    /// The mounts that are left, the topmost first. The table can be incomplete while others mount, so an empty result
    /// counts only if it is found twice.
    fn remaining_mounts(&mut self) -> Result<Vec<Mount>, AgentError> {
        let mut mounts = self.read_mounts()?;
        if mounts.is_empty() {
            mounts = self.read_mounts()?;
        }
        Ok(mounts)
    }

    fn read_mounts(&mut self) -> Result<Vec<Mount>, AgentError> {
        let table = MountTable::read().map_err(AgentError::Failed)?;
        let ours = self.identity.own_mounts(self.args, &table);
        let mounts = table.with_all_below(&ours);
        if let Some(root) = mounts.iter().find(|m| m.point == Path::new("/")) {
            return Err(AgentError::Failed(format!(
                "{} is the root file system of this machine (mounted on {}); it is not unmounted",
                self.args.source,
                root.point.display()
            )));
        }
        if self.args.is_exclusive() {
            let own = mounts.iter().find(|m| ours.contains(&m.id));
            self.whole = own.map(|m| m.device).or(self.whole);
        }
        Ok(mounts)
    }

    /// The device, if all of it belongs to this resource and something still uses it.
    fn busy_device(&self) -> Option<PathBuf> {
        let path = self.identity.path.clone()?;
        (self.args.is_exclusive() && self.identity.device.is_some() && kernel::is_held(&path))
            .then_some(path)
    }

    fn target(&self, left: &[Mount]) -> Result<MountSet, AgentError> {
        let table = MountTable::read().map_err(AgentError::Failed)?;
        let ids: HashSet<u64> = left.iter().map(|m| m.id).collect();
        Ok(MountSet::new(&table, ids, self.whole))
    }

    /// Runs umount(8). Whether it worked is read from the table afterwards.
    async fn unmount(&mut self, mount: &Mount) -> Result<(), AgentError> {
        if mount.point != self.identity.point {
            tracing::info!(
                "unmounting {} first: it is mounted inside {} or is another mount of it",
                mount.point.display(),
                self.args.source
            );
        }
        let words = [
            "--no-canonicalize".as_ref(),
            "--".as_ref(),
            mount.point.as_os_str(),
        ];
        let done = system_tool::run("umount", &words, self.limits).await?;
        if done.code != Some(0) {
            self.umount_error = done.message;
        }
        Ok(())
    }

    async fn signal_users(
        &mut self,
        users: &[MountUser],
        target: MountSet,
    ) -> Result<(), AgentError> {
        let kill = Instant::now() >= self.kill_from;
        let (signal, name) = if kill {
            (Signal::SIGKILL, "KILL")
        } else {
            (Signal::SIGTERM, "TERM")
        };
        for user in users {
            if !self.signalled.insert((user.pid, kill)) {
                continue; // it already got this signal
            }
            tracing::warn!(
                "{} is used by {user}; sending {name}",
                self.args.directory.display()
            );
            let (pid, target) = (user.pid, target.clone());
            let sent = run_blocking(self.limits, "signal a user", move || {
                send_signal(pid, &target, signal)
            });
            if let Err(error) = sent.await? {
                tracing::warn!(
                    "cannot signal process {pid}, which uses {}: {error}",
                    self.args.directory.display()
                );
            }
        }
        Ok(())
    }

    /// After a timeout the obstacle of the round before says more than the error.
    fn with_last_obstacle(&self, error: AgentError) -> AgentError {
        match error {
            AgentError::TimedOut(_) if !self.last_obstacle.is_empty() => {
                AgentError::TimedOut(self.last_obstacle.clone())
            }
            AgentError::TimedOut(text) => AgentError::TimedOut(format!(
                "cannot unmount {}: {}; {text}",
                self.args.directory.display(),
                self.umount_error
            )),
            other @ (AgentError::Failed(_) | AgentError::NotExecuted(_)) => other,
        }
    }

    fn describe_obstacle(
        &self,
        left: &[Mount],
        device: Option<&Path>,
        users: &[MountUser],
        others: &[String],
    ) -> String {
        let points: Vec<String> = left.iter().map(|m| m.point.display().to_string()).collect();
        let mut text = match (points.as_slice(), device) {
            ([], Some(device)) => format!(
                "{} is not mounted any more, but something still uses {} exclusively",
                self.args.source,
                device.display()
            ),
            (points, _) => format!("cannot unmount {}", points.join(", ")),
        };
        let names = users.iter().map(ToString::to_string);
        let names: Vec<String> = names.chain(others.iter().cloned()).collect();
        if names.is_empty() {
            text += ": cannot find what uses it";
        } else {
            text += ": held by ";
            text += &names.join("; ");
        }
        if !left.is_empty() && !self.umount_error.is_empty() {
            text += "; umount: ";
            text += &self.umount_error;
        }
        text
    }
}

/// Signals a process if it still uses the mount: its pid may belong to another process by now.
fn send_signal(pid: i32, target: &MountSet, signal: Signal) -> std::io::Result<()> {
    let Ok(process) = PidFd::open(pid) else {
        return Ok(()); // it is gone
    };
    match users::find_user(pid, target) {
        Some(_) => process.signal(signal),
        None => Ok(()),
    }
}
