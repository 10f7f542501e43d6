//! What happens to a heartbeat on its way: it may be lost, late, doubled or overtaken. Also the answers of ping nodes.

use std::time::Duration;

use super::random::Random;
use super::world::{ScheduledEvent, World};
use crate::engine::Event;
use crate::model::heartbeat::{Heartbeat, UnreadableHeartbeat};
use crate::model::{LinkName, NodeName};

/// The quality of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Lost, in thousandths.
    pub loss: u32,
    /// Doubled, in thousandths.
    pub twice: u32,
    /// The least delay.
    pub delay: Duration,
    /// A random time up to this is added to each, so that one may overtake another.
    pub jitter: Duration,
}

impl Weather {
    /// A quiet local network.
    pub const CALM: Weather = Weather {
        loss: 0,
        twice: 0,
        delay: Duration::from_micros(200),
        jitter: Duration::ZERO,
    };

    /// The delays after which copies of one datagram arrive: none, one or two.
    fn arrival_delays(self, random: &mut Random) -> Vec<Duration> {
        let copies = 1 + usize::from(random.chance(self.twice));
        (0..copies)
            .filter_map(|_| {
                let after = self.delay + random.between(Duration::ZERO, self.jitter);
                (!random.chance(self.loss)).then_some(after)
            })
            .collect()
    }
}

impl World {
    /// Sets the weather between two machines on one link, one way; elsewhere it is [`World::weather`].
    pub fn weather_between(&mut self, from: &str, to: &str, link: usize, weather: Weather) {
        let key = (NodeName::new(from), NodeName::new(to), link_name(link));
        self.local_weather.insert(key, weather);
    }

    /// Sets the same weather everywhere.
    pub fn weather_everywhere(&mut self, weather: Weather) {
        self.local_weather.clear();
        self.weather = weather;
    }

    /// Delivers a heartbeat that no machine has sent, as from somebody who knows the key.
    pub fn forge(&mut self, to: &str, link: usize, heartbeat: Heartbeat) {
        let event = Event::Heard {
            link: link_name(link),
            from: None,
            heartbeat: Box::new(heartbeat),
        };
        self.deliver(&NodeName::new(to), event);
    }

    /// Delivers a heartbeat of another version, which the machine cannot read.
    pub fn forge_unreadable(&mut self, to: &str, link: usize, heartbeat: UnreadableHeartbeat) {
        let link = link_name(link);
        self.deliver(
            &NodeName::new(to),
            Event::HeardUnreadable { link, heartbeat },
        );
    }

    pub(super) fn send(&mut self, from: &NodeName, heartbeat: &Heartbeat) {
        let others: Vec<NodeName> = self.names().filter(|n| n != from).collect();
        for link in self.cluster.links.clone() {
            for to in &others {
                let path = (from.clone(), to.clone(), link.clone());
                if self.cuts.contains(&path) || self.blocked.contains(&(from.clone(), to.clone())) {
                    continue;
                }
                let weather = *self.local_weather.get(&path).unwrap_or(&self.weather);
                let address = self.address_of(from, &link);
                for after in weather.arrival_delays(&mut self.random) {
                    let event = Event::Heard {
                        link: link.clone(),
                        from: address,
                        heartbeat: Box::new(heartbeat.clone()),
                    };
                    let to = to.clone();
                    self.schedule(after, ScheduledEvent::Arrive { to, event });
                }
            }
        }
    }

    /// Through each ping node that both machines reach. It is lost on the way to the ping node or on the way back.
    pub(super) fn relay(&mut self, from: &NodeName, to: &NodeName, heartbeat: &Heartbeat) {
        let path = (from.clone(), to.clone());
        if self.relay_blocked.contains(&path) {
            return;
        }
        for machine in self.machines_of(to) {
            self.relay_to_machine(from, &machine, heartbeat);
        }
    }

    fn relay_to_machine(&mut self, from: &NodeName, to: &NodeName, heartbeat: &Heartbeat) {
        for (at, ping) in self.cluster.pings.clone().iter().enumerate() {
            let reaches = |node: &NodeName| !self.blind.contains(&(node.clone(), at));
            if !reaches(from) || !reaches(to) {
                continue;
            }
            let weather = self.weather;
            let there = weather.arrival_delays(&mut self.random);
            let back = weather.arrival_delays(&mut self.random);
            for after in there
                .into_iter()
                .flat_map(|t| back.iter().map(move |b| t + *b))
            {
                let event = Event::Heard {
                    link: LinkName::relay(&ping.name),
                    from: None,
                    heartbeat: Box::new(heartbeat.clone()),
                };
                let to = to.clone();
                self.schedule(after, ScheduledEvent::Arrive { to, event });
            }
        }
    }

    pub(super) fn ping_all(&mut self, by: &NodeName) {
        let Some((life, sent)) = self.life_and_clock(by) else {
            return;
        };
        for ping in 0..self.cluster.pings.len() {
            if self.blind.contains(&(by.clone(), ping)) {
                continue;
            }
            let weather = self.weather;
            for after in weather.arrival_delays(&mut self.random) {
                let at = by.clone();
                let event = Event::Pong { ping, sent };
                self.schedule(after * 2, ScheduledEvent::Deliver { at, life, event });
            }
        }
    }
}

/// Links are named as Linux does.
pub(super) fn link_name(link: usize) -> LinkName {
    LinkName::new(&format!("eth{link}"))
}
