use std::path::PathBuf;

use super::*;
use crate::agent::Abort;
use crate::agent::exec::testing::write_program;
use crate::agent::external::ocf::notation::Given;
use crate::model::NodeName;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);

/// An agent with this body; `$LOG` is a file to write to.
struct Sandbox(tempfile::TempDir);

impl Sandbox {
    fn new(body: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let text = format!(
            "#!/bin/sh\nLOG={}\necho $1 >> $LOG\n{body}\n",
            log.display()
        );
        write_program(&dir.path().join("Agent"), &text);
        Sandbox(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("Agent")
    }

    fn agent(&self) -> Ocf {
        let given = Given {
            name: "port".to_owned(),
            value: "80 81".to_owned(),
            at: None,
        };
        let plan = Plan {
            path: self.path(),
            provider: "heartbeat".to_owned(),
            kind: "Agent".to_owned(),
            instance: "Agent_x".to_owned(),
            given: vec![given],
        };
        let mut env = ScriptEnv::new(NodeName::new("alice"), "/etc/ha.d");
        env.run_dir = self.0.path().join("run");
        Ocf::new(plan, Arc::new(env), LONG)
    }

    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.0.path().join("log"));
        text.unwrap_or_default().replace('\n', " ")
    }
}

fn env() -> Arc<ScriptEnv> {
    Arc::new(ScriptEnv::new(NodeName::new("alice"), "/etc/ha.d"))
}

fn within(time: Duration) -> Limits {
    Limits::within(time, &Abort::new())
}

#[tokio::test]
async fn a_look_is_judged_by_its_exit_code() {
    for (code, verdict) in [
        (0, Some(Status::Running)),
        (8, Some(Status::Running)),
        (7, Some(Status::Stopped)),
        (5, Some(Status::Stopped)),
        (1, None),
        (2, None),
        (3, None),
        (4, None),
        (6, None),
        (9, None),
        (42, None),
    ] {
        let sandbox = Sandbox::new(&format!("echo not running; exit {code}"));
        let seen = sandbox.agent().monitor(&within(LONG)).await;
        assert_eq!(seen.ok(), verdict, "{code}");
    }
    let sandbox = Sandbox::new("kill -9 $$");
    assert!(sandbox.agent().monitor(&within(LONG)).await.is_err());
}

#[tokio::test]
async fn the_action_stands_alone_and_parameters_are_variables() {
    let sandbox = Sandbox::new("echo $#; env >> $LOG; exit 7");
    sandbox.agent().monitor(&within(LONG)).await.unwrap();
    let log = sandbox.log();
    for line in [
        "OCF_RESKEY_port=80 81 ",
        "OCF_ROOT=/usr/lib/ocf ",
        "OCF_RA_VERSION_MAJOR=1 ",
        "OCF_RESOURCE_INSTANCE=Agent_x ",
        "OCF_RESOURCE_TYPE=Agent ",
        "OCF_RESOURCE_PROVIDER=heartbeat ",
        "__OCF_ACTION=monitor ",
        "OCF_RESKEY_CRM_meta_interval=0 ",
        "HA_CURHOST=alice ",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert!(!log.contains("HA_BIN") && !log.contains("CARGO"), "{log}");
}

#[tokio::test]
async fn a_resource_that_ran_is_looked_at_as_one_that_should() {
    let sandbox = Sandbox::new("echo interval $OCF_RESKEY_CRM_meta_interval >> $LOG; exit 0");
    let agent = sandbox.agent();
    agent.monitor(&within(LONG)).await.unwrap();
    agent.monitor(&within(LONG)).await.unwrap();
    agent.stop(&within(LONG)).await.unwrap();
    agent.monitor(&within(LONG)).await.unwrap();
    let expected = "monitor interval 0 monitor interval 10000 stop interval 0 monitor interval 0 ";
    assert_eq!(sandbox.log(), expected);
}

#[tokio::test]
async fn what_runs_is_not_started_and_what_is_unwell_is() {
    for (code, calls) in [
        (0, "monitor "),
        (8, "monitor "),
        (7, "monitor start "),
        (1, "monitor start "),
    ] {
        let sandbox = Sandbox::new(&format!("[ $1 = monitor ] && exit {code}; exit 0"));
        sandbox.agent().start(&within(LONG)).await.unwrap();
        assert_eq!(sandbox.log(), calls, "{code}");
    }
}

#[tokio::test]
async fn a_failed_start_says_which_agent_what_the_code_means_and_why() {
    let sandbox = Sandbox::new("[ $1 = start ] && { echo 'no nginx here' >&2; exit 5; }; exit 7");
    let error = sandbox.agent().start(&within(LONG)).await.unwrap_err();
    let expected = "ocf:heartbeat:Agent (Agent_x) start failed with exit code 5 (not installed: this node cannot run it): no nginx here";
    assert_eq!(error, AgentError::Failed(expected.to_owned()));
}

#[tokio::test]
async fn the_reason_that_an_agent_names_is_shown_alone() {
    let body = "echo noise; echo 'ocf-exit-reason:no such file' >&2; echo more noise; exit 6";
    let error = Sandbox::new(body).agent().validate(&within(LONG)).await;
    let text = error.unwrap_err().to_string();
    assert!(
        text.ends_with("validate-all failed with exit code 6 (not configured): no such file"),
        "{text}"
    );
}

#[tokio::test]
async fn a_node_without_the_program_is_not_stuck_after_its_failed_start() {
    let sandbox = Sandbox::new("exit 5");
    let agent = sandbox.agent();
    agent.start(&within(LONG)).await.unwrap_err();
    assert_eq!(agent.stop(&within(LONG)).await, Ok(()));
}

#[tokio::test]
async fn a_program_that_vanished_while_it_ran_is_not_taken_for_stopped() {
    let sandbox = Sandbox::new("[ -e $LOG.gone ] && exit 5; exit 0");
    let agent = sandbox.agent();
    agent.start(&within(LONG)).await.unwrap();
    std::fs::write(sandbox.0.path().join("log.gone"), "").unwrap();
    assert!(agent.monitor(&within(LONG)).await.is_err());
    let error = agent.stop(&within(Duration::from_millis(900))).await;
    assert!(matches!(error, Err(AgentError::Failed(_))), "{error:?}");
}

#[tokio::test]
async fn what_was_never_executed_here_does_not_run_here() {
    let sandbox = Sandbox::new("exit 0");
    let good = std::fs::read_to_string(sandbox.path()).unwrap();
    let broken = "#!/opt/gone/python2\n";
    write_program(&sandbox.path(), broken);
    let agent = sandbox.agent();
    assert_eq!(agent.monitor(&within(LONG)).await, Ok(Status::Stopped));
    let error = agent.raw_start(&within(LONG)).await.unwrap_err();
    assert!(matches!(error, AgentError::NotExecuted(_)), "{error:?}");
    assert_eq!(agent.stop(&within(LONG)).await, Ok(()));
    // What was seen running may still run, also for the next daemon.
    write_program(&sandbox.path(), &good);
    assert_eq!(agent.monitor(&within(LONG)).await, Ok(Status::Running));
    write_program(&sandbox.path(), broken);
    assert!(sandbox.agent().monitor(&within(LONG)).await.is_err());
    assert!(sandbox.agent().stop(&within(LONG)).await.is_err());
}

#[tokio::test]
async fn a_failed_stop_counts_only_when_a_look_says_that_nothing_runs() {
    let sandbox = Sandbox::new("[ $1 = monitor ] && exit 7; exit 1");
    assert_eq!(sandbox.agent().stop(&within(LONG)).await, Ok(()));
    for look in [0, 1, 6] {
        let sandbox = Sandbox::new(&format!("[ $1 = monitor ] && exit {look}; exit 1"));
        let error = sandbox
            .agent()
            .stop(&within(Duration::from_millis(900)))
            .await;
        assert!(
            matches!(error, Err(AgentError::Failed(_))),
            "{look}: {error:?}"
        );
    }
    let sandbox = Sandbox::new("[ $1 = monitor ] && exit 0; [ $(grep -c stop $LOG) -ge 2 ]");
    assert_eq!(sandbox.agent().stop(&within(LONG)).await, Ok(()));
}

#[tokio::test]
async fn a_hang_in_any_action_is_a_timeout() {
    for hanging in ["start", "stop", "monitor"] {
        let sandbox = Sandbox::new(&format!("[ $1 = {hanging} ] && sleep 1000; exit 7"));
        let agent = sandbox.agent();
        let done = match hanging {
            "start" => agent.start(&within(SHORT)).await,
            "stop" => agent.stop(&within(SHORT)).await,
            _ => agent.monitor(&within(SHORT)).await.map(drop),
        };
        assert!(
            matches!(done, Err(AgentError::TimedOut(_))),
            "{hanging}: {done:?}"
        );
    }
}

#[tokio::test]
async fn meta_data_is_bounded_in_time_and_length() {
    let told = |body: &'static str, time| async move {
        let sandbox = Sandbox::new(body);
        read_metadata(&sandbox.path(), &env(), &within(time)).await
    };
    let good = told(
        "echo '<resource-agent><shortdesc>x</shortdesc></resource-agent>'; echo oops >&2",
        LONG,
    )
    .await;
    assert_eq!(good.unwrap().short, "x");
    for (body, time, why) in [
        ("sleep 1000", SHORT, "timed out"),
        ("yes '<a/>'", SHORT, "timed out"),
        ("yes '<a/>' | head -c 1000000", LONG, "prints too much"),
        ("echo usage; exit 0", LONG, "not XML"),
        (
            "echo cannot >&2; exit 3",
            LONG,
            "failed with exit code 3: cannot",
        ),
        ("printf '\\377\\376<resource-agent'", LONG, "meta-data: "),
    ] {
        let error = told(body, time).await.unwrap_err();
        assert!(error.contains(why), "{body}: {error}");
    }
}

#[test]
fn passwords_are_not_shown() {
    let sandbox = Sandbox::new("");
    let mut agent = sandbox.agent();
    agent.plan.given.push(Given {
        name: "test_passwd".to_owned(),
        value: "secret".to_owned(),
        at: None,
    });
    let text = agent.describe();
    assert_eq!(text, "OCF agent heartbeat:Agent port=80 81 test_passwd=***");
}

mod judging {
    use super::super::judge;
    use super::*;

    const META: &str = r#"<resource-agent><parameters>
<parameter name="configfile"/><parameter name="port"/>
<parameter name="device" required="1"/>
<parameter name="level" required="1"><content default="1"/></parameter>
<parameter name="old" deprecated="1"/>
</parameters><actions><action name="promote"/></actions></resource-agent>"#;

    fn plan(given: &[(&str, Option<(usize, usize)>)]) -> Plan {
        let given = given.iter().map(|(name, at)| Given {
            name: (*name).to_owned(),
            value: "1".to_owned(),
            at: *at,
        });
        Plan {
            path: "/x".into(),
            provider: "heartbeat".into(),
            kind: "web".into(),
            instance: "web".into(),
            given: given.collect(),
        }
    }

    fn mistake(given: &[(&str, Option<(usize, usize)>)]) -> Result<(), crate::text::Mistake> {
        judge::check_parameters(&plan(given), &MetaData::parse(META).unwrap())
    }

    #[test]
    fn an_unknown_parameter_is_named_where_it_stands() {
        let at = Some((19, 10));
        let found = mistake(&[("device", None), ("confgifile", at)]).unwrap_err();
        assert_eq!(found.message, "web has no parameter `confgifile`");
        assert_eq!(found.help.as_deref(), Some("did you mean `configfile`?"));
        assert_eq!(found.at, at);
        let found = mistake(&[("zzz", None)]).unwrap_err();
        assert_eq!(
            found.help.as_deref(),
            Some("its parameters are configfile, port, device, level, old")
        );
    }

    #[test]
    fn a_required_parameter_without_default_must_be_given() {
        let found = mistake(&[("port", None)]).unwrap_err();
        assert_eq!(found.message, "web needs the parameter `device`");
        assert!(
            found
                .help
                .unwrap()
                .starts_with("write ocf:heartbeat:web::device=...")
        );
        assert_eq!(mistake(&[("device", None), ("trace_ra", None)]), Ok(()));
    }

    #[test]
    fn a_word_may_overrule_its_file_but_not_itself() {
        assert_eq!(
            mistake(&[("device", None), ("device", Some((1, 6)))]),
            Ok(())
        );
        assert!(mistake(&[("device", Some((1, 6))), ("device", Some((9, 6)))]).is_err());
        assert!(mistake(&[("device", None), ("device", None)]).is_err());
    }

    #[test]
    fn what_is_worth_knowing_is_remarked() {
        let remarks = judge::remarks(&plan(&[("old", None)]), &MetaData::parse(META).unwrap());
        let texts: Vec<String> = remarks.into_iter().map(|m| m.message).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].contains("`old`") && texts[1].contains("promoted"));
        let address = Plan {
            kind: "IPaddr2".into(),
            ..plan(&[])
        };
        let remarks = judge::remarks(&address, &MetaData::default());
        assert!(
            remarks[0]
                .message
                .contains("neither the lease nor the probe")
        );
    }
}
