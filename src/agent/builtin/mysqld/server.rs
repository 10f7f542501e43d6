//! Which process serves a data directory. A server works in its data directory, so that, and not a pid file, tells: a pid
//! file may be left over, or lie where another start put it.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::settings::SERVERS;
use crate::agent::exec::blocking;
use crate::agent::{AgentError, Limits};

/// A server that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its number.
    pub pid: i32,
    /// The systemd unit that started it, unless that is ours.
    pub unit: Option<String>,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unit {
            Some(unit) => write!(f, "pid {}, started as {unit}", self.pid),
            None => write!(f, "pid {}", self.pid),
        }
    }
}

/// All servers on a data directory; there should be one at most.
pub async fn on(datadir: &Path, limits: &Limits) -> Result<Vec<Server>, AgentError> {
    let datadir = datadir.to_owned();
    let look = move || {
        let wanted = identity(&datadir);
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|e| e.file_name().to_str()?.parse().ok());
        pids.filter(|pid| is_server(*pid) && wanted.is_some() && works_in(*pid) == wanted)
            .map(|pid| Server {
                pid,
                unit: unit(pid),
            })
            .collect()
    };
    blocking::within(limits, "look for the database server", look).await
}

/// Whether this process is a server on this data directory still.
pub fn is_on(pid: i32, datadir: &Path) -> bool {
    let wanted = identity(datadir);
    is_server(pid) && wanted.is_some() && works_in(pid) == wanted
}

/// Whether the process with this number is on its way out: it works nowhere any more.
pub fn is_ending(pid: i32) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_err()
}

/// Where the process with this number works, for a message.
pub fn place(pid: i32) -> String {
    let path = fs::read_link(format!("/proc/{pid}/cwd"));
    path.map_or_else(
        |_| "an unknown place".to_owned(),
        |p| p.display().to_string(),
    )
}

fn is_server(pid: i32) -> bool {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let name = exe.file_name().unwrap_or_default().to_string_lossy();
    // After an upgrade it runs on from a file that has no name any more.
    let name = name.strip_suffix(" (deleted)").unwrap_or(&name);
    SERVERS.contains(&name)
}

/// The directory itself, whatever its name where it is seen.
fn works_in(pid: i32) -> Option<(u64, u64)> {
    identity(&PathBuf::from(format!("/proc/{pid}/cwd")))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

fn unit(pid: i32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    unit_in(&text)
}

/// `0::/system.slice/mariadb.service`. What we started ourselves lives in our own unit.
fn unit_in(cgroup: &str) -> Option<String> {
    let mut paths = cgroup.lines().filter_map(|l| l.splitn(3, ':').nth(2));
    let unit = paths.find_map(|p| p.split('/').rfind(|part| part.ends_with(".service")))?;
    (unit != "had.service").then(|| unit.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_nobody_has_buried_yet_is_ending() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(!is_ending(own));
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(!is_ending(pid));
        child.kill().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !is_ending(pid) {
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        child.wait().unwrap();
        assert!(is_ending(pid));
    }

    #[test]
    fn the_unit_of_a_server_that_another_hand_started_is_named() {
        let cases = [
            (
                "0::/system.slice/mariadb.service\n",
                Some("mariadb.service"),
            ),
            (
                "1:name=systemd:/system.slice/mysql@a.service/x\n0::/\n",
                Some("mysql@a.service"),
            ),
            ("0::/system.slice/had.service\n", None),
            ("0::/user.slice/session-1.scope\n", None),
            ("", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(unit_in(text).as_deref(), wanted, "{text}");
        }
    }
}
