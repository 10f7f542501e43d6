//! The first process of a host: mounts its `/proc`, starts and signals what the supervisor names, reaps everything.
//!
//! Its standard input is a socket to the supervisor, one message per packet. It is single-threaded, so
//! that no program can end before its start is noted. When the socket breaks it ends, and with it the host.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::control::ProgramExit;
use super::disk;
use crate::sys::fdpass;

/// The size limit of a message; the sender refuses longer argument lists.
pub const MAX_MESSAGE_BYTES: usize = 128 * 1024;

/// A request from the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub enum InitRequest {
    /// Start a program; its stdin, stdout and stderr come beside the message.
    Spawn { job: u64, argv: Vec<String> },
    /// Send a signal; to -1, it reaches all but us.
    Signal { pid: i32, signal: i32 },
}

/// A message to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub enum InitMessage {
    /// The host is up.
    Ready,
    /// It is not, and why.
    Broken(String),
    /// The program runs.
    Started { job: u64, pid: i32 },
    /// It does not, and why.
    NotStarted { job: u64, why: String },
    /// It has ended.
    Ended { job: u64, exit: ProgramExit },
}

/// Runs until the supervisor goes.
pub fn run() -> ExitCode {
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() else {
        return ExitCode::FAILURE;
    };
    let first = match disk::mount_proc_and_sys() {
        Ok(()) => InitMessage::Ready,
        Err(e) => InitMessage::Broken(e.to_string()),
    };
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    let signals = children.thread_block().and_then(|()| {
        SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
    });
    let Ok(signals) = signals else {
        return ExitCode::FAILURE;
    };
    let mut init = HostInit {
        socket,
        jobs: HashMap::new(),
    };
    init.send(&first);
    while init.turn(&signals).is_ok() {}
    ExitCode::SUCCESS
}

struct HostInit {
    socket: OwnedFd,
    /// Process number to job.
    jobs: HashMap<i32, u64>,
}

impl HostInit {
    /// Waits for one thing and does it; an error is the end.
    fn turn(&mut self, signals: &SignalFd) -> io::Result<()> {
        let mut ready = [
            PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
        let [orders, deaths] = ready.map(|fd| fd.any() == Some(true));
        if deaths {
            while let Ok(Some(_)) = signals.read_signal() {}
            self.reap();
        }
        if orders {
            self.obey()?;
        }
        Ok(())
    }

    fn obey(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; MAX_MESSAGE_BYTES];
        let (n, fds) = fdpass::receive(self.socket.as_fd(), &mut buffer)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match serde_json::from_slice(buffer.get(..n).unwrap_or_default())? {
            InitRequest::Spawn { job, argv } => match spawn(&argv, fds) {
                Ok(pid) => {
                    self.jobs.insert(pid, job);
                    self.send(&InitMessage::Started { job, pid });
                }
                Err(e) => self.send(&InitMessage::NotStarted {
                    job,
                    why: e.to_string(),
                }),
            },
            InitRequest::Signal { pid, signal } => {
                // A process that is gone already needs no signal.
                if let Ok(signal) = Signal::try_from(signal) {
                    kill(Pid::from_raw(pid), signal).ok();
                }
            }
        }
        Ok(())
    }

    fn reap(&mut self) {
        loop {
            let (pid, exit) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, ProgramExit::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid, ProgramExit::Signal(signal as i32))
                }
                Err(Errno::EINTR) => continue,
                Ok(_) | Err(_) => return,
            };
            if let Some(job) = self.jobs.remove(&pid.as_raw()) {
                self.send(&InitMessage::Ended { job, exit });
            }
        }
    }

    /// A note that cannot be sent means that the supervisor has gone, which the next turn sees.
    fn send(&self, note: &InitMessage) {
        if let Ok(bytes) = serde_json::to_vec(note) {
            drop(fdpass::send(self.socket.as_fd(), &bytes, &[]));
        }
    }
}

fn spawn(argv: &[String], fds: Vec<OwnedFd>) -> io::Result<i32> {
    let Some((program, args)) = argv.split_first() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no program named",
        ));
    };
    let Ok([stdin, stdout, stderr]) = <[OwnedFd; 3]>::try_from(fds) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "internal error: stdin, stdout and stderr were not passed",
        ));
    };
    let child = Command::new(program)
        .args(args)
        .current_dir("/")
        .process_group(0)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .map_err(|e| io::Error::new(e.kind(), format!("cannot run {program}: {e}")))?;
    i32::try_from(child.id()).map_err(|_| io::ErrorKind::InvalidData.into())
}
