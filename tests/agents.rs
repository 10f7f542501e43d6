//! The scripts of `resource.d` as the daemon runs them, with stand-ins for what they manage.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use had::agent::exec::environment::ScriptEnv;
use had::agent::external::script::Script;
use had::agent::{Abort, Agent, AgentError, Limits, Status};
use had::model::NodeName;

/// What nginx does as far as the script can see: `-V`, `-t`, and a master process that ends on QUIT or TERM.
const STAND_IN: &str = r#"#!/bin/bash
dir=DIR
case "$*" in
*-V*) echo "configure arguments: --prefix=$dir --pid-path=$dir/nginx.pid --conf-path=$dir/nginx.conf" >&2; exit 0 ;;
*-t*) [ ! -e $dir/typo ] || { echo "nginx: unknown directive in nginx.conf:7" >&2; exit 1; }; exit 0 ;;
esac
(exec -a "nginx: master process" sleep 1000) >/dev/null 2>&1 &
echo $! > $dir/nginx.pid
"#;

fn nginx(dir: &Path) -> Script {
    let stand_in = dir.join("nginx-stand-in");
    fs::write(
        &stand_in,
        STAND_IN.replace("DIR", &dir.display().to_string()),
    )
    .unwrap();
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
    let mut env = ScriptEnv::new(NodeName::new("alice"), "/etc/ha.d");
    env.env = vec![("NGINX".to_owned(), stand_in.display().to_string())];
    Script {
        path: Path::new(env!("CARGO_MANIFEST_DIR")).join("resource.d/nginx"),
        args: Vec::new(),
        env: Arc::new(env),
        monitor_timeout: Duration::from_secs(60),
    }
}

fn limits() -> Limits {
    Limits::within(Duration::from_secs(60), &Abort::new())
}

#[tokio::test]
async fn nginx_starts_and_stops_as_often_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let nginx = nginx(dir.path());
    nginx.stop(&limits()).await.unwrap();
    for _ in 0..2 {
        nginx.start(&limits()).await.unwrap();
        assert_eq!(nginx.monitor(&limits()).await, Ok(Status::Running));
    }
    for _ in 0..2 {
        nginx.stop(&limits()).await.unwrap();
        assert_eq!(nginx.monitor(&limits()).await, Ok(Status::Stopped));
    }
}

#[tokio::test]
async fn nginx_with_a_typo_is_not_started_and_says_where_the_typo_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("typo"), "").unwrap();
    let error = nginx(dir.path()).start(&limits()).await.unwrap_err();
    let AgentError::Failed(text) = error else {
        panic!("{error:?}")
    };
    assert!(text.contains("exit code 6"), "{text}");
    assert!(text.contains("unknown directive in nginx.conf:7"), "{text}");
}

#[tokio::test]
async fn a_stale_pid_file_is_not_nginx() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("nginx.pid"),
        format!("{}\n", std::process::id()),
    )
    .unwrap();
    let nginx = nginx(dir.path());
    assert_eq!(nginx.monitor(&limits()).await, Ok(Status::Stopped));
    nginx.stop(&limits()).await.unwrap();
}

#[test]
fn the_template_is_never_picked_up_as_a_resource() {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("resource.d/template");
    let mode = fs::metadata(template).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0);
}
