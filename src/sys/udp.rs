//! The sockets of heartbeats: a [`UdpSender`] for each medium, and a [`UdpReceiver`] for each interface and port.
//!
//! Each is bound to its interface, so that a heartbeat never uses, or counts for, another link than its own. Several media of one
//! interface share a receiver, because the kernel would deliver a datagram to only one of two. The destination address of the
//! datagram then tells its link.
//!
//! A socket is bound to an interface, not to its name. If an interface is deleted and created again, senders fail with ENODEV and
//! receivers get nothing any more. So call `reopen` after a link event or a failed send.

mod receiver;
mod sender;

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use nix::sys::socket::SockaddrStorage;
use socket2::{Domain, Socket, Type};

pub(super) use receiver::set_receive_buffer;
pub use receiver::{Arrival, ListenPoint, UdpReceiver, listen_points};
pub use sender::{SendOutcome, SenderRoute, UdpSender};

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

/// A socket address; with the index of the interface if the address needs one.
fn scoped_address(address: IpAddr, port: u16, index: u32) -> SocketAddr {
    match address {
        IpAddr::V6(a) if a.is_unicast_link_local() || a.is_multicast() => {
            SocketAddrV6::new(a, port, 0, index).into()
        }
        _ => (address, port).into(),
    }
}

fn explain_error(what: &str, e: &io::Error) -> io::Error {
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
