//! The engine fed with what was recorded.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

use super::recording_format::{RecordedInput, RecordingItem, RecordingStart, StartState};
use crate::engine::ActionDigest;
use crate::engine::{Action, Engine, Event};
use crate::model::{NodeName, Time};

/// Something of a replay worth telling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayEvent {
    /// The daemon began.
    Began {
        /// Its version.
        had: String,
        /// Its node.
        node: NodeName,
    },
    /// Events are missing before this, and how many; none where that is not known, as at the beginning of a ring.
    Missing(Option<u64>),
    /// What the engine was told.
    Input(Event),
    /// What it would have been told, for all that is known: the recording has nothing like it.
    Supposed(Event),
    /// From here on another engine would have decided otherwise.
    Parts,
    /// What it ordered.
    Ordered(Action),
    /// It ordered something else than it did in the daemon.
    Differs,
    /// It failed with these words.
    Fails(String),
    /// A place of the recording cannot be read.
    Unreadable(String),
}

/// When, and what.
pub type ReplayMoment = (Time, ReplayEvent);

/// A replay of what was.
#[derive(Debug, Default)]
pub struct ReplayPlayer {
    engine: Option<Engine>,
    digest: ActionDigest,
    life: Option<Time>,
    /// The number of the next event.
    next: u64,
    now: Time,
    /// That it differs has been told.
    differs: bool,
}

impl ReplayPlayer {
    /// Plays one item.
    pub fn play(&mut self, item: RecordingItem) -> Vec<ReplayMoment> {
        let mut moments = Vec::new();
        match item {
            RecordingItem::Start(begin) => {
                self.begin(*begin, &mut moments);
            }
            RecordingItem::Event(told) => self.told(told, &mut moments),
            RecordingItem::Unreadable(why) => {
                moments.push((self.now, ReplayEvent::Unreadable(why)));
            }
        }
        moments
    }

    /// The engine as it is now.
    pub fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    /// Takes a state, unless nothing is missing before it and the replay has come there by itself; then false.
    pub(super) fn begin(&mut self, begin: RecordingStart, moments: &mut Vec<ReplayMoment>) -> bool {
        let same_life = self.life == Some(begin.life);
        // A state that was written because the file was full, and not because something is missing.
        if same_life && self.next == begin.next && self.engine.is_some() {
            return false;
        }
        let at = begin.at;
        let missing = same_life.then(|| begin.next.saturating_sub(self.next));
        let (had, node) = (begin.had, begin.node);
        (self.now, self.life, self.next, self.differs) = (at, Some(begin.life), begin.next, false);
        self.digest = begin.digest;
        let (engine, first) = match begin.state {
            StartState::Fresh(start) => {
                moments.push((at, ReplayEvent::Began { had, node }));
                let (cluster, kept) = *start;
                let (engine, first) = Engine::new(cluster, kept, at);
                self.digest.add(&first);
                (engine, first)
            }
            StartState::Running(engine) => {
                moments.push((at, ReplayEvent::Missing(missing)));
                (*engine, Vec::new())
            }
        };
        self.engine = Some(engine);
        moments.extend(first.into_iter().map(|a| (at, ReplayEvent::Ordered(a))));
        true
    }

    pub(super) fn told(&mut self, told: RecordedInput, moments: &mut Vec<ReplayMoment>) {
        let Some(engine) = self.engine.as_mut() else {
            return;
        };
        let at = told.at;
        self.now = at;
        self.next = self.next.saturating_add(1);
        if told.digest.is_some_and(|d| d != self.digest) && !self.differs {
            self.differs = true;
            moments.push((at, ReplayEvent::Differs));
        }
        moments.push((at, ReplayEvent::Input(told.event.clone())));
        match handle(engine, at, told.event) {
            Ok(actions) => {
                self.digest.add(&actions);
                moments.extend(actions.into_iter().map(|a| (at, ReplayEvent::Ordered(a))));
            }
            Err(text) => {
                self.engine = None;
                moments.push((at, ReplayEvent::Fails(text)));
            }
        }
    }
}

/// Gives the engine a fact. A recording may hold the very one that made it fail.
pub(super) fn handle(engine: &mut Engine, at: Time, event: Event) -> Result<Vec<Action>, String> {
    catch_unwind(AssertUnwindSafe(|| engine.handle(at, event))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("without words").to_owned()
    })
}
