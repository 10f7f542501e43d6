//! A lab as its caller holds it: synchronous, one call per wish.

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use super::control::{HeldAddress, LabReply, LabRequest, LabStatus, LinkDirection, MessageStream};
use super::plan::{CLIENT, LabPlan};
use super::probe::ProbeReport;
use super::sampler::SamplerReport;
use super::serve::SOCKET;
use super::supervise::labs_dir;
use super::{ErrorContext, LabError};

/// How long the daemon may take to stop in [`Lab::stop_had`]: longer than any agent's own deadline.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the supervisor may take for anything that does not wait for a program.
pub(super) const ANSWER: Duration = Duration::from_secs(60);

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
                "the lab's supervisor died without a word"
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

    /// A lab that somebody else has built.
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

    /// The names of this user's labs that run.
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

    /// Ends a lab of any kind, and waits until its folder is gone.
    pub fn down(self) -> Result<(), LabError> {
        if self.supervisor.is_some() {
            // Dropping does it.
            return Ok(());
        }
        self.done(&LabRequest::Down)?;
        let dir = self.socket.with_file_name("");
        let until = Instant::now() + ANSWER;
        while dir.exists() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Who lives, and which cables are cut.
    pub fn status(&self) -> Result<LabStatus, LabError> {
        match self.ask(&LabRequest::Status)? {
            LabReply::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// Cuts a host's power: all links silent and all processes gone, at once.
    pub fn crash(&self, host: &str) -> Result<(), LabError> {
        self.done(&LabRequest::Crash {
            host: host.to_owned(),
        })
    }

    /// Boots a host (after a power cut if it is on). Its disk is as it was.
    pub fn restart(&self, host: &str) -> Result<(), LabError> {
        self.done(&LabRequest::Restart {
            host: host.to_owned(),
        })
    }

    /// Stops all processes of a host with SIGSTOP. Its kernel goes on answering.
    pub fn freeze(&self, host: &str) -> Result<(), LabError> {
        self.done(&LabRequest::Freeze {
            host: host.to_owned(),
        })
    }

    /// Lets them go on.
    pub fn thaw(&self, host: &str) -> Result<(), LabError> {
        self.done(&LabRequest::Thaw {
            host: host.to_owned(),
        })
    }

    /// Nothing passes between two hosts any more, on one link (an interface or a segment) or all.
    pub fn cut(
        &self,
        a: &str,
        b: &str,
        link: Option<&str>,
        way: LinkDirection,
    ) -> Result<(), LabError> {
        let (a, b, link) = (a.to_owned(), Some(b.to_owned()), link.map(str::to_owned));
        self.done(&LabRequest::Cut { a, b, link, way })
    }

    /// Nothing passes between a host and any other.
    pub fn isolate(&self, a: &str, link: Option<&str>, way: LinkDirection) -> Result<(), LabError> {
        self.done(&LabRequest::Cut {
            a: a.to_owned(),
            b: None,
            link: link.map(str::to_owned),
            way,
        })
    }

    /// Ends cuts and losses between two hosts.
    pub fn heal(&self, a: &str, b: &str) -> Result<(), LabError> {
        self.heal_some(Some(a), Some(b))
    }

    /// Ends all cuts and losses. Unplugged cards stay unplugged.
    pub fn heal_all(&self) -> Result<(), LabError> {
        self.heal_some(None, None)
    }

    /// Ends cuts and losses between two hosts; none stands for all.
    pub(super) fn heal_some(&self, a: Option<&str>, b: Option<&str>) -> Result<(), LabError> {
        self.done(&LabRequest::Heal {
            a: a.map(str::to_owned),
            b: b.map(str::to_owned),
        })
    }

    /// Of a hundred frames so many are lost on their way to each receiver, on one link or all. A request and its answer can each be lost.
    pub fn loss(&self, percent: u8, link: Option<&str>) -> Result<(), LabError> {
        self.done(&LabRequest::Loss {
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
        let between = Some((a.to_owned(), b.to_owned()));
        self.done(&LabRequest::Loss {
            percent,
            link: link.map(str::to_owned),
            between,
        })
    }

    /// Frames between two hosts are late, each by its own time up to `most`, and of a hundred so many come twice.
    /// [`Lab::heal`] ends it.
    pub fn delay_between(
        &self,
        a: &str,
        b: &str,
        most: Duration,
        twice: u8,
    ) -> Result<(), LabError> {
        let (a, b) = (a.to_owned(), b.to_owned());
        self.done(&LabRequest::Delay { a, b, most, twice })
    }

    /// Pulls the cable out of a host's card (or all): it sees its carrier go.
    pub fn unplug(&self, host: &str, link: Option<&str>) -> Result<(), LabError> {
        self.done(&LabRequest::Carrier {
            host: host.to_owned(),
            link: link.map(str::to_owned),
            on: false,
        })
    }

    /// Plugs it in again.
    pub fn plug(&self, host: &str, link: Option<&str>) -> Result<(), LabError> {
        self.done(&LabRequest::Carrier {
            host: host.to_owned(),
            link: link.map(str::to_owned),
            on: true,
        })
    }

    /// Starts the daemon.
    pub fn start_had(&self, node: &str) -> Result<(), LabError> {
        self.done(&LabRequest::StartHad {
            host: node.to_owned(),
        })
    }

    /// Asks the daemon to stop and waits until it has, at most [`STOP_TIMEOUT`].
    pub fn stop_had(&self, node: &str) -> Result<(), LabError> {
        let request = LabRequest::StopHad {
            host: node.to_owned(),
            timeout: STOP_TIMEOUT,
        };
        is_done(self.ask_with(&request, &[], Some(STOP_TIMEOUT + ANSWER))?)
    }

    /// Kills the daemon alone; its agents and their programs live on.
    pub fn kill_had(&self, node: &str) -> Result<(), LabError> {
        self.done(&LabRequest::KillHad {
            host: node.to_owned(),
        })
    }

    /// The daemon's process number in its host, while it runs.
    pub fn had_pid(&self, node: &str) -> Result<Option<i32>, LabError> {
        match self.ask(&LabRequest::HadPid {
            host: node.to_owned(),
        })? {
            LabReply::Pid(pid) => Ok(pid),
            other => Err(unexpected(&other)),
        }
    }

    /// All addresses of a host, loopback's included.
    pub fn addresses(&self, host: &str) -> Result<Vec<HeldAddress>, LabError> {
        match self.ask(&LabRequest::Addresses {
            host: host.to_owned(),
        })? {
            LabReply::Addresses(addresses) => Ok(addresses),
            other => Err(unexpected(&other)),
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
        match self.ask(&LabRequest::Log {
            host: node.to_owned(),
        })? {
            LabReply::Text(text) => Ok(text),
            other => Err(unexpected(&other)),
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
        Ok(RunningProbe(self.begin(&request)?))
    }

    /// Looks each `every` which hosts hold these addresses, until [`RunningSampler::finish`]. 10 ms is a good interval.
    pub fn sampler(
        &self,
        addresses: &[IpAddr],
        every: Duration,
    ) -> Result<RunningSampler, LabError> {
        Ok(RunningSampler(self.begin(&LabRequest::Sample {
            addresses: addresses.to_vec(),
            every,
        })?))
    }

    fn begin(&self, request: &LabRequest) -> Result<MessageStream, LabError> {
        let mut line = self.connect()?;
        let reply = talk(&mut line, request, &[], Some(ANSWER))?;
        is_done(reply)?;
        Ok(line)
    }

    fn mac_reply(&self, request: &LabRequest) -> Result<Option<[u8; 6]>, LabError> {
        match self.ask(request)? {
            LabReply::Mac(mac) => Ok(mac),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn done(&self, request: &LabRequest) -> Result<(), LabError> {
        is_done(self.ask(request)?)
    }

    fn ask(&self, request: &LabRequest) -> Result<LabReply, LabError> {
        self.ask_with(request, &[], Some(ANSWER))
    }

    pub(super) fn ask_with(
        &self,
        request: &LabRequest,
        fds: &[BorrowedFd<'_>],
        patience: Option<Duration>,
    ) -> Result<LabReply, LabError> {
        talk(&mut self.connect()?, request, fds, patience)
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
        match talk(&mut self.0, &LabRequest::Status, &[], Some(ANSWER))? {
            LabReply::Probe(report) => Ok(report),
            other => Err(unexpected(&other)),
        }
    }
}

/// A sampler that runs.
pub struct RunningSampler(MessageStream);

impl RunningSampler {
    /// Ends it and says what it saw.
    pub fn finish(mut self) -> Result<SamplerReport, LabError> {
        match talk(&mut self.0, &LabRequest::Status, &[], Some(ANSWER))? {
            LabReply::Sample(report) => Ok(report),
            other => Err(unexpected(&other)),
        }
    }
}

fn talk(
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
        other => Err(unexpected(&other)),
    }
}

/// Only another version of the supervisor could do that.
pub(super) fn unexpected(reply: &LabReply) -> LabError {
    LabError::Refused(format!(
        "the lab's supervisor answers something else ({reply:?}); is it another version?"
    ))
}
