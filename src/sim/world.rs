//! The simulated world: machines, links between them, ping nodes, and the order in which things happen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::machine::{Behaviour, Machine};
use crate::engine::{Action, Call, Command, Engine, Event, OrderId, Outcome};
use crate::model::cluster::{Cluster, Group, PingNode, QuorumPolicy, Step, Timing};
use crate::model::heartbeat::{GroupState, Heartbeat};
use crate::model::status::Status;
use crate::model::{Generation, GroupName, LinkName, NodeName, Time};

/// How long an address probe waits for its answer, and how often it is sent.
const PROBE_WINDOW: Duration = Duration::from_millis(40);
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// Which way a cut goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Neither hears the other.
    Both,
    /// Only what the first sends to the second is lost.
    OneWay,
}

/// A moment in which a group ran on more than one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Double {
    /// When it began.
    pub from: Time,
    /// How long it lasted.
    pub lasted: Duration,
    /// Which group.
    pub group: GroupName,
    /// Where.
    pub on: Vec<NodeName>,
}

/// Something that will happen.
#[derive(Clone, Debug)]
enum Future {
    Arrive {
        to: NodeName,
        link: LinkName,
        heartbeat: Box<Heartbeat>,
    },
    Finish {
        at: NodeName,
        group: GroupName,
        order: OrderId,
        call: Call,
        outcome: Outcome,
    },
    Saved {
        at: NodeName,
        version: u64,
    },
    Pong {
        at: NodeName,
        ping: usize,
        sent: Time,
    },
    Probe {
        at: NodeName,
        group: GroupName,
    },
    ProbeEnds {
        at: NodeName,
        group: GroupName,
        sent: Time,
    },
}

/// A cluster in virtual time.
#[derive(Debug)]
pub struct World {
    /// The configuration that all share; each machine has its own name in it.
    pub cluster: Cluster,
    /// The present.
    pub now: Time,
    /// One-way delay of every link.
    pub delay: Duration,
    machines: BTreeMap<NodeName, Machine>,
    future: BTreeMap<(Time, u64), Future>,
    count: u64,
    cuts: BTreeSet<(NodeName, NodeName, LinkName)>,
    blocked: BTreeSet<(NodeName, NodeName)>,
    blind: BTreeSet<(NodeName, usize)>,
    doubles: Vec<Double>,
    doubled: BTreeMap<GroupName, (Time, Vec<NodeName>)>,
}

impl World {
    /// Machines of these names, switched off, with one link, keepalive 200 ms, deadtime 2 s, no groups, no ping node,
    /// votes not counted.
    pub fn of(names: &[&str]) -> World {
        let ms = Duration::from_millis;
        let (keepalive, deadtime) = (ms(200), ms(2000));
        let nodes: Vec<NodeName> = names.iter().map(|n| NodeName::new(n)).collect();
        let me = nodes
            .first()
            .cloned()
            .unwrap_or_else(|| NodeName::new("nobody"));
        let timing = Timing {
            keepalive,
            warntime: ms(600),
            deadtime,
            initdead: ms(4000),
            deadping: deadtime,
            margin: Timing::usual_margin(keepalive, deadtime),
        };
        let cluster = Cluster {
            me,
            nodes: nodes.clone(),
            links: vec![LinkName::new("eth0")],
            pings: Vec::new(),
            timing,
            quorum: QuorumPolicy::Off,
            auto_failback: false,
            failback_delay: Duration::ZERO,
            follow_connectivity: false,
            groups: Vec::new(),
            digest: 1,
        };
        World {
            cluster,
            now: Time(1_000_000_000_000),
            delay: Duration::from_micros(200),
            machines: nodes.into_iter().map(|n| (n, Machine::new())).collect(),
            future: BTreeMap::new(),
            count: 0,
            cuts: BTreeSet::new(),
            blocked: BTreeSet::new(),
            blind: BTreeSet::new(),
            doubles: Vec::new(),
            doubled: BTreeMap::new(),
        }
    }

    /// As many links.
    #[must_use]
    pub fn links(mut self, links: usize) -> World {
        self.cluster.links = (0..links)
            .map(|i| LinkName::new(&format!("eth{i}")))
            .collect();
        self
    }

    /// A ping node that everybody sees; votes are counted from now on.
    #[must_use]
    pub fn ping(mut self, name: &str) -> World {
        self.cluster.pings.push(PingNode {
            name: name.to_owned(),
            addresses: Vec::new(),
        });
        self.cluster.quorum = QuorumPolicy::Stop;
        self
    }

    /// A group of an address, with as many other resources behind it.
    #[must_use]
    pub fn group(mut self, name: &str, preferred: &str, others: usize) -> World {
        let step = |members: Vec<String>, addresses: bool| Step {
            members,
            addresses,
            start: Duration::from_secs(60),
            stop: Duration::from_secs(60),
            monitor: Duration::from_secs(20),
            removal: Duration::ZERO,
        };
        let mut steps = vec![step(vec![name.to_owned()], true)];
        steps.extend((0..others).map(|i| step(vec![format!("script{i}")], false)));
        self.cluster.groups.push(Group {
            name: GroupName::new(name),
            preferred: NodeName::new(preferred),
            steps,
        });
        self
    }

    /// Changes the shared configuration; machines that already run keep theirs.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Cluster)) -> World {
        change(&mut self.cluster);
        self
    }

    /// A machine.
    ///
    /// # Panics
    /// When there is none of that name: a mistake of the scenario.
    #[allow(clippy::panic)]
    pub fn machine(&mut self, name: &str) -> &mut Machine {
        match self.machines.get_mut(&NodeName::new(name)) {
            Some(machine) => machine,
            None => panic!("there is no machine {name}"),
        }
    }

    /// A look at a machine.
    ///
    /// # Panics
    /// As [`World::machine`].
    #[allow(clippy::panic)]
    pub fn at(&self, name: &str) -> &Machine {
        match self.machines.get(&NodeName::new(name)) {
            Some(machine) => machine,
            None => panic!("there is no machine {name}"),
        }
    }

    /// Starts the daemon (and the machine, when it is off).
    pub fn start(&mut self, name: &str) {
        let cluster = Cluster {
            me: NodeName::new(name),
            ..self.cluster.clone()
        };
        self.start_with(name, cluster);
    }

    /// Starts the daemon with a configuration of its own.
    pub fn start_with(&mut self, name: &str, cluster: Cluster) {
        let now = self.now;
        let machine = self.machine(name);
        machine.powered = true;
        machine.exited = false;
        machine.inbox.clear();
        machine.kept.generation = Generation(machine.kept.generation.0 + 1);
        let (engine, actions) = Engine::new(cluster, machine.kept.clone(), now);
        machine.engine = Some(engine);
        self.perform(&NodeName::new(name), actions);
        self.reschedule(&NodeName::new(name));
    }

    /// Starts every daemon at once.
    pub fn start_all(&mut self) {
        let names: Vec<NodeName> = self.machines.keys().cloned().collect();
        for name in names {
            self.start(name.as_str());
        }
    }

    /// Power loss: nothing of it runs any more.
    pub fn crash(&mut self, name: &str) {
        let machine = self.machine(name);
        machine.powered = false;
        machine.engine = None;
        machine.running.clear();
        machine.watching.clear();
        self.sample();
    }

    /// The daemon is killed; what it started runs on.
    pub fn kill(&mut self, name: &str) {
        let machine = self.machine(name);
        machine.engine = None;
        machine.watching.clear();
    }

    /// All processes stand still.
    pub fn freeze(&mut self, name: &str) {
        self.machine(name).frozen = true;
    }

    /// They go on; what arrived meanwhile is read first.
    pub fn thaw(&mut self, name: &str) {
        let machine = self.machine(name);
        machine.frozen = false;
        let inbox = std::mem::take(&mut machine.inbox);
        let node = NodeName::new(name);
        for (link, heartbeat) in inbox {
            self.give(
                &node,
                Event::Heard {
                    link,
                    heartbeat: Box::new(heartbeat),
                },
            );
        }
        self.give(&node, Event::DeadlineReached);
    }

    /// Cuts one link between two machines.
    pub fn cut(&mut self, a: &str, b: &str, link: usize, way: Way) {
        let name = LinkName::new(&format!("eth{link}"));
        self.cuts
            .insert((NodeName::new(a), NodeName::new(b), name.clone()));
        if way == Way::Both {
            self.cuts.insert((NodeName::new(b), NodeName::new(a), name));
        }
    }

    /// Cuts every link between two machines, both ways.
    pub fn part(&mut self, a: &str, b: &str) {
        for link in 0..self.cluster.links.len() {
            self.cut(a, b, link, Way::Both);
        }
    }

    /// Loses every heartbeat between two machines, but nothing else: as a firewall does.
    pub fn block_heartbeats(&mut self, a: &str, b: &str) {
        self.blocked.insert((NodeName::new(a), NodeName::new(b)));
        self.blocked.insert((NodeName::new(b), NodeName::new(a)));
    }

    /// Mends every cut between machines.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.blocked.clear();
    }

    /// A step that ran runs no more, and its monitor has noticed.
    pub fn lose(&mut self, name: &str, group: &str, step: usize, text: &str) {
        let group = GroupName::new(group);
        self.machine(name).set_step(&group, step, false);
        let event = Event::ResourceLost {
            group,
            step,
            text: text.to_owned(),
        };
        self.give(&NodeName::new(name), event);
    }

    /// Whether a machine sees a ping node.
    pub fn see(&mut self, name: &str, ping: usize, sees: bool) {
        if sees {
            self.blind.remove(&(NodeName::new(name), ping));
        } else {
            self.blind.insert((NodeName::new(name), ping));
        }
    }

    /// Sets how a start behaves.
    pub fn on_start(&mut self, name: &str, group: &str, step: usize, behaviour: Behaviour) {
        self.machine(name)
            .start_behaviour
            .insert((GroupName::new(group), step), behaviour);
    }

    /// Sets how a stop behaves.
    pub fn on_stop(&mut self, name: &str, group: &str, step: usize, behaviour: Behaviour) {
        self.machine(name)
            .stop_behaviour
            .insert((GroupName::new(group), step), behaviour);
    }

    /// Gives a command; its answer is looked up by the number.
    pub fn command(&mut self, name: &str, command: Command) -> u64 {
        self.count += 1;
        let id = self.count;
        self.give(&NodeName::new(name), Event::Command { id, command });
        id
    }

    /// The answer to a command, when there is one.
    pub fn answer(&self, name: &str, id: u64) -> Option<Result<String, String>> {
        self.at(name).replies.get(&id).cloned()
    }

    /// A node's view of everything.
    pub fn status(&self, name: &str) -> Option<Status> {
        let now = self.now;
        self.at(name).engine.as_ref().map(|e| e.status(now))
    }

    /// Where a group really runs.
    pub fn runs_on(&self, group: &str) -> Vec<&str> {
        let group = GroupName::new(group);
        let runs = self.machines.iter().filter(|(_, m)| m.runs(&group));
        runs.map(|(name, _)| name.as_str()).collect()
    }

    /// The state that a node gives to a group.
    pub fn state(&self, name: &str, group: &str) -> Option<GroupState> {
        let status = self.status(name)?;
        let group = status.groups.iter().find(|g| g.name.as_str() == group)?;
        group.states.first().map(|(_, state)| *state)
    }

    /// Every moment in which a group ran on more than one machine, those that last still included.
    pub fn doubles(&self) -> Vec<Double> {
        let lasting = self.doubled.iter().map(|(group, (from, on))| Double {
            from: *from,
            lasted: self.now.since(*from),
            group: group.clone(),
            on: on.clone(),
        });
        self.doubles.iter().cloned().chain(lasting).collect()
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    /// Lets time pass until something is so, at most so long; whether it came to be so.
    pub fn run_till(&mut self, at_most: Duration, is: impl FnMut(&mut World) -> bool) -> bool {
        let end = self.now + at_most;
        self.run_until(end, is)
    }

    fn run_until(&mut self, end: Time, mut is: impl FnMut(&mut World) -> bool) -> bool {
        loop {
            if is(self) {
                return true;
            }
            let next = self.future.keys().next().map_or(Time::NEVER, |(at, _)| *at);
            let awake = self.machines.iter().filter(|(_, m)| m.alive());
            let wake = awake.map(|(n, m)| (m.wake, n.clone())).min();
            let wake_at = wake.as_ref().map_or(Time::NEVER, |(at, _)| *at);
            if next.min(wake_at) > end {
                self.now = end;
                return false;
            }
            // What has arrived is heard before a deadline is judged.
            if next <= wake_at {
                self.now = self.now.max(next);
                if let Some((_, future)) = self.future.pop_first() {
                    self.happen(future);
                }
            } else if let Some((at, name)) = wake {
                self.now = self.now.max(at);
                self.give(&name, Event::DeadlineReached);
            }
            self.sample();
        }
    }

    fn later(&mut self, after: Duration, future: Future) {
        self.count += 1;
        self.future.insert((self.now + after, self.count), future);
    }

    fn happen(&mut self, future: Future) {
        match future {
            Future::Arrive {
                to,
                link,
                heartbeat,
            } => self.arrive(&to, link, *heartbeat),
            Future::Finish {
                at,
                group,
                order,
                call,
                outcome,
            } => {
                self.finish(&at, &group, call, &outcome);
                self.give(
                    &at,
                    Event::Done {
                        group,
                        order,
                        outcome,
                    },
                );
            }
            Future::Saved { at, version } => self.give(&at, Event::Saved { version }),
            Future::Pong { at, ping, sent } => self.give(&at, Event::Pong { ping, sent }),
            Future::Probe { at, group } => self.probe(&at, group),
            Future::ProbeEnds { at, group, sent } => {
                let answers = self.answers_to(&at, &group);
                let event = match answers {
                    Some(other) => Event::AddressAnswered {
                        group,
                        who: other.to_string(),
                    },
                    None => Event::AddressSilent { group, sent },
                };
                self.give(&at, event);
            }
        }
    }

    fn arrive(&mut self, to: &NodeName, link: LinkName, heartbeat: Heartbeat) {
        let Some(machine) = self.machines.get_mut(to) else {
            return;
        };
        if machine.frozen && machine.powered {
            machine.inbox.push((link, heartbeat));
        } else {
            self.give(
                to,
                Event::Heard {
                    link,
                    heartbeat: Box::new(heartbeat),
                },
            );
        }
    }

    /// What a call really does to the machine, whether or not the daemon is there to hear of it.
    fn finish(&mut self, at: &NodeName, group: &GroupName, call: Call, outcome: &Outcome) {
        let Some(machine) = self.machines.get_mut(at).filter(|m| m.powered) else {
            return;
        };
        if *outcome == Outcome::Succeeded {
            match call {
                Call::Start(step) => machine.set_step(group, step, true),
                Call::Stop(step) => machine.set_step(group, step, false),
                Call::Probe => {}
            }
        }
    }

    fn probe(&mut self, at: &NodeName, group: GroupName) {
        let watching = self
            .machines
            .get(at)
            .is_some_and(|m| m.alive() && m.watching.contains(&group));
        if watching {
            let sent = self.now;
            self.later(
                PROBE_WINDOW,
                Future::ProbeEnds {
                    at: at.clone(),
                    group: group.clone(),
                    sent,
                },
            );
            self.later(
                PROBE_EVERY,
                Future::Probe {
                    at: at.clone(),
                    group,
                },
            );
        }
    }

    /// Another machine on the same wire that has the group's address: a frozen one answers too, its kernel lives.
    fn answers_to(&self, from: &NodeName, group: &GroupName) -> Option<NodeName> {
        let reaches = |to: &NodeName| {
            self.cluster.links.iter().any(|link| {
                let cut = |a: &NodeName, b: &NodeName| {
                    self.cuts.contains(&(a.clone(), b.clone(), link.clone()))
                };
                !cut(from, to) && !cut(to, from)
            })
        };
        let has = |m: &Machine| {
            m.powered
                && m.running
                    .get(group)
                    .is_some_and(|s| s.first() == Some(&true))
        };
        let other = self
            .machines
            .iter()
            .find(|(name, m)| *name != from && has(m) && reaches(name));
        other.map(|(name, _)| name.clone())
    }

    fn give(&mut self, to: &NodeName, event: Event) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(to).filter(|m| m.alive()) else {
            return;
        };
        let Some(engine) = machine.engine.as_mut() else {
            return;
        };
        let actions = engine.handle(now, event);
        self.perform(to, actions);
        self.reschedule(to);
    }

    fn reschedule(&mut self, name: &NodeName) {
        if let Some(machine) = self.machines.get_mut(name) {
            machine.wake = machine
                .engine
                .as_ref()
                .map_or(Time::NEVER, Engine::next_deadline);
        }
    }

    fn perform(&mut self, by: &NodeName, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(heartbeat) => self.send(by, &heartbeat),
                Action::Ping => self.ping_all(by),
                Action::Run { group, order, call } => self.run(by, group, order, call),
                Action::Abort(group) => self.abort(by, &group),
                Action::Save { version, kept } => {
                    let machine = self.machine(by.as_str());
                    let leases = std::mem::take(&mut machine.kept.leases);
                    machine.kept = crate::engine::Kept { leases, ..kept };
                    let at = by.clone();
                    self.later(Duration::from_millis(2), Future::Saved { at, version });
                }
                other => self.perform_here(by, other),
            }
        }
    }

    /// Orders that change nothing but the machine itself.
    fn perform_here(&mut self, by: &NodeName, action: Action) {
        let now = self.now;
        let mut probe = None;
        let machine = self.machine(by.as_str());
        match action {
            Action::WatchAddresses { group, on: true } => {
                machine.watching.insert(group.clone());
                probe = Some(group);
            }
            Action::WatchAddresses { group, on: false } => {
                machine.watching.remove(&group);
            }
            Action::Announce(_) => machine.announced += 1,
            Action::Renew { group, until } => {
                machine.kept.leases.insert(group, until);
            }
            Action::Record(decision) => machine.decisions.push((now, decision)),
            Action::Reply { id, result } => {
                machine.replies.insert(id, result);
            }
            Action::Exit => {
                machine.engine = None;
                machine.exited = true;
            }
            Action::Send(_)
            | Action::Ping
            | Action::Run { .. }
            | Action::Abort(_)
            | Action::Save { .. } => {}
        }
        if let Some(group) = probe {
            self.probe(by, group);
        }
    }

    fn send(&mut self, from: &NodeName, heartbeat: &Heartbeat) {
        let others: Vec<NodeName> = self
            .machines
            .keys()
            .filter(|n| *n != from)
            .cloned()
            .collect();
        for link in self.cluster.links.clone() {
            for to in &others {
                let lost = self
                    .cuts
                    .contains(&(from.clone(), to.clone(), link.clone()))
                    || self.blocked.contains(&(from.clone(), to.clone()));
                if !lost {
                    let heartbeat = Box::new(heartbeat.clone());
                    self.later(
                        self.delay,
                        Future::Arrive {
                            to: to.clone(),
                            link: link.clone(),
                            heartbeat,
                        },
                    );
                }
            }
        }
    }

    fn ping_all(&mut self, by: &NodeName) {
        let sent = self.now;
        for ping in 0..self.cluster.pings.len() {
            if !self.blind.contains(&(by.clone(), ping)) {
                self.later(
                    self.delay * 2,
                    Future::Pong {
                        at: by.clone(),
                        ping,
                        sent,
                    },
                );
            }
        }
    }

    fn run(&mut self, by: &NodeName, group: GroupName, order: OrderId, call: Call) {
        let machine = self.machine(by.as_str());
        let spec = machine
            .engine
            .as_ref()
            .and_then(|e| e.cluster().groups.iter().find(|g| g.name == group));
        let steps = spec.map_or(0, |g| g.steps.len());
        let (time, outcome) = match call {
            Call::Probe => {
                let running = machine.running.get(&group);
                let look =
                    |i: usize| Some(running.and_then(|r| r.get(i)).copied().unwrap_or(false));
                (
                    Duration::from_millis(1),
                    Outcome::Seen((0..steps).map(look).collect()),
                )
            }
            Call::Start(step) => {
                let deadline = Duration::from_secs(60);
                Machine::behave(
                    machine.start_behaviour.get(&(group.clone(), step)),
                    deadline,
                )
            }
            Call::Stop(step) => {
                let deadline = Duration::from_secs(60);
                Machine::behave(machine.stop_behaviour.get(&(group.clone(), step)), deadline)
            }
        };
        self.later(
            time,
            Future::Finish {
                at: by.clone(),
                group,
                order,
                call,
                outcome,
            },
        );
    }

    /// What runs for a group ends now, as failed.
    fn abort(&mut self, by: &NodeName, group: &GroupName) {
        let running = self.future.iter().find_map(|(key, f)| match f {
            Future::Finish { at, group: g, .. } if at == by && g == group => Some(*key),
            _ => None,
        });
        let Some(key) = running else { return };
        if let Some(Future::Finish {
            at,
            group,
            order,
            call,
            ..
        }) = self.future.remove(&key)
        {
            let outcome = Outcome::Failed("aborted".to_owned());
            self.later(
                Duration::from_millis(1),
                Future::Finish {
                    at,
                    group,
                    order,
                    call,
                    outcome,
                },
            );
        }
    }

    /// Notes where groups run on more than one machine.
    fn sample(&mut self) {
        for group in self.cluster.groups.clone() {
            let on: Vec<NodeName> = self
                .machines
                .iter()
                .filter(|(_, m)| m.runs(&group.name))
                .map(|(n, _)| n.clone())
                .collect();
            if on.len() > 1 {
                self.doubled.entry(group.name).or_insert((self.now, on));
            } else if let Some((from, on)) = self.doubled.remove(&group.name) {
                let lasted = self.now.since(from);
                self.doubles.push(Double {
                    from,
                    lasted,
                    group: group.name,
                    on,
                });
            }
        }
    }
}
