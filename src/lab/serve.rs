//! `hactl lab serve`: the first process of a lab. Builds the hosts, then does what callers ask, a thread for each.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::action::LabAction;
use super::client::STOP_TIMEOUT;
use super::control::{HostStatus, LabReply, LabRequest, LabStatus, MessageStream, ProgramExit};
use super::disk::{self, HostDisk};
use super::host::{Host, HostProgram, RunningHost, lock};
use super::net::{self, LabNetlink};
use super::plan::LabPlan;
use super::switch::Switch;
use super::{ErrorContext, LabError, probe, sampler, service};

/// The name of the control socket in the lab's folder.
pub const SOCKET: &str = "control";
/// The sampler looks no oftener than this.
const FASTEST_SAMPLING: Duration = Duration::from_millis(1);

/// Runs until `supervise` closes our stdin or a caller says `down`.
pub fn run(dir: &Path) -> ExitCode {
    end_with_stdin();
    match LabServer::build(dir) {
        Ok((world, listener)) => {
            println!("ready");
            world.serve(&listener);
            ExitCode::SUCCESS
        }
        Err(e) => {
            println!("{}", e.to_string().replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

/// Our stdin is a pipe on which nothing is ever written. Its end is the end of whoever holds us.
fn end_with_stdin() {
    std::thread::spawn(|| {
        drop(std::io::stdin().read(&mut [0]));
        std::process::exit(0);
    });
}

/// A lab that runs.
pub struct LabServer {
    pub(super) plan: LabPlan,
    pub(super) segments: Vec<String>,
    pub(super) switch: Switch,
    pub(super) hosts: Vec<Arc<Host>>,
}

impl LabServer {
    fn build(dir: &Path) -> Result<(Arc<LabServer>, UnixListener), LabError> {
        let text = fs::read_to_string(dir.join("plan.json"))
            .doing(|| "cannot read the plan".to_owned())?;
        let plan: LabPlan =
            serde_json::from_str(&text).map_err(|e| LabError::Plan(e.to_string()))?;
        let disks = dir.join("hosts");
        disk::make_dir(&disks)?;
        let mut hosts = Vec::new();
        for (number, host) in plan.hosts().into_iter().enumerate() {
            let folder: PathBuf = disks.join(&host.name);
            disk::make_dir(&folder)?;
            let disk = HostDisk::at(folder);
            disk.format(&host, plan.scripts.as_deref())?;
            hosts.push(Arc::new(Host::new(host, number, disk)));
        }
        let segments = plan.segments();
        let switch = Switch::start(hosts.len(), segments.len())?;
        let world = Arc::new(LabServer {
            plan,
            segments,
            switch,
            hosts,
        });
        for host in world.hosts.iter().rev() {
            world.power_on(host)?;
        }
        let socket = dir.join(SOCKET);
        let listener = UnixListener::bind(&socket)
            .doing(|| format!("cannot listen on {}", socket.display()))?;
        Ok((world, listener))
    }

    fn serve(self: Arc<LabServer>, listener: &UnixListener) {
        if self.plan.restart {
            let lab = Arc::clone(&self);
            std::thread::spawn(move || service::keep_running(&lab));
        }
        for stream in listener.incoming().flatten() {
            let world = Arc::clone(&self);
            std::thread::spawn(move || world.converse(MessageStream::over(stream)));
        }
    }

    fn converse(&self, mut line: MessageStream) {
        // A caller that has gone needs no answer.
        while let Ok(Some(request)) = line.receive::<LabRequest>() {
            let down = matches!(request, LabRequest::Down);
            let reply = self
                .answer(request, &mut line)
                .unwrap_or_else(|e| LabReply::Refused(e.to_string()));
            let sent = line.send(&reply, &[]);
            if down {
                std::process::exit(0);
            }
            if sent.is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: LabRequest, line: &mut MessageStream) -> Result<LabReply, LabError> {
        match request {
            LabRequest::Status => return Ok(LabReply::Status(self.status())),
            LabRequest::Down => {}
            LabRequest::Exec {
                host,
                argv,
                timeout,
            } => return self.exec(&host, argv, timeout, line),
            LabRequest::Spawn { host, argv } => {
                let files = three_files(line.take_fds())?;
                let program = self
                    .host(&host)?
                    .on()?
                    .spawn(argv, files.each_ref().map(AsFd::as_fd))?;
                return Ok(LabReply::Pid(Some(program.pid)));
            }
            LabRequest::Signal { host, pid, signal } => {
                self.host(&host)?.on()?.signal(pid, signal)?;
            }
            LabRequest::Act(action) => self.act(action)?,
            LabRequest::HadPid { host } => {
                return Ok(LabReply::Pid(
                    self.host(&host)?.running().and_then(|r| r.had_pid()),
                ));
            }
            LabRequest::Addresses { host } => {
                return self.ask_netlink(&host, |n| Ok(LabReply::Addresses(n.addresses()?)));
            }
            LabRequest::Neighbour { host, address } => {
                return self.ask_netlink(&host, |n| Ok(LabReply::Mac(n.neighbour(address)?)));
            }
            LabRequest::Mac { host, interface } => {
                return self.ask_netlink(&host, |n| Ok(LabReply::Mac(n.mac(&interface)?)));
            }
            LabRequest::Log { host } => return self.log(&host),
            LabRequest::Probe {
                host,
                address,
                every,
            } => return self.probe(&host, address, every, line),
            LabRequest::Sample { addresses, every } => {
                let watch = sampler::AddressSampler::start(&self.hosts, addresses)?;
                line.send(&LabReply::Done, &[])
                    .doing(|| "the caller has gone".to_owned())?;
                let every = every.max(FASTEST_SAMPLING);
                let report = watch.run(every, line.stream().as_fd())?;
                return Ok(LabReply::Sample(report));
            }
        }
        Ok(LabReply::Done)
    }

    fn act(&self, action: LabAction) -> Result<(), LabError> {
        match action {
            LabAction::Crash { host } => self.host(&host)?.crash(&self.switch),
            LabAction::Restart { host } => {
                let host = self.host(&host)?;
                if host.running().is_some() {
                    host.crash(&self.switch)?;
                }
                self.power_on(host)
            }
            LabAction::Start { host } => self.start_had(self.host(&host)?),
            LabAction::Stop { host } => stop_had(&host, &self.host(&host)?.on()?),
            LabAction::Kill { host } => kill_had(&host, &self.host(&host)?.on()?),
            LabAction::Freeze { host } => set_frozen(&self.host(&host)?.on()?, true),
            LabAction::Thaw { host } => set_frozen(&self.host(&host)?.on()?, false),
            LabAction::Cut { a, b, link, oneway } => {
                self.cut(&a, b.as_deref(), link.as_deref(), oneway)
            }
            LabAction::Heal { a, b } => self.heal(a.as_deref(), b.as_deref()),
            LabAction::Loss {
                percent,
                link,
                between,
            } => self.lose(percent, link.as_deref(), between),
            LabAction::Delay { a, b, most, twice } => self.delay(&a, &b, most, twice),
            LabAction::Unplug { host, link } => self.set_carrier(&host, link.as_deref(), false),
            LabAction::Plug { host, link } => self.set_carrier(&host, link.as_deref(), true),
        }
    }

    /// The host of that name, or an error that lists them all.
    pub(super) fn host(&self, name: &str) -> Result<&Arc<Host>, LabError> {
        self.hosts
            .iter()
            .find(|h| h.plan.name == name)
            .ok_or_else(|| {
                let all: Vec<&str> = self.hosts.iter().map(|h| h.plan.name.as_str()).collect();
                LabError::Refused(format!(
                    "this lab has no host {name}; its hosts are: {}",
                    all.join(", ")
                ))
            })
    }

    fn power_on(&self, host: &Arc<Host>) -> Result<(), LabError> {
        host.boot(&self.switch, &self.segments)?;
        if self.plan.start && host.plan.config.is_some() {
            self.start_had(host)?;
        }
        Ok(())
    }

    fn ask_netlink(
        &self,
        host: &str,
        what: impl FnOnce(&LabNetlink) -> Result<LabReply, LabError> + Send,
    ) -> Result<LabReply, LabError> {
        let running = self.host(host)?.on()?;
        net::in_namespace(&running.netns, || what(&LabNetlink::open()?))
    }

    fn log(&self, host: &str) -> Result<LabReply, LabError> {
        let path = self.host(host)?.disk.log_path();
        let bytes = fs::read(&path).doing(|| format!("cannot read {}", path.display()))?;
        Ok(LabReply::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn exec(
        &self,
        host: &str,
        argv: Vec<String>,
        timeout: Option<Duration>,
        line: &mut MessageStream,
    ) -> Result<LabReply, LabError> {
        let running = self.host(host)?.on()?;
        let files = three_files(line.take_fds())?;
        let program = running.spawn(argv, files.each_ref().map(AsFd::as_fd))?;
        drop(files);
        let stream = line
            .stream()
            .try_clone()
            .doing(|| "cannot watch the caller".to_owned())?;
        let ended = AtomicBool::new(false);
        let exit = std::thread::scope(|scope| {
            // A caller that gives up (Ctrl-C) takes its program with it.
            let watcher =
                scope.spawn(|| kill_when_caller_goes(&stream, &ended, &running, program.pid));
            let exit = program.wait(timeout);
            ended.store(true, Ordering::SeqCst);
            if exit.is_none() {
                drop(running.signal(process_group(program.pid), Signal::SIGKILL as i32));
            }
            drop(stream.shutdown(std::net::Shutdown::Read));
            drop(watcher.join());
            exit
        });
        Ok(LabReply::Exited(exit.unwrap_or(ProgramExit::TimedOut)))
    }

    pub(super) fn start_had(&self, host: &Host) -> Result<(), LabError> {
        let name = &host.plan.name;
        let running = host.on()?;
        if let Some(pid) = running.had_pid() {
            return Err(LabError::Refused(format!(
                "the daemon is already running on {name} (pid {pid})"
            )));
        }
        let argv = vec![
            self.plan.had.display().to_string(),
            "--config".into(),
            "/etc/ha.d".into(),
        ];
        let null = File::open("/dev/null").doing(|| "cannot open /dev/null".to_owned())?;
        let log = host.disk.log()?;
        let program = running
            .spawn(argv, [null.as_fd(), log.as_fd(), log.as_fd()])
            .map_err(|e| LabError::Refused(format!("{name}: {e}")))?;
        *lock(&running.had) = Some(program);
        Ok(())
    }

    /// What an address answers from a host's place in the network.
    fn probe(
        &self,
        host: &str,
        address: std::net::IpAddr,
        every: Duration,
        line: &MessageStream,
    ) -> Result<LabReply, LabError> {
        let host = self.host(host)?.on()?;
        line.send(&LabReply::Done, &[])
            .doing(|| "the caller has gone".to_owned())?;
        let stop = line.stream().as_fd();
        Ok(LabReply::Probe(net::in_namespace(&host.netns, || {
            probe::run(address, every, stop)
        })?))
    }

    fn status(&self) -> LabStatus {
        LabStatus {
            name: self.plan.name.clone(),
            hosts: self.hosts.iter().map(|h| host_status(h)).collect(),
            faults: self.faults(),
        }
    }
}

fn host_status(host: &Host) -> HostStatus {
    let running = host.running();
    let seen = running
        .as_ref()
        .map(|r| net::in_namespace(&r.netns, || LabNetlink::open()?.addresses()));
    let mut addresses = seen.and_then(Result::ok).unwrap_or_default();
    addresses.retain(|a| a.interface != "lo");
    HostStatus {
        name: host.plan.name.clone(),
        member: host.plan.config.is_some(),
        alive: running.is_some(),
        frozen: running
            .as_ref()
            .is_some_and(|r| r.frozen.load(Ordering::Relaxed)),
        boots: host.boots.load(Ordering::Relaxed),
        had: running.and_then(|r| r.had_pid()),
        addresses,
    }
}

/// Takes the program of the daemon.
fn take_had(host: &str, running: &RunningHost) -> Result<HostProgram, LabError> {
    let taken = lock(&running.had).take();
    taken.ok_or_else(|| LabError::Refused(format!("the daemon is not running on {host}")))
}

fn stop_had(host: &str, running: &Arc<RunningHost>) -> Result<(), LabError> {
    let program = take_had(host, running)?;
    running.signal(program.pid, Signal::SIGTERM as i32)?;
    if program.wait(Some(STOP_TIMEOUT)).is_some() {
        return Ok(());
    }
    *lock(&running.had) = Some(program);
    Err(LabError::Refused(format!(
        "the daemon on {host} did not stop within {} s; see: hactl lab logs {host}",
        STOP_TIMEOUT.as_secs()
    )))
}

fn kill_had(host: &str, running: &Arc<RunningHost>) -> Result<(), LabError> {
    let program = take_had(host, running)?;
    running.signal(program.pid, Signal::SIGKILL as i32)?;
    program.wait(None);
    Ok(())
}

fn set_frozen(running: &Arc<RunningHost>, on: bool) -> Result<(), LabError> {
    let signal = if on { Signal::SIGSTOP } else { Signal::SIGCONT };
    running.signal(-1, signal as i32)?;
    running.frozen.store(on, Ordering::Relaxed);
    Ok(())
}

/// Programs lead a process group of their own.
fn process_group(pid: i32) -> i32 {
    pid.saturating_neg()
}

/// Nothing is sent while a program runs, so a read returns when the caller has gone, or when our side is shut down because
/// the program has ended.
fn kill_when_caller_goes(
    mut stream: &UnixStream,
    ended: &AtomicBool,
    running: &RunningHost,
    pid: i32,
) {
    drop(stream.read(&mut [0]));
    if !ended.load(Ordering::SeqCst) {
        drop(running.signal(process_group(pid), Signal::SIGKILL as i32));
    }
}

fn three_files(fds: Vec<OwnedFd>) -> Result<[OwnedFd; 3], LabError> {
    <[OwnedFd; 3]>::try_from(fds).map_err(|_| {
        LabError::Refused("internal error: stdin, stdout and stderr were not passed".to_owned())
    })
}
