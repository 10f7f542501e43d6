//! `hactl replay`: shows what a recording of a daemon contains, in order of time.

mod wording;

use std::process::ExitCode;

use had::config::ha_cf::what_if::{SettingOverrides, differences};
use had::engine::Engine;
use had::model::cluster::Cluster;
use had::model::{JSON_VERSION, Time};
use had::replay::player::{ReplayEvent, ReplayMoment, ReplayPlayer};
use had::replay::recording_format::{RecordingItem, RecordingStart, StartState};
use had::replay::what_if::{Branch, WhatIf};
use had::store::recording_reader::RecordingReader;
use had::sys::local_time::LocalTime;
use had::text::count;
use serde::Serialize;

use crate::Failure;
use crate::args::Replay;
use crate::commands::print_text;
use crate::journal::is_from;
use crate::screen::{Screen, Tone};
use wording::{ReplayLine, ReplayWording};

/// Text is printed in pieces of at least this size.
const MIN_PRINT_BYTES: usize = 64 * 1024;

/// Replays a recording; fails if the engine does not decide the same.
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
    let mut printer = ReplayPrinter::new(args);
    if args.set.is_empty() {
        let mut player = ReplayPlayer::default();
        for item in recording.items() {
            printer.note_item(&item);
            let moments = player.play(item);
            printer.print_events(moments.into_iter().map(|moment| (Branch::Both, moment)))?;
        }
        printer.show_end(&[("", player.engine())]);
    } else {
        let change = |cluster: &Cluster| settings.apply(cluster);
        let mut what_if = WhatIf::new(recording.items(), change);
        for item in recording.items() {
            printer.note_item(&item);
            if let RecordingItem::Start(begin) = &item {
                printer.show_changes(begin, &settings).map_err(refused)?;
            }
            let moments = what_if.play(item).map_err(refused)?;
            printer.print_events(moments.into_iter())?;
        }
        let (recorded, hypothetical) = what_if.engines();
        printer.show_end(&[("- ", recorded), ("+ ", hypothetical)]);
    }
    printer.finish()
}

struct ReplayPrinter<'a> {
    args: &'a Replay,
    screen: Screen,
    words: ReplayWording,
    text: String,
    /// A time on the engine's clock, and the same time on the wall clock in milliseconds.
    clocks: (Time, u64),
    /// The wall clock at the first event.
    first: Option<u64>,
    /// The changed settings, as last shown.
    shown_changes: Option<Vec<String>>,
    diverged: bool,
    events: u64,
    /// The replay is not what the daemon did.
    unreliable: bool,
}

/// An event for programs.
#[derive(Serialize)]
struct JsonLine<'a> {
    schema: u32,
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
            clocks: (Time::ZERO, 0),
            first: None,
            shown_changes: None,
            diverged: false,
            events: 0,
            unreliable: false,
        }
    }

    /// Notes the wall clock, the steps of the groups and the number of events.
    fn note_item(&mut self, item: &RecordingItem) {
        match item {
            RecordingItem::Start(begin) => {
                self.clocks = (begin.at, begin.wall_ms);
                self.first = self.first.or(Some(begin.wall_ms));
                self.words.learn(recorded_cluster(begin));
            }
            RecordingItem::Event(_) => self.events = self.events.saturating_add(1),
            RecordingItem::Unreadable(_) => {}
        }
    }

    fn wall_ms(&self, at: Time) -> u64 {
        let (known, wall) = self.clocks;
        let ms = |later: Time, earlier: Time| {
            u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX)
        };
        wall.saturating_add(ms(at, known))
            .saturating_sub(ms(known, at))
    }

    /// Shows the changed settings, whenever they change.
    fn show_changes(
        &mut self,
        begin: &RecordingStart,
        settings: &SettingOverrides,
    ) -> Result<(), String> {
        let cluster = recorded_cluster(begin);
        let changes = differences(cluster, &settings.apply(cluster)?);
        if self.shown_changes.as_ref() != Some(&changes) && !self.args.json {
            let what = if changes.is_empty() {
                "no setting changes".to_owned()
            } else {
                changes.join(", ")
            };
            self.note(&format!("with changed settings: {what}"));
            self.note(
                "the other nodes behave as recorded: how they would have reacted is not known",
            );
            if !matches!(begin.state, StartState::Fresh(_)) {
                self.note("the recording begins in the middle of a daemon's life, so a changed initdead has no effect");
            }
        }
        self.shown_changes = Some(changes);
        Ok(())
    }

    fn print_events(
        &mut self,
        moments: impl Iterator<Item = (Branch, ReplayMoment)>,
    ) -> Result<(), Failure> {
        for (world, (at, seen)) in moments {
            self.unreliable |= matches!(seen, ReplayEvent::Differs | ReplayEvent::Fails(_));
            match seen {
                ReplayEvent::Parts => self.diverged = true,
                ReplayEvent::Began { .. } | ReplayEvent::Missing(_) => self.diverged = false,
                _ => {}
            }
            let line = self.words.describe(world, &seen);
            let wall = self.wall_ms(at);
            if let Some(line) = line
                && self.in_time(wall)
            {
                if self.args.json {
                    let json = JsonLine {
                        schema: JSON_VERSION,
                        at_ms: wall,
                        world,
                        seen: &seen,
                    };
                    let json = serde_json::to_string(&json).map_err(Failure::failed)?;
                    self.text += &(json + "\n");
                } else {
                    self.print_line(world, wall, &line);
                }
            }
        }
        if self.text.len() >= MIN_PRINT_BYTES {
            print_text(&std::mem::take(&mut self.text))?;
        }
        Ok(())
    }

    fn in_time(&self, wall: u64) -> bool {
        let (from, to) = (self.args.from.as_deref(), self.args.to.as_deref());
        from.is_none_or(|from| is_from(wall, from)) && to.is_none_or(|to| !is_from(wall, to))
    }

    fn print_line(&mut self, world: Branch, wall: u64, line: &ReplayLine) {
        let mark = match world {
            Branch::Both => "",
            Branch::Recorded => "- ",
            Branch::Hypothetical => "+ ",
        };
        let time = LocalTime::from_unix(wall / 1000);
        let since = wall.saturating_sub(self.first.unwrap_or(wall));
        let (seconds, ms) = (since / 1000, since % 1000);
        let stamp = format!("{time}.{:03}  +{seconds}.{ms:03}", wall % 1000);
        let text = format!("{mark}{}", line.text);
        self.text += &match line.level {
            Some(level) => crate::journal::format_line(&stamp, level, &text, self.screen),
            None => self
                .screen
                .wrap(Tone::Plain, &format!("{stamp}  {:<7}  ", line.word), &text),
        };
    }

    /// Shows the states of the groups at the end.
    fn show_end(&mut self, worlds: &[(&str, Option<&Engine>)]) {
        if self.args.json {
            return;
        }
        let diverged = self.diverged;
        let events = usize::try_from(self.events).unwrap_or(usize::MAX);
        self.note(&format!(
            "the recording ends after {}",
            count(events, "event")
        ));
        for (mark, engine) in worlds {
            let mark = if diverged { mark } else { "" };
            let text = engine.map_or("the daemon has ended".to_owned(), group_states);
            self.note(&format!("{mark}{text}"));
            if !diverged {
                break;
            }
        }
        if !self.args.set.is_empty() && !diverged {
            self.note("with these settings the decisions are the same");
        }
        if self.unreliable {
            self.note("the replay differs from what the daemon did: do not rely on it");
        }
    }

    fn note(&mut self, text: &str) {
        self.text += &self.screen.wrap(Tone::Heading, "== ", text);
    }

    fn finish(self) -> Result<ExitCode, Failure> {
        print_text(&self.text)?;
        Ok(if self.unreliable {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn recorded_cluster(begin: &RecordingStart) -> &Cluster {
    match &begin.state {
        StartState::Fresh(start) => &start.0,
        StartState::Running(engine) => engine.cluster(),
    }
}

/// The states of all groups on the engine's node.
fn group_states(engine: &Engine) -> String {
    let status = engine.status(Time::ZERO);
    let group = |g: &had::model::status::GroupStatus| {
        let state = g.states.first().map_or("unknown", |(_, s)| s.as_str());
        format!("{} is {state}", g.name)
    };
    let all: Vec<String> = status.groups.iter().map(group).collect();
    format!("on {}: {}", status.node, all.join(", "))
}
