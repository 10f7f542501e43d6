//! `link IFACE`: an interface is up and has a carrier.

use tokio::sync::Mutex;
use tokio::sync::mpsc::Receiver;

use crate::sys::netlink::{self, Change, Netlink};

/// A network interface that is to be up.
pub(super) struct InterfaceProbe {
    name: String,
    netlink: Netlink,
    changes: Mutex<Option<Receiver<Change>>>,
}

impl InterfaceProbe {
    pub fn new(name: &str, netlink: Netlink) -> Self {
        InterfaceProbe {
            name: name.to_owned(),
            netlink,
            changes: Mutex::new(None),
        }
    }

    pub async fn run(&self) -> Result<String, String> {
        // Listens before it reads, so that no change in between is missed.
        self.changes.lock().await.get_or_insert_with(netlink::watch);
        let links = self.netlink.links().await.map_err(|e| e.to_string())?;
        let name = &self.name;
        match links.iter().find(|l| l.name == *name) {
            None => Err(format!("there is no interface {name}")),
            Some(link) if !link.up => Err(format!("{name} is down")),
            Some(link) if !link.carrier => Err(format!("{name} has no carrier")),
            Some(_) => Ok(format!("{name} is up and has a carrier")),
        }
    }

    /// Waits until the kernel reports a change of the interface.
    pub async fn changed(&self) {
        let mut changes = self.changes.lock().await;
        let receiver = changes.get_or_insert_with(netlink::watch);
        while let Some(change) = receiver.recv().await {
            match change {
                Change::Link(link) | Change::LinkRemoved(link) if link.name == self.name => return,
                // Changes may have been missed.
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
    async fn an_interface_is_found_or_missing() {
        let probe = |name: &'static str| async move {
            InterfaceProbe::new(name, Netlink::new()).run().await
        };
        assert_eq!(
            probe("lo").await,
            Ok("lo is up and has a carrier".to_owned())
        );
        assert_eq!(
            probe("nosuch0").await,
            Err("there is no interface nosuch0".to_owned())
        );
    }
}
