//! Journal entries as text.

use had::control::api::HISTORY_MAX;
use had::model::decision::Level;
use had::model::journal::Entry;
use had::sys::local_time::LocalTime;

use crate::screen::{Screen, Tone};

/// The entries as lines, oldest first.
pub fn render_entries(entries: &[Entry], screen: Screen) -> String {
    entries
        .iter()
        .map(|entry| format_entry(entry, screen))
        .collect()
}

/// The number of entries to ask for, at most what the daemon gives.
pub fn limit_entries(wanted: usize) -> usize {
    wanted.min(HISTORY_MAX)
}

fn format_entry(entry: &Entry, screen: Screen) -> String {
    let time = LocalTime::from_unix(entry.at_ms / 1000);
    let time = format!("{time}.{:03}", entry.at_ms % 1000);
    format_line(&time, entry.level, &entry.text, screen)
}

/// A sentence with its time and its level.
pub fn format_line(time: &str, level: Level, text: &str, screen: Screen) -> String {
    let (word, tone) = match level {
        Level::Info => ("info   ", Tone::Plain),
        Level::Warning => ("warning", Tone::Plain),
        Level::Error => ("error  ", Tone::Bad),
    };
    screen.wrap(tone, &format!("{time}  {word}  "), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use had::model::GroupName;
    use had::model::decision::{Because, Decision, What};

    #[test]
    fn an_entry_is_a_line_with_time_level_and_sentence() {
        let group = GroupName::new("web");
        let stuck = Decision::group(&group, What::Stuck, Because::Agent("busy".into()));
        let entry = Entry::new(1_768_500_000_123, stuck);
        let screen = Screen {
            width: 60,
            colour: false,
            rows: None,
        };
        let text = render_entries(&[entry], screen);
        let (time, rest) = text.split_at(23);
        assert!(
            time.starts_with("2026-01-1") && time.ends_with(".123"),
            "{time}"
        );
        assert_eq!(
            rest,
            "  error    web: stuck: its stop\n                                  failed, so it may still\n                                  run here: busy; stop it by\n                                  hand, then run hactl clear\n                                  web\n"
        );
    }
}
