//! Sends heartbeats.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use socket2::{SockAddr, Socket};

use super::{explain_error, scoped_address, socket_address, socket_on};
use crate::model::medium::{Medium, Target};

/// The TOS value "low delay", as heartbeat sets for unicast.
const LOW_DELAY: u32 = 0x10;

/// The greatest TTL. What arrives with it was sent on the same network.
const HEARTBEAT_TTL: u32 = 255;

/// The outcome of sending a datagram.
#[derive(Debug)]
pub enum SendOutcome {
    /// It was sent, as far as this machine can know.
    Ok,
    /// An earlier datagram was refused, and this one was sent again: the peer's machine is up, but its daemon does not run. Only a
    /// hint: the peer's kernel limits how often it reports that.
    Refused,
    /// It was not sent.
    Failed(io::Error),
}

/// From where and to where the kernel sends the datagrams of a socket. It was decided when the socket was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderRoute {
    /// Of unicast: the source.
    source: Option<IpAddr>,
    /// Of broadcast and multicast: the destination.
    to: Option<SocketAddr>,
}

/// Sends to one medium.
#[derive(Debug)]
pub struct UdpSender {
    medium: Medium,
    pub(super) socket: Socket,
    mode: SendMode,
}

#[derive(Debug)]
enum SendMode {
    /// The socket is connected; otherwise it would not get refusals.
    Connected,
    /// Broadcast or multicast. Not connected, so that the source address follows that of the interface.
    Many(SockAddr),
    /// A `ucast` line with our own address, as both nodes have the same ha.cf. Nothing is sent.
    Ourselves,
}

impl UdpSender {
    /// Opens the socket of this medium.
    ///
    /// # Errors
    /// The interface is missing or down, or the process may not bind to it; the text names the medium.
    pub fn open(medium: &Medium) -> io::Result<UdpSender> {
        let (socket, mode) =
            open_sender(medium).map_err(|e| explain_error(&describe(medium), &e))?;
        Ok(UdpSender {
            medium: medium.clone(),
            socket,
            mode,
        })
    }

    /// Opens a new socket, for an interface that was created again or whose addresses changed.
    ///
    /// # Errors
    /// As [`UdpSender::open`]; the old socket is kept then.
    pub fn reopen(&mut self) -> io::Result<()> {
        *self = UdpSender::open(&self.medium)?;
        Ok(())
    }

    /// Opens a new socket if addresses of the interface changed so that the old one, with this route, is out of date: its source
    /// is no longer there, or it had none. A source that is still there is kept, also where the kernel would choose another one
    /// now, such as a virtual address.
    ///
    /// # Errors
    /// As [`UdpSender::open`].
    pub fn open_if_outdated(medium: &Medium, route: &SenderRoute) -> Option<io::Result<UdpSender>> {
        let is_there = |source| is_address_on(&medium.interface, source).unwrap_or(false);
        if route.source.is_some_and(is_there) {
            return None;
        }
        let opened = UdpSender::open(medium);
        let is_same = |new: &UdpSender| new.route() == *route;
        if opened.as_ref().is_ok_and(is_same) {
            return None;
        }
        Some(opened)
    }

    /// What the kernel decided when the socket was opened.
    pub fn route(&self) -> SenderRoute {
        let (mut source, mut to) = (None, None);
        match &self.mode {
            SendMode::Connected => {
                let local = self.socket.local_addr().ok();
                source = local.and_then(|a| a.as_socket()).map(|a| a.ip());
            }
            SendMode::Many(all) => to = all.as_socket(),
            SendMode::Ourselves => {}
        }
        SenderRoute { source, to }
    }

    /// The medium.
    pub fn medium(&self) -> &Medium {
        &self.medium
    }

    /// Sends at once or not at all; never blocks. Broadcast and multicast never return `Refused`.
    pub fn send(&self, bytes: &[u8]) -> SendOutcome {
        match self.send_once(bytes) {
            Ok(()) => SendOutcome::Ok,
            // The error is about an earlier datagram; this one was not sent.
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => match self.send_once(bytes) {
                Err(e) if e.kind() != io::ErrorKind::ConnectionRefused => SendOutcome::Failed(e),
                Ok(()) | Err(_) => SendOutcome::Refused,
            },
            Err(e) => SendOutcome::Failed(e),
        }
    }

    fn send_once(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = match &self.mode {
            SendMode::Connected => self.socket.send(bytes),
            SendMode::Many(to) => self.socket.send_to(bytes, to),
            SendMode::Ourselves => return Ok(()),
        };
        sent.map(|_all| ())
    }
}

fn open_sender(medium: &Medium) -> io::Result<(Socket, SendMode)> {
    let Medium {
        interface,
        port,
        target,
        ..
    } = medium;
    let index = if_nametoindex(interface.as_str())?;
    let v6 = matches!(
        target,
        Target::Unicast(IpAddr::V6(_)) | Target::Multicast6 { .. }
    );
    // A socket that is bound to an interface also sends multicast there.
    let socket = socket_on(interface, v6)?;
    let many = |to: SocketAddr| SendMode::Many(to.into());
    let mode = match *target {
        Target::Unicast(peer) if is_own_address(peer)? => SendMode::Ourselves,
        Target::Unicast(peer) => {
            if v6 {
                socket.set_unicast_hops_v6(HEARTBEAT_TTL)?;
            } else {
                socket.set_tos_v4(LOW_DELAY)?;
                socket.set_ttl_v4(HEARTBEAT_TTL)?;
            }
            socket.connect(&scoped_address(peer, *port, index).into())?;
            SendMode::Connected
        }
        Target::Broadcast => {
            socket.set_broadcast(true)?;
            many((broadcast_address(interface)?, *port).into())
        }
        Target::Multicast4 {
            group,
            ttl,
            loopback,
        } => {
            socket.set_multicast_ttl_v4(ttl.into())?;
            socket.set_multicast_loop_v4(loopback)?;
            many((group, *port).into())
        }
        Target::Multicast6 {
            group,
            hops,
            loopback,
        } => {
            socket.set_multicast_hops_v6(hops.into())?;
            socket.set_multicast_loop_v6(loopback)?;
            many(scoped_address(group.into(), *port, index))
        }
    };
    Ok((socket, mode))
}

fn describe(medium: &Medium) -> String {
    let to = match medium.target {
        Target::Unicast(peer) => peer.to_string(),
        Target::Broadcast => "all".to_owned(),
        Target::Multicast4 { group, .. } => group.to_string(),
        Target::Multicast6 { group, .. } => group.to_string(),
    };
    format!("send heartbeats to {to} on {}", medium.interface)
}

/// Whether this machine has the address, other than on its loopback interface.
fn is_own_address(address: IpAddr) -> io::Result<bool> {
    Ok(getifaddrs()?
        .filter(|i| !i.flags.contains(InterfaceFlags::IFF_LOOPBACK))
        .filter_map(|i| socket_address(&i.address?))
        .any(|a| a.ip() == address))
}

/// Whether an interface has this address.
fn is_address_on(interface: &str, address: IpAddr) -> io::Result<bool> {
    Ok(getifaddrs()?
        .filter(|i| i.interface_name == interface)
        .filter_map(|i| socket_address(&i.address?))
        .any(|a| a.ip() == address))
}

/// The broadcast address of the interface's first network that has one, or else 255.255.255.255. For an address without a broadcast
/// address the C library returns the address itself, which must not be used.
fn broadcast_address(interface: &str) -> io::Result<IpAddr> {
    let of_network = getifaddrs()?
        .filter(|i| i.interface_name == interface)
        .find_map(|i| {
            let own = i.address.as_ref().and_then(socket_address).map(|a| a.ip());
            let broadcast = socket_address(&i.broadcast?)?.ip();
            let real = broadcast.is_ipv4() && !broadcast.is_unspecified();
            (real && own != Some(broadcast)).then_some(broadcast)
        });
    Ok(of_network.unwrap_or(Ipv4Addr::BROADCAST.into()))
}
