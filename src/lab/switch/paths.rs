//! Which hosts a frame reaches: ports, learned addresses and path conditions, without any device.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

/// The limit of learned addresses. Beyond it the table is emptied, as real switches do under a flood.
const MAX_LEARNED: usize = 16_384;

/// A port's number; never used twice.
pub type PortId = u64;
/// Where a frame arrives, and how late.
pub type FrameArrival = (PortId, Duration);
type Mac = [u8; 6];

/// What happens to a frame on its way from one host to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathConditions {
    /// Nothing arrives.
    pub cut: bool,
    /// Percentage of frames that are lost.
    pub loss: u8,
    /// Each frame is delayed by a random time up to this, so that one may overtake another.
    pub delay: Duration,
    /// Percentage of frames that arrive twice.
    pub twice: u8,
}

impl fmt::Display for PathConditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cut {
            return f.write_str("cut");
        }
        let mut words = Vec::new();
        if self.loss > 0 {
            words.push(format!("loses {} %", self.loss));
        }
        if !self.delay.is_zero() {
            words.push(format!("late by up to {} ms", self.delay.as_millis()));
        }
        if self.twice > 0 {
            words.push(format!("{} % come twice", self.twice));
        }
        f.write_str(&words.join(", "))
    }
}

/// The wiring of all segments.
pub struct Paths {
    hosts: usize,
    ports: BTreeMap<PortId, (usize, usize)>,
    next_port: PortId,
    learned: HashMap<(usize, Mac), PortId>,
    /// Indexed by segment, then sender, then receiver.
    fates: Vec<PathConditions>,
    random: u64,
}

impl Paths {
    pub fn new(hosts: usize, segments: usize) -> Paths {
        Paths {
            hosts,
            ports: BTreeMap::new(),
            next_port: 0,
            learned: HashMap::new(),
            fates: vec![
                PathConditions::default();
                hosts.saturating_mul(hosts).saturating_mul(segments)
            ],
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    pub fn add_port(&mut self, host: usize, segment: usize) -> PortId {
        let port = self.next_port;
        self.next_port = port.wrapping_add(1);
        self.ports.insert(port, (host, segment));
        port
    }

    pub fn remove_port(&mut self, port: PortId) {
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

    pub fn conditions(&self, segment: usize, from: usize, to: usize) -> PathConditions {
        let place = self.place(segment, from, to);
        self.fates.get(place).copied().unwrap_or_default()
    }

    pub fn conditions_mut(
        &mut self,
        segment: usize,
        from: usize,
        to: usize,
    ) -> Option<&mut PathConditions> {
        let place = self.place(segment, from, to);
        self.fates.get_mut(place)
    }

    /// Fills `receivers` with the ports that this frame reaches. The caller reuses the buffer to avoid allocations.
    pub fn receivers(&mut self, port: PortId, frame: &[u8], receivers: &mut Vec<FrameArrival>) {
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
            Some(to) => receivers.push((to, Duration::ZERO)),
            None => receivers.extend(
                self.ports
                    .iter()
                    .filter(|(_, at)| at.1 == segment)
                    .map(|(id, _)| (*id, Duration::ZERO)),
            ),
        }
        receivers.retain(|(to, _)| *to != port && self.arrives(segment, host, *to));
        for place in 0..receivers.len() {
            self.hold_up(segment, host, place, receivers);
        }
    }

    /// Decides how late a frame arrives, and whether it arrives twice.
    fn hold_up(&mut self, segment: usize, from: usize, place: usize, all: &mut Vec<FrameArrival>) {
        let Some(arrival) = all.get_mut(place) else {
            return;
        };
        let Some(&(to, _)) = self.ports.get(&arrival.0) else {
            return;
        };
        let conditions = self.conditions(segment, from, to);
        arrival.1 = self.some_of(conditions.delay);
        if conditions.twice > 0 && self.chance() < u64::from(conditions.twice) {
            let again = (arrival.0, self.some_of(conditions.delay));
            all.push(again);
        }
    }

    /// A random time from zero to this.
    fn some_of(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        match micros.checked_add(1) {
            Some(many) if most > Duration::ZERO => Duration::from_micros(self.random() % many),
            _ => Duration::ZERO,
        }
    }

    fn learn(&mut self, segment: usize, source: Mac, port: PortId) {
        if is_group(source) {
            return;
        }
        if self.learned.len() >= MAX_LEARNED {
            self.learned.clear();
        }
        self.learned.insert((segment, source), port);
    }

    fn arrives(&mut self, segment: usize, from: usize, to: PortId) -> bool {
        let Some(&(to, _)) = self.ports.get(&to) else {
            return false;
        };
        let conditions = self.conditions(segment, from, to);
        !conditions.cut && (conditions.loss == 0 || self.chance() >= u64::from(conditions.loss))
    }

    /// A number from 0 to 99.
    fn chance(&mut self) -> u64 {
        self.random() % 100
    }

    /// Xorshift64.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
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
        receivers.into_iter().map(|(to, _)| to).collect()
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
        p.conditions_mut(0, 0, 1).unwrap().cut = true;
        assert_eq!(reach(&mut p, 0, &frame(0xff, 0x04)), [2]);
        assert_eq!(reach(&mut p, 1, &frame(0xff, 0x02)), [0, 2]);
    }

    #[test]
    fn loss_is_about_what_was_asked() {
        let mut p = paths();
        p.conditions_mut(0, 0, 1).unwrap().loss = 30;
        let arrived = (0..10_000)
            .filter(|_| reach(&mut p, 0, &frame(0xff, 0x04)).contains(&1))
            .count();
        assert!((6_700..7_300).contains(&arrived), "{arrived} of 10000");
    }

    #[test]
    fn frames_are_late_and_come_twice_as_often_as_was_asked() {
        let mut p = paths();
        let most = Duration::from_millis(50);
        let conditions = p.conditions_mut(0, 0, 1).unwrap();
        (conditions.delay, conditions.twice) = (most, 10);
        let mut all = Vec::new();
        for _ in 0..10_000 {
            let mut some = Vec::new();
            p.receivers(0, &frame(0xff, 0x04), &mut some);
            assert_eq!(some.iter().filter(|a| a.0 == 2).count(), 1, "{some:?}");
            all.extend(some.into_iter().filter(|a| a.0 == 1).map(|a| a.1));
        }
        assert!((10_700..11_300).contains(&all.len()), "{}", all.len());
        let early = all.iter().filter(|d| **d < most / 2).count();
        assert!((5_000..6_000).contains(&early), "{early} of {}", all.len());
        assert!(all.iter().all(|d| *d <= most));
    }

    #[test]
    fn a_port_that_left_is_forgotten() {
        let mut p = paths();
        reach(&mut p, 1, &frame(0xff, 0x02));
        p.remove_port(1);
        assert_eq!(reach(&mut p, 0, &frame(0x02, 0x04)), [2]);
    }
}
