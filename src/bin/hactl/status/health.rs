//! What is monitored, in words: checks of this node, and monitors of running resources.

use had::model::health::{FAILBACK_WHEN, needs_of};
use had::model::status::{CheckState, CheckStatus, WatchStatus};
use had::text::{count, duration_for_people};

use super::{Page, column_width, pad};
use crate::screen::Tone;

impl Page {
    /// The checks of this node. A failing `failback_when` is a problem only of the group that waits for it.
    pub(super) fn add_checks(&mut self, checks: &[CheckStatus]) {
        // What groups need is there as a rule, and nobody has written these checks.
        let quiet = |c: &&CheckStatus| c.state == CheckState::Good && needs_of(&c.name).is_some();
        let checks: Vec<&CheckStatus> = checks.iter().filter(|c| !quiet(c)).collect();
        if checks.is_empty() {
            return;
        }
        self.add_heading("Checks of this node");
        let width = column_width(checks.iter().map(|check| check.name.as_str()));
        for check in checks {
            let name = pad(&check.name, width);
            let text = check_text(check);
            let of_node = check.name != FAILBACK_WHEN;
            if check.state == CheckState::Failed && of_node {
                self.problems += 1;
                self.add_line(Tone::Bad, &format!("! {name}  "), &text);
            } else {
                self.add_line(Tone::Plain, &format!("  {name}  "), &text);
            }
        }
    }
}

fn check_text(check: &CheckStatus) -> String {
    let verdict = match check.state {
        CheckState::Pending if check.name == FAILBACK_WHEN => "no result yet",
        CheckState::Pending => "no result yet, so this node takes no groups",
        CheckState::Good => "passing",
        CheckState::Failed => "failing",
    };
    let mut text = format!("{verdict} for {}", duration_for_people(check.lasts));
    if let Some(looked) = check.looked {
        text += &format!(", last run {} ago", duration_for_people(looked));
        if !check.text.is_empty() {
            text += &format!(": {}", check.text);
        }
    }
    if check.against > 0 {
        let against = usize::try_from(check.against).unwrap_or(usize::MAX);
        let turn = if check.state == CheckState::Failed {
            "passed"
        } else {
            "failed"
        };
        text += &format!(" ({turn} {} since)", count(against, "time"));
    }
    text
}

/// What monitors of a running resource found, if there is more to say than that it runs.
pub(super) fn monitor_text(watch: &WatchStatus) -> Option<String> {
    let mut parts = Vec::new();
    if watch.failing > 0 {
        let error = watch.error.as_deref().unwrap_or("passes again");
        parts.push(format!(
            "monitor failed {} of {} times: {error}",
            watch.failing, watch.fall
        ));
    }
    if watch.restarts > 0 {
        let forgotten = watch.forgotten_in.map_or_else(String::new, |time| {
            let time = duration_for_people(time);
            format!(" (the oldest restart no longer counts in {time})")
        });
        parts.push(format!(
            "restarted in place {} of {} times{forgotten}",
            watch.restarts, watch.budget
        ));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}
