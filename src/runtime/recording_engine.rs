//! The engine with a recording of its inputs.

use std::ops::Deref;

use crate::engine::{Action, Engine, Event, PersistentState};
use crate::model::Time;
use crate::model::cluster::Cluster;
use crate::store::recording_writer::RecordingFeed;

/// The engine of the heartbeat thread.
pub struct RecordingEngine {
    engine: Engine,
    /// Where its inputs are recorded, if anywhere.
    pub feed: Option<RecordingFeed>,
}

impl RecordingEngine {
    /// Starts the engine; its first orders come with it.
    pub fn new(
        mut feed: Option<RecordingFeed>,
        cluster: Cluster,
        kept: PersistentState,
        now: Time,
    ) -> (RecordingEngine, Vec<Action>) {
        if let Some(feed) = &mut feed {
            feed.record_start(now, &cluster, &kept);
        }
        let (engine, first) = Engine::new(cluster, kept, now);
        if let Some(feed) = &mut feed {
            feed.record_actions(&first);
        }
        (RecordingEngine { engine, feed }, first)
    }

    /// Gives an event to the engine. It is recorded first, so that an event that makes the engine panic is in the recording.
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        if let Some(feed) = &mut self.feed {
            feed.record_event(now, &event, false, &self.engine);
        }
        let actions = self.engine.handle(now, event);
        if let Some(feed) = &mut self.feed {
            feed.record_actions(&actions);
        }
        actions
    }

    /// Lets the engine take in an event with which more has arrived.
    pub fn take(&mut self, now: Time, event: Event) {
        if let Some(feed) = &mut self.feed {
            feed.record_event(now, &event, true, &self.engine);
        }
        self.engine.take(now, event);
    }
}

impl Deref for RecordingEngine {
    type Target = Engine;
    fn deref(&self) -> &Engine {
        &self.engine
    }
}
