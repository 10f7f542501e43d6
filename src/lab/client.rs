//! The interface to a lab: one synchronous call for each request.

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use super::action::LabAction;
use super::control::{HeldAddress, LabReply, LabRequest, LabStatus, LinkDirection, MessageStream};
use super::plan::{CLIENT, LabPlan};
use super::probe::ProbeReport;
use super::sampler::SamplerReport;
use super::serve::SOCKET;
use super::supervise::labs_dir;
use super::{ErrorContext, LabError};

/// How long the daemon may take to stop in [`Lab::stop_had`]: longer than any agent's own deadline.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the supervisor may take for a request that does not wait for a program.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// A lab that runs. One made by [`Lab::up`] ends when this is dropped, or when this process dies.
#[derive(Debug)]
pub struct Lab {
    name: String,
    socket: PathBuf,
    supervisor: Option<(Child, Option<ChildStdin>)>,
}

impl Lab {
    /// Builds a lab that lives as long as the value that is returned. The binary `plan.hactl` runs as its supervisor.
    pub fn up(plan: &LabPlan) -> Result<Lab, LabError> {
        Lab::build(plan, true)
    }

    /// Builds a lab that lives until `down`.
    pub fn up_in_background(plan: &LabPlan) -> Result<Lab, LabError> {
        Lab::build(plan, false)
    }

    fn build(plan: &LabPlan, lifeline: bool) -> Result<Lab, LabError> {
        plan.check()?;
        let socket = labs_dir()?.join(&plan.name).join(SOCKET);
        let doing = || {
            format!(
                "cannot run {} as the lab's supervisor",
                plan.hactl.display()
            )
        };
        let mut command = Command::new(&plan.hactl);
        command
            .args(["lab", "supervise"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if lifeline {
            command.arg("--lifeline");
        } else {
            command.stderr(Stdio::null());
        }
        let mut child = command.spawn().doing(doing)?;
        let mut pipe = child.stdin.take();
        let mut text = serde_json::to_string(plan).map_err(|e| LabError::Plan(e.to_string()))?;
        text.push('\n');
        if let Some(pipe) = &mut pipe {
            pipe.write_all(text.as_bytes()).doing(doing)?;
        }
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut said).doing(doing)?;
        }
        if said.trim_end() != "ready" {
            drop(pipe);
            drop(child.wait());
            let said = if said.trim().is_empty() {
                "the lab's supervisor ended without an error message"
            } else {
                said.trim_end()
            };
            return Err(LabError::Refused(said.to_owned()));
        }
        let supervisor = lifeline.then_some((child, pipe));
        Ok(Lab {
            name: plan.name.clone(),
            socket,
            supervisor,
        })
    }

    /// A lab that is already running.
    pub fn attach(name: &str) -> Result<Lab, LabError> {
        let socket = labs_dir()?.join(name).join(SOCKET);
        let lab = Lab {
            name: name.to_owned(),
            socket,
            supervisor: None,
        };
        lab.connect()?;
        Ok(lab)
    }

    /// The names of this user's running labs.
    pub fn all() -> Result<Vec<String>, LabError> {
        let dir = labs_dir()?;
        let entries = std::fs::read_dir(&dir).doing(|| format!("cannot list {}", dir.display()))?;
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .collect();
        names.retain(|name| Lab::attach(name).is_ok());
        names.sort();
        Ok(names)
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ends the lab, and waits until its folder is gone.
    pub fn down(self) -> Result<(), LabError> {
        if self.supervisor.is_some() {
            // Dropping does it.
            return Ok(());
        }
        self.request_done(&LabRequest::Down)?;
        let dir = self.socket.with_file_name("");
        let until = Instant::now() + REPLY_TIMEOUT;
        while dir.exists() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Which hosts run, and what is cut.
    pub fn status(&self) -> Result<LabStatus, LabError> {
        match self.request(&LabRequest::Status)? {
            LabReply::Status(status) => Ok(status),
            other => Err(unexpected_reply(&other)),
        }
    }

    /// Does something to the lab, and waits until it is done.
    pub fn act(&self, action: LabAction) -> Result<(), LabError> {
        let patience = match action {
            LabAction::Stop { .. } => STOP_TIMEOUT + REPLY_TIMEOUT,
            _ => REPLY_TIMEOUT,
        };
        is_done(self.request_with(&LabRequest::Act(action), &[], Some(patience))?)
    }

    /// Cuts a host's power: all its links are silent and all its processes gone, at once.
    pub fn crash(&self, host: &str) -> Result<(), LabError> {
        let host = host.to_owned();
        self.act(LabAction::Crash { host })
    }

    /// Boots a host (after a power cut if it is on). Its disk is as it was.
    pub fn restart(&self, host: &str) -> Result<(), LabError> {
        let host = host.to_owned();
        self.act(LabAction::Restart { host })
    }

    /// Stops all processes of a host with SIGSTOP. Its kernel and its clock run on.
    pub fn freeze(&self, host: &str) -> Result<(), LabError> {
        let host = host.to_owned();
        self.act(LabAction::Freeze { host })
    }

    /// Lets them run again.
    pub fn thaw(&self, host: &str) -> Result<(), LabError> {
        let host = host.to_owned();
        self.act(LabAction::Thaw { host })
    }

    /// Cuts two hosts off from each other, on one link (an interface or a segment) or on all.
    pub fn cut(
        &self,
        a: &str,
        b: &str,
        link: Option<&str>,
        way: LinkDirection,
    ) -> Result<(), LabError> {
        self.cut_from(a, Some(b), link, way)
    }

    /// Cuts a host off from all others.
    pub fn isolate(&self, a: &str, link: Option<&str>, way: LinkDirection) -> Result<(), LabError> {
        self.cut_from(a, None, link, way)
    }

    fn cut_from(
        &self,
        a: &str,
        b: Option<&str>,
        link: Option<&str>,
        way: LinkDirection,
    ) -> Result<(), LabError> {
        self.act(LabAction::Cut {
            a: a.to_owned(),
            b: b.map(str::to_owned),
            link: link.map(str::to_owned),
            oneway: way == LinkDirection::Out,
        })
    }

    /// Ends cuts, losses and delays between two hosts.
    pub fn heal(&self, a: &str, b: &str) -> Result<(), LabError> {
        let (a, b) = (Some(a.to_owned()), Some(b.to_owned()));
        self.act(LabAction::Heal { a, b })
    }

    /// Ends all cuts, losses and delays. Unplugged cards stay unplugged.
    pub fn heal_all(&self) -> Result<(), LabError> {
        self.act(LabAction::Heal { a: None, b: None })
    }

    /// Loses this share of all frames on their way to each receiver, on one link or on all. A request and its answer
    /// can each be lost.
    pub fn loss(&self, percent: u8, link: Option<&str>) -> Result<(), LabError> {
        self.act(LabAction::Loss {
            percent,
            link: link.map(str::to_owned),
            between: None,
        })
    }

    /// The same between two hosts only.
    pub fn loss_between(
        &self,
        a: &str,
        b: &str,
        percent: u8,
        link: Option<&str>,
    ) -> Result<(), LabError> {
        self.act(LabAction::Loss {
            percent,
            link: link.map(str::to_owned),
            between: Some((a.to_owned(), b.to_owned())),
        })
    }

    /// Delays each frame between two hosts by a random time up to `most`, and sends `twice` of a hundred two times.
    /// [`Lab::heal`] ends it.
    pub fn delay_between(
        &self,
        a: &str,
        b: &str,
        most: Duration,
        twice: u8,
    ) -> Result<(), LabError> {
        let (a, b) = (a.to_owned(), b.to_owned());
        self.act(LabAction::Delay { a, b, most, twice })
    }

    /// Pulls the cable out of a host's card, or out of all its cards: it sees its carrier go.
    pub fn unplug(&self, host: &str, link: Option<&str>) -> Result<(), LabError> {
        let (host, link) = (host.to_owned(), link.map(str::to_owned));
        self.act(LabAction::Unplug { host, link })
    }

    /// Plugs it in again.
    pub fn plug(&self, host: &str, link: Option<&str>) -> Result<(), LabError> {
        let (host, link) = (host.to_owned(), link.map(str::to_owned));
        self.act(LabAction::Plug { host, link })
    }

    /// Starts the daemon.
    pub fn start_had(&self, node: &str) -> Result<(), LabError> {
        let host = node.to_owned();
        self.act(LabAction::Start { host })
    }

    /// Asks the daemon to stop and waits until it has, at most [`STOP_TIMEOUT`].
    pub fn stop_had(&self, node: &str) -> Result<(), LabError> {
        let host = node.to_owned();
        self.act(LabAction::Stop { host })
    }

    /// Kills the daemon alone; its agents and their programs run on.
    pub fn kill_had(&self, node: &str) -> Result<(), LabError> {
        let host = node.to_owned();
        self.act(LabAction::Kill { host })
    }

    /// The daemon's process number in its host, while it runs.
    pub fn had_pid(&self, node: &str) -> Result<Option<i32>, LabError> {
        match self.request(&LabRequest::HadPid {
            host: node.to_owned(),
        })? {
            LabReply::Pid(pid) => Ok(pid),
            other => Err(unexpected_reply(&other)),
        }
    }

    /// All addresses of a host, loopback's included.
    pub fn addresses(&self, host: &str) -> Result<Vec<HeldAddress>, LabError> {
        match self.request(&LabRequest::Addresses {
            host: host.to_owned(),
        })? {
            LabReply::Addresses(addresses) => Ok(addresses),
            other => Err(unexpected_reply(&other)),
        }
    }

    /// The MAC that a host's neighbour table (ARP cache) has for an address.
    pub fn neighbour(&self, host: &str, address: IpAddr) -> Result<Option<[u8; 6]>, LabError> {
        self.mac_reply(&LabRequest::Neighbour {
            host: host.to_owned(),
            address,
        })
    }

    /// The MAC of a host's card.
    pub fn mac(&self, host: &str, interface: &str) -> Result<Option<[u8; 6]>, LabError> {
        self.mac_reply(&LabRequest::Mac {
            host: host.to_owned(),
            interface: interface.to_owned(),
        })
    }

    /// What the daemon of a node has written since the lab was made.
    pub fn log(&self, node: &str) -> Result<String, LabError> {
        match self.request(&LabRequest::Log {
            host: node.to_owned(),
        })? {
            LabReply::Text(text) => Ok(text),
            other => Err(unexpected_reply(&other)),
        }
    }

    /// Asks an address from the client each `every`, until [`RunningProbe::finish`].
    pub fn probe(&self, address: IpAddr, every: Duration) -> Result<RunningProbe, LabError> {
        self.probe_from(CLIENT, address, every)
    }

    /// Asks an address from any host each `every`, until [`RunningProbe::finish`].
    pub fn probe_from(
        &self,
        host: &str,
        address: IpAddr,
        every: Duration,
    ) -> Result<RunningProbe, LabError> {
        let host = host.to_owned();
        let request = LabRequest::Probe {
            host,
            address,
            every,
        };
        Ok(RunningProbe(self.start_request(&request)?))
    }

    /// Looks each `every` which hosts hold these addresses, until [`RunningSampler::finish`]. 10 ms is a good interval.
    pub fn sampler(
        &self,
        addresses: &[IpAddr],
        every: Duration,
    ) -> Result<RunningSampler, LabError> {
        Ok(RunningSampler(self.start_request(&LabRequest::Sample {
            addresses: addresses.to_vec(),
            every,
        })?))
    }

    fn start_request(&self, request: &LabRequest) -> Result<MessageStream, LabError> {
        let mut line = self.connect()?;
        let reply = exchange(&mut line, request, &[], Some(REPLY_TIMEOUT))?;
        is_done(reply)?;
        Ok(line)
    }

    fn mac_reply(&self, request: &LabRequest) -> Result<Option<[u8; 6]>, LabError> {
        match self.request(request)? {
            LabReply::Mac(mac) => Ok(mac),
            other => Err(unexpected_reply(&other)),
        }
    }

    pub(super) fn request_done(&self, request: &LabRequest) -> Result<(), LabError> {
        is_done(self.request(request)?)
    }

    fn request(&self, request: &LabRequest) -> Result<LabReply, LabError> {
        self.request_with(request, &[], Some(REPLY_TIMEOUT))
    }

    pub(super) fn request_with(
        &self,
        request: &LabRequest,
        fds: &[BorrowedFd<'_>],
        patience: Option<Duration>,
    ) -> Result<LabReply, LabError> {
        exchange(&mut self.connect()?, request, fds, patience)
    }

    fn connect(&self) -> Result<MessageStream, LabError> {
        let stream =
            UnixStream::connect(&self.socket).map_err(|_| LabError::Gone(self.name.clone()))?;
        Ok(MessageStream::over(stream))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some((child, pipe)) = &mut self.supervisor {
            drop(pipe.take());
            drop(child.wait());
        }
    }
}

/// A probe that runs.
pub struct RunningProbe(MessageStream);

impl RunningProbe {
    /// Ends it and says what it saw.
    pub fn finish(mut self) -> Result<ProbeReport, LabError> {
        match exchange(&mut self.0, &LabRequest::Status, &[], Some(REPLY_TIMEOUT))? {
            LabReply::Probe(report) => Ok(report),
            other => Err(unexpected_reply(&other)),
        }
    }
}

/// A sampler that runs.
pub struct RunningSampler(MessageStream);

impl RunningSampler {
    /// Ends it and says what it saw.
    pub fn finish(mut self) -> Result<SamplerReport, LabError> {
        match exchange(&mut self.0, &LabRequest::Status, &[], Some(REPLY_TIMEOUT))? {
            LabReply::Sample(report) => Ok(report),
            other => Err(unexpected_reply(&other)),
        }
    }
}

fn exchange(
    line: &mut MessageStream,
    request: &LabRequest,
    fds: &[BorrowedFd<'_>],
    patience: Option<Duration>,
) -> Result<LabReply, LabError> {
    let doing = || "the lab's supervisor does not answer".to_owned();
    line.stream().set_read_timeout(patience).doing(doing)?;
    line.send(request, fds).doing(doing)?;
    match line.receive().doing(doing)? {
        Some(LabReply::Refused(why)) => Err(LabError::Refused(why)),
        Some(reply) => Ok(reply),
        None => Err(LabError::Refused(
            "the lab ended in the middle of a request".to_owned(),
        )),
    }
}

fn is_done(reply: LabReply) -> Result<(), LabError> {
    match reply {
        LabReply::Done => Ok(()),
        other => Err(unexpected_reply(&other)),
    }
}

/// Only another version of the supervisor could do that.
pub(super) fn unexpected_reply(reply: &LabReply) -> LabError {
    LabError::Refused(format!(
        "unexpected reply from the lab's supervisor ({reply:?}); it may be another version"
    ))
}
