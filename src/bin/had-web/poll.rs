//! The one client of the daemon: a thread that follows its status, and has its decisions asked for when something has changed.

mod history;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use had::control::api::{ControlAnswer, Request};
use had::control::client::{ClientError, ControlClient};
use had::control::essence::essence_of;
use had::model::status::Status;
use serde_json::Value;
use tokio::sync::watch;

use crate::say;
use crate::view::{Answer, View};
use history::History;

/// The daemon answers at least once a second.
const SILENCE: Duration = Duration::from_secs(4);
/// Time before a new attempt to reach it.
const RETRY: Duration = Duration::from_millis(200);
/// What nothing else shows, such as ages, is sent to those who listen once in this time.
const EVENT_EVERY: Duration = Duration::from_secs(5);
/// Starts the thread.
pub fn follow(socket: PathBuf) -> Result<watch::Receiver<View>, String> {
    let (views, receiver) = watch::channel(View::default());
    let history = History::keep(socket.clone())?;
    let work = move || follow_for_ever(&socket, &views, &history);
    let thread = thread::Builder::new().name("poll".to_owned()).spawn(work);
    match thread {
        Ok(_runs_on) => Ok(receiver),
        Err(error) => Err(format!("cannot start a thread: {error}")),
    }
}

fn follow_for_ever(socket: &Path, views: &watch::Sender<View>, history: &History) {
    let mut said = String::new();
    loop {
        let mut follower = Follower::new(socket, views, history);
        let Err(error) = follower.run();
        let text = in_words(&error);
        if text != said || follower.answered {
            say(&format!("warning: {text}"));
            said.clone_from(&text);
        }
        views.send_modify(|view| view.failed(text));
        thread::sleep(RETRY);
    }
}

fn in_words(error: &ClientError) -> String {
    match error {
        ClientError::TimedOut { .. } => "had is silent; does it hang?".to_owned(),
        error => error.to_string(),
    }
}

/// One connection to the daemon.
struct Follower<'a> {
    socket: &'a Path,
    views: &'a watch::Sender<View>,
    /// Whether the daemon has answered.
    answered: bool,
    event: Bytes,
    event_at: Option<Instant>,
    history: &'a History,
    /// The history in the last answer.
    shown: Bytes,
    /// The last status without what always changes.
    essence: Value,
    /// A decision may reach the journal a moment after the status shows it.
    ask_again: bool,
}

impl<'a> Follower<'a> {
    fn new(socket: &'a Path, views: &'a watch::Sender<View>, history: &'a History) -> Self {
        Follower {
            socket,
            views,
            answered: false,
            event: Bytes::new(),
            event_at: None,
            history,
            shown: Bytes::new(),
            essence: Value::Null,
            ask_again: false,
        }
    }

    fn run(&mut self) -> Result<Infallible, ClientError> {
        let mut client = ControlClient::connect(self.socket)?;
        client.send(&Request::Subscribe)?;
        loop {
            if let ControlAnswer::Status(status) = client.receive(SILENCE)? {
                let answer = self.digest(*status)?;
                self.answered = true;
                self.views
                    .send_modify(|view| view.answered(Arc::new(answer), Instant::now()));
            }
        }
    }

    fn digest(&mut self, status: Status) -> Result<Answer, ClientError> {
        let json = status.to_json().map_err(ClientError::Garbled)?;
        let essence = essence_of(&json);
        let changed = essence != self.essence;
        let due = self.event_at.is_none_or(|at| at.elapsed() >= EVENT_EVERY);
        if changed || due || self.ask_again {
            self.history.wish_for_newer();
        }
        let history = self.history.newest();
        if changed || due || history != self.shown {
            self.event = event_of(&json, &history);
            self.event_at = Some(Instant::now());
        }
        (self.essence, self.ask_again, self.shown) = (essence, changed, history.clone());
        let mut text = serde_json::to_string_pretty(&json).map_err(ClientError::Garbled)?;
        text.push('\n');
        Ok(Answer {
            status,
            status_json: text.into(),
            history_json: history,
            event: self.event.clone(),
        })
    }
}

/// JSON has no line breaks unless it is made pretty, so it is one line of an event.
fn event_of(status: &Value, history: &Bytes) -> Bytes {
    let mut event =
        format!("event: cluster\ndata: {{\"status\":{status},\"history\":").into_bytes();
    event.extend_from_slice(history);
    event.extend_from_slice(b"}\n\n");
    event.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_one_line_of_data() {
        let event = event_of(&json!({"text": "a\nb"}), &Bytes::from_static(b"[]"));
        let text = std::str::from_utf8(&event).unwrap();
        assert_eq!(
            text,
            "event: cluster\ndata: {\"status\":{\"text\":\"a\\nb\"},\"history\":[]}\n\n"
        );
    }
}
