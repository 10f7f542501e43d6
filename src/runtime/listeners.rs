//! Where the heartbeat thread listens: a socket and a task for each interface and port.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::receive::Authenticator;
use super::send::REOPEN_AFTER;
use crate::model::Time;
use crate::model::medium::Medium;
use crate::sys::clock;
use crate::sys::udp;

/// Listens wherever these media are heard.
pub fn open_listeners(
    media: &[Medium],
    authenticator: &Arc<Authenticator>,
) -> Result<Vec<Listener>, String> {
    let open = |listener| Listener::open(listener, authenticator).map_err(|e| e.to_string());
    udp::listen_points(media).into_iter().map(open).collect()
}

/// A place where we listen, and the task that does.
pub struct Listener {
    place: udp::ListenPoint,
    index: Option<u32>,
    task: JoinHandle<()>,
    /// When it last could not be opened on the interface that is there now.
    refused: Option<Time>,
}

impl Listener {
    fn open(
        listener: udp::ListenPoint,
        authenticator: &Arc<Authenticator>,
    ) -> std::io::Result<Listener> {
        let index = nix::net::if_::if_nametoindex(listener.interface()).ok();
        let task = authenticator.listen(udp::UdpReceiver::open(&listener)?);
        Ok(Listener {
            place: listener,
            index,
            task,
            refused: None,
        })
    }

    /// The interface.
    pub fn interface(&self) -> &str {
        self.place.interface()
    }

    /// Listens anew where the interface of that name is another one now: the old socket would stay deaf.
    pub async fn renew(&mut self, authenticator: &Arc<Authenticator>) -> Result<(), String> {
        let index = nix::net::if_::if_nametoindex(self.place.interface()).ok();
        if index == self.index || index.is_none() {
            return Ok(());
        }
        self.task.abort();
        // The port is free only when the old socket is closed.
        drop((&mut self.task).await);
        self.open_again(authenticator)
    }

    fn open_again(&mut self, authenticator: &Arc<Authenticator>) -> Result<(), String> {
        match Listener::open(self.place.clone(), authenticator) {
            Ok(listener) => *self = listener,
            Err(e) => {
                self.refused = Some(clock::now());
                return Err(e.to_string());
            }
        }
        Ok(())
    }

    /// Where opening was refused it is tried again each second: no change of the interface need ever come. True when
    /// that succeeded.
    pub fn try_again(&mut self, authenticator: &Arc<Authenticator>) -> bool {
        let due = |at: Time| clock::now().since(at) >= REOPEN_AFTER;
        self.refused.is_some_and(due) && self.open_again(authenticator).is_ok()
    }
}
