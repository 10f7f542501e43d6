//! Tells the network where addresses are now: gratuitous ARP and unsolicited neighbour advertisements.

use std::time::Duration;
use std::{fs, io};

use tokio::task::JoinHandle;

use super::address::VirtualAddress;
use crate::sys::arp;
use crate::sys::netlink::{Link, Netlink};
use crate::sys::packet::Outgoing;

/// How often the first announcement is repeated: switches and neighbours lose frames when an address moves.
const REPEATS: u32 = 4;
/// The time between them.
const INTERVAL: Duration = Duration::from_millis(200);

/// The repeats of one announcement, under way in the background. Dropping it ends them.
#[derive(Default)]
pub struct Announcement(Option<JoinHandle<()>>);

impl Announcement {
    /// Announces now, and again in the background. A failure is logged and never fails a start: the repeats may
    /// still get through.
    pub async fn begin(netlink: &Netlink, addresses: &[VirtualAddress]) -> Self {
        announce(netlink, addresses).await;
        let (netlink, addresses) = (netlink.clone(), addresses.to_vec());
        Announcement(Some(tokio::spawn(async move {
            for _ in 0..REPEATS {
                tokio::time::sleep(INTERVAL).await;
                announce(&netlink, &addresses).await;
            }
        })))
    }

    /// Ends the repeats. No frame leaves after it came back: one that did would send the network to a node that
    /// no longer has the address.
    pub async fn end(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
            // Either it was finished or it is cancelled now; both is the end of it.
            task.await.unwrap_or_default();
        }
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Announces once.
async fn announce(netlink: &Netlink, addresses: &[VirtualAddress]) {
    if let Err(error) = send(netlink, addresses).await {
        let first = addresses.first().map(ToString::to_string);
        tracing::warn!(%error, address = first, "an announcement of addresses was not sent");
    }
}

async fn send(netlink: &Netlink, addresses: &[VirtualAddress]) -> io::Result<()> {
    let links = netlink.links().await.map_err(io::Error::other)?;
    let mut frames = Vec::new();
    for link in links.iter().filter(|l| l.arp && l.up) {
        frames.extend(frames_on(link, addresses));
    }
    netlink.frames()?.send(&frames).await
}

fn frames_on(link: &Link, addresses: &[VirtualAddress]) -> Vec<Outgoing> {
    let Some(mac) = link.mac else {
        return Vec::new();
    };
    let router = forwards(&link.name);
    addresses
        .iter()
        .filter(|a| a.interface == link.name)
        .flat_map(|a| arp::announcement(mac, a.ip, router))
        .map(|frame| Outgoing {
            index: link.index,
            frame,
        })
        .collect()
}

/// Whether this machine forwards IPv6 on that interface.
fn forwards(interface: &str) -> bool {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/forwarding");
    fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
}
