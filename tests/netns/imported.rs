//! What `hactl import keepalived` makes of two files runs: real daemons, the check as a script, and the old programs called with
//! their arguments.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::wait;

const ALICE: &str = "global_defs {
  router_id alice
}
vrrp_script web {
  script \"test -e /run/web-works && true\"
  interval 1
  fall 2
}
vrrp_instance V {
  state MASTER
  interface eth0
  virtual_router_id 51
  priority 150
  unicast_src_ip 10.7.0.1
  unicast_peer {
    10.7.0.2
  }
  track_script {
    web
  }
  notify_master \"echo master 'of two' >> /run/told\"
  notify \"echo >> /run/told any\"
  virtual_ipaddress {
    10.7.0.100/24
  }
}
";

fn hactl(dir: &Path, words: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hactl"))
        .args(words.split_whitespace())
        .current_dir(dir)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Ends the lab in any case.
struct Down<'d>(&'d Path, String);

impl Down<'_> {
    fn lab(&self, words: &str) -> Output {
        hactl(self.0, &format!("lab --name {} {words}", self.1))
    }

    /// Waits until a node says that.
    fn until(&self, node: &str, command: &str, text: &str) {
        let says = || said(&self.lab(&format!("exec {node} -- {command}"))).contains(text);
        assert!(wait(says), "{node}: {command}: {text}");
    }
}

impl Drop for Down<'_> {
    fn drop(&mut self) {
        self.lab("down");
    }
}

#[test]
fn imported_files_run_and_the_old_programs_are_called() {
    let dir = tempfile::tempdir().unwrap();
    let bob = ALICE
        .replace("router_id alice", "router_id bob")
        .replace("MASTER", "BACKUP")
        .replace("priority 150", "priority 100")
        .replace("unicast_src_ip 10.7.0.1", "unicast_src_ip 10.7.0.2")
        .replace("    10.7.0.2\n", "    10.7.0.1\n");
    fs::write(dir.path().join("a.conf"), ALICE).unwrap();
    fs::write(dir.path().join("b.conf"), bob).unwrap();
    let words = "import keepalived a.conf b.conf --ping 10.7.0.254 --out out";
    let output = hactl(dir.path(), words);
    assert!(output.status.success(), "{}", said(&output));

    let lab = Down(dir.path(), format!("imported-{}", std::process::id()));
    let output = lab.lab("up out");
    assert!(output.status.success(), "{}", said(&output));
    let checked = said(&lab.lab("exec alice -- hactl check"));
    assert!(checked.ends_with("\nno errors\n"), "{checked}");
    for node in ["alice", "bob"] {
        lab.lab(&format!("exec {node} -- touch /run/web-works"));
    }
    lab.until("alice", "hactl status", "10.7.0.100/24/eth0 runs on alice");
    lab.until(
        "alice",
        "cat /run/told",
        "master of two\nany INSTANCE V MASTER 150\n",
    );

    lab.lab("exec alice -- rm /run/web-works");
    lab.until("bob", "hactl status", "10.7.0.100/24/eth0 runs on bob");
    lab.until("alice", "cat /run/told", "any INSTANCE V BACKUP 150\n");
    lab.until(
        "bob",
        "cat /run/told",
        "master of two\nany INSTANCE V MASTER 100\n",
    );
}
