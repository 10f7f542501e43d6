//! Asks whether the machine of a node answers although its daemon is silent: with echo requests, and with the questions of
//! ARP and neighbour discovery on the networks that this node is in. Addresses of this node itself are left out.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::prober::{ProbeRound, ProbeSockets};
use super::virtual_address::contains;
use crate::model::{NodeName, Time};
use crate::sys::arp;
use crate::sys::clock::now;
use crate::sys::icmp::Pinger;
use crate::sys::netlink::{Address, Link, Netlink};
use crate::sys::packet::OutgoingFrame;

/// The time from round to round.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How many events may wait. Further ones are dropped: the next round reports the same.
const MAX_EVENTS: usize = 64;

/// What is known of a machine since a round of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineNews {
    /// At least one request went out.
    Asked,
    /// It has named its hardware address.
    Neighbour,
    /// It has sent an echo reply.
    Echo,
}

/// News of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineEvent {
    /// The node.
    pub node: NodeName,
    /// What is known.
    pub news: MachineNews,
    /// When the request was sent.
    pub sent: Time,
}

/// Asks any number of machines, each in a task of its own. Dropping it ends them.
pub struct MachineProber {
    netlink: Netlink,
    events: mpsc::Sender<MachineEvent>,
    watches: HashMap<NodeName, JoinHandle<()>>,
}

impl MachineProber {
    /// A prober that asks nobody yet.
    pub fn new(netlink: Netlink) -> (Self, mpsc::Receiver<MachineEvent>) {
        let (events, rx) = mpsc::channel(MAX_EVENTS);
        let prober = MachineProber {
            netlink,
            events,
            watches: HashMap::new(),
        };
        (prober, rx)
    }

    /// Asks the machine of a node at these addresses periodically from now on.
    pub fn watch(&mut self, node: &NodeName, addresses: Vec<IpAddr>) {
        let watch = MachineWatch {
            node: node.clone(),
            addresses,
            netlink: self.netlink.clone(),
            events: self.events.clone(),
        };
        self.unwatch(node);
        self.watches.insert(node.clone(), tokio::spawn(watch.run()));
    }

    /// Ends that.
    pub fn unwatch(&mut self, node: &NodeName) {
        if let Some(task) = self.watches.remove(node) {
            task.abort();
        }
    }
}

impl Drop for MachineProber {
    fn drop(&mut self) {
        for (_, task) in self.watches.drain() {
            task.abort();
        }
    }
}

struct MachineWatch {
    node: NodeName,
    addresses: Vec<IpAddr>,
    netlink: Netlink,
    events: mpsc::Sender<MachineEvent>,
}

/// What stays open from round to round.
#[derive(Default)]
struct OpenSockets {
    pinger: Option<(Vec<IpAddr>, Pinger)>,
    neighbours: Option<ProbeSockets>,
}

impl MachineWatch {
    async fn run(self) {
        let mut open = OpenSockets::default();
        let mut logged = false;
        let mut number = 0_u16;
        loop {
            let end = Instant::now() + ASK_EVERY;
            number = number.wrapping_add(1);
            if let Err(error) = self.run_round(&mut open, number, end).await {
                open = OpenSockets::default();
                if !logged {
                    logged = true;
                    tracing::warn!(
                        "cannot ask the machine of {}: {error}; while nobody can ask it, it counts as off only when twice the time for stops is over",
                        self.node
                    );
                }
            }
            sleep_until(end).await;
        }
    }

    /// Sends one request of each kind to each address, and waits for the first answer of each kind.
    async fn run_round(&self, open: &mut OpenSockets, number: u16, end: Instant) -> io::Result<()> {
        let sent = now();
        let links = self.netlink.links().await.map_err(io::Error::other)?;
        let addresses = self.netlink.addresses().await.map_err(io::Error::other)?;
        let own: HashSet<IpAddr> = addresses.iter().map(|a| a.ip).collect();
        let targets = self.addresses.iter().filter(|ip| !own.contains(ip));
        let targets: Vec<IpAddr> = targets.copied().collect();
        let (round, interfaces) = plan_round(&targets, &links, &addresses);
        let neighbours = match open.neighbours.take().filter(|s| s.are_on(&interfaces)) {
            Some(old) => open.neighbours.insert(old),
            None => open.neighbours.insert(ProbeSockets::open(interfaces)?),
        };
        let pinger = match open.pinger.take() {
            Some((of, pinger)) if of == targets => pinger,
            _ => Pinger::open(targets.clone())?,
        };
        let (_, pinger) = open.pinger.insert((targets, pinger));
        self.netlink.frames()?.send(&round.frames).await?;
        let failed = pinger.ping_all(number);
        if round.frames.is_empty() && failed.len() == pinger.targets() {
            let why = failed.into_iter().next().map(|(_, why)| why);
            return Err(why.unwrap_or_else(|| io::Error::other("none of its addresses is known")));
        }
        self.report(MachineNews::Asked, sent);
        let (neighbour, echo) = tokio::join!(
            self.report_neighbour(neighbours, &round, end, sent),
            self.report_echo(pinger, number, end, sent)
        );
        neighbour.and(echo)
    }

    async fn report_neighbour(
        &self,
        sockets: &ProbeSockets,
        round: &ProbeRound,
        end: Instant,
        sent: Time,
    ) -> io::Result<()> {
        if sockets.next_answer(round, end).await?.is_some() {
            self.report(MachineNews::Neighbour, sent);
        }
        Ok(())
    }

    async fn report_echo(
        &self,
        pinger: &Pinger,
        number: u16,
        end: Instant,
        sent: Time,
    ) -> io::Result<()> {
        while let Ok(reply) = timeout_at(end, pinger.next_reply()).await {
            if reply?.sequence == number {
                self.report(MachineNews::Echo, sent);
                break;
            }
        }
        Ok(())
    }

    fn report(&self, news: MachineNews, sent: Time) {
        let node = self.node.clone();
        // Full or closed: see MAX_EVENTS.
        let event = MachineEvent { node, news, sent };
        self.events.try_send(event).unwrap_or_default();
    }
}

/// The questions for the addresses that are in a network of this machine, and the interfaces on which answers arrive.
fn plan_round(
    targets: &[IpAddr],
    links: &[Link],
    addresses: &[Address],
) -> (ProbeRound, HashSet<(u32, bool)>) {
    let mut interfaces = HashSet::new();
    let mut round = ProbeRound {
        frames: Vec::new(),
        own: links.iter().filter_map(|l| l.mac).collect(),
        wanted: targets.iter().copied().collect(),
    };
    for ip in targets {
        let near = addresses
            .iter()
            .filter(|a| contains(a.ip, a.prefix, *ip))
            .map(|a| a.index);
        let near: HashSet<u32> = near.collect();
        let usable = |l: &&Link| near.contains(&l.index) && l.up && l.carrier && l.arp;
        for link in links.iter().filter(usable) {
            let Some(mac) = link.mac else { continue };
            interfaces.insert((link.index, ip.is_ipv4()));
            round.frames.push(OutgoingFrame {
                index: link.index,
                frame: arp::probe(mac, *ip),
            });
        }
    }
    (round, interfaces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::machine::Machine;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn alice() -> NodeName {
        NodeName::new("alice")
    }

    /// Waits until the machine has answered in both ways.
    async fn answers(events: &mut mpsc::Receiver<MachineEvent>) {
        let (mut echo, mut neighbour) = (false, false);
        while !(echo && neighbour) {
            let event = tokio::time::timeout(PATIENCE, events.recv()).await;
            let event = event.expect("an answer in time").unwrap();
            assert_eq!(event.node, alice());
            echo |= event.news == MachineNews::Echo;
            neighbour |= event.news == MachineNews::Neighbour;
        }
    }

    #[test]
    fn a_machine_without_a_daemon_answers_in_both_ways_and_both_families() {
        for address in ["10.0.0.2", "fd00::2"] {
            let (a, b) = Machine::pair();
            a.run(move || async move {
                let (mut prober, mut events) = MachineProber::new(Netlink::new());
                prober.watch(&alice(), vec![address.parse().unwrap()]);
                answers(&mut events).await;
            });
            drop(b);
        }
    }

    #[test]
    fn own_addresses_and_absent_machines_do_not_answer() {
        let (a, b) = Machine::pair();
        a.run(|| async {
            let (mut prober, mut events) = MachineProber::new(Netlink::new());
            let absent = ["10.0.0.1", "10.0.0.77"].map(|a| a.parse().unwrap());
            prober.watch(&alice(), absent.to_vec());
            for _ in 0..3 {
                let event = tokio::time::timeout(PATIENCE, events.recv()).await;
                assert_eq!(event.unwrap().unwrap().news, MachineNews::Asked);
            }
            prober.unwatch(&alice());
            // Nobody can be asked at an own address, nor where no route leads.
            for (node, address) in [("carol", "10.0.0.1"), ("dave", "192.0.2.1")] {
                prober.watch(&NodeName::new(node), vec![address.parse().unwrap()]);
            }
            let other = NodeName::new("bob");
            prober.watch(&other, vec!["10.0.0.2".parse().unwrap()]);
            for _ in 0..6 {
                let event = tokio::time::timeout(PATIENCE, events.recv()).await;
                assert_eq!(event.unwrap().unwrap().node, other);
            }
            prober.unwatch(&other);
        });
        drop(b);
    }

    #[test]
    fn a_machine_that_drops_pings_still_names_its_hardware_address() {
        let (a, b) = Machine::pair();
        b.run(|| async {
            let silent = "/proc/sys/net/ipv4/icmp_echo_ignore_all";
            std::fs::write(silent, "1").unwrap();
        });
        a.run(|| async {
            let (mut prober, mut events) = MachineProber::new(Netlink::new());
            prober.watch(&alice(), vec!["10.0.0.2".parse().unwrap()]);
            for _ in 0..3 {
                let event = tokio::time::timeout(PATIENCE, events.recv()).await;
                assert_ne!(event.unwrap().unwrap().news, MachineNews::Echo);
            }
        });
        drop(b);
    }
}
