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
pub mod resolve;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::model::Time;

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It runs.
    Running,
    /// It does not run.
    Stopped,
    /// The look went well and told nothing: a script without a usable `status`. Not running, unless it is known
    /// to have been started.
    Unclear,
}

/// How an action on a resource went wrong: a sentence for an administrator, naming what was run and what it said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// It said no.
    #[error("{0}")]
    Failed(String),
    /// It was ended at its deadline.
    #[error("{0}")]
    TimedOut(String),
}

/// A resource of one node. One action at a time; the caller sees to that.
#[async_trait]
pub trait Agent: Send + Sync {
    /// Brings the resource up. Already up is success.
    async fn start(&self, limits: &Limits) -> Result<(), AgentError>;
    /// Takes it down. Already down is success. An error means "unknown": only fencing then makes it safe for a peer to
    /// start the resource.
    async fn stop(&self, limits: &Limits) -> Result<(), AgentError>;
    /// Looks and changes nothing. An error means that it is there but not well, or that the look itself failed.
    async fn monitor(&self, limits: &Limits) -> Result<Status, AgentError>;
    /// Its actions one by one, where they are somebody else's program, for [`contract`].
    fn bare(&self) -> Option<&dyn Bare> {
        None
    }
}

/// The actions of somebody else's program as they are: without the look before a start, without a second try of a stop.
#[async_trait]
pub trait Bare: Send + Sync {
    /// Whether the program finds its configuration good, where it can say.
    async fn validate(&self, limits: &Limits) -> Result<(), AgentError>;
    /// Whether the program says plainly that it does not know an action, where it must.
    async fn refuse(&self, limits: &Limits) -> Result<(), AgentError>;
    /// `start`, and nothing else.
    async fn bare_start(&self, limits: &Limits) -> Result<(), AgentError>;
    /// `stop`, and nothing else.
    async fn bare_stop(&self, limits: &Limits) -> Result<(), AgentError>;
    /// A look that takes nothing for an answer but a clear one.
    async fn bare_look(&self, limits: &Limits) -> Result<Status, AgentError>;
}

/// How long an action may take, and the handle that ends it sooner.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Its deadline.
    pub until: Instant,
    /// Ends it at once.
    pub abort: Abort,
}

impl Limits {
    /// From now on.
    pub fn within(time: Duration, abort: &Abort) -> Self {
        Limits {
            until: Instant::now() + time,
            abort: abort.clone(),
        }
    }

    /// The same, but no longer than `time` from now.
    #[must_use]
    pub fn at_most(&self, time: Duration) -> Self {
        Limits {
            until: self.until.min(Instant::now() + time),
            abort: self.abort.clone(),
        }
    }
}

/// Ends actions at once. Clones are the same handle; once used it stays used.
#[derive(Clone, Debug)]
pub struct Abort(Arc<watch::Sender<bool>>);

impl Default for Abort {
    fn default() -> Self {
        Abort(Arc::new(watch::Sender::new(false)))
    }
}

impl Abort {
    /// Not used yet.
    pub fn new() -> Self {
        Abort::default()
    }

    /// Ends what holds a clone of this.
    pub fn abort(&self) {
        self.0.send_replace(true);
    }

    /// Comes back when it is used.
    pub async fn aborted(&self) {
        let mut used = self.0.subscribe();
        // Cannot fail: `self` keeps the sending side alive.
        if used.wait_for(|used| *used).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// This machine's time since boot, time asleep included.
fn now() -> Time {
    let Ok(since_boot) = clock_gettime(ClockId::CLOCK_BOOTTIME) else {
        return Time::ZERO; // every kernel that can run us has this clock
    };
    Time::ZERO + Duration::from(since_boot)
}
