//! From the wire to the engine: datagrams are believed or counted. Forged ones cost a digest each and nothing more.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::counters::Counters;
use super::heartbeat_thread::Output;
use crate::engine::Event;
use crate::model::decision::Level;
use crate::model::heartbeat::Heartbeat;
use crate::model::keys::Keys;
use crate::model::{Generation, LinkName, NodeName, Sequence, Time};
use crate::sys::udp::UdpReceiver;
use crate::wire::message::MAX_BYTES;
use crate::wire::{self, Refused};

/// How long a socket rests after an error.
const AFTER_ERROR: Duration = Duration::from_millis(20);

/// Datagrams taken from one socket before others have their turn, and the timer: a flood must not keep us from speaking.
const TURN: usize = 32;

/// Something the engine shall hear.
#[derive(Debug)]
pub enum Heard {
    /// A believed heartbeat, and from where it came: that address is its sender's on this link.
    Heartbeat {
        /// The link.
        link: LinkName,
        /// From where.
        from: IpAddr,
        /// What it says.
        heartbeat: Box<Heartbeat>,
    },
    /// A ping node answered what was sent then.
    Pong(usize, Time),
}

impl Heard {
    /// As a fact for the engine.
    pub fn event(self) -> Event {
        match self {
            Heard::Heartbeat {
                link, heartbeat, ..
            } => Event::Heard { link, heartbeat },
            Heard::Pong(ping, sent) => Event::Pong { ping, sent },
        }
    }
}

/// Judges what comes in on every socket.
#[derive(Debug)]
pub struct Authenticator {
    me: NodeName,
    trusted: RwLock<Trusted>,
    newest: Mutex<BTreeMap<NodeName, Newest>>,
    cluster_name: String,
    counters: Arc<Counters>,
    hear: mpsc::Sender<Heard>,
    /// Where each kind of refusal is told once.
    tell: Option<mpsc::UnboundedSender<Output>>,
}

#[derive(Debug)]
struct Trusted {
    nodes: Vec<NodeName>,
    keys: Keys,
}

/// What was last heard of a member. A copy of an older heartbeat ends here: whoever recorded it can send it a hundred
/// thousand times a second, and to have each judged by the engine would cost more than to forge.
#[derive(Debug, Default)]
struct Newest {
    generation: Generation,
    sequences: BTreeMap<LinkName, Sequence>,
}

impl Newest {
    /// Whether the engine would learn something by it: a new life, or a newer heartbeat than the last on that link.
    fn takes(&mut self, link: &LinkName, heartbeat: &Heartbeat) -> bool {
        if heartbeat.generation < self.generation {
            return false;
        }
        if heartbeat.generation > self.generation {
            self.generation = heartbeat.generation;
            self.sequences.clear();
        }
        match self.sequences.get_mut(link) {
            Some(last) if heartbeat.sequence <= *last => return false,
            Some(last) => *last = heartbeat.sequence,
            None => drop(self.sequences.insert(link.clone(), heartbeat.sequence)),
        }
        true
    }
}

impl Authenticator {
    /// Gives what it believes to `hear`.
    pub fn new(
        me: NodeName,
        nodes: Vec<NodeName>,
        cluster_name: String,
        keys: Keys,
        counters: Arc<Counters>,
        hear: mpsc::Sender<Heard>,
        tell: Option<mpsc::UnboundedSender<Output>>,
    ) -> Authenticator {
        let trusted = RwLock::new(Trusted { nodes, keys });
        Authenticator {
            me,
            trusted,
            newest: Mutex::default(),
            cluster_name,
            counters,
            hear,
            tell,
        }
    }

    /// Takes other members and secrets.
    pub fn change(&self, nodes: Vec<NodeName>, keys: Keys) {
        *self.trusted.write().unwrap_or_else(PoisonError::into_inner) = Trusted { nodes, keys };
        // A member that left and came again is new to the engine, too.
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.clear();
    }

    /// Gives a ping node's answer on.
    pub fn pong(&self, ping: usize, sent: Time) {
        self.pass_on(Heard::Pong(ping, sent));
    }

    /// Listens on a socket until the task is ended.
    pub fn listen(self: &Arc<Self>, receiver: UdpReceiver) -> JoinHandle<()> {
        let authenticator = Arc::clone(self);
        tokio::spawn(async move {
            let mut buffer = vec![0; MAX_BYTES + 1];
            let mut taken = 0;
            loop {
                taken = (taken + 1) % TURN;
                if taken == 0 {
                    tokio::task::yield_now().await;
                }
                if let Ok(arrival) = receiver.receive(&mut buffer).await {
                    let bytes = buffer.get(..arrival.length).unwrap_or_default();
                    authenticator.judge(arrival.link, bytes, arrival.from);
                } else {
                    authenticator.counters.receive_failed();
                    // A socket whose interface is gone fails at once, again and again.
                    tokio::time::sleep(AFTER_ERROR).await;
                }
            }
        })
    }

    fn judge(&self, link: &LinkName, bytes: &[u8], from: SocketAddr) {
        let trusted = self.trusted.read().unwrap_or_else(PoisonError::into_inner);
        let heartbeat = match wire::decode(bytes, &trusted.keys, &self.cluster_name) {
            Ok(heartbeat) => heartbeat,
            Err(why) => {
                self.refuse(why, link, from);
                return;
            }
        };
        if heartbeat.src == self.me {
            return; // Our own, come back by broadcast or multicast.
        }
        if !trusted.nodes.contains(&heartbeat.src) {
            self.counters.stranger();
        } else if !self.is_new(link, &heartbeat) {
            self.counters.old();
        } else {
            self.counters.believed();
            let heartbeat = Box::new(heartbeat);
            self.pass_on(Heard::Heartbeat {
                link: link.clone(),
                from: from.ip(),
                heartbeat,
            });
        }
    }

    fn is_new(&self, link: &LinkName, heartbeat: &Heartbeat) -> bool {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = newest.entry(heartbeat.src.clone()).or_default();
        of_peer.takes(link, heartbeat)
    }

    fn refuse(&self, why: Refused, link: &LinkName, from: SocketAddr) {
        if self.counters.refused(why)
            && let Some(tell) = &self.tell
        {
            let text = format!(
                "a datagram from {from} on {link} is not believed: {why} (said once; hactl status counts)"
            );
            drop(tell.send(Output::Note(Level::Warning, text)));
        }
    }

    /// To the engine; when its queue is full the next heartbeat repairs the loss.
    fn pass_on(&self, heard: Heard) {
        if self.hear.try_send(heard).is_err() {
            self.counters.overrun();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::heartbeat::{Intent, Phase, Reach};

    fn heartbeat(generation: u64, sequence: u64) -> Heartbeat {
        Heartbeat {
            src: NodeName::new("bob"),
            generation: Generation(generation),
            sequence: Sequence(sequence),
            phase: Phase::Active,
            deadtime: Duration::ZERO,
            heard: vec![],
            groups: vec![],
            reach: Reach::default(),
            quorate: true,
            intent: Intent::default(),
            failed_checks: vec![],
            peer_messages: vec![],
            digest: 0,
        }
    }

    #[test]
    fn only_what_is_newer_on_its_link_or_of_a_new_life_reaches_the_engine() {
        let mut newest = Newest::default();
        for (link, generation, sequence, taken) in [
            ("eth0", 5, 10, true),
            ("eth0", 5, 10, false),
            ("eth1", 5, 10, true),
            ("eth1", 5, 9, false),
            ("eth0", 5, 12, true),
            ("eth1", 5, 11, true),
            ("eth0", 4, 99, false),
            ("eth0", 6, 1, true),
            ("eth1", 5, 13, false),
            ("eth1", 6, 1, true),
            ("eth0", 6, 1, false),
        ] {
            let heard = newest.takes(&LinkName::new(link), &heartbeat(generation, sequence));
            assert_eq!(heard, taken, "{link} {generation} {sequence}");
        }
    }
}
