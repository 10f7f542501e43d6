//! What the orders of an engine do to its machine: agents, addresses on the wire, the store.

use std::time::Duration;

use super::machine::Machine;
use super::world::{Future, World};
use crate::engine::{Action, Call, Event, Kept, OrderId, Outcome};
use crate::model::heartbeat::GroupState;
use crate::model::{GroupName, NodeName, Time};

/// How long an address probe waits for its answer, and how often it is sent.
const PROBE_WINDOW: Duration = Duration::from_millis(40);
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// Deadline of an agent.
const DEADLINE: Duration = Duration::from_secs(60);

impl World {
    pub(super) fn perform(&mut self, by: &NodeName, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(heartbeat) => {
                    let said = self.machine(by.as_str()).memory.say(&heartbeat);
                    if let Some(wrong) = said {
                        self.accuse(by, &wrong);
                    }
                    self.send(by, &heartbeat);
                }
                Action::Ping => self.ping_all(by),
                Action::Run { group, order, call } => self.run(by, group, order, call),
                Action::Abort(group) => self.abort(by, &group),
                Action::Save { version, kept } => {
                    let machine = self.machine(by.as_str());
                    let leases = std::mem::take(&mut machine.kept.leases);
                    machine.kept = Kept { leases, ..kept };
                    self.tell_later(by, Duration::from_millis(2), Event::Saved { version });
                }
                Action::Renew { group, until } => self.renew(by, group, until),
                other => self.perform_here(by, other),
            }
        }
    }

    /// Orders that change nothing but the machine itself.
    fn perform_here(&mut self, by: &NodeName, action: Action) {
        let now = self.now;
        let machine = self.machine(by.as_str());
        match action {
            Action::WatchAddresses { group, on: true } => {
                machine.watching.insert(group.clone());
                self.probe(by, group);
            }
            Action::WatchAddresses { group, on: false } => {
                machine.watching.remove(&group);
            }
            Action::Announce(_) => machine.announced += 1,
            Action::Record(decision) => {
                machine.decisions.push((now, decision));
                if machine.memory.record(now) {
                    self.accuse(by, "floods its log");
                }
            }
            Action::Reply { id, result } => {
                machine.replies.insert(id, result);
            }
            Action::Exit => {
                machine.end_life();
                machine.exited = true;
            }
            Action::Send(_)
            | Action::Ping
            | Action::Run { .. }
            | Action::Abort(_)
            | Action::Redefined(_)
            | Action::Renew { .. }
            | Action::Save { .. } => {}
        }
    }

    fn tell_later(&mut self, at: &NodeName, after: Duration, event: Event) {
        if let Some((life, _)) = self.life_and_clock(at) {
            let at = at.clone();
            self.later(after, Future::Tell { at, life, event });
        }
    }

    fn renew(&mut self, by: &NodeName, group: GroupName, until: Time) {
        let machine = self.machine(by.as_str());
        machine.kept.leases.insert(group.clone(), until);
        let ends = machine.clock.world(until);
        if self.kernel_leases && until != Time::NEVER {
            let at = by.clone();
            self.later(ends.since(self.now), Future::LeaseEnds { at, group });
        }
    }

    /// The kernel drops the addresses of a group whose lease was not renewed. A daemon that moves and runs the group
    /// stops them itself, or puts them back when its right was renewed meanwhile; one that stands still finds them lost.
    pub(super) fn lease_ends(&mut self, at: &NodeName, group: &GroupName) {
        let now = self.now;
        let spec = self.cluster.groups.iter().find(|g| g.name == *group);
        let steps = spec.map(|g| g.steps.clone()).unwrap_or_default();
        let state = self.state(at.as_str(), group.as_str());
        let Some(machine) = self.machines.get_mut(at) else {
            return;
        };
        if machine.alive() && state.is_some_and(GroupState::holds) {
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
                lost.push(step);
            }
        }
        for step in lost {
            let event = Event::ResourceLost {
                group: group.clone(),
                step,
                text: "its lease ran out".to_owned(),
            };
            self.give(at, event);
        }
    }

    /// What a call really does to the machine. A daemon that was killed meanwhile took its agents with it.
    pub(super) fn finish(
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
        if outcome == Outcome::Succeeded {
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
        self.give(at, event);
    }

    fn run(&mut self, by: &NodeName, group: GroupName, order: OrderId, call: Call) {
        if call == Call::Start(0) {
            self.judge_start(by, &group);
        }
        let machine = self.machine(by.as_str());
        let life = machine.life;
        let (time, outcome) = match call {
            Call::Probe => (Duration::from_millis(1), look(machine, &group)),
            Call::Start(step) => Machine::behave(
                machine.start_behaviour.get(&(group.clone(), step)),
                DEADLINE,
            ),
            Call::Stop(step) => {
                Machine::behave(machine.stop_behaviour.get(&(group.clone(), step)), DEADLINE)
            }
        };
        let done = (group, order, call, outcome);
        let at = by.clone();
        self.later(time, Future::Finish { at, life, done });
    }

    fn judge_start(&mut self, by: &NodeName, group: &GroupName) {
        let now = self.now;
        let others: Vec<NodeName> = self.names().filter(|n| n != by).collect();
        let Some(machine) = self.machines.get(by) else {
            return;
        };
        let local = machine.clock.local(now);
        if let Some(wrong) = machine.memory.start(local, group, &others, self) {
            self.accuse(by, &wrong);
        }
    }

    /// What runs for a group ends now, as failed.
    fn abort(&mut self, by: &NodeName, group: &GroupName) {
        let running = self.future.iter().find_map(|(key, f)| match f {
            Future::Finish { at, done, .. } if at == by && done.0 == *group => Some(*key),
            _ => None,
        });
        let Some(Future::Finish { at, life, done }) =
            running.and_then(|key| self.future.remove(&key))
        else {
            return;
        };
        let (group, order, call, _) = done;
        let done = (group, order, call, Outcome::Failed("aborted".to_owned()));
        self.later(Duration::from_millis(1), Future::Finish { at, life, done });
    }

    pub(super) fn probe(&mut self, at: &NodeName, group: GroupName) {
        let watching = self
            .machines
            .get(at)
            .filter(|m| m.alive() && m.watching.contains(&group));
        let Some(machine) = watching else { return };
        let (life, sent) = (machine.life, machine.clock.local(self.now));
        let again = Future::Probe {
            at: at.clone(),
            life,
            group: group.clone(),
        };
        let ends = Future::ProbeEnds {
            at: at.clone(),
            life,
            group,
            sent,
        };
        self.later(PROBE_WINDOW, ends);
        self.later(PROBE_EVERY, again);
    }

    pub(super) fn probe_ends(&mut self, at: &NodeName, group: GroupName, sent: Time) {
        let event = match self.answers_to(at, &group) {
            Some(other) => Event::AddressAnswered {
                group,
                who: other.to_string(),
            },
            None => Event::AddressSilent { group, sent },
        };
        self.give(at, event);
    }

    /// Another machine on the same wire that has the group's address: one whose daemon is gone answers too, its kernel lives.
    fn answers_to(&self, from: &NodeName, group: &GroupName) -> Option<NodeName> {
        let spec = self.cluster.groups.iter().find(|g| g.name == *group)?;
        let reaches = |to: &NodeName| {
            self.cluster.links.iter().any(|link| {
                let cut = |a: &NodeName, b: &NodeName| {
                    self.cuts.contains(&(a.clone(), b.clone(), link.clone()))
                };
                !cut(from, to) && !cut(to, from)
            })
        };
        let has = |m: &Machine| {
            let runs = m.running.get(group).into_iter().flatten();
            m.powered
                && runs
                    .zip(&spec.steps)
                    .any(|(runs, step)| *runs && step.addresses)
        };
        let other = self
            .machines
            .iter()
            .find(|(name, m)| *name != from && has(m) && reaches(name));
        other.map(|(name, _)| name.clone())
    }
}

fn look(machine: &Machine, group: &GroupName) -> Outcome {
    let spec = machine
        .engine
        .as_ref()
        .and_then(|e| e.cluster().groups.iter().find(|g| g.name == *group));
    let steps = spec.map_or(0, |g| g.steps.len());
    let running = machine.running.get(group);
    let step = |i: usize| Some(running.and_then(|r| r.get(i)).copied().unwrap_or(false));
    Outcome::Seen((0..steps).map(step).collect())
}
