//! Built-ins without anything to monitor: `Delay`, which waits, and [`SendArp`](crate::agent::address::send_arp).
//! A marker file that is gone after a boot tells whether they "run", so that a restarted daemon finds its groups complete.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use async_trait::async_trait;
use tokio::time::sleep;

use crate::agent::{Agent, AgentError, Limits, Status};
use crate::text::{Mistake, mask_secrets};

/// How long `Delay` waits by default.
const DEFAULT_DELAY: Duration = Duration::from_secs(10);

/// `Delay::[start[::stop]]`: waits for this many seconds, for tests and for resources that need a pause.
pub struct Delay {
    /// How long a start takes.
    pub start: Duration,
    /// How long a stop takes.
    pub stop: Duration,
    marker: RunMarker,
}

impl Delay {
    /// Reads the arguments; `token` names the marker file.
    pub fn new(args: &[String], token: &str, run_dir: &Path) -> Result<Self, Mistake> {
        let seconds = |text: &String| {
            text.parse().map(Duration::from_secs).map_err(|_| {
                Mistake::new(format!("`{text}` is not a number of seconds"))
                    .help("write Delay::10, or Delay::10::5 for start and stop")
            })
        };
        let (start, stop) = match args {
            [] => (DEFAULT_DELAY, DEFAULT_DELAY),
            [both] => (seconds(both)?, seconds(both)?),
            [start, stop] => (seconds(start)?, seconds(stop)?),
            [_, _, extra, ..] => {
                return Err(Mistake::new(format!(
                    "`{extra}` is one argument too many: Delay takes at most two"
                )));
            }
        };
        Ok(Delay {
            start,
            stop,
            marker: RunMarker::new(run_dir, token),
        })
    }
}

#[async_trait]
impl Agent for Delay {
    async fn start(&self, limits: &Limits) -> Result<(), AgentError> {
        if self.marker.is_set() {
            return Ok(());
        }
        pause(self.start, limits).await?;
        self.marker.set()
    }

    async fn stop(&self, limits: &Limits) -> Result<(), AgentError> {
        if self.marker.is_set() {
            pause(self.stop, limits).await?;
        }
        self.marker.clear()
    }

    async fn monitor(&self, _limits: &Limits) -> Result<Status, AgentError> {
        Ok(self.marker.status())
    }
}

async fn pause(time: Duration, limits: &Limits) -> Result<(), AgentError> {
    tokio::select! {
        () = sleep(time) => Ok(()),
        () = limits.abort.aborted() => Err(AgentError::Failed("Delay: aborted".to_owned())),
        () = tokio::time::sleep_until(limits.until) => Err(AgentError::TimedOut(format!(
            "Delay: {} s is longer than the deadline", time.as_secs()
        ))),
    }
}

/// An empty file that exists while a resource is started, or may be. It is gone after a boot.
pub(in crate::agent) struct RunMarker(PathBuf);

impl RunMarker {
    pub fn new(run_dir: &Path, token: &str) -> Self {
        // A token may contain `/`, which must not become a folder.
        let name: String = mask_secrets(token)
            .bytes()
            .map(|b| match b {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => char::from(b).to_string(),
                _ => format!("_{b:02x}"),
            })
            .collect();
        RunMarker(run_dir.join("pseudo").join(name))
    }

    pub fn is_set(&self) -> bool {
        self.0.exists()
    }

    pub fn status(&self) -> Status {
        if self.is_set() {
            Status::Running
        } else {
            Status::Stopped
        }
    }

    pub fn set(&self) -> Result<(), AgentError> {
        let folder = self.0.parent().unwrap_or(&self.0);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&self.0, ""))
            .map_err(|e| self.failed("write", &e))
    }

    /// Sets or clears it. A failure is only logged, for the resource itself is well.
    pub fn note(&self, runs: bool) {
        let done = match runs {
            true if self.is_set() => return,
            true => self.set(),
            false => self.clear(),
        };
        if let Err(error) = done {
            tracing::warn!("{error}");
        }
    }

    pub fn clear(&self) -> Result<(), AgentError> {
        match fs::remove_file(&self.0) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.failed("remove", &e)),
            _ => Ok(()),
        }
    }

    fn failed(&self, what: &str, error: &io::Error) -> AgentError {
        AgentError::Failed(format!("cannot {what} {}: {error}", self.0.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Abort;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn a_delay_is_up_until_stopped_even_for_the_next_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let make = || Delay::new(&words(&["0"]), "Delay::0/x", dir.path()).unwrap();
        let limits = Limits::within(Duration::from_secs(60), &Abort::new());
        assert_eq!(make().monitor(&limits).await, Ok(Status::Stopped));
        make().start(&limits).await.unwrap();
        assert_eq!(make().monitor(&limits).await, Ok(Status::Running));
        make().stop(&limits).await.unwrap();
        make().stop(&limits).await.unwrap();
        assert_eq!(make().monitor(&limits).await, Ok(Status::Stopped));
    }

    #[tokio::test]
    async fn a_delay_longer_than_its_deadline_times_out() {
        let dir = tempfile::tempdir().unwrap();
        let delay = Delay::new(&words(&["1000"]), "Delay::1000", dir.path()).unwrap();
        let limits = Limits::within(Duration::from_millis(20), &Abort::new());
        let error = delay.start(&limits).await.unwrap_err();
        assert!(matches!(error, AgentError::TimedOut(_)));
        assert_eq!(delay.monitor(&limits).await, Ok(Status::Stopped));
    }

    #[test]
    fn bad_arguments_are_named() {
        let dir = Path::new("/nonexistent");
        assert!(Delay::new(&words(&["ten"]), "t", dir).is_err());
        assert!(Delay::new(&words(&["1", "2", "3"]), "t", dir).is_err());
    }
}
