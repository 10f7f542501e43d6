//! Random faults and commands, drawn from the seed of a world.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::*;
use had::model::{GroupName, Time};
use had::sim::{Behaviour, Way, Weather, World};

/// What may go wrong in a class of runs.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Cables between nodes, both ways and one way; a probe on the wire does not pass them either.
    pub cuts: bool,
    /// Heartbeats alone are lost between two nodes, both ways and one way.
    pub blocks: bool,
    /// A node is cut from all others and from the ping nodes.
    pub isolation: bool,
    /// Ping nodes come and go for single nodes.
    pub blindness: bool,
    pub crash: bool,
    pub lost_store: bool,
    /// Daemons are killed and frozen: what they ran runs on.
    pub kill: bool,
    pub freeze: bool,
    pub weather: bool,
    pub commands: bool,
    pub leave: bool,
    pub maintenance: bool,
    pub failing_starts: bool,
    pub failing_stops: bool,
    /// Stops take up to so long.
    pub slow_stops: Option<Duration>,
    /// One fault at a time, each with this much quiet after it.
    pub quiet: Option<Duration>,
}

/// One run's faults under way.
pub struct Chaos {
    pub faults: Faults,
    pub nodes: Vec<String>,
    pub groups: Vec<GroupName>,
    /// What was done, for the story of a run that goes wrong.
    pub diary: Vec<(Time, String)>,
    pub frozen: BTreeSet<String>,
    /// Commands that wait for an answer: to whom, in which of its lives, and the number.
    pub asked: Vec<(String, u64, u64)>,
    lives: u64,
}

type Fault = fn(&mut Chaos, &mut World);

impl Chaos {
    pub fn new(world: &World, faults: Faults) -> Chaos {
        Chaos {
            faults,
            nodes: world.names().map(|n| n.to_string()).collect(),
            groups: world
                .cluster
                .groups
                .iter()
                .map(|g| g.name.clone())
                .collect(),
            diary: Vec::new(),
            frozen: BTreeSet::new(),
            asked: Vec::new(),
            lives: 0,
        }
    }

    fn kinds(&self) -> Vec<Fault> {
        let f = &self.faults;
        let all: [(bool, &[Fault]); 14] = [
            (
                f.cuts,
                &[Chaos::cut, Chaos::cut, Chaos::isolate, Chaos::heal],
            ),
            (f.blocks, &[Chaos::block, Chaos::block, Chaos::heal]),
            (f.isolation, &[Chaos::isolate, Chaos::heal]),
            (f.blindness, &[Chaos::blind]),
            (f.crash, &[Chaos::crash, Chaos::boot, Chaos::boot]),
            (f.lost_store, &[Chaos::lose_store]),
            (f.kill, &[Chaos::kill, Chaos::boot, Chaos::boot]),
            (f.freeze, &[Chaos::freeze, Chaos::thaw, Chaos::thaw]),
            (f.weather, &[Chaos::weather]),
            (
                f.commands,
                &[
                    Chaos::standby,
                    Chaos::takeover,
                    Chaos::unstandby,
                    Chaos::clear,
                ],
            ),
            (f.leave, &[Chaos::leave, Chaos::boot]),
            (f.maintenance, &[Chaos::maintenance]),
            (f.failing_starts, &[Chaos::break_start, Chaos::mend_agents]),
            (
                f.failing_stops || f.slow_stops.is_some(),
                &[Chaos::break_stop, Chaos::mend_agents],
            ),
        ];
        let on = all.into_iter().filter(|(on, _)| *on);
        on.flat_map(|(_, kinds)| kinds.iter().copied()).collect()
    }

    /// Something goes wrong.
    pub fn strike(&mut self, world: &mut World) {
        let kinds = self.kinds();
        if let Some(fault) = world.random.pick(&kinds).copied() {
            fault(self, world);
        }
    }

    /// How long until the next strike.
    pub fn pause(&self, world: &mut World) -> Duration {
        match self.faults.quiet {
            Some(quiet) => world.random.between(quiet, quiet * 2),
            // Often together, sometimes far apart.
            None => match world.random.below(3) {
                0 => world.random.between(ms(0), ms(30)),
                1 => world.random.between(ms(0), ms(700)),
                _ => world.random.between(ms(0), ms(4000)),
            },
        }
    }

    pub(crate) fn note(&mut self, world: &World, what: String) {
        self.diary.push((world.now, what));
    }

    pub(crate) fn node(&self, world: &mut World) -> String {
        world.random.pick(&self.nodes).unwrap().clone()
    }

    fn two(&self, world: &mut World) -> (String, String) {
        let a = self.node(world);
        let others: Vec<String> = self.nodes.iter().filter(|n| **n != a).cloned().collect();
        (a, world.random.pick(&others).unwrap().clone())
    }

    pub(crate) fn some_groups(&self, world: &mut World) -> Vec<GroupName> {
        if world.random.chance(300) {
            return self.groups.clone();
        }
        vec![world.random.pick(&self.groups).unwrap().clone()]
    }

    fn cut(&mut self, world: &mut World) {
        let (a, b) = self.two(world);
        let way = if world.random.chance(500) {
            Way::Both
        } else {
            Way::OneWay
        };
        self.note(world, format!("cut {a} {b} {way:?}"));
        for link in 0..world.cluster.links.len() {
            world.cut(&a, &b, link, way);
        }
    }

    fn isolate(&mut self, world: &mut World) {
        let a = self.node(world);
        self.note(world, format!("isolate {a}"));
        for b in self.nodes.clone() {
            if a != b {
                world.part(&a, &b);
            }
        }
        for ping in 0..world.cluster.pings.len() {
            world.see(&a, ping, false);
        }
    }

    fn blind(&mut self, world: &mut World) {
        let a = self.node(world);
        let sees = world.random.chance(500);
        self.note(world, format!("{a} sees the ping node: {sees}"));
        world.see(&a, 0, sees);
    }

    fn block(&mut self, world: &mut World) {
        let (a, b) = self.two(world);
        let both = world.random.chance(500);
        self.note(world, format!("block {a} {b} both ways: {both}"));
        world.block_heartbeats_one_way(&a, &b);
        if both {
            world.block_heartbeats_one_way(&b, &a);
        }
    }

    pub fn heal(&mut self, world: &mut World) {
        self.note(world, "heal".into());
        world.heal();
        for node in &self.nodes {
            for ping in 0..world.cluster.pings.len() {
                world.see(node, ping, true);
            }
        }
    }

    fn weather(&mut self, world: &mut World) {
        let most = *world.random.pick(&[0, 1, 10, 100, 500, 2000]).unwrap();
        let loss = *world.random.pick(&[0, 0, 10, 100, 300, 700]).unwrap();
        let weather = Weather {
            loss,
            twice: *world.random.pick(&[0, 100, 500]).unwrap(),
            delay: Duration::from_micros(200),
            jitter: ms(most),
        };
        if world.random.chance(500) {
            self.note(world, format!("weather {weather:?}"));
            world.weather_everywhere(weather);
        } else {
            let (a, b) = self.two(world);
            self.note(world, format!("weather from {a} to {b}: {weather:?}"));
            world.weather_between(&a, &b, 0, weather);
        }
    }

    fn crash(&mut self, world: &mut World) {
        let a = self.node(world);
        self.note(world, format!("crash {a}"));
        self.frozen.remove(&a);
        world.crash(&a);
        self.lives += 1;
        self.asked.retain(|(n, ..)| *n != a);
    }

    fn lose_store(&mut self, world: &mut World) {
        let off = |n: &&String| !world.at(n).powered;
        if let Some(a) = self.nodes.iter().find(off).cloned() {
            self.note(world, format!("{a} lost its store"));
            world.lose_store(&a);
        }
    }

    fn kill(&mut self, world: &mut World) {
        let a = self.node(world);
        self.note(world, format!("kill {a}"));
        self.frozen.remove(&a);
        world.kill(&a);
        self.asked.retain(|(n, ..)| *n != a);
    }

    fn boot(&mut self, world: &mut World) {
        let a = self.node(world);
        if world.at(&a).engine.is_none() {
            self.start(world, &a);
        }
    }

    /// Starts a daemon; a machine that was off begins with a clock of its own.
    pub fn start(&mut self, world: &mut World, a: &str) {
        self.note(world, format!("start {a}"));
        if !world.at(a).powered {
            let ppm = i32::try_from(world.random.below(1001)).unwrap() - 500;
            let local = Time(1_000_000_000 + world.random.below(1_000_000_000_000));
            world.set_clock(a, local, ppm);
        }
        self.asked.retain(|(n, ..)| n != a);
        world.start(a);
    }

    fn freeze(&mut self, world: &mut World) {
        let a = self.node(world);
        if world.at(&a).alive() {
            self.note(world, format!("freeze {a}"));
            self.frozen.insert(a.clone());
            world.freeze(&a);
        }
    }

    pub fn thaw(&mut self, world: &mut World) {
        let Some(a) = self.frozen.pop_first() else {
            return;
        };
        let deaf = world.random.chance(300);
        self.note(
            world,
            format!("thaw {a}, what was sent meanwhile is lost: {deaf}"),
        );
        if deaf {
            world.thaw_deaf(&a);
        } else {
            world.thaw(&a);
        }
    }

    fn break_start(&mut self, world: &mut World) {
        let a = self.node(world);
        let (group, step) = self.step(world);
        let how = match world.random.below(2) {
            // An address is there at once or never: until it is, no probe on the wire finds it.
            0 if Chaos::is_address(world, &group, step) => Behaviour::Works(ms(1)),
            0 => Behaviour::Works(world.random.between(ms(1), secs(12))),
            _ => Behaviour::Fails("no".into()),
        };
        self.note(world, format!("start of {group} {step} on {a}: {how:?}"));
        world.on_start(&a, group.as_str(), step, how);
    }

    fn break_stop(&mut self, world: &mut World) {
        let a = self.node(world);
        let (group, step) = self.step(world);
        let most = self.faults.slow_stops.unwrap_or(ms(1));
        let how = if self.faults.failing_stops && world.random.chance(300) {
            Behaviour::Fails("will not stop".into())
        } else {
            Behaviour::Works(world.random.between(ms(1), most))
        };
        self.note(world, format!("stop of {group} {step} on {a}: {how:?}"));
        world.on_stop(&a, group.as_str(), step, how);
    }

    fn step(&self, world: &mut World) -> (GroupName, usize) {
        let group = world.random.pick(&self.groups).unwrap().clone();
        let spec = world.cluster.groups.iter().find(|g| g.name == group);
        let steps = spec.unwrap().steps.len();
        let step = usize::try_from(world.random.below(steps as u64)).unwrap();
        (group, step)
    }

    fn is_address(world: &World, group: &GroupName, step: usize) -> bool {
        let spec = world.cluster.groups.iter().find(|g| g.name == *group);
        spec.is_some_and(|g| g.steps.get(step).is_some_and(|s| s.addresses))
    }

    pub fn mend_agents(&mut self, world: &mut World) {
        self.note(world, "all agents work".into());
        for node in self.nodes.clone() {
            world.machine(&node).start_behaviour.clear();
            world.machine(&node).stop_behaviour.clear();
        }
    }

    /// Every fault ends.
    pub fn end(&mut self, world: &mut World) {
        self.heal(world);
        world.weather_everywhere(Weather::CALM);
        self.mend_agents(world);
        while !self.frozen.is_empty() {
            self.thaw(world);
        }
        for node in self.nodes.clone() {
            if world.at(&node).engine.is_none() {
                self.start(world, &node);
            }
        }
    }
}
