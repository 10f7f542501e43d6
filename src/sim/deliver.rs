//! How events reach the daemon of a machine: frozen ones read later, late ones read all that has arrived at once.

use std::time::Duration;

use super::World;
use super::world::ScheduledEvent;
use crate::engine::Event;
use crate::model::NodeName;

/// A socket keeps this many datagrams for a frozen daemon; later ones are lost.
const MAX_INBOX_EVENTS: usize = 200;
/// Events that a daemon takes together before it decides, as a real one does.
const EVENTS_TOGETHER: usize = 64;
/// A late daemon lets what arrives wait this long at most: it wakes for it, and is late only because others run.
const MAX_READ_LATENESS: Duration = Duration::from_millis(5);

impl World {
    /// Delivers an event to a daemon; a frozen one receives it when it is thawed, and a late one reads it together with what
    /// else has arrived by then.
    pub(super) fn deliver(&mut self, to: &NodeName, event: Event) {
        let Some(machine) = self.machines.get_mut(to) else {
            return;
        };
        if machine.frozen && machine.engine.is_some() && machine.powered {
            if machine.inbox.len() < MAX_INBOX_EVENTS || !matches!(event, Event::Heard { .. }) {
                machine.inbox.push(event);
            }
            return;
        }
        if machine.lateness.is_zero() || !event.can_wait() || !machine.alive() {
            self.read_all(to, Some(event));
            return;
        }
        machine.unread.push(event);
        if machine.unread.len() == 1 {
            let (at, life) = (to.clone(), machine.life);
            let late = machine.lateness.min(MAX_READ_LATENESS);
            let late = self.random.between(Duration::ZERO, late);
            self.schedule(late, ScheduledEvent::Read { at, life });
        }
    }

    /// Lets a daemon read what has arrived, and then one more event. It decides once after as many as a real daemon takes
    /// together. Returns whether it did anything.
    pub(super) fn read_all(&mut self, to: &NodeName, last: Option<Event>) -> bool {
        let Some(machine) = self.machines.get_mut(to) else {
            return false;
        };
        if machine.frozen {
            let unread = std::mem::take(&mut machine.unread);
            machine.inbox.splice(0..0, unread);
            return false;
        }
        let unread = std::mem::take(&mut machine.unread);
        let mut events = unread.into_iter().chain(last).peekable();
        let mut taken = 0;
        let mut did = false;
        while let Some(event) = events.next() {
            taken += 1;
            let more = taken % EVENTS_TOGETHER != 0
                && event.can_wait()
                && events.peek().is_some_and(Event::can_wait);
            did |= self.handle_event(to, event, more);
        }
        did
    }

    /// Lets the engine handle an event, or only take it in if it reads `more` at the same time; returns whether it did
    /// anything.
    fn handle_event(&mut self, to: &NodeName, event: Event, more: bool) -> bool {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(to).filter(|m| m.alive()) else {
            return false;
        };
        let local = machine.clock.local(now);
        let Some(engine) = machine.engine.as_mut() else {
            return false;
        };
        machine.watched.note_event(local, &event, engine);
        if let Some(recording) = &mut machine.recording {
            recording.inputs.push((local, event.clone(), more));
        }
        if more {
            engine.take(local, event);
            return false;
        }
        let actions = engine.handle(local, event);
        let handle_event = !actions.is_empty();
        if handle_event {
            self.ordered.add(&actions);
        }
        self.perform_actions(to, actions);
        self.reschedule(to);
        handle_event
    }
}
