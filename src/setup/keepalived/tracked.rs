//! Reads what is watched: `vrrp_script`, `vrrp_track_process`, and the lists that name them.

use std::time::Duration;

use super::blocks::Entry;
use super::instance::seconds;
use super::keywords;
use super::model::{Track, TrackKind, Tracked, TrackedKind};
use crate::text::Problems;

/// Larger numbers of failures in a row are mistakes.
const MAX_IN_A_ROW: u32 = 1000;

/// Reads `vrrp_script NAME` or `vrrp_track_process NAME`.
pub fn read(entry: &Entry, report: &mut Problems) -> Option<Tracked> {
    let Some(name) = entry.value() else {
        report.warning(&entry.place(), "this has no name", "");
        return None;
    };
    let is_script = entry.keyword() == "vrrp_script";
    let mut command = None;
    let mut tracked = Tracked {
        kind: TrackedKind::Process(name.clone()),
        name: name.clone(),
        interval: Duration::from_secs(1),
        timeout: None,
        fall: 1,
        rise: 1,
        weight: 0,
    };
    for line in &entry.body {
        let value = line.value();
        let number = || value.and_then(|w| w.text.parse::<u32>().ok());
        let in_a_row = || number().map_or(1, |n| n.clamp(1, MAX_IN_A_ROW));
        match (line.keyword(), is_script) {
            ("script", true) | ("process", false) => command = Some(joined(line)),
            ("interval", true) => {
                let time = value.and_then(|word| seconds(word, report));
                tracked.interval = time.filter(|t| !t.is_zero()).unwrap_or(tracked.interval);
            }
            ("timeout", true) => {
                tracked.timeout = value
                    .and_then(|word| seconds(word, report))
                    .filter(|t| !t.is_zero());
            }
            ("fall", true) => tracked.fall = in_a_row(),
            ("rise", true) => tracked.rise = in_a_row(),
            ("weight", _) => tracked.weight = value.and_then(|w| w.text.parse().ok()).unwrap_or(0),
            (_, true) => {
                let read = ["script", "interval", "timeout", "fall", "rise", "weight"];
                keywords::remark(line, keywords::SCRIPT, &read, report);
            }
            (_, false) => keywords::remark(line, keywords::PROCESS, &["process", "weight"], report),
        }
    }
    let Some(word) = command.flatten() else {
        let message = "this checks nothing: it names no command";
        report.warning(&name.place, message, "");
        return None;
    };
    tracked.kind = if is_script {
        TrackedKind::Script(word)
    } else {
        TrackedKind::Process(word)
    };
    Some(tracked)
}

/// The value of a line. Older files write a command without quotation marks.
fn joined(line: &Entry) -> Option<super::lexer::Word> {
    let mut word = line.value()?.clone();
    for more in line.words.iter().skip(2) {
        word.text.push(' ');
        word.text += &more.text;
    }
    Some(word)
}

/// Reads the list in `track_script`, `track_process` or `track_interface`.
pub fn read_tracks(entry: &Entry, report: &mut Problems) -> Vec<Track> {
    let kind = match entry.keyword() {
        "track_script" => TrackKind::Script,
        "track_process" => TrackKind::Process,
        _ => TrackKind::Interface,
    };
    let mut tracks = Vec::new();
    for row in &entry.body {
        let Some(name) = row.words.first() else {
            continue;
        };
        let mut track = Track {
            kind,
            name: name.clone(),
            weight: None,
        };
        let mut words = row.words.iter().skip(1);
        while let Some(word) = words.next() {
            match word.text.as_str() {
                "weight" => track.weight = words.next().and_then(|w| w.text.parse().ok()),
                "reverse" => {
                    let message = "a check cannot be reversed";
                    let help = "turn the result of its program around";
                    report.warning(&word.place, message, help);
                }
                other => keywords::report_unknown(&word.place, other, &["weight"], false, report),
            }
        }
        tracks.push(track);
    }
    tracks
}
