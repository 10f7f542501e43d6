//! Programs on the hosts of a lab.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;

use super::client::{Lab, REPLY_TIMEOUT, unexpected_reply};
use super::control::{LabReply, LabRequest, ProgramExit};
use super::{ErrorContext, LabError};

/// How long a program of [`Lab::exec`] may run.
pub const EXEC_TIMEOUT: Duration = Duration::from_secs(60);
/// How a program of [`Lab::exec`] ended, and what it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    /// How it ended.
    pub exit: ProgramExit,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl ExecOutput {
    /// Whether it ended by itself with code 0.
    pub fn success(&self) -> bool {
        self.exit == ProgramExit::Code(0)
    }
}

/// A program of [`Lab::spawn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpawnedProgram {
    /// Its process number in its host; also its process group.
    pub pid: i32,
}

impl Lab {
    /// Runs a program in a host and waits for its end, at most [`EXEC_TIMEOUT`].
    pub fn exec(&self, host: &str, argv: &[&str]) -> Result<ExecOutput, LabError> {
        self.exec_within(host, argv, EXEC_TIMEOUT)
    }

    /// Runs a program in a host and waits for its end; it is killed when it takes longer than `timeout`.
    pub fn exec_within(
        &self,
        host: &str,
        argv: &[&str],
        timeout: Duration,
    ) -> Result<ExecOutput, LabError> {
        let null = File::open("/dev/null").doing(|| "cannot open /dev/null".to_owned())?;
        // Files, not pipes: a daemon that the program leaves behind may keep them open.
        let (stdout, stderr) = (memory_file()?, memory_file()?);
        let files = [null.as_fd(), stdout.as_fd(), stderr.as_fd()];
        let exit = self.exec_with(host, argv, Some(timeout), files)?;
        Ok(ExecOutput {
            exit,
            stdout: text_of(&stdout)?,
            stderr: text_of(&stderr)?,
        })
    }

    /// Runs a program in a host with these files as stdin, stdout and stderr, and waits for its end.
    pub fn exec_with(
        &self,
        host: &str,
        argv: &[&str],
        timeout: Option<Duration>,
        files: [BorrowedFd<'_>; 3],
    ) -> Result<ProgramExit, LabError> {
        let request = LabRequest::Exec {
            host: host.to_owned(),
            argv: own(argv),
            timeout,
        };
        let patience = timeout.map(|t| t.saturating_add(REPLY_TIMEOUT));
        match self.request_with(&request, &files, patience)? {
            LabReply::Exited(exit) => Ok(exit),
            other => Err(unexpected_reply(&other)),
        }
    }

    /// Starts a program in a host and does not wait; what it writes is lost.
    pub fn spawn(&self, host: &str, argv: &[&str]) -> Result<SpawnedProgram, LabError> {
        let null = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .doing(|| "cannot open /dev/null".to_owned())?;
        let request = LabRequest::Spawn {
            host: host.to_owned(),
            argv: own(argv),
        };
        match self.request_with(
            &request,
            &[null.as_fd(), null.as_fd(), null.as_fd()],
            Some(REPLY_TIMEOUT),
        )? {
            LabReply::Pid(Some(pid)) => Ok(SpawnedProgram { pid }),
            other => Err(unexpected_reply(&other)),
        }
    }

    /// Sends a signal to a process by its number in its host (negative: to a process group).
    pub fn signal(&self, host: &str, pid: i32, signal: Signal) -> Result<(), LabError> {
        self.request_done(&LabRequest::Signal {
            host: host.to_owned(),
            pid,
            signal: signal as i32,
        })
    }
}

fn own(argv: &[&str]) -> Vec<String> {
    argv.iter().map(|a| (*a).to_owned()).collect()
}

fn memory_file() -> Result<File, LabError> {
    let fd = memfd_create("output", MFdFlags::MFD_CLOEXEC)
        .doing(|| "cannot create a file in memory".to_owned())?;
    Ok(File::from(fd))
}

/// The whole content of a file, whatever its position, which the program shares.
fn text_of(file: &File) -> Result<String, LabError> {
    let doing = || "cannot read what the program wrote".to_owned();
    let length = file.metadata().doing(doing)?.len();
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let n = file.read_at(&mut bytes, 0).doing(doing)?;
    Ok(String::from_utf8_lossy(bytes.get(..n).unwrap_or_default()).into_owned())
}
