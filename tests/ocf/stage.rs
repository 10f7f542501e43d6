//! A node to test agents on. Its own files are mounted over those of this machine.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use had::lab::{ExecOutput, ProgramExit};
use tempfile::TempDir;

use crate::common::{Blueprint, Cluster, HACTL, TIMES};

/// Some agents wait for many seconds. This allows for a busy machine, too.
const PATIENCE: Duration = Duration::from_secs(240);
/// The folder of the package's agents.
pub const AGENTS: &str = "/usr/lib/ocf/resource.d/heartbeat";

/// A node without a daemon.
pub struct Stage {
    pub cluster: Cluster,
    folder: TempDir,
}

impl Stage {
    pub fn new(name: &str) -> Stage {
        let ha_cf = format!("{TIMES}node alice bob\nauto_failback off\n");
        let cluster = Blueprint::new(name, &ha_cf, "alice 10.0.0.100/24/eth0\n")
            .node("alice", &["eth0 10.0.0.1/24"], &["bcast eth0"])
            .node("bob", &["eth0 10.0.0.2/24"], &["bcast eth0"])
            .idle()
            .up();
        let folder = tempfile::tempdir().unwrap();
        // Daemons that do not run as root must be able to enter it.
        let opened = Command::new("chmod").arg("755").arg(folder.path()).status();
        assert!(opened.unwrap().success());
        // ocf-tester expects a folder that systemd makes at boot.
        cluster.sh("alice", "mkdir -p -m 1755 /run/resource-agents");
        Stage { cluster, folder }
    }

    /// The folder for files of agents. The node sees it under the same path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into [`Stage::path`], with `@` replaced by that path. Returns the path of the file.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        let text = text.replace('@', &self.path().display().to_string());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub fn run(&self, argv: &[&str]) -> ExecOutput {
        let lab = &self.cluster.lab;
        lab.exec_within("alice", argv, PATIENCE).unwrap()
    }

    /// The verdict of `hactl agent test` on an agent with these parameters, and the output.
    pub fn ours(&self, agent: &str, parameters: &[&str]) -> (bool, String) {
        let mut word = format!("ocf:heartbeat:{agent}");
        for parameter in parameters {
            word += &format!("::{parameter}");
        }
        verdict(self.run(&[HACTL, "agent", "test", &word]))
    }

    /// The verdict of the package's own tester.
    pub fn theirs(&self, agent: &str, parameters: &[&str]) -> (bool, String) {
        let path = format!("{AGENTS}/{agent}");
        let mut argv = vec!["ocf-tester", "-n", agent];
        for parameter in parameters {
            argv.extend(["-o", parameter]);
        }
        argv.push(&path);
        verdict(self.run(&argv))
    }

    /// Asserts that both testers come to this verdict.
    pub fn agree(&self, keeps: bool, agent: &str, parameters: &[&str]) -> String {
        let (ours, ours_said) = self.ours(agent, parameters);
        let (theirs, theirs_said) = self.theirs(agent, parameters);
        let said = format!("==== hactl agent test:\n{ours_said}\n==== ocf-tester:\n{theirs_said}");
        assert_eq!((ours, theirs), (keeps, keeps), "{agent}\n{said}");
        said
    }
}

fn verdict(output: ExecOutput) -> (bool, String) {
    let ProgramExit::Code(code) = output.exit else {
        panic!("did not end by itself: {output:?}");
    };
    (code == 0, output.stdout + &output.stderr)
}

/// A loop device on a file. It is detached when this is dropped.
pub struct Loop(pub String);

impl Loop {
    pub fn on(file: &Path) -> Loop {
        let output = Command::new("losetup")
            .args(["-f", "--show"])
            .arg(file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        Loop(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        Command::new("losetup").arg("-d").arg(&self.0).status().ok();
    }
}
