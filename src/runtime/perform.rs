//! Carries out the orders of the engine on groups and reports how each ended.
//!
//! Each order runs in a task of its own, so groups move in parallel. The engine gives one order for a group at a time, and
//! each order ends in an event.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use tokio::sync::{mpsc, watch};

use super::engine_handle::EngineHandle;
use super::links;
use super::needs::{Definitions, report_needs};
use super::own_hardware::report_own_hardware;
use super::readiness::{Looker, report_readiness};
use super::watcher::Watcher;
use crate::agent::address::address_guard::{AddressGuard, GuardEvent};
use crate::agent::address::ipaddr::Addresses;
use crate::agent::address::machine_prober::{MachineEvent, MachineNews, MachineProber};
use crate::agent::address::prober::{AddressProber, ProbeEvent};
use crate::agent::address::virtual_address::VirtualAddress;
use crate::agent::exec::runner;
use crate::agent::resolve::ResolvedStep;
use crate::agent::{Abort, AgentError};
use crate::assembly::watch_plan::WatchPlan;
use crate::engine::{Call, Event, MachineAnswer, OrderId, Outcome};
use crate::model::cluster::Timing;
use crate::model::decision::What;
use crate::model::status::CheckStatus;
use crate::model::{GroupName, NodeName, Time};
use crate::store::lease::LeaseFile;

/// Runs the agents of all groups.
pub struct Performer {
    groups: HashMap<GroupName, Arc<Vec<ResolvedStep>>>,
    /// New agents of reconfigured groups; they are used once the old ones have stopped everything.
    next_definitions: HashMap<GroupName, Arc<Vec<ResolvedStep>>>,
    running: HashMap<GroupName, Abort>,
    guard: Arc<AddressGuard>,
    prober: AddressProber,
    machines: MachineProber,
    /// `groups`, for those who watch what they need.
    definitions: watch::Sender<Definitions>,
    watcher: Watcher,
    leases: Option<LeaseFile>,
    lease_ends: BTreeMap<GroupName, Time>,
    /// Whether a lease has changed that is not in the file.
    leases_changed: bool,
    /// Groups that earlier daemons held in this boot; none when that is not known.
    held_before: Option<BTreeSet<GroupName>>,
    /// See [`min_address_lifetime`].
    min_lifetime: Option<Duration>,
    engine: EngineHandle,
}

impl Performer {
    /// Nothing runs yet; monitoring of interfaces and addresses starts.
    pub fn new(
        groups: Vec<(GroupName, Vec<ResolvedStep>)>,
        watch_plan: WatchPlan,
        leases: Option<LeaseFile>,
        held_before: Option<BTreeSet<GroupName>>,
        min_lifetime: Option<Duration>,
        looker: Looker,
        engine: EngineHandle,
    ) -> Performer {
        let (guard, guard_events) = AddressGuard::new();
        let netlink = looker.netlink.clone();
        let links = netlink.clone();
        let (definitions, defined) = watch::channel(Definitions::new());
        let own = report_own_hardware(netlink.clone(), defined.clone(), engine.clone());
        tokio::spawn(own);
        tokio::spawn(report_needs(
            netlink.clone(),
            defined.clone(),
            engine.clone(),
        ));
        tokio::spawn(report_readiness(looker, defined, engine.clone()));
        let (machines, answers) = MachineProber::new(netlink.clone());
        let (prober, probed) = AddressProber::new(netlink);
        tokio::spawn(report_address_guard(guard_events, engine.clone()));
        tokio::spawn(report_address_prober(probed, engine.clone()));
        tokio::spawn(report_machine_prober(answers, engine.clone()));
        tokio::spawn(links::report_interfaces(links, engine.clone()));
        let performer = Performer {
            groups: groups
                .into_iter()
                .map(|(name, steps)| (name, Arc::new(steps)))
                .collect(),
            next_definitions: HashMap::new(),
            running: HashMap::new(),
            guard: Arc::new(guard),
            prober,
            machines,
            definitions,
            watcher: Watcher::new(watch_plan, engine.clone()),
            leases,
            lease_ends: BTreeMap::new(),
            leases_changed: false,
            held_before,
            min_lifetime,
            engine,
        };
        performer.publish_definitions();
        performer
    }

    /// Adds how far behind replicas are that checks watch.
    pub fn add_lags(&self, checks: &mut [CheckStatus]) {
        self.watcher.add_lags(checks);
    }

    /// The steps of a group have changed.
    fn publish_definitions(&self) {
        let groups = self.groups.iter();
        let groups = groups.map(|(name, steps)| (name.clone(), Arc::clone(steps)));
        self.definitions.send_replace(groups.collect());
    }

    /// Uses the agents of a new configuration. A group whose members changed is stopped by its old agents first; the engine
    /// says when to use the new ones.
    pub fn reconfigure(
        &mut self,
        groups: Vec<(GroupName, Vec<ResolvedStep>)>,
        watch_plan: WatchPlan,
        min_lifetime: Option<Duration>,
    ) {
        self.min_lifetime = min_lifetime;
        self.next_definitions.clear();
        for (name, steps) in groups {
            match self.groups.get(&name) {
                Some(old) if members(old) == members(&steps) => {
                    let steps = with_deadlines(old, &steps);
                    self.groups.insert(name, Arc::new(steps));
                }
                Some(_) => {
                    // The new watch plan is for the new members, which do not run yet.
                    drop(self.watcher.stop_group(&name));
                    self.next_definitions.insert(name, Arc::new(steps));
                }
                None => {
                    self.groups.insert(name, Arc::new(steps));
                }
            }
        }
        self.watcher.reconfigure(watch_plan, &self.groups);
        self.publish_definitions();
    }

    /// Starts or stops monitoring the resources of a group.
    pub fn monitor_group(&mut self, group: &GroupName, on: bool) {
        match self.groups.get(group).filter(|_| on) {
            Some(steps) => self.watcher.start_group(group, steps),
            None => drop(self.watcher.stop_group(group)),
        }
    }

    /// Nothing of a group's old definition runs any more: its new agents are used from now on.
    pub fn use_new_definition(&mut self, group: &GroupName) {
        if let Some(next) = self.next_definitions.remove(group) {
            self.groups.insert(group.clone(), next);
            self.publish_definitions();
        }
    }

    /// Starts to carry out an order; the engine gets the outcome as an event.
    pub fn run_call(&mut self, group: GroupName, order: OrderId, call: Call) {
        let Some(steps) = self.groups.get(&group).cloned() else {
            let outcome = Outcome::Failed(format!("{group} is not configured any more"));
            self.engine.send_event(Event::Done {
                group,
                order,
                outcome,
            });
            return;
        };
        let abort = Abort::new();
        self.running.insert(group.clone(), abort.clone());
        let (engine, guard) = (self.engine.clone(), Arc::clone(&self.guard));
        let held = self.may_have_started(&group);
        let monitors_stopped = self.watcher.stop_group(&group);
        tokio::spawn(async move {
            monitors_stopped.await;
            let name = group.clone();
            let work = async move { run_steps(&name, &steps, call, held, &abort, &guard).await };
            // Even when an agent panics, the engine gets an outcome.
            let outcome = tokio::spawn(work).await.unwrap_or_else(|e| {
                Outcome::Failed(format!(
                    "internal error in the agent: {e}; please report it"
                ))
            });
            engine.send_event(Event::Done {
                group,
                order,
                outcome,
            });
        });
    }

    /// Whether this daemon, or an earlier one in this boot, may have started the group.
    fn may_have_started(&self, group: &GroupName) -> bool {
        let before = |held: &BTreeSet<GroupName>| held.contains(group);
        self.lease_ends.contains_key(group) || self.held_before.as_ref().is_none_or(before)
    }

    /// Aborts the order that runs for a group.
    pub fn abort_run(&self, group: &GroupName) {
        if let Some(abort) = self.running.get(group) {
            abort.abort();
        }
    }

    /// Starts or stops probing the network for the addresses of a group.
    pub fn probe_addresses(&self, group: &GroupName, every: Option<Duration>) {
        match self.groups.get(group).zip(every) {
            Some((steps, every)) => {
                let lists = steps.iter().filter_map(|s| s.addresses.as_ref());
                let probed = lists.flat_map(|a| {
                    a.list()
                        .iter()
                        .filter(|v| can_be_probed(a, v))
                        .cloned()
                        .collect::<Vec<_>>()
                });
                self.prober.watch(group, probed.collect(), every);
            }
            None => self.prober.unwatch(group),
        }
    }

    /// Begins to ask whether the machine of a node answers. The addresses of groups are not its own.
    pub fn watch_machine(&mut self, node: &NodeName, mut addresses: Vec<IpAddr>) {
        let groups: Vec<GroupName> = self.groups.keys().cloned().collect();
        let lists = groups.iter().flat_map(|g| self.addresses(g));
        let virtual_ones: BTreeSet<IpAddr> = lists
            .flat_map(|a| a.list().to_vec())
            .map(|v| v.ip)
            .collect();
        addresses.retain(|ip| !virtual_ones.contains(ip));
        self.machines.watch(node, addresses);
    }

    /// Ends that.
    pub fn unwatch_machine(&mut self, node: &NodeName) {
        self.machines.unwatch(node);
    }

    /// Announces the addresses of a group to the network again.
    pub fn announce_addresses(&self, group: &GroupName) {
        for step in self.groups.get(group).iter().flat_map(|steps| steps.iter()) {
            if let Some(addresses) = step.addresses.clone() {
                tokio::spawn(async move { addresses.announce_addresses().await });
            }
        }
    }

    /// Extends the lifetime of a group's addresses in the kernel to the end of its lease. [`Performer::save_leases`] must
    /// follow.
    pub fn renew_lease(&mut self, group: GroupName, until: Time) {
        // Only in maintenance a right has no end.
        self.guard.pause(&group, until == Time::NEVER);
        for addresses in self.addresses(&group) {
            match self.min_lifetime {
                Some(least) => addresses.renew(until, least),
                // They stay until deleted. Repeated each time, because a reload may have set `lease off`.
                None => addresses.renew(Time::NEVER, Duration::ZERO),
            }
        }
        self.lease_ends.insert(group, until);
        self.leases_changed = true;
    }

    /// Saves the leases for the next daemon of this boot, if some have changed.
    pub fn save_leases(&mut self) {
        if std::mem::take(&mut self.leases_changed)
            && let Some(leases) = &self.leases
            && let Err(e) = leases.save(&self.lease_ends)
        {
            tracing::warn!(
                "cannot save the leases: {e}; after a restart, the daemon stops the groups that it finds running"
            );
            self.leases = None;
        }
    }

    fn addresses(&self, group: &GroupName) -> impl Iterator<Item = &Arc<Addresses>> {
        let steps = self.groups.get(group).into_iter().flat_map(|s| s.iter());
        steps.filter_map(|s| s.addresses.as_ref())
    }

    /// Extends the lifetime of all addresses in the kernel to the end of their leases, so that they stay up while the daemon
    /// restarts.
    pub async fn extend_all_leases(&self) {
        for (group, until) in &self.lease_ends {
            for addresses in self.addresses(group) {
                if let Err(e) = addresses.extend_to(*until).await {
                    tracing::warn!(
                        "{group}: the kernel may remove its addresses before the daemon has restarted: {e}"
                    );
                }
            }
        }
    }
}

/// Whether the network can be asked for an address before its group is started: not if an earlier member makes its interface.
fn can_be_probed(addresses: &Addresses, address: &VirtualAddress) -> bool {
    !addresses.come_after_programs() || if_nametoindex(address.interface.as_str()).is_ok()
}

/// The shortest lifetime of addresses in the kernel; none when `lease off` leaves them until they are deleted. Leases are
/// renewed with each keepalive; after two missed renewals there is one second left.
pub fn min_address_lifetime(lease: bool, timing: &Timing) -> Option<Duration> {
    lease.then(|| timing.keepalive * 2 + Duration::from_secs(1))
}

/// The old agents, which know what runs, with the deadlines of a new configuration.
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

async fn run_steps(
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
                let outcome = outcome_of(runner::start(step, abort).await);
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
                outcome_of(runner::stop(step, abort).await)
            }
            None => Outcome::Failed(format!("{group} has no step {i}")),
        },
    }
}

fn outcome_of(result: Result<(), AgentError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Succeeded,
        Err(AgentError::Failed(text) | AgentError::NotExecuted(text)) => Outcome::Failed(text),
        Err(AgentError::TimedOut(text)) => Outcome::TimedOut(text),
    }
}

async fn report_address_guard(
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
                let what = format!("{} ({times} times so far)", list.join(", "));
                engine.note(Some(&group), What::AddressesRestored(what));
            }
            GuardEvent::Lost { group, step, text } => {
                engine.send_event(Event::ResourceLost { group, step, text });
            }
        }
    }
}

async fn report_address_prober(mut events: mpsc::Receiver<ProbeEvent>, engine: EngineHandle) {
    while let Some(event) = events.recv().await {
        engine.send_event(match event {
            ProbeEvent::Answered {
                group,
                who,
                hardware,
            } => Event::AddressAnswered {
                group,
                who,
                hardware: Some(hardware),
            },
            ProbeEvent::Silent { group, sent } => Event::AddressSilent { group, sent },
        });
    }
}

async fn report_machine_prober(mut events: mpsc::Receiver<MachineEvent>, engine: EngineHandle) {
    while let Some(MachineEvent { node, news, sent }) = events.recv().await {
        let by = match news {
            MachineNews::Asked => {
                engine.send_event(Event::MachineAsked { node, sent });
                continue;
            }
            MachineNews::Neighbour => MachineAnswer::Neighbour,
            MachineNews::Echo => MachineAnswer::Echo,
        };
        engine.send_event(Event::MachineAnswered { node, by, sent });
    }
}
