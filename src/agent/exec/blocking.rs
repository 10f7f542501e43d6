//! Runs in a thread of its own what may hang inside the kernel: reading a file of a dead disk, starting a program below a
//! network file system, asking a name service. At the deadline the thread is abandoned, and the loop of the daemon, which
//! renews leases, never waits for it. The work must not hold a file open that would be missed while it hangs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::supervise::GRACE;
use crate::agent::{AgentError, Limits};

/// The abandoned threads of [`run_blocking`], whose callers may try again and again.
static BLOCKING: HangingThreads = HangingThreads::new(16);
/// Those of [`run_apart`]. Who monitors waits for the last time to end before the next, and orders are rare, so many of them
/// mean that something is badly wrong. One dead disk must not keep the groups from being stopped that do not need it.
static APART: HangingThreads = HangingThreads::new(256);
/// What async work may need after its deadline: for TERM, for KILL, and to see that its program is dead.
pub const SLACK: Duration = Duration::from_secs(3 * GRACE.as_secs() + 1);

/// Counts abandoned threads that still hang.
struct HangingThreads {
    count: AtomicUsize,
    /// With this many no other is started.
    max: usize,
}

impl HangingThreads {
    const fn new(max: usize) -> HangingThreads {
        HangingThreads {
            count: AtomicUsize::new(0),
            max,
        }
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn begin(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why there is no result.
enum NoResult {
    /// So many threads hang that no other is started.
    TooMany(usize),
    NoThread(std::io::Error),
    Panicked,
    TimedOut,
    Aborted,
}

impl NoResult {
    /// The error, where `what` is what could not be done.
    fn into_error(self, what: &str) -> AgentError {
        AgentError::Failed(match self {
            NoResult::TooMany(hanging) => format!(
                "{what}: {hanging} earlier attempts still hang inside the kernel (see dmesg: is a disk gone?)"
            ),
            NoResult::NoThread(error) => format!("{what}: cannot start a thread: {error}"),
            NoResult::Panicked => format!("{what}: internal error (panic); please report it"),
            NoResult::Aborted => format!("{what}: aborted"),
            NoResult::TimedOut => format!("{what}: timed out"),
        })
    }
}

/// Runs `work`; `what` names it in errors: `cannot {what}: ..`.
pub async fn run_blocking<T: Send + 'static>(
    limits: &Limits,
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AgentError> {
    let (sender, receiver) = oneshot::channel();
    let runtime = Handle::current();
    let body = move || {
        // To start a program it must know the runtime that will wait for it.
        let _runtime = runtime.enter();
        deliver(sender, work(), &BLOCKING);
    };
    let aborted = limits.abort.aborted();
    match wait_for_thread(&BLOCKING, body, receiver, limits.until, aborted).await {
        Ok(done) => Ok(done),
        Err(NoResult::TimedOut) => {
            let hanging = BLOCKING.count();
            Err(AgentError::TimedOut(format!(
                "cannot {what}: timed out, it hangs inside the kernel ({hanging} such threads hang now)"
            )))
        }
        Err(other) => Err(other.into_error(&format!("cannot {what}"))),
    }
}

/// Runs async work that keeps to the limits by itself but may block between its waits, as agents and probes do. It uses
/// the runtime of the caller for its waits. Dropped, it drops the work as soon as that waits for something. `what` names
/// the work in errors: `{what} timed out`. These limits say when to give up waiting, with some slack; where the caller takes
/// care of that itself they are [`Limits::patient`].
pub async fn run_apart<T, F>(
    limits: &Limits,
    what: &str,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<T, AgentError>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let (mut sender, receiver) = oneshot::channel();
    let runtime = Handle::current();
    let body = move || {
        let done = runtime.block_on(async {
            tokio::select! {
                biased;
                () = sender.closed() => None,
                done = work() => Some(done),
            }
        });
        match done {
            Some(done) => deliver(sender, done, &APART),
            None => APART.end(),
        }
    };
    let aborted = async {
        limits.abort.aborted().await;
        sleep(SLACK).await;
    };
    match wait_for_thread(&APART, body, receiver, limits.until + SLACK, aborted).await {
        Ok(done) => Ok(done),
        Err(NoResult::TimedOut) => Err(AgentError::TimedOut(format!("{what} timed out"))),
        Err(NoResult::Aborted) => Err(AgentError::Failed(format!("{what} was aborted"))),
        Err(other) => Err(other.into_error(what)),
    }
}

fn deliver<T>(sender: oneshot::Sender<T>, done: T, hanging: &HangingThreads) {
    if sender.send(done).is_err() {
        // The caller had given up, and the work has ended after all.
        hanging.end();
    }
}

/// Starts the thread and waits for what it delivers. Once the waiting has ended, however that came, the thread counts as
/// hanging until it ends too.
async fn wait_for_thread<T>(
    hanging: &'static HangingThreads,
    body: impl FnOnce() + Send + 'static,
    receiver: oneshot::Receiver<T>,
    until: Instant,
    aborted: impl Future<Output = ()>,
) -> Result<T, NoResult> {
    let count = hanging.count();
    if count >= hanging.max {
        return Err(NoResult::TooMany(count));
    }
    let mut answer = Answer {
        receiver: Some(receiver),
        hanging,
    };
    thread::Builder::new()
        .name("blocking".to_owned())
        .spawn(body)
        .map_err(|e| {
            answer.receiver = None;
            NoResult::NoThread(e)
        })?;
    tokio::select! {
        biased;
        done = answer.wait() => done.map_err(|_| NoResult::Panicked),
        () = sleep_until(until) => Err(NoResult::TimedOut),
        () = aborted => Err(NoResult::Aborted),
    }
}

/// What the thread will deliver. Dropped before that, it counts the thread as hanging.
struct Answer<T> {
    receiver: Option<oneshot::Receiver<T>>,
    hanging: &'static HangingThreads,
}

impl<T> Answer<T> {
    async fn wait(&mut self) -> Result<T, oneshot::error::RecvError> {
        let Some(receiver) = &mut self.receiver else {
            return std::future::pending().await;
        };
        let done = receiver.await;
        self.receiver = None;
        done
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let Some(mut receiver) = self.receiver.take() else {
            return;
        };
        self.hanging.begin();
        receiver.close();
        if receiver.try_recv().is_ok() {
            // It has ended just now.
            self.hanging.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::agent::Abort;

    fn within(millis: u64) -> Limits {
        Limits::within(Duration::from_millis(millis), &Abort::new())
    }

    async fn until_none_hangs() {
        while BLOCKING.count() + APART.count() != 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn what_hangs_is_given_up_at_the_deadline_and_counted_until_it_ends() {
        let (release, held) = mpsc::channel::<()>();
        let error = run_blocking(&within(30), "look", move || held.recv().is_ok()).await;
        let AgentError::TimedOut(text) = error.unwrap_err() else {
            panic!("no time-out");
        };
        assert!(text.contains("cannot look: timed out"), "{text}");
        assert_eq!(BLOCKING.count(), 1);
        release.send(()).unwrap();
        until_none_hangs().await;
        assert_eq!(run_blocking(&within(60_000), "look", || 7).await, Ok(7));
        assert_eq!(BLOCKING.count(), 0);
    }

    #[tokio::test]
    async fn async_work_that_blocks_keeps_nobody_from_running() {
        let (release, held) = mpsc::channel::<()>();
        let (limits, other) = (within(60_000), within(60_000));
        let blocks = run_apart(&limits, "block", move || async move {
            sleep(Duration::from_millis(1)).await;
            held.recv().is_ok()
        });
        let runs = async {
            let ran = run_apart(&other, "run", || async { 7 }).await;
            release.send(()).unwrap();
            ran
        };
        assert_eq!(tokio::join!(blocks, runs), (Ok(true), Ok(7)));
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_is_dropped() {
        let (dropped, was_dropped) = oneshot::channel::<()>();
        let limits = within(60_000);
        let work = run_apart(&limits, "wait", move || async move {
            let _dropped = dropped;
            std::future::pending::<()>().await;
        });
        let given_up = tokio::time::timeout(Duration::from_millis(20), work).await;
        assert!(given_up.is_err());
        assert!(was_dropped.await.is_err());
        until_none_hangs().await;
    }
}
