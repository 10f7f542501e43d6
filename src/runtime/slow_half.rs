//! Watches, from the heartbeat thread, whether the slow half still moves.
//!
//! The slow half starts and stops resources, renews addresses in the kernel and answers `hactl`. While it stands still, all
//! that the heartbeat thread says of this node is a claim that nobody can act on: the addresses are gone when their lifetime
//! in the kernel ends, and a group that must stop does not. The peers must not believe such claims for longer than a lease.
//! So, after the slow half has not answered for
//!
//! 1. half of the limit, but three seconds at most: a warning;
//! 2. the limit, a lease (`deadtime - margin`): this node falls silent. It sends nothing, decides nothing and gives no
//!    orders, as if it were stopped. The leases end, and after `deadtime` the peers take over by their usual rules;
//! 3. `warntime` more: the process ends, so that the service manager starts another one. That finds what runs here and keeps
//!    or stops it, as after any death of the daemon.
//!
//! Where systemd has a shorter `WatchdogSec=`, it ends the daemon sooner: it hears no sign of life meanwhile.
//!
//! If the slow half moves again before that, nobody has taken over yet, because `warntime` is shorter than `deadtime`. The
//! heartbeat thread then goes on where it was, and what it had ordered before it fell silent was ordered with a right that
//! still stands.
//!
//! The limit is five seconds at least. With a shorter deadtime the addresses are gone before, but an ordinary process may
//! well wait for seconds on a busy machine, and to end the daemon then would make matters worse. Time counts only while this
//! thread itself runs: after a suspend, the slow half gets its chance to answer first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::engine_handle::{Output, OutputSender};
use super::logging::{FlushOnDrop, Log};
use crate::model::Time;
use crate::model::cluster::Timing;
use crate::text::duration_for_people;

/// How often the slow half is asked whether it moves.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How often its answer is looked for in a silence, which must not last longer than it has to.
const LOOK_IN_SILENCE_EVERY: Duration = Duration::from_millis(50);
/// It is never given up sooner.
const MIN_LIMIT: Duration = Duration::from_secs(5);
/// It is never warned of later.
const MAX_UNTIL_WARNING: Duration = Duration::from_secs(3);

/// What was noticed about the slow half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It has not answered for a while; a line for the log.
    Warning(String),
    /// From now on this node is silent; a line for the log.
    FallSilent(String),
    /// It has answered again, after a warning or silence; a line for the log.
    Moves(String),
    /// It did not recover: the process must end; a line for the log.
    End(String),
}

/// How long the slow half has not answered.
pub struct SlowHalfWatch {
    timing: Timing,
    /// Set by a question, unset by the answer.
    asked: Arc<AtomicBool>,
    /// For how long it has not answered, as far as this thread ran itself.
    still_for: Duration,
    looked_at: Time,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Moving,
    Warned,
    Silent,
    Ended,
}

impl SlowHalfWatch {
    /// It counts as moving.
    pub fn new(now: Time, timing: Timing) -> SlowHalfWatch {
        SlowHalfWatch {
            timing,
            asked: Arc::default(),
            still_for: Duration::ZERO,
            looked_at: now,
            stage: Stage::Moving,
        }
    }

    /// Judges by the times of a new configuration from now on.
    pub fn reconfigure(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// Whether this node is silent because the slow half stands still.
    pub fn is_silent(&self) -> bool {
        self.stage >= Stage::Silent
    }

    /// Whether it had answered at the last look, so that the service manager may hear that the daemon is alive.
    pub fn answers(&self) -> bool {
        self.still_for.is_zero()
    }

    /// When [`SlowHalfWatch::look`] is due.
    pub fn next_look(&self) -> Time {
        self.looked_at + self.pause()
    }

    fn pause(&self) -> Duration {
        if self.is_silent() {
            LOOK_IN_SILENCE_EVERY
        } else {
            ASK_EVERY
        }
    }

    /// Looks whether the last question was answered, and asks again, when that is nearly due: a loop that is awake anyway
    /// need not wake again for it.
    pub fn look(&mut self, now: Time, out: &OutputSender) -> Option<Notice> {
        if now < self.looked_at + self.pause() * 9 / 10 {
            return None;
        }
        let passed = now.since(self.looked_at).min(ASK_EVERY * 2);
        self.looked_at = now;
        if !self.asked.swap(true, Ordering::Relaxed) {
            out.send(Output::AreYouAlive(Arc::clone(&self.asked)));
            return self.moves();
        }
        self.still_for += passed;
        self.stands_still()
    }

    fn moves(&mut self) -> Option<Notice> {
        let still_for = duration_for_people(std::mem::take(&mut self.still_for));
        match std::mem::replace(&mut self.stage, Stage::Moving) {
            Stage::Moving => None,
            _ => Some(Notice::Moves(format!(
                "the main loop of this daemon works again; it had not moved for about {still_for}"
            ))),
        }
    }

    fn stands_still(&mut self) -> Option<Notice> {
        let limit = limit(&self.timing);
        let still_for = duration_for_people(self.still_for);
        let reached = [
            (Stage::Warned, (limit / 2).min(MAX_UNTIL_WARNING)),
            (Stage::Silent, limit),
            (Stage::Ended, limit + self.timing.warntime),
        ];
        let next = reached.into_iter().find(|(stage, _)| *stage > self.stage);
        let (stage, _) = next.filter(|(_, after)| self.still_for >= *after)?;
        self.stage = stage;
        Some(match stage {
            Stage::Moving | Stage::Warned => Notice::Warning(format!(
                "the main loop of this daemon has not moved for {still_for}: no resource is started or stopped here, and \
                 addresses are not renewed. After {} this node is silent, so that another one takes over",
                duration_for_people(limit)
            )),
            Stage::Silent => Notice::FallSilent(format!(
                "the main loop of this daemon has not moved for {still_for} (a dead disk or network file system? see dmesg). \
                 This node claims nothing and is silent from now on: another node takes over after its deadtime. If the loop \
                 does not move within {}, the daemon ends",
                duration_for_people(self.timing.warntime)
            )),
            Stage::Ended => Notice::End(format!(
                "the main loop of this daemon has not moved for {still_for}: the daemon ends now. Services keep running; a \
                 daemon that is started again finds them, and stops what another node has taken over"
            )),
        })
    }
}

/// A lease, but [`MIN_LIMIT`] at least.
fn limit(timing: &Timing) -> Duration {
    timing.lease().max(MIN_LIMIT)
}

/// Writes to the log when the slow half, which otherwise does that, stands still, and ends the process. It has a thread of
/// its own that is there from the start: to start one when something hangs may hang too.
#[derive(Clone, Debug)]
pub struct LastWords(mpsc::Sender<Notice>);

impl LastWords {
    /// Starts the thread.
    ///
    /// # Errors
    /// A sentence, when it cannot be started.
    pub fn start(log: Arc<Log>) -> Result<LastWords, String> {
        let (words, heard) = mpsc::channel();
        std::thread::Builder::new()
            .name("last words".into())
            .stack_size(128 * 1024)
            .spawn(move || write_all(&heard, log))
            .map_err(|e| format!("cannot start a thread: {e}"))?;
        Ok(LastWords(words))
    }

    /// Has a notice written, or the process ended. Never waits.
    pub fn say(&self, notice: Notice) {
        // The thread ends only with the process.
        drop(self.0.send(notice));
    }
}

fn write_all(heard: &mpsc::Receiver<Notice>, log: Arc<Log>) {
    while let Ok(notice) = heard.recv() {
        match notice {
            Notice::Warning(text) => tracing::warn!("{text}"),
            Notice::Moves(text) => tracing::info!("{text}"),
            Notice::FallSilent(text) => tracing::error!("{text}"),
            Notice::End(text) => {
                tracing::error!("{text}");
                drop(FlushOnDrop(log));
                std::process::exit(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::engine_handle::channels;
    use tokio::sync::mpsc::UnboundedReceiver;

    const MS: Duration = Duration::from_millis(1);

    /// A watch with a deadtime of ten seconds, hence a limit of eight, and the slow half's end of it.
    struct Watched {
        watch: SlowHalfWatch,
        out: OutputSender,
        outputs: UnboundedReceiver<Output>,
        now: Time,
    }

    impl Watched {
        fn new(deadtime: Duration) -> Watched {
            let ((_, outputs), (_, out)) = channels();
            let now = Time(1_000_000_000);
            let timing = Timing::usual(deadtime / 10, deadtime);
            Watched {
                watch: SlowHalfWatch::new(now, timing),
                out,
                outputs,
                now,
            }
        }

        fn answer(&mut self) {
            while let Ok(Output::AreYouAlive(asked)) = self.outputs.try_recv() {
                asked.store(false, Ordering::Relaxed);
            }
        }

        /// Lets time pass without an answer. Returns each notice with the milliseconds after which it came.
        fn pass(&mut self, time: Duration) -> Vec<(u128, Notice)> {
            let begin = self.now;
            let mut noticed = Vec::new();
            while self.now.since(begin) < time {
                self.now = self.now + ASK_EVERY;
                let notice = self.watch.look(self.now, &self.out);
                noticed.extend(notice.map(|n| (self.now.since(begin).as_millis(), n)));
            }
            noticed
        }
    }

    #[test]
    fn it_warns_falls_silent_after_a_lease_and_ends_after_warntime_more() {
        let mut watched = Watched::new(MS * 10_000);
        let warntime = watched.watch.timing.warntime;
        let noticed = watched.pass(MS * 60_000);
        let [
            (warned, Notice::Warning(_)),
            (silent, Notice::FallSilent(_)),
            (ended, Notice::End(_)),
        ] = noticed.as_slice()
        else {
            panic!("{noticed:?}");
        };
        // The first look asks, and the time counts from there.
        assert_eq!((*warned, *silent), (3500, 8500));
        let wanted = 8500 + warntime.as_millis();
        assert!((wanted..wanted + 500).contains(ended), "{ended}");
    }

    #[test]
    fn an_answer_ends_the_silence() {
        let mut watched = Watched::new(MS * 10_000);
        assert_eq!(watched.pass(MS * 9_000).len(), 2);
        assert!(watched.watch.is_silent() && !watched.watch.answers());
        watched.answer();
        let noticed = watched.pass(ASK_EVERY);
        assert!(
            matches!(noticed.as_slice(), [(_, Notice::Moves(_))]),
            "{noticed:?}"
        );
        assert!(!watched.watch.is_silent() && watched.watch.answers());
    }

    #[test]
    fn a_short_deadtime_waits_five_seconds_all_the_same() {
        let mut watched = Watched::new(MS * 300);
        assert_eq!(watched.pass(MS * 5_000).len(), 1, "only the warning");
        assert!(!watched.watch.is_silent());
        watched.pass(MS * 500);
        assert!(watched.watch.is_silent());
    }

    #[test]
    fn a_pause_of_the_whole_process_does_not_count() {
        let mut watched = Watched::new(MS * 10_000);
        watched.pass(ASK_EVERY);
        watched.now = watched.now + MS * 3_600_000;
        assert_eq!(watched.pass(ASK_EVERY), []);
        watched.answer();
        assert_eq!(watched.pass(ASK_EVERY), []);
    }
}
