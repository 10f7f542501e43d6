//! The power switches of the machines. Every node reaches each of them, also one that is cut off from all other nodes.

use std::fmt;
use std::time::Duration;

use super::world::{ScheduledEvent, World};
use crate::engine::{Event, OrderId};
use crate::model::NodeName;
use crate::model::fencing::{FenceCall, Power};
use crate::text::duration_in_files;

/// How long a switch takes where nothing else is set.
const USUAL: Duration = Duration::from_secs(1);

/// How the power switch of a machine behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerSwitch {
    /// Does what it is told, in this time.
    Takes(Duration),
    /// Does nothing, and says so.
    Fails,
    /// Does nothing, and says whether the machine is on.
    Idle,
    /// Does what it is told, but its answer is lost.
    Unanswered,
    /// Does what it is told so long after it was given up.
    Late(Duration),
    /// Is that of another machine: it answers, and this machine runs on.
    Wrong,
}

/// What whoever asks is told in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SwitchAnswer {
    /// The truth.
    True,
    /// That the order was carried out.
    Obeyed,
    /// Nothing, until the deadline.
    Nothing,
}

/// An order for a power switch that will be answered.
#[derive(Clone, Debug)]
pub(super) struct SwitchOrder {
    pub node: NodeName,
    pub order: OrderId,
    pub call: FenceCall,
    pub answer: SwitchAnswer,
}

impl World {
    /// Sets how the power switch of a machine behaves.
    pub fn set_power_switch(&mut self, name: &str, how: PowerSwitch) {
        self.switches.insert(NodeName::new(name), how);
    }

    pub(super) fn order_switch(
        &mut self,
        by: &NodeName,
        node: NodeName,
        order: OrderId,
        call: FenceCall,
    ) {
        let how = self.switches.get(&node).copied();
        let how = how.unwrap_or(PowerSwitch::Takes(USUAL));
        let (acts, ends, answer) = match how {
            PowerSwitch::Takes(time) => (Some(time / 2), time, SwitchAnswer::True),
            PowerSwitch::Fails => (None, USUAL, SwitchAnswer::Nothing),
            PowerSwitch::Idle => (None, USUAL, SwitchAnswer::True),
            PowerSwitch::Unanswered => (Some(USUAL / 2), USUAL, SwitchAnswer::Nothing),
            PowerSwitch::Late(time) => (Some(USUAL + time), USUAL, SwitchAnswer::Nothing),
            PowerSwitch::Wrong => (None, USUAL, SwitchAnswer::Obeyed),
        };
        if let Some(after) = acts.filter(|_| call != FenceCall::Status) {
            let node = node.clone();
            self.schedule(after, ScheduledEvent::SwitchActs { node, call });
        }
        if let Some((life, _)) = self.life_and_clock(by) {
            let (at, done) = (
                by.clone(),
                SwitchOrder {
                    node,
                    order,
                    call,
                    answer,
                },
            );
            self.schedule(ends, ScheduledEvent::SwitchAnswers { at, life, done });
        }
    }

    /// The caller no longer waits for the answer. What the switch was told it may still do.
    pub(super) fn abort_switch(&mut self, by: &NodeName, node: &NodeName) {
        let is_it = |f: &ScheduledEvent| matches!(f, ScheduledEvent::SwitchAnswers { at, done, .. } if at == by && done.node == *node);
        let running = self.future.iter().find(|(_, f)| is_it(f));
        let running = running.map(|(key, _)| *key);
        if let Some(ScheduledEvent::SwitchAnswers { at, life, done }) =
            running.and_then(|key| self.future.remove(&key))
        {
            let done = SwitchOrder {
                answer: SwitchAnswer::Nothing,
                ..done
            };
            let soon = Duration::from_millis(1);
            self.schedule(soon, ScheduledEvent::SwitchAnswers { at, life, done });
        }
    }

    pub(super) fn switch_acts(&mut self, node: &NodeName, call: FenceCall) {
        let powered = self.machines.get(node).map(|m| m.powered);
        match (call, powered) {
            (FenceCall::Off, Some(true)) => self.crash(node.as_str()),
            (FenceCall::On, Some(false)) => self.start(node.as_str()),
            _ => {}
        }
    }

    pub(super) fn switch_answers(&mut self, at: &NodeName, done: SwitchOrder) {
        let SwitchOrder {
            node,
            order,
            call,
            answer,
        } = done;
        let powered = self.machines.get(&node).is_some_and(|m| m.powered);
        let power = |on: bool| if on { Power::On } else { Power::Off };
        let result = match answer {
            SwitchAnswer::True => Ok(power(powered)),
            SwitchAnswer::Obeyed => Ok(power(call == FenceCall::On)),
            SwitchAnswer::Nothing => Err("its power switch does not answer".to_owned()),
        };
        self.deliver(
            at,
            Event::FenceDone {
                node,
                order,
                result,
            },
        );
    }

    /// All power switches work again, and do nothing more of what they were told.
    pub(super) fn mend_switches(&mut self) {
        self.switches.clear();
        self.future
            .retain(|_, f| !matches!(f, ScheduledEvent::SwitchActs { .. }));
    }
}

impl fmt::Display for PowerSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PowerSwitch::Takes(time) => write!(f, "take {}", duration_in_files(*time)),
            PowerSwitch::Fails => f.write_str("fail"),
            PowerSwitch::Idle => f.write_str("idle"),
            PowerSwitch::Unanswered => f.write_str("unanswered"),
            PowerSwitch::Late(time) => write!(f, "late {}", duration_in_files(*time)),
            PowerSwitch::Wrong => f.write_str("wrong"),
        }
    }
}
