//! The outermost process of a lab, and where labs are found.
//!
//! It makes the user namespace (for an ordinary user) and the pid namespace, starts `serve` as that namespace's first process, and
//! removes the lab's folder when `serve` has ended. It has one thread: a process that has unshared its pid namespace
//! can have no second one.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid, setsid};

use super::plan::LabPlan;
use super::{ErrorContext, LabError};

/// The folder of this user's labs; it is made if it is missing.
pub fn labs_dir() -> Result<PathBuf, LabError> {
    let base = if geteuid().is_root() {
        PathBuf::from("/run/had-lab")
    } else {
        let session = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|d| d.is_dir());
        session.map_or_else(
            || PathBuf::from(format!("/tmp/had-lab-{}", geteuid())),
            |d| d.join("had-lab"),
        )
    };
    make_private(&base)?;
    Ok(base)
}

/// In /tmp anybody could have made the folder before us, so its owner is checked.
fn make_private(path: &Path) -> Result<(), LabError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(e).doing(|| format!("cannot create the folder {}", path.display()));
        }
        _ => {}
    }
    let is = fs::symlink_metadata(path).doing(|| format!("cannot check {}", path.display()))?;
    if !is.is_dir() || is.uid() != geteuid().as_raw() {
        return Err(LabError::Refused(format!(
            "{} belongs to somebody else; remove it",
            path.display()
        )));
    }
    Ok(())
}

/// `hactl lab supervise`: the plan is the first line of stdin. With `lifeline` the lab ends when stdin does.
/// The first line of stdout is `ready` or an error.
pub fn run(lifeline: bool) -> ExitCode {
    match supervise(lifeline) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            println!("{}", e.to_string().replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn supervise(lifeline: bool) -> Result<(), LabError> {
    let mut line = String::new();
    let stdin = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .doing(|| "cannot read the plan".to_owned())?;
    let mut stdin = BufReader::new(File::from(stdin));
    stdin
        .read_line(&mut line)
        .doing(|| "cannot read the plan".to_owned())?;
    let plan: LabPlan = serde_json::from_str(&line)
        .map_err(|e| LabError::Plan(format!("no plan on stdin: {e}")))?;
    plan.check()?;
    // Ctrl-C in the caller's terminal is for the caller. An error means that we already lead a session.
    setsid().ok();
    let claimed = ClaimedFolder::new(&labs_dir()?.join(&plan.name), &plan.name)?;
    let plan_path = claimed.dir.join("plan.json");
    fs::write(&plan_path, &line).doing(|| format!("cannot write {}", plan_path.display()))?;
    if !geteuid().is_root() {
        become_root_of_our_own()?;
    }
    unshare(CloneFlags::CLONE_NEWPID).map_err(|e| no_namespaces("a pid namespace", e.into()))?;
    let mut serve = start_serve(&claimed.dir, &plan)?;
    wait_for_the_end(&mut serve, lifeline.then_some(stdin.get_ref()))
}

/// The lab's folder, locked while this exists and removed with it.
struct ClaimedFolder {
    dir: PathBuf,
    _lock: Flock<File>,
}

impl ClaimedFolder {
    fn new(dir: &Path, name: &str) -> Result<ClaimedFolder, LabError> {
        let doing = || format!("cannot use the folder {}", dir.display());
        make_private(dir)?;
        let handle = File::open(dir).doing(doing)?;
        let Ok(lock) = Flock::lock(handle, FlockArg::LockExclusiveNonblock) else {
            let text = format!(
                "the lab {name} is already running; end it with: hactl lab down --name {name}"
            );
            return Err(LabError::Refused(text));
        };
        // Left by a lab that was killed.
        for entry in fs::read_dir(dir).doing(doing)?.flatten() {
            remove(&entry.path()).doing(doing)?;
        }
        Ok(ClaimedFolder {
            dir: dir.to_owned(),
            _lock: lock,
        })
    }
}

impl Drop for ClaimedFolder {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.dir) {
            // Only the log, if there is one, can report this.
            drop(writeln!(
                io::stderr(),
                "cannot remove {}: {e}",
                self.dir.display()
            ));
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// A user namespace in which we are root: with it an ordinary user can have networks and mounts.
fn become_root_of_our_own() -> Result<(), LabError> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|e| no_namespaces("a user namespace", e.into()))?;
    let write = |file: &str, text: &str| {
        fs::write(format!("/proc/self/{file}"), text)
            .map_err(|e| no_namespaces("a user namespace", e))
    };
    write("setgroups", "deny")?;
    write("uid_map", &format!("0 {user} 1"))?;
    write("gid_map", &format!("0 {group} 1"))
}

/// Which setting of this machine prevents it.
fn no_namespaces(what: &str, source: io::Error) -> LabError {
    const SETTINGS: [(&str, &str, &str); 3] = [
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            "/proc/sys/user/max_user_namespaces",
            "0",
            "user.max_user_namespaces=10000",
        ),
    ];
    let guilty = SETTINGS
        .iter()
        .find(|(path, bad, _)| fs::read_to_string(path).is_ok_and(|value| value.trim() == *bad));
    let remedy = match guilty {
        Some((_, _, setting)) => format!("as root: sysctl {setting}, or run the lab as root"),
        None => "run the lab as root; in a container it needs CAP_SYS_ADMIN and a seccomp profile that allows unshare; \
                 on the machine itself see sysctl user.max_user_namespaces"
            .to_owned(),
    };
    LabError::System {
        doing: format!("the kernel refuses {what} ({remedy})"),
        source,
    }
}

fn start_serve(dir: &Path, plan: &LabPlan) -> Result<Child, LabError> {
    let doing = || "cannot start the lab's first process".to_owned();
    let exe = std::env::current_exe().doing(doing)?;
    Command::new(&exe)
        .args(["lab", "serve"])
        .arg(dir)
        .env("PATH", path_with(&[&plan.had, &exe]))
        // The lab's daemons have no service manager.
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::piped())
        .spawn()
        .doing(doing)
}

/// The PATH of hosts: first the folder of these programs, so that `hactl` on a host is the one that belongs to its daemon.
fn path_with(programs: &[&Path]) -> OsString {
    let usual = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let folders = programs
        .iter()
        .filter_map(|p| p.parent())
        .map(Path::to_owned);
    let folders = folders
        .filter(|f| f.is_absolute())
        .chain(std::env::split_paths(&usual));
    std::env::join_paths(folders).unwrap_or(usual)
}

/// Until `serve` ends by itself (its end of the pipe closes), or the caller does (its end of the lifeline closes).
fn wait_for_the_end(serve: &mut Child, lifeline: Option<&File>) -> Result<(), LabError> {
    // Taken out, because std closes a child's stdin when it waits for the child.
    let pipe = serve.stdin.take();
    loop {
        let mut watched = Vec::new();
        if let Some(pipe) = &pipe {
            watched.push(PollFd::new(pipe.as_fd(), PollFlags::empty()));
        }
        if let Some(lifeline) = lifeline {
            watched.push(PollFd::new(lifeline.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut watched, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => {}
            _ => break,
        }
    }
    // It may already be ending.
    drop(serve.kill());
    serve
        .wait()
        .doing(|| "cannot wait for the lab's first process".to_owned())?;
    Ok(())
}
