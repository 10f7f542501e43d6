//! What the actions of an engine do to its machine: agents, address probes, leases, the saved state.

use std::time::Duration;

use super::machine::{Behaviour, Machine, ProbeBehaviour};
use super::world::{ScheduledEvent, World};
use crate::engine::{Action, Call, Event, OrderId, Outcome, PersistentState};
use crate::model::cluster::Step;
use crate::model::heartbeat::GroupState;
use crate::model::{GroupName, NodeName, Time};

/// The deadline of an agent whose step is in no configuration any more.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);

/// After this, a lease that ended is checked again.
const LEASE_RECHECK: Duration = Duration::from_millis(10);

impl World {
    pub(super) fn perform_actions(&mut self, by: &NodeName, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(heartbeat) => {
                    self.watch_send(by, &heartbeat);
                    self.send(by, &heartbeat);
                }
                Action::Relay { to, heartbeat } => {
                    for peer in to {
                        self.relay(by, &peer, &heartbeat);
                    }
                }
                Action::Ping => self.ping_all(by),
                Action::Run { group, order, call } => self.start_call(by, group, order, call),
                Action::Abort(group) => self.abort_call(by, &group),
                Action::Save { version, kept } => {
                    self.watch_save(by, &kept);
                    let machine = self.machine(by.as_str());
                    let leases = std::mem::take(&mut machine.kept.leases);
                    machine.kept = PersistentState { leases, ..kept };
                    self.schedule_event(by, Duration::from_millis(2), Event::Saved { version });
                }
                Action::Fence { node, order, call } => self.order_switch(by, node, order, call),
                Action::AbortFence(node) => self.abort_switch(by, &node),
                Action::Renew { group, until } => self.renew_lease(by, group, until),
                other => self.perform_here(by, other),
            }
        }
    }

    /// Actions that change nothing but the machine itself.
    fn perform_here(&mut self, by: &NodeName, action: Action) {
        let now = self.now;
        let machine = self.machine(by.as_str());
        match action {
            Action::WatchAddresses {
                group,
                every: Some(every),
            } => {
                machine.watching.insert(group.clone(), every);
                self.probe_addresses(by, group);
            }
            Action::WatchAddresses { group, every: None } => {
                machine.watching.remove(&group);
            }
            Action::WatchMachine { node, addresses } => {
                machine.asked_machines.insert(node.clone(), addresses);
                self.ask_machine(by, node);
            }
            Action::UnwatchMachine(node) => {
                machine.asked_machines.remove(&node);
            }
            Action::Monitor { group, on } => self.set_monitoring(by, &group, on),
            Action::Announce(_) => machine.announced += 1,
            Action::Record(decision) => {
                self.watch_record(by, &decision);
                self.machine(by.as_str()).decisions.push((now, decision));
            }
            Action::Reply { id, result } => {
                machine.replies.insert(id, result);
            }
            Action::Exit => {
                machine.end_life();
                machine.exited = true;
            }
            Action::Send(_)
            | Action::Relay { .. }
            | Action::PeerMessages { .. }
            | Action::Ping
            | Action::Run { .. }
            | Action::Abort(_)
            | Action::Fence { .. }
            | Action::AbortFence(_)
            | Action::Redefined(_)
            | Action::Renew { .. }
            | Action::Save { .. } => {}
        }
    }

    pub(super) fn schedule_event(&mut self, at: &NodeName, after: Duration, event: Event) {
        if let Some((life, _)) = self.life_and_clock(at) {
            let at = at.clone();
            self.schedule(after, ScheduledEvent::Deliver { at, life, event });
        }
    }

    fn renew_lease(&mut self, by: &NodeName, group: GroupName, until: Time) {
        let machine = self.machine(by.as_str());
        machine.kept.leases.insert(group.clone(), until);
        let taken: Vec<_> = machine
            .taken
            .iter()
            .filter(|(g, _)| *g == group)
            .cloned()
            .collect();
        for (group, step) in taken {
            machine.taken.remove(&(group.clone(), step));
            machine.set_step(&group, step, true);
        }
        let ends = machine.clock.world(until);
        if self.kernel_leases && until != Time::NEVER {
            let at = by.clone();
            self.schedule(
                ends.since(self.now),
                ScheduledEvent::LeaseEnds { at, group, until },
            );
        }
    }

    /// The kernel drops the addresses of a group whose lease was not renewed. A daemon that is awake and runs the group
    /// removes them itself or renews the lease; one that is frozen finds them lost.
    pub(super) fn lease_ends(&mut self, at: &NodeName, group: &GroupName, ended: Time) {
        let now = self.now;
        if self.lease_not_yet_over(at, group, ended) {
            return;
        }
        let spec = self.cluster.groups.iter().find(|g| g.name == *group);
        let steps = spec.map(|g| g.steps.clone()).unwrap_or_default();
        let state = self.state(at.as_str(), group.as_str());
        let Some(machine) = self.machines.get_mut(at) else {
            return;
        };
        let runs = |s| matches!(s, GroupState::Starting | GroupState::Online);
        if machine.alive() && state.is_some_and(runs) {
            // The daemon will stop the group or renew the lease, unless it dies first.
            if machine.kept.leases.get(group) == Some(&ended) {
                let (at, group, until) = (at.clone(), group.clone(), ended);
                self.schedule(
                    LEASE_RECHECK,
                    ScheduledEvent::LeaseEnds { at, group, until },
                );
            }
            return;
        }
        let until = machine.kept.leases.get(group).copied();
        if until.is_some_and(|until| until > machine.clock.local(now)) {
            return;
        }
        let mut lost = Vec::new();
        for (step, _) in steps.iter().enumerate().filter(|(_, s)| s.addresses) {
            if machine.running.get(group).and_then(|r| r.get(step)) == Some(&true) {
                machine.set_step(group, step, false);
                if machine.engine.is_some() {
                    machine.taken.insert((group.clone(), step));
                }
                lost.push(step);
            }
        }
        for step in lost {
            let event = Event::ResourceLost {
                group: group.clone(),
                step,
                text: "its lease ran out".to_owned(),
            };
            self.deliver(at, event);
        }
    }

    /// A clock that was slowed down has not reached the end of this lease yet; it is checked again when it has.
    fn lease_not_yet_over(&mut self, at: &NodeName, group: &GroupName, ended: Time) -> bool {
        let (now, machine) = (self.now, self.machine(at.as_str()));
        let same = machine.kept.leases.get(group) == Some(&ended);
        let early = same && ended > machine.clock.local(now);
        if early {
            let wait = machine.clock.world(ended).since(now);
            let (at, group, until) = (at.clone(), group.clone(), ended);
            self.schedule(wait, ScheduledEvent::LeaseEnds { at, group, until });
        }
        early
    }

    /// The end of an agent call, with its effect on the machine. A daemon that was killed meanwhile took its agents with
    /// it.
    pub(super) fn finish_call(
        &mut self,
        at: &NodeName,
        life: u64,
        done: (GroupName, OrderId, Call, Outcome),
    ) {
        let (group, order, call, outcome) = done;
        let Some(machine) = self
            .machines
            .get_mut(at)
            .filter(|m| m.powered && m.life == life)
        else {
            return;
        };
        if let Call::Start(step) | Call::Stop(step) = call {
            machine.taken.remove(&(group.clone(), step));
        }
        let half_done = machine.half_done(&group, call, &outcome);
        if outcome == Outcome::Succeeded || half_done {
            match call {
                Call::Start(step) => machine.set_step(&group, step, true),
                Call::Stop(step) => machine.set_step(&group, step, false),
                Call::Probe => {}
            }
        }
        let event = Event::Done {
            group,
            order,
            outcome,
        };
        self.deliver(at, event);
    }

    fn start_call(&mut self, by: &NodeName, group: GroupName, order: OrderId, call: Call) {
        let steps = self.steps_at(by, &group);
        let machine = self.machine(by.as_str());
        let life = machine.life;
        let (time, outcome) = match call {
            Call::Probe => probe_steps(machine, &group, &steps),
            Call::Start(step) => Machine::behave(
                machine.start_behaviour.get(&(group.clone(), step)),
                steps.get(step).map_or(DEFAULT_DEADLINE, |s| s.start),
            ),
            Call::Stop(step) => Machine::behave(
                machine.stop_behaviour.get(&(group.clone(), step)),
                steps.get(step).map_or(DEFAULT_DEADLINE, |s| s.stop),
            ),
        };
        let done = (group, order, call, outcome);
        let at = by.clone();
        self.schedule(time, ScheduledEvent::Finish { at, life, done });
    }

    /// The steps of a group in the configuration of a node, or else in that of the cluster.
    pub(super) fn steps_at(&self, node: &NodeName, group: &GroupName) -> Vec<Step> {
        let engine = self.machines.get(node).and_then(|m| m.engine.as_ref());
        let own = engine
            .map(|e| e.cluster().groups.iter())
            .into_iter()
            .flatten();
        let mut all = own.chain(&self.cluster.groups);
        let spec = all.find(|g| g.name == *group);
        spec.map(|g| g.steps.clone()).unwrap_or_default()
    }

    /// Ends the agent call of a group as failed.
    fn abort_call(&mut self, by: &NodeName, group: &GroupName) {
        let running = self.future.iter().find_map(|(key, f)| match f {
            ScheduledEvent::Finish { at, done, .. } if at == by && done.0 == *group => Some(*key),
            _ => None,
        });
        let Some(ScheduledEvent::Finish { at, life, done }) =
            running.and_then(|key| self.future.remove(&key))
        else {
            return;
        };
        let (group, order, call, _) = done;
        let done = (group, order, call, Outcome::Failed("aborted".to_owned()));
        self.schedule(
            Duration::from_millis(1),
            ScheduledEvent::Finish { at, life, done },
        );
    }

    pub(super) fn probe_addresses(&mut self, at: &NodeName, group: GroupName) {
        let Some(machine) = self.machines.get(at).filter(|m| m.alive()) else {
            return;
        };
        let Some(every) = machine.watching.get(&group).copied() else {
            return;
        };
        let (life, sent) = (machine.life, machine.clock.local(self.now));
        let again = ScheduledEvent::Probe {
            at: at.clone(),
            life,
            group: group.clone(),
        };
        let ends = ScheduledEvent::ProbeEnds {
            at: at.clone(),
            life,
            group,
            sent,
        };
        self.schedule(every * 9 / 10, ends);
        self.schedule(every, again);
    }

    pub(super) fn probe_ends(&mut self, at: &NodeName, group: GroupName, sent: Time) {
        let event = if let Some(other) = self.answers_to(at, &group) {
            let who = other.to_string();
            Event::AddressAnswered {
                group,
                who,
                hardware: None,
            }
        } else {
            let machine = self.machine(at.as_str());
            let asked = machine.clock.world(sent);
            machine.silent.insert(group.clone(), asked);
            Event::AddressSilent { group, sent }
        };
        self.deliver(at, event);
    }

    /// Another machine that is reachable and has the group's address. It answers even without a daemon, because its
    /// kernel does.
    fn answers_to(&self, from: &NodeName, group: &GroupName) -> Option<NodeName> {
        let spec = self.cluster.groups.iter().find(|g| g.name == *group)?;
        let has = |m: &Machine| {
            let runs = m.running.get(group).into_iter().flatten();
            m.powered
                && !m.suspended
                && runs
                    .zip(&spec.steps)
                    .any(|(runs, step)| *runs && step.addresses)
        };
        let other = self
            .machines
            .iter()
            .find(|(name, m)| *name != from && has(m) && self.is_connected(from, name));
        other.map(|(name, _)| name.clone())
    }
}

/// Probes every step: how long that takes, and the result.
fn probe_steps(machine: &mut Machine, group: &GroupName, steps: &[Step]) -> (Duration, Outcome) {
    let running = machine.running.get(group).cloned().unwrap_or_default();
    let mut time = Duration::from_millis(1);
    let mut seen = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        let true_word = Some(running.get(i).copied().unwrap_or(false));
        let told = match machine.look_behaviour.get(&(group.clone(), i)).copied() {
            None => true_word,
            Some(ProbeBehaviour::Says(word)) => {
                machine.probe_was_wrong |= true_word != Some(word);
                Some(word)
            }
            Some(ProbeBehaviour::Fails) => None,
            Some(ProbeBehaviour::Hangs) => {
                time += step.monitor;
                None
            }
        };
        seen.push(told);
    }
    (time, Outcome::Seen(seen))
}

impl Machine {
    /// Whether this failed start left its step running.
    fn half_done(&self, group: &GroupName, call: Call, outcome: &Outcome) -> bool {
        let Call::Start(step) = call else {
            return false;
        };
        let how = self.start_behaviour.get(&(group.clone(), step));
        how == Some(&Behaviour::FailsHalfDone) && matches!(outcome, Outcome::Failed(_))
    }
}
