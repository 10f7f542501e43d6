//! Changes of links and addresses as they happen.

use std::time::Duration;

use futures::StreamExt;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::sync::mpsc;

use super::rows::{Address, Link, address_of, link_of};

/// Changes that may wait for a slow watcher before they are replaced by one [`Change::Resync`].
const CHANGES: usize = 1024;

/// What [`watch`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An address appeared or was changed.
    AddressAdded(Address),
    /// An address is gone.
    AddressRemoved(Address),
    /// A link appeared or was changed.
    Link(Link),
    /// A link is gone.
    LinkRemoved(Link),
    /// Changes may have been missed: look at everything. Also the first that comes.
    Resync,
}

/// Tells of changes from now on. The watch lives until the receiver is dropped, and connects again by itself.
pub fn watch() -> mpsc::Receiver<Change> {
    let (tx, rx) = mpsc::channel(CHANGES);
    tokio::spawn(watch_loop(tx));
    rx
}

const WATCHED: [MulticastGroup; 3] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
];

/// Connects, tells, and connects again, until nobody listens.
async fn watch_loop(tx: mpsc::Sender<Change>) {
    let pause = Duration::from_millis(200);
    while !tx.is_closed() {
        match rtnetlink::new_multicast_connection(&WATCHED) {
            Ok((connection, _handle, messages)) => {
                let task = tokio::spawn(connection);
                forward(messages, &tx).await;
                task.abort();
            }
            Err(error) => {
                tracing::warn!("cannot watch for network changes: {error}; trying again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = tx.closed() => {}
        }
    }
}

/// Tells what one connection hears. A slow listener costs events, never memory: it then gets one `Resync`.
async fn forward<S, A>(mut messages: S, tx: &mpsc::Sender<Change>)
where
    S: futures::Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, A)> + Unpin,
{
    let mut resync_owed = true;
    loop {
        if resync_owed && tx.send(Change::Resync).await.is_err() {
            return;
        }
        let message = tokio::select! {
            message = messages.next() => message,
            () = tx.closed() => return,
        };
        let Some((message, _)) = message else { return };
        let change = change_of(message.payload);
        resync_owed = match change {
            Some(change) => tx.try_send(change).is_err(),
            None => false,
        };
    }
}

fn change_of(payload: NetlinkPayload<RouteNetlinkMessage>) -> Option<Change> {
    match payload {
        NetlinkPayload::Overrun(_) => Some(Change::Resync),
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(m)) => {
            address_of(&m).map(Change::AddressAdded)
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(m)) => {
            address_of(&m).map(Change::AddressRemoved)
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(m)) => {
            link_of(&m).map(Change::Link)
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(m)) => {
            link_of(&m).map(Change::LinkRemoved)
        }
        _ => None,
    }
}
