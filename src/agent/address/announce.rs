//! Tells the network where addresses are now: gratuitous ARP and unsolicited neighbour advertisements.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use std::{fs, io};

use tokio::task::JoinHandle;

use crate::agent::address::virtual_address::VirtualAddress;
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

    /// Announces it again and again from then on, each time when it is on this machine: who has lost it must not call for it.
    pub fn again(
        netlink: &Netlink,
        address: &VirtualAddress,
        gateways: &[Ipv4Addr],
        every: Duration,
    ) -> Self {
        let (netlink, address) = (netlink.clone(), address.clone());
        let gateways = gateways.to_vec();
        Announcement(Some(tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                if is_here(&netlink, &address).await {
                    announce(&netlink, std::slice::from_ref(&address)).await;
                    ask(&netlink, &address, &gateways).await;
                }
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

async fn is_here(netlink: &Netlink, address: &VirtualAddress) -> bool {
    let found = netlink.addresses().await;
    found.is_ok_and(|all| all.iter().any(|a| a.ip == address.ip))
}

/// Asks each gateway who it is, by that address: it answers, and knows the address from then on.
pub async fn ask(netlink: &Netlink, address: &VirtualAddress, gateways: &[Ipv4Addr]) {
    if let Err(error) = send_questions(netlink, address, gateways).await {
        tracing::warn!(%error, %address, "the gateways were not told of an address");
    }
}

async fn send_questions(
    netlink: &Netlink,
    address: &VirtualAddress,
    gateways: &[Ipv4Addr],
) -> io::Result<()> {
    let IpAddr::V4(ip) = address.ip else {
        return Ok(());
    };
    let links = netlink.links().await.map_err(io::Error::other)?;
    let mut frames = Vec::new();
    for link in links.iter().filter(|l| l.name == address.interface && l.up) {
        let mac = link.mac.into_iter();
        frames.extend(
            mac.flat_map(|mac| gateways.iter().map(move |to| arp::question(mac, ip, *to)))
                .map(|frame| Outgoing {
                    index: link.index,
                    frame,
                }),
        );
    }
    netlink.frames()?.send(&frames).await
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
