//! The scripts of `resource.d` as the daemon runs them, with stand-ins for what they manage.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};
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
    env.run_dir = dir.join("run");
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

/// A process that was stopped handles no signal but KILL. Its children would keep the ports.
#[tokio::test]
async fn nginx_that_hangs_is_ended_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let nginx = nginx(dir.path());
    let hanging = STAND_IN.replace("sleep 1000", "perl -e 'fork; sleep 1000'");
    let stand_in = dir.path().join("nginx-stand-in");
    fs::write(
        stand_in,
        hanging.replace("DIR", &dir.path().display().to_string()),
    )
    .unwrap();
    nginx.start(&limits()).await.unwrap();
    let pid = fs::read_to_string(dir.path().join("nginx.pid")).unwrap();
    let pid = pid.trim();
    let children = format!("/proc/{pid}/task/{pid}/children");
    let mut child = String::new();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while child.is_empty() {
        assert!(std::time::Instant::now() < deadline, "it has no child");
        tokio::time::sleep(Duration::from_millis(10)).await;
        child = fs::read_to_string(&children).unwrap();
    }
    let stopped = Command::new("kill").args(["-STOP", pid]).status().unwrap();
    assert!(stopped.success());
    nginx.stop(&limits()).await.unwrap();
    assert_eq!(nginx.monitor(&limits()).await, Ok(Status::Stopped));
    for process in [pid, child.trim()] {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
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

/// What old scripts call, in each shell that they may be written for.
const OLD_SCRIPT: &str = r#"
. ${HA_DIR}/resource.d/hto-mapfuncs
NAME=web
case "$1" in
start) ha_log "INFO: $NAME on $HA_CURHOST at $(ha_parameter deadtime)"; ha_debug "not shown"; ha_pseudo_resource $NAME start ;;
stop) ocf_log warn "stopping"; ha_pseudo_resource $NAME stop ;;
status) ha_log "looked"; ha_pseudo_resource $NAME status ;;
monitor) ha_pseudo_resource $NAME monitor; exit $? ;;
agent) OCF_TYPE=Old; OCF_RESKEY_a=1; export OCF_RESKEY_a; OCF_AGENTS=$HA_DIR; ra_execocf status; exit $? ;;
esac
"#;

#[tokio::test]
async fn scripts_that_read_heartbeats_libraries_find_ours() {
    for shell in ["/bin/dash", "/bin/bash"] {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::create_dir(at("resource.d")).unwrap();
        for (from, to) in [
            ("ha.d/shellfuncs", "shellfuncs"),
            ("resource.d/hto-mapfuncs", "resource.d/hto-mapfuncs"),
        ] {
            fs::copy(tree.join(from), at(to)).unwrap();
        }
        let program = |name: &str, text: String| {
            fs::write(at(name), text).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o755)).unwrap();
        };
        program("old", format!("#!{shell}{OLD_SCRIPT}"));
        program(
            "Old",
            "#!/bin/sh\n[ $1 = monitor ] && [ $OCF_RESKEY_a = 1 ] && exit 7\n".to_owned(),
        );
        let mut env = ScriptEnv::new(NodeName::new("alice"), dir.path());
        env.run_dir = at("run");
        env.env = vec![("RSCTMP".to_owned(), at("tmp").display().to_string())];
        env.directives = vec![("deadtime".to_owned(), "15".to_owned())];
        let variables = env.variables();
        let old = Script {
            path: at("old"),
            args: Vec::new(),
            env: Arc::new(env),
            monitor_timeout: Duration::from_secs(60),
        };
        assert_eq!(old.monitor(&limits()).await, Ok(Status::Stopped), "{shell}");
        old.start(&limits()).await.unwrap();
        assert_eq!(old.monitor(&limits()).await, Ok(Status::Running), "{shell}");
        old.stop(&limits()).await.unwrap();
        assert_eq!(old.monitor(&limits()).await, Ok(Status::Stopped), "{shell}");
        let run = |action: &str| {
            let mut command = Command::new(at("old"));
            let output = command
                .arg(action)
                .env_clear()
                .envs(variables.clone())
                .output()
                .unwrap();
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            (
                output.status.code(),
                text(output.stdout),
                text(output.stderr),
            )
        };
        let silent = String::new;
        assert_eq!(run("monitor"), (Some(7), silent(), silent()), "{shell}");
        assert_eq!(
            run("agent"),
            (Some(7), "stopped\n".to_owned(), silent()),
            "{shell}"
        );
        let said = "INFO: web on alice at 15\n".to_owned();
        assert_eq!(run("start"), (Some(0), silent(), said), "{shell}");
    }
}

/// A server that lives, a client and an `ss` that say what a test wants, and no other program than `mariadb_role` needs.
struct MariadbRole {
    dir: tempfile::TempDir,
    server: Child,
}

impl MariadbRole {
    /// The client is a shell script; `pids` are those that listen at the socket, where `SERVER` is the living one.
    fn new(client: Option<&str>, pids: &[&str]) -> MariadbRole {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let tools = "sh awk grep cut sed head tail tr cat echo readlink flock date touch ip";
        for tool in tools.split(' ') {
            let path = format!("command -v {tool}");
            let found = Command::new("sh").args(["-c", &path]).output().unwrap();
            let found = String::from_utf8(found.stdout).unwrap();
            let found = found.trim();
            if found.starts_with('/') {
                std::os::unix::fs::symlink(found, at(tool)).unwrap();
            }
        }
        fs::copy("/bin/sleep", at("mariadbd")).unwrap();
        let server = Command::new(at("mariadbd")).arg("1000").spawn().unwrap();
        let listeners: Vec<String> = pids
            .iter()
            .map(|pid| pid.replace("SERVER", &server.id().to_string()))
            .map(|pid| format!("(\"x\",pid={pid},fd=4)"))
            .collect();
        let listeners = listeners.join(",");
        let ss = format!(
            "[ \"$1\" = -K ] || echo 'u_str LISTEN 0 80 /run/mysqld/mysqld.sock 1 * 0 users:({listeners})'"
        );
        let role = MariadbRole { dir, server };
        role.tool("ss", &ss);
        role.tool("sleep", "");
        role.tool("my_print_defaults", "");
        // Time passes at once.
        role.tool("timeout", "shift; \"$@\"");
        if let Some(client) = client {
            role.tool("mariadb", &format!("cat >/dev/null; {client}"));
        }
        role
    }

    fn tool(&self, name: &str, script: &str) {
        let path = self.dir.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The exit code and the output of a stop.
    fn stop(&self) -> (Option<i32>, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("resource.d/mariadb_role");
        let output = Command::new("/usr/bin/timeout")
            .args(["--kill-after=1", "30", "/bin/sh"])
            .arg(script)
            .args(["10.99.0.1", "stop"])
            .env_clear()
            .env("PATH", self.dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said + &errors)
    }

    fn lives(&mut self) -> bool {
        self.server.try_wait().unwrap().is_none()
    }
}

impl Drop for MariadbRole {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// Reaps the server as its parent would; `kill -0` would find the zombie for ever.
fn reaped(role: &mut MariadbRole) -> (Option<i32>, String) {
    std::thread::scope(|scope| {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(role.server.id()).unwrap());
        scope.spawn(move || nix::sys::wait::waitpid(pid, None));
        let (code, said) = role.stop();
        // Ends the thread where the server was left alone.
        let lives = nix::sys::signal::kill(pid, None).is_ok();
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).ok();
        (
            code,
            format!("{}{said}", if lives { "lives: " } else { "dead: " }),
        )
    })
}

const TOO_MANY: &str = "echo 'ERROR 1040 (HY000): Too many connections'; exit 1";

#[test]
fn a_stop_leaves_a_server_alone_that_has_no_free_connection() {
    let mut role = MariadbRole::new(Some(TOO_MANY), &["SERVER"]);
    let (code, said) = role.stop();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("runs but cannot be asked"), "{said}");
    assert!(said.contains("Too many connections"), "{said}");
    assert!(role.lives());

    // It waits for one: here the third attempt finds it, and the server is no writer.
    let client = format!(
        "echo >>\"$0.asked\"; [ $(grep -c '' \"$0.asked\") -gt 2 ] || {{ {TOO_MANY}; }}; printf '1\\t-\\n'"
    );
    let mut role = MariadbRole::new(Some(&client), &["SERVER"]);
    let (code, said) = role.stop();
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(role.lives());
}

#[test]
fn a_stop_without_a_client_program_kills_no_server() {
    let mut role = MariadbRole::new(None, &["SERVER"]);
    let (code, said) = role.stop();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot be made read-only"), "{said}");
    assert!(role.lives());
    // Nothing runs, so nothing can be written to.
    let role = MariadbRole::new(None, &[]);
    assert_eq!(role.stop().0, Some(0));
}

#[test]
fn a_stop_kills_only_the_server_that_hangs_and_not_what_activates_it() {
    let refused = "echo \"ERROR 2002 (HY000): Can't connect to local server\"; exit 1";
    let role = MariadbRole::new(Some(refused), &["1"]);
    let (code, said) = role.stop();
    assert_eq!((code, said.as_str()), (Some(0), ""));

    for client in [refused, "exit 124"] {
        let mut role = MariadbRole::new(Some(client), &["SERVER", "1"]);
        let (code, said) = reaped(&mut role);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with("dead: the server (process "), "{said}");
        assert!(said.contains("does not answer; it is killed"), "{said}");
    }
}
