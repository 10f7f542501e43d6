//! Notifies systemd that the daemon is ready, stopping, or alive.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::model::Time;

/// Tells the service manager that the daemon is ready.
pub(super) fn notify_ready() {
    notify(NotifyState::Ready);
}

/// Tells the service manager that the daemon is shutting down.
pub(super) fn notify_stopping() {
    notify(NotifyState::Stopping);
}

/// Errors are ignored: without a service manager there is nobody to notify.
fn notify(state: NotifyState<'_>) {
    drop(sd_notify::notify(&[state]));
}

/// The watchdog of the service manager (`WatchdogSec=`): it wants a sign of life within a set time.
pub(super) struct ServiceWatchdog {
    every: Duration,
    notified_at: Time,
}

impl ServiceWatchdog {
    /// The watchdog that the service manager asks for, if it asks. We give two signs in its time.
    pub fn from_environment() -> Option<ServiceWatchdog> {
        let limit = sd_notify::watchdog_enabled()?;
        Some(ServiceWatchdog {
            every: limit / 2,
            notified_at: Time::ZERO,
        })
    }

    /// Gives a sign of life when one is due; true when it did.
    pub fn notify_if_due(&mut self, now: Time) -> bool {
        let due = now.since(self.notified_at) >= self.every;
        if due {
            self.notified_at = now;
            notify(NotifyState::Watchdog);
        }
        due
    }
}
