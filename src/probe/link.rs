//! `link IFACE`: an interface is up and has its carrier.

use tokio::sync::Mutex;
use tokio::sync::mpsc::Receiver;

use crate::sys::netlink::{self, Change, Netlink};

/// One interface.
pub(super) struct LinkCheck {
    name: String,
    netlink: Netlink,
    changes: Mutex<Option<Receiver<Change>>>,
}

impl LinkCheck {
    pub fn new(name: &str, netlink: Netlink) -> Self {
        LinkCheck {
            name: name.to_owned(),
            netlink,
            changes: Mutex::new(None),
        }
    }

    pub async fn look(&self) -> Result<String, String> {
        // First to listen, then to look: nothing that changes in between is missed.
        self.changes.lock().await.get_or_insert_with(netlink::watch);
        let links = self.netlink.links().await.map_err(|e| e.to_string())?;
        let name = &self.name;
        match links.iter().find(|l| l.name == *name) {
            None => Err(format!("there is no interface {name}")),
            Some(link) if !link.up => Err(format!("{name} is switched off")),
            Some(link) if !link.carrier => Err(format!("{name} has no carrier")),
            Some(_) => Ok(format!("{name} has its carrier")),
        }
    }

    /// Comes back when the kernel tells of a change of that interface.
    pub async fn changed(&self) {
        let mut changes = self.changes.lock().await;
        let receiver = changes.get_or_insert_with(netlink::watch);
        while let Some(change) = receiver.recv().await {
            match change {
                Change::Link(link) | Change::LinkRemoved(link) if link.name == self.name => return,
                // Something was missed.
                Change::Resync => return,
                Change::Link(_)
                | Change::LinkRemoved(_)
                | Change::AddressAdded(_)
                | Change::AddressRemoved(_) => {}
            }
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_tells_what_is_there_from_what_is_not() {
        let look =
            |name: &'static str| async move { LinkCheck::new(name, Netlink::new()).look().await };
        assert_eq!(look("lo").await, Ok("lo has its carrier".to_owned()));
        assert_eq!(
            look("nosuch0").await,
            Err("there is no interface nosuch0".to_owned())
        );
    }
}
