//! From the engine to the wire: heartbeats on every link, echo requests to ping nodes, signs of life to the service
//! manager. Everything here sends at once or not at all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::heartbeat_thread::{HeartbeatSetup, Output};
use super::receive::Authenticator;
use crate::engine::Event;
use crate::model::cluster::Cluster;
use crate::model::decision::Level;
use crate::model::heartbeat::Heartbeat;
use crate::model::keys::Keys;
use crate::model::medium::{Medium, Target};
use crate::model::{LinkName, NodeName, Time};
use crate::sys::clock;
use crate::sys::icmp::Pinger;
use crate::sys::udp::{SendOutcome, UdpSender};
use crate::wire::{self, Envelope};

/// A load average older than this is read anew.
const LOAD_KEPT: Duration = Duration::from_secs(10);
/// An interface that was not there is looked for again after this.
pub(super) const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// The sending half.
pub(super) struct HeartbeatSender {
    senders: Vec<MediumSender>,
    keys: Keys,
    envelope: Envelope,
    load_read: Time,
    pings: Option<Pings>,
    watchdog: Option<Watchdog>,
}

/// One medium.
struct MediumSender {
    medium: Medium,
    sender: Option<UdpSender>,
    tried: Time,
    /// What went wrong last, so that it is said once.
    trouble: Option<String>,
    /// Who is there, as far as known: only a unicast that reached one peer tells who refused.
    peer: Option<NodeName>,
}

/// Echo requests under way.
struct Pings {
    pinger: Arc<Pinger>,
    sequence: u16,
    sent: Arc<Mutex<VecDeque<(u16, Time)>>>,
    task: JoinHandle<()>,
}

/// The watchdog of the service manager.
struct Watchdog {
    every: Duration,
    told: Time,
}

impl HeartbeatSender {
    /// Opens every medium. An interface that is not there yet is no error: it is tried again.
    pub fn open(
        setup: &HeartbeatSetup,
        authenticator: &Arc<Authenticator>,
    ) -> Result<HeartbeatSender, String> {
        let ttl =
            setup.cluster.nodes.len() + setup.cluster.pings.len() + usize::from(setup.hopfudge);
        let mut sender = HeartbeatSender {
            senders: setup.media.iter().map(MediumSender::open).collect(),
            keys: setup.keys.clone(),
            envelope: Envelope {
                uuid: setup.uuid,
                wall_seconds: 0,
                loadavg: String::new(),
                ttl: u32::try_from(ttl).unwrap_or(u32::MAX),
                cluster: setup.cluster_name.clone(),
            },
            load_read: Time::ZERO,
            pings: None,
            watchdog: watchdog(),
        };
        sender.open_pings(&setup.cluster, authenticator)?;
        Ok(sender)
    }

    /// Takes new secrets and ping nodes.
    pub fn reconfigure(
        &mut self,
        cluster: &Cluster,
        keys: Keys,
        authenticator: &Arc<Authenticator>,
    ) -> Result<(), String> {
        self.keys = keys;
        self.open_pings(cluster, authenticator)
    }

    fn open_pings(
        &mut self,
        cluster: &Cluster,
        authenticator: &Arc<Authenticator>,
    ) -> Result<(), String> {
        if let Some(old) = self.pings.take() {
            old.task.abort();
        }
        if !cluster.pings.is_empty() {
            self.pings = Some(Pings::open(cluster, authenticator)?);
        }
        Ok(())
    }

    /// Sends a heartbeat on every medium. Refusals are given back as facts; other troubles are told once.
    pub fn send(
        &mut self,
        heartbeat: &Heartbeat,
        refused: &mut Vec<Event>,
        out: &mpsc::UnboundedSender<Output>,
    ) {
        let now = clock::now();
        self.envelope.wall_seconds = clock::wall_seconds();
        if now.since(self.load_read) > LOAD_KEPT || self.envelope.loadavg.is_empty() {
            self.load_read = now;
            self.envelope.loadavg = load_average();
        }
        let bytes = wire::encode(heartbeat, &self.envelope, &self.keys);
        for medium_sender in &mut self.senders {
            if let Some(event) = medium_sender.say(&bytes, now, out) {
                refused.push(event);
            }
        }
    }

    /// Remembers which peer is at a unicast address, so that a refusal names it.
    pub fn knows(&mut self, address: std::net::IpAddr, peer: &NodeName) {
        for medium_sender in &mut self.senders {
            if medium_sender.medium.target == Target::Unicast(address)
                && medium_sender.peer.as_ref() != Some(peer)
            {
                medium_sender.peer = Some(peer.clone());
            }
        }
    }

    /// Asks every ping node.
    pub fn ping(&mut self) {
        if let Some(pings) = &mut self.pings {
            pings.ask();
        }
    }

    /// Tells the service manager that we live, as often as it asked for; true when it was told now.
    pub fn tell_watchdog(&mut self) -> bool {
        let now = clock::now();
        let due = self.watchdog.as_mut();
        let Some(watchdog) = due.filter(|w| now.since(w.told) >= w.every) else {
            return false;
        };
        watchdog.told = now;
        // When the service manager cannot be told there is nobody to tell that to.
        drop(sd_notify::notify(&[sd_notify::NotifyState::Watchdog]));
        true
    }

    /// The interface came back: sockets on it are made anew.
    pub fn reopen(&mut self, interface: &str) {
        for medium_sender in self
            .senders
            .iter_mut()
            .filter(|m| m.medium.interface == interface)
        {
            *medium_sender = MediumSender {
                peer: medium_sender.peer.take(),
                ..MediumSender::open(&medium_sender.medium)
            };
        }
    }
}

impl MediumSender {
    fn open(medium: &Medium) -> MediumSender {
        let (sender, trouble) = match UdpSender::open(medium) {
            Ok(sender) => (Some(sender), None),
            Err(e) => (None, Some(e.to_string())),
        };
        MediumSender {
            medium: medium.clone(),
            sender,
            tried: clock::now(),
            trouble,
            peer: None,
        }
    }

    fn say(
        &mut self,
        bytes: &[u8],
        now: Time,
        out: &mpsc::UnboundedSender<Output>,
    ) -> Option<Event> {
        if self.sender.is_none() && now.since(self.tried) >= REOPEN_AFTER {
            self.tried = now;
            self.sender = UdpSender::open(&self.medium).ok();
        }
        match self.sender.as_ref()?.send(bytes) {
            SendOutcome::Ok => {
                self.well(out);
                None
            }
            SendOutcome::Refused => {
                self.well(out);
                Some(Event::Refused {
                    peer: self.peer.clone()?,
                    link: self.link().clone(),
                })
            }
            SendOutcome::Failed(e) => {
                self.ill(&e, out);
                None
            }
        }
    }

    fn link(&self) -> &LinkName {
        &self.medium.link
    }

    fn well(&mut self, out: &mpsc::UnboundedSender<Output>) {
        if self.trouble.take().is_some() {
            let text = format!("heartbeats go out on {} again", self.medium.interface);
            drop(out.send(Output::Note(Level::Info, text)));
        }
    }

    fn ill(&mut self, error: &std::io::Error, out: &mpsc::UnboundedSender<Output>) {
        let text = error.to_string();
        if self.trouble.as_ref() != Some(&text) {
            let note = format!(
                "a heartbeat on {} could not be sent: {text}",
                self.medium.interface
            );
            drop(out.send(Output::Note(Level::Warning, note)));
            self.trouble = Some(text);
        }
        let gone = [libc::ENODEV, libc::ENXIO, libc::EADDRNOTAVAIL];
        if error
            .raw_os_error()
            .is_some_and(|code| gone.contains(&code))
        {
            self.sender = None;
        }
    }
}

impl Pings {
    fn open(cluster: &Cluster, authenticator: &Arc<Authenticator>) -> Result<Pings, String> {
        let targets: Vec<(usize, std::net::IpAddr)> = cluster
            .pings
            .iter()
            .enumerate()
            .flat_map(|(i, ping)| ping.addresses.iter().map(move |a| (i, *a)))
            .collect();
        let pinger = Pinger::open(targets.iter().map(|(_, a)| *a).collect())
            .map_err(|e| format!("cannot ping: {e}; had needs root, or CAP_NET_RAW"))?;
        let pinger = Arc::new(pinger);
        let sent = Arc::new(Mutex::new(VecDeque::new()));
        let owners: Vec<usize> = targets.iter().map(|(i, _)| *i).collect();
        let task = tokio::spawn(hear_replies(
            Arc::clone(&pinger),
            Arc::clone(&sent),
            owners,
            Arc::clone(authenticator),
        ));
        Ok(Pings {
            pinger,
            sequence: 0,
            sent,
            task,
        })
    }

    fn ask(&mut self) {
        /// Answers to older requests come too late to matter.
        const KEPT: usize = 4096;
        self.sequence = self.sequence.wrapping_add(1);
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.push_back((self.sequence, clock::now()));
        if sent.len() > KEPT {
            sent.pop_front();
        }
        drop(sent);
        // Who cannot be asked does not answer, and that is what status says of it.
        drop(self.pinger.ping_all(self.sequence));
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn hear_replies(
    pinger: Arc<Pinger>,
    sent: Arc<Mutex<VecDeque<(u16, Time)>>>,
    owners: Vec<usize>,
    authenticator: Arc<Authenticator>,
) {
    loop {
        match pinger.next_reply().await {
            Ok(reply) => {
                let asked = {
                    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
                    sent.iter()
                        .rev()
                        .find(|(s, _)| *s == reply.sequence)
                        .map(|(_, at)| *at)
                };
                if let (Some(at), Some(ping)) = (asked, owners.get(reply.target)) {
                    authenticator.pong(*ping, at);
                }
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// What the service manager asks for: a sign of life at least each so long; we give two in that time.
fn watchdog() -> Option<Watchdog> {
    let every = sd_notify::watchdog_enabled()?;
    Some(Watchdog {
        every: every / 2,
        told: Time::ZERO,
    })
}

fn load_average() -> String {
    let read = std::fs::read_to_string("/proc/loadavg");
    read.map_or_else(|_| "n/a".to_owned(), |text| text.trim_end().to_owned())
}
