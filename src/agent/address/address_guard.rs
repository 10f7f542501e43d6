//! Restores addresses that something else removed, such as a network manager or an administrator, and announces addresses
//! again whose way to the network has changed.
//!
//! The kernel reports a removal within milliseconds. An address that is removed more than `MAX_REMOVALS` times within
//! `REMOVAL_WINDOW` is reported as lost: something fights for it. Removals within `BURST` count as one, because
//! `ip address flush` removes restored addresses again until none is left.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::agent::AgentError;
use crate::agent::address::ipaddr::Addresses;
use crate::agent::address::link_paths::LinkPaths;
use crate::agent::address::virtual_address::VirtualAddress;
use crate::model::GroupName;
use crate::sys::netlink::{self, Change, Netlink};

/// With more removals than this within `REMOVAL_WINDOW` the addresses are lost.
const MAX_REMOVALS: usize = 3;
/// The time in which removals are counted.
const REMOVAL_WINDOW: Duration = Duration::from_secs(10);
/// Removals so close together count as one.
const BURST: Duration = Duration::from_millis(500);
/// How long restoring may fail before the addresses are lost. An interface that a program of the group made and restarts is
/// back by then. What other interfaces lack is reported by a check of the node, and lasts as long as it lasts.
const MAX_FAILING: Duration = Duration::from_secs(1);
/// How often it is tried in that time.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// What the guard reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuardEvent {
    /// Something else removed addresses; they are restored.
    Restored {
        /// The group.
        group: GroupName,
        /// Which of its steps.
        step: usize,
        /// The restored addresses.
        addresses: Vec<VirtualAddress>,
        /// How often this step was restored so far.
        times: u64,
    },
    /// Addresses cannot be kept. The guard no longer tries.
    Lost {
        /// The group.
        group: GroupName,
        /// Which of its steps.
        step: usize,
        /// Why, for an administrator.
        text: String,
    },
}

/// Watches addresses and restores them. Ends when dropped.
pub struct AddressGuard {
    kept: Arc<Mutex<GuardedSteps>>,
    /// Groups in maintenance: a person works on their addresses.
    paused: Arc<Mutex<HashSet<GroupName>>>,
    task: JoinHandle<()>,
}

type GuardedSteps = HashMap<(GroupName, usize), GuardedStep>;

struct GuardedStep {
    addresses: Arc<Addresses>,
    /// When the recent bursts of removals began, oldest first.
    recent: VecDeque<Instant>,
    times: u64,
    /// Since when restoring fails.
    failing: Option<Instant>,
}

impl AddressGuard {
    /// Starts to watch. The channel needs no bound: after `MAX_REMOVALS` restorations a step is lost.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<GuardEvent>) {
        let (tx, rx) = mpsc::unbounded_channel();
        let kept: Arc<Mutex<GuardedSteps>> = Arc::default();
        let paused: Arc<Mutex<HashSet<GroupName>>> = Arc::default();
        let task = tokio::spawn(watch(kept.clone(), paused.clone(), tx));
        (AddressGuard { kept, paused, task }, rx)
    }

    /// Guards the addresses of a step from now on. To be called after its start, or once it was found running.
    pub fn guard(&self, group: &GroupName, step: usize, addresses: Arc<Addresses>) {
        let step_addresses = GuardedStep {
            addresses,
            recent: VecDeque::new(),
            times: 0,
            failing: None,
        };
        locked(&self.kept).insert((group.clone(), step), step_addresses);
    }

    /// Restores nothing of a group while it is in maintenance.
    pub fn pause(&self, group: &GroupName, in_maintenance: bool) {
        let mut paused = locked(&self.paused);
        if in_maintenance {
            paused.insert(group.clone());
        } else {
            paused.remove(group);
        }
    }

    /// Guards the addresses of a step no longer. A stop is safe even without this: stopped addresses are never restored.
    pub fn forget(&self, group: &GroupName, step: usize) {
        locked(&self.kept).remove(&(group.clone(), step));
    }
}

impl Drop for AddressGuard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The addresses and interfaces that a burst of changes affects.
#[derive(Default)]
struct Affected {
    all: bool,
    ips: HashSet<IpAddr>,
    interfaces: HashSet<String>,
    /// Interfaces whose way to the network is another one.
    moved: HashSet<String>,
}

impl Affected {
    /// What this change and all that wait behind it affect.
    fn by_burst(
        change: Change,
        waiting: &mut mpsc::Receiver<Change>,
        paths: &mut LinkPaths,
    ) -> Self {
        let mut affected = Affected::default();
        affected.add(change, paths);
        while let Ok(more) = waiting.try_recv() {
            affected.add(more, paths);
        }
        affected
    }

    fn add(&mut self, change: Change, paths: &mut LinkPaths) {
        match change {
            Change::Resync => self.all = true,
            Change::AddressRemoved(address) => {
                self.ips.insert(address.ip);
            }
            // An interface that comes up again has lost its IPv6 addresses; a new one has lost all.
            Change::Link(link) => {
                self.moved.extend(paths.update(&link));
                self.interfaces.insert(link.name);
            }
            Change::LinkRemoved(link) => {
                self.moved.extend(paths.remove(&link));
                self.interfaces.insert(link.name);
            }
            Change::AddressAdded(_) => {}
        }
    }

    fn concerns(&self, addresses: &Addresses) -> bool {
        self.all
            || addresses
                .list()
                .iter()
                .any(|a| self.ips.contains(&a.ip) || self.interfaces.contains(&a.interface))
    }
}

async fn watch(
    kept: Arc<Mutex<GuardedSteps>>,
    paused: Arc<Mutex<HashSet<GroupName>>>,
    events: mpsc::UnboundedSender<GuardEvent>,
) {
    let mut changes = netlink::watch();
    let (netlink, mut paths) = (Netlink::new(), LinkPaths::default());
    loop {
        let failing = locked(&kept).values().any(|run| run.failing.is_some());
        let mut affected = tokio::select! {
            change = changes.recv() => match change {
                Some(change) => Affected::by_burst(change, &mut changes, &mut paths),
                None => return,
            },
            () = sleep(RETRY_INTERVAL), if failing => Affected::default(),
        };
        if affected.all
            && let Ok(links) = netlink.links().await
        {
            affected.moved.extend(paths.replace_all(&links));
        }
        let in_maintenance = locked(&paused).clone();
        let concerned: Vec<_> = locked(&kept)
            .iter()
            .filter(|((group, _), _)| !in_maintenance.contains(group))
            .filter(|(_, run)| run.failing.is_some() || affected.concerns(&run.addresses))
            .map(|(key, run)| (key.clone(), run.addresses.clone()))
            .collect();
        for (key, addresses) in concerned {
            let restored = addresses.restore_removed().await;
            let event = event_after_restoring(&mut locked(&kept), &key, restored);
            if event.is_some_and(|e| events.send(e).is_err()) {
                return; // the receiver is gone
            }
        }
        announce_moved(&kept, &affected.moved).await;
    }
}

/// Announces the addresses on these interfaces again.
async fn announce_moved(kept: &Mutex<GuardedSteps>, moved: &HashSet<String>) {
    if moved.is_empty() {
        return;
    }
    let steps: Vec<_> = locked(kept).values().map(|s| s.addresses.clone()).collect();
    for addresses in steps {
        addresses.announce_on(moved).await;
    }
}

/// The event after an attempt to restore a step. A lost step is no longer guarded.
fn event_after_restoring(
    kept: &mut GuardedSteps,
    key: &(GroupName, usize),
    restored: Result<Vec<VirtualAddress>, AgentError>,
) -> Option<GuardEvent> {
    let run = kept.get_mut(key)?;
    let (group, step) = key.clone();
    let now = Instant::now();
    let text = match restored {
        Ok(restored) => {
            run.failing = None;
            if restored.is_empty() {
                return None;
            }
            if run.count_removals(now) <= MAX_REMOVALS {
                return Some(GuardEvent::Restored {
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
            if now.saturating_duration_since(since) < MAX_FAILING {
                return None;
            }
            let first = run.addresses.list().first().map(ToString::to_string);
            format!(
                "{} was removed and cannot be restored: {error}",
                first.unwrap_or_default()
            )
        }
    };
    kept.remove(key);
    Some(GuardEvent::Lost { group, step, text })
}

fn too_often(restored: &[VirtualAddress]) -> String {
    let first = restored.first().map(ToString::to_string);
    format!(
        "something on this node removed {} more than {MAX_REMOVALS} times within {} s (if it is a network manager, configure it to leave this address alone)",
        first.unwrap_or_default(),
        REMOVAL_WINDOW.as_secs()
    )
}

impl GuardedStep {
    /// Counts a removal. Returns how many bursts there were within `REMOVAL_WINDOW`, including this one.
    fn count_removals(&mut self, now: Instant) -> usize {
        self.times = self.times.saturating_add(1);
        let last = self.recent.back();
        if last.is_none_or(|at| now.saturating_duration_since(*at) >= BURST) {
            self.recent.push_back(now);
        }
        self.recent
            .retain(|at| now.saturating_duration_since(*at) <= REMOVAL_WINDOW);
        self.recent.len()
    }
}

#[cfg(test)]
mod tests;
