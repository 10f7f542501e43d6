//! The engine, and the recording of what it is told.

use std::ops::Deref;

use crate::engine::{Action, Engine, Event, PersistentState};
use crate::model::Time;
use crate::model::cluster::Cluster;
use crate::store::recording_writer::RecordingFeed;

/// The engine of the heartbeat thread.
pub struct RecordingEngine {
    engine: Engine,
    /// Where what it is told is recorded.
    pub feed: Option<RecordingFeed>,
}

impl RecordingEngine {
    /// With its first orders.
    pub fn new(
        mut feed: Option<RecordingFeed>,
        cluster: Cluster,
        kept: PersistentState,
        now: Time,
    ) -> (RecordingEngine, Vec<Action>) {
        if let Some(feed) = &mut feed {
            feed.fresh(now, &cluster, &kept);
        }
        let (engine, first) = Engine::new(cluster, kept, now);
        if let Some(feed) = &mut feed {
            feed.ordered(&first);
        }
        (RecordingEngine { engine, feed }, first)
    }

    /// Tells the engine, and the recording before it: the fact that makes the engine fail is the one to be kept.
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        if let Some(feed) = &mut self.feed {
            feed.tell(now, &event, &self.engine);
        }
        let actions = self.engine.handle(now, event);
        if let Some(feed) = &mut self.feed {
            feed.ordered(&actions);
        }
        actions
    }
}

impl Deref for RecordingEngine {
    type Target = Engine;
    fn deref(&self) -> &Engine {
        &self.engine
    }
}
