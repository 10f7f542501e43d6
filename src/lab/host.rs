//! One host: power on and off, and programs on it.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{Pid, sethostname};

use super::control::ProgramExit;
use super::disk::HostDisk;
use super::init::{InitMessage, InitRequest, MAX_MESSAGE_BYTES};
use super::net::LabNetlink;
use super::plan::HostPlan;
use super::switch::{PortId, Switch};
use super::{ErrorContext, LabError};
use crate::sys::fdpass;
use crate::sys::tap::Tap;

/// How long a host may take from power on until its first process is ready.
const BOOT: Duration = Duration::from_secs(30);
/// How long a host may take to start a program; memory pressure may delay it.
const SPAWN: Duration = Duration::from_secs(30);

/// A host, on or off.
pub struct Host {
    /// Its plan.
    pub plan: HostPlan,
    /// Its number in the switch.
    pub number: usize,
    /// Its disk.
    pub disk: HostDisk,
    /// How often it was powered on.
    pub boots: AtomicU64,
    running: Mutex<Option<Arc<RunningHost>>>,
}

/// A host that is on.
pub struct RunningHost {
    /// Its network namespace.
    pub netns: OwnedFd,
    /// Its cards by name, with their ports.
    pub ports: Vec<(String, PortId)>,
    /// The number of this boot.
    pub boot: u64,
    /// Whether its processes are stopped.
    pub frozen: AtomicBool,
    /// The daemon, once started.
    pub had: Mutex<Option<HostProgram>>,
    /// How it ended by itself, until somebody asks.
    had_exit: Mutex<Option<ProgramExit>>,
    init: Pid,
    orders: OwnedFd,
    waiting: Mutex<HashMap<u64, Sender<InitMessage>>>,
    next_job: AtomicU64,
    /// Disconnected when the last process of the host has ended.
    over: Mutex<Receiver<()>>,
}

/// A program that was started in a host.
pub struct HostProgram {
    /// Its process number there.
    pub pid: i32,
    notes: Receiver<InitMessage>,
}

impl HostProgram {
    /// Waits for its end; none if it takes too long.
    pub fn wait(&self, timeout: Option<Duration>) -> Option<ProgramExit> {
        let note = match timeout {
            None => self.notes.recv().ok(),
            Some(timeout) => match self.notes.recv_timeout(timeout) {
                Ok(note) => Some(note),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => return None,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            },
        };
        match note {
            Some(InitMessage::Ended { exit, .. }) => Some(exit),
            _ => Some(ProgramExit::HostDied),
        }
    }

    /// How it ended, if it has. This consumes the notice of its end: use either this or [`HostProgram::wait`].
    pub fn ended(&self) -> Option<ProgramExit> {
        match self.notes.try_recv() {
            Err(TryRecvError::Empty) => None,
            Ok(InitMessage::Ended { exit, .. }) => Some(exit),
            _ => Some(ProgramExit::HostDied),
        }
    }
}

impl Host {
    /// A host that is off.
    pub fn new(plan: HostPlan, number: usize, disk: HostDisk) -> Host {
        Host {
            plan,
            number,
            disk,
            boots: AtomicU64::new(0),
            running: Mutex::new(None),
        }
    }

    /// The host if it is on.
    pub fn running(&self) -> Option<Arc<RunningHost>> {
        lock(&self.running).clone()
    }

    /// The host, or an error that says that it is off.
    pub fn on(&self) -> Result<Arc<RunningHost>, LabError> {
        self.running().ok_or_else(|| {
            LabError::Refused(format!(
                "{0} is powered off; boot it with: hactl lab restart {0}",
                self.plan.name
            ))
        })
    }

    /// Powers it on. `segments` are the lab's, in order.
    pub fn boot(self: &Arc<Host>, switch: &Switch, segments: &[String]) -> Result<(), LabError> {
        let mut slot = lock(&self.running);
        if slot.is_some() {
            return Err(LabError::Refused(format!(
                "{} is already on",
                self.plan.name
            )));
        }
        let boot = self.boots.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        // A thread of its own, because it leaves this machine's namespaces for good.
        let made = std::thread::scope(|scope| {
            let worker = scope.spawn(|| self.make());
            worker.join().unwrap_or_else(|_| {
                Err(LabError::Refused(
                    "internal error while booting the host (panic); please report it".to_owned(),
                ))
            })
        });
        let StartedInit {
            taps,
            netns,
            mut child,
            orders,
        } = made.map_err(|e| LabError::Refused(format!("{}: {e}", self.plan.name)))?;
        let mut ports = Vec::new();
        for ((name, tap), card) in taps.into_iter().zip(&self.plan.interfaces) {
            let segment = segments
                .iter()
                .position(|s| *s == card.segment)
                .unwrap_or(0);
            ports.push((name, switch.plug(tap, self.number, segment)?));
        }
        let first = first_note(&orders);
        if let Err(e) = first {
            let ids: Vec<PortId> = ports.iter().map(|p| p.1).collect();
            drop(switch.unplug(&ids));
            drop(child.kill());
            drop(child.wait());
            return Err(LabError::Refused(format!("{}: {e}", self.plan.name)));
        }
        let (last_breath, over) = channel();
        let running = Arc::new(RunningHost {
            netns,
            ports,
            boot,
            frozen: AtomicBool::new(false),
            had: Mutex::new(None),
            had_exit: Mutex::new(None),
            init: Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX)),
            orders,
            waiting: Mutex::new(HashMap::new()),
            next_job: AtomicU64::new(0),
            over: Mutex::new(over),
        });
        *slot = Some(Arc::clone(&running));
        let (host, switch) = (Arc::clone(self), switch.clone());
        std::thread::spawn(move || {
            running.listen();
            // The host has died, perhaps by itself; treat it as a crash.
            host.unplug(&switch, Some(boot));
            drop(child.wait());
            lock(&running.waiting).clear();
            drop(last_breath);
        });
        Ok(())
    }

    /// Cuts the power: first all cards at the same instant, then all processes.
    pub fn crash(&self, switch: &Switch) -> Result<(), LabError> {
        let running = self.on()?;
        self.unplug(switch, Some(running.boot));
        kill(running.init, Signal::SIGKILL).ok();
        // Disconnected when the last process is gone.
        lock(&running.over).recv().ok();
        Ok(())
    }

    fn unplug(&self, switch: &Switch, boot: Option<u64>) {
        let mut slot = lock(&self.running);
        if slot.as_ref().map(|r| r.boot) != boot {
            return;
        }
        let Some(running) = slot.take() else {
            return;
        };
        let ports: Vec<PortId> = running.ports.iter().map(|p| p.1).collect();
        let taps = switch.unplug(&ports);
        drop(slot);
        // Removing devices is slow; the kill need not wait for it.
        kill(running.init, Signal::SIGKILL).ok();
        drop(taps);
    }

    /// Builds namespaces, cards and mounts in the calling thread, and starts the first process in them.
    fn make(&self) -> Result<StartedInit, LabError> {
        let spaces = CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC;
        unshare(spaces)
            .doing(|| "cannot create namespaces (CAP_SYS_ADMIN is needed)".to_owned())?;
        sethostname(&self.plan.name).doing(|| "cannot set the hostname".to_owned())?;
        let netlink = LabNetlink::open()?;
        netlink.loopback_up()?;
        let mut taps = Vec::new();
        for (place, card) in self.plan.interfaces.iter().enumerate() {
            let tap = Tap::create(&card.name).map_err(|e| no_tap(&card.name, e))?;
            netlink.configure(card, self.mac(place))?;
            taps.push((card.name.clone(), tap));
        }
        let netns = File::open("/proc/thread-self/ns/net")
            .doing(|| "cannot open the network namespace".to_owned())?;
        // After the mounts the lab's folder may be hidden.
        let log = self.disk.log()?;
        self.disk.mount()?;
        let (child, orders) = start_init(log)?;
        Ok(StartedInit {
            taps,
            netns: netns.into(),
            child,
            orders,
        })
    }

    /// A locally administered MAC, the same at every boot.
    fn mac(&self, card: usize) -> [u8; 6] {
        let byte = |n: usize| u8::try_from(n & 0xff).unwrap_or(0);
        [
            0x02,
            0x68,
            0x61,
            byte(self.number >> 8),
            byte(self.number),
            byte(card),
        ]
    }
}

fn start_init(log: File) -> Result<(Child, OwnedFd), LabError> {
    let doing = || "cannot start the first process of the host".to_owned();
    unshare(CloneFlags::CLONE_NEWPID).doing(doing)?;
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .doing(doing)?;
    let exe = std::env::current_exe().doing(doing)?;
    let child = Command::new(exe)
        .args(["lab", "init"])
        .current_dir("/")
        .stdin(theirs)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .doing(doing)?;
    Ok((child, ours))
}

struct StartedInit {
    taps: Vec<(String, Tap)>,
    netns: OwnedFd,
    child: Child,
    orders: OwnedFd,
}

impl RunningHost {
    /// Starts a program with these files as stdin, stdout and stderr.
    pub fn spawn(
        &self,
        argv: Vec<String>,
        files: [BorrowedFd<'_>; 3],
    ) -> Result<HostProgram, LabError> {
        let job = self.next_job.fetch_add(1, Ordering::Relaxed);
        let (sender, notes) = channel();
        lock(&self.waiting).insert(job, sender);
        self.order(&InitRequest::Spawn { job, argv }, &files)?;
        match notes.recv_timeout(SPAWN) {
            Ok(InitMessage::Started { pid, .. }) => Ok(HostProgram { pid, notes }),
            Ok(InitMessage::NotStarted { why, .. }) => {
                lock(&self.waiting).remove(&job);
                Err(LabError::Refused(why))
            }
            _ => Err(LabError::Refused(
                "the host stopped or did not answer; see hactl lab status".to_owned(),
            )),
        }
    }

    /// Sends a signal by the number in the host; to -1, to all but its first process; to a negative one, to a group.
    pub fn signal(&self, pid: i32, signal: i32) -> Result<(), LabError> {
        self.order(&InitRequest::Signal { pid, signal }, &[])
    }

    /// The daemon's number while it runs.
    pub fn had_pid(&self) -> Option<i32> {
        let mut had = lock(&self.had);
        if let Some(exit) = had.as_ref().and_then(HostProgram::ended) {
            *had = None;
            *lock(&self.had_exit) = Some(exit);
        }
        had.as_ref().map(|h| h.pid)
    }

    /// How the daemon ended by itself, once.
    pub fn take_exit(&self) -> Option<ProgramExit> {
        lock(&self.had_exit).take()
    }

    fn order(&self, order: &InitRequest, fds: &[BorrowedFd<'_>]) -> Result<(), LabError> {
        let bytes = serde_json::to_vec(order).map_err(|e| LabError::Refused(e.to_string()))?;
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(LabError::Refused("the command line is too long".to_owned()));
        }
        fdpass::send(self.orders.as_fd(), &bytes, fds)
            .doing(|| "cannot send a request to the host".to_owned())?;
        Ok(())
    }

    /// Forwards the messages of the first process until it ends.
    fn listen(&self) {
        while let Ok(note) = receive(&self.orders) {
            let mut waiting = lock(&self.waiting);
            match &note {
                InitMessage::Started { job, .. } | InitMessage::NotStarted { job, .. } => {
                    if let Some(sender) = waiting.get(job) {
                        // If nobody waits any more, nobody needs it.
                        drop(sender.send(note));
                    }
                }
                InitMessage::Ended { job, .. } => {
                    if let Some(sender) = waiting.remove(job) {
                        drop(sender.send(note));
                    }
                }
                InitMessage::Ready | InitMessage::Broken(_) => {}
            }
        }
    }
}

fn receive(socket: &OwnedFd) -> Result<InitMessage, LabError> {
    let mut buffer = vec![0; MAX_MESSAGE_BYTES];
    let (n, _) = fdpass::receive(socket.as_fd(), &mut buffer)
        .doing(|| "the host does not answer".to_owned())?;
    if n == 0 {
        return Err(LabError::Refused(
            "the first process of the host has ended".to_owned(),
        ));
    }
    serde_json::from_slice(buffer.get(..n).unwrap_or_default())
        .map_err(|e| LabError::Refused(format!("cannot read the answer of the host: {e}")))
}

fn first_note(socket: &OwnedFd) -> Result<(), LabError> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let timeout = PollTimeout::try_from(BOOT).unwrap_or(PollTimeout::MAX);
    let ready = poll(
        &mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)],
        timeout,
    );
    if ready.doing(|| "cannot wait for the host".to_owned())? == 0 {
        return Err(LabError::Refused(
            "the first process of the host did not report in time".to_owned(),
        ));
    }
    match receive(socket)? {
        InitMessage::Broken(why) => Err(LabError::Refused(why)),
        _ => Ok(()),
    }
}

fn no_tap(card: &str, source: std::io::Error) -> LabError {
    let remedy = match source.kind() {
        std::io::ErrorKind::NotFound => {
            " (/dev/net/tun is missing: modprobe tun; in a container, give it the device /dev/net/tun)"
        }
        std::io::ErrorKind::PermissionDenied => {
            " (/dev/net/tun is closed to this user: as root, chmod 0666 /dev/net/tun, which most systems have)"
        }
        _ => "",
    };
    LabError::System {
        doing: format!("cannot create the interface {card}{remedy}"),
        source,
    }
}

/// Ignores poisoning: a thread that died holding the lock left a consistent value, because every statement does.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
