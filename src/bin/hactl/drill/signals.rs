//! Signals that would end the program in the middle of a drill: nobody would take back the wish that keeps the group away.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// They wait from now on, also in the threads that are started later.
pub struct Held(SignalFd);

impl Held {
    /// Begins.
    pub fn new() -> io::Result<Held> {
        let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
        let signals: SigSet = signals.into_iter().collect();
        signals.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Held(SignalFd::with_flags(&signals, flags)?))
    }

    /// Whether one came. It is told once.
    pub fn came(&self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_waits_until_it_is_asked_for() {
        let held = Held::new().unwrap();
        assert!(!held.came());
        nix::sys::signal::raise(Signal::SIGHUP).unwrap();
        assert!(held.came());
        assert!(!held.came());
    }
}
