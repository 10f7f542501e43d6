//! Unmounts what is ours, and what was mounted on top of it.
//!
//! Where that is refused because it is busy, the users of these mounts, and only they, get TERM; after a third of the time
//! they get KILL. Never is a mount merely detached (`umount -l`): it would look unmounted, and its users would go on
//! writing beside the next owner.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use super::arguments::Arguments;
use super::identity::Identity;
use super::kernel;
use super::mountinfo::{Device, Mount, Table};
use super::users::{self, Target, User};
use crate::agent::exec::blocking;
use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};
use crate::sys::pidfd::PidFd;

/// Between two attempts: the first, and the longest, to which it grows.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Unmounts all of ours. Nothing mounted is success.
pub async fn release(
    args: &Arguments,
    identity: &Identity,
    limits: &Limits,
) -> Result<(), AgentError> {
    let mut work = Release {
        args,
        identity,
        limits,
        kill_from: Instant::now() + limits.until.saturating_duration_since(Instant::now()) / 3,
        whole: args.exclusive().then_some(identity.device).flatten(),
        told: BTreeSet::new(),
        refused: String::new(),
        known: String::new(),
    };
    let mut pause = PAUSE;
    loop {
        let Some(held) = work.attempt().await? else {
            return Ok(());
        };
        work.known.clone_from(&held);
        if Instant::now() + pause >= limits.until {
            return Err(AgentError::TimedOut(held));
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = limits.abort.aborted() => {
                return Err(AgentError::Failed(format!("ended by order; {held}")));
            }
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

struct Release<'a> {
    args: &'a Arguments,
    identity: &'a Identity,
    limits: &'a Limits,
    /// Until then users get TERM.
    kill_from: Instant,
    /// The number of the file system, where it is ours as a whole.
    whole: Option<Device>,
    /// Which process got which signal: each is told once.
    told: BTreeSet<(i32, bool)>,
    /// What umount(8) said last.
    refused: String,
    /// What was in the way in the last round.
    known: String,
}

impl Release<'_> {
    /// One round. None when nothing is left, else what is in the way.
    async fn attempt(&mut self) -> Result<Option<String>, AgentError> {
        for mount in self.left()? {
            self.unmount(&mount).await?;
        }
        let left = self.left()?;
        let device = self.device_held();
        if left.is_empty() && device.is_none() {
            return Ok(None);
        }
        let target = self.target(&left)?;
        let points: Vec<PathBuf> = left.iter().map(|m| m.point.clone()).collect();
        let whole = self.whole;
        let limits = self.limits;
        let wanted = target.clone();
        let look = blocking::within(limits, "look who uses the mount", move || {
            (
                users::all(&wanted),
                users::ourselves(&wanted),
                kernel::holders(&points, whole),
            )
        });
        let (mut users, own, others) = look.await.map_err(|e| self.with_what_is_known(e))?;
        self.signal(&users, target).await?;
        users.extend(own);
        Ok(Some(self.held(&left, device.as_deref(), &users, &others)))
    }

    /// What must still go, what is on top first. The table may be torn while others mount, so that it is empty
    /// counts only the second time.
    fn left(&mut self) -> Result<Vec<Mount>, AgentError> {
        let mut mounts = self.read()?;
        if mounts.is_empty() {
            mounts = self.read()?;
        }
        Ok(mounts)
    }

    fn read(&mut self) -> Result<Vec<Mount>, AgentError> {
        let table = Table::read().map_err(AgentError::Failed)?;
        let ours = self.identity.ours(self.args, &table);
        let mounts = table.with_all_below(&ours);
        if let Some(root) = mounts.iter().find(|m| m.point == Path::new("/")) {
            return Err(AgentError::Failed(format!(
                "{} is the file system on which this machine runs (mounted on {}); it is left alone",
                self.args.source,
                root.point.display()
            )));
        }
        if self.args.exclusive() {
            let own = mounts.iter().find(|m| ours.contains(&m.id));
            self.whole = own.map(|m| m.device).or(self.whole);
        }
        Ok(mounts)
    }

    /// The device, if it is ours as a whole and something still has it.
    fn device_held(&self) -> Option<PathBuf> {
        let path = self.identity.path.clone()?;
        (self.args.exclusive() && self.identity.device.is_some() && kernel::is_held(&path))
            .then_some(path)
    }

    fn target(&self, left: &[Mount]) -> Result<Target, AgentError> {
        let table = Table::read().map_err(AgentError::Failed)?;
        let ids: HashSet<u64> = left.iter().map(|m| m.id).collect();
        Ok(Target::new(&table, ids, self.whole))
    }

    /// By umount(8), which knows helpers and loop devices. Whether it worked is seen in the table.
    async fn unmount(&mut self, mount: &Mount) -> Result<(), AgentError> {
        if mount.point != self.identity.point {
            tracing::info!(
                mount = %mount.point.display(),
                "unmounting what lies in, or shows, {}",
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
            self.refused = done.said;
        }
        Ok(())
    }

    async fn signal(&mut self, users: &[User], target: Target) -> Result<(), AgentError> {
        let kill = Instant::now() >= self.kill_from;
        let (signal, name) = if kill {
            (Signal::SIGKILL, "KILL")
        } else {
            (Signal::SIGTERM, "TERM")
        };
        for user in users {
            if !self.told.insert((user.pid, kill)) {
                continue; // it has that signal already
            }
            tracing::warn!(
                "{} is used by {user}, which now gets {name}",
                self.args.directory.display()
            );
            let (pid, target) = (user.pid, target.clone());
            let sent = blocking::within(self.limits, "signal a user", move || {
                send(pid, &target, signal)
            });
            if let Err(error) = sent.await? {
                tracing::warn!(%error, pid, "cannot signal a user of the mount");
            }
        }
        Ok(())
    }

    /// A look that the deadline cut short tells less than the one before.
    fn with_what_is_known(&self, error: AgentError) -> AgentError {
        match error {
            AgentError::TimedOut(_) if !self.known.is_empty() => {
                AgentError::TimedOut(self.known.clone())
            }
            AgentError::TimedOut(text) => AgentError::TimedOut(format!(
                "cannot unmount {}: umount said: {}; {text}",
                self.args.directory.display(),
                self.refused
            )),
            other @ AgentError::Failed(_) => other,
        }
    }

    fn held(
        &self,
        left: &[Mount],
        device: Option<&Path>,
        users: &[User],
        others: &[String],
    ) -> String {
        let points: Vec<String> = left.iter().map(|m| m.point.display().to_string()).collect();
        let mut text = match (points.as_slice(), device) {
            ([], Some(device)) => format!(
                "{} is mounted nowhere here any more, but something still has {} for itself",
                self.args.source,
                device.display()
            ),
            (points, _) => format!("cannot unmount {}", points.join(", ")),
        };
        let names = users.iter().map(ToString::to_string);
        let names: Vec<String> = names.chain(others.iter().cloned()).collect();
        if names.is_empty() {
            text += ": no process and nothing else that is known holds it";
        } else {
            text += ": held by ";
            text += &names.join("; ");
        }
        if !left.is_empty() && !self.refused.is_empty() {
            text += "; umount said: ";
            text += &self.refused;
        }
        text
    }
}

/// Signals a process if it is still the one that was seen: its number may have gone to another meanwhile.
fn send(pid: i32, target: &Target, signal: Signal) -> std::io::Result<()> {
    let Ok(process) = PidFd::open(pid) else {
        return Ok(()); // it is gone
    };
    match users::of(pid, target) {
        Some(_) => process.signal(signal),
        None => Ok(()),
    }
}
