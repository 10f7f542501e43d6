//! The network between the hosts: learning switches, one per segment, all in one thread.
//!
//! A port is the descriptor of a TAP device. A frame of a host is read here and written to the port on which its destination
//! was last heard, or to all ports of the segment. Whether it arrives is decided per (segment, sender, receiver): any link
//! can be cut in one or both directions, and the hosts notice only that nothing arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use self::paths::{FrameArrival, Paths};
pub use self::paths::{PathConditions, PortId};
use super::{ErrorContext, LabError};
use crate::sys::realtime;
use crate::sys::tap::Tap;

mod paths;

/// Frames that are read from one port before it is the next one's turn.
const BATCH: usize = 256;
/// The realtime priority: above that of the daemons.
const SWITCH_PRIORITY: i32 = 2;
/// More than the longest frame of a TAP device.
const MAX_FRAME_BYTES: usize = 65_536 + 64;

/// The running switch. Clones are the same switch.
#[derive(Clone)]
pub struct Switch {
    epoll: Arc<Epoll>,
    state: Arc<Mutex<SwitchState>>,
}

struct SwitchState {
    taps: BTreeMap<PortId, Tap>,
    paths: Paths,
    /// Ports without carrier: nothing passes in either direction. (The kernel itself accepts frames for such a device.)
    dark: BTreeSet<PortId>,
    /// Delayed frames by their time of arrival.
    late: BTreeMap<(Instant, u64), (PortId, Vec<u8>)>,
    /// Numbers the delayed frames, because two may be due at the same instant.
    next_late: u64,
}

impl Switch {
    /// Starts a switch without ports for this many hosts and segments.
    pub fn start(hosts: usize, segments: usize) -> Result<Switch, LabError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .doing(|| "cannot create an epoll instance".to_owned())?;
        let switch = Switch {
            epoll: Arc::new(epoll),
            state: Arc::new(Mutex::new(SwitchState {
                taps: BTreeMap::new(),
                paths: Paths::new(hosts, segments),
                dark: BTreeSet::new(),
                late: BTreeMap::new(),
                next_late: 0,
            })),
        };
        let runs = switch.clone();
        std::thread::Builder::new()
            .name("switch".to_owned())
            .spawn(move || {
                // A link must not be slower on a busy machine. Without the privilege for this, it is.
                drop(realtime::raise_priority(SWITCH_PRIORITY));
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

    /// Removes ports. Nothing passes them after this returns. The devices are removed when the result is dropped, which takes
    /// the kernel some milliseconds and so must not delay the switch.
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

    /// Sets the carrier that a host sees on its card.
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
    pub fn change_path(
        &self,
        segment: usize,
        from: usize,
        to: usize,
        change: impl FnOnce(&mut PathConditions),
    ) {
        if let Some(conditions) = self.lock().paths.conditions_mut(segment, from, to) {
            change(conditions);
        }
    }

    /// What happens to frames from one host to another on a segment.
    pub fn conditions(&self, segment: usize, from: usize, to: usize) -> PathConditions {
        self.lock().paths.conditions(segment, from, to)
    }

    fn lock(&self) -> MutexGuard<'_, SwitchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut frame = vec![0; MAX_FRAME_BYTES];
        let mut receivers = Vec::new();
        let mut events = [EpollEvent::empty(); 64];
        loop {
            let timeout = self.lock().deliver_due(Instant::now());
            let ready = match self.epoll.wait(&mut events, timeout) {
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

impl SwitchState {
    /// Forwards the frames of one port. Returns true if its device has vanished.
    fn forward(
        &mut self,
        port: PortId,
        frame: &mut [u8],
        receivers: &mut Vec<FrameArrival>,
    ) -> bool {
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
            for (to, after) in receivers.iter() {
                if after.is_zero() {
                    self.deliver(*to, whole);
                } else {
                    self.next_late = self.next_late.wrapping_add(1);
                    let due = (Instant::now() + *after, self.next_late);
                    self.late.insert(due, (*to, whole.to_vec()));
                }
            }
        }
        false
    }

    fn deliver(&self, to: PortId, frame: &[u8]) {
        if !self.dark.contains(&to)
            && let Some(tap) = self.taps.get(&to)
        {
            // A card that is down or full drops the frame, as a real one does.
            drop(tap.send(frame));
        }
    }

    /// Delivers the frames that are due; returns when the next one is.
    fn deliver_due(&mut self, now: Instant) -> EpollTimeout {
        while let Some(first) = self.late.first_entry() {
            let after = first.key().0.saturating_duration_since(now);
            if !after.is_zero() {
                // Rounded up, so that the frame is due after the wait.
                let wait = after.saturating_add(Duration::from_millis(1));
                return EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::NONE);
            }
            let (to, frame) = first.remove();
            self.deliver(to, &frame);
        }
        EpollTimeout::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand addresses announce themselves with 2,000 frames at once, while the switch is not even looking.
    #[test]
    fn a_burst_of_announcements_arrives_whole() {
        use std::time::{Duration, Instant};

        use crate::lab::net::LabNetlink;
        use crate::lab::plan::Iface;

        const BURST: u32 = 2_000;
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("run as root");
        let netlink = LabNetlink::open().unwrap();
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
