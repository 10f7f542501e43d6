//! When each group moved last: a standby that was never needed may not work any more.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use had::model::status::Status;
use had::text::duration_for_people;

use super::{Page, column_width, pad};
use crate::screen::Tone;

impl Page {
    /// A line for each group.
    pub(super) fn add_last_switches(&mut self, status: &Status) {
        if status.groups.is_empty() {
            return;
        }
        self.add_heading("Last switch to another node");
        let width = column_width(status.groups.iter().map(|group| group.name.as_str()));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        for group in &status.groups {
            let name = pad(group.name.as_str(), width);
            // Not "never": the node may not have seen it, or have lost the file that remembers.
            let switch = ago(group.last_switch_ms, now);
            let mut text = switch.unwrap_or_else(|| "none known".to_owned());
            if let Some(drill) = ago(group.last_drill_ms, now) {
                text += &format!(", last drill {drill}");
            }
            self.add_line(Tone::Plain, &format!("  {name}  "), &text);
        }
    }
}

fn ago(at_ms: Option<u64>, now: Duration) -> Option<String> {
    let age = now.saturating_sub(Duration::from_millis(at_ms?));
    let age = Duration::from_secs(age.as_secs());
    Some(format!("{} ago", duration_for_people(age)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_the_unit_that_matters() {
        let now = Duration::from_secs(100 * 86_400);
        let at = |seconds: u64| Some(seconds * 1000);
        assert_eq!(ago(at(6 * 86_400), now).as_deref(), Some("94 days ago"));
        assert_eq!(ago(at(100 * 86_400 - 5), now).as_deref(), Some("5 s ago"));
        // The wall clock was set back.
        assert_eq!(ago(at(101 * 86_400), now).as_deref(), Some("0 s ago"));
        assert_eq!(ago(None, now), None);
    }
}
