//! A process of its own that has the journal's store open, and the daemon's side of it.
//!
//! The daemon sends a request as a line of JSON to its standard input and reads the reply, a line of JSON, from its standard
//! output. The process ends when its input ends, so it never outlives the daemon for long.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use serde::{Deserialize, Serialize};

use super::JournalQuery;
use super::disk::{JournalDisk, JournalOpenError};
use crate::model::journal::Entry;
use crate::sys::oom;

/// The option with which this program serves a store.
const OPTION: &str = "--serve-journal";
/// The process of a killed daemon closes its store within moments; on a slow disk that may take longer.
const WAIT_FOR_LOCK: Duration = Duration::from_secs(20);
const LOOK_AT_LOCK_EVERY: Duration = Duration::from_millis(20);

#[derive(Serialize, Deserialize)]
enum Request {
    Append(Vec<Entry>),
    Last(JournalQuery),
    Close,
}

#[derive(Serialize, Deserialize)]
enum Reply {
    /// The store is open; so many entries were lost.
    Opened(u64),
    NotOpened(JournalOpenError),
    Done,
    Found(Vec<Entry>),
    Failed(String),
}

/// The daemon's side of the process.
pub(super) struct StoreProcess {
    child: Child,
    /// None once it shall end.
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    ended: bool,
}

impl StoreProcess {
    /// Starts the process, which opens the store. Also returns how many entries were lost.
    pub(super) fn start(
        program: &Path,
        folder: &Path,
    ) -> Result<(StoreProcess, u64), JournalOpenError> {
        let mut process = StoreProcess::spawn(program, folder).map_err(|error| {
            JournalOpenError::Unusable(format!("its process cannot be started: {error}"))
        })?;
        match process.read_reply() {
            Ok(Reply::Opened(lost)) => Ok((process, lost)),
            Ok(Reply::NotOpened(why)) => Err(why),
            Ok(_) => Err(JournalOpenError::Unusable(UNEXPECTED.to_owned())),
            Err(why) => Err(JournalOpenError::Unusable(why)),
        }
    }

    fn spawn(program: &Path, folder: &Path) -> io::Result<StoreProcess> {
        let mut child = Command::new(program)
            // `pidof had` is the daemon alone.
            .arg0("had-journal")
            .arg(OPTION)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Only the text of a caught panic, which is also in the reply.
            .stderr(Stdio::null())
            // Ctrl-C in the daemon's terminal is not for this process.
            .process_group(0)
            .spawn()?;
        let missing = || io::Error::other("no pipe");
        let replies = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        Ok(StoreProcess {
            requests: child.stdin.take(),
            child,
            replies,
            ended: false,
        })
    }

    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<(), String> {
        self.ask_for_done(&Request::Append(entries.to_vec()))
    }

    pub(super) fn last(&mut self, query: &JournalQuery) -> Result<Vec<Entry>, String> {
        match self.ask(&Request::Last(query.clone()))? {
            Reply::Found(entries) => Ok(entries),
            Reply::Failed(why) => Err(why),
            _ => Err(UNEXPECTED.to_owned()),
        }
    }

    /// Writes everything to the disk and ends the process.
    pub(super) fn close(mut self) -> Result<(), String> {
        self.ask_for_done(&Request::Close)
    }

    /// Whether the process has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    fn ask_for_done(&mut self, request: &Request) -> Result<(), String> {
        match self.ask(request)? {
            Reply::Done => Ok(()),
            Reply::Failed(why) => Err(why),
            _ => Err(UNEXPECTED.to_owned()),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Reply, String> {
        let mut line = serde_json::to_vec(request).map_err(|error| error.to_string())?;
        line.push(b'\n');
        if let Some(requests) = &mut self.requests
            && let Err(error) = requests.write_all(&line)
        {
            self.ended = true;
            return Err(format!("its process has ended: {error}"));
        }
        self.read_reply()
    }

    fn read_reply(&mut self) -> Result<Reply, String> {
        let mut line = String::new();
        match self.replies.read_line(&mut line) {
            Ok(0) => {
                self.ended = true;
                Err("its process has ended".to_owned())
            }
            Ok(_) => serde_json::from_str(&line).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

const UNEXPECTED: &str = "its process gave an answer that does not belong to the question";

impl Drop for StoreProcess {
    fn drop(&mut self) {
        // The end of its input ends it. It must not stay as a zombie.
        self.requests = None;
        if let Err(error) = self.child.wait() {
            tracing::debug!("the process of the journal cannot be waited for: {error}");
        }
    }
}

/// Serves a journal if the words of this process ask for it, and returns how that ended. A program that runs the daemon calls
/// this first.
pub fn serve_if_asked() -> Option<ExitCode> {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    match words.as_slice() {
        [option, folder] if option == OPTION => Some(serve(Path::new(folder))),
        _ => None,
    }
}

/// Has the store of that folder open for a daemon that speaks through standard input and output.
fn serve(folder: &Path) -> ExitCode {
    // The end of the input ends this process; a signal would end it in the middle of a write.
    if let Err(error) = SigSet::all().thread_block() {
        tracing::debug!("signals cannot be blocked: {error}");
    }
    oom::unspare_this_process();
    match open_when_free(folder) {
        Ok(disk) => match answer(&Reply::Opened(disk.lost)) {
            Ok(()) => serve_requests(disk),
            Err(_) => ExitCode::FAILURE,
        },
        Err(why) => {
            drop(answer(&Reply::NotOpened(why)));
            ExitCode::FAILURE
        }
    }
}

/// The daemon before this one may just have been killed, and its process still closes the store.
fn open_when_free(folder: &Path) -> Result<JournalDisk, JournalOpenError> {
    let deadline = Instant::now() + WAIT_FOR_LOCK;
    loop {
        match JournalDisk::open(folder) {
            Err(JournalOpenError::InUse) if Instant::now() < deadline => sleep(LOOK_AT_LOCK_EVERY),
            result => return result,
        }
    }
}

fn serve_requests(mut disk: JournalDisk) -> ExitCode {
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let reply = match serde_json::from_str(&line) {
            Ok(Request::Append(entries)) => done(disk.append(&entries)),
            Ok(Request::Last(query)) => disk.last(&query).map_or_else(Reply::Failed, Reply::Found),
            Ok(Request::Close) => {
                let closed = answer(&done(disk.close()));
                return closed.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
            }
            Err(error) => Reply::Failed(error.to_string()),
        };
        if answer(&reply).is_err() {
            break;
        }
    }
    // The daemon is gone, so there is nobody to tell.
    disk.close()
        .map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn done(result: Result<(), String>) -> Reply {
    result.map_or_else(Reply::Failed, |()| Reply::Done)
}

fn answer(reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    let mut output = io::stdout().lock();
    output.write_all(&line)?;
    output.flush()
}
