//! Opens sockets for the heartbeat thread while it runs: when an interface comes back, or a reload names other ping nodes.
//!
//! To open one may take long inside the kernel. Joining a multicast group and reading the list of addresses wait for the lock
//! of the network configuration, which a driver may hold for seconds, and asking for an interface that is missing may run
//! modprobe. So a thread of its own opens them, one after the other, and hands them over.

use std::net::IpAddr;
use std::sync::mpsc as blocking;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::ping::PingNodes;
use super::relay::HeartbeatRelay;
use crate::sys::udp::{ListenPoint, UdpReceiver, UdpSender};

/// A socket that was opened, or why not.
pub enum OpenedSocket {
    /// For the medium of that number.
    Sender(usize, std::io::Result<UdpSender>),
    /// For the medium of that number, after a change of addresses; none when the old socket is still right.
    SenderChecked(usize, Option<std::io::Result<UdpSender>>),
    /// For that place; none when its interface is still the same, or missing.
    Receiver(ListenPoint, Option<OpenedReceiver>),
    /// For the ping nodes of that reconfiguration.
    Pings(u64, Result<Option<PingNodes>, String>),
    /// For the relay of that reconfiguration.
    Relay(u64, Result<Option<HeartbeatRelay>, String>),
    /// The addresses of this machine, each with its prefix length: no socket, but it takes as long to ask for them.
    Networks(Vec<(IpAddr, u32)>),
}

/// The kernel's number of the interface, and the socket.
pub type OpenedReceiver = (Option<u32>, std::io::Result<UdpReceiver>);

type Opening = Box<dyn FnOnce() -> OpenedSocket + Send>;

/// Hands sockets to open to the thread that opens them.
#[derive(Clone)]
pub struct SocketOpener(blocking::Sender<Opening>);

impl SocketOpener {
    /// Starts the thread. Must be called inside the runtime that will use the sockets. Opened sockets come out of the channel
    /// in the order in which they were asked for.
    ///
    /// # Errors
    /// A sentence, when the thread cannot be started.
    pub fn start() -> Result<(SocketOpener, mpsc::UnboundedReceiver<OpenedSocket>), String> {
        let (work, openings) = blocking::channel::<Opening>();
        let (opened_in, opened) = mpsc::unbounded_channel();
        let runtime = Handle::current();
        let body = move || {
            let _runtime = runtime.enter();
            for open in openings {
                // The heartbeat thread may have ended.
                drop(opened_in.send(open()));
            }
        };
        std::thread::Builder::new()
            .name("sockets".into())
            .stack_size(256 * 1024)
            .spawn(body)
            .map_err(|e| format!("cannot start a thread: {e}"))?;
        Ok((SocketOpener(work), opened))
    }

    /// Has a socket opened. Never waits.
    pub fn open(&self, opening: impl FnOnce() -> OpenedSocket + Send + 'static) {
        // The thread ends only with this opener.
        drop(self.0.send(Box::new(opening)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_hangs_while_it_is_opened_keeps_nobody_waiting() {
        let (opener, mut opened) = SocketOpener::start().unwrap();
        let (release, held) = blocking::channel::<()>();
        let none = |number: u64| OpenedSocket::Pings(number, Ok(None));
        opener.open(move || {
            let _ended = held.recv();
            none(1)
        });
        opener.open(move || none(2));
        assert!(opened.try_recv().is_err());
        release.send(()).unwrap();
        for number in [1, 2] {
            let Some(OpenedSocket::Pings(n, Ok(None))) = opened.recv().await else {
                panic!("another socket");
            };
            assert_eq!(n, number);
        }
    }
}
