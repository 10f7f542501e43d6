//! What a resource script prints. It ends up in a log and in status, so it must be short there and harmless to a terminal.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use had::agent::exec::environment::ScriptEnv;
use had::agent::external::script::Script;
use had::agent::{Abort, Agent, AgentError, Limits};
use had::model::NodeName;

use crate::harness::Target;

const LONG: Duration = Duration::from_secs(60);
/// An error is a sentence; with the last lines of what was said it may be some.
const LONGEST: usize = 4096;

/// A script that says what is in a file, on both streams, and fails to start and to stop.
fn script(folder: &Path) -> Script {
    let text = "#!/bin/sh\ncat \"${0%/*}/says\"\ncat \"${0%/*}/says\" >&2\nexit 3\n";
    let path = folder.join("script");
    fs::write(folder.join("new"), text).unwrap();
    // As a copy by another process: one that forks meanwhile would hold it open for writing.
    let copied = std::process::Command::new("cp")
        .arg(folder.join("new"))
        .arg(&path)
        .status();
    assert!(copied.unwrap().success());
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    let mut env = ScriptEnv::new(NodeName::new("alice"), "/etc/ha.d");
    env.work_dir = folder.to_path_buf();
    env.run_dir = folder.join("run");
    Script {
        path,
        args: vec![],
        env: Arc::new(env),
        monitor_timeout: LONG,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

fn for_people(error: &AgentError) {
    let text = error.to_string();
    let length = text.chars().count();
    assert!(length <= LONGEST, "{length} characters: {text:.1000}");
    let obeyed = text.chars().find(|c| c.is_control());
    assert_eq!(obeyed, None, "a terminal would obey {text:?}");
}

#[test]
fn nothing_that_a_script_prints_does_harm() {
    let folder = tempfile::tempdir().unwrap();
    let script = script(folder.path());
    let runtime = runtime();
    let target = Target {
        name: "agent",
        runs: 150,
        examples: [
            "nginx is running\n",
            "not running\n",
            "Resource is stopped\n",
            "line\nline\nERROR: no such disk\n",
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec(),
        words: &[
            "running", "not ", "OK", "stopped", "\x1b[31m", "\x07", "\u{9b}2J", "\n\n",
        ],
    };
    target.fuzz(|bytes| {
        fs::write(folder.path().join("says"), bytes).unwrap();
        runtime.block_on(async {
            let soon = Limits::within(LONG, &Abort::new());
            let look = script.monitor(&soon).await;
            if let Err(error) = &look {
                for_people(error);
            }
            // It exits with 3: an error, unless its words say that it runs already.
            if let Err(error) = script.start(&soon).await {
                for_people(&error);
            }
            let at_once = Limits::within(Duration::from_millis(900), &Abort::new());
            if let Err(error) = script.stop(&at_once).await {
                for_people(&error);
            }
        });
    });
}

/// Endless output, in one line or in many, is read to the deadline and no more than its end is kept.
#[test]
fn endless_output_ends_with_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let script = script(folder.path());
    let runtime = runtime();
    for source in ["/dev/zero", "/dev/urandom"] {
        let says = folder.path().join("says");
        fs::remove_file(&says).ok();
        std::os::unix::fs::symlink(source, &says).unwrap();
        let soon = Limits::within(Duration::from_millis(300), &Abort::new());
        let error = runtime.block_on(script.stop(&soon)).unwrap_err();
        assert!(matches!(error, AgentError::TimedOut(_)), "{error:?}");
        for_people(&error);
    }
}
