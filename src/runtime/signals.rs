//! Signals: SIGTERM and SIGINT give up all groups and end the daemon, SIGHUP reloads the configuration.

use std::io;

use tokio::signal::unix::{self, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Give up all groups and end.
    Leave,
    /// Reload the configuration.
    Reload,
}

/// The signals that the daemon handles.
#[derive(Debug)]
pub struct Signals {
    term: unix::Signal,
    int: unix::Signal,
    hup: unix::Signal,
}

impl Signals {
    /// From now on none of them ends the process.
    pub fn listen() -> io::Result<Signals> {
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.term.recv() => Signal::Leave,
            _ = self.int.recv() => Signal::Leave,
            _ = self.hup.recv() => Signal::Reload,
        }
    }
}
