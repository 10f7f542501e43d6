//! This version beside the former one, which `tests/run versions` builds: mixed pairs, an upgrade under load, and the way back.
//!
//! Each node runs the daemon of the folder that its file `/etc/ha.d/version` names.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[allow(dead_code)] // what only others of its users need
#[path = "../netns/common.rs"]
mod cluster;
mod mixed;
mod upgrade;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use had::lab::ProbeReport;
use tempfile::TempDir;

use cluster::{Blueprint, Cluster, HACTL, STAND_IN, TIMES, ip};

const NODES: [&str; 2] = ["alice", "bob"];
/// Alice's group by preference.
const WEB: &str = "10.0.0.100";
/// Bob's.
const DB: &str = "10.0.0.101";
/// How often the client asks.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// The folder with the programs of the former version.
fn former() -> PathBuf {
    let folder = std::env::var_os("HAD_FORMER").map(PathBuf::from);
    folder.expect("HAD_FORMER: the folder of the former version; see tests/run versions")
}

/// The folder with the programs of this version.
fn present() -> PathBuf {
    PathBuf::from(HACTL).parent().unwrap().to_owned()
}

/// Two nodes, first both of the former version.
struct Pair {
    cluster: Cluster,
    _launcher: TempDir,
}

impl Pair {
    fn up(name: &str) -> Pair {
        let launcher = tempfile::tempdir().unwrap();
        let program = launcher.path().join("had");
        let text = "#!/bin/sh\nexec \"$(cat /etc/ha.d/version)/had\" \"$@\"\n";
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let ha_cf = format!(
            "{TIMES}node alice bob\nucast eth0 10.0.0.1\nucast eth0 10.0.0.2\nping 10.0.0.254\nauto_failback off\nrecord 8M\n"
        );
        let lines = format!("alice {WEB}/24/eth0 web\nbob {DB}/24/eth0 db\n");
        let cluster = Blueprint::new(name, &ha_cf, &lines)
            .file("version", former().to_str().unwrap(), 0o644)
            .script("web", STAND_IN)
            .script("db", STAND_IN)
            .node("alice", &["eth0 10.0.0.1/24"], &[])
            .node("bob", &["eth0 10.0.0.2/24"], &[])
            .gateway("eth0 10.0.0.254/24")
            .client("eth0 10.0.0.9/24")
            .watch(&[WEB, DB])
            .daemon(&program)
            .up();
        let pair = Pair {
            cluster,
            _launcher: launcher,
        };
        pair.until_at_home();
        pair
    }

    fn until_at_home(&self) {
        self.cluster.until_active(&NODES);
        self.cluster.until_owner(WEB, "alice");
        self.cluster.until_owner(DB, "bob");
    }

    /// Replaces the programs of a node and restarts its daemon, as a package does. Nothing moves meanwhile.
    fn replace(&self, node: &str, from: &Path, by: &Path) {
        let generation = self.cluster.status(node).unwrap().generation;
        let (from, by) = (from.display(), by.display());
        self.cluster
            .sh(node, &format!("echo {by} >/etc/ha.d/version"));
        self.cluster
            .sh(node, &format!("{from}/hactl restart --no-wait"));
        self.cluster
            .until_status(node, "its daemon is another", |s| s.generation > generation);
        self.cluster.until_active(&NODES);
    }

    /// What a client of both groups noticed of something.
    fn asked_during(&self, what: impl FnOnce()) -> [ProbeReport; 2] {
        let asked = [WEB, DB].map(|at| self.cluster.lab.probe(ip(at), ASK_EVERY).unwrap());
        what();
        asked.map(|probe| probe.finish().unwrap())
    }
}
