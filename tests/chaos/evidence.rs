//! Collects everything that helps to understand a failure in one folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::calls::seconds;
use crate::run::ChaosRun;
use crate::step::Node;

/// For each of them: a broken daemon may not answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Writes the folder.
pub fn gather(run: &ChaosRun, seed: u64, failed: &[String]) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = target.join(format!("chaos/{}-{seed}", run.stage.class.name));
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: String| fs::write(folder.join(name), text).unwrap();
    write("wrong", failed.join("\n") + "\n");
    let told = |(at, what): &(had::model::Time, String)| format!("{:>12.3} {what}\n", seconds(*at));
    write("steps", run.stage.timeline.lines.iter().map(told).collect());
    write("troubles", format!("{:#?}\n", run.stage.timeline.spells));
    let owners = run.seen.sampled.owners.iter();
    let line = |o: &(had::model::Time, std::net::IpAddr, Vec<String>)| {
        format!("{:>12.3} {} {:?}\n", seconds(o.0), o.1, o.2)
    };
    write("owners", owners.map(line).collect());
    write("probes", format!("{:#?}\n", run.seen.probed));
    drop(fs::copy(
        run.stage.dir.path().join("calls"),
        folder.join("calls"),
    ));
    for node in run.stage.class.nodes {
        of_node(run, node, &folder.join(node));
    }
    folder
}

/// The log of a daemon, its status, its journal and its state folder with the recordings.
fn of_node(run: &ChaosRun, node: Node, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let lab = &run.stage.lab;
    fs::write(folder.join("log"), lab.log(node).unwrap_or_default()).unwrap();
    if !run.stage.on.contains(node) {
        drop(lab.restart(node));
    }
    for (name, argv) in [
        ("status", vec!["hactl", "status"]),
        ("status.json", vec!["hactl", "status", "--json"]),
        ("history", vec!["hactl", "history", "-n", "1000"]),
        ("addresses", vec!["ip", "address"]),
    ] {
        let text = match lab.exec_within(node, &argv, PATIENCE) {
            Ok(output) => output.stdout + &output.stderr,
            Err(error) => error.to_string(),
        };
        fs::write(folder.join(name), text).unwrap();
    }
    let to = folder.display().to_string();
    drop(lab.exec_within(
        node,
        &["cp", "-r", "/var/lib/had", "/etc/ha.d", &to],
        PATIENCE,
    ));
}
