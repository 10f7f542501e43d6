//! Hears heartbeats.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{InterfaceIndexOrAddress, Socket};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{explain, socket_address, socket_on};
use crate::model::LinkName;
use crate::model::medium::{Medium, Target};

/// Bytes that may wait in the kernel for us. What does not fit is lost, a heartbeat as well as a stranger's noise, and
/// the usual 208 KiB are full after a hundred datagrams: room for a burst of some thousand.
const ROOM: usize = 4 * 1024 * 1024;

/// A place to listen, and which link is heard there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ear {
    interface: String,
    port: u16,
    v6: bool,
    /// What was addressed, and the link that this means. Never empty.
    links: Vec<(Addressed, LinkName)>,
}

/// To whom a datagram is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addressed {
    Us,
    All,
    Group(IpAddr),
}

/// Where to listen for all these media: each interface, port and family once.
pub fn ears(media: &[Medium]) -> Vec<Ear> {
    let mut ears: Vec<Ear> = Vec::new();
    for medium in media {
        let (v6, addressed) = match medium.target {
            Target::Unicast(peer) => (peer.is_ipv6(), Addressed::Us),
            Target::Broadcast => (false, Addressed::All),
            Target::Multicast4 { group, .. } => (false, Addressed::Group(group.into())),
            Target::Multicast6 { group, .. } => (true, Addressed::Group(group.into())),
        };
        let link = (addressed, medium.link.clone());
        let same =
            |e: &&mut Ear| e.interface == medium.interface && e.port == medium.port && e.v6 == v6;
        match ears.iter_mut().find(same) {
            Some(ear) if ear.links.contains(&link) => {}
            Some(ear) => ear.links.push(link),
            None => ears.push(Ear {
                interface: medium.interface.clone(),
                port: medium.port,
                v6,
                links: vec![link],
            }),
        }
    }
    ears
}

impl Ear {
    /// The interface.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it hears IPv6, else IPv4.
    pub fn is_v6(&self) -> bool {
        self.v6
    }

    /// The link of what was addressed so. Where no medium is of that kind (the peer's ha.cf differs), the first.
    fn link(&self, addressed: Addressed) -> Option<&LinkName> {
        let fits = self.links.iter().find(|(a, _)| *a == addressed);
        fits.or(self.links.first()).map(|(_, link)| link)
    }
}

/// Hears what comes in on one interface and port.
#[derive(Debug)]
pub struct Receiver {
    ear: Ear,
    index: u32,
    socket: UdpSocket,
}

/// A datagram that came in.
#[derive(Debug, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// How many bytes of the buffer it fills.
    pub length: usize,
    /// Who sent it. Nothing may be concluded from it; it is good for a message to the administrator.
    pub from: SocketAddr,
    /// The link on which it came.
    pub link: &'a LinkName,
}

impl Receiver {
    /// Begins to listen. Must be called inside a tokio runtime with IO enabled.
    ///
    /// # Errors
    /// When the interface is missing, the port is taken, or the process may not bind to it; the text says which.
    pub fn open(ear: &Ear) -> io::Result<Receiver> {
        let (socket, index) = open_receiver(ear).map_err(|e| explain(&what(ear), &e))?;
        Ok(Receiver {
            ear: ear.clone(),
            index,
            socket,
        })
    }

    /// Listens anew on an interface that was made anew. While the interface has the number that it had, it is the
    /// same one, and nothing is done.
    ///
    /// # Errors
    /// As [`Receiver::open`]; the old socket is kept then.
    pub fn reopen(&mut self) -> io::Result<()> {
        if if_nametoindex(self.ear.interface.as_str()) != Ok(self.index) {
            *self = Receiver::open(&self.ear)?;
        }
        Ok(())
    }

    /// Where it listens.
    pub fn ear(&self) -> &Ear {
        &self.ear
    }

    /// Waits for the next datagram. May be dropped and called again; nothing is lost. A datagram longer than
    /// the buffer is cut.
    ///
    /// # Errors
    /// The kernel's; the socket goes on working.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<Arrival<'_>> {
        let read = || self.read(buffer);
        self.socket.async_io(Interest::READABLE, read).await
    }

    /// The next datagram that has already arrived, if there is one: what the kernel holds is asked, not what the
    /// runtime has noticed. To hear first and judge after.
    ///
    /// # Errors
    /// The kernel's; the socket goes on working.
    pub fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Option<Arrival<'_>>> {
        match self.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            other => other.map(Some),
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<Arrival<'_>> {
        let mut control = nix::cmsg_space!(libc::in6_pktinfo);
        let mut parts = [IoSliceMut::new(buffer)];
        let message: RecvMsg<'_, '_, SockaddrStorage> = recvmsg(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let from = message.address.as_ref().and_then(socket_address);
        let link = self.ear.link(addressed(&message));
        Ok(Arrival {
            length: message.bytes,
            from: from.ok_or(io::ErrorKind::InvalidData)?,
            link: link.ok_or(io::ErrorKind::InvalidData)?,
        })
    }
}

fn open_receiver(ear: &Ear) -> io::Result<(UdpSocket, u32)> {
    let index = if_nametoindex(ear.interface.as_str())?;
    let socket = socket_on(&ear.interface, ear.v6)?;
    let any: IpAddr = if ear.v6 {
        socket.set_only_v6(true)?;
        socket.set_multicast_all_v6(false)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        socket.set_multicast_all_v4(false)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        Ipv4Addr::UNSPECIFIED.into()
    };
    join(&socket, ear, index)?;
    make_room(&socket)?;
    // Without SO_REUSEADDR, so that a second daemon on this port fails here and does not take our heartbeats.
    socket.bind(&SocketAddr::new(any, ear.port).into())?;
    Ok((UdpSocket::from_std(socket.into())?, index))
}

/// Beyond the limit that the system sets for all only with CAP_NET_ADMIN; without, as much as that gives.
fn make_room(socket: &Socket) -> io::Result<()> {
    if setsockopt(socket, sockopt::RcvBufForce, &ROOM).is_err() {
        socket.set_recv_buffer_size(ROOM)?;
    }
    Ok(())
}

fn join(socket: &Socket, ear: &Ear, index: u32) -> io::Result<()> {
    for (addressed, _) in &ear.links {
        match addressed {
            Addressed::Group(IpAddr::V4(group)) => {
                socket.join_multicast_v4_n(group, &InterfaceIndexOrAddress::Index(index))?;
            }
            Addressed::Group(IpAddr::V6(group)) => socket.join_multicast_v6(group, index)?,
            Addressed::Us | Addressed::All => {}
        }
    }
    Ok(())
}

/// To whom the kernel says that a datagram was addressed. Only for a broadcast does the address in the packet differ
/// from the one of ours that it came to.
fn addressed(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Addressed {
    let group = |to: IpAddr| {
        if to.is_multicast() {
            Addressed::Group(to)
        } else {
            Addressed::Us
        }
    };
    for control in message.cmsgs().into_iter().flatten() {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let to = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
                let broadcast = info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr;
                return match group(to.into()) {
                    Addressed::Us if broadcast => Addressed::All,
                    other => other,
                };
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                return group(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            _ => {}
        }
    }
    Addressed::Us
}

fn what(ear: &Ear) -> String {
    let family = if ear.v6 { "IPv6 " } else { "" };
    format!(
        "hear heartbeats on {}, {family}UDP port {}",
        ear.interface, ear.port
    )
}
