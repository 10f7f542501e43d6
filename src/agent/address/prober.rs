//! Asks the wire who answers for the addresses of a group, before this node takes them over.
//!
//! A round is one probe for each address. What answers is told at once. When [`WINDOW`] has passed in silence, that
//! is told with the time of the round. Silence counts only if every probe could be sent: an interface without
//! carrier hears nothing and proves nothing. Our own hardware addresses are never an answer, so addresses that
//! are up here as well do no harm.

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
use crate::agent::now;
use crate::model::{GroupName, Time};
use crate::sys::arp::{self, Answer};
use crate::sys::netlink::{Link, Netlink};
use crate::sys::packet::{AnswerReceiver, Outgoing};

/// How long an answer may take. A kernel answers within a millisecond.
pub const WINDOW: Duration = Duration::from_millis(45);
/// From round to round, for each [`CROWD`] of addresses.
const INTERVAL: Duration = Duration::from_millis(50);
/// So many addresses are asked for in one interval, at most: each probe is a broadcast that every machine hears.
const CROWD: usize = 128;
/// More than a socket can have kept until the time was over, however late that is noticed here.
const BACKLOG: u32 = 4096;
/// Events that may wait. When it is full they are dropped: the next round tells the same.
const EVENTS: usize = 256;

/// What the prober tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeEvent {
    /// Somebody else has an address of the group. At most one in a round.
    Answered {
        /// The group.
        group: GroupName,
        /// Which address, and which hardware address has it.
        who: String,
    },
    /// Nobody answered a whole round.
    Silent {
        /// The group.
        group: GroupName,
        /// When the round began.
        sent: Time,
    },
}

/// Probes for any number of groups, each in a task of its own. They end when this is dropped.
pub struct AddressProber {
    netlink: Netlink,
    events: mpsc::Sender<ProbeEvent>,
    watches: Mutex<HashMap<GroupName, JoinHandle<()>>>,
}

impl AddressProber {
    /// Nothing is probed yet.
    pub fn new(netlink: Netlink) -> (Self, mpsc::Receiver<ProbeEvent>) {
        let (events, rx) = mpsc::channel(EVENTS);
        let prober = AddressProber {
            netlink,
            events,
            watches: Mutex::default(),
        };
        (prober, rx)
    }

    /// Probes for these addresses, at once and then again and again. Replaces an earlier watch of the group.
    pub fn watch(&self, group: &GroupName, addresses: Vec<VirtualAddress>) {
        let watch = Watch {
            group: group.clone(),
            addresses,
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

struct Watch {
    group: GroupName,
    addresses: Vec<VirtualAddress>,
    netlink: Netlink,
    events: mpsc::Sender<ProbeEvent>,
}

/// The open sockets of a watch, for the interfaces as they are numbered now.
struct Sockets {
    ears: Vec<AnswerReceiver>,
    heard_on: HashSet<(u32, bool)>,
}

/// What one round asks.
struct Round {
    frames: Vec<Outgoing>,
    own: HashSet<MacAddr>,
    wanted: HashSet<IpAddr>,
}

impl Watch {
    async fn run(self) {
        let crowds = self.addresses.len().div_ceil(CROWD).max(1);
        let interval = INTERVAL.saturating_mul(u32::try_from(crowds).unwrap_or(u32::MAX));
        let mut sockets = None;
        let mut complained = false;
        loop {
            let began = Instant::now();
            let round = self.round(&mut sockets, began + interval).await;
            if let Err(error) = round {
                sockets = None;
                if !complained {
                    complained = true;
                    tracing::warn!(group = %self.group, %error, "cannot ask who has the addresses");
                }
            }
            sleep_until(began + interval).await;
        }
    }

    /// Sends, listens until the window closes, tells of silence, and listens on until the next round.
    async fn round(&self, sockets: &mut Option<Sockets>, end: Instant) -> io::Result<()> {
        let sent = now();
        let links = self.netlink.links().await.map_err(io::Error::other)?;
        let (round, heard_on) = plan(&self.addresses, &links)?;
        let sockets = match sockets.take().filter(|s| s.heard_on == heard_on) {
            Some(old) => sockets.insert(old),
            None => sockets.insert(Sockets::open(heard_on)?),
        };
        self.netlink.frames()?.send(&round.frames).await?;
        let window = Instant::now() + WINDOW;
        let early = sockets.answer(&round, window).await?;
        self.tell(match early {
            Some(answer) => self.answered(answer),
            None => ProbeEvent::Silent {
                group: self.group.clone(),
                sent,
            },
        });
        // An answer that comes late still counts; after one, the rest of the round says nothing new.
        if early.is_none()
            && let Some(answer) = sockets.answer(&round, end).await?
        {
            self.tell(self.answered(answer));
        }
        Ok(())
    }

    fn answered(&self, answer: Answer) -> ProbeEvent {
        ProbeEvent::Answered {
            group: self.group.clone(),
            who: format!("{} is at {}", answer.ip, answer.mac),
        }
    }

    fn tell(&self, event: ProbeEvent) {
        // Full or closed: see EVENTS.
        self.events.try_send(event).unwrap_or_default();
    }
}

/// The probes for all addresses, and where their answers come in. Interfaces without neighbours (loopback) are
/// silent by nature.
fn plan(addresses: &[VirtualAddress], links: &[Link]) -> io::Result<(Round, HashSet<(u32, bool)>)> {
    let by_name: HashMap<&str, &Link> = links.iter().map(|l| (l.name.as_str(), l)).collect();
    let mut heard_on = HashSet::new();
    let mut round = Round {
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
        heard_on.insert((link.index, address.ip.is_ipv4()));
        round.frames.push(Outgoing {
            index: link.index,
            frame: arp::probe(mac, address.ip),
        });
    }
    Ok((round, heard_on))
}

impl Sockets {
    fn open(heard_on: HashSet<(u32, bool)>) -> io::Result<Self> {
        let open = |&(index, v4): &(u32, bool)| {
            if v4 {
                AnswerReceiver::arp(index)
            } else {
                AnswerReceiver::neighbours(index)
            }
        };
        Ok(Sockets {
            ears: heard_on.iter().map(open).collect::<io::Result<_>>()?,
            heard_on,
        })
    }

    /// The first answer of somebody else before the time is over. What has arrived is heard before the time is judged.
    async fn answer(&self, round: &Round, until: Instant) -> io::Result<Option<Answer>> {
        let over = sleep_until(until);
        tokio::pin!(over);
        let mut late = 0u32;
        loop {
            let next = async {
                if self.ears.is_empty() {
                    return std::future::pending().await;
                }
                select_all(self.ears.iter().map(|ear| Box::pin(ear.next())))
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
            if late > BACKLOG {
                return Err(io::Error::other(
                    "too much is said on the network to hear an answer",
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests;
