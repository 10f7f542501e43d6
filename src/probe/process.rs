//! `process NAME` or `process PIDFILE`: a process runs. Its end is noticed at once, through a pidfd.
//!
//! NAME is the whole name of the program's file, or the kernel's name of the process. Command lines are not searched: the
//! probe must not find itself, nor an editor with the configuration open. Zombies do not count.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use crate::sys::foreign_file::read_regular;
use crate::sys::pidfd::PidFd;
use crate::sys::process::{ProcessStat, all_pids, program_name};

/// A longer file is no pid file.
const MAX_FILE_BYTES: u64 = 4096;

/// A process, found by its name or by its pid file.
pub(super) struct ProcessProbe {
    wanted: String,
    /// The process that the last run found.
    found: watch::Sender<Option<Arc<PidFd>>>,
}

impl ProcessProbe {
    pub fn new(wanted: &str) -> Self {
        ProcessProbe {
            wanted: wanted.to_owned(),
            found: watch::Sender::new(None),
        }
    }

    pub fn run(&self) -> Result<String, String> {
        let pid = if self.wanted.starts_with('/') {
            by_file(Path::new(&self.wanted))
        } else {
            by_name(&self.wanted).ok_or_else(|| format!("no process {} runs", self.wanted))
        };
        // Without a handle its end is noticed only by the next run.
        let handle = pid.as_ref().ok().and_then(|pid| PidFd::open(*pid).ok());
        self.found.send_replace(handle.map(Arc::new));
        pid.map(|pid| format!("{} runs as pid {pid}", self.wanted))
    }

    /// Waits until the process that the last run found has ended.
    pub async fn ended(&self) {
        let mut found = self.found.subscribe();
        loop {
            let handle = found.borrow_and_update().clone();
            let ended = async {
                match handle {
                    Some(handle) if handle.ended().await.is_ok() => {}
                    Some(_) | None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ended => return,
                // Cannot fail: `self` keeps the sending side alive.
                _ = found.changed() => {}
            }
        }
    }
}

fn by_file(path: &Path) -> Result<i32, String> {
    let shown = path.display();
    let read = read_regular(path, MAX_FILE_BYTES);
    let text = read.map_err(|e| format!("cannot read {shown}: {e}"))?;
    let first = text.split_whitespace().next().unwrap_or("");
    let pid: i32 = first
        .parse()
        .ok()
        .filter(|pid| *pid > 0)
        .ok_or_else(|| format!("{shown} contains no process number"))?;
    match ProcessStat::read(pid) {
        Some(stat) if stat.is_alive() => Ok(pid),
        _ => Err(format!("{shown} names process {pid}, which does not run")),
    }
}

/// The process of that name whose parent has another name: the main process, not one of its workers.
fn by_name(name: &str) -> Option<i32> {
    let is_called = |pid: i32, stat: &ProcessStat| {
        stat.name == name || program_name(pid).as_deref() == Some(name)
    };
    let mut named: Vec<(i32, ProcessStat)> = all_pids()
        .filter_map(|pid| Some((pid, ProcessStat::read(pid)?)))
        .filter(|(pid, stat)| stat.is_alive() && is_called(*pid, stat))
        .collect();
    named.sort_by_key(|(pid, _)| *pid);
    let main = named
        .iter()
        .find(|(_, stat)| !named.iter().any(|(pid, _)| *pid == stat.parent));
    main.or(named.first()).map(|(pid, _)| *pid)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Child, Command};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// A program under a name of its own.
    fn run(dir: &Path, name: &str) -> Child {
        let program = dir.join(name);
        if !program.exists() {
            fs::copy("/bin/sleep", &program).unwrap();
        }
        Command::new(program).arg("600").spawn().unwrap()
    }

    fn end(child: &mut Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn it_is_found_by_its_whole_name_only_and_its_end_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let name = format!("had-test-with-a-long-name-{}", std::process::id());
        let probe = ProcessProbe::new(&name);
        assert_eq!(probe.run(), Err(format!("no process {name} runs")));
        let mut child = run(dir.path(), &name);
        // Between fork and exec it still has our name.
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while probe.run().is_err() {
            assert!(std::time::Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(
            probe.run(),
            Ok(format!("{name} runs as pid {}", child.id()))
        );
        let part = name.get(..name.len() - 1).unwrap();
        assert!(ProcessProbe::new(part).run().is_err());
        let early = timeout(Duration::from_millis(20), probe.ended()).await;
        assert!(early.is_err(), "it has not ended yet");
        probe.run().unwrap();
        end(&mut child);
        timeout(Duration::from_secs(60), probe.ended())
            .await
            .unwrap();
        assert!(probe.run().is_err());
    }

    #[tokio::test]
    async fn it_is_found_by_its_pid_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let probe = ProcessProbe::new(file.to_str().unwrap());
        assert!(probe.run().unwrap_err().starts_with("cannot read"));
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(probe.run().unwrap_err().contains("not a regular file"));
        fs::remove_file(&file).unwrap();
        for (text, wrong) in [
            ("", "no process number"),
            ("-1\n", "no process number"),
            ("4194305\n", "does not run"),
        ] {
            fs::write(&file, text).unwrap();
            assert!(probe.run().unwrap_err().contains(wrong), "{text:?}");
        }
        let mut child = run(dir.path(), "pidfiled");
        fs::write(&file, format!("{}\n", child.id())).unwrap();
        assert!(probe.run().is_ok());
        child.kill().unwrap();
        timeout(Duration::from_secs(60), probe.ended())
            .await
            .unwrap();
        // It is a zombie now, which does not count.
        assert!(probe.run().unwrap_err().contains("does not run"));
        child.wait().unwrap();
    }
}
