//! Puts back addresses that something else removed: a network manager that thinks it knows better, or a hand.
//!
//! The kernel tells of a removal within milliseconds. What is removed more often than [`OFTEN`] times
//! [`WITHIN`] is fought over, and reported as lost. Removals within [`BURST`] are one: `ip address flush` removes again
//! what came back meanwhile, until nothing is left.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::agent::AgentError;
use crate::agent::address::ipaddr::Addresses;
use crate::agent::address::virtual_address::VirtualAddress;
use crate::model::GroupName;
use crate::sys::netlink::{self, Change};

/// More removals than this within [`WITHIN`] mean that the addresses are lost.
pub const OFTEN: usize = 3;
/// The time in which removals are counted.
pub const WITHIN: Duration = Duration::from_secs(10);
/// Removals so close together count as one.
pub const BURST: Duration = Duration::from_millis(500);
/// How long a restoration may fail before the addresses are lost: a link that is restarted is back by then.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is tried meanwhile.
const RETRY: Duration = Duration::from_millis(50);

/// What the keeper tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeeperEvent {
    /// Addresses were removed by something else and are back.
    Restored {
        /// The group.
        group: GroupName,
        /// Which of its steps.
        step: usize,
        /// Those that are back.
        addresses: Vec<VirtualAddress>,
        /// How often that happened to this step so far.
        times: u64,
    },
    /// Addresses cannot be kept. The keeper no longer tries.
    Lost {
        /// The group.
        group: GroupName,
        /// Which of its steps.
        step: usize,
        /// Why, for an administrator.
        text: String,
    },
}

/// Keeps addresses until told otherwise. Ends when dropped.
pub struct AddressKeeper {
    kept: Arc<Mutex<Kept>>,
    task: JoinHandle<()>,
}

type Kept = HashMap<(GroupName, usize), Run>;

struct Run {
    addresses: Arc<Addresses>,
    /// When the last bursts of restorations began, oldest first.
    recent: VecDeque<Instant>,
    times: u64,
    /// Since when restoring them fails.
    failing: Option<Instant>,
}

impl AddressKeeper {
    /// Begins to watch. The events are few: after [`OFTEN`] restorations a step is lost, so the channel needs no bound.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<KeeperEvent>) {
        let (tx, rx) = mpsc::unbounded_channel();
        let kept: Arc<Mutex<Kept>> = Arc::default();
        let task = tokio::spawn(watch(kept.clone(), tx));
        (AddressKeeper { kept, task }, rx)
    }

    /// Keeps the addresses of a step from now on. To be called after its start, or after it was found running.
    pub fn keep(&self, group: &GroupName, step: usize, addresses: Arc<Addresses>) {
        let run = Run {
            addresses,
            recent: VecDeque::new(),
            times: 0,
            failing: None,
        };
        locked(&self.kept).insert((group.clone(), step), run);
    }

    /// Keeps the addresses of a step no more. A stop is safe without: what was stopped is never put back.
    pub fn forget(&self, group: &GroupName, step: usize) {
        locked(&self.kept).remove(&(group.clone(), step));
    }
}

impl Drop for AddressKeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a burst of changes touched.
#[derive(Default)]
struct Touched {
    all: bool,
    ips: HashSet<IpAddr>,
    interfaces: HashSet<String>,
}

impl Touched {
    /// By this change and all that wait behind it.
    fn by_burst(change: Change, waiting: &mut mpsc::Receiver<Change>) -> Self {
        let mut touched = Touched::default();
        touched.note(change);
        while let Ok(more) = waiting.try_recv() {
            touched.note(more);
        }
        touched
    }

    fn note(&mut self, change: Change) {
        match change {
            Change::Resync => self.all = true,
            Change::AddressRemoved(address) => {
                self.ips.insert(address.ip);
            }
            // A link that comes up again has lost its IPv6 addresses; one made anew has lost all.
            Change::Link(link) if link.up => {
                self.interfaces.insert(link.name);
            }
            Change::Link(_) | Change::LinkRemoved(_) | Change::AddressAdded(_) => {}
        }
    }

    fn concerns(&self, run: &Addresses) -> bool {
        self.all
            || run
                .list()
                .iter()
                .any(|a| self.ips.contains(&a.ip) || self.interfaces.contains(&a.interface))
    }
}

async fn watch(kept: Arc<Mutex<Kept>>, events: mpsc::UnboundedSender<KeeperEvent>) {
    let mut changes = netlink::watch();
    loop {
        let failing = locked(&kept).values().any(|run| run.failing.is_some());
        let touched = tokio::select! {
            change = changes.recv() => match change {
                Some(change) => Touched::by_burst(change, &mut changes),
                None => return,
            },
            () = sleep(RETRY), if failing => Touched::default(),
        };
        let concerned: Vec<_> = locked(&kept)
            .iter()
            .filter(|(_, run)| run.failing.is_some() || touched.concerns(&run.addresses))
            .map(|(key, run)| (key.clone(), run.addresses.clone()))
            .collect();
        for (key, addresses) in concerned {
            let restored = addresses.restore().await;
            let event = judge(&mut locked(&kept), &key, restored);
            if event.is_some_and(|e| events.send(e).is_err()) {
                return; // nobody listens any more
            }
        }
    }
}

/// What a restoration means for the step; a lost step is kept no longer.
fn judge(
    kept: &mut Kept,
    key: &(GroupName, usize),
    restored: Result<Vec<VirtualAddress>, AgentError>,
) -> Option<KeeperEvent> {
    let run = kept.get_mut(key)?;
    let (group, step) = key.clone();
    let now = Instant::now();
    let text = match restored {
        Ok(restored) => {
            run.failing = None;
            if restored.is_empty() {
                return None;
            }
            if run.count(now) <= OFTEN {
                return Some(KeeperEvent::Restored {
                    group,
                    step,
                    addresses: restored,
                    times: run.times,
                });
            }
            too_often(&restored)
        }
        Err(error) => {
            let since = *run.failing.get_or_insert(now);
            if now.saturating_duration_since(since) < PATIENCE {
                return None;
            }
            format!("an address was removed and cannot be put back: {error}")
        }
    };
    kept.remove(key);
    Some(KeeperEvent::Lost { group, step, text })
}

fn too_often(restored: &[VirtualAddress]) -> String {
    let first = restored.first().map(ToString::to_string);
    format!(
        "something on this node removed {} more than {OFTEN} times within {} s (a network manager? tell it to leave this address alone)",
        first.unwrap_or_default(),
        WITHIN.as_secs()
    )
}

impl Run {
    /// Notes a restoration; how many bursts there were lately, this one included.
    fn count(&mut self, now: Instant) -> usize {
        self.times = self.times.saturating_add(1);
        let began = self.recent.back();
        if began.is_none_or(|at| now.saturating_duration_since(*at) >= BURST) {
            self.recent.push_back(now);
        }
        self.recent
            .retain(|at| now.saturating_duration_since(*at) <= WITHIN);
        self.recent.len()
    }
}

#[cfg(test)]
mod tests;
