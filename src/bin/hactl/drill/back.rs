//! Whether the node that gave a group away may take it back yet. An order to take over overrides `failback_when`, so the drill
//! asks itself.

use std::time::Duration;

use had::model::health::FAILBACK_WHEN;
use had::model::readiness::TOLD_WITHIN;
use had::model::status::{CheckState, CheckStatus, Status};
use had::model::{GroupName, NodeName};
use had::text::duration_for_people;

/// What a node told while it ran the group says nothing of whether it could take it back.
pub const LOOKED_AGAIN: Duration = TOLD_WITHIN;

/// Why this node should not take the group back now that it gave it away so long ago; none when it is ready.
pub fn obstacles(
    status: &Status,
    group: &GroupName,
    origin: &NodeName,
    ago: Duration,
) -> Vec<String> {
    let Some(group) = status.groups.iter().find(|g| g.name == *group) else {
        return vec!["it is no longer in haresources".to_owned()];
    };
    let mut reasons = status.not_ready_to_move(group, Some(origin));
    let asked = status.is_asked_failback_when(origin);
    let checks = status.checks.iter().filter(|_| asked);
    let asks = checks.filter(|c| c.name == FAILBACK_WHEN);
    reasons.extend(asks.filter_map(|check| old_answer(check, ago)));
    if reasons.is_empty() && ago < LOOKED_AGAIN {
        let time = duration_for_people(LOOKED_AGAIN);
        reasons.push(format!(
            "{origin} has had less than {time} to look at itself"
        ));
    }
    reasons
}

/// A result from before the move, or one that contradicts those before it.
fn old_answer(check: &CheckStatus, ago: Duration) -> Option<String> {
    if check.looked.is_none_or(|looked| looked >= ago) {
        return Some("failback_when has not been asked since the group left".to_owned());
    }
    let fails = check.state == CheckState::Good && check.against > 0;
    fails.then(|| format!("failback_when has failed: {}", check.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(looked: Option<u64>, against: u32) -> CheckStatus {
        CheckStatus {
            name: FAILBACK_WHEN.to_owned(),
            state: CheckState::Good,
            lasts: Duration::from_secs(900),
            against,
            looked: looked.map(Duration::from_secs),
            lag: None,
            text: "lag 9 s".to_owned(),
        }
    }

    #[test]
    fn an_answer_from_before_the_move_does_not_count() {
        let answer = |looked, against| old_answer(&check(looked, against), Duration::from_secs(5));
        let old = "failback_when has not been asked since the group left";
        assert_eq!(answer(Some(7), 0).as_deref(), Some(old));
        assert_eq!(answer(None, 0).as_deref(), Some(old));
        assert_eq!(answer(Some(2), 0), None);
        let failed = answer(Some(2), 1);
        assert_eq!(failed.as_deref(), Some("failback_when has failed: lag 9 s"));
    }
}
