//! Sends heartbeats on every medium. A send never waits: it succeeds at once or not at all.

use std::time::Duration;

use super::engine_handle::OutputSender;
use super::heartbeat_thread::HeartbeatSetup;
use super::socket_opener::{OpenedSocket, SocketOpener};
use crate::engine::Event;
use crate::model::cluster::Cluster;
use crate::model::decision::Level;
use crate::model::heartbeat::Heartbeat;
use crate::model::keys::Keys;
use crate::model::medium::{Medium, Target};
use crate::model::{NodeName, Time};
use crate::sys::clock;
use crate::sys::udp::{SendOutcome, UdpSender};
use crate::wire::{self, Envelope};

/// Pause between two attempts to open a socket on an interface.
pub(super) const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// The load average in heartbeats is read again after this time.
const LOAD_AVERAGE_MAX_AGE: Duration = Duration::from_secs(10);

/// Sends our heartbeats.
pub(super) struct HeartbeatSender {
    media: Vec<MediumSender>,
    opener: SocketOpener,
    keys: Keys,
    envelope: Envelope,
    load_average_read_at: Time,
}

/// Sends on one medium.
struct MediumSender {
    medium: Medium,
    /// None while the interface is missing.
    socket: Option<UdpSender>,
    opened_at: Time,
    /// Whether another socket is being opened. Then a failure of this one is no news.
    opening: bool,
    /// Whether addresses of the interface changed, and this socket is being compared with them.
    check: AddressCheck,
    /// The last error, so that each is logged once.
    last_error: Option<String>,
    /// The peer at a unicast address, once heard from there. Only then can a refusal be attributed.
    peer: Option<NodeName>,
}

/// How far the check of a socket is, after addresses changed.
#[derive(Clone, Copy, PartialEq)]
enum AddressCheck {
    Done,
    Running,
    /// Another change came meanwhile: it is checked once more.
    RunningAndDue,
}

impl HeartbeatSender {
    /// Opens every medium. A missing interface is no error: opening it is tried again.
    pub fn open(setup: &HeartbeatSetup, opener: SocketOpener) -> HeartbeatSender {
        HeartbeatSender {
            media: setup.media.iter().map(MediumSender::open).collect(),
            opener,
            keys: setup.keys.clone(),
            envelope: Envelope {
                uuid: setup.uuid,
                wall_seconds: 0,
                loadavg: String::new(),
                ttl: time_to_live(&setup.cluster, setup.hopfudge),
                cluster: setup.cluster_name.clone(),
            },
            load_average_read_at: Time::ZERO,
        }
    }

    /// Uses the keys and the number of nodes of a new configuration.
    pub fn reconfigure(&mut self, cluster: &Cluster, hopfudge: u8, keys: Keys) {
        self.keys = keys;
        self.envelope.ttl = time_to_live(cluster, hopfudge);
    }

    /// Sends a heartbeat on every medium and returns an event for each peer that refused it. Other errors are logged.
    pub fn send(&mut self, heartbeat: &Heartbeat, out: &OutputSender) -> Vec<Event> {
        let now = clock::now();
        let bytes = self.encode(heartbeat);
        let media = self.media.iter_mut().enumerate();
        let opener = &self.opener;
        let send = |(number, medium): (usize, &mut MediumSender)| {
            medium.retry(number, now, opener);
            medium.send(&bytes, out)
        };
        media.filter_map(send).collect()
    }

    /// The signed datagram of a heartbeat.
    pub fn encode(&mut self, heartbeat: &Heartbeat) -> Vec<u8> {
        let now = clock::now();
        self.envelope.wall_seconds = clock::wall_seconds();
        let age = now.since(self.load_average_read_at);
        if age > LOAD_AVERAGE_MAX_AGE || self.envelope.loadavg.is_empty() {
            self.load_average_read_at = now;
            self.envelope.loadavg = load_average();
        }
        wire::encode(heartbeat, &self.envelope, &self.keys)
    }

    /// Remembers which peer sends from a unicast address, so that a refusal from there names it.
    pub fn learn_peer_address(&mut self, address: std::net::IpAddr, peer: &NodeName) {
        for sender in &mut self.media {
            let sends_there = sender.medium.target == Target::Unicast(address);
            if sends_there && sender.peer.as_ref() != Some(peer) {
                sender.peer = Some(peer.clone());
            }
        }
    }

    /// Has the sockets on an interface opened again, because it came back.
    pub fn reopen(&mut self, interface: &str) {
        for (number, sender) in self.media.iter_mut().enumerate() {
            if sender.medium.interface == interface {
                sender.reopen(number, clock::now(), &self.opener);
            }
        }
    }

    /// Has the sockets on an interface compared with its addresses, because those changed.
    pub fn check_addresses(&mut self, interface: &str) {
        for (number, sender) in self.media.iter_mut().enumerate() {
            if sender.medium.interface == interface {
                sender.check_addresses(number, &self.opener);
            }
        }
    }

    /// Sends on what a check opened from now on; if it opened nothing, the old socket is still right.
    pub fn use_checked(
        &mut self,
        number: usize,
        opened: Option<std::io::Result<UdpSender>>,
        opener: &SocketOpener,
    ) {
        let Some(sender) = self.media.get_mut(number) else {
            return;
        };
        let is_due = sender.check == AddressCheck::RunningAndDue;
        sender.check = AddressCheck::Done;
        if let Some(opened) = opened {
            sender.use_opened(opened);
        }
        if is_due {
            sender.check_addresses(number, opener);
        }
    }

    /// Sends on what was opened from now on.
    pub fn use_opened(&mut self, number: usize, opened: std::io::Result<UdpSender>) {
        if let Some(sender) = self.media.get_mut(number) {
            sender.use_opened(opened);
        }
    }
}

impl MediumSender {
    fn open(medium: &Medium) -> MediumSender {
        let opened = UdpSender::open(medium);
        MediumSender {
            medium: medium.clone(),
            last_error: opened.as_ref().err().map(ToString::to_string),
            socket: opened.ok(),
            opened_at: clock::now(),
            opening: false,
            check: AddressCheck::Done,
            peer: None,
        }
    }

    /// Has another socket opened when there is none.
    fn retry(&mut self, number: usize, now: Time, opener: &SocketOpener) {
        let due = now.since(self.opened_at) >= REOPEN_AFTER;
        if self.socket.is_none() && !self.opening && due {
            self.reopen(number, now, opener);
        }
    }

    fn reopen(&mut self, number: usize, now: Time, opener: &SocketOpener) {
        (self.opened_at, self.opening) = (now, true);
        let medium = self.medium.clone();
        opener.open(move || OpenedSocket::Sender(number, UdpSender::open(&medium)));
    }

    /// A socket that is missing is opened again anyway.
    fn check_addresses(&mut self, number: usize, opener: &SocketOpener) {
        if self.check != AddressCheck::Done {
            self.check = AddressCheck::RunningAndDue;
            return;
        }
        let Some(socket) = &self.socket else { return };
        self.check = AddressCheck::Running;
        let (medium, route) = (self.medium.clone(), socket.route());
        opener.open(move || {
            OpenedSocket::SenderChecked(number, UdpSender::open_if_outdated(&medium, &route))
        });
    }

    fn use_opened(&mut self, opened: std::io::Result<UdpSender>) {
        self.opening = false;
        if let Err(error) = &opened {
            self.last_error = Some(error.to_string());
        }
        self.socket = opened.ok();
    }

    fn send(&mut self, bytes: &[u8], out: &OutputSender) -> Option<Event> {
        match self.socket.as_ref()?.send(bytes) {
            SendOutcome::Ok => {
                self.recovered(out);
                None
            }
            SendOutcome::Refused => {
                self.recovered(out);
                Some(Event::Refused {
                    peer: self.peer.clone()?,
                    link: self.medium.link.clone(),
                })
            }
            SendOutcome::Failed(e) => {
                self.failed(&e, out);
                None
            }
        }
    }

    fn recovered(&mut self, out: &OutputSender) {
        if self.last_error.take().is_some() {
            let interface = &self.medium.interface;
            out.log(
                Level::Info,
                format!("sending heartbeats on {interface} works again"),
            );
        }
    }

    fn failed(&mut self, error: &std::io::Error, out: &OutputSender) {
        if self.opening {
            return;
        }
        let text = error.to_string();
        if self.last_error.as_ref() != Some(&text) {
            let interface = &self.medium.interface;
            out.log(
                Level::Warning,
                format!("cannot send heartbeats on {interface}: {text}"),
            );
            self.last_error = Some(text);
        }
        let interface_gone = [libc::ENODEV, libc::ENXIO, libc::EADDRNOTAVAIL];
        if error
            .raw_os_error()
            .is_some_and(|code| interface_gone.contains(&code))
        {
            self.socket = None;
        }
    }
}

/// How often a heartbeat may be forwarded, as heartbeat 3.0.6 counts it.
fn time_to_live(cluster: &Cluster, hopfudge: u8) -> u32 {
    let ttl = cluster.nodes.len() + cluster.pings.len() + usize::from(hopfudge);
    u32::try_from(ttl).unwrap_or(u32::MAX)
}

/// The kernel has these numbers in memory: to read them waits for nothing.
fn load_average() -> String {
    let read = std::fs::read_to_string("/proc/loadavg");
    read.map_or_else(|_| "n/a".to_owned(), |text| text.trim_end().to_owned())
}
