//! Shared by the tests of services: a private mount namespace, disks in files, and the log of the agents.

use std::fmt::{self, Write};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use had::agent::builtin::filesystem::Filesystem;
use had::agent::builtin::filesystem::arguments::MountArguments;
use had::agent::{Abort, Limits};
use had::model::status::CheckState;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use crate::cluster::{Blueprint, Cluster};

/// How long a wait may take before it fails.
const DEADLINE: Duration = Duration::from_secs(60);
/// The prefix of all folders. By it, the next test finds and frees the loop devices of a test that was killed.
const PREFIX: &str = "had-services-";

/// Runs a test, and all that it starts, in a thread with its own mount namespace.
pub fn alone(test: impl Future<Output = ()> + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(test);
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Waits until this many checks of this node pass and no other fails. `failback_when` does not count, nor do the checks that
/// each group has of what it needs.
pub fn until_well(cluster: &Cluster, node: &str, checks: usize) {
    cluster.until_status(node, "its checks are good", |s| {
        let those = s.checks.iter();
        let mut those =
            those.filter(|c| c.name != "failback_when" && !c.name.starts_with("needs:"));
        those.clone().count() == checks && those.all(|c| c.state == CheckState::Good)
    });
}

/// A folder that every account can enter.
pub fn folder() -> TempDir {
    free_left_devices();
    let prefix = format!("{PREFIX}{}-", std::process::id());
    let dir = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Detaches loop devices of tests that have ended.
fn free_left_devices() {
    for device in fs::read_dir("/sys/block").unwrap().flatten() {
        let file = fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
        let Some((_, rest)) = file.split_once(PREFIX) else {
            continue;
        };
        let pid = rest.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(pid).exists() {
            let path = Path::new("/dev").join(device.file_name());
            Command::new("losetup")
                .arg("-d")
                .arg(path)
                .status()
                .unwrap();
        }
    }
}

/// A cluster from a folder of `ha.d/examples`. Only the mode of its secrets is changed, because git cannot keep that.
pub fn example(name: &str, example: &str) -> Blueprint {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("ha.d/examples")
        .join(example);
    let mut blueprint = Blueprint::new(name, "", "");
    for path in sh(&format!("cd {} && find . -type f", path(&folder))).lines() {
        let text = fs::read_to_string(folder.join(path)).unwrap();
        let mode = fs::metadata(folder.join(path))
            .unwrap()
            .permissions()
            .mode();
        let secret = ["./authkeys", "./replication.cnf", "./rsyncd.secrets"].contains(&path);
        let others = if secret { 0o600 } else { 0o777 };
        blueprint = blueprint.file(path, &text, mode & others);
    }
    blueprint
}

/// Runs a shell command that must succeed. Returns its output.
pub fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A file as a block device, until this is dropped.
pub struct Disk {
    pub image: PathBuf,
    pub device: PathBuf,
}

impl Disk {
    /// Makes one with a file system. `make` is the command without the file, such as `mkfs.ext4 -L db`.
    pub fn new(folder: &TempDir, name: &str, megabytes: u32, make: &str) -> Disk {
        let image = folder.path().join(format!("{name}.img"));
        let shown = image.display();
        sh(&format!(
            "truncate -s {megabytes}M {shown} && {make} {shown} >/dev/null 2>&1"
        ));
        let device = sh(&format!("losetup --find --show {shown}")).trim().into();
        Disk { image, device }
    }

    pub fn ext4(folder: &TempDir, name: &str) -> Disk {
        Disk::new(folder, name, 32, "mkfs.ext4 -q -F")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let detached = Command::new("losetup").arg("-d").arg(&self.device).status();
        drop(detached);
    }
}

/// A mount point and an ext4 disk for it.
pub struct Place {
    pub agent: Filesystem,
    pub point: PathBuf,
    pub disk: Disk,
    pub folder: TempDir,
}

impl Place {
    /// Makes both. Nothing is mounted.
    pub fn ext4() -> Place {
        let folder = folder();
        let disk = Disk::ext4(&folder, "db");
        let point = folder.path().join("m");
        fs::create_dir(&point).unwrap();
        let agent = filesystem(&[path(&disk.device), path(&point), "ext4"]);
        Place {
            agent,
            point,
            disk,
            folder,
        }
    }

    /// The agent of the same mount with these options.
    pub fn with_options(&self, options: &str) -> Filesystem {
        filesystem(&[path(&self.disk.device), path(&self.point), "ext4", options])
    }
}

/// The agent of a word's arguments.
pub fn filesystem(args: &[&str]) -> Filesystem {
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    Filesystem::new(MountArguments::parse(&args).unwrap())
}

pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub fn within(seconds: u64) -> Limits {
    Limits::within(Duration::from_secs(seconds), &Abort::new())
}

/// Long enough for anything that should succeed.
pub fn limits() -> Limits {
    within(60)
}

/// A process that ends with the test.
pub struct Process(pub Child);

impl Process {
    /// Starts it by a shell command, which should `exec` the program.
    pub fn start(command: &str) -> Process {
        let mut process = Command::new("sh");
        process.args(["-c", command]).stdin(Stdio::null());
        Process(process.spawn().unwrap())
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    pub fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Waits for its end. Returns the signal that ended it.
    pub fn ended_by(&mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        wait("its end", || !self.runs());
        self.0.wait().unwrap().signal()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Waits for a condition. Fails after the deadline.
pub fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What the agents log in this thread.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<String>>);

impl Log {
    /// Collects it until the guard is dropped.
    pub fn catch() -> (Log, tracing::subscriber::DefaultGuard) {
        let log = Log::default();
        let subscriber = tracing_subscriber::registry().with(log.clone());
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        event.record(&mut Words(&mut self.0.lock().unwrap()));
    }
}

/// Writes the message of each event as a line.
struct Words<'a>(&'a mut String);

impl tracing::field::Visit for Words<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            writeln!(self.0, "{value:?}").unwrap();
        }
    }
}
