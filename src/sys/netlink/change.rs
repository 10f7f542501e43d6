//! Sends many changes of addresses in few messages.
//!
//! The kernel accepts any number of requests in one message and has executed all of them when the call returns; the
//! acknowledgements wait in the socket. Sending a thousand addresses one by one would cost a thousand wake-ups.

use std::io::{self, Read};

use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use socket2::{Domain, Protocol, Socket, Type};

use super::ANSWER_TIMEOUT;

/// Requests start at multiples of this.
const ALIGNMENT: usize = 4;

/// A socket for changes alone, so that it receives nothing but their acknowledgements.
pub(super) struct Changer {
    socket: Socket,
    sequence: u32,
}

impl Changer {
    pub fn open() -> io::Result<Self> {
        let protocol = Protocol::from(libc::NETLINK_ROUTE);
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(protocol))?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Changer {
            socket,
            sequence: 0,
        })
    }

    /// Makes these changes. Returns the kernel's error for each, if any. All acknowledgements must fit into the socket's buffer.
    pub fn change(
        &mut self,
        requests: &[RouteNetlinkMessage],
    ) -> io::Result<Vec<Option<io::Error>>> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            append(&mut bytes, request, self.sequence);
        }
        self.socket.send(&bytes)?;
        let mut answers: Vec<Option<io::Error>> = requests.iter().map(|_| None).collect();
        let mut missing = requests.len();
        while missing > 0 {
            let (sequence, refusal) = self.acknowledgement()?;
            let place = usize::try_from(sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
            if let Some(answer) = answers.get_mut(place) {
                *answer = refusal;
                missing -= 1;
            }
        }
        Ok(answers)
    }

    /// The next one: of which request, and the refusal if it is one.
    fn acknowledgement(&self) -> io::Result<(u32, Option<io::Error>)> {
        let mut buffer = [0; 8192];
        loop {
            let length = (&self.socket).read(&mut buffer)?;
            let bytes = buffer.get(..length).unwrap_or_default();
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes)
                .map_err(io::Error::other)?;
            if let NetlinkPayload::Error(verdict) = message.payload {
                let refusal = verdict.code.is_some().then(|| verdict.to_io());
                return Ok((message.header.sequence_number, refusal));
            }
        }
    }
}

fn append(bytes: &mut Vec<u8>, request: &RouteNetlinkMessage, sequence: u32) {
    let mut message = NetlinkMessage::from(request.clone());
    message.header.flags = match request {
        RouteNetlinkMessage::DelAddress(_) => NLM_F_REQUEST | NLM_F_ACK,
        _ => NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
    };
    message.header.sequence_number = sequence;
    message.finalize();
    let begin = bytes.len();
    bytes.resize(begin.saturating_add(message.buffer_len()), 0);
    if let Some(room) = bytes.get_mut(begin..) {
        message.serialize(room);
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
}
