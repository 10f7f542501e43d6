use super::*;
use crate::agent::Abort;
use crate::agent::exec::testing::write_program;
use crate::model::NodeName;
use std::path::Path;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);

/// A script with this body, called as `script one two ACTION`; `$LOG` is a file to write to.
struct Sandbox(tempfile::TempDir);

impl Sandbox {
    fn new(body: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let text = format!("#!/bin/sh\nLOG={}\n{body}\n", log.display());
        write_program(&dir.path().join("script"), &text);
        Sandbox(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn script(&self) -> Script {
        let mut env = ScriptEnv::new(NodeName::new("alice"), "/etc/ha.d");
        env.work_dir = self.path().to_path_buf();
        env.run_dir = self.path().join("run");
        env.directives = vec![("deadtime".into(), "4".into())];
        Script {
            path: self.path().join("script"),
            args: vec!["one".into(), "two".into()],
            env: Arc::new(env),
            monitor_timeout: LONG,
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }
}

fn within(time: Duration) -> Limits {
    Limits::within(time, &Abort::new())
}

#[test]
fn status_is_judged_by_words_as_heartbeat_did() {
    let table = [
        ("nginx is running", StatusWords::Running),
        ("Running", StatusWords::Running),
        ("INFO: IPaddr Running OK", StatusWords::Running),
        ("OK", StatusWords::Running),
        ("not OK", StatusWords::Running),
        ("not running", StatusWords::Stopped),
        ("NOT running", StatusWords::Stopped),
        ("is Not, well: not quite Running", StatusWords::Stopped),
        ("running, or not \nrunning", StatusWords::Stopped),
        ("nothing is running", StatusWords::Running),
        ("not-running", StatusWords::Running),
        ("RUNNING", StatusWords::Unclear),
        ("ok", StatusWords::Unclear),
        ("", StatusWords::Unclear),
        ("Resource is stopped", StatusWords::Stopped),
        ("Active: inactive (dead)", StatusWords::Stopped),
        ("httpd dead but subsys locked", StatusWords::Stopped),
        ("deadline exceeded", StatusWords::Unclear),
        ("web is down", StatusWords::Unclear),
    ];
    for (output, words) in table {
        assert_eq!(classify_status(output, Some(0)), words, "{output:?}");
    }
}

#[test]
fn the_exit_code_of_the_lsb_decides_where_the_words_do_not() {
    let table = [
        ("web is down", 3, StatusWords::Stopped),
        ("web is down", 1, StatusWords::Unclear),
        ("", 3, StatusWords::Unclear),
        ("Usage: web {start|stop}", 3, StatusWords::Unclear),
        ("web is running", 3, StatusWords::Running),
    ];
    for (output, code, words) in table {
        assert_eq!(classify_status(output, Some(code)), words, "{output:?}");
    }
}

/// The same status before a start, at a monitor, and after a stop that failed.
#[tokio::test]
async fn one_status_is_judged_alike_everywhere() {
    let sandbox = Sandbox::new(
        "[ $3 = start ] && exit 0; echo 'Active: inactive (dead)'; [ $3 = stop ] && exit 1; exit 3",
    );
    let script = sandbox.script();
    assert_eq!(script.monitor(&within(LONG)).await, Ok(Status::Stopped));
    assert_eq!(script.raw_monitor(&within(LONG)).await, Ok(Status::Stopped));
    script.start(&within(LONG)).await.unwrap();
    assert_eq!(script.stop(&within(LONG)).await, Ok(()));
}

/// Files that the kernel does not execute, or that end before they have looked at their action.
#[tokio::test]
async fn what_was_never_executed_here_does_not_run_here() {
    for text in [
        "",
        "#!/bin/sh\r\nexit 0\r\n",
        "#!/opt/gone/python2\n",
        "#!/bin/sh\n. /etc/gone.d/shellfuncs\nexit 0\n",
        "\x01\0\x02",
    ] {
        let sandbox = Sandbox::new("echo running");
        let script = sandbox.script();
        let good = std::fs::read_to_string(&script.path).unwrap();
        write_program(&script.path, text);
        assert_eq!(
            script.monitor(&within(LONG)).await,
            Ok(Status::Stopped),
            "{text:?}"
        );
        let error = script.start(&within(LONG)).await.unwrap_err();
        assert!(
            matches!(error, AgentError::NotExecuted(_)),
            "{text:?}: {error:?}"
        );
        assert_eq!(script.stop(&within(LONG)).await, Ok(()), "{text:?}");

        // What was seen running may still run, also for the next daemon.
        write_program(&script.path, &good);
        assert_eq!(script.monitor(&within(LONG)).await, Ok(Status::Running));
        write_program(&script.path, text);
        assert!(
            sandbox.script().monitor(&within(LONG)).await.is_err(),
            "{text:?}"
        );
        assert!(
            sandbox.script().stop(&within(LONG)).await.is_err(),
            "{text:?}"
        );
    }
}

#[tokio::test]
async fn a_script_without_a_first_line_is_run_by_the_shell() {
    let sandbox = Sandbox::new("");
    let script = sandbox.script();
    write_program(&script.path, "[ $3 = status ] && echo running\nexit 0\n");
    assert_eq!(script.monitor(&within(LONG)).await, Ok(Status::Running));
    assert_eq!(script.stop(&within(LONG)).await, Ok(()));
}

#[tokio::test]
async fn arguments_come_before_the_action_and_status_before_start() {
    let sandbox = Sandbox::new(r#"echo "$@" >> $LOG; [ "$3" = status ] && echo stopped; exit 0"#);
    let script = sandbox.script();
    script.start(&within(LONG)).await.unwrap();
    script.stop(&within(LONG)).await.unwrap();
    assert_eq!(
        sandbox.log(),
        "one two status\none two start\none two stop\n"
    );
}

#[tokio::test]
async fn what_runs_already_is_not_started() {
    let sandbox = Sandbox::new(r#"echo "$3" >> $LOG; echo running; exit 3"#);
    sandbox.script().start(&within(LONG)).await.unwrap();
    assert_eq!(sandbox.log(), "status\n");
}

#[tokio::test]
async fn words_on_standard_error_do_not_count_nor_does_the_exit_code() {
    let sandbox = Sandbox::new("echo running >&2; exit 0");
    let status = sandbox.script().monitor(&within(LONG)).await;
    assert_eq!(status, Ok(Status::Unclear));
}

#[tokio::test]
async fn a_script_gets_the_environment_of_heartbeat_and_nothing_of_ours() {
    let sandbox =
        Sandbox::new(r#"env > $LOG; echo "cwd=$(pwd)" >> $LOG; readlink /proc/self/fd/0 >> $LOG"#);
    sandbox.script().stop(&within(LONG)).await.unwrap();
    let log = sandbox.log();
    assert!(log.contains("HA_CURHOST=alice\n"), "{log}");
    assert!(log.contains("HA_deadtime=4\n"), "{log}");
    assert!(log.contains("HA_FUNCS=/etc/ha.d/shellfuncs\n"), "{log}");
    assert!(
        log.contains(&format!("cwd={}\n", sandbox.path().display())),
        "{log}"
    );
    assert!(log.ends_with("/dev/null\n"), "{log}");
    assert!(!log.contains("CARGO"), "{log}");
}

#[tokio::test]
async fn a_failed_start_says_which_script_which_code_and_the_last_lines() {
    let sandbox =
        Sandbox::new(r#"[ $3 = start ] && { seq 100; echo "no port" >&2; exit 7; }; echo stopped"#);
    let error = sandbox.script().start(&within(LONG)).await.unwrap_err();
    let path = sandbox.path().join("script");
    let expected = format!(
        "script {} one two start failed with exit code 7: 97 | 98 | 99 | 100 | no port",
        path.display()
    );
    assert_eq!(error, AgentError::Failed(expected));
}

#[tokio::test]
async fn a_failed_stop_is_forgiven_when_status_says_stopped_in_words() {
    let sandbox = Sandbox::new("[ $3 = status ] && echo 'not running'; exit 1");
    assert_eq!(sandbox.script().stop(&within(LONG)).await, Ok(()));
}

#[tokio::test]
async fn a_failed_stop_is_never_taken_for_stopped_without_words() {
    for body in [
        "exit 1",
        "[ $3 = status ] && echo running; exit 1",
        "kill -9 $$",
    ] {
        let sandbox = Sandbox::new(body);
        let limits = within(Duration::from_millis(900));
        let error = sandbox.script().stop(&limits).await.unwrap_err();
        assert!(matches!(error, AgentError::Failed(_)), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn a_stop_that_fails_once_is_tried_again() {
    let sandbox = Sandbox::new(
        r"[ $3 = status ] && { echo running; exit 0; }; echo x >> $LOG; [ $(wc -l < $LOG) -ge 2 ]",
    );
    assert_eq!(sandbox.script().stop(&within(LONG)).await, Ok(()));
    assert_eq!(sandbox.log(), "x\nx\n");
}

#[tokio::test]
async fn a_hang_in_any_action_is_a_timeout_that_names_it() {
    let hang =
        |action: &str| Sandbox::new(&format!("[ $3 = {action} ] && sleep 1000; echo stopped"));
    let sandbox = hang("start");
    let error = sandbox.script().start(&within(SHORT)).await.unwrap_err();
    assert!(
        matches!(&error, AgentError::TimedOut(t) if t.contains("two start timed out")),
        "{error:?}"
    );

    let sandbox = hang("stop");
    let error = sandbox.script().stop(&within(SHORT)).await.unwrap_err();
    assert!(
        matches!(&error, AgentError::TimedOut(t) if t.contains("two stop timed out")),
        "{error:?}"
    );

    let sandbox = hang("status");
    let script = Script {
        monitor_timeout: SHORT,
        ..sandbox.script()
    };
    let error = script.start(&within(LONG)).await.unwrap_err();
    assert!(
        matches!(&error, AgentError::TimedOut(t) if t.contains("two status timed out")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_status_that_floods_or_is_killed_is_no_verdict() {
    for body in ["echo running; seq 100000", "kill -9 $$"] {
        let sandbox = Sandbox::new(body);
        let error = sandbox.script().monitor(&within(LONG)).await.unwrap_err();
        assert!(matches!(error, AgentError::Failed(_)), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn a_script_that_cannot_be_run_says_so() {
    let sandbox = Sandbox::new("");
    let script = Script {
        path: "/nonexistent/script".into(),
        ..sandbox.script()
    };
    let error = script.start(&within(LONG)).await.unwrap_err();
    assert!(error.to_string().contains("cannot be run"), "{error}");
}
