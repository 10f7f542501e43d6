//! The network between the hosts: learning switches, one per segment, all in one thread.
//!
//! A port is a TAP device's descriptor. What a host sends is read here and written to the port that its destination was last heard
//! on, or to all of its segment. Whether a frame arrives is decided per (segment, sender, receiver), so any
//! cable can be cut, one way or both, and any loss be set, without the hosts seeing more than silence.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{Doing, LabError};
use crate::sys::realtime;
use crate::sys::tap::Tap;

/// Frames taken from one port before another has its turn.
const BATCH: usize = 256;
/// Above the daemons'.
const SWITCH_PRIORITY: i32 = 2;
/// Longer than any frame of a TAP with any MTU.
const LONGEST_FRAME: usize = 65_536 + 64;
/// Learned addresses in all; beyond this the table is emptied and learned anew, as real switches do under a flood.
const MOST_LEARNED: usize = 16_384;

/// A port's number; never used twice.
pub type PortId = u64;
type Mac = [u8; 6];

/// The running switch. Clones are the same switch.
#[derive(Clone)]
pub struct Switch {
    epoll: Arc<Epoll>,
    state: Arc<Mutex<State>>,
}

struct State {
    taps: BTreeMap<PortId, Tap>,
    paths: Paths,
    /// Ports whose cable is out: nothing passes them, in or out. (The kernel takes frames for a device without carrier.)
    dark: BTreeSet<PortId>,
}

impl Switch {
    /// A switch with no ports for so many hosts and segments, with its thread running.
    pub fn start(hosts: usize, segments: usize) -> Result<Switch, LabError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .doing(|| "cannot make an epoll instance".to_owned())?;
        let switch = Switch {
            epoll: Arc::new(epoll),
            state: Arc::new(Mutex::new(State {
                taps: BTreeMap::new(),
                paths: Paths::new(hosts, segments),
                dark: BTreeSet::new(),
            })),
        };
        let runs = switch.clone();
        std::thread::Builder::new()
            .name("switch".to_owned())
            .spawn(move || {
                // A cable is not slower on a busy machine. Where that is not allowed, it is.
                drop(realtime::prioritise(SWITCH_PRIORITY));
                runs.run();
            })
            .doing(|| "cannot start the switch's thread".to_owned())?;
        Ok(switch)
    }

    /// Plugs a host's card into a segment.
    pub fn plug(&self, tap: Tap, host: usize, segment: usize) -> Result<PortId, LabError> {
        let mut state = self.lock();
        let port = state.paths.add_port(host, segment);
        self.epoll
            .add(&tap, EpollEvent::new(EpollFlags::EPOLLIN, port))
            .doing(|| "cannot watch a TAP device".to_owned())?;
        state.taps.insert(port, tap);
        Ok(port)
    }

    /// Takes ports out. Nothing passes them once this returns; the devices go when the result is dropped,
    /// which takes the kernel some milliseconds and so must not hold up the switch.
    pub fn unplug(&self, ports: &[PortId]) -> Vec<Tap> {
        let mut state = self.lock();
        ports
            .iter()
            .filter_map(|port| {
                state.paths.remove_port(*port);
                state.taps.remove(port)
            })
            .collect()
    }

    /// Sets the carrier of a port's device: what its host sees of the cable.
    pub fn set_carrier(&self, port: PortId, on: bool) -> Result<(), LabError> {
        let mut state = self.lock();
        if on {
            state.dark.remove(&port);
        } else {
            state.dark.insert(port);
        }
        match state.taps.get(&port) {
            Some(tap) => tap
                .set_carrier(on)
                .doing(|| "cannot set the carrier (Linux 5.0 or newer can)".to_owned()),
            None => Ok(()),
        }
    }

    /// Changes what happens to frames from one host to another on a segment.
    pub fn set_fate(&self, segment: usize, from: usize, to: usize, change: impl FnOnce(&mut Fate)) {
        if let Some(fate) = self.lock().paths.fate_mut(segment, from, to) {
            change(fate);
        }
    }

    /// What happens to frames from one host to another on a segment.
    pub fn fate(&self, segment: usize, from: usize, to: usize) -> Fate {
        self.lock().paths.fate(segment, from, to)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut frame = vec![0; LONGEST_FRAME];
        let mut receivers = Vec::new();
        let mut events = [EpollEvent::empty(); 64];
        loop {
            let ready = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(n) => n,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(_) => return,
            };
            for event in events.iter().take(ready) {
                let gone = self
                    .lock()
                    .forward(event.data(), &mut frame, &mut receivers);
                if gone {
                    drop(self.unplug(&[event.data()]));
                }
            }
        }
    }
}

impl State {
    /// Moves what one port has to send. True when the port's device has vanished.
    fn forward(&mut self, port: PortId, frame: &mut [u8], receivers: &mut Vec<PortId>) -> bool {
        let Some(from) = self.taps.get(&port) else {
            return false;
        };
        for _ in 0..BATCH {
            let length = match from.receive(frame) {
                Ok(length) => length,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return false,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return true,
            };
            let Some(whole) = frame.get(..length) else {
                continue;
            };
            if self.dark.contains(&port) {
                continue;
            }
            self.paths.receivers(port, whole, receivers);
            let lit = receivers.iter().filter(|r| !self.dark.contains(r));
            for to in lit.filter_map(|r| self.taps.get(r)) {
                // A card that is down or full drops the frame, as a real one does.
                drop(to.send(whole));
            }
        }
        false
    }
}

/// What happens to a frame on its way from one host to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Nothing arrives.
    pub cut: bool,
    /// Of a hundred frames so many are lost, by chance.
    pub loss: u8,
}

/// Who hears whom: ports, learned addresses and fates, without any device.
struct Paths {
    hosts: usize,
    ports: BTreeMap<PortId, (usize, usize)>,
    next_port: PortId,
    learned: HashMap<(usize, Mac), PortId>,
    /// Indexed by segment, then sender, then receiver.
    fates: Vec<Fate>,
    random: u64,
}

impl Paths {
    fn new(hosts: usize, segments: usize) -> Paths {
        Paths {
            hosts,
            ports: BTreeMap::new(),
            next_port: 0,
            learned: HashMap::new(),
            fates: vec![Fate::default(); hosts.saturating_mul(hosts).saturating_mul(segments)],
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    fn add_port(&mut self, host: usize, segment: usize) -> PortId {
        let port = self.next_port;
        self.next_port = port.wrapping_add(1);
        self.ports.insert(port, (host, segment));
        port
    }

    fn remove_port(&mut self, port: PortId) {
        self.ports.remove(&port);
        self.learned.retain(|_, at| *at != port);
    }

    fn place(&self, segment: usize, from: usize, to: usize) -> usize {
        segment
            .saturating_mul(self.hosts)
            .saturating_add(from)
            .saturating_mul(self.hosts)
            .saturating_add(to)
    }

    fn fate(&self, segment: usize, from: usize, to: usize) -> Fate {
        let place = self.place(segment, from, to);
        self.fates.get(place).copied().unwrap_or_default()
    }

    fn fate_mut(&mut self, segment: usize, from: usize, to: usize) -> Option<&mut Fate> {
        let place = self.place(segment, from, to);
        self.fates.get_mut(place)
    }

    /// Fills `receivers` with the ports that this frame reaches. The buffer is the caller's so that no frame allocates.
    fn receivers(&mut self, port: PortId, frame: &[u8], receivers: &mut Vec<PortId>) {
        receivers.clear();
        let Some(&(host, segment)) = self.ports.get(&port) else {
            return;
        };
        let Some((destination, rest)) = frame.split_first_chunk::<6>() else {
            return;
        };
        let Some(source) = rest.first_chunk::<6>() else {
            return;
        };
        self.learn(segment, *source, port);
        let known = if is_group(*destination) {
            None
        } else {
            self.learned.get(&(segment, *destination)).copied()
        };
        match known {
            Some(to) => receivers.push(to),
            None => receivers.extend(
                self.ports
                    .iter()
                    .filter(|(_, at)| at.1 == segment)
                    .map(|(id, _)| *id),
            ),
        }
        receivers.retain(|to| *to != port && self.arrives(segment, host, *to));
    }

    fn learn(&mut self, segment: usize, source: Mac, port: PortId) {
        if is_group(source) {
            return;
        }
        if self.learned.len() >= MOST_LEARNED {
            self.learned.clear();
        }
        self.learned.insert((segment, source), port);
    }

    fn arrives(&mut self, segment: usize, from: usize, to: PortId) -> bool {
        let Some(&(to, _)) = self.ports.get(&to) else {
            return false;
        };
        let fate = self.fate(segment, from, to);
        !fate.cut && (fate.loss == 0 || self.chance() >= u64::from(fate.loss))
    }

    /// A number from 0 to 99 (xorshift64).
    fn chance(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % 100
    }
}

/// Broadcast and multicast, which nobody owns.
fn is_group(mac: Mac) -> bool {
    mac.first().is_some_and(|first| first & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three hosts on segment 0, and host 0 on segment 1 too (port 3).
    fn paths() -> Paths {
        let mut paths = Paths::new(3, 2);
        for host in 0..3 {
            paths.add_port(host, 0);
        }
        paths.add_port(0, 1);
        paths
    }

    fn frame(to: u8, from: u8) -> [u8; 14] {
        [to, 0, 0, 0, 0, to, from, 0, 0, 0, 0, from, 8, 0]
    }

    fn reach(paths: &mut Paths, port: PortId, frame: &[u8]) -> Vec<PortId> {
        let mut receivers = Vec::new();
        paths.receivers(port, frame, &mut receivers);
        receivers
    }

    #[test]
    fn unknown_and_broadcast_reach_the_segment_and_known_only_its_port() {
        let mut p = paths();
        assert_eq!(reach(&mut p, 0, &frame(0x02, 0x04)), [1, 2]);
        assert_eq!(reach(&mut p, 1, &frame(0x04, 0x02)), [0]);
        assert_eq!(reach(&mut p, 0, &frame(0xff, 0x04)), [1, 2]);
        assert_eq!(reach(&mut p, 3, &frame(0xff, 0x06)), [] as [PortId; 0]);
        assert_eq!(reach(&mut p, 0, &[1, 2, 3]), [] as [PortId; 0]);
    }

    #[test]
    fn a_cut_is_one_way_and_on_one_segment() {
        let mut p = paths();
        p.fate_mut(0, 0, 1).unwrap().cut = true;
        assert_eq!(reach(&mut p, 0, &frame(0xff, 0x04)), [2]);
        assert_eq!(reach(&mut p, 1, &frame(0xff, 0x02)), [0, 2]);
    }

    #[test]
    fn loss_is_about_what_was_asked() {
        let mut p = paths();
        p.fate_mut(0, 0, 1).unwrap().loss = 30;
        let arrived = (0..10_000)
            .filter(|_| reach(&mut p, 0, &frame(0xff, 0x04)).contains(&1))
            .count();
        assert!((6_700..7_300).contains(&arrived), "{arrived} of 10000");
    }

    #[test]
    fn a_port_that_left_is_forgotten() {
        let mut p = paths();
        reach(&mut p, 1, &frame(0xff, 0x02));
        p.remove_port(1);
        assert_eq!(reach(&mut p, 0, &frame(0x02, 0x04)), [2]);
    }

    /// A thousand addresses announce themselves with 2,000 frames at once, while the switch is not even looking.
    #[test]
    fn a_burst_of_announcements_arrives_whole() {
        use std::time::{Duration, Instant};

        use crate::lab::net::Netlink;
        use crate::lab::plan::Iface;

        const BURST: u32 = 2_000;
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("run as root");
        let netlink = Netlink::open().unwrap();
        let tap = |name: &str, last: u8| {
            let tap = Tap::create(name).unwrap();
            let addresses = vec![([10, 99, last, 1].into(), 24)];
            let card = Iface {
                name: name.into(),
                segment: "s".into(),
                addresses,
            };
            netlink.configure(&card, [2, 0, 0, 0, 0, last]).unwrap();
            tap
        };
        let (from, to) = (tap("from", 1), tap("to", 2));
        let socket = std::net::UdpSocket::bind("10.99.1.1:0").unwrap();
        socket.set_broadcast(true).unwrap();
        // All of the burst shall wait in the device, none of it in the socket.
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::SndBufForce, &(16 << 20))
            .unwrap();
        for _ in 0..BURST {
            socket.send_to(b"here", "10.99.1.255:9").unwrap();
        }
        let switch = Switch::start(2, 1).unwrap();
        switch.plug(to, 1, 0).unwrap();
        switch.plug(from, 0, 0).unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while received("to") < BURST {
            assert!(
                Instant::now() < end,
                "{} of {BURST} arrived",
                received("to")
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Frames that came in on an interface of this thread's network.
    fn received(interface: &str) -> u32 {
        let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let line = text
            .lines()
            .find_map(|l| l.trim().strip_prefix(interface)?.strip_prefix(':'));
        line.unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }
}
