//! The requests to a lab's supervisor and its replies: JSON lines, with open files beside them.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::action::LabAction;
use super::probe::ProbeReport;
use super::sampler::SamplerReport;
use crate::sys::fdpass;

/// A request. `host` is a name of the plan.
#[derive(Debug, Serialize, Deserialize)]
pub enum LabRequest {
    /// Which hosts run, and what is cut.
    Status,
    /// End everything.
    Down,
    /// Run a program and wait for its end. Its stdin, stdout and stderr come beside the message.
    Exec {
        host: String,
        argv: Vec<String>,
        timeout: Option<Duration>,
    },
    /// Run a program and do not wait. Files as above.
    Spawn { host: String, argv: Vec<String> },
    /// Send a signal to a process, by the number it has in its host; -1 is all but the first process.
    Signal { host: String, pid: i32, signal: i32 },
    /// Do something that has no answer but [`LabReply::Done`].
    Act(LabAction),
    /// The daemon's process number in its host.
    HadPid { host: String },
    /// All addresses of a host.
    Addresses { host: String },
    /// What a host's neighbour table (ARP cache) has for an address.
    Neighbour { host: String, address: IpAddr },
    /// The MAC of a host's card.
    Mac { host: String, interface: String },
    /// What the daemon has written.
    Log { host: String },
    /// Ping an address from a host until the caller sends anything.
    Probe {
        host: String,
        address: IpAddr,
        every: Duration,
    },
    /// Sample who holds these addresses until the caller sends anything.
    Sample {
        addresses: Vec<IpAddr>,
        every: Duration,
    },
}

/// A reply.
#[derive(Debug, Serialize, Deserialize)]
pub enum LabReply {
    /// Done.
    Done,
    /// The request failed, for this reason.
    Refused(String),
    /// To `Status`.
    Status(LabStatus),
    /// To `Exec`.
    Exited(ProgramExit),
    /// To `Spawn`, `HadPid`.
    Pid(Option<i32>),
    /// To `Addresses`.
    Addresses(Vec<HeldAddress>),
    /// To `Neighbour`, `Mac`.
    Mac(Option<[u8; 6]>),
    /// To `Log`.
    Text(String),
    /// To the end of `Probe`.
    Probe(ProbeReport),
    /// To the end of `Sample`.
    Sample(SamplerReport),
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProgramExit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It took too long, and was killed with its process group.
    TimedOut,
    /// Its host was powered off.
    HostDied,
}

/// In which direction a link is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkDirection {
    /// Neither hears the other.
    Both,
    /// What the first host sends does not reach the second.
    Out,
}

/// An address that a host holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldAddress {
    /// On this interface.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Its prefix.
    pub prefix: u8,
    /// Its label; IPv6 has none.
    pub label: Option<String>,
}

/// The whole lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabStatus {
    /// Its name.
    pub name: String,
    /// All hosts: members, ping nodes, the client.
    pub hosts: Vec<HostStatus>,
    /// All disturbed paths: (segment, from, to, how in words).
    pub faults: Vec<(String, String, String, String)>,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its name.
    pub name: String,
    /// Whether it is a cluster member.
    pub member: bool,
    /// Whether it is powered on.
    pub alive: bool,
    /// Whether all its processes are stopped.
    pub frozen: bool,
    /// How often it was powered on.
    pub boots: u64,
    /// The daemon's process number in the host.
    pub had: Option<i32>,
    /// Its addresses, loopback's left out.
    pub addresses: Vec<HeldAddress>,
}

/// A connection on which whole messages travel, a line each.
pub struct MessageStream {
    stream: UnixStream,
    buffer: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl MessageStream {
    /// Over this stream.
    pub fn over(stream: UnixStream) -> MessageStream {
        MessageStream {
            stream,
            buffer: Vec::new(),
            fds: Vec::new(),
        }
    }

    /// Sends a message, with open files beside it.
    pub fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(message)?;
        bytes.push(b'\n');
        let mut rest = bytes.as_slice();
        let mut fds = fds;
        while !rest.is_empty() {
            let sent = fdpass::send(self.stream.as_fd(), rest, fds)?;
            fds = &[];
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits for a message; none when the other side has gone. Files that came with it are in [`MessageStream::take_fds`].
    pub fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut chunk = [0; 16_384];
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            let (n, fds) = fdpass::receive(self.stream.as_fd(), &mut chunk)?;
            if n == 0 {
                return Ok(None);
            }
            self.fds.extend(fds);
            self.buffer
                .extend_from_slice(chunk.get(..n).unwrap_or_default());
        }
    }

    /// The files that came with the messages so far.
    pub fn take_fds(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.fds)
    }

    /// The stream itself: for timeouts and to wait on.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }
}
