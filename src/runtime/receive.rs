//! Authenticates what arrives. What passes goes to the engine; the rest is counted. A forged datagram costs one digest
//! at most, and most of them not even that, see [`SourceFilter`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::counters::Counters;
use super::engine_handle::{NewConfiguration, OutputSender};
use super::heartbeat_thread::HeartbeatSetup;
use super::source_filter::{SourceFilter, UNEXPECTED_PER_SECOND, Unexpected};
use crate::engine::Event;
use crate::model::decision::Level;
use crate::model::heartbeat::{Heartbeat, UnreadableHeartbeat};
use crate::model::identity::Instance;
use crate::model::keys::Keys;
use crate::model::{Generation, LinkName, NodeName, Sequence, Time};
use crate::sys::clock;
use crate::sys::udp::{Arrival, UdpReceiver};
use crate::wire::message::MAX_BYTES;
use crate::wire::{self, Refused};

/// With so many senders, further ones that are not configured are dropped. Each of them knows the key.
const MAX_SENDERS: usize = 128;
/// Pause of a socket after an error.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(20);

/// Datagrams read from one socket before other tasks and the timer run: a flood must not keep this node from sending.
const DATAGRAMS_PER_TURN: usize = 32;

/// What was received and is for the engine.
#[derive(Debug)]
pub enum Received {
    /// An authenticated heartbeat.
    Heartbeat {
        /// The link it came on.
        link: LinkName,
        /// The address of its sender on that link.
        from: IpAddr,
        /// The heartbeat.
        heartbeat: Box<Heartbeat>,
    },
    /// An authenticated heartbeat of another version.
    Unreadable(LinkName, UnreadableHeartbeat),
    /// A ping node answered the request sent at that time.
    Pong(usize, Time),
}

impl Received {
    /// As an event for the engine.
    pub fn into_event(self) -> Event {
        match self {
            Received::Heartbeat {
                link,
                from,
                heartbeat,
            } => Event::Heard {
                from: (!link.is_relay()).then_some(from),
                link,
                heartbeat,
            },
            Received::Unreadable(link, heartbeat) => Event::HeardUnreadable { link, heartbeat },
            Received::Pong(ping, sent) => Event::Pong { ping, sent },
        }
    }
}

/// Authenticates what arrives on every socket.
#[derive(Debug)]
pub struct Authenticator {
    me: NodeName,
    rules: RwLock<Rules>,
    newest: Mutex<BTreeMap<NodeName, NewestHeartbeats>>,
    /// The newest heartbeat that this daemon has sent.
    sent: Mutex<Option<(Option<Instance>, Generation, Sequence)>>,
    cluster_name: String,
    filter: SourceFilter,
    counters: Arc<Counters>,
    accepted: mpsc::Sender<Received>,
    pub(super) out: OutputSender,
}

/// What a reload may change.
#[derive(Debug)]
struct Rules {
    nodes: Vec<NodeName>,
    keys: Keys,
    /// Whether the first rejected datagram of each kind is logged.
    log_bad_packets: bool,
}

/// Lives of one node whose newest heartbeat is known: two machines may have its name.
const MAX_LIVES: usize = 4;
/// With so many, another one takes the place of the one heard longest ago, but not more often than this. The life with the
/// highest generation keeps its place: whoever recorded many old lives could else silence the present one.
const LIFE_REPLACED_EVERY: Duration = Duration::from_millis(100);

/// The newest heartbeats of a node, of each of its lives. Copies of older ones are dropped by it: an attacker who recorded one can send it a
/// hundred thousand times a second, and the engine must not handle each of them.
#[derive(Debug, Default)]
struct NewestHeartbeats {
    lives: Vec<NewestHeartbeat>,
    replaced: Time,
}

impl NewestHeartbeats {
    /// True when the heartbeat is the newest of its life on that link.
    fn accept(&mut self, now: Time, link: &LinkName, heartbeat: &Heartbeat) -> bool {
        let instance = heartbeat.identity.instance;
        if let Some(at) = self.lives.iter().position(|l| l.instance == instance) {
            // The one that was heard last comes last.
            if let Some(of_life) = self.lives.get_mut(at)
                && of_life.accept(link, heartbeat)
            {
                self.lives
                    .get_mut(at..)
                    .into_iter()
                    .for_each(|l| l.rotate_left(1));
                return true;
            }
            return false;
        }
        if self.lives.len() >= MAX_LIVES && !self.make_room(now, heartbeat.generation) {
            return false;
        }
        let mut of_life = NewestHeartbeat {
            instance,
            ..NewestHeartbeat::default()
        };
        let accepted = of_life.accept(link, heartbeat);
        self.lives.push(of_life);
        accepted
    }
}

impl NewestHeartbeats {
    /// Forgets the life heard longest ago, for one of this generation; false if it has to wait. A later generation than all
    /// never waits.
    fn make_room(&mut self, now: Time, generation: Generation) -> bool {
        let highest = self.lives.iter().map(|l| l.generation).max();
        let is_later = highest.is_none_or(|h| generation > h);
        if !is_later && now < self.replaced + LIFE_REPLACED_EVERY {
            return false;
        }
        let oldest = self
            .lives
            .iter()
            .position(|l| Some(l.generation) != highest);
        self.replaced = now;
        self.lives.remove(oldest.unwrap_or_default());
        true
    }
}

/// The newest heartbeat of one life of a node.
#[derive(Debug, Default)]
struct NewestHeartbeat {
    instance: Option<Instance>,
    generation: Generation,
    sequences: BTreeMap<LinkName, Sequence>,
}

impl NewestHeartbeat {
    /// True when the heartbeat has a higher generation, or is newer than the last on that link. It is then the newest.
    fn accept(&mut self, link: &LinkName, heartbeat: &Heartbeat) -> bool {
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
    /// Sends to `accepted` what passes.
    pub fn new(
        setup: &HeartbeatSetup,
        counters: Arc<Counters>,
        accepted: mpsc::Sender<Received>,
        out: OutputSender,
    ) -> Authenticator {
        Authenticator {
            me: setup.cluster.me.clone(),
            rules: RwLock::new(Rules {
                nodes: setup.cluster.nodes.clone(),
                keys: setup.keys.clone(),
                log_bad_packets: setup.log_bad_packets,
            }),
            newest: Mutex::default(),
            sent: Mutex::default(),
            cluster_name: setup.cluster_name.clone(),
            filter: SourceFilter::new(&setup.media),
            counters,
            accepted,
            out,
        }
    }

    /// Uses the members and keys of a new configuration.
    pub fn reconfigure(&self, new: &NewConfiguration) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Rules {
            nodes: new.cluster.nodes.clone(),
            keys: new.keys.clone(),
            log_bad_packets: new.log_bad_packets,
        };
        // A member that was removed and added again is new to the engine, too.
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.clear();
        self.filter.forget();
    }

    /// Passes on the answer of a ping node.
    pub fn pass_on_pong(&self, ping: usize, sent: Time) {
        self.pass_on(Received::Pong(ping, sent));
    }

    /// Starts a task that reads a socket.
    pub fn listen(self: &Arc<Self>, receiver: UdpReceiver) -> JoinHandle<()> {
        let authenticator = Arc::clone(self);
        tokio::spawn(async move {
            let mut buffer = vec![0; MAX_BYTES + 1];
            let mut taken = 0;
            loop {
                taken = (taken + 1) % DATAGRAMS_PER_TURN;
                if taken == 0 {
                    tokio::task::yield_now().await;
                }
                if let Ok(arrival) = receiver.receive(&mut buffer).await {
                    let bytes = buffer.get(..arrival.length).unwrap_or_default();
                    authenticator.authenticate(&arrival, bytes);
                } else {
                    authenticator.counters.receive_failed();
                    // A socket whose interface is gone fails at once, again and again.
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        })
    }

    /// Judges a datagram that has arrived.
    pub fn authenticate(&self, arrival: &Arrival<'_>, bytes: &[u8]) {
        let Arrival { link, from, .. } = *arrival;
        if !arrival.to_all
            && let Err(why) = self.filter.admit(clock::now(), from.ip(), arrival.ttl)
        {
            return self.count_dropped(why, arrival);
        }
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        let heartbeat = match wire::decode(bytes, &rules.keys, &self.cluster_name) {
            Ok(heartbeat) => heartbeat,
            Err(why) => {
                let first = self.counters.datagram_rejected(why, from.ip());
                if first && rules.log_bad_packets {
                    self.log_rejected(why, link, from);
                }
                if matches!(why, Refused::OtherVersion | Refused::Malformed(_)) {
                    self.pass_on_unreadable(bytes, link, &rules);
                }
                return;
            }
        };
        if heartbeat.src == self.me {
            self.authenticate_namesake(link, from.ip(), heartbeat);
            return;
        }
        let known = rules.nodes.contains(&heartbeat.src);
        if !known {
            // Only the engine can tell whether it still runs something of ours.
            self.counters.unknown_node();
        }
        if self.is_new(link, &heartbeat, known) {
            self.counters.heartbeat_accepted();
            if !arrival.to_all {
                let peer = &heartbeat.src;
                self.filter.learn(peer, link, from.ip(), arrival.ttl);
            }
            self.pass_on(Received::Heartbeat {
                link: link.clone(),
                from: from.ip(),
                heartbeat: Box::new(heartbeat),
            });
        } else {
            self.counters.old_heartbeat();
        }
    }

    /// Notes what this daemon sends: it comes back by broadcast or multicast.
    pub fn note_sent(&self, heartbeat: &Heartbeat) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let instance = heartbeat.identity.instance;
        *sent = Some((instance, heartbeat.generation, heartbeat.sequence));
    }

    /// A heartbeat with our own name: one of ours, or one of another machine with that name.
    fn authenticate_namesake(&self, link: &LinkName, from: IpAddr, heartbeat: Heartbeat) {
        let sent = *self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let instance = heartbeat.identity.instance;
        let ours = sent.is_none_or(|(own, generation, sequence)| {
            own == instance && (heartbeat.generation, heartbeat.sequence) <= (generation, sequence)
        });
        if !ours && instance.is_some() && self.is_new(link, &heartbeat, true) {
            self.pass_on(Received::Heartbeat {
                link: link.clone(),
                from,
                heartbeat: Box::new(heartbeat),
            });
        }
    }

    /// A member that sends in another version is alive.
    fn pass_on_unreadable(&self, bytes: &[u8], link: &LinkName, rules: &Rules) {
        let now = clock::now().0 / 1_000_000;
        let read = wire::decode_unreadable(bytes, &rules.keys, &self.cluster_name, now);
        let Some(heartbeat) = read.filter(|h| h.src != self.me && rules.nodes.contains(&h.src))
        else {
            return;
        };
        let numbers = Heartbeat::new(
            heartbeat.src.clone(),
            heartbeat.generation,
            heartbeat.sequence,
        );
        if self.is_new(link, &numbers, true) {
            let link = link.clone();
            self.pass_on(Received::Unreadable(link, heartbeat));
        }
    }

    fn is_new(&self, link: &LinkName, heartbeat: &Heartbeat, known: bool) -> bool {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if !known && newest.len() >= MAX_SENDERS && !newest.contains_key(&heartbeat.src) {
            return false;
        }
        let of_peer = newest.entry(heartbeat.src.clone()).or_default();
        of_peer.accept(clock::now(), link, heartbeat)
    }

    fn count_dropped(&self, why: Unexpected, arrival: &Arrival<'_>) {
        let first = self.counters.datagram_dropped(why);
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        if !first || !rules.log_bad_packets {
            return;
        }
        let Arrival {
            link, from, ttl, ..
        } = arrival;
        let what = match why {
            Unexpected::Source => "which is no address of a peer".to_owned(),
            Unexpected::Ttl => format!("with TTL {ttl}, lower than that of the peer's heartbeats"),
        };
        let text = format!(
            "dropped a datagram from {from} on {link}, {what}: more than {UNEXPECTED_PER_SECOND} of them arrive in a second (logged once; hactl status has the count)"
        );
        self.out.log(Level::Warning, text);
    }

    fn log_rejected(&self, why: Refused, link: &LinkName, from: SocketAddr) {
        let text = format!(
            "rejected a datagram from {from} on {link}: {why} (logged once; hactl status has the count)"
        );
        self.out.log(Level::Warning, text);
    }

    /// To the engine. When its queue is full, the next heartbeat makes up for the loss.
    fn pass_on(&self, received: Received) {
        if self.accepted.try_send(received).is_err() {
            self.counters.queue_full();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cluster::{Cluster, Timing};
    use crate::runtime::engine_handle::channels;

    fn heartbeat(generation: u64, sequence: u64) -> Heartbeat {
        let (generation, sequence) = (Generation(generation), Sequence(sequence));
        Heartbeat::new(NodeName::new("bob"), generation, sequence)
    }

    #[test]
    fn only_what_is_newer_on_its_link_or_of_a_new_life_reaches_the_engine() {
        let mut newest = NewestHeartbeat::default();
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
            let accepted = newest.accept(&LinkName::new(link), &heartbeat(generation, sequence));
            assert_eq!(accepted, taken, "{link} {generation} {sequence}");
        }
    }

    /// Two machines with one name are told apart; recordings of many lives cost little.
    #[test]
    fn each_life_of_a_node_is_counted_by_itself() {
        let (eth0, mut newest) = (LinkName::new("eth0"), NewestHeartbeats::default());
        let mut accepts = |ms: u64, instance: u64, sequence: u64| {
            let mut heartbeat = heartbeat(5, sequence);
            heartbeat.identity.instance = Some(Instance(instance));
            let now = Time::ZERO + Duration::from_secs(1) + Duration::from_millis(ms);
            newest.accept(now, &eth0, &heartbeat)
        };
        assert!(accepts(0, 1, 10) && accepts(0, 2, 10) && accepts(0, 1, 11));
        assert!(!accepts(0, 2, 10) && !accepts(0, 1, 9));
        assert!(accepts(0, 3, 10) && accepts(0, 4, 10) && accepts(0, 5, 10));
        assert!(!accepts(50, 6, 10), "a life was replaced a moment ago");
        assert!(accepts(150, 6, 10));
        assert!(!accepts(160, 6, 10) && accepts(160, 6, 11));
    }

    /// Somebody recorded many former lives, and sends them again and again.
    #[test]
    fn recordings_of_former_lives_do_not_silence_the_present_one() {
        let (eth0, mut newest) = (LinkName::new("eth0"), NewestHeartbeats::default());
        let mut accepts = |ms: u64, life: u64, sequence: u64| {
            let mut heartbeat = heartbeat(life, sequence);
            heartbeat.identity.instance = Some(Instance(life));
            let now = Time::ZERO + Duration::from_millis(1000 + ms);
            newest.accept(now, &eth0, &heartbeat)
        };
        for second in 0..5 {
            for recorded in 0..8 {
                let _old = accepts(second * 1000 + recorded * 110, recorded, 10);
            }
            // Another life has just taken a place.
            assert!(accepts(second * 1000 + 780, 9, second), "{second}");
        }
        assert!(accepts(5000, 10, 1), "nor the next one");
    }

    #[test]
    fn a_reload_turns_the_log_of_rejected_datagrams_on() {
        let nodes = ["alice", "bob"].map(NodeName::new);
        let keys = Keys {
            signing: 1,
            keys: BTreeMap::new(),
        };
        let setup = HeartbeatSetup {
            cluster: Cluster::new(
                &nodes,
                Timing::usual(Duration::from_secs(1), Duration::from_secs(10)),
            ),
            kept: crate::engine::PersistentState::default(),
            media: vec![],
            keys: keys.clone(),
            cluster_name: String::new(),
            uuid: [1; 16],
            hopfudge: 1,
            priority: None,
            log_bad_packets: false,
            feed: None,
        };
        let ((_engine, mut outputs), (_inputs, out)) = channels();
        let (accepted, _received) = mpsc::channel(1);
        let authenticator = Authenticator::new(&setup, Arc::default(), accepted, out);
        let mut is_logged = |bytes: &[u8]| {
            let arrival = Arrival {
                length: bytes.len(),
                from: SocketAddr::from(([10, 0, 0, 9], 694)),
                link: &LinkName::new("eth0"),
                to_all: false,
                ttl: 255,
            };
            authenticator.authenticate(&arrival, bytes);
            outputs.try_recv().is_ok()
        };
        assert!(!is_logged(b"neither framing"));
        authenticator.reconfigure(&NewConfiguration {
            cluster: setup.cluster.clone(),
            keys,
            hopfudge: 1,
            log_bad_packets: true,
        });
        assert!(is_logged(b"###\nno digest"));
        assert!(!is_logged(b"###\nno digest"), "each kind once");
    }
}
