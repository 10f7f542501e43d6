//! The freezer of control groups: it stops a daemon without a signal.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Cluster, until};

/// A control group with one daemon. When it is dropped, the daemon continues in its old group.
pub struct Freezer {
    group: PathBuf,
    home: PathBuf,
    pid: i32,
}

impl Freezer {
    /// Puts a node's daemon into its own control group.
    pub fn of(cluster: &Cluster, node: &str) -> Freezer {
        let root = root();
        let pid = outside(cluster, node);
        let home = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let home = home.lines().find_map(|l| l.strip_prefix("0::/")).unwrap();
        let freezer = Freezer {
            group: root.join(format!("had-test-{pid}")),
            home: root.join(home),
            pid,
        };
        fs::create_dir(&freezer.group).unwrap();
        freezer.put_into(&freezer.group);
        freezer
    }

    pub fn freeze(&self) {
        self.turn("1");
    }

    pub fn thaw(&self) {
        self.turn("0");
    }

    /// The daemon in it was killed, so nothing has to return to the old group.
    pub fn forget(self) {
        fs::remove_dir(&self.group).unwrap();
        std::mem::forget(self);
    }

    fn turn(&self, on: &str) {
        fs::write(self.group.join("cgroup.freeze"), on).unwrap();
        let see = || fs::read_to_string(self.group.join("cgroup.events")).unwrap();
        let wanted = format!("frozen {on}");
        until("the freezer turns", see, |e| e.contains(&wanted));
    }

    fn put_into(&self, group: &Path) {
        fs::write(group.join("cgroup.procs"), self.pid.to_string()).unwrap();
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.thaw();
            self.put_into(&self.home);
            fs::remove_dir(&self.group).unwrap();
            return;
        }
        // After a failure, removes as much as possible.
        drop(fs::write(self.group.join("cgroup.freeze"), "0"));
        drop(fs::write(
            self.home.join("cgroup.procs"),
            self.pid.to_string(),
        ));
        drop(fs::remove_dir(&self.group));
    }
}

/// Where control groups of version 2 are mounted.
fn root() -> PathBuf {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let mut mounts = mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>());
    let found = mounts.find(|words| words.get(2) == Some(&"cgroup2"));
    let Some(found) = found else {
        panic!("the freezer needs control groups of version 2, and none are mounted here");
    };
    found[1].into()
}

/// The pid of a node's daemon outside of the lab.
fn outside(cluster: &Cluster, node: &str) -> i32 {
    let inside = cluster.lab.had_pid(node).unwrap().unwrap();
    let namespace = cluster.run(node, &["readlink", &format!("/proc/{inside}/ns/pid")]);
    let is_it = |pid: &i32| {
        let at = format!("/proc/{pid}");
        let same = fs::read_link(format!("{at}/ns/pid"))
            .is_ok_and(|ns| ns.to_str() == Some(namespace.trim()));
        let status = fs::read_to_string(format!("{at}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|l| l.strip_prefix("NSpid:"));
        let innermost = numbers.and_then(|n| n.split_whitespace().last()?.parse().ok());
        same && innermost == Some(inside)
    };
    let all = fs::read_dir("/proc").unwrap();
    let mut pids = all.filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok());
    pids.find(is_it).unwrap()
}
