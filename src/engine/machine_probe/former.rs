//! Rule 32: a machine whose name another machine has taken. What the first one may run is not forgotten by what the other one
//! says: only by a life on the same machine.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{MAX_ADDRESSES, Machine, Machines};
use crate::engine::{Action, MachineRecord};
use crate::model::heartbeat::{GroupState, Heartbeat};
use crate::model::{GroupName, NodeName, Term, Time};

/// By what name such a machine is asked. No node is called like that.
fn former_key(node: &NodeName) -> NodeName {
    NodeName::new(&format!("{node} (former machine)"))
}

impl Machines {
    /// The machines whose names others have, each with the name by which it is asked.
    pub(super) fn former(&self) -> impl Iterator<Item = (&NodeName, &NodeName, &Machine)> {
        let all = self.0.iter();
        all.filter_map(|(key, machine)| Some((key, machine.record.former_of.as_ref()?, machine)))
    }

    pub(super) fn former_keys(&self) -> Vec<NodeName> {
        self.former().map(|(key, ..)| key.clone()).collect()
    }

    /// A living node holds the group: what held it before under an earlier term does no more. Returns whether there is such a
    /// machine.
    pub(super) fn forget_where_held(&mut self, group: &GroupName, held: Option<Term>) -> bool {
        let former = self.0.values_mut().filter(|m| m.record.former_of.is_some());
        let mut any = false;
        for machine in former {
            let may_run = &mut machine.record.may_run;
            let earlier = |term: &Term| held.is_some_and(|h| h > *term);
            if may_run.get(group).is_some_and(earlier) {
                may_run.remove(group);
                any = true;
            }
        }
        any
    }

    /// A heartbeat of the member with this name came. If it is of another life, and that of another machine as far as is known,
    /// what the machine may run that had the name before is kept apart. Only a `fresh` heartbeat shows the same machine. Returns
    /// whether that must be kept on disk.
    pub fn take_life(
        &mut self,
        now: Time,
        from: Option<IpAddr>,
        heartbeat: &Heartbeat,
        fresh: bool,
        out: &mut Vec<Action>,
    ) -> bool {
        let (node, identity) = (&heartbeat.src, heartbeat.identity);
        let Some(instance) = identity.instance else {
            return false;
        };
        let mut changed = fresh && self.settle_former(from, heartbeat, out);
        let machine = self.machine(node);
        let before = machine.record.instance.replace(instance);
        if before == Some(instance) {
            return changed;
        }
        changed |= machine.record.runs_something();
        let same = before.is_none()
            || identity.succeeds == before
            || (fresh && machine.record.is_of_machine(from, heartbeat));
        if !same && machine.record.runs_something() && !machine.is_silent(now) {
            let left = std::mem::take(&mut machine.record);
            machine.record.instance = Some(instance);
            self.leave_behind(
                now,
                node,
                MachineRecord {
                    instance: before,
                    ..left
                },
            );
        }
        changed
    }

    fn leave_behind(&mut self, now: Time, node: &NodeName, mut left: MachineRecord) {
        let known = self.0.remove(&former_key(node)).unwrap_or_default();
        let mut may_run: BTreeMap<GroupName, Term> = known.record.may_run;
        may_run.append(&mut left.may_run);
        let addresses = known.record.addresses.into_iter().chain(left.addresses);
        let record = MachineRecord {
            addresses: addresses.take(MAX_ADDRESSES).collect(),
            may_run,
            runs_former: left.runs_former || known.record.runs_former,
            former_of: Some(node.clone()),
            ..left
        };
        let machine = Machine {
            record,
            died: now,
            watched_since: known.watched_since,
            ..Machine::default()
        };
        self.0.insert(former_key(node), machine);
    }

    /// A fresh heartbeat of a member may come from the machine that was taken for another one. Returns whether it does.
    fn settle_former(
        &mut self,
        from: Option<IpAddr>,
        heartbeat: &Heartbeat,
        out: &mut Vec<Action>,
    ) -> bool {
        let key = former_key(&heartbeat.src);
        let is_it =
            |m: &Machine| m.record.is_life(heartbeat) || m.record.is_of_machine(from, heartbeat);
        if !self.0.get(&key).is_some_and(is_it) {
            return false;
        }
        self.forget_former(&key, out);
        true
    }

    fn forget_former(&mut self, key: &NodeName, out: &mut Vec<Action>) {
        if self
            .0
            .remove(key)
            .is_some_and(|m| m.watched_since.is_some())
        {
            out.push(Action::UnwatchMachine(key.clone()));
        }
    }

    /// A fresh heartbeat of a second life (rule 30): if that is the daemon of the machine that had the name before, it knows what
    /// runs there. Returns whether that is news.
    pub fn take_second_life(&mut self, heartbeat: &Heartbeat, out: &mut Vec<Action>) -> bool {
        let key = former_key(&heartbeat.src);
        let machine = self.0.get_mut(&key);
        let Some(machine) = machine.filter(|m| m.record.is_life(heartbeat)) else {
            return false;
        };
        let record = &mut machine.record;
        record.instance = heartbeat.identity.instance;
        let known = record.may_run.len();
        for report in &heartbeat.groups {
            if matches!(report.state, GroupState::Offline | GroupState::Failed) {
                record.may_run.remove(&report.group);
            }
        }
        let changed = record.may_run.len() < known;
        if !record.runs_something() {
            self.forget_former(&key, out);
        }
        changed
    }
}

impl MachineRecord {
    fn runs_something(&self) -> bool {
        self.runs_former || !self.may_run.is_empty()
    }

    /// Whether a heartbeat is of the life that is known here, or of the next one on the same machine.
    fn is_life(&self, heartbeat: &Heartbeat) -> bool {
        let identity = heartbeat.identity;
        self.instance.is_some()
            && (identity.instance == self.instance || identity.succeeds == self.instance)
    }

    /// Whether a heartbeat comes from this machine: by its hardware addresses, where both are known; else by where it came from.
    fn is_of_machine(&self, from: Option<IpAddr>, heartbeat: &Heartbeat) -> bool {
        if self.hardware.is_empty() {
            return from.is_some_and(|from| self.asked_at().contains(&from));
        }
        heartbeat.hardware.iter().any(|h| self.hardware.contains(h))
    }
}
