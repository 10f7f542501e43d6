//! Sends heartbeats.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use socket2::{SockAddr, Socket};

use super::{explain, on_link, socket_address, socket_on};
use crate::model::medium::{Medium, Target};

/// Low delay, as heartbeat marks its unicasts.
const LOW_DELAY: u32 = 0x10;

/// What became of a datagram.
#[derive(Debug)]
pub enum Sent {
    /// It went out, as far as this machine can know.
    Ok,
    /// It was sent again after an earlier one had been refused: the peer's machine lives, its daemon does not. A hint:
    /// the peer's kernel limits how often it says so.
    Refused,
    /// It did not go out.
    Failed(io::Error),
}

/// Sends to one medium.
#[derive(Debug)]
pub struct Sender {
    medium: Medium,
    pub(super) socket: Socket,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// The socket is connected: only so does a refusal find back to it.
    Connected,
    /// To everybody on the interface. Not connected, so that the source address follows the interface's.
    Many(SockAddr),
    /// A `ucast` line with our own address: both nodes have the same ha.cf. Nothing is sent.
    Ourselves,
}

impl Sender {
    /// Opens the socket of this medium.
    ///
    /// # Errors
    /// When the interface is missing or down, or the process may not bind to it; the text names the medium.
    pub fn open(medium: &Medium) -> io::Result<Sender> {
        let (socket, way) = open_sender(medium).map_err(|e| explain(&what(medium), &e))?;
        Ok(Sender {
            medium: medium.clone(),
            socket,
            way,
        })
    }

    /// Opens the socket anew, for an interface that was made anew or whose addresses changed.
    ///
    /// # Errors
    /// As [`Sender::open`]; the old socket is kept then.
    pub fn reopen(&mut self) -> io::Result<()> {
        *self = Sender::open(&self.medium)?;
        Ok(())
    }

    /// The medium.
    pub fn medium(&self) -> &Medium {
        &self.medium
    }

    /// Sends at once or not at all; never waits. To a broadcast or a multicast the answer `Refused` does not come.
    pub fn send(&self, bytes: &[u8]) -> Sent {
        match self.attempt(bytes) {
            Ok(()) => Sent::Ok,
            // The error is of an earlier datagram, and this one was not sent.
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => match self.attempt(bytes) {
                Err(e) if e.kind() != io::ErrorKind::ConnectionRefused => Sent::Failed(e),
                Ok(()) | Err(_) => Sent::Refused,
            },
            Err(e) => Sent::Failed(e),
        }
    }

    fn attempt(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = match &self.way {
            Way::Connected => self.socket.send(bytes),
            Way::Many(to) => self.socket.send_to(bytes, to),
            Way::Ourselves => return Ok(()),
        };
        sent.map(|_all| ())
    }
}

fn open_sender(medium: &Medium) -> io::Result<(Socket, Way)> {
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
    // Bound to its interface, a socket also sends multicasts there.
    let socket = socket_on(interface, v6)?;
    let many = |to: SocketAddr| Way::Many(to.into());
    let way = match *target {
        Target::Unicast(peer) if is_ours(peer)? => Way::Ourselves,
        Target::Unicast(peer) => {
            if !v6 {
                socket.set_tos_v4(LOW_DELAY)?;
            }
            socket.connect(&on_link(peer, *port, index).into())?;
            Way::Connected
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
            many(on_link(group.into(), *port, index))
        }
    };
    Ok((socket, way))
}

fn what(medium: &Medium) -> String {
    let to = match medium.target {
        Target::Unicast(peer) => peer.to_string(),
        Target::Broadcast => "all".to_owned(),
        Target::Multicast4 { group, .. } => group.to_string(),
        Target::Multicast6 { group, .. } => group.to_string(),
    };
    format!("send heartbeats to {to} on {}", medium.interface)
}

/// Whether this machine has the address, other than on its loopback interface.
fn is_ours(address: IpAddr) -> io::Result<bool> {
    Ok(getifaddrs()?
        .filter(|i| !i.flags.contains(InterfaceFlags::IFF_LOOPBACK))
        .filter_map(|i| socket_address(&i.address?))
        .any(|a| a.ip() == address))
}

/// The broadcast address of the interface's first network that has one; else that of every network. Where an address has
/// none, the C library shows the address itself in its place, and what goes there never leaves the machine.
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
