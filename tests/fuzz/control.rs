//! What clients write to the control socket. Every line that comes back is a response, and the next client is served.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use had::control::api::{ControlAnswer, Request, Response};
use had::control::client::ControlClient;
use had::control::server::ControlServer;
use tokio::sync::{mpsc, watch};

use crate::harness::Target;

const LONG: Duration = Duration::from_secs(60);

/// A server that answers everything with a word, in a thread of its own.
fn serve(path: PathBuf) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let server = ControlServer::bind(&path).unwrap();
            let (calls, mut asked) = mpsc::channel(8);
            let (_changes, watched) = watch::channel(());
            tokio::spawn(server.serve(calls, watched));
            ready.send(()).unwrap();
            while let Some(call) = asked.recv().await {
                // One that went away needs no answer.
                drop(call.reply.send(Ok(ControlAnswer::Done("done".to_owned()))));
            }
        });
    });
    is_ready.recv().unwrap();
}

/// Writes it, reads what comes until the server closes or has nothing to say, and goes.
fn talk(path: &Path, bytes: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    // One that is refused is closed while it still writes.
    let written = stream.write_all(bytes);
    if let Err(e) = &written {
        let kind = e.kind();
        assert!(
            matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
            "{e}"
        );
    }
    stream.shutdown(Shutdown::Write).ok();
    // Subscribers are never closed, so one of these does not wait for the end.
    let subscribed = bytes.windows(9).any(|w| w == b"subscribe");
    let patience = if subscribed {
        Duration::from_millis(20)
    } else {
        LONG
    };
    stream.set_read_timeout(Some(patience)).unwrap();
    let (mut said, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return said,
            Ok(n) => said.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return said,
            Err(e) if subscribed && e.kind() == ErrorKind::WouldBlock => return said,
            Err(e) => panic!("the server neither answers nor closes: {e}"),
        }
    }
}

#[test]
fn no_client_does_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("had.sock");
    serve(path.clone());
    let request = |text: &str| format!("{{\"version\":1,\"request\":{text}}}\n").into_bytes();
    let target = Target {
        name: "control",
        runs: 60,
        examples: vec![
            request(r#"{"do":"status"}"#),
            request(r#"{"do":"standby","words":["all"],"lasting":true,"wait":true}"#),
            request(r#"{"do":"takeover","words":["g1","g2"],"force":false,"wait":false}"#),
            request(r#"{"do":"history","limit":20}"#),
            request(r#"{"do":"why","group":"g1","at_ms":5}"#),
            request(r#"{"do":"parameter","name":"deadtime"}"#),
            request(r#"{"do":"reload","dry_run":true}"#),
            request(r#"{"do":"subscribe"}"#),
            [
                request(r#"{"do":"restart"}"#),
                request(r#"{"do":"clear","group":"g1"}"#),
            ]
            .concat(),
        ],
        words: &[
            "{\"version\":1,",
            "\"request\":",
            "\"do\":",
            "\"status\"",
            "\"words\":[]",
            "\"limit\":18446744073709551615",
            "null",
            "true",
            "1e308",
            "-1",
            "\"\\ud800\"",
            "\"\\u0000\"",
            "[",
            "{",
            "}",
            "]",
            "\"",
            "\n",
            "\n\n\n",
            "\"subscribe\"",
            "\"version\":2",
            "\"version\":4294967296",
        ],
    };
    target.fuzz(|bytes| {
        let said = talk(&path, bytes);
        // Only one that was dropped in the middle of an answer leaves a part of a line.
        for line in said
            .split_inclusive(|b| *b == b'\n')
            .filter(|l| l.ends_with(b"\n"))
        {
            serde_json::from_slice::<Response>(line).unwrap();
        }
        let answer = ControlClient::connect(&path)
            .unwrap()
            .ask(&Request::Status, LONG);
        assert_eq!(answer.unwrap(), ControlAnswer::Done("done".to_owned()));
    });
}
