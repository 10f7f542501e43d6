//! The newest decisions. A thread of its own asks for them, because a disk that hangs must not delay the status.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use axum::body::Bytes;
use had::control::api::{ControlAnswer, Request};
use had::control::client::ControlClient;

/// Decisions that are shown.
const HISTORY: usize = 100;
/// Time for the daemon to read them.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(200);

/// The decisions as JSON, and how to ask for newer ones.
pub struct History {
    newest: Arc<Mutex<Bytes>>,
    wishes: SyncSender<()>,
}

impl History {
    /// Starts the thread.
    pub fn keep(socket: PathBuf) -> Result<History, String> {
        // One wish that waits is enough.
        let (wishes, asked) = sync_channel(1);
        let newest = Arc::new(Mutex::new(Bytes::from_static(b"[]")));
        let kept = Arc::clone(&newest);
        let work = move || keep_up(&socket, &asked, &kept);
        let thread = thread::Builder::new().name("history".to_owned());
        match thread.spawn(work) {
            Ok(_runs_on) => Ok(History { newest, wishes }),
            Err(error) => Err(format!("cannot start a thread: {error}")),
        }
    }

    /// What is known now.
    pub fn newest(&self) -> Bytes {
        self.newest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks for newer ones, and does not wait.
    pub fn wish_for_newer(&self) {
        // Full: somebody has asked already.
        self.wishes.try_send(()).ok();
    }
}

fn keep_up(socket: &Path, asked: &Receiver<()>, newest: &Mutex<Bytes>) {
    while asked.recv().is_ok() {
        // Without an answer the last ones stay; the status says what is wrong.
        if let Some(history) = ask(socket) {
            *newest.lock().unwrap_or_else(PoisonError::into_inner) = history;
        }
        thread::sleep(PAUSE);
    }
}

fn ask(socket: &Path) -> Option<Bytes> {
    let request = Request::History { limit: HISTORY };
    let answer = ControlClient::connect(socket).and_then(|mut c| c.ask(&request, PATIENCE));
    match answer {
        Ok(ControlAnswer::Decisions(entries)) => serde_json::to_vec(&entries).ok().map(Bytes::from),
        _ => None,
    }
}
