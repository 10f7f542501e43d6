//! What the kernel's log tells about a resource.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::sys::kmsg::KernelLogLine;

/// The recent history of one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrbdHistory {
    /// Whether the last handshake found a split brain: each side had data that the other lacked.
    pub split_brain: bool,
    /// Whether the last handshake failed because both sides were Primary, as after a suspend. The data may still agree.
    pub both_primary: bool,
    /// How many seconds ago this side began to write data that its peer lacks.
    pub ahead_for: Option<u64>,
}

impl DrbdHistory {
    /// Reads it from the current log.
    pub fn from_log(log: &[KernelLogLine], resource: &str, minors: &[u32]) -> Self {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        Self::at(now, log, resource, minors)
    }

    fn at(now: Duration, log: &[KernelLogLine], resource: &str, minors: &[u32]) -> Self {
        let mut found = DrbdHistory::default();
        for line in log.iter().filter(|l| is_about(&l.text, resource, minors)) {
            if line.text.contains("Handshake") {
                found.split_brain = false;
                found.both_primary = false;
            } else if line.text.contains("Split-Brain detected") {
                found.split_brain = !line.text.contains("automatically solved");
            } else if line.text.contains("Multiple primaries not allowed") {
                found.both_primary = true;
            } else if line.text.contains("-> Unconnected") {
                // It was connected again by hand.
                found.both_primary = false;
            } else if line.text.contains("new current UUID") {
                found.ahead_for = Some(now.saturating_sub(line.at).as_secs());
            }
        }
        found
    }
}

/// `drbd db: ...` (and with the module 9 `drbd db/0 drbd1 peer: ...`), or `block drbd1: ...`.
fn is_about(text: &str, resource: &str, minors: &[u32]) -> bool {
    let Some(place) = text.split(':').next() else {
        return false;
    };
    let mut words = place.split([' ', '/']);
    let named = words.any(|word| word == resource);
    let device = |minor: &u32| place.ends_with(&format!("drbd{minor}"));
    place.contains("drbd") && (named || minors.iter().any(device))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &[&str]) -> Vec<KernelLogLine> {
        let line = |(n, text): (usize, &&str)| KernelLogLine {
            at: Duration::from_secs(n as u64),
            text: (*text).to_owned(),
        };
        lines.iter().enumerate().map(line).collect()
    }

    #[test]
    fn a_split_brain_is_known_until_both_sides_meet_again() {
        let mut lines = vec![
            "drbd db: Handshake successful: Agreed network protocol version 101",
            "block drbd1: new current UUID 9DB1:E752:0000:0000",
            "block drbd12: Split-Brain detected but unresolved, dropping connection!",
            "drbd other: Handshake successful: Agreed network protocol version 101",
            "block drbd1: Split-Brain detected but unresolved, dropping connection!",
            "drbd db: conn( WFReportParams -> Disconnecting ) ",
        ];
        let at =
            |lines: &[&str]| DrbdHistory::at(Duration::from_secs(100), &log(lines), "db", &[1]);
        assert!(!at(&lines[..4]).split_brain, "that is another device");
        assert!(at(&lines).split_brain);
        assert_eq!(at(&lines).ahead_for, Some(99));
        lines.push("drbd db: Handshake successful: Agreed network protocol version 101");
        assert!(!at(&lines).split_brain);
        lines
            .push("drbd db/0 drbd1 bob: Split-Brain detected but unresolved, dropping connection!");
        assert!(at(&lines).split_brain, "as the module 9 says it");
    }

    #[test]
    fn two_that_met_as_primaries_are_known_until_the_link_is_tried_again() {
        let mut lines = vec![
            "drbd db: Handshake successful: Agreed network protocol version 101",
            "block drbd1: State change failed: Multiple primaries not allowed by config",
            "drbd db: conn( WFReportParams -> Disconnecting ) ",
            "drbd db: conn( Disconnecting -> StandAlone ) ",
        ];
        let at =
            |lines: &[&str]| DrbdHistory::at(Duration::from_secs(100), &log(lines), "db", &[1]);
        assert!(at(&lines).both_primary && !at(&lines).split_brain);
        lines.push("drbd db: conn( StandAlone -> Unconnected ) ");
        assert!(!at(&lines).both_primary);
    }
}
