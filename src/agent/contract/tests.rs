use std::sync::Arc;

use super::*;
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::testing::write_program;
use crate::agent::external::script::Script;
use crate::model::NodeName;
use crate::model::cluster::{self, Timeouts};

/// A script with a state in `$ON`.
const HONEST: &str = r"
case $1 in
start) touch $ON;;
stop) rm -f $ON;;
status) if [ -e $ON ]; then echo running; else echo stopped; fi;;
esac";

struct Sandbox(tempfile::TempDir);

impl Sandbox {
    fn new(body: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let on = dir.path().join("on");
        let text = format!("#!/bin/sh\nON={}\n{body}\n", on.display());
        write_program(&dir.path().join("script"), &text);
        Sandbox(dir)
    }

    fn is_on(&self) -> bool {
        self.0.path().join("on").exists()
    }

    async fn run_tests(&self) -> (usize, Vec<String>) {
        let time = Duration::from_secs(20);
        let mut env = ScriptEnv::new(NodeName::new("alice"), "/etc/ha.d");
        env.run_dir = self.0.path().join("run");
        let script = Script {
            path: self.0.path().join("script"),
            args: vec![],
            env: Arc::new(env),
            monitor_timeout: time,
        };
        let step = ResolvedStep {
            step: cluster::Step {
                start: time,
                stop: Duration::from_millis(900),
                ..cluster::Step::new(vec!["script".to_owned()], false, Timeouts::default())
            },
            agent: Arc::new(script),
            addresses: None,
            missing: None,
            what: vec![],
        };
        let mut bad = Vec::new();
        let broken = run_tests(&step, &Abort::new(), |what, step| match step {
            TestResult::Passed(_) if what.contains("configuration") => bad.push(what.to_owned()),
            TestResult::Passed(_) => {}
            TestResult::Violated(why) | TestResult::Refused(why) | TestResult::Remark(why) => {
                bad.push(format!("{what}: {why}"));
            }
        })
        .await;
        (broken, bad)
    }
}

/// A script has no action that checks its configuration, so no test of that passes.
#[tokio::test]
async fn an_honest_agent_keeps_the_contract_and_is_left_stopped() {
    let sandbox = Sandbox::new(HONEST);
    assert_eq!(sandbox.run_tests().await, (0, vec![]));
    assert!(!sandbox.is_on());
}

#[tokio::test]
async fn every_break_is_named_and_nothing_is_left_running() {
    let table = [
        (
            "start) touch $ON",
            "start) [ -e $ON ] && exit 1; touch $ON",
            "starts while it runs",
        ),
        (
            "stop) rm -f $ON",
            "stop) rm $ON",
            "stops while it is stopped",
        ),
        (
            "stop) rm -f $ON",
            "stop) :",
            "reports again that it is stopped",
        ),
        (
            "else echo stopped",
            "else echo gone",
            "reports that it is stopped",
        ),
        (
            "then echo running",
            "then echo RUNNING",
            "reports that it runs",
        ),
        ("start) touch $ON", "start) exit 3", "starts"),
        ("stop) rm -f $ON", "stop) rm -f $ON; exit 1", "stops"),
    ];
    for (honest, broken, named) in table {
        let body = HONEST.replace(honest, broken);
        assert_ne!(body, HONEST);
        let sandbox = Sandbox::new(&body);
        let (count, bad) = sandbox.run_tests().await;
        assert!(count > 0, "{broken}");
        assert!(
            bad.iter().any(|b| b.starts_with(&format!("{named}: "))),
            "{broken}: {bad:?}"
        );
        assert!(!sandbox.is_on() || broken == "stop) :", "{broken}: {bad:?}");
    }
}

#[tokio::test]
async fn what_runs_already_is_not_touched() {
    let sandbox = Sandbox::new(HONEST);
    std::fs::write(sandbox.0.path().join("on"), "").unwrap();
    let (count, bad) = sandbox.run_tests().await;
    assert_eq!(count, 1);
    assert!(bad[0].contains("it already runs"), "{bad:?}");
    assert!(sandbox.is_on());
}
