//! The format of a recording: lines of JSON.
//!
//! A [`RecordingStart`] holds the whole state of the engine, and the lines after it are all its inputs since then, so each
//! file can be replayed alone. Another one follows where inputs had to be dropped and where a daemon started. Inputs are
//! numbered through the life of a daemon, so a gap in the numbers shows how many are missing.
//!
//! Heartbeats of an idle cluster hardly differ. So a heartbeat that differs from an earlier one only in its numbers is
//! written as these numbers and a reference to the earlier one. That makes a recording a tenth as long.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::engine::ActionDigest;
use crate::engine::{Engine, Event, PersistentState};
use crate::model::cluster::Cluster;
use crate::model::heartbeat::Heartbeat;
use crate::model::{LinkName, NodeName, Sequence, Time};

/// Incremented when older tools can no longer read what is written.
pub const RECORDING_FORMAT: u32 = 2;
/// The beginning of every line with a [`RecordingStart`].
const BEGIN: &str = "{\"had recording\":";
/// Heartbeats that can be referred to; enough for a thousand groups, some on two links.
const MAX_FORMS: usize = 256;
/// Every 16th line has a fingerprint, and every line that is not a heartbeat, a deadline or a passing monitor.
const DIGEST_EVERY: u64 = 16;

/// The state of an engine before the inputs that follow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordingStart {
    /// The [`RECORDING_FORMAT`] of the writer.
    #[serde(rename = "had recording")]
    pub format: u32,
    /// The version of the writer.
    pub had: String,
    /// The node of the engine.
    pub node: NodeName,
    /// When the daemon started; distinguishes the lives of daemons.
    pub life: Time,
    /// The number of the next input in that life.
    pub next: u64,
    /// Now, on the engine's clock.
    pub at: Time,
    /// Now, on the wall clock, in milliseconds since 1970.
    pub wall_ms: u64,
    /// The fingerprint of all actions before.
    pub digest: ActionDigest,
    /// The engine.
    pub state: StartState,
}

/// An engine, or what a new one is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum StartState {
    /// The daemon starts.
    Fresh(Box<(Cluster, PersistentState)>),
    /// The engine of a running daemon.
    Running(Box<Engine>),
}

/// A line of a recording.
#[derive(Clone, Debug)]
pub enum RecordingItem {
    /// A state.
    Start(Box<RecordingStart>),
    /// An input.
    Event(RecordedInput),
    /// A part that cannot be read; nothing more comes until the next state.
    Unreadable(String),
}

/// An input of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedInput {
    /// When.
    pub at: Time,
    /// What.
    pub event: Event,
    /// The engine decided only after the next one.
    pub more: bool,
    /// The fingerprint of all actions before. Not on every line.
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
    /// A repeated heartbeat: a reference to the earlier one, its number, and the numbers that it has heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    a: Option<(usize, Sequence, Vec<Sequence>)>,
    /// The engine took it in and decided after the next one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    m: bool,
    /// Any other event; none means a deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<Event>,
}

/// Heartbeats that can be referred to, the newest in place of the oldest. Writer and reader hold the same.
#[derive(Debug, Default)]
struct HeartbeatForms {
    known: Vec<(LinkName, Option<IpAddr>, Heartbeat)>,
    written: usize,
}

impl HeartbeatForms {
    fn find(&self, link: &LinkName, from: Option<IpAddr>, bare: &Heartbeat) -> Option<usize> {
        let mut known = self.known.iter();
        known.position(|(l, f, h)| l == link && *f == from && h == bare)
    }

    fn add(&mut self, link: LinkName, from: Option<IpAddr>, bare: Heartbeat) {
        let place = self.written % MAX_FORMS;
        self.written = self.written.wrapping_add(1);
        match self.known.get_mut(place) {
            Some(old) => *old = (link, from, bare),
            None => self.known.push((link, from, bare)),
        }
    }
}

/// A heartbeat without its numbers, and the numbers.
fn stripped(heartbeat: &Heartbeat) -> (Heartbeat, Vec<Sequence>) {
    let mut bare = heartbeat.clone();
    bare.sequence = Sequence(0);
    let heard = bare.heard.iter_mut();
    let numbers = heard
        .map(|h| std::mem::take(&mut h.sequence))
        .collect::<Vec<_>>();
    (bare, numbers)
}

/// Writes the lines of a recording.
#[derive(Debug, Default)]
pub struct RecordingEncoder {
    forms: HeartbeatForms,
    last: Time,
    lines: u64,
}

impl RecordingEncoder {
    /// The line of a state; the following lines refer to it.
    pub fn start_line(&mut self, begin: &RecordingStart) -> serde_json::Result<Vec<u8>> {
        *self = RecordingEncoder {
            last: begin.at,
            ..RecordingEncoder::default()
        };
        let mut line = serde_json::to_vec(begin)?;
        line.push(b'\n');
        Ok(line)
    }

    /// The line of an input.
    pub fn input_line(&mut self, input: RecordedInput) -> serde_json::Result<Vec<u8>> {
        let d = input.at.0.saturating_sub(self.last.0);
        self.last = self.last.max(input.at);
        self.lines = self.lines.wrapping_add(1);
        let (mut line, usual) = self.line(d, input.event);
        let fingerprint = !usual || self.lines.is_multiple_of(DIGEST_EVERY);
        line.h = input.digest.filter(|_| fingerprint);
        line.m = input.more;
        let mut line = serde_json::to_vec(&line)?;
        line.push(b'\n');
        Ok(line)
    }

    /// The line, and whether it is of a kind that comes all the time.
    fn line(&mut self, d: u64, event: Event) -> (RecordingLine, bool) {
        let line = |a, e| RecordingLine {
            d,
            h: None,
            a,
            m: false,
            e,
        };
        match event {
            Event::DeadlineReached => (line(None, None), true),
            Event::Heard {
                link,
                from,
                heartbeat,
            } => {
                let (bare, numbers) = stripped(&heartbeat);
                if let Some(form) = self.forms.find(&link, from, &bare) {
                    return (line(Some((form, heartbeat.sequence, numbers)), None), true);
                }
                self.forms.add(link.clone(), from, bare);
                let heard = Event::Heard {
                    link,
                    from,
                    heartbeat,
                };
                (line(None, Some(heard)), false)
            }
            look @ (Event::Monitored { result: Ok(()), .. }
            | Event::Checked { result: Ok(_), .. }) => (line(None, Some(look)), true),
            other => (line(None, Some(other)), false),
        }
    }
}

/// Reads the lines of a recording.
#[derive(Debug, Default)]
pub struct RecordingDecoder {
    forms: HeartbeatForms,
    last: Option<Time>,
}

impl RecordingDecoder {
    /// Reads a line. None after one that could not be read, until the next state.
    pub fn line(&mut self, text: &str) -> Option<Result<RecordingItem, String>> {
        if text.starts_with(BEGIN) {
            let begin = decode_start(text);
            self.forms = HeartbeatForms::default();
            self.last = begin.as_ref().ok().map(|b| b.at);
            return Some(begin.map(|b| RecordingItem::Start(Box::new(b))));
        }
        let last = self.last?;
        let told = self.decode_input(last, text);
        self.last = told.as_ref().ok().map(|told| told.at);
        Some(told.map(RecordingItem::Event))
    }

    /// Skips everything until the next state, because the last line was damaged.
    pub fn skip_to_next_state(&mut self) {
        self.last = None;
    }

    fn decode_input(&mut self, last: Time, text: &str) -> Result<RecordedInput, String> {
        let line: RecordingLine = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let event = match (line.a, line.e) {
            (None, None) => Event::DeadlineReached,
            (None, Some(event)) => self.whole(event),
            (Some((form, number, heard)), None) => self.again(form, number, &heard)?,
            (Some(_), Some(_)) => return Err("a line has two events".to_owned()),
        };
        Ok(RecordedInput {
            at: Time(last.0.saturating_add(line.d)),
            event,
            more: line.m,
            digest: line.h,
        })
    }

    fn whole(&mut self, event: Event) -> Event {
        if let Event::Heard {
            link,
            from,
            heartbeat,
        } = &event
        {
            self.forms.add(link.clone(), *from, stripped(heartbeat).0);
        }
        event
    }

    fn again(&self, form: usize, number: Sequence, heard: &[Sequence]) -> Result<Event, String> {
        let known = self.forms.known.get(form);
        let (link, from, bare) = known.ok_or("a line repeats a heartbeat that is not there")?;
        let mut heartbeat = Box::new(bare.clone());
        heartbeat.sequence = number;
        if heard.len() != heartbeat.heard.len() {
            return Err("a line repeats a heartbeat with other peers".to_owned());
        }
        for (known, number) in heartbeat.heard.iter_mut().zip(heard) {
            known.sequence = *number;
        }
        Ok(Event::Heard {
            link: link.clone(),
            from: *from,
            heartbeat,
        })
    }
}

/// Whether a file with this beginning is a recording.
pub fn is_recording(start: &[u8]) -> bool {
    start.starts_with(BEGIN.as_bytes())
}

fn decode_start(text: &str) -> Result<RecordingStart, String> {
    /// What every version of the format has.
    #[derive(Deserialize)]
    struct WriterVersion {
        #[serde(rename = "had recording")]
        format: u32,
        had: String,
    }
    let writer: WriterVersion = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let own = env!("CARGO_PKG_VERSION");
    let other = |why: String| {
        format!(
            "it was written by had {}, and this is version {own} ({why}); use the hactl of that version",
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
