//! What would have been with other settings: a second engine beside the one that was.
//!
//! It hears what was heard, when it was heard. Its own deadlines come when they would have, unless the daemon stood
//! still then. Its orders end as the same order ended the time nearest to it in the recording; one that was never
//! given in truth is supposed to succeed at once. An address that nobody asked for is supposed to be silent.
//!
//! What this cannot show: the other nodes do as they did. They would have answered to what this node did otherwise.

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

/// Whether something was, would have been, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Branch {
    /// The two have not parted.
    Both,
    /// What the daemon did.
    #[serde(rename = "was")]
    Recorded,
    /// What it would have done.
    #[serde(rename = "would")]
    Hypothetical,
}

/// What is compared of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ComparedAction {
    Decided(Option<GroupName>, What),
    Ran(GroupName, Call),
}

impl ComparedAction {
    fn of(moment: &ReplayMoment) -> Option<ComparedAction> {
        match &moment.1 {
            ReplayEvent::Ordered(Action::Record(decision)) => {
                // How long exactly is no difference.
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

/// A replay of what was, beside what would have been.
pub struct WhatIf<F> {
    /// Makes the other settings of those that were.
    change: F,
    /// For each part of the recording that stands for itself.
    answers: VecDeque<RecordedOutcomes>,
    truth: ReplayPlayer,
    other: Option<AlternativeRun>,
    parted: bool,
}

impl<F: Fn(&Cluster) -> Result<Cluster, String>> WhatIf<F> {
    /// Reads the recording through for what came of every order. Then it is to be played.
    pub fn new(items: impl Iterator<Item = RecordingItem>, change: F) -> Self {
        let mut player = ReplayPlayer::default();
        let mut answers: VecDeque<RecordedOutcomes> = VecDeque::new();
        for item in items {
            let mut moments = Vec::new();
            match item {
                RecordingItem::Start(begin) => {
                    if player.begin(*begin, &mut moments) {
                        answers.push_back(RecordedOutcomes::default());
                    }
                }
                RecordingItem::Event(told) => player.told(told, &mut moments),
                RecordingItem::Unreadable(_) => {}
            }
            if let Some(part) = answers.back_mut() {
                for (at, seen) in &moments {
                    part.note(*at, seen);
                }
            }
        }
        WhatIf {
            change,
            answers,
            truth: ReplayPlayer::default(),
            other: None,
            parted: false,
        }
    }

    /// Plays one item.
    ///
    /// # Errors
    /// When the settings cannot be had with what was configured then.
    pub fn play(&mut self, item: RecordingItem) -> Result<Vec<(Branch, ReplayMoment)>, String> {
        match item {
            RecordingItem::Start(begin) => self.begin(*begin),
            RecordingItem::Event(told) => self.told(told),
            RecordingItem::Unreadable(_) => Ok(both(self.truth.play(item))),
        }
    }

    /// Whether the two have parted since the last state.
    pub fn parted(&self) -> bool {
        self.parted
    }

    /// The engine that was, and the one that would have been, as they are now.
    pub fn engines(&self) -> (Option<&Engine>, Option<&Engine>) {
        let other = self.other.as_ref().and_then(AlternativeRun::engine);
        (self.truth.engine(), other)
    }

    fn begin(&mut self, begin: RecordingStart) -> Result<Vec<(Branch, ReplayMoment)>, String> {
        let (at, state) = (begin.at, begin.state.clone());
        let mut was = Vec::new();
        if !self.truth.begin(begin, &mut was) {
            return Ok(Vec::new());
        }
        let answers = self.answers.pop_front().unwrap_or_default();
        let (other, would) = match state {
            StartState::Fresh(start) => {
                let (engine, first) = Engine::new((self.change)(&start.0)?, start.1, at);
                AlternativeRun::new(engine, at, first, answers)
            }
            StartState::Running(engine) => {
                let cluster = (self.change)(engine.cluster())?;
                let changed = cluster != *engine.cluster();
                let (mut other, mut would) = AlternativeRun::new(*engine, at, Vec::new(), answers);
                if changed {
                    other.hear(at, Event::Reconfigured(Box::new(cluster)), &mut would);
                }
                (other, would)
            }
        };
        self.other = Some(other);
        self.parted = false;
        Ok(self.merge(was, would))
    }

    fn told(&mut self, told: RecordedInput) -> Result<Vec<(Branch, ReplayMoment)>, String> {
        let (at, event) = (told.at, told.event.clone());
        let awake = self.truth.engine().map(|e| e.next_deadline().min(at));
        let mut would = Vec::new();
        if let (Some(other), Some(awake)) = (&mut self.other, awake) {
            other.run_until(at, awake, &mut would);
        }
        let mut was = Vec::new();
        self.truth.told(told, &mut was);
        if let Some(other) = &mut self.other {
            other.learn(&was);
            let event = match event {
                Event::Reconfigured(cluster) => {
                    Event::Reconfigured(Box::new((self.change)(&cluster)?))
                }
                event => event,
            };
            other.hear(at, event, &mut would);
        }
        if self.truth.engine().is_none() {
            self.other = None;
        }
        Ok(self.merge(was, would))
    }

    /// Puts what was and what would have been into one line, and sees whether they differ.
    fn merge(
        &mut self,
        was: Vec<ReplayMoment>,
        would: Vec<ReplayMoment>,
    ) -> Vec<(Branch, ReplayMoment)> {
        let deeds = |moments: &[ReplayMoment]| {
            moments
                .iter()
                .filter_map(ComparedAction::of)
                .collect::<Vec<_>>()
        };
        let mut lines = Vec::new();
        if !self.parted && deeds(&was) != deeds(&would) {
            self.parted = true;
            if let Some(other) = &mut self.other {
                other.parted = true;
            }
            let times = was
                .iter()
                .chain(&would)
                .filter(|m| ComparedAction::of(m).is_some());
            let at = times.map(|(at, _)| *at).min().unwrap_or(Time::ZERO);
            lines.push((Branch::Both, (at, ReplayEvent::Parts)));
        }
        if !self.parted {
            return both(was);
        }
        lines.extend(was.into_iter().map(|moment| (world_of(&moment.1), moment)));
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

/// After the parting: what the engine that was did, and what came of it, is not what the other one knows.
fn world_of(seen: &ReplayEvent) -> Branch {
    match seen {
        ReplayEvent::Ordered(_) | ReplayEvent::Input(Event::Done { .. } | Event::Saved { .. }) => {
            Branch::Recorded
        }
        _ => Branch::Both,
    }
}
