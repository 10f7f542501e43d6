//! `redis [ADDR:PORT] [role master|replica] [link up] [password @/FILE]`: a server of Redis answers, and replicates as wanted.
//!
//! Three commands and two forms of replies need no library for the whole protocol.

use std::path::Path;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::tcp;
use crate::model::health::{RedisProbe, RedisRole};
use crate::sys::foreign_file::read_secret;
use crate::text::Mistake;

/// The longest line of a reply.
const MAX_LINE_BYTES: u64 = 4096;
/// The longest text of a reply; `INFO replication` has a line for each replica.
const MAX_TEXT_BYTES: usize = 256 * 1024;
const MAX_PASSWORD_BYTES: u64 = 4096;
/// How many characters of an error or a strange reply are shown.
const MAX_SHOWN_CHARS: usize = 120;
/// Errors with these words come from a server that runs but does not let us ask.
const LOCKED_OUT: [&str; 3] = ["NOAUTH", "WRONGPASS", "NOPERM"];

/// Checks that the password can be read.
pub(super) fn validate(probe: &RedisProbe) -> Result<(), Mistake> {
    let read = probe.password.as_deref().map(password);
    read.transpose().map(|_| ()).map_err(Mistake::new)
}

pub(super) async fn run(probe: &RedisProbe) -> Result<String, String> {
    let password = probe.password.as_deref().map(password).transpose()?;
    let stream = tcp::connect(probe.server).await?;
    let mut server = Connection(BufReader::new(stream));
    let of_server = |error: String| format!("{}: {error}", probe.server);
    let mut refused = None;
    if let Some(password) = password {
        let reply = server.ask(&["AUTH", &password]).await.map_err(of_server)?;
        refused = reply.err();
    }
    match server.ask(&["PING"]).await.map_err(of_server)? {
        Ok(word) if word == "PONG" => {}
        Ok(other) => return Err(of_server(format!("replies {other} to PING"))),
        Err(why) => refused = refused.or(Some(why)),
    }
    let asks_more = probe.role.is_some() || probe.link_up;
    if let Some(why) = refused {
        let locked_out = LOCKED_OUT.iter().any(|word| why.starts_with(word));
        let alive = locked_out && !asks_more;
        return if alive {
            Ok(format!("it answers: {why}"))
        } else {
            Err(of_server(why))
        };
    }
    if !asks_more {
        return Ok("it answers".to_owned());
    }
    let info = server
        .ask(&["INFO", "replication"])
        .await
        .map_err(of_server)?;
    judge(probe, &info.map_err(of_server)?)
}

/// The first line of the file.
fn password(file: &Path) -> Result<String, String> {
    let text = read_secret(file, MAX_PASSWORD_BYTES)
        .map_err(|e| format!("cannot read {}: {e}", file.display()))?;
    let line = text.lines().next().unwrap_or_default().trim_end();
    if line.is_empty() {
        return Err(format!(
            "{} has no password in its first line",
            file.display()
        ));
    }
    Ok(line.to_owned())
}

/// Judges what `INFO replication` says.
fn judge(probe: &RedisProbe, info: &str) -> Result<String, String> {
    let field = |name: &str| {
        let mut fields = info.lines().filter_map(|line| line.split_once(':'));
        fields
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value.trim())
    };
    let role = match field("role") {
        Some("master") => RedisRole::Master,
        Some("slave" | "replica") => RedisRole::Replica,
        _ => return Err(format!("{} does not tell its role", probe.server)),
    };
    if let Some(wanted) = probe.role.filter(|wanted| *wanted != role) {
        return Err(format!("it is a {role}, wanted a {wanted}"));
    }
    if role == RedisRole::Master {
        return if probe.link_up {
            Err("it is a master and follows nobody".to_owned())
        } else {
            Ok("it is a master".to_owned())
        };
    }
    let master = format!(
        "{}:{}",
        shown(field("master_host").unwrap_or("?")),
        shown(field("master_port").unwrap_or("?"))
    );
    let up = field("master_link_status") == Some("up");
    let seconds = field("master_link_down_since_seconds").filter(|s| !s.starts_with('-'));
    match (up, seconds) {
        (true, _) => Ok(format!("it is a replica, connected to {master}")),
        (false, _) if !probe.link_up => Ok(format!("it is a replica, not connected to {master}")),
        (false, Some(seconds)) => Err(format!(
            "it is not connected to its master {master} for {} s",
            shown(seconds)
        )),
        (false, None) => Err(format!("it is not connected to its master {master}")),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN_CHARS).collect()
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Sends a command. The outer error is that there is no reply, the inner one is the reply of the server.
    async fn ask(&mut self, words: &[&str]) -> Result<Result<String, String>, String> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        let broken = |e: std::io::Error| tcp::error_text(&e);
        self.0.write_all(request.as_bytes()).await.map_err(broken)?;
        let mut line = Vec::new();
        let mut limited = (&mut self.0).take(MAX_LINE_BYTES);
        limited.read_until(b'\n', &mut line).await.map_err(broken)?;
        let line = String::from_utf8_lossy(&line);
        let Some(line) = line.strip_suffix("\r\n") else {
            return Err(match line.as_ref() {
                "" => "closed the connection without an answer".to_owned(),
                other => strange(other),
            });
        };
        match line.split_at_checked(1) {
            Some(("+", text)) => Ok(Ok(shown(text))),
            Some(("-", text)) => Ok(Err(shown(text))),
            Some(("$", length)) => match length.parse::<usize>() {
                Ok(length) if length <= MAX_TEXT_BYTES => self.read_text(length).await.map(Ok),
                _ => Err(strange(line)),
            },
            _ => Err(strange(line)),
        }
    }

    /// The rest of a reply of this length.
    async fn read_text(&mut self, length: usize) -> Result<String, String> {
        let mut text = vec![0; length.saturating_add(2)];
        let read = self.0.read_exact(&mut text).await;
        read.map_err(|e| tcp::error_text(&e))?;
        text.truncate(length);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn strange(line: &str) -> String {
    format!(
        "does not speak the protocol of Redis: {}",
        shown(line.trim_end())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probes a server that sends this, whatever it is asked.
    async fn probe(answer: &str) -> Result<String, String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            // Until the probe has gone.
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.ok();
        };
        let probe = RedisProbe {
            server,
            given: true,
            role: Some(RedisRole::Replica),
            link_up: true,
            password: None,
        };
        let (seen, ()) = tokio::join!(run(&probe), serve);
        seen.map_err(|e| e.replace(&format!("{server}: "), ""))
    }

    #[tokio::test]
    async fn what_is_no_reply_is_told() {
        let strange = "does not speak the protocol of Redis: ";
        for (answer, wanted) in [
            ("", "closed the connection without an answer".to_owned()),
            (
                "+PONG\r\n",
                "closed the connection without an answer".to_owned(),
            ),
            ("+PO", format!("{strange}+PO")),
            (
                "HTTP/1.1 400 Bad\r\n\r\n",
                format!("{strange}HTTP/1.1 400 Bad"),
            ),
            ("+PANG\r\n", "replies PANG to PING".to_owned()),
            ("-LOADING it loads\r\n", "LOADING it loads".to_owned()),
            ("+PONG\r\n$-1\r\n", format!("{strange}$-1")),
            ("+PONG\r\n$9999999\r\n", format!("{strange}$9999999")),
            ("+PONG\r\n$5\r\nrole", "early eof".to_owned()),
            ("+PONG\r\n-ERR no INFO\r\n", "ERR no INFO".to_owned()),
        ] {
            assert_eq!(probe(answer).await, Err(wanted), "{answer}");
        }
        let info = "role:slave\r\nmaster_host:a\r\nmaster_link_status:up\r\n";
        let well = probe(&format!("+PONG\r\n${}\r\n{info}\r\n", info.len())).await;
        assert_eq!(well, Ok("it is a replica, connected to a:?".to_owned()));
    }
}
