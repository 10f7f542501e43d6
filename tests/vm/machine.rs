//! One emulated machine: power, its disks, and what is run inside.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::{Agent, Output, Running};
use crate::command::{finish, until, until_so};
use crate::image::Image;
use crate::network::{self, NETS};
use crate::qmp;

/// The machine's own: all that was written to its root, and what DRBD lies on.
pub const DISKS: [&str; 2] = ["own.raw", "data.raw"];
const OWN_SIZE: &str = "1G";
const DATA_SIZE: u64 = 64 << 20;
const MEMORY: &str = "384";
/// How long a sign of the agent is waited for before the next is asked for.
const KNOCK: Duration = Duration::from_secs(1);

/// What a guest's kernel starts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Init {
    Busybox,
    Systemd,
}

impl Init {
    fn path(self) -> &'static str {
        match self {
            Init::Busybox => "/usr/lib/guest/init",
            Init::Systemd => "/lib/systemd/systemd",
        }
    }
}

/// One machine. Its folder is below the working directory, so that the paths of its sockets are short.
pub struct Machine {
    pub name: &'static str,
    init: Init,
    folder: PathBuf,
    process: Option<Child>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Machine {
    /// A machine that is off, with a folder of files laid over the root image.
    pub fn new(name: &'static str, init: Init, files: &std::path::Path) -> Machine {
        let folder = PathBuf::from(name);
        drop(fs::remove_dir_all(&folder));
        fs::create_dir(&folder).unwrap();
        let data = File::create(folder.join("data.raw")).unwrap();
        data.set_len(DATA_SIZE).unwrap();
        finish(
            Command::new("mke2fs")
                .args(["-q", "-t", "ext4", "-m", "0"])
                .args(["-E", "lazy_itable_init=1,root_owner=0:0", "-d"])
                .args([files, &folder.join("own.raw")])
                .arg(OWN_SIZE),
        );
        Machine {
            name,
            init,
            folder,
            process: None,
        }
    }

    /// A file of the machine, as this side sees it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn agent(&self) -> Agent {
        Agent {
            socket: self.file("agent.sock"),
        }
    }

    // --- Power

    /// Switches it on. With `memory` it goes on from there, and stands still until it is told to run.
    pub fn switch_on(&mut self, image: &Image, memory: Option<&std::path::Path>) {
        assert!(!self.is_on(), "{} is on already", self.name);
        // It must not outlive this process, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        self.hardware(&mut command, image);
        if let Some(path) = memory {
            let load = format!("exec:cat {}", path.display());
            command.args(["-S", "-incoming", &load]);
        }
        let path = self.file("emulator.log");
        let log = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(log).spawn().unwrap();
        self.process = Some(child);
        until_so(&format!("the monitor of {}", self.name), || {
            self.monitor_answers()
        });
    }

    fn monitor_answers(&mut self) -> bool {
        let log = || fs::read_to_string(self.folder.join("emulator.log")).unwrap_or_default();
        let ended = self.process.as_mut().unwrap().try_wait().unwrap();
        assert!(ended.is_none(), "{}: no emulator: {}", self.name, log());
        std::os::unix::net::UnixStream::connect(self.file("monitor.sock")).is_ok()
    }

    fn hardware(&self, command: &mut Command, image: &Image) {
        let accel = std::env::var("HAD_VM_ACCEL");
        let accel = accel.unwrap_or_else(|_| "tcg,thread=multi,tb-size=128".to_owned());
        let path = |name: &str| self.file(name).display().to_string();
        let append = format!(
            "console=ttyS0 loglevel=4 panic=1 mitigations=off net.ifnames=0 guest.init={}",
            self.init.path()
        );
        command.args(["-name", self.name, "-machine", "pc", "-accel", &accel]);
        command.args(["-cpu", "max", "-m", MEMORY, "-smp", "1"]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
        // A guest that ends, reboots or panics is off.
        command.arg("-no-reboot");
        command.arg("-kernel").arg(&image.kernel);
        command.arg("-initrd").arg(&image.initramfs);
        command.args(["-append", &append]);
        command
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", path("monitor.sock")));
        let console = format!("file,id=con,path={},append=on", path("console.log"));
        command.args(["-chardev", &console, "-serial", "chardev:con"]);
        command.args(["-device", "virtio-serial-pci", "-device", "virtio-rng-pci"]);
        let agent = format!("socket,path={},server=on,wait=off", path("agent.sock"));
        let log = format!("file,path={},append=on", path("guest.log"));
        for (name, way) in [("org.qemu.guest_agent.0", agent), ("guest.log", log)] {
            let (kind, rest) = way.split_once(',').unwrap();
            command.args(["-chardev", &format!("{kind},id=port-{name},{rest}")]);
            let device = format!("virtserialport,chardev=port-{name},name={name}");
            command.args(["-device", &device]);
        }
        let root = (image.root.display().to_string(), "on");
        let own = DISKS.map(|name| (path(name), "off"));
        for (n, (file, read_only)) in std::iter::once(root).chain(own).enumerate() {
            // What the guest has seen completed outlives the emulator in this kernel's memory; more is not asked.
            command.arg("-drive").arg(format!(
                "if=none,id=disk{n},file={file},format=raw,readonly={read_only},cache=unsafe,discard=unmap"
            ));
            let device = format!("virtio-blk-pci,drive=disk{n}");
            command.args(["-device", &device]);
        }
        for (n, net) in NETS.iter().enumerate() {
            let port = network::port(self.name, net);
            command.arg("-netdev").arg(format!(
                "tap,id={net},ifname={port},script=no,downscript=no"
            ));
            command.arg("-device").arg(format!(
                "virtio-net-pci,netdev={net},romfile=,mac={}",
                self.card(n)
            ));
        }
    }

    /// The number of a card.
    pub fn card(&self, n: usize) -> String {
        let last = if self.name == network::NAMES[0] { 6 } else { 7 };
        format!("52:54:00:88:{n:02x}:{last:02x}")
    }

    /// Whether commands can be run inside.
    pub fn answers(&self) -> bool {
        self.agent().answers(KNOCK)
    }

    /// Waits until commands can be run inside.
    pub fn wait_up(&mut self) {
        until(&format!("{} is up", self.name), || {
            assert!(self.is_on(), "{} went off while it booted", self.name);
            self.answers().then_some(())
        });
    }

    pub fn is_on(&mut self) -> bool {
        let ended = |child: &mut Child| child.try_wait().unwrap().is_some();
        if self.process.as_mut().is_some_and(ended) {
            self.process = None;
        }
        self.process.is_some()
    }

    /// Power loss.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Orderly, from inside.
    pub fn shut_down(&mut self) {
        self.begin(
            "if [ -d /run/systemd/system ]; then systemctl poweroff; else busybox poweroff; fi",
        );
        self.wait_off();
    }

    pub fn wait_off(&mut self) {
        until_so(&format!("{} is off", self.name), || !self.is_on());
    }

    /// It stands still, and does not know.
    pub fn pause(&self) {
        self.order("stop", &json!({}));
    }

    pub fn resume(&self) {
        self.order("cont", &json!({}));
    }

    /// An order to the emulator.
    pub fn order(&self, command: &str, arguments: &Value) -> Value {
        qmp::order(&self.file("monitor.sock"), command, arguments)
    }

    // --- Inside

    /// Runs a shell script inside; an error where the machine or its agent was lost meanwhile.
    pub fn try_sh(&self, script: &str) -> Result<Output, String> {
        let agent = self.agent();
        let running = agent.start(&["/bin/bash", "-c", script], b"")?;
        agent.wait(&running)
    }

    /// Runs a shell script inside.
    pub fn run(&self, script: &str) -> Output {
        let output = self.try_sh(script);
        output.unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// The same, must succeed; what it wrote to stdout.
    pub fn sh(&self, script: &str) -> String {
        let output = self.run(script);
        assert_eq!(output.code, 0, "{}: {script}: {output:?}", self.name);
        output.stdout
    }

    /// Starts a script, to be waited for with [`Machine::done`].
    pub fn begin(&self, script: &str) -> Running {
        let running = self.agent().start(&["/bin/bash", "-c", script], b"");
        running.unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// How it ended.
    pub fn done(&self, running: &Running) -> Output {
        let output = self.agent().wait(running);
        output.unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// Starts a daemon in a session of its own; what it writes goes to the log.
    pub fn spawn(&self, command: &str) {
        self.sh(&format!(
            "setsid bash -c 'exec {command} > >(exec busybox logger -t spawned) 2>&1' </dev/null >/dev/null 2>&1 &"
        ));
    }

    /// Writes a file inside.
    pub fn put(&self, path: &str, text: &str) {
        let agent = self.agent();
        let script = "mkdir -p \"${0%/*}\" && cat > \"$0\"";
        let running = agent.start(&["/bin/bash", "-c", script, path], text.as_bytes());
        let output = running.and_then(|r| agent.wait(&r)).unwrap();
        assert_eq!(output.code, 0, "{}: {path}: {output:?}", self.name);
    }

    /// Drops packages of a kind (`tcp dport 7788`), in and out, until [`Machine::unblock`].
    pub fn block(&self, kinds: &[&str]) {
        let mut rules = "add table inet cut\n".to_owned();
        for chain in ["input", "output"] {
            rules +=
                &format!("add chain inet cut {chain} {{ type filter hook {chain} priority 0; }}\n");
            for kind in kinds {
                rules += &format!("add rule inet cut {chain} {kind} drop\n");
            }
        }
        self.put("/run/cut.nft", &rules);
        self.sh("nft -f /run/cut.nft");
    }

    pub fn unblock(&self) {
        self.sh("nft delete table inet cut");
    }
}
