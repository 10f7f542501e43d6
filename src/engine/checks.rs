//! Rule 22: a node that fails a check is no candidate, and its groups move to another one.
//!
//! ```text
//!            first success            fall failures in a row
//!   pending ---------------> good <-------------------------> failed
//!      `---- fall failures in a row -------------------------->'
//!                                     rise successes in a row
//! ```
//! A node whose check is pending is no candidate either, but keeps what it has: nothing is known against it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::model::decision::{Because, What};
use crate::model::health::{CheckPolicy, FAILBACK_WHEN, FailedCheck, Health, needs_of};
use crate::model::status::{CheckState, CheckStatus};
use crate::model::{GroupName, Time};
use crate::text::printable_char;

/// A text is published for so long at least.
const TEXT_LASTS: Duration = Duration::from_secs(10);
/// Of a text this many characters are published, as one line.
const MAX_PUBLISHED_CHARS: usize = 80;
/// Of a text this many characters are shown on this node.
const MAX_LOCAL_CHARS: usize = 400;
/// Of failed checks that concern all groups this many are published; one is enough to be no candidate.
const MAX_PUBLISHED_CHECKS: usize = 4;
/// Of failed checks that concern one group each this many are published.
const MAX_PUBLISHED_GROUP_CHECKS: usize = 64;

/// One check as known here.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct NodeCheck {
    policy: CheckPolicy,
    state: CheckState,
    /// Since when it is in that state.
    since: Time,
    /// Results in a row that speak against the state.
    against: u32,
    /// Its newest output that speaks for the state, but not newer than [`TEXT_LASTS`] allows: it changes often, and each change is
    /// published.
    text: String,
    /// Since when that is the text.
    #[serde(default)]
    text_since: Time,
    last: Option<(Time, Result<String, String>)>,
}

impl NodeCheck {
    /// As it is published.
    fn to_failed_check(&self) -> FailedCheck {
        FailedCheck {
            check: self.policy.name.clone(),
            group: self.policy.group.clone(),
            pending: self.state == CheckState::Pending,
            text: one_line(&self.text, MAX_PUBLISHED_CHARS),
        }
    }
}

/// All checks of this node, `failback_when` included.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Checks(Vec<NodeCheck>);

impl Checks {
    /// Takes the configuration. What is known of a check of the same name is kept.
    pub fn take_definition(&mut self, health: &Health, now: Time) {
        let old = std::mem::take(&mut self.0);
        let failback = health.failback_when.then(|| CheckPolicy {
            name: FAILBACK_WHEN.to_owned(),
            fall: 1,
            rise: 1,
            stays: false,
            group: None,
        });
        let check = |policy: CheckPolicy| {
            let known = old.iter().find(|c| c.policy.name == policy.name).cloned();
            let fresh = NodeCheck {
                policy: policy.clone(),
                state: CheckState::Pending,
                since: now,
                against: 0,
                text: String::new(),
                text_since: now,
                last: None,
            };
            NodeCheck {
                policy,
                ..known.unwrap_or(fresh)
            }
        };
        self.0 = health
            .checks
            .iter()
            .cloned()
            .chain(failback)
            .map(check)
            .collect();
    }

    /// Takes a result in. Returns what to record if that changed the state.
    fn take_result(
        &mut self,
        now: Time,
        name: &str,
        result: Result<String, String>,
    ) -> Option<(What, Because)> {
        let check = self.0.iter_mut().find(|c| c.policy.name == name)?;
        let (good, text) = match &result {
            Ok(text) => (true, one_line(text, MAX_LOCAL_CHARS)),
            Err(text) => (false, one_line(text, MAX_LOCAL_CHARS)),
        };
        check.last = Some((now, result));
        if check.state == CheckState::of(good) {
            check.against = 0;
            // Such as how far a replica is behind: that is worth following.
            if name == FAILBACK_WHEN || now >= check.text_since + TEXT_LASTS {
                check.text = text;
                check.text_since = now;
            }
            return None;
        }
        check.against = check.against.saturating_add(1);
        let needed = match (check.state, good) {
            (CheckState::Pending, true) => 1,
            (_, true) => check.policy.rise,
            (_, false) => check.policy.fall,
        };
        if check.against < needed {
            return None;
        }
        let was_pending = check.state == CheckState::Pending;
        check.state = CheckState::of(good);
        (check.since, check.against) = (now, 0);
        check.text.clone_from(&text);
        check.text_since = now;
        if was_pending && good && needs_of(name).is_some() {
            return None; // nothing is missing, as usual
        }
        let what = if good {
            What::CheckPassed
        } else {
            What::CheckFailed
        };
        Some((what(name.to_owned()), Because::Agent(text)))
    }

    /// The checks that have not passed.
    fn not_passed(&self) -> impl Iterator<Item = FailedCheck> {
        let failing = self.0.iter().filter(|c| c.state != CheckState::Good);
        failing.map(NodeCheck::to_failed_check)
    }

    /// What is published.
    pub fn failed_checks(&self) -> Vec<FailedCheck> {
        limit_published(self.not_passed().collect())
    }

    /// Why this node is no candidate for a group, in words that follow the node's name.
    pub fn ineligible(&self, group: &GroupName) -> Option<String> {
        let bar = self.not_passed().find(|a| a.makes_ineligible(group));
        bar.map(|a| a.to_string())
    }

    /// Why this node must give a group up: a check has failed. One without a result drives nothing away, nor does one
    /// with `owner stays`.
    pub fn drives_away(&self, group: &GroupName) -> Option<String> {
        let drives = |c: &&NodeCheck| c.state == CheckState::Failed && !c.policy.stays;
        let mut driving = self.0.iter().filter(drives).map(NodeCheck::to_failed_check);
        let failed = driving.find(|a| a.makes_ineligible(group))?;
        Some(failed.to_string())
    }

    pub fn status(&self, now: Time) -> Vec<CheckStatus> {
        let one = |c: &NodeCheck| CheckStatus {
            name: c.policy.name.clone(),
            state: c.state,
            lasts: now.since(c.since),
            against: c.against,
            looked: c.last.as_ref().map(|(at, _)| now.since(*at)),
            lag: None,
            text: match &c.last {
                Some((_, Ok(text) | Err(text))) => one_line(text, MAX_LOCAL_CHARS),
                None => String::new(),
            },
        };
        self.0.iter().map(one).collect()
    }
}

/// What is kept of the checks that a peer publishes: no more than we would publish, whatever it sends.
pub(super) fn limit_received(checks: &[FailedCheck]) -> Vec<FailedCheck> {
    let kept = |a: &FailedCheck| FailedCheck {
        check: one_line(&a.check, MAX_PUBLISHED_CHARS),
        group: a.group.clone(),
        pending: a.pending,
        text: one_line(&a.text, MAX_PUBLISHED_CHARS),
    };
    limit_published(checks.iter().map(kept).collect())
}

/// As many of each kind as are published.
fn limit_published(checks: Vec<FailedCheck>) -> Vec<FailedCheck> {
    let (failback, checks): (Vec<_>, Vec<_>) =
        checks.into_iter().partition(|a| a.check == FAILBACK_WHEN);
    let (of_all, of_groups): (Vec<_>, Vec<_>) = checks.into_iter().partition(|a| a.group.is_none());
    let few = of_all.into_iter().take(MAX_PUBLISHED_CHECKS);
    let of_groups = of_groups.into_iter().take(MAX_PUBLISHED_GROUP_CHECKS);
    few.chain(of_groups)
        .chain(failback.into_iter().take(1))
        .collect()
}

/// Why these make their node ineligible for a group, if they do.
pub(super) fn ineligible(checks: &[FailedCheck], group: &GroupName) -> Option<String> {
    let found = checks.iter().find(|a| a.makes_ineligible(group));
    found.map(ToString::to_string)
}

/// Whether one of these has no result yet, so that it will be known soon whether its node is a candidate for the group.
pub(super) fn awaits_result(checks: &[FailedCheck], group: &GroupName) -> bool {
    checks
        .iter()
        .any(|a| a.pending && a.makes_ineligible(group))
}

/// Why `failback_when` keeps a node from getting a group back, if it does.
pub(super) fn failback_unready(checks: &[FailedCheck]) -> Option<String> {
    let waits = checks.iter().find(|a| a.check == FAILBACK_WHEN)?;
    Some(match (waits.pending, waits.text.as_str()) {
        (true, _) => "no result yet".to_owned(),
        (false, "") => "no".to_owned(),
        (false, text) => text.to_owned(),
    })
}

/// One line of this many characters at most, without control characters. A text that is too long is cut at its last
/// semicolon, so that no half sentence is published; the node itself shows all of it.
fn one_line(text: &str, most: usize) -> String {
    let mut line: String = text.trim().chars().take(most).map(printable_char).collect();
    if text.trim().chars().nth(most).is_some() {
        line.truncate(line.rfind(';').unwrap_or(line.len()));
    }
    line
}

impl Engine {
    /// A check of this node has a result.
    pub(super) fn take_check_result(
        &mut self,
        now: Time,
        name: &str,
        result: Result<String, String>,
    ) {
        if let Some((what, because)) = self.view.checks.take_result(now, name, result)
            // Whether a group may go back is recorded with the group.
            && name != FAILBACK_WHEN
        {
            self.round.record_node(what, because);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web_group() -> GroupName {
        GroupName::new("10.0.0.1")
    }

    fn checks(fall: u32, rise: u32) -> Checks {
        let mut checks = Checks::default();
        let policy = CheckPolicy {
            name: "web".into(),
            fall,
            rise,
            stays: false,
            group: None,
        };
        let health = Health {
            checks: vec![policy],
            failback_when: true,
        };
        checks.take_definition(&health, Time::ZERO);
        checks
    }

    /// Results as a row of `+` and `-`; the state after each as `g`, `f` or `p`.
    fn states(checks: &mut Checks, results: &str) -> String {
        let state = |(i, c): (usize, char)| {
            let result = if c == '+' {
                Ok(String::new())
            } else {
                Err("refused".to_owned())
            };
            checks.take_result(Time(i as u64), "web", result);
            match checks.0[0].state {
                CheckState::Pending => 'p',
                CheckState::Good => 'g',
                CheckState::Failed => 'f',
            }
        };
        results.chars().enumerate().map(state).collect()
    }

    #[test]
    fn fall_and_rise_are_counted_in_a_row() {
        for (fall, rise, results, wanted) in [
            (1, 1, "+-+-", "gfgf"),
            (2, 1, "+-+--+", "ggggfg"),
            (2, 3, "--+-+++-", "pfffffgg"),
            (3, 1, "--+---", "ppgggf"),
            (3, 1, "---+", "ppfg"),
        ] {
            let mut checks = checks(fall, rise);
            assert_eq!(
                states(&mut checks, results),
                wanted,
                "fall {fall} rise {rise}: {results}"
            );
        }
    }

    #[test]
    fn a_check_without_a_result_bars_but_drives_nothing_away() {
        let mut checks = checks(2, 1);
        assert_eq!(
            checks.ineligible(&web_group()).unwrap(),
            "has no result of check web yet"
        );
        assert_eq!(checks.drives_away(&web_group()), None);
        states(&mut checks, "--");
        assert_eq!(
            checks.drives_away(&web_group()).unwrap(),
            "fails check web (refused)"
        );
        assert_eq!(
            checks.ineligible(&web_group()),
            checks.drives_away(&web_group())
        );
        states(&mut checks, "+");
        assert_eq!(
            (
                checks.ineligible(&web_group()),
                checks.drives_away(&web_group())
            ),
            (None, None)
        );
    }

    #[test]
    fn a_check_that_lets_the_owner_stay_bars_but_drives_nothing_away() {
        let mut checks = checks(1, 1);
        checks.0[0].policy.stays = true;
        states(&mut checks, "+-");
        assert_eq!(
            checks.ineligible(&web_group()).unwrap(),
            "fails check web (refused)"
        );
        assert_eq!(checks.drives_away(&web_group()), None);
        let other = NodeCheck {
            policy: CheckPolicy {
                name: "sql".into(),
                stays: false,
                group: None,
                ..checks.0[0].policy.clone()
            },
            ..checks.0[0].clone()
        };
        checks.0.push(other);
        assert_eq!(
            checks.drives_away(&web_group()).unwrap(),
            "fails check sql (refused)"
        );
    }

    #[test]
    fn failback_when_bars_nothing_and_tells_its_newest_words() {
        let mut checks = checks(1, 1);
        states(&mut checks, "+");
        assert_eq!(checks.ineligible(&web_group()), None);
        assert_eq!(
            failback_unready(&checks.failed_checks()).unwrap(),
            "no result yet"
        );
        for lag in ["30 s\nbehind", "12 s behind"] {
            checks.take_result(Time(9), FAILBACK_WHEN, Err(lag.to_owned()));
            assert_eq!(
                failback_unready(&checks.failed_checks()).unwrap(),
                lag.replace('\n', " ")
            );
        }
        checks.take_result(Time(9), FAILBACK_WHEN, Ok(String::new()));
        assert_eq!(failback_unready(&checks.failed_checks()), None);
    }

    #[test]
    fn what_a_peer_sends_is_cut_to_what_we_would_send() {
        let one = |check: &str| FailedCheck {
            check: check.to_owned(),
            group: None,
            pending: false,
            text: format!("\u{1b}[2J{}", "x".repeat(10_000)),
        };
        let names = ["a", "b", "c", "d", "e", FAILBACK_WHEN, FAILBACK_WHEN];
        let kept = limit_received(&names.map(one));
        let kept_names: Vec<&str> = kept.iter().map(|a| a.check.as_str()).collect();
        assert_eq!(kept_names, ["a", "b", "c", "d", FAILBACK_WHEN]);
        let text = format!("\u{fffd}[2J{}", "x".repeat(MAX_PUBLISHED_CHARS - 4));
        assert!(kept.iter().all(|a| a.text.trim() == text), "{kept:?}");
    }

    #[test]
    fn what_is_too_long_ends_where_a_part_of_it_ends() {
        for (text, wanted) in [
            ("short; enough", "short; enough"),
            (
                "Outdated: older than the peer's; bring it back",
                "Outdated: older than the peer's",
            ),
            (
                "one long part without any end that fits",
                "one long part without any end that",
            ),
            (" a\nb\u{1b}[2J ", "a b\u{fffd}[2J"),
        ] {
            assert_eq!(one_line(text, 34), wanted);
        }
    }

    #[test]
    fn a_new_definition_keeps_what_is_known() {
        let mut checks = checks(1, 1);
        states(&mut checks, "+");
        let web = |fall| CheckPolicy {
            name: "web".into(),
            fall,
            rise: 1,
            stays: false,
            group: None,
        };
        let sql = CheckPolicy {
            name: "sql".into(),
            ..web(1)
        };
        let health = Health {
            checks: vec![web(2), sql],
            failback_when: false,
        };
        checks.take_definition(&health, Time(5));
        assert_eq!(
            checks.ineligible(&web_group()).unwrap(),
            "has no result of check sql yet"
        );
        assert_eq!(states(&mut checks, "-"), "g", "the new fall counts");
    }
}
