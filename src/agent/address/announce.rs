//! Tells the network where addresses are now: gratuitous ARP and unsolicited neighbour advertisements.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use std::{fs, io};

use tokio::task::JoinHandle;

use crate::agent::address::virtual_address::VirtualAddress;
use crate::sys::arp;
use crate::sys::netlink::{Link, Netlink};
use crate::sys::packet::OutgoingFrame;

/// How often an announcement is repeated: switches and neighbours lose frames when an address moves.
const REPEATS: u32 = 4;
/// The time between repeats.
const REPEAT_INTERVAL: Duration = Duration::from_millis(200);

/// An announcement whose repeats run in the background. Dropping it ends them.
#[derive(Default)]
pub struct Announcement(Option<JoinHandle<()>>);

impl Announcement {
    /// Announces the addresses now, and repeats it in the background. A failure is logged and does not fail a start: a repeat
    /// may still get through.
    pub async fn start(netlink: &Netlink, addresses: &[VirtualAddress]) -> Self {
        announce_once(netlink, addresses).await;
        let (netlink, addresses) = (netlink.clone(), addresses.to_vec());
        Announcement(Some(tokio::spawn(async move {
            for _ in 0..REPEATS {
                tokio::time::sleep(REPEAT_INTERVAL).await;
                announce_once(&netlink, &addresses).await;
            }
        })))
    }

    /// Announces an address periodically, but only while this machine has it: a node that has lost it must not claim it.
    pub fn repeat_every(
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
                if has_address(&netlink, &address).await {
                    announce_once(&netlink, std::slice::from_ref(&address)).await;
                    update_gateways(&netlink, &address, &gateways).await;
                }
            }
        })))
    }

    /// Ends the repeats. No frame is sent after this returns: it would direct the network to a node that no longer has the
    /// address.
    pub async fn end(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
            // Finished or cancelled: either is fine.
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

async fn has_address(netlink: &Netlink, address: &VirtualAddress) -> bool {
    let found = netlink.addresses().await;
    found.is_ok_and(|all| all.iter().any(|a| a.ip == address.ip))
}

/// Sends an ARP request from the address to each gateway, which learns the address when it answers.
pub async fn update_gateways(netlink: &Netlink, address: &VirtualAddress, gateways: &[Ipv4Addr]) {
    if let Err(error) = send_requests(netlink, address, gateways).await {
        tracing::warn!("cannot announce {address} to its gateways: {error}");
    }
}

async fn send_requests(
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
            mac.flat_map(|mac| gateways.iter().map(move |to| arp::request(mac, ip, *to)))
                .map(|frame| OutgoingFrame {
                    index: link.index,
                    frame,
                }),
        );
    }
    netlink.frames()?.send(&frames).await
}

/// Announces once; logs a failure.
async fn announce_once(netlink: &Netlink, addresses: &[VirtualAddress]) {
    if let Err(error) = send_announcement(netlink, addresses).await {
        let first = addresses.first().map(ToString::to_string);
        tracing::warn!(
            "cannot announce {} to the network: {error}",
            first.unwrap_or_default()
        );
    }
}

async fn send_announcement(netlink: &Netlink, addresses: &[VirtualAddress]) -> io::Result<()> {
    let links = netlink.links().await.map_err(io::Error::other)?;
    let mut frames = Vec::new();
    for link in links.iter().filter(|l| l.arp && l.up) {
        frames.extend(frames_on(link, addresses));
    }
    netlink.frames()?.send(&frames).await
}

fn frames_on(link: &Link, addresses: &[VirtualAddress]) -> Vec<OutgoingFrame> {
    let Some(mac) = link.mac else {
        return Vec::new();
    };
    let router = is_router(&link.name);
    addresses
        .iter()
        .filter(|a| a.interface == link.name)
        .flat_map(|a| arp::announcement(mac, a.ip, router))
        .map(|frame| OutgoingFrame {
            index: link.index,
            frame,
        })
        .collect()
}

/// Whether this machine is an IPv6 router on an interface.
fn is_router(interface: &str) -> bool {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/forwarding");
    fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
}
