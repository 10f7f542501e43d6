//! The clock for deadlines, which also runs while the machine is suspended; the wall clock; and a precise alarm.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, SystemTime};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId as Clock, clock_gettime};
use nix::unistd::read;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::model::Time;

/// The time since boot, including the time that the machine was suspended. Every deadline uses this clock.
pub fn now() -> Time {
    // Fails only for a clock that the kernel does not know; it has known this one since 2.6.39.
    clock_gettime(Clock::CLOCK_BOOTTIME).map_or(Time::ZERO, |t| Time::ZERO + Duration::from(t))
}

/// Seconds since 1970 by the wall clock, which may be wrong and may jump: only for display.
pub fn wall_seconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// Milliseconds since 1970 by the wall clock; as [`wall_seconds`].
pub fn wall_milliseconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Wakes its one waiter at an instant of [`now`], within about 50 microseconds (a tokio timer needs one to two milliseconds), and
/// at once after a suspend that lasted past the instant.
#[derive(Debug)]
pub struct Alarm(AsyncFd<Timer>);

/// Gives nix's timer the raw descriptor that [`AsyncFd`] needs.
#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Alarm {
    /// An alarm that is not set. Must be created inside a tokio runtime with IO enabled.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    #[allow(unsafe_code)]
    pub fn new() -> io::Result<Alarm> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
        // SAFETY: the timer owns its descriptor, which stays the same and open for as long as the AsyncFd has it.
        let timer = unsafe { AsyncFd::register_with_interest(Timer(timer), Interest::READABLE) };
        Ok(Alarm(timer?))
    }

    /// Sets it, and discards a ring that nobody has waited for. An instant in the past rings at once; `None` and
    /// [`Time::NEVER`] never ring.
    ///
    /// # Errors
    /// The kernel's, for which no cause is known.
    pub fn set(&self, at: Option<Time>) -> io::Result<()> {
        let timer = &self.0.get_ref().0;
        match at {
            None | Some(Time::NEVER) => timer.unset()?,
            // The kernel takes zero for "unset".
            Some(Time(nanos)) => timer.set(
                Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(nanos.max(1)))),
                TimerSetTimeFlags::TFD_TIMER_ABSTIME,
            )?,
        }
        Ok(())
    }

    /// Waits for the ring; each ring is reported once. Safe to cancel.
    ///
    /// # Errors
    /// The kernel's, for which no cause is known.
    pub async fn wait_for_ring(&self) -> io::Result<()> {
        loop {
            let mut guard = self.0.readable().await?;
            let tried = guard.try_io(|timer| Ok(read(timer.get_ref().0.as_fd(), &mut [0; 8])?));
            if let Ok(result) = tried {
                return result.map(|_count| ());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn the_clock_runs_forward_and_with_the_kernels_uptime() {
        let uptime = || -> f64 {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        };
        let seconds = |t: Time| t.since(Time::ZERO).as_secs_f64();
        let (before, at, after) = (uptime(), now(), uptime());
        // /proc/uptime is cut to hundredths.
        assert!(before <= seconds(at) && seconds(at) <= after + 0.02);
        assert!(now() >= at);
        assert!(wall_seconds() > 1_700_000_000);
    }

    #[tokio::test]
    async fn it_rings_not_before_its_time_and_once() {
        let alarm = Alarm::new().unwrap();
        let at = now() + Duration::from_millis(20);
        alarm.set(Some(at)).unwrap();
        timeout(LONG, alarm.wait_for_ring()).await.unwrap().unwrap();
        assert!(now() >= at);
        let again = timeout(Duration::from_millis(20), alarm.wait_for_ring()).await;
        assert!(again.is_err(), "rang twice");
    }

    #[tokio::test]
    async fn the_past_rings_at_once() {
        let alarm = Alarm::new().unwrap();
        for past in [Time::ZERO, Time(1), now()] {
            alarm.set(Some(past)).unwrap();
            timeout(LONG, alarm.wait_for_ring()).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn setting_it_anew_forgets_the_old_ring() {
        let alarm = Alarm::new().unwrap();
        for forget in [None, Some(Time::NEVER), Some(now() + LONG)] {
            alarm.set(Some(Time::ZERO)).unwrap();
            // So that the readiness of the old ring has been noticed.
            let _ready = alarm.0.readable().await.unwrap();
            alarm.set(forget).unwrap();
            let rang = timeout(Duration::from_millis(20), alarm.wait_for_ring()).await;
            assert!(rang.is_err(), "{forget:?}");
        }
    }

    #[tokio::test]
    async fn a_waiter_hears_a_change_of_the_time() {
        let alarm = Alarm::new().unwrap();
        alarm.set(Some(now() + LONG * 100)).unwrap();
        let sooner = async { alarm.set(Some(now() + Duration::from_millis(5))) };
        let (rang, set) = tokio::join!(timeout(LONG, alarm.wait_for_ring()), sooner);
        set.unwrap();
        rang.unwrap().unwrap();
    }
}
