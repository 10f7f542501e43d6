//! Rule 20: the steps of one group on this node. They are started one by one. In a stop every step is tried, even after
//! one has failed. When a start fails, the half-done step is stopped like the others: it needs the stop most.

use serde::{Deserialize, Serialize};

use super::monitoring::StepHealth;
use crate::engine::Call;
use crate::engine::event::{OrderId, Outcome};
use crate::engine::round::Round;
use crate::model::cluster::GroupSpec;
use crate::model::status::ResourceState;

/// What the steps are doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Work {
    Idle,
    Probing(OrderId),
    Starting {
        order: OrderId,
        step: usize,
    },
    Stopping {
        order: OrderId,
        step: usize,
        rest: Vec<usize>,
        /// When all are down, start again from here.
        then: Option<usize>,
    },
}

/// In which order a group is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StopOrder {
    /// The last step first.
    Reverse,
    /// The addresses before all else, because another node may need them: the right has ended.
    AddressesFirst,
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ProbeResult {
    /// Every step runs.
    AllRun,
    /// No step runs.
    NoneRuns,
    /// Some steps run, or it is not known of all of them; which, in words.
    SomeRun(String),
}

/// How a piece of work on the whole group ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WorkEnd {
    /// It has not ended.
    NotYet,
    /// Every step was probed.
    Probed(ProbeResult),
    /// Every step is up.
    Up,
    /// A step could not be started; what was begun is still up.
    StartFailed(String),
    /// Every step is down.
    Down,
    /// A stop failed; the others were tried all the same.
    StopFailed(String),
}

/// What is known of one step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::engine) struct StepState {
    pub state: ResourceState,
    pub error: Option<String>,
    pub health: StepHealth,
}

/// The steps of one group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stack {
    pub steps: Vec<StepState>,
    work: Work,
    stop_errors: Vec<String>,
}

impl Stack {
    pub fn new(group: &GroupSpec) -> Self {
        let step = StepState {
            state: ResourceState::Unknown,
            error: None,
            health: StepHealth::default(),
        };
        Stack {
            steps: vec![step; group.steps.len()],
            work: Work::Idle,
            stop_errors: Vec::new(),
        }
    }

    /// Whether an order is out.
    pub fn is_busy(&self) -> bool {
        self.work != Work::Idle
    }

    pub fn probe(&mut self, group: &GroupSpec, round: &mut Round) {
        let order = round.order(&group.name, Call::Probe);
        self.work = Work::Probing(order);
    }

    pub fn start(&mut self, group: &GroupSpec, round: &mut Round) {
        self.start_step(0, group, round);
    }

    fn start_step(&mut self, step: usize, group: &GroupSpec, round: &mut Round) {
        self.set_step(step, ResourceState::Starting, None);
        let order = round.order(&group.name, Call::Start(step));
        self.work = Work::Starting { order, step };
    }

    /// Stops every step.
    pub fn stop(&mut self, order: StopOrder, group: &GroupSpec, round: &mut Round) {
        // The step to stop next is the last of the list.
        let mut rest: Vec<usize> = (0..self.steps.len()).collect();
        if order == StopOrder::AddressesFirst {
            rest.sort_by_key(|s| group.steps.get(*s).is_some_and(|step| step.addresses));
        }
        self.stop_errors.clear();
        self.stop_next(rest, None, group, round);
    }

    /// Rule 21. Stops a step and all after it, the last one first, and starts them again.
    pub fn restart(&mut self, step: usize, group: &GroupSpec, round: &mut Round) {
        self.stop_errors.clear();
        let rest = (step..self.steps.len()).collect();
        self.stop_next(rest, Some(step), group, round);
    }

    fn stop_next(
        &mut self,
        mut rest: Vec<usize>,
        then: Option<usize>,
        group: &GroupSpec,
        round: &mut Round,
    ) {
        let Some(step) = rest.pop() else {
            self.work = Work::Idle;
            if let Some(again) = then.filter(|_| self.stop_errors.is_empty()) {
                self.start_step(again, group, round);
            }
            return;
        };
        self.set_step(step, ResourceState::Stopping, None);
        let order = round.order(&group.name, Call::Stop(step));
        self.work = Work::Stopping {
            order,
            step,
            rest,
            then,
        };
    }

    /// Takes in how an order ended, and gives the next one. The end of any other order changes nothing.
    pub fn order_ended(
        &mut self,
        order: OrderId,
        outcome: &Outcome,
        group: &GroupSpec,
        round: &mut Round,
    ) -> WorkEnd {
        match self.work.clone() {
            Work::Probing(o) if o == order => {
                self.work = Work::Idle;
                WorkEnd::Probed(self.take_probe_result(outcome, group))
            }
            Work::Starting { order: o, step } if o == order => {
                self.work = Work::Idle;
                self.step_started(step, outcome, group, round)
            }
            Work::Stopping {
                order: o,
                step,
                rest,
                then,
            } if o == order => self.step_stopped(step, (rest, then), outcome, group, round),
            Work::Idle | Work::Probing(_) | Work::Starting { .. } | Work::Stopping { .. } => {
                WorkEnd::NotYet
            }
        }
    }

    fn take_probe_result(&mut self, outcome: &Outcome, group: &GroupSpec) -> ProbeResult {
        let looks: Vec<Option<bool>> = match outcome {
            Outcome::Seen(looks) => looks.clone(),
            Outcome::Succeeded | Outcome::Failed(_) | Outcome::TimedOut(_) => Vec::new(),
        };
        for (i, step) in self.steps.iter_mut().enumerate() {
            step.state = match looks.get(i).copied().flatten() {
                Some(true) => ResourceState::Running,
                Some(false) => ResourceState::Stopped,
                None => ResourceState::Unknown,
            };
        }
        let is = |s: ResourceState| move |step: &StepState| step.state == s;
        if self.steps.iter().all(is(ResourceState::Running)) {
            ProbeResult::AllRun
        } else if self.steps.iter().all(is(ResourceState::Stopped)) {
            ProbeResult::NoneRuns
        } else {
            ProbeResult::SomeRun(self.describe_found(group))
        }
    }

    /// Names the steps that were found running, and those whose probe failed.
    fn describe_found(&self, group: &GroupSpec) -> String {
        let named = |state: ResourceState, word: &str| {
            let found: Vec<String> = self
                .steps
                .iter()
                .zip(&group.steps)
                .filter(|(s, _)| s.state == state)
                .map(|(_, step)| step.members.join(" "))
                .collect();
            (!found.is_empty()).then(|| format!("{word} {}", found.join(", ")))
        };
        let parts = [
            named(ResourceState::Running, "runs:"),
            named(ResourceState::Unknown, "unknown:"),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    fn step_started(
        &mut self,
        step: usize,
        outcome: &Outcome,
        group: &GroupSpec,
        round: &mut Round,
    ) -> WorkEnd {
        if let Some(text) = failure_text(outcome) {
            self.set_step(step, ResourceState::Failed, Some(text.clone()));
            return WorkEnd::StartFailed(text);
        }
        self.set_step(step, ResourceState::Running, None);
        if step + 1 >= self.steps.len() {
            return WorkEnd::Up;
        }
        self.start_step(step + 1, group, round);
        WorkEnd::NotYet
    }

    fn step_stopped(
        &mut self,
        step: usize,
        (rest, then): (Vec<usize>, Option<usize>),
        outcome: &Outcome,
        group: &GroupSpec,
        round: &mut Round,
    ) -> WorkEnd {
        if let Some(text) = failure_text(outcome) {
            self.set_step(step, ResourceState::Failed, Some(text.clone()));
            self.stop_errors.push(text);
        } else {
            self.set_step(step, ResourceState::Stopped, None);
        }
        self.stop_next(rest, then, group, round);
        if self.is_busy() {
            WorkEnd::NotYet
        } else if self.stop_errors.is_empty() {
            WorkEnd::Down
        } else {
            WorkEnd::StopFailed(self.stop_errors.join("; "))
        }
    }

    /// Ends the work if this is its order, whatever came of it. Returns whether it was.
    pub fn end_interrupted(&mut self, order: OrderId) -> bool {
        let ours = match &self.work {
            Work::Probing(o)
            | Work::Starting { order: o, .. }
            | Work::Stopping { order: o, .. } => *o == order,
            Work::Idle => false,
        };
        if ours {
            self.work = Work::Idle;
        }
        ours
    }

    /// A running step was found down.
    pub fn mark_lost(&mut self, step: usize, text: &str) {
        self.set_step(step, ResourceState::Failed, Some(text.to_owned()));
    }

    fn set_step(&mut self, step: usize, state: ResourceState, error: Option<String>) {
        if let Some(s) = self.steps.get_mut(step) {
            s.state = state;
            s.error = error;
        }
    }
}

/// The text of an outcome that is no success.
fn failure_text(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Succeeded | Outcome::Seen(_) => None,
        Outcome::Failed(text) | Outcome::TimedOut(text) => Some(text.clone()),
    }
}
