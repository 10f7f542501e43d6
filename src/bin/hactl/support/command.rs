//! Runs a program for the archive: with a deadline, and with a limit for what it says.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// More than this of one program is left out.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// How often it is looked whether the program has ended.
const POLL: Duration = Duration::from_millis(10);
/// After its end, something that it started may still hold its output open.
const DRAIN: Duration = Duration::from_secs(1);

/// What a program said, and what went wrong.
pub struct Said {
    /// Standard output, and standard error after it.
    pub text: String,
    /// Why this is not all, or cannot be relied on.
    pub problem: Option<String>,
}

/// Runs it. `good` are the exit codes that are no problem.
pub fn run(mut command: Command, good: &[i32], within: Duration) -> Said {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("LC_ALL", "C").process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let name = command.get_program().to_string_lossy().into_owned();
            return Said {
                text: String::new(),
                problem: Some(format!("cannot run {name}: {error}")),
            };
        }
    };
    let readers = [
        Reader::of(child.stdout.take()),
        Reader::of(child.stderr.take()),
    ];
    let ended = wait(&mut child, within);
    let texts = readers.map(Reader::finish);
    let problem = match ended {
        Some(status) if status.code().is_some_and(|code| good.contains(&code)) => None,
        Some(status) => Some(format!("it ended with {status}")),
        None => Some(format!("it did not end within {} s", within.as_secs())),
    };
    Said {
        text: texts.concat(),
        problem,
    }
}

/// How it ended; none if it had to be killed.
fn wait(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    while began.elapsed() < within {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        thread::sleep(POLL);
    }
    let group = i32::try_from(child.id()).ok()?;
    killpg(Pid::from_raw(group), Signal::SIGKILL).ok()?;
    // What hangs inside the kernel does not die.
    let killed = Instant::now();
    while killed.elapsed() < DRAIN && matches!(child.try_wait(), Ok(None)) {
        thread::sleep(POLL);
    }
    None
}

/// A thread that reads one stream.
struct Reader {
    text: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn of(stream: Option<impl Read + Send + 'static>) -> Reader {
        let text = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&text);
        let thread = stream.map(|stream| thread::spawn(move || keep(stream, &kept)));
        Reader { text, thread }
    }

    fn finish(self) -> String {
        let began = Instant::now();
        while self.thread.as_ref().is_some_and(|t| !t.is_finished()) && began.elapsed() < DRAIN {
            thread::sleep(POLL);
        }
        let bytes = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn keep(mut stream: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut chunk = [0; 16 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_BYTES.saturating_sub(kept.len());
        kept.extend(chunk.iter().take(read.min(room)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_that_hangs_is_killed_and_what_it_said_is_kept() {
        let within = Duration::from_secs(1);
        let said = run(shell("echo before; sleep 600"), &[0], within);
        assert_eq!(said.text, "before\n");
        assert_eq!(said.problem.as_deref(), Some("it did not end within 1 s"));
    }

    #[test]
    fn exit_codes_and_both_streams_are_kept() {
        let within = Duration::from_secs(60);
        let said = run(shell("echo a; echo b >&2; exit 5"), &[0, 5], within);
        assert_eq!((&*said.text, said.problem), ("a\nb\n", None));
        let said = run(shell("exit 1"), &[0], within);
        assert!(said.problem.is_some_and(|p| p.contains("exit status: 1")));
        let said = run(Command::new("/no/such/program"), &[0], within);
        assert!(said.problem.is_some_and(|p| p.starts_with("cannot run")));
    }
}
