//! The slow side of the daemon: carries out what the engine orders and tells how it ended.
//!
//! Each action on a group is a task of its own, so groups move in parallel; the engine gives one order for a group at
//! a time, so within a group there is never more than one. Every order ends in an event.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::heartbeat_thread::EngineHandle;
use super::links;
use super::watcher::Watcher;
use crate::agent::address::address_guard::{AddressGuard, GuardEvent};
use crate::agent::address::ipaddr::Addresses;
use crate::agent::address::prober::{AddressProber, ProbeEvent};
use crate::agent::exec::runner;
use crate::agent::resolve::ResolvedStep;
use crate::agent::{Abort, AgentError};
use crate::assembly::watch_plan::WatchPlan;
use crate::engine::{Call, Event, OrderId, Outcome};
use crate::model::cluster::Timing;
use crate::model::{GroupName, Time};
use crate::store::lease::LeaseFile;
use crate::sys::netlink::Netlink;

/// Runs the agents.
pub struct Performer {
    groups: HashMap<GroupName, Arc<Vec<ResolvedStep>>>,
    /// Agents of a new configuration that wait until what the old ones started is down.
    next: HashMap<GroupName, Arc<Vec<ResolvedStep>>>,
    running: HashMap<GroupName, Abort>,
    guard: Arc<AddressGuard>,
    prober: AddressProber,
    watcher: Watcher,
    leases: Option<LeaseFile>,
    lease_ends: BTreeMap<GroupName, Time>,
    /// Groups that a daemon before us held in this boot; none where that is not known.
    held_before: Option<BTreeSet<GroupName>>,
    /// The shortest loan of addresses that the kernel gets, if it gets any.
    min_ttl: Option<Duration>,
    engine: EngineHandle,
}

impl Performer {
    /// Nothing runs yet.
    pub fn new(
        groups: Vec<(GroupName, Vec<ResolvedStep>)>,
        watch_plan: WatchPlan,
        netlink: Netlink,
        leases: Option<LeaseFile>,
        held_before: Option<BTreeSet<GroupName>>,
        min_ttl: Option<Duration>,
        engine: EngineHandle,
    ) -> Performer {
        let (guard, guard_events) = AddressGuard::new();
        let links = netlink.clone();
        let (prober, probed) = AddressProber::new(netlink);
        tokio::spawn(report_guard_events(guard_events, engine.clone()));
        tokio::spawn(report_probe_events(probed, engine.clone()));
        tokio::spawn(links::tell(links, engine.clone()));
        Performer {
            groups: groups
                .into_iter()
                .map(|(name, steps)| (name, Arc::new(steps)))
                .collect(),
            next: HashMap::new(),
            running: HashMap::new(),
            guard: Arc::new(guard),
            prober,
            watcher: Watcher::new(watch_plan, engine.clone()),
            leases,
            lease_ends: BTreeMap::new(),
            held_before,
            min_ttl,
            engine,
        }
    }

    /// Takes the agents of a new configuration. A group whose members changed is stopped by the old ones; the engine
    /// says when nothing of them runs any more and the new ones count.
    pub fn reconfigure(
        &mut self,
        groups: Vec<(GroupName, Vec<ResolvedStep>)>,
        watch_plan: WatchPlan,
        min_ttl: Option<Duration>,
    ) {
        self.min_ttl = min_ttl;
        self.next.clear();
        for (name, steps) in groups {
            match self.groups.get(&name) {
                Some(old) if members(old) == members(&steps) => {
                    let kept = with_deadlines(old, &steps);
                    self.groups.insert(name, Arc::new(kept));
                }
                Some(_) => {
                    // What is looked at is counted by the new members, and those do not run yet.
                    drop(self.watcher.end(&name));
                    self.next.insert(name, Arc::new(steps));
                }
                None => {
                    self.groups.insert(name, Arc::new(steps));
                }
            }
        }
        self.watcher.reconfigure(watch_plan, &self.groups);
    }

    /// Begins or ends to look at what runs of a group.
    pub fn monitor(&mut self, group: &GroupName, on: bool) {
        match self.groups.get(group).filter(|_| on) {
            Some(steps) => self.watcher.begin(group, steps),
            None => drop(self.watcher.end(group)),
        }
    }

    /// Nothing of a group's old definition runs: its new agents count.
    pub fn redefine(&mut self, group: &GroupName) {
        if let Some(next) = self.next.remove(group) {
            self.groups.insert(group.clone(), next);
        }
    }

    /// Begins an action; how it ends is told to the engine.
    pub fn run(&mut self, group: GroupName, order: OrderId, call: Call) {
        let Some(steps) = self.groups.get(&group).cloned() else {
            let outcome = Outcome::Failed(format!("{group} is not configured any more"));
            self.engine.event(Event::Done {
                group,
                order,
                outcome,
            });
            return;
        };
        let abort = Abort::new();
        self.running.insert(group.clone(), abort.clone());
        let (engine, guard) = (self.engine.clone(), Arc::clone(&self.guard));
        let held = self.may_be_ours(&group);
        let looks_ended = self.watcher.end(&group);
        tokio::spawn(async move {
            looks_ended.await;
            let name = group.clone();
            let work = async move { act(&name, &steps, call, held, &abort, &guard).await };
            // Whatever an agent does, the engine hears of it.
            let outcome = tokio::spawn(work).await.unwrap_or_else(|e| {
                Outcome::Failed(format!(
                    "the agent ended without a word: {e}; this is a defect of had"
                ))
            });
            engine.event(Event::Done {
                group,
                order,
                outcome,
            });
        });
    }

    /// Whether we, or a daemon before us in this boot, may have started a group.
    fn may_be_ours(&self, group: &GroupName) -> bool {
        let before = |held: &BTreeSet<GroupName>| held.contains(group);
        self.lease_ends.contains_key(group) || self.held_before.as_ref().is_none_or(before)
    }

    /// Ends what runs for a group.
    pub fn abort(&self, group: &GroupName) {
        if let Some(abort) = self.running.get(group) {
            abort.abort();
        }
    }

    /// Begins or ends to ask on the wire for the addresses of a group.
    pub fn watch(&self, group: &GroupName, on: bool) {
        match self.groups.get(group).filter(|_| on) {
            Some(steps) => {
                let lists = steps.iter().filter_map(|s| s.addresses.as_ref());
                self.prober
                    .watch(group, lists.flat_map(|a| a.list().to_vec()).collect());
            }
            None => self.prober.unwatch(group),
        }
    }

    /// Announces the addresses of a group again.
    pub fn announce(&self, group: &GroupName) {
        for step in self.groups.get(group).iter().flat_map(|steps| steps.iter()) {
            if let Some(addresses) = step.addresses.clone() {
                tokio::spawn(async move { addresses.announce_addresses().await });
            }
        }
    }

    /// Tells the kernel until when it may keep the addresses of a group without us, and keeps that for a daemon that
    /// comes after us in this boot.
    pub fn renew(&mut self, group: GroupName, until: Time) {
        for addresses in self.addresses(&group) {
            match self.min_ttl {
                Some(min_ttl) => addresses.renew(until, min_ttl),
                // They stay until deleted; said each time, because a reload may have ended a min_ttl.
                None => addresses.renew(Time::NEVER, Duration::ZERO),
            }
        }
        self.lease_ends.insert(group, until);
        if let Some(leases) = &self.leases
            && let Err(e) = leases.save(&self.lease_ends)
        {
            tracing::warn!(
                "cannot keep the leases: {e}; a restart of had will stop what it finds running"
            );
            self.leases = None;
        }
    }

    fn addresses(&self, group: &GroupName) -> impl Iterator<Item = &Arc<Addresses>> {
        let steps = self.groups.get(group).into_iter().flat_map(|s| s.iter());
        steps.filter_map(|s| s.addresses.as_ref())
    }

    /// Leaves what is up to the kernel for as long as the right to it lasts: we go without giving anything up, and
    /// will be back.
    pub async fn extend_leases(&self) {
        for (group, until) in &self.lease_ends {
            for addresses in self.addresses(group) {
                if let Err(e) = addresses.extend_to(*until).await {
                    tracing::warn!("{group}: its addresses may go before had is back: {e}");
                }
            }
        }
    }
}

/// The shortest loan of addresses to the kernel, or none where `lease off` leaves them until they are deleted. Rights
/// are renewed each keepalive; whoever misses two has a second to spare.
pub fn min_kernel_ttl(lease: bool, timing: &Timing) -> Option<Duration> {
    lease.then(|| timing.keepalive * 2 + Duration::from_secs(1))
}

/// The same agents with the deadlines of a new configuration: what they know of what runs is theirs.
fn with_deadlines(old: &[ResolvedStep], new: &[ResolvedStep]) -> Vec<ResolvedStep> {
    let both = old.iter().zip(new);
    both.map(|(old, new)| ResolvedStep {
        step: new.step.clone(),
        ..old.clone()
    })
    .collect()
}

fn members(steps: &[ResolvedStep]) -> Vec<&Vec<String>> {
    steps.iter().map(|s| &s.step.members).collect()
}

async fn act(
    group: &GroupName,
    steps: &[ResolvedStep],
    call: Call,
    held: bool,
    abort: &Abort,
    guard: &AddressGuard,
) -> Outcome {
    match call {
        Call::Probe => {
            let seen = runner::probe_steps(steps, held, abort).await;
            for (i, step) in steps.iter().enumerate() {
                if let (Some(Some(true)), Some(addresses)) = (seen.get(i), &step.addresses) {
                    guard.guard(group, i, Arc::clone(addresses));
                }
            }
            Outcome::Seen(seen)
        }
        Call::Start(i) => match steps.get(i) {
            Some(step) => {
                let outcome = ended(runner::start(step, abort).await);
                if let (Outcome::Succeeded, Some(addresses)) = (&outcome, &step.addresses) {
                    guard.guard(group, i, Arc::clone(addresses));
                }
                outcome
            }
            None => Outcome::Failed(format!("{group} has no step {i}")),
        },
        Call::Stop(i) => match steps.get(i) {
            Some(step) => {
                guard.forget(group, i);
                ended(runner::stop(step, abort).await)
            }
            None => Outcome::Failed(format!("{group} has no step {i}")),
        },
    }
}

fn ended(result: Result<(), AgentError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Succeeded,
        Err(AgentError::Failed(text)) => Outcome::Failed(text),
        Err(AgentError::TimedOut(text)) => Outcome::TimedOut(text),
    }
}

async fn report_guard_events(
    mut events: mpsc::UnboundedReceiver<GuardEvent>,
    engine: EngineHandle,
) {
    while let Some(event) = events.recv().await {
        match event {
            GuardEvent::Restored {
                group,
                addresses,
                times,
                ..
            } => {
                let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                tracing::warn!(
                    "{group}: {} was removed by something else and is back ({times} times so far); \
                     look for what manages that interface",
                    list.join(", ")
                );
            }
            GuardEvent::Lost { group, step, text } => {
                engine.event(Event::ResourceLost { group, step, text });
            }
        }
    }
}

async fn report_probe_events(mut events: mpsc::Receiver<ProbeEvent>, engine: EngineHandle) {
    while let Some(event) = events.recv().await {
        engine.event(match event {
            ProbeEvent::Answered { group, who } => Event::AddressAnswered { group, who },
            ProbeEvent::Silent { group, sent } => Event::AddressSilent { group, sent },
        });
    }
}
