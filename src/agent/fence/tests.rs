use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;
use crate::text::Place;

/// A folder with an agent that does what these lines of shell say; it has its input in $in and the action in $action.
struct Lab(tempfile::TempDir);

impl Lab {
    fn new() -> Self {
        Lab(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn agent(&self, name: &str, body: &str) -> FencePart {
        let program = self.path(name);
        let dir = self.0.path().display();
        let text = format!(
            "#!/bin/sh\ncd {dir}\nin=$(cat)\naction=$(echo \"$in\" | sed -n s/^action=//p)\n{body}\n"
        );
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        FencePart {
            agent: name.to_owned(),
            program,
            options: Vec::new(),
            place: Place::whole(Path::new("ha.cf")),
        }
    }

    /// One that works, with a file of its own for the power.
    fn switch(&self, name: &str) -> FencePart {
        let body = format!(
            "echo $action >>{name}.log\ncase $action in off) touch {name}.off;; on) rm -f {name}.off;;\n\
             status) test ! -e {name}.off || {{ echo Status: OFF; exit 2; }};; esac"
        );
        self.agent(name, &body)
    }

    fn log(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path(&format!("{name}.log")));
        text.unwrap_or_default().replace('\n', " ")
    }
}

fn device(levels: Vec<Vec<FencePart>>) -> FenceDevice {
    FenceDevice {
        node: NodeName::new("bob"),
        levels: levels
            .into_iter()
            .map(|parts| FenceLevel { parts })
            .collect(),
    }
}

async fn call(device: &FenceDevice, call: FenceCall) -> Result<Power, String> {
    call_device(device, call, &Abort::new()).await
}

#[tokio::test]
async fn all_parts_are_switched_off_before_one_is_asked() {
    let lab = Lab::new();
    let device = device(vec![vec![lab.switch("left"), lab.switch("right")]]);
    assert_eq!(call(&device, FenceCall::Status).await, Ok(Power::On));
    assert_eq!(call(&device, FenceCall::Off).await, Ok(Power::Off));
    assert_eq!(call(&device, FenceCall::Status).await, Ok(Power::Off));
    assert_eq!(call(&device, FenceCall::On).await, Ok(Power::On));
    assert_eq!(lab.log("left"), "status off status status on status ");
}

/// A shell and an interpreter end so where the agent itself is broken.
#[tokio::test]
async fn an_exit_code_of_2_without_the_word_off_is_an_error() {
    let lab = Lab::new();
    for (body, off) in [
        ("exit 2", false),
        ("echo 'usage: fence_it [-h]'; exit 2", false),
        ("echo offline; exit 2", false),
        ("echo 'Status: OFF'; exit 2", true),
    ] {
        let device = device(vec![vec![lab.agent("says", body)]]);
        let said = call(&device, FenceCall::Status).await;
        assert_eq!(said == Ok(Power::Off), off, "{body}: {said:?}");
        assert_eq!(said.is_err(), !off, "{body}: {said:?}");
    }
}

#[tokio::test]
async fn one_power_supply_that_is_still_on_is_no_success() {
    let lab = Lab::new();
    let stays = lab.agent("stays", "exit 0");
    let device = device(vec![vec![lab.switch("left"), stays]]);
    let error = call(&device, FenceCall::Off).await.unwrap_err();
    assert_eq!(error, "stays: still on after it was switched off");
}

#[tokio::test]
async fn the_next_level_is_tried_when_one_fails() {
    let lab = Lab::new();
    let broken = lab.agent("broken", "echo no route >&2; exit 1");
    let good = device(vec![vec![broken.clone()], vec![lab.switch("pdu")]]);
    assert_eq!(call(&good, FenceCall::Off).await, Ok(Power::Off));
    let bad = device(vec![vec![broken.clone()], vec![broken]]);
    let error = call(&bad, FenceCall::Off).await.unwrap_err();
    let one = "broken: off failed with exit code 1: no route";
    assert_eq!(error, format!("{one}; then {one}"));
}

#[tokio::test]
async fn an_unclear_status_is_no_success() {
    let lab = Lab::new();
    let odd = lab.agent("odd", "test $action = off || exit 1");
    let error = call(&device(vec![vec![odd]]), FenceCall::Off)
        .await
        .unwrap_err();
    assert_eq!(error, "odd: status failed with exit code 1");
}

#[tokio::test]
async fn a_secret_comes_from_a_file_and_is_shown_nowhere() {
    let lab = Lab::new();
    let secret = lab.path("secret");
    fs::write(&secret, "s3cret\n").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let mut part = lab.agent(
        "tells",
        "echo \"$in\" >seen; echo \"$in\" | grep password >&2; exit 1",
    );
    part.options = vec![
        ("ip".to_owned(), OptionValue::Plain("10.0.5.1".to_owned())),
        ("password".to_owned(), OptionValue::File(secret.clone())),
    ];
    let device = device(vec![vec![part]]);
    let error = call(&device, FenceCall::Off).await.unwrap_err();
    assert_eq!(error, "tells: off failed with exit code 1: password=***");
    let seen = fs::read_to_string(lab.path("seen")).unwrap();
    assert_eq!(
        seen,
        "action=off\nnodename=bob\nip=10.0.5.1\npassword=s3cret\n"
    );
    fs::set_permissions(&secret, Permissions::from_mode(0o640)).unwrap();
    let error = call(&device, FenceCall::Off).await.unwrap_err();
    assert!(error.contains("group or others can read"), "{error}");
}

#[tokio::test]
async fn an_aborted_agent_is_killed_with_all_that_it_started() {
    let lab = Lab::new();
    let hangs = lab.agent("hangs", "sleep 1000 & echo $! >pid; wait");
    let abort = Abort::new();
    let device = device(vec![vec![hangs]]);
    let pid = lab.path("pid");
    let stop = async {
        while !fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')) {
            tokio::task::yield_now().await;
        }
        abort.abort();
    };
    let (result, ()) = tokio::join!(call_device(&device, FenceCall::Off, &abort), stop);
    assert_eq!(result, Err("hangs off was aborted".to_owned()));
    let pid = fs::read_to_string(&pid).unwrap();
    assert!(!Path::new(&format!("/proc/{}/root", pid.trim())).exists());
}
