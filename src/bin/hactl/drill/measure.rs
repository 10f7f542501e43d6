//! Measures how long a group was away: by pings of its address from this node, or by the times in the journal.

use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use had::control::api::{ControlAnswer, Request};
use had::control::client::ControlClient;
use had::lab::{ProbeReport, ping_until};
use had::model::decision::What;
use had::model::journal::Entry;
use had::model::{GroupName, Time};
use had::sys::clock;
use serde::Serialize;

use crate::commands::ANSWER_TIMEOUT;

/// Between two pings: the resolution of the measurement.
const EVERY: Duration = Duration::from_millis(2);
/// The address is pinged so long before the move and after it, to see it answer.
const AROUND: Duration = Duration::from_millis(300);
/// A gap that ends so near to the end of the pings was ended by that, not by an answer.
const AT_THE_END: Duration = Duration::from_millis(50);
/// Decisions to look at.
const ENTRIES: usize = 200;
/// A decision may reach the journal a moment after the status shows it.
const JOURNAL_TIME: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(100);

/// How a gap was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Measured {
    /// By pings of the address.
    Address,
    /// By the times of two decisions.
    Journal,
    /// Not at all.
    Nothing,
}

/// Pings of an address. While this node has it, the kernel answers; afterwards they go over the wire to the node that has it.
pub struct Probe {
    stop: UnixStream,
    thread: JoinHandle<Option<(ProbeReport, Time)>>,
}

impl Probe {
    /// Begins; none when this user may not ping.
    pub fn start(address: IpAddr) -> Option<Probe> {
        let (stop, stopped) = UnixStream::pair().ok()?;
        let thread = thread::spawn(move || {
            let report = ping_until(address, EVERY, stopped.as_fd()).ok()?;
            Some((report, clock::now()))
        });
        sleep(AROUND);
        Some(Probe { stop, thread })
    }

    /// The longest time without an answer; none when the address does not answer from here.
    pub fn finish(self) -> Option<Duration> {
        sleep(AROUND);
        drop(self.stop);
        let (report, ended) = self.thread.join().ok()??;
        gap_of(&report, ended)
    }
}

fn gap_of(report: &ProbeReport, ended: Time) -> Option<Duration> {
    let unanswered = |(from, length): &(Time, Duration)| ended.since(*from + *length) < AT_THE_END;
    let silent = report.answered == 0 || report.gaps.last().is_some_and(unanswered);
    (!silent).then(|| report.outage())
}

/// From the journal of this node: from the moment the group was down here until another node had it, or from its start until it
/// ran here.
pub fn in_journal(socket: &Path, group: &GroupName, began: u64) -> (Option<Duration>, Measured) {
    let since = Instant::now();
    loop {
        let entries = ask(socket).unwrap_or_default();
        let about = |e: &&Entry| e.at_ms >= began && e.group.as_ref() == Some(group);
        let entries: Vec<&Entry> = entries.iter().filter(about).collect();
        if let Some(gap) = between(&entries) {
            return (Some(gap), Measured::Journal);
        }
        if since.elapsed() > JOURNAL_TIME {
            return (None, Measured::Nothing);
        }
        sleep(POLL);
    }
}

fn between(entries: &[&Entry]) -> Option<Duration> {
    let first = |is: fn(&What) -> bool| {
        let found = entries.iter().find(|e| is(&e.decision.what));
        found.map(|e| e.at_ms)
    };
    let down = first(|what| matches!(what, What::Offline));
    let down = down.or_else(|| first(|what| matches!(what, What::Start)))?;
    let up = first(|what| matches!(what, What::Online | What::RunsAt(_)))?;
    up.checked_sub(down).map(Duration::from_millis)
}

fn ask(socket: &Path) -> Option<Vec<Entry>> {
    let request = Request::History { limit: ENTRIES };
    match ControlClient::connect(socket)
        .ok()?
        .ask(&request, ANSWER_TIMEOUT)
        .ok()?
    {
        ControlAnswer::Decisions(entries) => Some(entries),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use had::model::NodeName;
    use had::model::decision::{Because, Decision};

    fn ms(n: u64) -> Time {
        Time(n * 1_000_000)
    }

    #[test]
    fn an_address_that_no_longer_answers_is_not_measured() {
        let mut report = ProbeReport {
            sent: 10,
            answered: 8,
            longest_gap: Duration::from_millis(20),
            slowest: Duration::from_millis(1),
            gaps: vec![(ms(100), Duration::from_millis(20))],
        };
        assert_eq!(gap_of(&report, ms(500)), Some(Duration::from_millis(20)));
        report.gaps.push((ms(200), Duration::from_millis(300)));
        assert_eq!(gap_of(&report, ms(500)), None);
        assert_eq!(gap_of(&ProbeReport::default(), ms(500)), None);
    }

    #[test]
    fn the_journal_has_both_ends() {
        let group = GroupName::new("web");
        let entry = |at, what| Entry::new(at, Decision::group(&group, what, Because::SaidSo));
        let away = [
            entry(1, What::Stop),
            entry(5, What::Offline),
            entry(30, What::RunsAt(NodeName::new("bob"))),
        ];
        let here = [entry(10, What::Start), entry(17, What::Online)];
        let gap = |entries: &[Entry]| between(&entries.iter().collect::<Vec<_>>());
        assert_eq!(gap(&away), Some(Duration::from_millis(25)));
        assert_eq!(gap(&here), Some(Duration::from_millis(7)));
        assert_eq!(gap(&away[..2]), None);
    }
}
