//! Starts, stops and monitors resources.
//!
//! * [`Agent`] is what a word of haresources becomes: one of our own ([`builtin`], [`address`]) or somebody else's program
//!   ([`external`]). Agents are idempotent; deadlines are the caller's, in [`Limits`].
//! * [`resolve`] decides which agent a word becomes, before anything of the group is touched.
//! * [`exec`] runs programs with a deadline and leaves nothing of them behind.
//! * [`contract`] walks an agent through all that it owes a cluster, for `hactl agent test`.

pub mod address;
pub mod builtin;
pub mod contract;
pub mod exec;
pub mod external;
pub mod fence;
pub mod resolve;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

/// The result of a monitor action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It runs.
    Running,
    /// It does not run.
    Stopped,
    /// The action succeeded but says nothing clear, as a script without a usable `status`. Counts as stopped, unless the
    /// resource is known to have been started.
    Unclear,
}

/// Why an action on a resource failed: a text for an administrator that names the program and its output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// It failed.
    #[error("{0}")]
    Failed(String),
    /// It did not end by its deadline.
    #[error("{0}")]
    TimedOut(String),
    /// Its program could not be executed, so this action has done nothing.
    #[error("{0}")]
    NotExecuted(String),
}

/// A resource of one node. The caller runs one action at a time.
#[async_trait]
pub trait Agent: Send + Sync {
    /// Brings the resource up. If it is already up, that is a success.
    async fn start(&self, limits: &Limits) -> Result<(), AgentError>;
    /// Takes the resource down. If it is already down, that is a success. After an error its state is unknown, and only
    /// fencing makes it safe for a peer to start it.
    async fn stop(&self, limits: &Limits) -> Result<(), AgentError>;
    /// Reports the state and changes nothing. An error means that it runs but is not well, or that the state is unknown.
    async fn monitor(&self, limits: &Limits) -> Result<Status, AgentError>;
    /// The plain actions of an external program, for [`contract`].
    fn raw_actions(&self) -> Option<&dyn RawActions> {
        None
    }
}

/// The plain actions of an external program: no monitor before a start, no retries of a stop.
#[async_trait]
pub trait RawActions: Send + Sync {
    /// Whether it can check its configuration and must reject an unknown action. OCF demands both, heartbeat neither.
    fn checks_itself(&self) -> bool;
    /// Lets the program check its configuration, if it can.
    async fn validate(&self, limits: &Limits) -> Result<(), AgentError>;
    /// Checks that the program rejects an unknown action, if it must.
    async fn reject_unknown_action(&self, limits: &Limits) -> Result<(), AgentError>;
    /// `start` alone.
    async fn raw_start(&self, limits: &Limits) -> Result<(), AgentError>;
    /// `stop` alone.
    async fn raw_stop(&self, limits: &Limits) -> Result<(), AgentError>;
    /// `monitor` or `status` alone; only a clear answer counts.
    async fn raw_monitor(&self, limits: &Limits) -> Result<Status, AgentError>;
}

/// Longer than any daemon runs, and not too long for a timer.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The deadline of an action, and the handle that aborts it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The deadline.
    pub until: Instant,
    /// Aborts the action at once.
    pub abort: Abort,
}

impl Limits {
    /// A deadline `time` from now.
    pub fn within(time: Duration, abort: &Abort) -> Self {
        Limits {
            until: Instant::now() + time,
            abort: abort.clone(),
        }
    }

    /// The same handle, and a deadline that never comes.
    #[must_use]
    pub fn patient(&self) -> Self {
        Limits {
            until: Instant::now() + NEVER,
            abort: self.abort.clone(),
        }
    }

    /// The same limits, but at most `time` from now.
    #[must_use]
    pub fn at_most(&self, time: Duration) -> Self {
        Limits {
            until: self.until.min(Instant::now() + time),
            abort: self.abort.clone(),
        }
    }
}

/// Aborts actions at once. All clones are one handle; it cannot be reset.
#[derive(Clone, Debug)]
pub struct Abort(Arc<watch::Sender<bool>>);

impl Default for Abort {
    fn default() -> Self {
        Abort(Arc::new(watch::Sender::new(false)))
    }
}

impl Abort {
    /// A handle that is not used yet.
    pub fn new() -> Self {
        Abort::default()
    }

    /// Aborts every action that holds a clone.
    pub fn abort(&self) {
        self.0.send_replace(true);
    }

    /// Waits until all that held a clone has ended.
    pub async fn released(self) {
        let mut used = self.0.subscribe();
        drop(self);
        while used.changed().await.is_ok() {}
    }

    /// Waits for [`Abort::abort`].
    pub async fn aborted(&self) {
        let mut used = self.0.subscribe();
        // Cannot fail: `self` keeps the sending side alive.
        if used.wait_for(|used| *used).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
