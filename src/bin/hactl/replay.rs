//! `hactl replay`: what a daemon recorded, told in the order of time.

mod wording;

use std::process::ExitCode;

use had::config::ha_cf::what_if::{SettingOverrides, differences};
use had::engine::Engine;
use had::model::Time;
use had::model::cluster::Cluster;
use had::replay::player::{ReplayEvent, ReplayMoment, ReplayPlayer};
use had::replay::recording_format::{RecordingItem, RecordingStart, StartState};
use had::replay::what_if::{Branch, WhatIf};
use had::store::recording_reader::RecordingReader;
use had::sys::local_time::LocalTime;
use serde::Serialize;

use crate::Failure;
use crate::args::Replay;
use crate::commands::print_text;
use crate::screen::{Screen, Tone};
use wording::{ReplayLine, ReplayWording};

/// Text is printed when so much of it has come together.
const ENOUGH: usize = 64 * 1024;

/// Replays, and says whether the recording was true.
pub fn run(args: &Replay) -> Result<ExitCode, Failure> {
    let refused = |text: String| Failure {
        code: Failure::FAILED,
        text,
    };
    let settings =
        SettingOverrides::read(args.set.iter().map(String::as_str)).map_err(|text| Failure {
            code: Failure::USAGE,
            text: format!("--set {text}"),
        })?;
    let recording = RecordingReader::open(&args.path).map_err(refused)?;
    let mut teller = ReplayPrinter::new(args);
    if args.set.is_empty() {
        let mut player = ReplayPlayer::default();
        for item in recording.items() {
            teller.clock(&item);
            let moments = player.play(item);
            teller.tell(moments.into_iter().map(|moment| (Branch::Both, moment)))?;
        }
        teller.ends(&[("", player.engine())]);
    } else {
        let change = |cluster: &Cluster| settings.apply(cluster);
        let mut what_if = WhatIf::new(recording.items(), change);
        for item in recording.items() {
            teller.clock(&item);
            if let RecordingItem::Start(begin) = &item {
                teller.suppose(begin, &settings).map_err(refused)?;
            }
            let moments = what_if.play(item).map_err(refused)?;
            teller.tell(moments.into_iter())?;
        }
        let (was, would) = what_if.engines();
        teller.ends(&[("- ", was), ("+ ", would)]);
    }
    teller.finish()
}

struct ReplayPrinter<'a> {
    args: &'a Replay,
    screen: Screen,
    words: ReplayWording,
    text: String,
    /// A moment on the engine's clock, and on the wall clock in milliseconds.
    known: (Time, u64),
    /// The first moment of all.
    first: Option<u64>,
    supposed: Option<Vec<String>>,
    parted: bool,
    events: u64,
    trouble: bool,
}

/// A moment for programs.
#[derive(Serialize)]
struct JsonLine<'a> {
    at_ms: u64,
    world: Branch,
    seen: &'a ReplayEvent,
}

impl<'a> ReplayPrinter<'a> {
    fn new(args: &'a Replay) -> ReplayPrinter<'a> {
        ReplayPrinter {
            args,
            screen: Screen::stdout(),
            words: ReplayWording::new(args.events),
            text: String::new(),
            known: (Time::ZERO, 0),
            first: None,
            supposed: None,
            parted: false,
            events: 0,
            trouble: false,
        }
    }

    /// Learns from the item what the wall clock shows.
    fn clock(&mut self, item: &RecordingItem) {
        match item {
            RecordingItem::Start(begin) => {
                self.known = (begin.at, begin.wall_ms);
                self.first = self.first.or(Some(begin.wall_ms));
                self.words.learn(cluster_of(begin));
            }
            RecordingItem::Event(_) => self.events = self.events.saturating_add(1),
            RecordingItem::Unreadable(_) => {}
        }
    }

    fn wall_ms(&self, at: Time) -> u64 {
        let (known, wall) = self.known;
        let ms = |later: Time, earlier: Time| {
            u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX)
        };
        wall.saturating_add(ms(at, known))
            .saturating_sub(ms(known, at))
    }

    /// Says what is supposed, whenever that changes.
    fn suppose(
        &mut self,
        begin: &RecordingStart,
        settings: &SettingOverrides,
    ) -> Result<(), String> {
        let cluster = cluster_of(begin);
        let changes = differences(cluster, &settings.apply(cluster)?);
        if self.supposed.as_ref() != Some(&changes) && !self.args.json {
            let what = if changes.is_empty() {
                "nothing would be other than it was".to_owned()
            } else {
                changes.join(", ")
            };
            self.note(&format!("what if: {what}"));
            self.note("the other nodes do as they did; what they would have answered to a different course is not known");
            if !matches!(begin.state, StartState::Fresh(_)) {
                self.note("this begins in the middle of a daemon's life: initdead, which counts from its beginning, changes nothing");
            }
        }
        self.supposed = Some(changes);
        Ok(())
    }

    fn tell(
        &mut self,
        moments: impl Iterator<Item = (Branch, ReplayMoment)>,
    ) -> Result<(), Failure> {
        for (world, (at, seen)) in moments {
            self.trouble |= matches!(seen, ReplayEvent::Differs | ReplayEvent::Fails(_));
            match seen {
                ReplayEvent::Parts => self.parted = true,
                ReplayEvent::Began { .. } | ReplayEvent::Missing(_) => self.parted = false,
                _ => {}
            }
            let said = self.words.of(world, &seen);
            let wall = self.wall_ms(at);
            if let Some(said) = said
                && self.in_time(wall)
            {
                if self.args.json {
                    let line = JsonLine {
                        at_ms: wall,
                        world,
                        seen: &seen,
                    };
                    let line = serde_json::to_string(&line).map_err(|e| Failure::failed(e))?;
                    self.text += &(line + "\n");
                } else {
                    self.line(world, wall, &said);
                }
            }
        }
        if self.text.len() >= ENOUGH {
            print_text(&std::mem::take(&mut self.text))?;
        }
        Ok(())
    }

    fn in_time(&self, wall: u64) -> bool {
        let stamp = LocalTime::from_unix(wall / 1000).to_string();
        let like = |wanted: &str| {
            let skip = if wanted.contains(' ') { 0 } else { 11 };
            stamp.get(skip..).unwrap_or_default()
        };
        let from = self.args.from.as_deref();
        let to = self.args.to.as_deref();
        from.is_none_or(|from| like(from) >= from) && to.is_none_or(|to| like(to) < to)
    }

    fn line(&mut self, world: Branch, wall: u64, said: &ReplayLine) {
        let mark = match world {
            Branch::Both => "",
            Branch::Recorded => "- ",
            Branch::Hypothetical => "+ ",
        };
        let time = LocalTime::from_unix(wall / 1000);
        let since = wall.saturating_sub(self.first.unwrap_or(wall));
        let (seconds, ms) = (since / 1000, since % 1000);
        let stamp = format!("{time}.{:03}  +{seconds}.{ms:03}", wall % 1000);
        let text = format!("{mark}{}", said.text);
        self.text += &match said.level {
            Some(level) => crate::journal::format_line(&stamp, level, &text, self.screen),
            None => self
                .screen
                .wrap(Tone::Plain, &format!("{stamp}  {:<7}  ", said.word), &text),
        };
    }

    /// Who has what at the end.
    fn ends(&mut self, worlds: &[(&str, Option<&Engine>)]) {
        if self.args.json {
            return;
        }
        let parted = self.parted;
        self.note(&format!("the recording ends, after {} events", self.events));
        for (mark, engine) in worlds {
            let mark = if parted { mark } else { "" };
            let text = engine.map_or("there is no engine any more".to_owned(), states);
            self.note(&format!("{mark}{text}"));
            if !parted {
                break;
            }
        }
        if !self.args.set.is_empty() && !parted {
            self.note("with these settings nothing would have been decided otherwise since the last beginning");
        }
        if self.trouble {
            self.note("the replay is not what was: do not rely on it");
        }
    }

    fn note(&mut self, text: &str) {
        self.text += &self.screen.wrap(Tone::Heading, "== ", text);
    }

    fn finish(self) -> Result<ExitCode, Failure> {
        print_text(&self.text)?;
        Ok(if self.trouble {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn cluster_of(begin: &RecordingStart) -> &Cluster {
    match &begin.state {
        StartState::Fresh(start) => &start.0,
        StartState::Running(engine) => engine.cluster(),
    }
}

/// The groups as the engine's node has them.
fn states(engine: &Engine) -> String {
    let status = engine.status(Time::ZERO);
    let group = |g: &had::model::status::GroupStatus| {
        let state = g.states.first().map_or("unknown", |(_, s)| s.as_str());
        format!("{} is {state}", g.name)
    };
    let all: Vec<String> = status.groups.iter().map(group).collect();
    format!("on {}: {}", status.node, all.join(", "))
}
