//! Engines that hear each other at once, in virtual time, with resources that start and stop at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use had::engine::{Action, Asker, Call, Command, Engine, Event, Outcome, PersistentState};
use had::model::cluster::{Cluster, Timing};
use had::model::heartbeat::Heartbeat;
use had::model::{Generation, LinkName, NodeName, Time};
use had::sim::World;

/// Events that a daemon takes in together.
const TOGETHER: usize = 64;

/// A cluster of engines.
pub struct Net {
    pub engines: Vec<Engine>,
    /// What has arrived and was not handled, by node.
    arrived: Vec<VecDeque<Event>>,
    pub now: Time,
    /// The last heartbeat that each node has got.
    pub last_heard: Vec<Option<Heartbeat>>,
    /// How many groups run on each node.
    pub running: Vec<usize>,
    cost: Duration,
}

/// A configuration with so many nodes and groups, all of them for the first node.
fn cluster(nodes: usize, groups: usize, keepalive: Duration) -> Cluster {
    let names: Vec<String> = (0..nodes).map(|n| format!("node{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(&names).ping("gateway");
    for n in 0..groups {
        let name = format!("IPaddr::10.0.{}.{}/16/eth0", n / 250, n % 250);
        world = world.group(&name, "node0", 0);
    }
    let mut cluster = world.cluster;
    cluster.timing = Timing::usual(keepalive, keepalive * 10);
    cluster
}

impl Net {
    pub fn new(nodes: usize, groups: usize, keepalive: Duration) -> Net {
        let mut net = Net {
            engines: Vec::new(),
            arrived: vec![VecDeque::new(); nodes],
            now: World::BEGIN,
            last_heard: vec![None; nodes],
            running: vec![0; nodes],
            cost: Duration::ZERO,
        };
        let cluster = cluster(nodes, groups, keepalive);
        let mut first_orders = Vec::new();
        for me in 0..nodes {
            let mut cluster = cluster.clone();
            cluster.me = NodeName::new(&format!("node{me}"));
            let kept = PersistentState {
                generation: Generation(2),
                ..PersistentState::default()
            };
            let (engine, actions) = Engine::new(cluster, kept, net.now);
            net.engines.push(engine);
            first_orders.push(actions);
        }
        for (me, actions) in first_orders.into_iter().enumerate() {
            net.perform(me, actions);
        }
        net
    }

    pub fn command(&mut self, node: usize, command: Command) {
        let asker = Asker::default();
        let id = 1;
        self.arrived[node].push_back(Event::Command { id, command, asker });
    }

    fn perform(&mut self, me: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(heartbeat) => self.send(me, &heartbeat),
                Action::Save { version, .. } => {
                    self.arrived[me].push_back(Event::Saved { version });
                }
                Action::Ping => {
                    let (ping, sent) = (0, self.now);
                    self.arrived[me].push_back(Event::Pong { ping, sent });
                }
                Action::Run { group, order, call } => {
                    let outcome = match call {
                        Call::Probe => Outcome::Seen(vec![Some(false)]),
                        Call::Start(_) | Call::Stop(_) => Outcome::Succeeded,
                    };
                    match call {
                        Call::Probe => {}
                        Call::Start(_) => self.running[me] += 1,
                        Call::Stop(_) => self.running[me] -= 1,
                    }
                    self.arrived[me].push_back(Event::Done {
                        group,
                        order,
                        outcome,
                    });
                }
                _ => {}
            }
        }
    }

    fn send(&mut self, me: usize, heartbeat: &Heartbeat) {
        for to in (0..self.arrived.len()).filter(|n| *n != me) {
            self.last_heard[to] = Some(heartbeat.clone());
            self.arrived[to].push_back(Event::Heard {
                link: LinkName::new("eth0"),
                from: None,
                heartbeat: Box::new(heartbeat.clone()),
            });
        }
    }

    /// As a daemon does: takes in what has arrived at a node, and decides once.
    fn read(&mut self, node: usize) {
        let begun = Instant::now();
        let mut actions = Vec::new();
        for n in 1..=TOGETHER {
            let Some(event) = self.arrived[node].pop_front() else {
                break;
            };
            let next = self.arrived[node].front();
            let more = n < TOGETHER && event.can_wait() && next.is_some_and(Event::can_wait);
            if more {
                self.engines[node].take(self.now, event);
            } else {
                actions = self.engines[node].handle(self.now, event);
                break;
            }
        }
        self.cost += begun.elapsed();
        self.perform(node, actions);
    }

    /// Time passes until something is so.
    pub fn run_until(&mut self, is_so: impl Fn(&Net) -> bool) {
        let end = self.now + Duration::from_secs(600);
        while !is_so(self) {
            assert!(self.now < end, "it never came to that");
            let busy: Vec<usize> = (0..self.arrived.len())
                .filter(|n| !self.arrived[*n].is_empty())
                .collect();
            for node in &busy {
                self.read(*node);
            }
            if busy.is_empty() {
                let due = self.engines.iter().map(Engine::next_deadline);
                self.now = due.min().unwrap().max(self.now);
                for node in 0..self.engines.len() {
                    if self.engines[node].next_deadline() <= self.now {
                        self.arrived[node].push_back(Event::DeadlineReached);
                    }
                }
            }
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(|net| net.now >= end);
    }

    /// What the engines have cost since the last time.
    pub fn take_cost(&mut self) -> Duration {
        std::mem::take(&mut self.cost)
    }
}
