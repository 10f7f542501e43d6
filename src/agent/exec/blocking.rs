//! Runs work that may hang inside the kernel (reading files of a dead disk, for example) in a thread that is abandoned at
//! the deadline. The work must not hold a file open that would be missed while it hangs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::agent::{AgentError, Limits};

/// How many abandoned threads still hang.
static HANGING_THREADS: AtomicUsize = AtomicUsize::new(0);
/// With this many hanging threads no other is started.
const MAX_HANGING_THREADS: usize = 16;

/// Runs `work`; `what` names it in errors: `cannot {what}: ..`.
pub async fn run_blocking<T: Send + 'static>(
    limits: &Limits,
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AgentError> {
    let hanging = HANGING_THREADS.load(Ordering::Relaxed);
    if hanging >= MAX_HANGING_THREADS {
        return Err(AgentError::Failed(format!(
            "cannot {what}: {hanging} earlier attempts still hang inside the kernel (see dmesg: is a disk gone?)"
        )));
    }
    let (sender, receiver) = oneshot::channel();
    let body = move || {
        if sender.send(work()).is_err() {
            // The caller had given up, and the work has ended after all.
            HANGING_THREADS.fetch_sub(1, Ordering::Relaxed);
        }
    };
    thread::Builder::new()
        .name("blocking".to_owned())
        .spawn(body)
        .map_err(|e| AgentError::Failed(format!("cannot {what}: cannot start a thread: {e}")))?;
    let mut receiver = receiver;
    let ended = tokio::select! {
        biased;
        ended = timeout_at(limits.until, &mut receiver) => ended,
        () = limits.abort.aborted() => {
            give_up(receiver);
            return Err(AgentError::Failed(format!("cannot {what}: aborted")));
        }
    };
    match ended {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err(AgentError::Failed(format!(
            "cannot {what}: internal error (panic); please report it"
        ))),
        Err(_) => {
            give_up(receiver);
            let hanging = HANGING_THREADS.load(Ordering::Relaxed);
            Err(AgentError::TimedOut(format!(
                "cannot {what}: timed out, it hangs inside the kernel ({hanging} such threads hang now)"
            )))
        }
    }
}

fn give_up<T>(mut receiver: oneshot::Receiver<T>) {
    HANGING_THREADS.fetch_add(1, Ordering::Relaxed);
    receiver.close();
    if receiver.try_recv().is_ok() {
        // It has ended just now.
        HANGING_THREADS.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::agent::Abort;

    #[tokio::test]
    async fn what_hangs_is_given_up_at_the_deadline_and_counted_until_it_ends() {
        let (release, held) = mpsc::channel::<()>();
        let limits = Limits::within(Duration::from_millis(30), &Abort::new());
        let error = run_blocking(&limits, "look", move || held.recv().is_ok()).await;
        let AgentError::TimedOut(text) = error.unwrap_err() else {
            panic!("no time-out");
        };
        assert!(text.contains("cannot look: timed out"), "{text}");
        assert_eq!(HANGING_THREADS.load(Ordering::Relaxed), 1);
        release.send(()).unwrap();
        while HANGING_THREADS.load(Ordering::Relaxed) != 0 {
            thread::yield_now();
        }
        let limits = Limits::within(Duration::from_secs(60), &Abort::new());
        assert_eq!(run_blocking(&limits, "look", || 7).await, Ok(7));
    }
}
