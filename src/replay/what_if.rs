//! What would have been with other settings: a second engine beside the one that was.
//!
//! It hears what was heard, when it was heard. Its own deadlines come when they would have, unless the daemon stood
//! still then. Its orders end as the same order ended the time nearest to it in the recording; one that was never
//! given in truth is supposed to succeed at once. An address that nobody asked for is supposed to be silent.
//!
//! What this cannot show: the other nodes do as they did. They would have answered to what this node did otherwise.

use std::collections::VecDeque;

use serde::Serialize;

use super::answers::Answers;
use super::other::Other;
use super::player::{Moment, Player, Seen};
use super::recording::{Begin, Item, State, Told};
use crate::engine::{Action, Call, Engine, Event};
use crate::model::cluster::Cluster;
use crate::model::decision::What;
use crate::model::{GroupName, Time};

/// Whether something was, would have been, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum World {
    /// The two have not parted.
    Both,
    /// It was so.
    Was,
    /// It would have been so.
    Would,
}

/// What is compared of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Deed {
    Decided(Option<GroupName>, What),
    Ran(GroupName, Call),
}

impl Deed {
    fn of(moment: &Moment) -> Option<Deed> {
        match &moment.1 {
            Seen::Ordered(Action::Record(decision)) => {
                // How long exactly is no difference.
                let what = match &decision.what {
                    What::Gap(_) => What::Gap(std::time::Duration::ZERO),
                    what => what.clone(),
                };
                Some(Deed::Decided(decision.group.clone(), what))
            }
            Seen::Ordered(Action::Run { group, call, .. }) => Some(Deed::Ran(group.clone(), *call)),
            _ => None,
        }
    }
}

/// A replay of what was, beside what would have been.
pub struct WhatIf<F> {
    /// Makes the other settings of those that were.
    change: F,
    /// For each part of the recording that stands for itself.
    answers: VecDeque<Answers>,
    truth: Player,
    other: Option<Other>,
    parted: bool,
}

impl<F: Fn(&Cluster) -> Result<Cluster, String>> WhatIf<F> {
    /// Reads the recording through for what came of every order. Then it is to be played.
    pub fn new(items: impl Iterator<Item = Item>, change: F) -> Self {
        let mut player = Player::default();
        let mut answers: VecDeque<Answers> = VecDeque::new();
        for item in items {
            let mut moments = Vec::new();
            match item {
                Item::Begin(begin) => {
                    if player.begin(*begin, &mut moments) {
                        answers.push_back(Answers::default());
                    }
                }
                Item::Event(told) => player.told(told, &mut moments),
                Item::Unreadable(_) => {}
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
            truth: Player::default(),
            other: None,
            parted: false,
        }
    }

    /// Plays one item.
    ///
    /// # Errors
    /// When the settings cannot be had with what was configured then.
    pub fn play(&mut self, item: Item) -> Result<Vec<(World, Moment)>, String> {
        match item {
            Item::Begin(begin) => self.begin(*begin),
            Item::Event(told) => self.told(told),
            Item::Unreadable(_) => Ok(both(self.truth.play(item))),
        }
    }

    /// Whether the two have parted since the last state.
    pub fn parted(&self) -> bool {
        self.parted
    }

    /// The engine that was, and the one that would have been, as they are now.
    pub fn engines(&self) -> (Option<&Engine>, Option<&Engine>) {
        let other = self.other.as_ref().and_then(Other::engine);
        (self.truth.engine(), other)
    }

    fn begin(&mut self, begin: Begin) -> Result<Vec<(World, Moment)>, String> {
        let (at, state) = (begin.at, begin.state.clone());
        let mut was = Vec::new();
        if !self.truth.begin(begin, &mut was) {
            return Ok(Vec::new());
        }
        let answers = self.answers.pop_front().unwrap_or_default();
        let (other, would) = match state {
            State::Fresh(start) => {
                let (engine, first) = Engine::new((self.change)(&start.0)?, start.1, at);
                Other::new(engine, at, first, answers)
            }
            State::Running(engine) => {
                let cluster = (self.change)(engine.cluster())?;
                let changed = cluster != *engine.cluster();
                let (mut other, mut would) = Other::new(*engine, at, Vec::new(), answers);
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

    fn told(&mut self, told: Told) -> Result<Vec<(World, Moment)>, String> {
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
    fn merge(&mut self, was: Vec<Moment>, would: Vec<Moment>) -> Vec<(World, Moment)> {
        let deeds = |moments: &[Moment]| moments.iter().filter_map(Deed::of).collect::<Vec<_>>();
        let mut lines = Vec::new();
        if !self.parted && deeds(&was) != deeds(&would) {
            self.parted = true;
            if let Some(other) = &mut self.other {
                other.parted = true;
            }
            let times = was.iter().chain(&would).filter(|m| Deed::of(m).is_some());
            let at = times.map(|(at, _)| *at).min().unwrap_or(Time::ZERO);
            lines.push((World::Both, (at, Seen::Parts)));
        }
        if !self.parted {
            return both(was);
        }
        lines.extend(was.into_iter().map(|moment| (world_of(&moment.1), moment)));
        lines.extend(would.into_iter().map(|moment| (World::Would, moment)));
        lines.sort_by_key(|(_, (at, _))| *at);
        lines
    }
}

fn both(moments: Vec<Moment>) -> Vec<(World, Moment)> {
    let both = |moment| (World::Both, moment);
    moments.into_iter().map(both).collect()
}

/// After the parting: what the engine that was did, and what came of it, is not what the other one knows.
fn world_of(seen: &Seen) -> World {
    match seen {
        Seen::Ordered(_) | Seen::Input(Event::Done { .. } | Event::Saved { .. }) => World::Was,
        _ => World::Both,
    }
}
