//! Asks the network whether another machine still has the addresses of a group, before this node takes them over.
//!
//! A round sends one probe for each address. An answer is reported at once. If nobody answers for nine tenths of a round, that
//! silence is reported with the time of the round. It counts only if every probe was sent: an interface without carrier
//! receives nothing and proves nothing. Answers from this node's own hardware addresses are ignored.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::select_all;
use pnet::util::MacAddr;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::agent::address::virtual_address::VirtualAddress;
use crate::model::hardware_address::HardwareAddress;
use crate::model::{GroupName, Time};
use crate::sys::arp::{self, AddressAnswer};
use crate::sys::clock::now;
use crate::sys::netlink::{Link, Netlink};
use crate::sys::packet::{AnswerReceiver, OutgoingFrame};

/// How many addresses are probed in the time of a round: each probe is a broadcast that every machine receives.
const BATCH: usize = 128;
/// More frames than a socket can have buffered before the end of the window, however late we notice that end.
const MAX_BACKLOG: u32 = 4096;
/// How many events may wait. Further ones are dropped: the next round reports the same.
const MAX_EVENTS: usize = 256;

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeEvent {
    /// Another machine has an address of the group. Reported at most once per round.
    Answered {
        /// The group.
        group: GroupName,
        /// The address, and the hardware address that has it.
        who: String,
        /// That hardware address.
        hardware: HardwareAddress,
    },
    /// Nobody answered a whole round.
    Silent {
        /// The group.
        group: GroupName,
        /// When the round began.
        sent: Time,
    },
}

/// Probes the addresses of any number of groups, each in a task of its own. Dropping it ends them.
pub struct AddressProber {
    netlink: Netlink,
    events: mpsc::Sender<ProbeEvent>,
    watches: Mutex<HashMap<GroupName, JoinHandle<()>>>,
}

impl AddressProber {
    /// A prober that probes nothing yet.
    pub fn new(netlink: Netlink) -> (Self, mpsc::Receiver<ProbeEvent>) {
        let (events, rx) = mpsc::channel(MAX_EVENTS);
        let prober = AddressProber {
            netlink,
            events,
            watches: Mutex::default(),
        };
        (prober, rx)
    }

    /// Probes these addresses from now on, with this time from round to round for each batch of them. Replaces an earlier
    /// watch of the group.
    pub fn watch(&self, group: &GroupName, addresses: Vec<VirtualAddress>, every: Duration) {
        let watch = AddressWatch {
            group: group.clone(),
            addresses,
            every,
            netlink: self.netlink.clone(),
            events: self.events.clone(),
        };
        let task = tokio::spawn(watch.run());
        self.replace(group, Some(task));
    }

    /// Ends the watch of a group.
    pub fn unwatch(&self, group: &GroupName) {
        self.replace(group, None);
    }

    fn replace(&self, group: &GroupName, task: Option<JoinHandle<()>>) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let old = match task {
            Some(task) => watches.insert(group.clone(), task),
            None => watches.remove(group),
        };
        if let Some(old) = old {
            old.abort();
        }
    }
}

impl Drop for AddressProber {
    fn drop(&mut self) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, task) in watches.drain() {
            task.abort();
        }
    }
}

struct AddressWatch {
    group: GroupName,
    addresses: Vec<VirtualAddress>,
    every: Duration,
    netlink: Netlink,
    events: mpsc::Sender<ProbeEvent>,
}

/// The open sockets of a watch, for the current indices of the interfaces.
pub(super) struct ProbeSockets {
    receivers: Vec<AnswerReceiver>,
    interfaces: HashSet<(u32, bool)>,
}

/// The probes of one round.
pub(super) struct ProbeRound {
    pub frames: Vec<OutgoingFrame>,
    pub own: HashSet<MacAddr>,
    pub wanted: HashSet<IpAddr>,
}

impl AddressWatch {
    async fn run(self) {
        let batches = self.addresses.len().div_ceil(BATCH).max(1);
        let interval = self
            .every
            .saturating_mul(u32::try_from(batches).unwrap_or(u32::MAX));
        let (mut sockets, mut last) = (None, None);
        let mut logged = false;
        loop {
            let began = Instant::now();
            let round = self
                .run_round(&mut sockets, &mut last, began + interval)
                .await;
            if let Err(error) = round {
                sockets = None;
                if !logged {
                    logged = true;
                    tracing::warn!(
                        "{}: cannot check whether another machine has its addresses: {error}",
                        self.group
                    );
                }
            }
            sleep_until(began + interval).await;
        }
    }

    /// Sends the probes and listens: until the window closes, then reports silence, and until the next round.
    /// `last` is the address for which somebody answered in the round before. It is reported again if it is answered again, or
    /// else with several owned addresses another one would be news in every round.
    async fn run_round(
        &self,
        sockets: &mut Option<ProbeSockets>,
        last: &mut Option<IpAddr>,
        end: Instant,
    ) -> io::Result<()> {
        let sent = now();
        let links = self.netlink.links().await.map_err(io::Error::other)?;
        let (round, interfaces) = plan_round(&self.addresses, &links)?;
        let sockets = match sockets.take().filter(|s| s.are_on(&interfaces)) {
            Some(old) => sockets.insert(old),
            None => sockets.insert(ProbeSockets::open(interfaces)?),
        };
        sockets.discard(&round).await?;
        self.netlink.frames()?.send(&round.frames).await?;
        let window = Instant::now() + self.every * 9 / 10;
        let early = sockets.first_of(&round, *last, window).await?;
        *last = early.map(|answer| answer.ip);
        self.report(match early {
            Some(answer) => self.answered_event(answer),
            None => ProbeEvent::Silent {
                group: self.group.clone(),
                sent,
            },
        });
        // A late answer still counts. After an answer the rest of the round adds nothing.
        if early.is_none()
            && let Some(answer) = sockets.next_answer(&round, end).await?
        {
            self.report(self.answered_event(answer));
        }
        Ok(())
    }

    fn answered_event(&self, answer: AddressAnswer) -> ProbeEvent {
        ProbeEvent::Answered {
            group: self.group.clone(),
            who: format!("{} is answered by {}", answer.ip, answer.mac),
            hardware: HardwareAddress(answer.mac.octets()),
        }
    }

    fn report(&self, event: ProbeEvent) {
        // Full or closed: see MAX_EVENTS.
        self.events.try_send(event).unwrap_or_default();
    }
}

/// The probes for all addresses, and the interfaces on which answers arrive. Interfaces without ARP (loopback) are not
/// probed.
fn plan_round(
    addresses: &[VirtualAddress],
    links: &[Link],
) -> io::Result<(ProbeRound, HashSet<(u32, bool)>)> {
    let by_name: HashMap<&str, &Link> = links.iter().map(|l| (l.name.as_str(), l)).collect();
    let mut interfaces = HashSet::new();
    let mut round = ProbeRound {
        frames: Vec::with_capacity(addresses.len()),
        own: links.iter().filter_map(|l| l.mac).collect(),
        wanted: addresses.iter().map(|a| a.ip).collect(),
    };
    for address in addresses {
        let name = &address.interface;
        let link = by_name
            .get(name.as_str())
            .ok_or_else(|| io::Error::other(format!("there is no interface {name}")))?;
        if !link.up || !link.carrier {
            return Err(io::Error::other(format!(
                "{name} is down or has no carrier"
            )));
        }
        let Some(mac) = link.mac.filter(|_| link.arp) else {
            continue;
        };
        interfaces.insert((link.index, address.ip.is_ipv4()));
        round.frames.push(OutgoingFrame {
            index: link.index,
            frame: arp::probe(mac, address.ip),
        });
    }
    Ok((round, interfaces))
}

impl ProbeSockets {
    pub(super) fn open(interfaces: HashSet<(u32, bool)>) -> io::Result<Self> {
        let open = |&(index, v4): &(u32, bool)| {
            if v4 {
                AnswerReceiver::arp(index)
            } else {
                AnswerReceiver::neighbours(index)
            }
        };
        Ok(ProbeSockets {
            receivers: interfaces.iter().map(open).collect::<io::Result<_>>()?,
            interfaces,
        })
    }

    /// Whether they are open on exactly these interfaces.
    pub(super) fn are_on(&self, interfaces: &HashSet<(u32, bool)>) -> bool {
        self.interfaces == *interfaces
    }

    /// Discards what has arrived before a round: the owner of several addresses gives several answers, and those that are left
    /// would count in later rounds, when it may be gone.
    async fn discard(&self, round: &ProbeRound) -> io::Result<()> {
        for _ in 0..MAX_BACKLOG {
            if self.next_answer(round, Instant::now()).await?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// The first answer before `until` for `wanted`, or if there is none, for another address.
    async fn first_of(
        &self,
        round: &ProbeRound,
        wanted: Option<IpAddr>,
        until: Instant,
    ) -> io::Result<Option<AddressAnswer>> {
        let mut first = None;
        while let Some(answer) = self.next_answer(round, until).await? {
            if wanted.is_none_or(|ip| ip == answer.ip) {
                return Ok(Some(answer));
            }
            first = first.or(Some(answer));
        }
        Ok(first)
    }

    /// The first answer of another machine before `until`. Frames that have already arrived are read before the time is checked.
    pub(super) async fn next_answer(
        &self,
        round: &ProbeRound,
        until: Instant,
    ) -> io::Result<Option<AddressAnswer>> {
        let over = sleep_until(until);
        tokio::pin!(over);
        let mut late = 0u32;
        loop {
            let next = async {
                if self.receivers.is_empty() {
                    return std::future::pending().await;
                }
                select_all(
                    self.receivers
                        .iter()
                        .map(|receiver| Box::pin(receiver.next())),
                )
                .await
                .0
            };
            let answer = tokio::select! {
                biased;
                answer = next => answer?,
                () = &mut over => return Ok(None),
            };
            if round.wanted.contains(&answer.ip) && !round.own.contains(&answer.mac) {
                return Ok(Some(answer));
            }
            late += u32::from(Instant::now() > until);
            if late > MAX_BACKLOG {
                return Err(io::Error::other(
                    "too much ARP or neighbour traffic: a reply to the probe could not be found in it",
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests;
