//! The built-in `Filesystem`: mounts and unmounts through the system's own mount(8) and umount(8), which know labels,
//! helpers and loop devices, and believes only what `/proc/self/mountinfo` shows afterwards.
//!
//! * `arguments`: what the words say; `identity`: which mounts are meant by them.
//! * `repair`: the check before a mount; `release`: the unmount, with `users` and `kernel` for what is in its way.
//! * `probe`: whether it can be read and written; `validate`: what `hactl check` can tell beforehand.

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

use self::arguments::{Arguments, Source};
use self::identity::Identity;
use self::mountinfo::{Mount, Table};
use self::probe::{Found, Probe};
use crate::agent::exec::system_tool;
use crate::agent::{Agent, AgentError, Limits, Status};

/// One mount that moves between nodes.
pub struct Filesystem {
    args: Arguments,
    probe: Probe,
    /// That it is full was said.
    told_full: AtomicBool,
}

impl Filesystem {
    /// Touches nothing yet.
    pub fn new(args: Arguments) -> Self {
        Filesystem {
            args,
            probe: Probe::default(),
            told_full: AtomicBool::new(false),
        }
    }

    /// What is mounted here, as far as it concerns us.
    fn look(&self, identity: &Identity) -> Result<Seen, AgentError> {
        let table = Table::read().map_err(AgentError::Failed)?;
        let directory = self.args.directory.display();
        let top = table.top(&identity.point);
        if let Some(mount) = top.filter(|m| identity.is(&self.args, m, &table)) {
            return Ok(Seen::Mounted(mount.clone()));
        }
        let ours = identity.ours(&self.args, &table);
        let elsewhere = table.0.iter().find(|m| ours.contains(&m.id));
        Ok(match (elsewhere, top) {
            (Some(mount), Some(top)) if mount.point == identity.point => Seen::Astray(format!(
                "{directory} is covered by another mount, {} ({}); unmount that: umount {directory}",
                top.source.display(),
                top.kind
            )),
            (Some(mount), _) => Seen::Astray(format!(
                "{} is mounted, but on {} and not on {directory}; unmount it there",
                self.args.source,
                mount.point.display()
            )),
            (None, Some(other)) => Seen::Occupied(format!(
                "something else is mounted on {directory}: {} ({}); unmount it, or name another directory",
                other.source.display(),
                other.kind
            )),
            (None, None) => Seen::Nothing,
        })
    }

    /// Whether a mount that is there is also well.
    async fn judge(
        &self,
        mount: &Mount,
        identity: &Identity,
        limits: &Limits,
    ) -> Result<Status, AgentError> {
        let directory = &self.args.directory;
        let writes = self.args.writable();
        if writes && mount.read_only() {
            return Err(AgentError::Failed(format!(
                "{} is mounted read-only; the kernel does that after errors on the disk, see dmesg",
                directory.display()
            )));
        }
        let device = identity
            .path
            .as_deref()
            .filter(|_| identity.device.is_some());
        let found = self.probe.look(directory, device, writes, limits).await?;
        if let Found::Full(said) = &found
            && !self.told_full.load(Ordering::Relaxed)
        {
            tracing::warn!(
                "{} is full; it counts as running all the same: {said}",
                directory.display()
            );
        }
        self.told_full
            .store(found != Found::Well, Ordering::Relaxed);
        Ok(Status::Running)
    }

    async fn mount(&self, identity: &Identity, limits: &Limits) -> Result<(), AgentError> {
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
                "{directory} is not empty; what is in it is out of sight while {source} is mounted there"
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
                done.said
            )));
        }
        Ok(())
    }
}

/// What a look at the table of mounts found.
enum Seen {
    Mounted(Mount),
    /// Ours, but not where it should be.
    Astray(String),
    /// Not ours, where ours should be.
    Occupied(String),
    Nothing,
}

fn missing(source: &Source) -> String {
    match source {
        Source::Tag(tag) => format!("no block device has {tag}; blkid shows those that are there"),
        source => format!("there is no block device {source}"),
    }
}

#[async_trait]
impl Agent for Filesystem {
    async fn start(&self, limits: &Limits) -> Result<(), AgentError> {
        let identity = Identity::of(&self.args, limits).await?;
        match self.look(&identity)? {
            Seen::Mounted(mount) => {
                return self.judge(&mount, &identity, limits).await.map(drop);
            }
            Seen::Astray(why) | Seen::Occupied(why) => return Err(AgentError::Failed(why)),
            Seen::Nothing => self.mount(&identity, limits).await?,
        }
        // An image has its device only now.
        let identity = Identity::of(&self.args, limits).await?;
        match self.look(&identity)? {
            Seen::Mounted(mount) if self.args.writable() && mount.read_only() => {
                Err(AgentError::Failed(format!(
                    "{} could only be mounted read-only: is it write-protected, or a DRBD device that is not primary? To want that, add the option ro",
                    self.args.source
                )))
            }
            Seen::Mounted(_) => Ok(()),
            Seen::Astray(why) | Seen::Occupied(why) => Err(AgentError::Failed(format!(
                "mount said that it worked, but {why}"
            ))),
            Seen::Nothing => Err(AgentError::Failed(format!(
                "mount said that it worked, but nothing is mounted on {}",
                self.args.directory.display()
            ))),
        }
    }

    async fn stop(&self, limits: &Limits) -> Result<(), AgentError> {
        let identity = Identity::of(&self.args, limits).await?;
        if matches!(self.args.source, Source::Tag(_)) && identity.device.is_none() {
            return nothing_there(&self.args, &identity.point);
        }
        release::release(&self.args, &identity, limits).await
    }

    async fn monitor(&self, limits: &Limits) -> Result<Status, AgentError> {
        let identity = Identity::of(&self.args, limits).await?;
        match self.look(&identity)? {
            Seen::Mounted(mount) => self.judge(&mount, &identity, limits).await,
            Seen::Astray(why) => Err(AgentError::Failed(why)),
            Seen::Occupied(_) | Seen::Nothing => Ok(Status::Stopped),
        }
    }
}

/// No device has the label any more, so a mount cannot be told to be ours; that there is none can.
fn nothing_there(args: &Arguments, point: &Path) -> Result<(), AgentError> {
    let table = Table::read().map_err(AgentError::Failed)?;
    match table.top(point) {
        None => Ok(()),
        Some(mount) => Err(AgentError::Failed(format!(
            "no block device has {} any more, and {} is mounted on {}: whether that is it cannot be told; unmount it yourself",
            args.source,
            mount.source.display(),
            point.display()
        ))),
    }
}
