//! Notifies systemd that the daemon is ready, stopping, or alive.
//!
//! systemd may stop reading its socket: PID 1 is busy, or hangs. Nothing here waits for it. A sign of life that does not fit
//! is dropped, because the next one says the same; the other notices are sent later.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::model::Time;
use crate::model::decision::Level;

/// Pause before a notice that did not fit is sent again.
const SEND_AGAIN_AFTER: Duration = Duration::from_millis(200);
const READY: &str = "READY=1";
const STOPPING: &str = "STOPPING=1";
const ALIVE: &str = "WATCHDOG=1";

/// Tells the service manager that the daemon is ready.
pub(super) fn notify_ready() {
    send_until_taken(READY);
}

/// Tells the service manager that the daemon is shutting down.
pub(super) fn notify_stopping() {
    send_until_taken(STOPPING);
}

fn send_until_taken(notice: &'static str) {
    let Some(socket) = NotifySocket::from_environment() else {
        return;
    };
    if socket.send(notice) == SendResult::Full {
        tokio::spawn(async move {
            while socket.send(notice) == SendResult::Full {
                tokio::time::sleep(SEND_AGAIN_AFTER).await;
            }
        });
    }
}

/// The socket on which the service manager listens.
struct NotifySocket {
    socket: UnixDatagram,
    address: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendResult {
    Sent,
    /// The service manager does not read.
    Full,
    /// There is nobody to notify, and no reason to try again.
    Failed,
}

impl NotifySocket {
    /// None when no service manager asked for notices, or no socket can be made.
    fn from_environment() -> Option<NotifySocket> {
        let path = std::env::var_os("NOTIFY_SOCKET")?;
        let address = match path.as_encoded_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(&path),
        };
        NotifySocket::to(address.ok()?).ok()
    }

    fn to(address: SocketAddr) -> io::Result<NotifySocket> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(NotifySocket { socket, address })
    }

    /// Sends at once or not at all.
    fn send(&self, notice: &str) -> SendResult {
        match self.socket.send_to_addr(notice.as_bytes(), &self.address) {
            Ok(_) => SendResult::Sent,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => SendResult::Full,
            Err(_) => SendResult::Failed,
        }
    }
}

/// The watchdog of the service manager (`WatchdogSec=`): it wants a sign of life within a set time.
pub(super) struct ServiceWatchdog {
    socket: NotifySocket,
    every: Duration,
    notified_at: Time,
    /// Whether the last sign of life was dropped, which is logged once.
    dropped: bool,
}

impl ServiceWatchdog {
    /// The watchdog that the service manager asks for, if it asks. We give two signs in its time.
    pub fn from_environment() -> Option<ServiceWatchdog> {
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let limit = Duration::from_micros(number("WATCHDOG_USEC").filter(|n| *n > 0)?);
        let for_us = |pid| pid == u64::from(std::process::id());
        if std::env::var_os("WATCHDOG_PID").is_some() && !number("WATCHDOG_PID").is_some_and(for_us)
        {
            return None;
        }
        Some(ServiceWatchdog::new(
            NotifySocket::from_environment()?,
            limit,
        ))
    }

    fn new(socket: NotifySocket, limit: Duration) -> ServiceWatchdog {
        ServiceWatchdog {
            socket,
            every: limit / 2,
            notified_at: Time::ZERO,
            dropped: false,
        }
    }

    /// Gives a sign of life when one is due. One that is dropped stays due. Returns a line for the log when the service
    /// manager ceases to read, or reads again.
    pub fn notify_if_due(&mut self, now: Time) -> Option<(Level, String)> {
        if now.since(self.notified_at) < self.every {
            return None;
        }
        let dropped = self.socket.send(ALIVE) == SendResult::Full;
        if !dropped {
            self.notified_at = now;
        }
        if dropped == std::mem::replace(&mut self.dropped, dropped) {
            return None;
        }
        let (level, text) = if dropped {
            let text = "systemd does not read its notification socket (PID 1 is busy or hangs); signs of life are \
                        dropped until it does. The cluster is not affected.";
            (Level::Warning, text)
        } else {
            (Level::Info, "systemd reads its notification socket again")
        };
        Some((level, text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_socket_blocks_nothing_and_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let address = SocketAddr::from_pathname(&path).unwrap();
        let socket = NotifySocket::to(address.clone()).unwrap();
        let mut watchdog = ServiceWatchdog::new(socket, Duration::from_secs(2));
        let filler = NotifySocket::to(address).unwrap();
        while filler.send(READY) == SendResult::Sent {}
        let at = |seconds: u64| Time(seconds * 1_000_000_000);
        let said = |watchdog: &mut ServiceWatchdog, seconds| {
            let line = watchdog.notify_if_due(at(seconds));
            line.map(|(_, text)| text).unwrap_or_default()
        };
        assert!(said(&mut watchdog, 10).contains("systemd does not read"));
        assert_eq!(said(&mut watchdog, 11), "");
        let mut buffer = [0; 64];
        manager.recv(&mut buffer).unwrap();
        assert!(said(&mut watchdog, 11).contains("reads its notification socket again"));
        manager.set_nonblocking(true).unwrap();
        let mut last = String::new();
        while let Ok(length) = manager.recv(&mut buffer) {
            last = String::from_utf8_lossy(&buffer[..length]).into_owned();
        }
        assert_eq!(last, ALIVE);
        assert_eq!(said(&mut watchdog, 11), "", "not due yet");
        assert!(manager.recv(&mut buffer).is_err());
    }
}
