//! `hactl` against a daemon that is played: what is sent, what is printed, how it ends.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use had::control::api::{ControlAnswer, Refusal, RefusalCode, Request};
use had::control::server::{ControlCall, ControlServer};
use had::model::heartbeat::Phase;
use had::model::status::{QuorumStatus, Status};
use had::model::{Generation, NodeName};
use tokio::sync::{mpsc, watch};

fn status(generation: u64) -> Status {
    Status {
        node: NodeName::new("alice"),
        generation: Generation(generation),
        phase: Phase::Active,
        waiting: None,
        nodes: vec![],
        pings: vec![],
        quorum: QuorumStatus {
            held: true,
            counted: false,
            ignored: false,
            votes: 0,
            total: 0,
        },
        former_voters: vec![],
        groups: vec![],
        fencing: Vec::new(),
        checks: Vec::new(),
        counters: std::collections::BTreeMap::new(),
        lateness: None,
        activity: Vec::new(),
    }
}

/// A daemon that answers as `play` says; none is silence.
struct Daemon {
    folder: tempfile::TempDir,
    heard: Arc<Mutex<Vec<Request>>>,
    _runtime: tokio::runtime::Runtime,
}

type Reply = Option<Result<ControlAnswer, Refusal>>;

impl Daemon {
    fn play(play: impl Fn(&Request) -> Reply + Send + 'static) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        // Other users must reach the socket, for one test.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let server = ControlServer::bind(&folder.path().join("had.sock")).unwrap();
        let (calls, mut inbox) = mpsc::channel::<ControlCall>(8);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = Arc::clone(&heard);
        runtime.spawn(async move {
            let (_changes, watched) = watch::channel(());
            server.serve(calls, watched).await
        });
        runtime.spawn(async move {
            let mut unanswered = Vec::new();
            while let Some(call) = inbox.recv().await {
                ears.lock().unwrap().push(call.request.clone());
                match play(&call.request) {
                    // A tool that was killed meanwhile needs no answer.
                    Some(reply) => drop(call.reply.send(reply)),
                    None => unanswered.push(call),
                }
            }
        });
        Daemon {
            folder,
            heard,
            _runtime: runtime,
        }
    }

    fn obedient() -> Daemon {
        Daemon::play(|request| {
            Some(Ok(match request {
                Request::Status => ControlAnswer::Status(Box::new(status(1))),
                Request::Why { .. } | Request::History { .. } => ControlAnswer::Decisions(vec![]),
                Request::Reload { dry_run: true, .. } => {
                    ControlAnswer::Plan("nothing would change".into())
                }
                Request::Parameter { name } => ControlAnswer::Done(format!("value of {name}")),
                _ => ControlAnswer::Done("done as asked".into()),
            }))
        })
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("had.sock")
    }

    fn tool(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        command.arg("--socket").arg(self.socket());
        command.args(words.split_whitespace());
        command
    }

    /// Runs the tool and gives back its end, and what the daemon was asked first.
    fn run(&self, words: &str) -> (Ended, Option<Request>) {
        self.heard.lock().unwrap().clear();
        let ended = Ended::of(&self.tool(words).output().unwrap());
        (ended, self.heard.lock().unwrap().first().cloned())
    }
}

#[derive(Debug, PartialEq)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: &Output) -> Ended {
        Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }
}

fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
#[allow(clippy::too_many_lines)] // A table, a row each.
fn each_subcommand_asks_for_what_it_says() {
    let daemon = Daemon::obedient();
    let standby = |words: &[&str], lasting, wait| Request::Standby {
        words: list(words),
        lasting,
        wait,
    };
    let takeover = |words: &[&str], force, wait| Request::Takeover {
        words: list(words),
        force,
        wait,
    };
    for (words, request, out) in [
        ("standby", standby(&["all"], true, true), "done as asked\n"),
        (
            "standby web db --no-wait",
            standby(&["web", "db"], true, false),
            "done as asked\n",
        ),
        (
            "standby off",
            Request::Unstandby {
                words: list(&["all"]),
            },
            "done as asked\n",
        ),
        (
            "standby off web",
            Request::Unstandby {
                words: list(&["web"]),
            },
            "done as asked\n",
        ),
        (
            "takeover foreign --force",
            takeover(&["foreign"], true, true),
            "done as asked\n",
        ),
        (
            "clear web",
            Request::Clear {
                group: "web".into(),
            },
            "done as asked\n",
        ),
        (
            "maintenance on",
            Request::Maintenance {
                words: list(&["all"]),
                on: true,
            },
            "done as asked\n",
        ),
        (
            "maintenance off web",
            Request::Maintenance {
                words: list(&["web"]),
                on: false,
            },
            "done as asked\n",
        ),
        (
            "why web",
            Request::Why {
                group: Some("web".into()),
                at_ms: None,
            },
            "no journal entries\n",
        ),
        (
            "history -n 7000",
            Request::History { limit: 1000 },
            "no journal entries\n",
        ),
        (
            "reload --dry-run",
            Request::Reload {
                dry_run: true,
                force: false,
            },
            "nothing would change\n",
        ),
        (
            "reload --force",
            Request::Reload {
                dry_run: false,
                force: true,
            },
            "done as asked\n",
        ),
        (
            "forget carol --yes",
            Request::Forget {
                node: "carol".into(),
            },
            "done as asked\n",
        ),
        (
            "stop --force --no-wait",
            Request::Stop { force: true },
            "done as asked\n",
        ),
        ("hb_standby local", standby(&["local"], false, false), ""),
        ("hb_takeover", takeover(&["all"], false, false), ""),
        (
            "cl_status hbparameter -p deadtime",
            Request::Parameter {
                name: "deadtime".into(),
            },
            "value of deadtime\n",
        ),
        (
            "cl_status rscstatus -m",
            Request::Status,
            "This node is holding none resources.\n",
        ),
    ] {
        let (ended, asked) = daemon.run(words);
        assert_eq!(
            (ended.code, &*ended.out),
            (Some(0), out),
            "{words}: {}",
            ended.err
        );
        assert_eq!(asked, Some(request), "{words}");
    }
}

#[test]
fn status_is_shown_as_text_and_as_json() {
    let daemon = Daemon::obedient();
    let (ended, _) = daemon.run("status");
    assert_eq!(ended.code, Some(0));
    assert!(
        ended
            .out
            .starts_with("The cluster as alice sees it: all is well\n")
    );
    let (ended, _) = daemon.run("status --json");
    let back: Status = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(back, status(1));
}

#[test]
fn wrong_usage_is_code_2_and_help_is_none() {
    let daemon = Daemon::obedient();
    for words in [
        "",
        "explode",
        "standby --timeout soon",
        "maintenance maybe",
        "clear",
    ] {
        let (ended, asked) = daemon.run(words);
        assert_eq!((ended.code, asked), (Some(2), None), "{words}");
        assert!(!ended.err.is_empty());
    }
    let (ended, _) = daemon.run("--help");
    assert_eq!(ended.code, Some(0));
    assert!(ended.out.contains("Exit codes:"));
    assert!(!ended.out.contains("hb_standby"));
}

#[test]
fn a_refusal_is_code_1_with_its_reason() {
    let daemon = Daemon::play(|_| {
        let text = "no group matches `wbe`; did you mean `web`?";
        Some(Err(Refusal::new(RefusalCode::NoSuchGroup, text)))
    });
    let (ended, _) = daemon.run("takeover wbe");
    assert_eq!(
        (ended.code, &*ended.err),
        (
            Some(1),
            "hactl: no group matches `wbe`; did you mean `web`?\n"
        )
    );
}

#[test]
fn without_a_daemon_it_is_code_3() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("had.sock");
    let run = |words: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        command.env("HAD_SOCKET", &socket);
        Ended::of(&command.args(words.split_whitespace()).output().unwrap())
    };
    let ended = run("status");
    assert_eq!(ended.code, Some(3));
    assert!(ended.err.contains("cannot reach had at"), "{}", ended.err);
    // heartbeat's tools have codes of their own.
    let ended = run("cl_status hbstatus");
    assert_eq!(
        (ended.code, &*ended.out),
        (Some(1), "Heartbeat is stopped on this machine.\n")
    );
    assert_eq!(run("cl_status rscstatus").code, Some(1));
    assert_eq!(run("hb_standby").code, Some(1));
}

#[test]
fn no_outcome_in_time_is_code_4() {
    let daemon = Daemon::play(|request| {
        let shown = ControlAnswer::Status(Box::new(status(1)));
        (*request == Request::Status).then_some(Ok(shown))
    });
    let (ended, _) = daemon.run("standby --timeout 50ms");
    assert_eq!(ended.code, Some(4));
    assert!(
        ended.err.contains("may still be carried out"),
        "{}",
        ended.err
    );
}

#[test]
fn a_restart_is_over_when_the_generation_has_grown() {
    let asked = Mutex::new(0);
    let daemon = Daemon::play(move |request| {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        Some(Ok(match request {
            Request::Status if *asked > 4 => ControlAnswer::Status(Box::new(status(2))),
            Request::Status => ControlAnswer::Status(Box::new(status(1))),
            _ => ControlAnswer::Done("restarting".into()),
        }))
    });
    let (ended, _) = daemon.run("restart");
    assert_eq!(
        (ended.code, &*ended.out),
        (Some(0), "restarting\nthe daemon is running again\n")
    );
}

#[test]
fn others_may_look_but_not_command() {
    let daemon = Daemon::obedient();
    // Where the tool was built, other users may not be let in.
    let copy = daemon.folder.path().join("hactl");
    std::fs::copy(env!("CARGO_BIN_EXE_hactl"), &copy).unwrap();
    let run = |words: &str| {
        let mut command = Command::new(&copy);
        command.env("HAD_SOCKET", daemon.socket());
        command.uid(65534).gid(65534).current_dir("/");
        Ended::of(&command.args(words.split_whitespace()).output().unwrap())
    };
    assert_eq!(run("status").code, Some(0));
    daemon.heard.lock().unwrap().clear();
    for words in ["standby", "reload --dry-run", "hb_standby"] {
        let ended = run(words);
        assert_eq!(ended.code, Some(1), "{words}");
        assert!(
            ended
                .err
                .contains("only root and members of the group haclient")
        );
    }
    assert!(daemon.heard.lock().unwrap().is_empty());
}

#[test]
fn heartbeats_tools_answer_to_their_own_names() {
    let daemon = Daemon::obedient();
    let run = |name: &str, words: &str| {
        let tool = daemon.folder.path().join(name);
        if !tool.exists() {
            symlink(env!("CARGO_BIN_EXE_hactl"), &tool).unwrap();
        }
        let mut command = Command::new(tool);
        command.env("HAD_SOCKET", daemon.socket());
        Ended::of(&command.args(words.split_whitespace()).output().unwrap())
    };
    let ended = run("hb_standby", "");
    assert_eq!(
        (ended.code, &*ended.err),
        (Some(0), "Going standby [all].\n")
    );
    for wrong in ["everything", "all local", "--help"] {
        let ended = run("hb_takeover", wrong);
        assert_eq!(ended.code, Some(1), "{wrong}");
        assert!(ended.out.starts_with("usage: hb_takeover"), "{wrong}");
    }
    assert_eq!(run("cl_status", "").code, Some(0));
    assert_eq!(run("cl_status", "-h").code, Some(0));
    assert_eq!(run("cl_status", "hbstatus").code, Some(0));
    assert_eq!(run("cl_status", "nonsense").code, Some(11));
    assert_eq!(run("cl_status", "nodestatus").code, Some(11));
    assert_eq!(run("cl_status", "rscstatus -x").code, Some(11));
    let ended = run("cl_status", "clientstatus alice ipfail");
    assert_eq!((ended.code, &*ended.out), (Some(1), "offline\n"));
}

#[test]
fn each_shell_can_complete_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let program = env!("CARGO_BIN_EXE_hactl");
        let output = Command::new(program).args(["completions", shell]).output();
        let ended = Ended::of(&output.unwrap());
        assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{shell}");
        for word in ["status", "standby", "takeover", "maintenance", "brief"] {
            assert!(ended.out.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let daemon = Daemon::obedient();
    let mut command = daemon.tool("status --watch --json");
    let mut child: Child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&line).unwrap(), status(1));
    drop(out);
    // Ends at the next push, which comes within a second or so.
    let ended = Ended::of(&child.wait_with_output().unwrap());
    assert_eq!((ended.code, &*ended.err), (Some(0), ""));
}
