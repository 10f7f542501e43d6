//! The built-in `Filesystem`. It mounts and unmounts with mount(8) and umount(8), which know labels, helpers and loop devices.
//! Whether that worked is read from `/proc/self/mountinfo`.
//!
//! * `arguments`: the arguments of the word; `identity`: the mounts that they mean.
//! * `repair`: the check before a mount; `release`: the unmount, with `users` and `kernel` for what keeps a mount busy.
//! * `probe`: whether it can be read and written; `validate`: the checks of `hactl check`.

pub mod arguments;
mod identity;
mod kernel;
pub mod mountinfo;
mod probe;
mod release;
mod repair;
pub mod users;
pub mod validate;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use self::arguments::{MountArguments, Source};
use self::identity::MountIdentity;
use self::mountinfo::{Mount, MountTable};
use self::probe::{MountHealth, MountProbe};
use crate::agent::exec::system_tool;
use crate::agent::{Agent, AgentError, Limits, Status};

/// One mount that moves between nodes.
pub struct Filesystem {
    args: MountArguments,
    probe: MountProbe,
    /// Whether it was seen mounted where it belongs. If not, other mounts of it are not ours to end.
    mounted: AtomicBool,
    /// Whether the log already says that it is full.
    full_logged: AtomicBool,
}

impl Filesystem {
    /// The file system; nothing is changed yet.
    pub fn new(args: MountArguments) -> Self {
        Filesystem {
            args,
            probe: MountProbe::default(),
            mounted: AtomicBool::new(false),
            full_logged: AtomicBool::new(false),
        }
    }

    /// Finds the mount in the table of mounts.
    fn find_mount(&self, identity: &MountIdentity) -> Result<MountState, AgentError> {
        let table = MountTable::read().map_err(AgentError::Failed)?;
        let directory = self.args.directory.display();
        let top = table.top(&identity.point);
        if let Some(mount) = top.filter(|m| identity.matches(&self.args, m, &table)) {
            self.mounted.store(true, Ordering::Relaxed);
            return Ok(MountState::Mounted(mount.clone()));
        }
        let ours = identity.own_mounts(&self.args, &table);
        let elsewhere = table.0.iter().find(|m| ours.contains(&m.id));
        Ok(match (elsewhere, top) {
            (Some(mount), Some(top)) if mount.point == identity.point => {
                self.mounted.store(true, Ordering::Relaxed);
                MountState::Misplaced(format!(
                    "{directory} is covered by another mount, {} ({}); unmount that: umount {directory}",
                    top.source.display(),
                    top.kind
                ))
            }
            (Some(mount), _) => MountState::Misplaced(misplaced(&self.args, mount)),
            (None, Some(other)) => MountState::Occupied(format!(
                "something else is mounted on {directory}: {} ({}); unmount it, or name another directory",
                other.source.display(),
                other.kind
            )),
            (None, None) => MountState::Unmounted,
        })
    }

    /// Checks whether a mount is well.
    async fn check_mount(
        &self,
        mount: &Mount,
        identity: &MountIdentity,
        limits: &Limits,
    ) -> Result<Status, AgentError> {
        let directory = &self.args.directory;
        let writes = self.args.is_writable();
        if writes && mount.read_only() {
            return Err(AgentError::Failed(format!(
                "{} is mounted read-only; the kernel does that after disk errors, see dmesg",
                directory.display()
            )));
        }
        let device = identity
            .path
            .as_deref()
            .filter(|_| identity.device.is_some());
        let found = self.probe.run(directory, device, writes, limits).await?;
        if let MountHealth::Full(message) = &found
            && !self.full_logged.load(Ordering::Relaxed)
        {
            tracing::warn!(
                "{} is full; it still counts as running: {message}",
                directory.display()
            );
        }
        self.full_logged
            .store(found != MountHealth::Well, Ordering::Relaxed);
        Ok(Status::Running)
    }

    async fn mount(&self, identity: &MountIdentity, limits: &Limits) -> Result<(), AgentError> {
        let (source, directory) = (&self.args.source, self.args.directory.display());
        if !self.args.directory.is_dir() {
            return Err(AgentError::Failed(format!(
                "there is no directory {directory} to mount {source} on; mkdir -p {directory}"
            )));
        }
        let by_device = matches!(source, Source::Device(_) | Source::Tag(_));
        if by_device && identity.device.is_none() {
            return Err(AgentError::Failed(missing(source)));
        }
        if let Some(device) = identity.path.as_deref().filter(|_| by_device) {
            repair::before_mount(&self.args, device, limits).await?;
        }
        if fs::read_dir(&self.args.directory).is_ok_and(|mut d| d.next().is_some()) {
            tracing::warn!(
                "{directory} is not empty; its content is hidden while {source} is mounted on it"
            );
        }
        let mut words: Vec<String> = Vec::new();
        if let Some(kind) = &self.args.kind {
            words.extend(["-t".to_owned(), kind.clone()]);
        }
        if !self.args.options.is_empty() {
            words.extend(["-o".to_owned(), self.args.options.join(",")]);
        }
        words.extend(["--".to_owned(), source.to_string(), directory.to_string()]);
        let done = system_tool::run("mount", &words, limits).await?;
        if done.code != Some(0) {
            return Err(AgentError::Failed(format!(
                "cannot mount {source} on {directory}: {}",
                done.message
            )));
        }
        Ok(())
    }
}

/// What the table of mounts shows.
enum MountState {
    Mounted(Mount),
    /// Our file system, but not where it should be.
    Misplaced(String),
    /// Another file system where ours should be.
    Occupied(String),
    Unmounted,
}

/// Somebody else has mounted it elsewhere.
fn misplaced(args: &MountArguments, mount: &Mount) -> String {
    format!(
        "{} is mounted, but on {at} and not on {}; had did not do that and leaves it alone: umount {at}",
        args.source,
        args.directory.display(),
        at = mount.point.display(),
    )
}

fn missing(source: &Source) -> String {
    match source {
        Source::Tag(tag) => format!("no block device has {tag}; blkid lists all"),
        source => format!("there is no block device {source}"),
    }
}

#[async_trait]
impl Agent for Filesystem {
    async fn start(&self, limits: &Limits) -> Result<(), AgentError> {
        let identity = MountIdentity::find(&self.args, limits).await?;
        match self.find_mount(&identity)? {
            MountState::Mounted(mount) => {
                return self.check_mount(&mount, &identity, limits).await.map(drop);
            }
            MountState::Misplaced(why) | MountState::Occupied(why) => {
                return Err(AgentError::Failed(why));
            }
            MountState::Unmounted => self.mount(&identity, limits).await?,
        }
        // An image has its loop device only now.
        let identity = MountIdentity::find(&self.args, limits).await?;
        match self.find_mount(&identity)? {
            MountState::Mounted(mount) if self.args.is_writable() && mount.read_only() => {
                Err(AgentError::Failed(format!(
                    "{} could only be mounted read-only: is it write-protected, or a DRBD device that is not Primary? If that is wanted, add the option ro",
                    self.args.source
                )))
            }
            MountState::Mounted(_) => Ok(()),
            MountState::Misplaced(why) | MountState::Occupied(why) => {
                Err(AgentError::Failed(format!("mount succeeded, but {why}")))
            }
            MountState::Unmounted => Err(AgentError::Failed(format!(
                "mount succeeded, but nothing is mounted on {}",
                self.args.directory.display()
            ))),
        }
    }

    async fn stop(&self, limits: &Limits) -> Result<(), AgentError> {
        let identity = MountIdentity::find(&self.args, limits).await?;
        if matches!(self.args.source, Source::Tag(_)) && identity.device.is_none() {
            return check_unmounted(&self.args, &identity.point);
        }
        // It may be on storage that other nodes can open, so this node cannot say that nothing of it runs here.
        if let MountState::Misplaced(why) = self.find_mount(&identity)?
            && !self.mounted.load(Ordering::Relaxed)
        {
            return Err(AgentError::Failed(why));
        }
        release::release(&self.args, &identity, limits).await
    }

    async fn monitor(&self, limits: &Limits) -> Result<Status, AgentError> {
        let identity = MountIdentity::find(&self.args, limits).await?;
        match self.find_mount(&identity)? {
            MountState::Mounted(mount) => self.check_mount(&mount, &identity, limits).await,
            MountState::Misplaced(why) => Err(AgentError::Failed(why)),
            MountState::Occupied(_) | MountState::Unmounted => Ok(Status::Stopped),
        }
    }
}

/// For a label that no device has any more: a mount then cannot be identified, so there must be none.
fn check_unmounted(args: &MountArguments, point: &Path) -> Result<(), AgentError> {
    let table = MountTable::read().map_err(AgentError::Failed)?;
    match table.top(point) {
        None => Ok(()),
        Some(mount) => Err(AgentError::Failed(format!(
            "no block device has {} any more, and {} is mounted on {}; it is not known whether that is the same one: unmount it by hand",
            args.source,
            mount.source.display(),
            point.display()
        ))),
    }
}
