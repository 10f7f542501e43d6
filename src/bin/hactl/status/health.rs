//! What is watched, in words: checks of this node, and looks at what runs.

use had::model::health::FAILBACK_WHEN;
use had::model::status::{CheckState, CheckStatus, WatchStatus};

use super::{Page, pad, widest};
use crate::screen::Tone;
use had::text::duration_for_people;

impl Page {
    /// The checks of this node. What `failback_when` says is a problem only of a group that waits for it.
    pub(super) fn checks(&mut self, checks: &[CheckStatus]) {
        if checks.is_empty() {
            return;
        }
        self.heading("Checks of this node");
        let width = widest(checks.iter().map(|check| check.name.as_str()));
        for check in checks {
            let name = pad(&check.name, width);
            let text = words(check);
            let of_node = check.name != FAILBACK_WHEN;
            if check.state == CheckState::Failed && of_node {
                self.problems += 1;
                self.line(Tone::Bad, &format!("! {name}  "), &text);
            } else {
                self.line(Tone::Plain, &format!("  {name}  "), &text);
            }
        }
    }
}

fn words(check: &CheckStatus) -> String {
    let verdict = match check.state {
        CheckState::Pending if check.name == FAILBACK_WHEN => "no result yet",
        CheckState::Pending => "no result yet, so this node is no candidate",
        CheckState::Good => "good",
        CheckState::Failed => "fails",
    };
    let mut text = format!("{verdict} for {}", duration_for_people(check.lasts));
    if let Some(looked) = check.looked {
        text += &format!(", looked {} ago", duration_for_people(looked));
        if !check.text.is_empty() {
            text += &format!(": {}", check.text);
        }
    }
    if check.against > 0 {
        let turn = if check.state == CheckState::Failed {
            "passed"
        } else {
            "failed"
        };
        text += &format!(" ({turn} {} times since)", check.against);
    }
    text
}

/// What looks at a running resource have told, where there is more to say than that it runs.
pub(super) fn watched(watch: &WatchStatus) -> Option<String> {
    let mut parts = Vec::new();
    if watch.failing > 0 {
        let error = watch.error.as_deref().unwrap_or("well again");
        parts.push(format!(
            "looked ill {} of {} times: {error}",
            watch.failing, watch.fall
        ));
    }
    if watch.restarts > 0 {
        let forgotten = watch
            .forgotten_in
            .map(duration_for_people)
            .unwrap_or_default();
        parts.push(format!(
            "restarted {} of {} times (one is forgotten in {forgotten})",
            watch.restarts, watch.budget
        ));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}
