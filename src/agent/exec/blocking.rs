//! Work that may hang inside the kernel, such as a look at the processes of a machine whose disk is gone: done in a thread
//! that is given up at the deadline. It must open nothing that it could keep open while it hangs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::agent::{AgentError, Limits};

/// How many threads were given up and still hang.
static GIVEN_UP: AtomicUsize = AtomicUsize::new(0);
/// With so many none is begun any more.
const MOST: usize = 16;

/// Does it; `what` names it for the error.
pub async fn within<T: Send + 'static>(
    limits: &Limits,
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AgentError> {
    let hanging = GIVEN_UP.load(Ordering::Relaxed);
    if hanging >= MOST {
        return Err(AgentError::Failed(format!(
            "cannot {what}: {hanging} earlier attempts still hang inside the kernel (dmesg may say which disk is gone)"
        )));
    }
    let (sender, receiver) = oneshot::channel();
    let body = move || {
        if sender.send(work()).is_err() {
            // Nobody waited any longer, and now it has come to its end after all.
            GIVEN_UP.fetch_sub(1, Ordering::Relaxed);
        }
    };
    thread::Builder::new()
        .name("look".to_owned())
        .spawn(body)
        .map_err(|e| AgentError::Failed(format!("cannot {what}: no thread: {e}")))?;
    let mut receiver = receiver;
    let ended = tokio::select! {
        biased;
        ended = timeout_at(limits.until, &mut receiver) => ended,
        () = limits.abort.aborted() => {
            give_up(receiver);
            return Err(AgentError::Failed(format!("cannot {what}: ended by order")));
        }
    };
    match ended {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err(AgentError::Failed(format!("cannot {what}: it panicked"))),
        Err(_) => {
            give_up(receiver);
            let hanging = GIVEN_UP.load(Ordering::Relaxed);
            Err(AgentError::TimedOut(format!(
                "cannot {what}: no end at the deadline, it hangs inside the kernel ({hanging} such looks hang now)"
            )))
        }
    }
}

fn give_up<T>(mut receiver: oneshot::Receiver<T>) {
    GIVEN_UP.fetch_add(1, Ordering::Relaxed);
    receiver.close();
    if receiver.try_recv().is_ok() {
        // It came to its end just now.
        GIVEN_UP.fetch_sub(1, Ordering::Relaxed);
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
        let error = within(&limits, "look", move || held.recv().is_ok()).await;
        let AgentError::TimedOut(text) = error.unwrap_err() else {
            panic!("no time-out");
        };
        assert!(text.contains("cannot look: no end"), "{text}");
        assert_eq!(GIVEN_UP.load(Ordering::Relaxed), 1);
        release.send(()).unwrap();
        while GIVEN_UP.load(Ordering::Relaxed) != 0 {
            thread::yield_now();
        }
        let limits = Limits::within(Duration::from_secs(60), &Abort::new());
        assert_eq!(within(&limits, "look", || 7).await, Ok(7));
    }
}
