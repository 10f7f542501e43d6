//! What a host sees as its disk: this machine's files, but with an `/etc/ha.d`, `/var/lib/had`, `/var/log` and `/run` of its own.
//!
//! The first three live in the lab's folder and survive a crash of the host, as a disk does; `/run` is memory and does not.
//! `/tmp` and everything else is this machine's own: binaries and test folders live there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::plan::HostPlan;
use super::{ErrorContext, LabError};

/// Folders of `/run` that belong to services of this machine, which the host does not have.
const NOT_OF_THE_HOST: [&str; 5] = ["systemd", "dbus", "had", "had-lab", "user"];

/// A host's folders in the lab's folder.
pub struct HostDisk(PathBuf);

impl HostDisk {
    /// The disk in this folder; nothing is made yet.
    pub fn at(folder: PathBuf) -> HostDisk {
        HostDisk(folder)
    }

    /// Makes the folders, with a private copy of the configuration. Once in a host's life, not at each boot.
    pub fn format(&self, host: &HostPlan, scripts: Option<&Path>) -> Result<(), LabError> {
        for part in ["ha.d", "lib", "log", "stage"] {
            make_dir(&self.0.join(part))?;
        }
        mirror_folders(Path::new("/var/log"), &self.0.join("log"), &[]);
        let Some((config, lines)) = &host.config else {
            return Ok(());
        };
        if let Some(scripts) = scripts {
            let folder = self.0.join("ha.d/resource.d");
            make_dir(&folder)?;
            copy_tree(scripts, &folder)?;
        }
        // What it has itself takes their place.
        copy_tree(config, &self.0.join("ha.d"))?;
        // A checkout is readable for everybody, and the daemon refuses such keys.
        let keys = self.0.join("ha.d/authkeys");
        if keys.exists() {
            fs::set_permissions(&keys, fs::Permissions::from_mode(0o600))
                .doing(|| format!("cannot set the mode of {}", keys.display()))?;
        }
        if lines.is_empty() {
            return Ok(());
        }
        let ha_cf = self.0.join("ha.d/ha.cf");
        let added = lines.join("\n");
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&ha_cf)
            .and_then(|mut f| writeln!(f, "\n# added by the lab for this node:\n{added}"))
            .doing(|| format!("cannot add to {}", ha_cf.display()))
    }

    /// Where the daemon's output goes.
    pub fn log_path(&self) -> PathBuf {
        self.0.join("had.log")
    }

    /// The daemon's log, open for appending.
    pub fn log(&self) -> Result<File, LabError> {
        let path = self.log_path();
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .doing(|| format!("cannot write {}", path.display()))
    }

    /// Mounts the host's own folders over this machine's. The calling thread must be in a mount namespace of its own.
    pub fn mount(&self) -> Result<(), LabError> {
        // Otherwise the mounts below would also appear outside.
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .doing(|| "cannot set the mounts to private".to_owned())?;
        self.bind_over("/etc/ha.d", "ha.d")?;
        self.bind_over("/var/lib/had", "lib")?;
        self.bind_over("/var/log", "log")?;
        // Last, because the lab's folder itself may be under /run.
        let run = Path::new("/run");
        let folders = folders_of(run, &NOT_OF_THE_HOST);
        mount_tmpfs(run)?;
        for folder in folders.iter().chain([&like(Path::new("had"))]) {
            folder.make_in(run);
        }
        Ok(())
    }

    /// Binds a folder of this disk over `target`, which need not exist on this machine.
    fn bind_over(&self, target: &str, part: &str) -> Result<(), LabError> {
        let target = Path::new(target);
        if !target.is_dir() {
            self.make_room(target)?;
        }
        bind(&self.0.join(part), target)
    }

    /// Makes an empty folder `target` that only this host sees: its parent is replaced by a tmpfs into which everything that the
    /// parent has is bound.
    fn make_room(&self, target: &Path) -> Result<(), LabError> {
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Ok(());
        };
        let stage = self.0.join("stage");
        mount_tmpfs(&stage)?;
        let entries = fs::read_dir(parent).doing(|| format!("cannot list {}", parent.display()))?;
        for entry in entries.flatten() {
            let (from, to) = (entry.path(), stage.join(entry.file_name()));
            let kind = entry
                .file_type()
                .doing(|| format!("cannot read the type of {}", from.display()))?;
            if entry.file_name() == name {
                continue;
            }
            if kind.is_symlink() {
                fs::read_link(&from)
                    .and_then(|target| symlink(target, &to))
                    .doing(|| format!("cannot copy the link {}", from.display()))?;
                continue;
            }
            if kind.is_dir() {
                make_dir(&to)?;
            } else {
                File::create(&to).doing(|| format!("cannot create {}", to.display()))?;
            }
            bind(&from, &to)?;
        }
        make_dir(&stage.join(name))?;
        mount(
            Some(&stage),
            parent,
            None::<&str>,
            MsFlags::MS_MOVE,
            None::<&str>,
        )
        .doing(|| format!("cannot mount a copy over {}", parent.display()))
    }
}

/// Mounts the host's own `/proc` and `/sys`; for its first process to call.
pub fn mount_proc_and_sys() -> Result<(), LabError> {
    let none = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), none, None::<&str>).doing(|| {
        "cannot mount /proc (in a container it must not be masked; run the container unconfined)".to_owned()
    })?;
    // This only shows the host's own cards, and containers often refuse it.
    mount(Some("sysfs"), "/sys", Some("sysfs"), none, None::<&str>).ok();
    Ok(())
}

fn bind(from: &Path, to: &Path) -> Result<(), LabError> {
    mount(
        Some(from),
        to,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )
    .doing(|| format!("cannot bind {} to {}", from.display(), to.display()))
}

fn mount_tmpfs(at: &Path) -> Result<(), LabError> {
    mount(
        Some("tmpfs"),
        at,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=755"),
    )
    .doing(|| format!("cannot mount a tmpfs on {}", at.display()))
}

/// Makes a folder with mode 0755, whatever the umask, unless it exists.
pub fn make_dir(path: &Path) -> Result<(), LabError> {
    let made = match DirBuilder::new().mode(0o755).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    made.doing(|| format!("cannot create the folder {}", path.display()))
}

/// A folder's name, owner and mode.
struct HostFolder {
    name: PathBuf,
    mode: u32,
    owner: Option<(u32, u32)>,
}

impl HostFolder {
    /// Makes the same folder. An owner that the user namespace does not know cannot be set; then the folder is ours.
    fn make_in(&self, parent: &Path) {
        let path = parent.join(&self.name);
        if make_dir(&path).is_ok() {
            if let Some((user, group)) = self.owner {
                drop(chown(&path, Some(user), Some(group)));
            }
            drop(fs::set_permissions(
                &path,
                fs::Permissions::from_mode(self.mode),
            ));
        }
    }
}

fn like(name: &Path) -> HostFolder {
    HostFolder {
        name: name.to_owned(),
        mode: 0o755,
        owner: None,
    }
}

fn folders_of(path: &Path, except: &[&str]) -> Vec<HostFolder> {
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|e| !except.iter().any(|name| e.file_name() == *name))
        .filter_map(|e| {
            e.metadata()
                .ok()
                .filter(fs::Metadata::is_dir)
                .map(|m| (e, m))
        })
        .map(|(e, m)| HostFolder {
            name: PathBuf::from(e.file_name()),
            mode: m.permissions().mode() & 0o7777,
            owner: Some((m.uid(), m.gid())),
        })
        .collect()
}

/// Makes empty folders like those of `from`: nginx will not start without its `/var/log/nginx`, mysqld without its `/run/mysqld`.
fn mirror_folders(from: &Path, to: &Path, except: &[&str]) {
    for folder in folders_of(from, except) {
        folder.make_in(to);
    }
}

/// Copies files, folders, links and modes, but without the right of others to write, which a umask of 002 gives and the daemon
/// refuses. Sockets and devices in a configuration folder are left out.
fn copy_tree(from: &Path, to: &Path) -> Result<(), LabError> {
    let doing = |path: &Path| format!("cannot copy {}", path.display());
    for entry in fs::read_dir(from).doing(|| doing(from))? {
        let entry = entry.doing(|| doing(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().doing(|| doing(&source))?;
        if kind.is_dir() {
            make_dir(&target)?;
            copy_tree(&source, &target)?;
        } else if kind.is_symlink() {
            let points_to = fs::read_link(&source).doing(|| doing(&source))?;
            fs::remove_file(&target).ok(); // one of the scripts of the lab
            symlink(points_to, &target).doing(|| doing(&source))?;
        } else if kind.is_file() {
            fs::copy(&source, &target).doing(|| doing(&source))?;
        }
        if !kind.is_symlink() && target.exists() {
            let meta = entry.metadata().doing(|| doing(&source))?;
            let mode = meta.permissions().mode() & !0o022;
            fs::set_permissions(&target, fs::Permissions::from_mode(mode))
                .doing(|| doing(&source))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_copied_with_modes_and_links_and_gets_its_lines() {
        let from = tempfile::tempdir().unwrap();
        let to = tempfile::tempdir().unwrap();
        fs::write(from.path().join("ha.cf"), "node alice").unwrap();
        fs::create_dir(from.path().join("resource.d")).unwrap();
        let script = from.path().join("resource.d/web");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o770)).unwrap();
        symlink("ha.cf", from.path().join("link")).unwrap();
        let host = HostPlan {
            name: "alice".into(),
            config: Some((from.path().into(), vec!["ucast eth0 10.0.0.2".into()])),
            interfaces: vec![],
        };
        let scripts = tempfile::tempdir().unwrap();
        for (name, text) in [("web", "the tree's"), ("db", "the tree's")] {
            fs::write(scripts.path().join(name), text).unwrap();
        }
        let disk = HostDisk::at(to.path().into());
        disk.format(&host, Some(scripts.path())).unwrap();
        let copy = to.path().join("ha.d");
        let text = fs::read_to_string(copy.join("ha.cf")).unwrap();
        assert!(text.starts_with("node alice\n"), "{text}");
        assert!(text.ends_with("\nucast eth0 10.0.0.2\n"), "{text}");
        let mode = fs::metadata(copy.join("resource.d/web"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o750);
        let script = |name: &str| fs::read_to_string(copy.join("resource.d").join(name)).unwrap();
        assert_eq!(
            (script("web").as_str(), script("db").as_str()),
            ("#!/bin/sh\n", "the tree's")
        );
        assert_eq!(
            fs::read_link(copy.join("link")).unwrap(),
            Path::new("ha.cf")
        );
        assert_eq!(
            fs::read_to_string(from.path().join("ha.cf")).unwrap(),
            "node alice"
        );
    }
}
