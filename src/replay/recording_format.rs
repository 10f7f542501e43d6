//! What a recording is made of: lines of JSON.
//!
//! A [`RecordingStart`] holds the whole state of the engine, and the events after it are all that it has been told since, so
//! each file that begins with one can be replayed alone. Another one follows where events had to be dropped, and
//! where a daemon began. Events are numbered through the life of a daemon: a gap in the numbers is what is missing.
//!
//! A cluster at rest says the same again and again, so a heartbeat that differs from an earlier one of this part only
//! in its numbers is written as these numbers and which one it repeats. That makes it a tenth as long.

use serde::{Deserialize, Serialize};

use crate::engine::ActionDigest;
use crate::engine::{Engine, Event, PersistentState};
use crate::model::cluster::Cluster;
use crate::model::heartbeat::Heartbeat;
use crate::model::{LinkName, NodeName, Sequence, Time};

/// Changes when older tools can no longer read what is written.
pub const RECORDING_FORMAT: u32 = 2;
/// How every line with a [`RecordingStart`] begins.
const BEGIN: &str = "{\"had recording\":";
/// Heartbeats that can be repeated; those of a thousand groups, some on two links, fit.
const FORMS: usize = 256;
/// The fingerprint stands on each so many-eth line, and on each that is no heartbeat, no deadline and no look that
/// found all well.
const CHECKED: u64 = 16;

/// Where an engine stood when what follows was recorded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordingStart {
    /// [`RECORDING_FORMAT`] of its writer.
    #[serde(rename = "had recording")]
    pub format: u32,
    /// The version of its writer.
    pub had: String,
    /// Whose engine it is.
    pub node: NodeName,
    /// When its daemon began: tells the lives of daemons apart.
    pub life: Time,
    /// The number of the next event in that life.
    pub next: u64,
    /// Now, on the engine's clock.
    pub at: Time,
    /// Now, on the wall clock, in milliseconds since 1970.
    pub wall_ms: u64,
    /// The fingerprint of all orders before.
    pub digest: ActionDigest,
    /// The engine.
    pub state: StartState,
}

/// An engine, or what is needed to make it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum StartState {
    /// A daemon begins.
    Fresh(Box<(Cluster, PersistentState)>),
    /// One that has been running.
    Running(Box<Engine>),
}

/// A line, understood.
#[derive(Clone, Debug)]
pub enum RecordingItem {
    /// A state.
    Start(Box<RecordingStart>),
    /// What the engine was told.
    Event(RecordedInput),
    /// A place that cannot be read; nothing more comes until the next state.
    Unreadable(String),
}

/// What the engine was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedInput {
    /// When.
    pub at: Time,
    /// What.
    pub event: Event,
    /// The fingerprint of all orders before, on some lines.
    pub digest: Option<ActionDigest>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordingLine {
    /// Nanoseconds since the line before.
    d: u64,
    /// The fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    h: Option<ActionDigest>,
    /// A heartbeat again: which, its number, and the numbers that it has heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    a: Option<(usize, Sequence, Vec<Sequence>)>,
    /// Any other event; none is a deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<Event>,
}

/// Heartbeats that can be repeated, the newest in place of the oldest. Writer and reader hold the same.
#[derive(Debug, Default)]
struct HeartbeatForms {
    known: Vec<(LinkName, Heartbeat)>,
    written: usize,
}

impl HeartbeatForms {
    fn find(&self, link: &LinkName, bare: &Heartbeat) -> Option<usize> {
        self.known.iter().position(|(l, h)| l == link && h == bare)
    }

    fn add(&mut self, link: LinkName, bare: Heartbeat) {
        let place = self.written % FORMS;
        self.written = self.written.wrapping_add(1);
        match self.known.get_mut(place) {
            Some(old) => *old = (link, bare),
            None => self.known.push((link, bare)),
        }
    }
}

/// A heartbeat without its numbers, and these.
fn stripped(heartbeat: &Heartbeat) -> (Heartbeat, Vec<Sequence>) {
    let mut bare = heartbeat.clone();
    bare.sequence = Sequence(0);
    let heard = bare.heard.iter_mut();
    let numbers = heard
        .map(|h| std::mem::take(&mut h.sequence))
        .collect::<Vec<_>>();
    (bare, numbers)
}

/// Makes lines.
#[derive(Debug, Default)]
pub struct RecordingEncoder {
    forms: HeartbeatForms,
    last: Time,
    lines: u64,
}

impl RecordingEncoder {
    /// The line of a state; what follows is written as from there.
    pub fn begin(&mut self, begin: &RecordingStart) -> serde_json::Result<Vec<u8>> {
        *self = RecordingEncoder {
            last: begin.at,
            ..RecordingEncoder::default()
        };
        let mut line = serde_json::to_vec(begin)?;
        line.push(b'\n');
        Ok(line)
    }

    /// The line of an event, with the fingerprint of all orders before it.
    pub fn event(
        &mut self,
        at: Time,
        event: Event,
        digest: ActionDigest,
    ) -> serde_json::Result<Vec<u8>> {
        let d = at.0.saturating_sub(self.last.0);
        self.last = self.last.max(at);
        self.lines = self.lines.wrapping_add(1);
        let (mut line, usual) = self.line(d, event);
        line.h = (!usual || self.lines.is_multiple_of(CHECKED)).then_some(digest);
        let mut line = serde_json::to_vec(&line)?;
        line.push(b'\n');
        Ok(line)
    }

    /// As a line, and whether it is one of those that come all the time.
    fn line(&mut self, d: u64, event: Event) -> (RecordingLine, bool) {
        let line = |a, e| RecordingLine { d, h: None, a, e };
        match event {
            Event::DeadlineReached => (line(None, None), true),
            Event::Heard { link, heartbeat } => {
                let (bare, numbers) = stripped(&heartbeat);
                if let Some(form) = self.forms.find(&link, &bare) {
                    return (line(Some((form, heartbeat.sequence, numbers)), None), true);
                }
                self.forms.add(link.clone(), bare);
                (line(None, Some(Event::Heard { link, heartbeat })), false)
            }
            look @ (Event::Monitored { result: Ok(()), .. }
            | Event::Checked { result: Ok(_), .. }) => (line(None, Some(look)), true),
            other => (line(None, Some(other)), false),
        }
    }
}

/// Understands lines.
#[derive(Debug, Default)]
pub struct RecordingDecoder {
    forms: HeartbeatForms,
    last: Option<Time>,
}

impl RecordingDecoder {
    /// What a line says. None after one that could not be read, until the next state.
    pub fn line(&mut self, text: &str) -> Option<Result<RecordingItem, String>> {
        if text.starts_with(BEGIN) {
            let begin = begin(text);
            self.forms = HeartbeatForms::default();
            self.last = begin.as_ref().ok().map(|b| b.at);
            return Some(begin.map(|b| RecordingItem::Start(Box::new(b))));
        }
        let last = self.last?;
        let told = self.told(last, text);
        self.last = told.as_ref().ok().map(|told| told.at);
        Some(told.map(RecordingItem::Event))
    }

    /// Forgets everything: what was read last was no line.
    pub fn lose(&mut self) {
        self.last = None;
    }

    fn told(&mut self, last: Time, text: &str) -> Result<RecordedInput, String> {
        let line: RecordingLine = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let event = match (line.a, line.e) {
            (None, None) => Event::DeadlineReached,
            (None, Some(event)) => self.whole(event),
            (Some((form, number, heard)), None) => self.again(form, number, &heard)?,
            (Some(_), Some(_)) => return Err("it has two events".to_owned()),
        };
        Ok(RecordedInput {
            at: Time(last.0.saturating_add(line.d)),
            event,
            digest: line.h,
        })
    }

    fn whole(&mut self, event: Event) -> Event {
        if let Event::Heard { link, heartbeat } = &event {
            self.forms.add(link.clone(), stripped(heartbeat).0);
        }
        event
    }

    fn again(&self, form: usize, number: Sequence, heard: &[Sequence]) -> Result<Event, String> {
        let known = self.forms.known.get(form);
        let (link, bare) = known.ok_or("it repeats a heartbeat that was not written")?;
        let mut heartbeat = Box::new(bare.clone());
        heartbeat.sequence = number;
        if heard.len() != heartbeat.heard.len() {
            return Err("it repeats a heartbeat with other peers".to_owned());
        }
        for (known, number) in heartbeat.heard.iter_mut().zip(heard) {
            known.sequence = *number;
        }
        let link = link.clone();
        Ok(Event::Heard { link, heartbeat })
    }
}

/// Whether a file that begins so is a recording.
pub fn is_recording(start: &[u8]) -> bool {
    start.starts_with(BEGIN.as_bytes())
}

fn begin(text: &str) -> Result<RecordingStart, String> {
    /// What every format has.
    #[derive(Deserialize)]
    struct Writer {
        #[serde(rename = "had recording")]
        format: u32,
        had: String,
    }
    let writer: Writer = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let own = env!("CARGO_PKG_VERSION");
    let other = |why: String| {
        format!(
            "it was written by had {}, and this is {own} ({why}); replay it with the hactl of that version",
            writer.had
        )
    };
    if writer.format != RECORDING_FORMAT {
        return Err(other(format!(
            "format {}, not {RECORDING_FORMAT}",
            writer.format
        )));
    }
    serde_json::from_str(text).map_err(|e| {
        if writer.had == own {
            e.to_string()
        } else {
            other(e.to_string())
        }
    })
}

#[cfg(test)]
mod tests;
