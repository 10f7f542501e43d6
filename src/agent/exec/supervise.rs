//! Runs one process in a process group of its own until it ends, reaches its deadline or is aborted.
//!
//! At the deadline the group gets TERM, and KILL after [`GRACE`]. When aborted or dropped it gets KILL at once. The output
//! that is kept is bounded. After the exit only what is already in the pipe is read, because a daemon that the process
//! left behind may hold the pipe open for ever.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{future, io};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::agent::Limits;
use crate::sys::oom;
use crate::sys::process::{ProcessStat, all_pids};
use crate::text::one_line;

/// The time between TERM and KILL, and the longest that KILL should take.
pub const GRACE: Duration = Duration::from_secs(2);
/// How many bytes of output are kept: the last ones.
const MAX_OUTPUT_BYTES: usize = 64 * 1024;
/// How many characters of a line are shown.
const MAX_LINE_CHARS: usize = 400;
/// How many bytes are read after the exit: more than a pipe holds.
const MAX_DRAINED_BYTES: usize = 256 * 1024;
/// How often a dying group is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// At its deadline, by TERM or KILL.
    TimedOut,
    /// It was aborted: KILL.
    Aborted,
    /// It, or something that it started, did not die of KILL: it hangs inside the kernel.
    Unkillable,
}

/// How a process ended, and what it wrote.
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub ended: Ended,
    /// The number of its process group. Only valid while it is [`Ended::Unkillable`]: afterwards it may be reused.
    pub group: Option<i32>,
    /// Standard output; with [`Streams::Merged`] standard error too.
    pub output: Captured,
    /// Standard error, with [`Streams::Split`].
    pub errors: Captured,
}

/// Whether standard error is captured together with standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// Together, in the order written.
    Merged,
    /// Each by itself.
    Split,
}

/// The last `MAX_OUTPUT_BYTES` of a stream.
#[derive(Debug, Default)]
pub struct Captured {
    tail: VecDeque<u8>,
    /// Whether earlier output was dropped.
    pub cut: bool,
}

impl Captured {
    /// The output as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        let (a, b) = self.tail.as_slices();
        String::from_utf8_lossy(&[a, b].concat()).into_owned()
    }

    /// The last `count` lines that are not empty, joined with ` | `, for a log or a terminal: long lines are cut and control
    /// characters are replaced.
    pub fn last_lines(&self, count: usize) -> String {
        let text = self.text();
        let lines: Vec<String> = text
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .map(|line| one_line(line, MAX_LINE_CHARS))
            .collect();
        lines
            .get(lines.len().saturating_sub(count)..)
            .unwrap_or(&[])
            .join(" | ")
    }

    fn push(&mut self, bytes: &[u8]) {
        self.tail.extend(bytes);
        let over = self.tail.len().saturating_sub(MAX_OUTPUT_BYTES);
        self.tail.drain(..over);
        self.cut |= over > 0;
    }
}

/// Runs `command` to its end. An error means that it was never started.
pub async fn run(command: Command, streams: Streams, limits: &Limits) -> io::Result<Report> {
    run_with_input(command, Stdio::null(), streams, limits).await
}

/// The same with something to read on standard input.
pub async fn run_with_input(
    command: Command,
    input: Stdio,
    streams: Streams,
    limits: &Limits,
) -> io::Result<Report> {
    let (mut child, mut pipes) = spawn(command, input, streams)?;
    let mut group = Group::of(&child);
    let first = async {
        tokio::select! {
            biased;
            status = child.wait() => status.map(Ended::Exited),
            () = limits.abort.aborted() => Ok(Ended::Aborted),
            () = sleep_until(limits.until) => Ok(Ended::TimedOut),
        }
    };
    let ended = pipes.read_during(first).await?;
    let dead = match ended {
        Ended::Exited(_) => true,
        Ended::TimedOut => pipes.read_during(group.terminate(&mut child)).await,
        Ended::Aborted | Ended::Unkillable => pipes.read_during(group.kill(&mut child)).await,
    };
    let number = group.0.map(Pid::as_raw);
    group.release();
    pipes.drain();
    Ok(Report {
        group: number,
        ended: if dead { ended } else { Ended::Unkillable },
        output: pipes.output.captured,
        errors: pipes.errors.captured,
    })
}

fn spawn(mut command: Command, input: Stdio, streams: Streams) -> io::Result<(Child, Pipes)> {
    let (output, writer) = Pipe::new()?;
    let mut errors = Pipe::none();
    let error_writer = match streams {
        Streams::Merged => writer.try_clone()?,
        Streams::Split => {
            let (reader, writer) = Pipe::new()?;
            errors = reader;
            writer
        }
    };
    command
        .stdin(input)
        .stdout(writer)
        .stderr(error_writer)
        .process_group(0);
    oom::unspare_child(&mut command);
    let child = command.spawn()?;
    Ok((child, Pipes { output, errors }))
    // Dropping `command` closes our copies of the writing ends.
}

/// The process group of a child; killed when dropped before its release.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Group(
            child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .map(Pid::from_raw),
        )
    }

    /// Sends TERM, then KILL to what is left. Returns whether the child is dead.
    async fn terminate(&mut self, child: &mut Child) -> bool {
        self.signal(Signal::SIGTERM);
        let until = Instant::now() + GRACE;
        let gone = async {
            if child.wait().await.is_ok() {
                self.gone().await;
            }
        };
        // In time or not: what is left gets KILL.
        timeout_at(until, gone).await.unwrap_or_default();
        self.kill(child).await
    }

    async fn kill(&mut self, child: &mut Child) -> bool {
        self.signal(Signal::SIGKILL);
        let dead = timeout(GRACE, child.wait()).await.is_ok();
        let gone = timeout(GRACE, self.gone()).await.is_ok();
        dead && (gone || self.0.is_none_or(|group| !has_living(group.as_raw())))
    }

    /// Waits until the group has no member.
    async fn gone(&self) {
        while let Some(group) = self.0 {
            if killpg(group, None).is_err() {
                return;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0
            && let Err(error) = killpg(group, signal)
            && error != nix::errno::Errno::ESRCH
        {
            tracing::warn!("cannot send {signal} to process group {group}: {error}");
        }
    }

    /// Lets what still runs of the group live on: it may be a daemon that was started.
    fn release(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Whether a process group has a living member. Zombies do not count.
pub fn has_living(group: i32) -> bool {
    let mut stats = all_pids().filter_map(ProcessStat::read);
    stats.any(|stat| stat.group == group && stat.is_alive())
}

/// The reading ends of both streams.
struct Pipes {
    output: Pipe,
    errors: Pipe,
}

impl Pipes {
    /// Reads until `work` is done, so that a full pipe never blocks it.
    async fn read_during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = self.output.read() => {}
                () = self.errors.read() => {}
            }
        }
    }

    fn drain(&mut self) {
        self.output.drain();
        self.errors.drain();
    }
}

struct Pipe {
    reader: Option<Receiver>,
    captured: Captured,
}

impl Pipe {
    fn none() -> Self {
        Pipe {
            reader: None,
            captured: Captured::default(),
        }
    }

    fn new() -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = io::pipe()?;
        let reader = Receiver::from_owned_fd(reader.into())?;
        let pipe = Pipe {
            reader: Some(reader),
            ..Pipe::none()
        };
        Ok((pipe, writer.into()))
    }

    /// Reads once; never returns at the end of the stream.
    async fn read(&mut self) {
        let Some(reader) = &self.reader else {
            return future::pending().await;
        };
        let ready = reader.readable().await;
        let mut buffer = [0_u8; 8192];
        match ready.and_then(|()| reader.try_read(&mut buffer)) {
            Ok(0) => self.reader = None,
            Ok(n) => self.captured.push(buffer.get(..n).unwrap_or(&[])),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.reader = None,
        }
    }

    fn drain(&mut self) {
        let Some(reader) = self.reader.take() else {
            return;
        };
        let mut buffer = [0_u8; 8192];
        let mut total = 0_usize;
        while total < MAX_DRAINED_BYTES
            && let Ok(n @ 1..) = reader.try_read(&mut buffer)
        {
            self.captured.push(buffer.get(..n).unwrap_or(&[]));
            total = total.saturating_add(n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Abort;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        command
    }

    async fn run_for(script: &str, time: Duration) -> Report {
        let limits = Limits::within(time, &Abort::new());
        run(sh(script), Streams::Merged, &limits).await.unwrap()
    }

    /// Runs into a deadline that is long enough for the script to print something first, however slow the machine.
    async fn run_until_it_spoke(script: &str) -> Report {
        let mut time = SHORT;
        loop {
            let report = run_for(script, time).await;
            if !report.output.text().is_empty() {
                return report;
            }
            time *= 2;
        }
    }

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(100);

    fn alive(pid: &str) -> bool {
        let stat = pid.parse().ok().and_then(ProcessStat::read);
        stat.is_some_and(|stat| stat.is_alive())
    }

    #[tokio::test]
    async fn exit_code_and_both_streams_come_back() {
        let report = run_for("echo one; echo two >&2; exit 3", LONG).await;
        let Ended::Exited(status) = report.ended else {
            panic!("{report:?}")
        };
        assert_eq!(status.code(), Some(3));
        assert_eq!(report.output.last_lines(9), "one | two");
    }

    #[tokio::test]
    async fn a_daemon_left_behind_does_not_hold_us_up() {
        let began = Instant::now();
        let report = run_for("sleep 50 & echo $!", LONG).await;
        assert!(began.elapsed() < Duration::from_secs(40));
        assert!(matches!(report.ended, Ended::Exited(_)));
        let pid = report.output.last_lines(1);
        assert!(alive(&pid), "what a successful start leaves must live on");
        let pid = Pid::from_raw(pid.parse().unwrap());
        nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
    }

    #[tokio::test]
    async fn a_hang_is_ended_with_its_grandchildren() {
        let report = run_until_it_spoke("sleep 1000 & echo $!; wait").await;
        assert_eq!(report.ended, Ended::TimedOut);
        assert!(!alive(&report.output.last_lines(1)));
    }

    #[tokio::test]
    async fn what_ignores_term_gets_kill() {
        let script = "trap '' TERM; sh -c 'trap \"\" TERM; sleep 1000' & echo $!; wait; wait";
        let report = run_until_it_spoke(script).await;
        assert_eq!(report.ended, Ended::TimedOut);
        assert!(!alive(&report.output.last_lines(1)));
    }

    #[test]
    fn a_group_lives_until_its_last_member_has_ended() {
        let mut child = std::process::Command::new("sleep");
        let mut child = std::os::unix::process::CommandExt::process_group(&mut child, 0)
            .arg("1000")
            .spawn()
            .unwrap();
        let group = i32::try_from(child.id()).unwrap();
        assert!(has_living(group));
        child.kill().unwrap();
        // Nobody waits for it yet, so it becomes a zombie.
        while has_living(group) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn an_abort_kills_at_once() {
        let abort = Abort::new();
        let limits = Limits::within(LONG, &abort);
        let running = tokio::spawn(async move {
            run(sh("trap '' TERM; sleep 1000"), Streams::Split, &limits).await
        });
        abort.abort();
        let report = running.await.unwrap().unwrap();
        assert_eq!(report.ended, Ended::Aborted);
    }

    #[tokio::test]
    async fn a_flood_is_read_but_only_its_end_is_kept() {
        let report = run_for("yes flood | head -c 3000000; echo end", LONG).await;
        assert!(matches!(report.ended, Ended::Exited(_)));
        assert!(report.output.cut);
        assert_eq!(report.output.text().len(), MAX_OUTPUT_BYTES);
        assert!(report.output.last_lines(1).ends_with("end"));
    }

    #[tokio::test]
    async fn what_is_shown_is_cut_and_obeyed_by_no_terminal() {
        let report = run_for(r"printf '\033[2Ja\tb\r\n'; head -c 9000 /dev/zero", LONG).await;
        let shown = report.output.last_lines(2);
        let zeros = "\u{fffd}".repeat(MAX_LINE_CHARS);
        assert_eq!(shown, format!("\u{fffd}[2Ja b | {zeros}..."));
    }

    #[tokio::test]
    async fn a_flood_does_not_outlive_the_deadline() {
        let report = run_for("yes", SHORT).await;
        assert_eq!(report.ended, Ended::TimedOut);
    }

    #[tokio::test]
    async fn a_dropped_run_takes_its_group_along() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!(
            "sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait",
            file.display()
        );
        let limits = Limits::within(LONG, &Abort::new());
        let task = tokio::spawn(async move { run(sh(&script), Streams::Merged, &limits).await });
        let pid = loop {
            match std::fs::read_to_string(&file) {
                Ok(pid) => break pid.trim().to_owned(),
                Err(_) => sleep(POLL_INTERVAL).await,
            }
        };
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        timeout(LONG, async {
            while alive(&pid) {
                sleep(POLL_INTERVAL).await;
            }
        })
        .await
        .unwrap();
    }
}
