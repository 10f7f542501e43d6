//! Where the heartbeat thread listens: a socket and a task for each interface and port.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::receive::Authenticator;
use super::send::REOPEN_AFTER;
use crate::model::Time;
use crate::model::medium::Medium;
use crate::sys::clock;
use crate::sys::udp;

/// Opens a socket for each interface and port of these media.
pub fn open_listeners(
    media: &[Medium],
    authenticator: &Arc<Authenticator>,
) -> Result<Vec<Listener>, String> {
    let open = |place| Listener::open(place, authenticator).map_err(|e| e.to_string());
    udp::listen_points(media).into_iter().map(open).collect()
}

/// A socket that heartbeats arrive on, and the task that reads it.
pub struct Listener {
    place: udp::ListenPoint,
    /// The kernel's number of the interface: another one means that the interface was replaced.
    interface_index: Option<u32>,
    task: JoinHandle<()>,
    /// When opening it failed last; none while it is open.
    failed_at: Option<Time>,
}

impl Listener {
    fn open(
        place: udp::ListenPoint,
        authenticator: &Arc<Authenticator>,
    ) -> std::io::Result<Listener> {
        Ok(Listener {
            interface_index: interface_index(&place),
            task: authenticator.listen(udp::UdpReceiver::open(&place)?),
            place,
            failed_at: None,
        })
    }

    /// The interface.
    pub fn interface(&self) -> &str {
        self.place.interface()
    }

    /// Opens the socket again when the interface was replaced by another one of that name: the old socket would never
    /// receive anything again.
    pub async fn reopen_if_replaced(
        &mut self,
        authenticator: &Arc<Authenticator>,
    ) -> Result<(), String> {
        let index = interface_index(&self.place);
        if index == self.interface_index || index.is_none() {
            return Ok(());
        }
        self.task.abort();
        // The port is free only after the old socket is closed.
        drop((&mut self.task).await);
        self.reopen(authenticator)
    }

    fn reopen(&mut self, authenticator: &Arc<Authenticator>) -> Result<(), String> {
        match Listener::open(self.place.clone(), authenticator) {
            Ok(listener) => *self = listener,
            Err(e) => {
                self.failed_at = Some(clock::now());
                return Err(e.to_string());
            }
        }
        Ok(())
    }

    /// Tries a second later to open what could not be opened, because no further change of the interface need ever come.
    /// True when that succeeded.
    pub fn retry(&mut self, authenticator: &Arc<Authenticator>) -> bool {
        let due = |at: Time| clock::now().since(at) >= REOPEN_AFTER;
        self.failed_at.is_some_and(due) && self.reopen(authenticator).is_ok()
    }
}

fn interface_index(place: &udp::ListenPoint) -> Option<u32> {
    nix::net::if_::if_nametoindex(place.interface()).ok()
}
