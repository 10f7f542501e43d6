//! What is known of the cluster: the daemon's last answer, and how old it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use had::model::status::Status;
use had::text::duration_for_people;

/// An older answer is no longer believed. The daemon answers once a second; a restart, which moves nothing, takes about two.
const FRESH: Duration = Duration::from_secs(4);

/// The daemon's last answer, ready to be sent to any number of clients.
pub struct Answer {
    /// The status itself.
    pub status: Status,
    /// The status as `hactl status --json` prints it.
    pub status_json: Bytes,
    /// The newest decisions as JSON.
    pub history_json: Bytes,
    /// Both as one server-sent event.
    pub event: Bytes,
}

/// The last answer and its time.
#[derive(Clone, Default)]
pub struct View {
    last: Option<(Arc<Answer>, Instant)>,
    failure: Option<String>,
}

impl View {
    /// Takes a new answer in.
    pub fn answered(&mut self, answer: Arc<Answer>, at: Instant) {
        self.last = Some((answer, at));
        self.failure = None;
    }

    /// Notes why there is no new answer.
    pub fn failed(&mut self, failure: String) {
        self.failure = Some(failure);
    }

    /// The last answer, however old.
    pub fn last(&self) -> Option<&Arc<Answer>> {
        self.last.as_ref().map(|(answer, _)| answer)
    }

    /// The age of the last answer.
    pub fn age(&self) -> Option<Duration> {
        self.last.as_ref().map(|(_, at)| at.elapsed())
    }

    /// The last answer if it is fresh; otherwise why there is none, for people.
    pub fn fresh(&self) -> Result<&Arc<Answer>, String> {
        match &self.last {
            Some((answer, at)) if at.elapsed() < FRESH => Ok(answer),
            _ => Err(self.trouble()),
        }
    }

    /// Why the last answer is not fresh, in words that stay the same while that lasts.
    pub fn silence(&self) -> Option<&str> {
        let why = self.failure.as_deref();
        let silent = self.fresh().is_err();
        silent.then(|| why.unwrap_or("the daemon does not answer"))
    }

    fn trouble(&self) -> String {
        let reason = self.failure.as_ref();
        let reason = reason.map_or_else(String::new, |text| format!(": {text}"));
        match self.age() {
            None => format!("the daemon has not answered yet{reason}"),
            Some(age) => format!(
                "the daemon has not answered for {}{reason}",
                duration_for_people(Duration::from_secs(age.as_secs()))
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_answer_it_says_why() {
        let mut view = View::default();
        assert!(view.fresh().is_err_and(|t| t.ends_with("not answered yet")));
        view.failed("no socket".to_owned());
        assert!(view.fresh().is_err_and(|t| t.ends_with("yet: no socket")));
        assert!(view.age().is_none());
    }
}
