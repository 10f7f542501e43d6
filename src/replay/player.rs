//! Runs the engine on a recording.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

use super::recording_format::{RecordedInput, RecordingItem, RecordingStart, StartState};
use crate::engine::ActionDigest;
use crate::engine::{Action, Engine, Event};
use crate::model::{NodeName, Time};

/// An event of a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(clippy::large_enum_variant)] // most are inputs
pub enum ReplayEvent {
    /// The daemon began.
    Began {
        /// Its version.
        had: String,
        /// Its node.
        node: NodeName,
    },
    /// Inputs are missing before this, and how many; none if that is not known, as at the beginning of the oldest file.
    Missing(Option<u64>),
    /// A recorded input.
    Input(Event),
    /// An assumed input: the recording has nothing like it.
    Supposed(Event),
    /// From here on the engine with other settings decides differently.
    Parts,
    /// An action of the engine.
    Ordered(Action),
    /// The engine did not do the same as in the daemon.
    Differs,
    /// The engine panicked with this message.
    Fails(String),
    /// A part of the recording cannot be read.
    Unreadable(String),
}

/// When, and what.
pub type ReplayMoment = (Time, ReplayEvent);

/// A replay of a recording.
#[derive(Debug, Default)]
pub struct ReplayPlayer {
    engine: Option<Engine>,
    digest: ActionDigest,
    life: Option<Time>,
    /// The number of the next input.
    next: u64,
    now: Time,
    /// A difference has been reported.
    differs: bool,
}

impl ReplayPlayer {
    /// Plays one item of the recording.
    pub fn play(&mut self, item: RecordingItem) -> Vec<ReplayMoment> {
        let mut moments = Vec::new();
        match item {
            RecordingItem::Start(begin) => {
                self.start_part(*begin, &mut moments);
            }
            RecordingItem::Event(told) => self.input(told, &mut moments),
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

    /// Continues from a recorded state. Returns false if nothing is missing before it: then the replay is already there.
    pub(super) fn start_part(
        &mut self,
        begin: RecordingStart,
        moments: &mut Vec<ReplayMoment>,
    ) -> bool {
        let same_life = self.life == Some(begin.life);
        // The state was written because a file was full, not because something is missing.
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

    pub(super) fn input(&mut self, told: RecordedInput, moments: &mut Vec<ReplayMoment>) {
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
        match handle_or_catch(engine, at, told.event, told.more) {
            // Nothing was decided, and nothing counted.
            Ok(_) if told.more => {}
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

/// Lets the engine handle an event, or only take it in if `more` follows. A recording may end with the one that made it panic.
pub(super) fn handle_or_catch(
    engine: &mut Engine,
    at: Time,
    event: Event,
    more: bool,
) -> Result<Vec<Action>, String> {
    let handle = || {
        if more {
            engine.take(at, event);
            Vec::new()
        } else {
            engine.handle(at, event)
        }
    };
    catch_unwind(AssertUnwindSafe(handle)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("no message").to_owned()
    })
}
