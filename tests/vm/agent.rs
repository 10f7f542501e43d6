//! What runs inside a guest, ordered through its guest agent: programs with their exit code and output, files, daemons.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::base64;
use crate::command::PATIENCE;

const ENVIRONMENT: [&str; 3] = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LC_ALL=C",
];
/// For one answer of the agent, not for what it runs.
const ANSWER: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// How a program ended, and what it wrote.
#[derive(Debug)]
pub struct Output {
    /// 128 and the number of the signal that ended it.
    pub code: i64,
    pub stdout: String,
    pub stderr: String,
}

/// The agent of one guest.
pub struct Agent {
    pub socket: PathBuf,
}

/// A program that may still run.
pub struct Running {
    pid: i64,
    what: String,
}

impl Agent {
    /// Whether it answers.
    pub fn answers(&self, within: Duration) -> bool {
        let line = Line::open(&self.socket, within);
        line.and_then(|mut l| l.ask("guest-ping", &json!({})))
            .is_ok()
    }

    /// Starts a program and does not wait. Its end comes when nobody holds its stdout and stderr any more.
    pub fn start(&self, argv: &[&str], input: &[u8]) -> Result<Running, String> {
        let mut order = json!({ "path": argv[0], "arg": argv[1..], "capture-output": true, "env": ENVIRONMENT });
        if !input.is_empty() {
            order["input-data"] = base64::encode(input).into();
        }
        let what = argv.join(" ");
        let reply = Line::open(&self.socket, ANSWER)?.ask("guest-exec", &order);
        let reply = reply.map_err(|e| format!("{what}: {e}"))?;
        let pid = reply["pid"].as_i64().unwrap();
        Ok(Running { pid, what })
    }

    /// Waits for its end.
    pub fn wait(&self, running: &Running) -> Result<Output, String> {
        let end = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(10);
        let question = json!({ "pid": running.pid });
        loop {
            std::thread::sleep(pause);
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
            let reply = Line::open(&self.socket, ANSWER)?.ask("guest-exec-status", &question);
            let reply = reply.map_err(|e| format!("{}: {e}", running.what))?;
            if reply["exited"] == true {
                return Ok(outcome(&reply));
            }
            if Instant::now() > end {
                return Err(format!(
                    "{}: runs for longer than {PATIENCE:?}",
                    running.what
                ));
            }
        }
    }
}

fn outcome(reply: &Value) -> Output {
    let text = |name: &str| {
        let bytes = base64::decode(reply[name].as_str().unwrap_or_default());
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let signal = || 128 + reply["signal"].as_i64().unwrap_or_default();
    Output {
        code: reply["exitcode"].as_i64().unwrap_or_else(signal),
        stdout: text("out-data"),
        stderr: text("err-data"),
    }
}

/// A conversation with the agent.
struct Line(BufReader<UnixStream>);

impl Line {
    /// An answer that an earlier asker did not wait for may still be on its way; all before our own mark is passed over.
    fn open(socket: &PathBuf, within: Duration) -> Result<Line, String> {
        static MARK: AtomicU32 = AtomicU32::new(1);
        let mark = MARK.fetch_add(1, Ordering::Relaxed);
        let stream = UnixStream::connect(socket).map_err(|e| format!("no agent: {e}"))?;
        stream.set_read_timeout(Some(within)).unwrap();
        let mut line = Line(BufReader::new(stream));
        let hello = json!({ "execute": "guest-sync-delimited", "arguments": { "id": mark } });
        line.say(&[b"\xff", hello.to_string().as_bytes(), b"\n"].concat())?;
        loop {
            let heard = line.hear()?;
            if heard.is_some_and(|reply| reply["return"] == mark) {
                return Ok(line);
            }
        }
    }

    fn say(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = self.0.get_mut().write_all(bytes);
        sent.map_err(|e| format!("the agent does not listen: {e}"))
    }

    /// Nothing where it was no answer.
    fn hear(&mut self) -> Result<Option<Value>, String> {
        let mut bytes = Vec::new();
        let read = self.0.read_until(b'\n', &mut bytes);
        if read.map_err(|e| format!("the agent does not answer: {e}"))? == 0 {
            return Err("the agent's connection is lost".to_owned());
        }
        let answer = bytes.rsplit(|b| *b == 0xff).next().unwrap_or_default();
        Ok(serde_json::from_slice(answer).ok())
    }

    fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value, String> {
        let message = json!({ "execute": command, "arguments": arguments });
        self.say(format!("{message}\n").as_bytes())?;
        let mut reply = loop {
            if let Some(reply) = self.hear()? {
                break reply;
            }
        };
        match reply.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(reply["return"].take()),
        }
    }
}
