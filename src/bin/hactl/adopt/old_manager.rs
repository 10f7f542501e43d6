//! The processes of heartbeat 3 on this machine, and their end without its stop scripts.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use had::sys::pidfd::PidFd;
use had::sys::process::{ProcessStat, all_pids};
use nix::sys::signal::Signal;

/// Where its programs are: `libexec/heartbeat` or `lib*/heartbeat` below one of these.
const PREFIXES: [&str; 2] = ["/usr", "/usr/local"];
/// A shell that runs one of its scripts has this in its command line.
const SCRIPTS: &str = "/share/heartbeat/";
/// Programs of Pacemaker that older versions of it kept in heartbeat's folder.
const PACEMAKER: [&str; 4] = ["cib", "crmd", "pengine", "tengine"];
/// After SIGKILL a process is gone as soon as the kernel has time for it.
const END_WITHIN: Duration = Duration::from_secs(10);

/// A process of heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldProcess {
    /// Its number.
    pub pid: i32,
    /// Its program.
    pub program: PathBuf,
}

impl OldProcess {
    /// The name of its program.
    pub fn name(&self) -> &str {
        self.program
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or("")
    }
}

/// All processes that execute a program of heartbeat.
pub fn find_all() -> Vec<OldProcess> {
    find_in(&PREFIXES)
}

fn find_in(prefixes: &[&str]) -> Vec<OldProcess> {
    let mut found: Vec<OldProcess> = all_pids()
        .filter_map(|pid| {
            let program = program_of(pid, prefixes)?;
            let alive = ProcessStat::read(pid)?.is_alive();
            alive.then_some(OldProcess { pid, program })
        })
        .collect();
    found.sort_by_key(|process| process.pid);
    found
}

fn program_of(pid: i32, prefixes: &[&str]) -> Option<PathBuf> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let text = program.to_str()?;
    let program = PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(text));
    let is_its = |prefix: &&str| {
        let below = program.strip_prefix(prefix).ok();
        let words: Vec<&str> = below
            .iter()
            .flat_map(|p| p.iter())
            .filter_map(|w| w.to_str())
            .collect();
        match words[..] {
            [lib, "heartbeat", _] => lib == "libexec" || lib.starts_with("lib"),
            [_, _, "heartbeat", _] => words.first().is_some_and(|lib| lib.starts_with("lib")),
            _ => false,
        }
    };
    prefixes.iter().any(is_its).then_some(program)
}

/// Whether its resources are in the hands of Pacemaker.
pub fn runs_pacemaker(all: &[OldProcess]) -> bool {
    all.iter().any(|p| PACEMAKER.contains(&p.name()))
}

/// The process that starts or stops a resource for heartbeat just now, if there is one.
pub fn find_busy() -> Option<String> {
    all_pids().find_map(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let mut words = words.split(|b| *b == 0).map(String::from_utf8_lossy);
        let script = words.nth(1)?;
        let name = Path::new(script.as_ref()).file_name()?.to_str()?.to_owned();
        script
            .contains(SCRIPTS)
            .then(|| format!("{name} (process {pid})"))
    })
}

/// A watchdog device that one of them holds open: it resets the machine when they end.
pub fn find_watchdog(all: &[OldProcess]) -> Option<PathBuf> {
    let open = |p: &OldProcess| fs::read_dir(format!("/proc/{}/fd", p.pid)).ok();
    let files = all.iter().filter_map(open).flatten().flatten();
    let mut targets = files.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.find(|path| {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
        path.starts_with("/dev") && name.starts_with("watchdog")
    })
}

/// Ends all of them, without a chance for any to act on the end of another: each stands still before the first is killed.
///
/// # Errors
/// One cannot be stopped: then all go on as before. Or one does not end although it was killed.
pub fn end_all() -> Result<Vec<OldProcess>, String> {
    end_in(&PREFIXES)
}

fn end_in(prefixes: &[&str]) -> Result<Vec<OldProcess>, String> {
    let mut held: Vec<(OldProcess, PidFd)> = Vec::new();
    if let Err(error) = hold_all(prefixes, &mut held) {
        // A heartbeat that stands still is taken for dead, and its groups would be started elsewhere beside those here.
        let stuck = held
            .iter()
            .filter(|(_, h)| h.signal(Signal::SIGCONT).is_err());
        let stuck: Vec<String> = stuck.map(|(p, _)| p.pid.to_string()).collect();
        return Err(if stuck.is_empty() {
            format!("{error}; nothing was done")
        } else {
            format!(
                "{error}; stopped processes must go on at once: kill -CONT {}",
                stuck.join(" ")
            )
        });
    }
    for (process, handle) in &held {
        handle
            .signal(Signal::SIGKILL)
            .map_err(|e| cannot_end(process, &e))?;
    }
    let deadline = Instant::now() + END_WITHIN;
    loop {
        let left = find_in(prefixes);
        let Some(first) = left.first() else {
            return Ok(held.into_iter().map(|(process, _)| process).collect());
        };
        if Instant::now() >= deadline {
            let (name, pid) = (first.name(), first.pid);
            return Err(format!(
                "{name} (process {pid}) of heartbeat does not end, although it was killed"
            ));
        }
        sleep(Duration::from_millis(10));
    }
}

/// Stops all of them, also those that one started before it was stopped itself.
fn hold_all(prefixes: &[&str], held: &mut Vec<(OldProcess, PidFd)>) -> Result<(), String> {
    loop {
        let is_new = |p: &OldProcess| !held.iter().any(|(known, _)| known.pid == p.pid);
        let new: Vec<OldProcess> = find_in(prefixes).into_iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        for process in new {
            if let Some(handle) = hold(&process, prefixes)? {
                held.push((process, handle));
            }
        }
    }
}

/// Stops a process, so that it does nothing more. None if it has ended, or the number belongs to another one by now.
fn hold(process: &OldProcess, prefixes: &[&str]) -> Result<Option<PidFd>, String> {
    let Ok(handle) = PidFd::open(process.pid) else {
        return Ok(None);
    };
    if program_of(process.pid, prefixes).as_ref() != Some(&process.program) {
        return Ok(None);
    }
    handle
        .signal(Signal::SIGSTOP)
        .map_err(|e| cannot_end(process, &e))?;
    Ok(Some(handle))
}

fn cannot_end(process: &OldProcess, error: &std::io::Error) -> String {
    let (name, pid) = (process.name(), process.pid);
    format!("{name} (process {pid}) of heartbeat cannot be ended: {error}")
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A folder with two programs of heartbeat, and one beside them.
    fn programs() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (below, name) in [
            ("libexec/heartbeat", "heartbeat"),
            ("lib/x86/heartbeat", "ipfail"),
            ("lib/other", "heartbeat"),
        ] {
            let place = folder.path().join(below);
            fs::create_dir_all(&place).unwrap();
            fs::copy("/bin/sleep", place.join(name)).unwrap();
        }
        folder
    }

    fn run(folder: &Path, program: &str) -> Child {
        let mut command = Command::new(folder.join(program));
        command.arg("600").spawn().unwrap()
    }

    #[test]
    fn its_processes_end_and_no_others() {
        let folder = programs();
        let prefix = folder.path().to_str().unwrap();
        let mut ours = [
            run(folder.path(), "libexec/heartbeat/heartbeat"),
            run(folder.path(), "lib/x86/heartbeat/ipfail"),
        ];
        let mut other = run(folder.path(), "lib/other/heartbeat");
        let found = find_in(&[prefix]);
        let names: Vec<&str> = found.iter().map(OldProcess::name).collect();
        assert_eq!(names, ["heartbeat", "ipfail"]);
        assert_eq!(find_watchdog(&found), None);
        assert!(!runs_pacemaker(&found));
        assert_eq!(end_in(&[prefix]), Ok(found));
        for child in &mut ours {
            assert!(!child.wait().unwrap().success());
        }
        assert!(other.try_wait().unwrap().is_none(), "it runs on");
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(end_in(&[prefix]), Ok(Vec::new()), "there is none");
    }
}
