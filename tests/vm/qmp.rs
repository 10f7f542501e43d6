//! Orders to an emulator: its monitor, over a socket, a line of JSON each way.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

const ANSWER: Duration = Duration::from_secs(60);

/// One order, and what came of it.
pub fn order(socket: &Path, command: &str, arguments: &Value) -> Value {
    let mut monitor = Monitor::connect(socket);
    monitor.ask("qmp_capabilities", &json!({}));
    monitor.ask(command, arguments)
}

struct Monitor(BufReader<UnixStream>);

impl Monitor {
    fn connect(socket: &Path) -> Monitor {
        let stream = UnixStream::connect(socket);
        let stream = stream.unwrap_or_else(|e| panic!("{}: {e}", socket.display()));
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        let mut monitor = Monitor(BufReader::new(stream));
        monitor.line(); // its greeting
        monitor
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("the emulator said {line:?}: {e}"))
    }

    /// Events come in between; nobody wants them here.
    fn ask(&mut self, command: &str, arguments: &Value) -> Value {
        let message = json!({ "execute": command, "arguments": arguments });
        writeln!(self.0.get_mut(), "{message}").unwrap();
        loop {
            let mut reply = self.line();
            assert!(reply.get("error").is_none(), "{command}: {reply}");
            if let Some(value) = reply.get_mut("return") {
                return value.take();
            }
        }
    }
}
