//! The sockets of heartbeats: a [`Sender`] for each medium, and a [`Receiver`] for each interface and port.
//!
//! All are bound to their interface, so that a heartbeat never leaves by, or counts for, another link than it
//! should. Several media of one interface share a receiver, as the kernel would give a datagram to only one of two; the
//! address to which a datagram was sent then tells on which link it came.
//!
//! A socket is bound to an interface, not to its name. When an interface is deleted and made anew, its sockets stay dead: senders
//! fail with ENODEV, receivers are silent for ever. So call `reopen` when a link event or a failed send says so.

mod receiver;
mod sender;

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use nix::sys::socket::SockaddrStorage;
use socket2::{Domain, Socket, Type};

pub use receiver::{Arrival, Ear, Receiver, ears};
pub use sender::{Sender, Sent};

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|a| SocketAddr::V4((*a).into()));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|a| SocketAddr::V6((*a).into()))
    })
}

fn socket_on(interface: &str, v6: bool) -> io::Result<Socket> {
    let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    Ok(socket)
}

/// An address with the interface on which it is meant, where it is one that needs that.
fn on_link(address: IpAddr, port: u16, index: u32) -> SocketAddr {
    match address {
        IpAddr::V6(a) if a.is_unicast_link_local() || a.is_multicast() => {
            SocketAddrV6::new(a, port, 0, index).into()
        }
        _ => (address, port).into(),
    }
}

fn explain(what: &str, e: &io::Error) -> io::Error {
    let hint = match e.kind() {
        io::ErrorKind::AddrInUse => " (is another had or heartbeat running?)",
        io::ErrorKind::PermissionDenied => {
            " (it needs root, or CAP_NET_RAW and CAP_NET_BIND_SERVICE)"
        }
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => " (is the interface up?)",
        _ => "",
    };
    io::Error::new(e.kind(), format!("cannot {what}: {e}{hint}"))
}

#[cfg(test)]
mod tests;
