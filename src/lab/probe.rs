//! A client that pings an address again and again, and measures interruptions.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{ErrorContext, LabError, now};
use crate::model::Time;

/// How long the answer to the last request is waited for.
const LAST_ANSWER_TIMEOUT: Duration = Duration::from_millis(200);

/// The result of a probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Requests sent.
    pub sent: u64,
    /// Requests answered.
    pub answered: u64,
    /// The longest of `gaps`; zero if there are none.
    pub longest_gap: Duration,
    /// The slowest answer. A request that waits in the client's kernel for a MAC is answered late, not lost.
    pub slowest: Duration,
    /// Every interruption in which at least one request went unanswered: from the last answer before it (or the start of
    /// the probe) to the first answer after it (or the end).
    pub gaps: Vec<(Time, Duration)>,
}

/// Pings until `stop` becomes readable. To be called in the client's network namespace.
pub fn run(
    address: IpAddr,
    every: Duration,
    stop: BorrowedFd<'_>,
) -> Result<ProbeReport, LabError> {
    let socket = PingSocket::open(address).doing(|| format!("cannot ping {address}"))?;
    let every = every.max(Duration::from_micros(100));
    let mut answers = PingAnswers::default();
    let begin = now();
    let mut next = begin;
    loop {
        let at = now();
        if at >= next {
            answers.sent_at(at);
            socket.send(answers.sent());
            // Requests that a pause of this machine prevented are not sent later.
            next = std::cmp::max(next + every, at);
        }
        if wait(&[socket.as_fd(), stop], next.since(now())).get(1) == Some(&true) {
            break;
        }
        socket.drain(&mut answers);
    }
    let end = now() + LAST_ANSWER_TIMEOUT;
    while !answers.last_is_answered() && now() < end {
        wait(&[socket.as_fd()], end.since(now()));
        socket.drain(&mut answers);
    }
    Ok(answers.report(begin, now()))
}

/// Waits until one of these is readable; returns which are.
fn wait(fds: &[BorrowedFd<'_>], timeout: Duration) -> Vec<bool> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::new(*fd, PollFlags::POLLIN))
        .collect();
    match ppoll(&mut polled, Some(TimeSpec::from(timeout)), None) {
        Ok(_) | Err(Errno::EINTR) => polled.iter().map(|p| p.any() == Some(true)).collect(),
        // This cannot happen while the descriptors are open. End rather than loop.
        Err(_) => vec![true; fds.len()],
    }
}

/// A raw ICMP socket that pings one address.
struct PingSocket {
    socket: Socket,
    to: SockAddr,
    v6: bool,
    ident: u16,
}

/// Header of an echo message before our counter: type, code, checksum, identifier, sequence.
const HEADER: usize = 8;

impl PingSocket {
    fn open(address: IpAddr) -> io::Result<PingSocket> {
        let (domain, protocol) = match address {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        let ident = u16::try_from(now().0 & 0xffff).unwrap_or(1);
        Ok(PingSocket {
            socket,
            to: SocketAddr::new(address, 0).into(),
            v6: address.is_ipv6(),
            ident,
        })
    }

    /// "No route" and "host unreachable" count as lost requests.
    fn send(&self, number: u64) {
        let mut message = Vec::with_capacity(HEADER + 8);
        message.extend([if self.v6 { 128 } else { 8 }, 0, 0, 0]);
        message.extend(self.ident.to_be_bytes());
        message.extend(u16::try_from(number & 0xffff).unwrap_or(0).to_be_bytes());
        message.extend(number.to_be_bytes());
        if !self.v6 {
            // The kernel fills in the checksum of ICMPv6 alone.
            let sum = checksum(&message).to_be_bytes();
            if let Some(place) = message.get_mut(2..4) {
                place.copy_from_slice(&sum);
            }
        }
        drop(self.socket.send_to(&message, &self.to));
    }

    fn drain(&self, answers: &mut PingAnswers) {
        let mut buffer = [0; 2048];
        while let Ok((n, _)) = nix::sys::socket::recvfrom::<()>(
            std::os::fd::AsRawFd::as_raw_fd(&self.socket),
            &mut buffer,
        ) {
            if let Some(number) = self.answer(buffer.get(..n).unwrap_or_default()) {
                answers.heard(number, now());
            }
        }
    }

    /// The number of our request that this packet answers.
    fn answer(&self, packet: &[u8]) -> Option<u64> {
        let message = if self.v6 {
            packet
        } else {
            let header = usize::from(packet.first()? & 0x0f).checked_mul(4)?;
            packet.get(header..)?
        };
        let reply = if self.v6 { 129 } else { 0 };
        let ours = *message.first()? == reply && message.get(4..6)? == self.ident.to_be_bytes();
        let number = message.get(HEADER..)?.first_chunk::<8>()?;
        ours.then(|| u64::from_be_bytes(*number))
    }
}

impl ProbeReport {
    /// How long the client was without an answer: the longest interruption, or the slowest answer.
    pub fn outage(&self) -> Duration {
        self.longest_gap.max(self.slowest)
    }
}

impl AsFd for PingSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The internet checksum.
fn checksum(bytes: &[u8]) -> u16 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut sum: u32 = pairs
        .iter()
        .map(|p| u32::from(u16::from_be_bytes(*p)))
        .sum();
    sum += rest.first().map_or(0, |b| u32::from(*b) << 8);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Which requests were answered, and when. Requests are numbered from 1.
#[derive(Default)]
struct PingAnswers {
    sent: Vec<Time>,
    heard: Vec<Option<Time>>,
}

impl PingAnswers {
    fn sent_at(&mut self, at: Time) {
        self.sent.push(at);
        self.heard.push(None);
    }

    fn sent(&self) -> u64 {
        self.sent.len() as u64
    }

    fn heard(&mut self, number: u64, at: Time) {
        let place = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
        if let Some(slot) = place.and_then(|p| self.heard.get_mut(p)) {
            slot.get_or_insert(at);
        }
    }

    fn last_is_answered(&self) -> bool {
        self.heard.last().is_none_or(Option::is_some)
    }

    fn slowest(&self) -> Duration {
        let pairs = self.sent.iter().zip(&self.heard);
        let waits = pairs.filter_map(|(sent, heard)| Some((*heard)?.since(*sent)));
        waits.max().unwrap_or_default()
    }

    fn report(&self, begin: Time, end: Time) -> ProbeReport {
        let mut gaps = Vec::new();
        let mut last_heard = begin;
        let mut unanswered = false;
        for heard in &self.heard {
            let Some(at) = heard else {
                unanswered = true;
                continue;
            };
            if unanswered {
                gaps.push((last_heard, at.since(last_heard)));
            }
            unanswered = false;
            last_heard = last_heard.max(*at);
        }
        if unanswered {
            gaps.push((last_heard, end.since(last_heard)));
        }
        ProbeReport {
            sent: self.sent(),
            answered: self.heard.iter().flatten().count() as u64,
            longest_gap: gaps.iter().map(|g| g.1).max().unwrap_or_default(),
            slowest: self.slowest(),
            gaps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Time {
        Time(n * 1_000_000)
    }

    /// Sent every 10 ms from 0; answered 1 ms later, or not.
    fn report(answered: &[bool]) -> ProbeReport {
        let mut answers = PingAnswers::default();
        for (n, yes) in (0u64..).zip(answered) {
            answers.sent_at(ms(n * 10));
            if *yes {
                answers.heard(n + 1, ms(n * 10 + 1));
            }
        }
        answers.report(ms(0), ms(1000))
    }

    #[test]
    fn a_gap_is_from_answer_to_answer() {
        let r = report(&[true, true, false, false, true, true]);
        assert_eq!((r.sent, r.answered), (6, 4));
        assert_eq!(r.gaps, [(ms(11), Duration::from_millis(30))]);
        assert_eq!(r.longest_gap, Duration::from_millis(30));
    }

    #[test]
    fn silence_at_the_begin_and_the_end_counts() {
        let r = report(&[false, true, false]);
        assert_eq!(
            r.gaps,
            [
                (ms(0), Duration::from_millis(11)),
                (ms(11), Duration::from_millis(989))
            ]
        );
    }

    #[test]
    fn without_loss_there_is_no_gap() {
        assert_eq!(report(&[true; 20]).gaps, []);
        assert_eq!(report(&[]), ProbeReport::default());
    }

    #[test]
    fn a_late_answer_is_an_outage_though_nothing_was_lost() {
        let mut answers = PingAnswers::default();
        for (number, sent, heard) in [(1, 0, 1), (2, 10, 51), (3, 20, 51)] {
            answers.sent_at(ms(sent));
            answers.heard(number, ms(heard));
        }
        let report = answers.report(ms(0), ms(60));
        assert_eq!((report.answered, &report.gaps), (3, &vec![]));
        assert_eq!(report.outage(), Duration::from_millis(41));
    }

    #[test]
    fn an_answer_to_nothing_is_ignored() {
        let mut answers = PingAnswers::default();
        answers.heard(0, ms(1));
        answers.heard(u64::MAX, ms(1));
        assert_eq!(answers.report(ms(0), ms(1)).answered, 0);
    }

    #[test]
    fn the_checksum_of_a_message_with_its_checksum_is_zero() {
        let mut message = [8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7];
        let sum = checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
        assert_eq!(checksum(&message), 0);
    }
}
