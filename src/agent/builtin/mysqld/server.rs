//! Finds the process that serves a data directory. The working directory of a server is its data directory. A pid file would be
//! less reliable: it may be stale or in another place.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::settings::SERVERS;
use crate::agent::exec::blocking::run_blocking;
use crate::agent::{AgentError, Limits};
use crate::sys::process::{all_pids, program_name};

/// A running server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseServer {
    /// Its pid.
    pub pid: i32,
    /// The systemd unit that started it, unless that is the daemon's own.
    pub unit: Option<String>,
}

impl fmt::Display for DatabaseServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unit {
            Some(unit) => write!(f, "pid {}, started as {unit}", self.pid),
            None => write!(f, "pid {}", self.pid),
        }
    }
}

/// All servers on a data directory; normally at most one.
pub async fn find_servers(
    datadir: &Path,
    limits: &Limits,
) -> Result<Vec<DatabaseServer>, AgentError> {
    let datadir = datadir.to_owned();
    let search = move || {
        all_pids()
            .filter(|pid| is_server_on(*pid, &datadir))
            .map(|pid| DatabaseServer {
                pid,
                unit: unit(pid),
            })
            .collect()
    };
    run_blocking(limits, "look for the database server", search).await
}

/// Whether a process still is a server on this data directory.
pub fn is_server_on(pid: i32, datadir: &Path) -> bool {
    is_server(pid) && identity(datadir).is_some_and(|id| working_dir_identity(pid) == Some(id))
}

/// Whether a process is ending: it has no working directory any more.
pub fn is_ending(pid: i32) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_err()
}

/// The working directory of a process, for a message.
pub fn working_dir(pid: i32) -> String {
    let path = fs::read_link(format!("/proc/{pid}/cwd"));
    path.map_or_else(
        |_| "an unknown directory".to_owned(),
        |p| p.display().to_string(),
    )
}

fn is_server(pid: i32) -> bool {
    program_name(pid).is_some_and(|name| SERVERS.contains(&name.as_str()))
}

/// The identity of the working directory, which does not depend on its path.
fn working_dir_identity(pid: i32) -> Option<(u64, u64)> {
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

/// The unit in `0::/system.slice/mariadb.service`. A server that the daemon started is in the daemon's own unit.
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
