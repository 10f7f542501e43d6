//! Where the heartbeat thread listens: a socket and a task for each interface and port.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::hearing::Believer;
use super::speaking::REOPEN_AFTER;
use crate::model::Time;
use crate::model::medium::Medium;
use crate::sys::clock;
use crate::sys::udp;

/// Listens wherever these media are heard.
pub fn open_ears(media: &[Medium], believer: &Arc<Believer>) -> Result<Vec<Ear>, String> {
    let open = |ear| Ear::open(ear, believer).map_err(|e| e.to_string());
    udp::ears(media).into_iter().map(open).collect()
}

/// A place where we listen, and the task that does.
pub struct Ear {
    place: udp::Ear,
    index: Option<u32>,
    task: JoinHandle<()>,
    /// When it last could not be opened on the interface that is there now.
    refused: Option<Time>,
}

impl Ear {
    fn open(ear: udp::Ear, believer: &Arc<Believer>) -> std::io::Result<Ear> {
        let index = nix::net::if_::if_nametoindex(ear.interface()).ok();
        let task = believer.listen(udp::Receiver::open(&ear)?);
        Ok(Ear {
            place: ear,
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
    pub async fn renew(&mut self, believer: &Arc<Believer>) -> Result<(), String> {
        let index = nix::net::if_::if_nametoindex(self.place.interface()).ok();
        if index == self.index || index.is_none() {
            return Ok(());
        }
        self.task.abort();
        // The port is free only when the old socket is closed.
        drop((&mut self.task).await);
        self.open_again(believer)
    }

    fn open_again(&mut self, believer: &Arc<Believer>) -> Result<(), String> {
        match Ear::open(self.place.clone(), believer) {
            Ok(ear) => *self = ear,
            Err(e) => {
                self.refused = Some(clock::now());
                return Err(e.to_string());
            }
        }
        Ok(())
    }

    /// Where opening was refused it is tried again each second: no change of the interface need ever come. True when
    /// that succeeded.
    pub fn try_again(&mut self, believer: &Arc<Believer>) -> bool {
        let due = |at: Time| clock::now().since(at) >= REOPEN_AFTER;
        self.refused.is_some_and(due) && self.open_again(believer).is_ok()
    }
}
