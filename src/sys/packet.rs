//! Raw Ethernet frames over `AF_PACKET`.
//!
//! There are two kinds of socket. A [`FrameSender`] has protocol 0: it receives nothing, so it costs nothing while open. An
//! [`AnswerReceiver`] is bound to one interface and one ethertype before it receives its first frame. It does not make the
//! interface promiscuous.

use std::io::{self, Read};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::arp::{self, AddressAnswer};

/// How many frames are sent without a pause. The limit is the queues of switches and network cards, not the processor.
const MAX_BURST: usize = 256;
/// The pause between bursts.
const BURST_PAUSE: Duration = Duration::from_millis(1);
/// The stack size of a thread that closes a socket.
const CLOSING_STACK: usize = 64 * 1024;
/// How often a frame is retried while the queue is full.
const MAX_RETRIES: usize = 50;

/// A frame to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingFrame {
    /// The index of the interface.
    pub index: u32,
    /// The frame, from the Ethernet header on.
    pub frame: Vec<u8>,
}

/// Sends frames on any interface of its network namespace.
pub struct FrameSender(AsyncFd<Socket>);

impl FrameSender {
    /// Needs `CAP_NET_RAW`.
    pub fn open() -> io::Result<Self> {
        let socket = raw_socket()?;
        registered(socket, Interest::WRITABLE).map(FrameSender)
    }

    /// Sends all in order, a burst at a time. The first error ends it.
    pub async fn send(&self, frames: &[OutgoingFrame]) -> io::Result<()> {
        for (i, burst) in frames.chunks(MAX_BURST).enumerate() {
            if i > 0 {
                tokio::time::sleep(BURST_PAUSE).await;
            }
            for outgoing in burst {
                self.send_one(outgoing).await?;
            }
        }
        Ok(())
    }

    async fn send_one(&self, outgoing: &OutgoingFrame) -> io::Result<()> {
        let to = link_address(outgoing.index, 0)?;
        let mut tries = 0;
        loop {
            let sent = self
                .0
                .async_io(Interest::WRITABLE, |s| s.send_to(&outgoing.frame, &to))
                .await;
            match sent {
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) && tries < MAX_RETRIES => {
                    tries += 1;
                    tokio::time::sleep(BURST_PAUSE).await;
                }
                other => return other.map(drop),
            }
        }
    }
}

/// Receives answers for addresses on one interface.
pub struct AnswerReceiver(Option<AsyncFd<Socket>>);

/// Closing such a socket takes about ten milliseconds, because the kernel waits until no processor can deliver a frame to it. It is
/// closed just before an address is taken over, so a thread does it.
impl Drop for AnswerReceiver {
    fn drop(&mut self) {
        let Some(socket) = self.0.take().map(AsyncFd::into_inner) else {
            return;
        };
        let closes = std::thread::Builder::new().stack_size(CLOSING_STACK);
        // If no thread can be started, dropping the closure closes the socket here.
        drop(closes.spawn(move || drop(socket)));
    }
}

impl AnswerReceiver {
    /// Receives ARP (IPv4).
    pub fn arp(index: u32) -> io::Result<Self> {
        Self::open(index, libc::ETH_P_ARP, &[])
    }

    /// Receives neighbour advertisements (IPv6). The kernel filters out all other IPv6 packets.
    pub fn neighbours(index: u32) -> io::Result<Self> {
        Self::open(index, libc::ETH_P_IPV6, &advertisements_only())
    }

    fn open(index: u32, ethertype: libc::c_int, filter: &[SockFilter]) -> io::Result<Self> {
        let socket = raw_socket()?;
        if !filter.is_empty() {
            socket.attach_filter(filter)?;
        }
        let protocol = u16::try_from(ethertype).map_err(io::Error::other)?;
        socket.bind(&link_address(index, protocol)?)?;
        registered(socket, Interest::READABLE).map(|socket| AnswerReceiver(Some(socket)))
    }

    /// The next answer of any machine for any address. Safe to cancel.
    pub async fn next(&self) -> io::Result<AddressAnswer> {
        let mut frame = [0_u8; 1600];
        let Some(socket) = &self.0 else {
            return Err(io::ErrorKind::NotConnected.into()); // only while it is being dropped
        };
        loop {
            let len = socket
                .async_io(Interest::READABLE, |s| (&mut &*s).read(&mut frame))
                .await?;
            if let Some(answer) = frame.get(..len).and_then(arp::parse_answer) {
                return Ok(answer);
            }
        }
    }
}

/// Receives nothing until it is bound to an ethertype.
fn raw_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Registers the socket with the runtime.
#[allow(unsafe_code)]
pub(super) fn registered(socket: Socket, interest: Interest) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a `Socket` owns its descriptor, always names the same one, and closes it only when dropped.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest)? })
}

/// A socket filter in BPF: accepts ICMPv6 neighbour advertisements and drops everything else.
fn advertisements_only() -> [SockFilter; 6] {
    const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
    const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const NEXT_HEADER: u32 = 14 + 6;
    const ICMP_TYPE: u32 = 14 + 40;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, NEXT_HEADER),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, 58),
        SockFilter::new(LOAD_BYTE, 0, 0, ICMP_TYPE),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, 136),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// The address of an interface for sending and binding; neither nix nor socket2 can build one.
#[allow(unsafe_code)]
pub(super) fn link_address(index: u32, protocol: u16) -> io::Result<SockAddr> {
    let index = libc::c_int::try_from(index).map_err(io::Error::other)?;
    let family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    let length =
        libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: the storage is zeroed, as large and as aligned as any socket address, and holds a valid `sockaddr_ll`
    // of the given family and length when the closure returns.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, len| {
            let ll = storage.cast::<libc::sockaddr_ll>();
            (*ll).sll_family = family;
            (*ll).sll_protocol = protocol.to_be();
            (*ll).sll_ifindex = index;
            *len = length;
            Ok(())
        })?
    };
    Ok(address)
}
