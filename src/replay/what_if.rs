//! What would have happened with other settings: a second engine runs beside the recorded one.
//!
//! It gets the same inputs at the same times. Its own deadlines come when they are due, unless the daemon was stopped
//! then. Its actions end as the same action did at the nearest time in the recording; an action that was never taken is
//! assumed to succeed at once, and an address that nobody probed is assumed not to answer.
//!
//! The limit: the other nodes behave as recorded, and do not react to what this node would have done differently.

use std::collections::VecDeque;

use serde::Serialize;

use super::alternative::AlternativeRun;
use super::player::{ReplayEvent, ReplayMoment, ReplayPlayer};
use super::recorded_outcomes::RecordedOutcomes;
use super::recording_format::{RecordedInput, RecordingItem, RecordingStart, StartState};
use crate::engine::{Action, Call, Engine, Event};
use crate::model::cluster::Cluster;
use crate::model::decision::What;
use crate::model::{GroupName, Time};

/// Which of the two engines a replay event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Branch {
    /// Both: they have not diverged.
    Both,
    /// The engine of the recording.
    #[serde(rename = "was")]
    Recorded,
    /// The engine with other settings.
    #[serde(rename = "would")]
    Hypothetical,
}

/// The actions by which the two engines are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ComparedAction {
    Decided(Option<GroupName>, What),
    Ran(GroupName, Call),
}

impl ComparedAction {
    fn from_moment(moment: &ReplayMoment) -> Option<ComparedAction> {
        match &moment.1 {
            ReplayEvent::Ordered(Action::Record(decision)) => {
                // The exact duration is no difference.
                let what = match &decision.what {
                    What::Gap(_) => What::Gap(std::time::Duration::ZERO),
                    what => what.clone(),
                };
                Some(ComparedAction::Decided(decision.group.clone(), what))
            }
            ReplayEvent::Ordered(Action::Run { group, call, .. }) => {
                Some(ComparedAction::Ran(group.clone(), *call))
            }
            _ => None,
        }
    }
}

/// A replay of a recording, with a second engine beside it.
pub struct WhatIf<F> {
    /// Applies the other settings to the recorded ones.
    change: F,
    /// For each independent part of the recording.
    outcomes: VecDeque<RecordedOutcomes>,
    recorded: ReplayPlayer,
    alternative: Option<AlternativeRun>,
    diverged: bool,
}

impl<F: Fn(&Cluster) -> Result<Cluster, String>> WhatIf<F> {
    /// Reads the whole recording for the outcomes of its actions. Then its items are to be played.
    pub fn new(items: impl Iterator<Item = RecordingItem>, change: F) -> Self {
        let mut player = ReplayPlayer::default();
        let mut outcomes: VecDeque<RecordedOutcomes> = VecDeque::new();
        for item in items {
            let mut moments = Vec::new();
            match item {
                RecordingItem::Start(begin) => {
                    if player.start_part(*begin, &mut moments) {
                        outcomes.push_back(RecordedOutcomes::default());
                    }
                }
                RecordingItem::Event(told) => player.input(told, &mut moments),
                RecordingItem::Unreadable(_) => {}
            }
            if let Some(part) = outcomes.back_mut() {
                for (at, seen) in &moments {
                    part.note(*at, seen);
                }
            }
        }
        WhatIf {
            change,
            outcomes,
            recorded: ReplayPlayer::default(),
            alternative: None,
            diverged: false,
        }
    }

    /// Plays one item of the recording.
    ///
    /// # Errors
    /// If the settings do not fit the recorded configuration.
    pub fn play(&mut self, item: RecordingItem) -> Result<Vec<(Branch, ReplayMoment)>, String> {
        match item {
            RecordingItem::Start(begin) => self.start_part(*begin),
            RecordingItem::Event(told) => self.input(told),
            RecordingItem::Unreadable(_) => Ok(both(self.recorded.play(item))),
        }
    }

    /// Whether the two engines have diverged since the last recorded state.
    pub fn diverged(&self) -> bool {
        self.diverged
    }

    /// The two engines as they are now: the recorded one and the one with other settings.
    pub fn engines(&self) -> (Option<&Engine>, Option<&Engine>) {
        let alternative = self.alternative.as_ref().and_then(AlternativeRun::engine);
        (self.recorded.engine(), alternative)
    }

    fn start_part(&mut self, begin: RecordingStart) -> Result<Vec<(Branch, ReplayMoment)>, String> {
        let (at, state) = (begin.at, begin.state.clone());
        let mut was = Vec::new();
        if !self.recorded.start_part(begin, &mut was) {
            return Ok(Vec::new());
        }
        let outcomes = self.outcomes.pop_front().unwrap_or_default();
        let (alternative, would) = match state {
            StartState::Fresh(start) => {
                let (engine, first) = Engine::new((self.change)(&start.0)?, start.1, at);
                AlternativeRun::new(engine, at, first, outcomes)
            }
            StartState::Running(engine) => {
                let cluster = (self.change)(engine.cluster())?;
                let changed = cluster != *engine.cluster();
                let (mut alternative, mut would) =
                    AlternativeRun::new(*engine, at, Vec::new(), outcomes);
                if changed {
                    let input = RecordedInput {
                        at,
                        event: Event::Reconfigured(Box::new(cluster)),
                        more: false,
                        digest: None,
                    };
                    alternative.recorded_input(input, &mut would);
                }
                (alternative, would)
            }
        };
        self.alternative = Some(alternative);
        self.diverged = false;
        Ok(self.merge(was, would))
    }

    fn input(&mut self, told: RecordedInput) -> Result<Vec<(Branch, ReplayMoment)>, String> {
        let (at, mut input) = (told.at, told.clone());
        let awake = self.recorded.engine().map(|e| e.next_deadline().min(at));
        let mut would = Vec::new();
        if let (Some(alternative), Some(awake)) = (&mut self.alternative, awake) {
            alternative.run_until(at, awake, &mut would);
        }
        let mut was = Vec::new();
        self.recorded.input(told, &mut was);
        if let Some(alternative) = &mut self.alternative {
            alternative.learn(&was);
            if let Event::Reconfigured(cluster) = &mut input.event {
                **cluster = (self.change)(cluster)?;
            }
            alternative.recorded_input(input, &mut would);
        }
        if self.recorded.engine().is_none() {
            self.alternative = None;
        }
        Ok(self.merge(was, would))
    }

    /// Merges the events of both engines by time, and notices when they diverge.
    fn merge(
        &mut self,
        was: Vec<ReplayMoment>,
        would: Vec<ReplayMoment>,
    ) -> Vec<(Branch, ReplayMoment)> {
        let compared = |moments: &[ReplayMoment]| {
            moments
                .iter()
                .filter_map(ComparedAction::from_moment)
                .collect::<Vec<_>>()
        };
        let mut lines = Vec::new();
        if !self.diverged && compared(&was) != compared(&would) {
            self.diverged = true;
            if let Some(alternative) = &mut self.alternative {
                alternative.diverged = true;
            }
            let times = was
                .iter()
                .chain(&would)
                .filter(|m| ComparedAction::from_moment(m).is_some());
            let at = times.map(|(at, _)| *at).min().unwrap_or(Time::ZERO);
            lines.push((Branch::Both, (at, ReplayEvent::Parts)));
        }
        if !self.diverged {
            return both(was);
        }
        lines.extend(was.into_iter().map(|moment| (branch_of(&moment.1), moment)));
        lines.extend(
            would
                .into_iter()
                .map(|moment| (Branch::Hypothetical, moment)),
        );
        lines.sort_by_key(|(_, (at, _))| *at);
        lines
    }
}

fn both(moments: Vec<ReplayMoment>) -> Vec<(Branch, ReplayMoment)> {
    let both = |moment| (Branch::Both, moment);
    moments.into_iter().map(both).collect()
}

/// After the two have diverged: actions of the recorded engine and their outcomes belong to it alone.
fn branch_of(seen: &ReplayEvent) -> Branch {
    match seen {
        ReplayEvent::Ordered(_) | ReplayEvent::Input(Event::Done { .. } | Event::Saved { .. }) => {
            Branch::Recorded
        }
        _ => Branch::Both,
    }
}
