//! One engine, and peers that say what a test wants.

use std::collections::BTreeMap;
use std::time::Duration;

use had::engine::{
    Action, Asker, Burden, Call, Command, Engine, Event, OrderId, Outcome, PersistentState,
};
use had::model::cluster::{Cluster, QuorumPolicy};
use had::model::hardware_address::HardwareAddress;
use had::model::heartbeat::{GroupReport, GroupState, Heard, Heartbeat, Intent, Recognition};
use had::model::identity::{FirstLife, Identity, Instance, Namesake};
use had::model::readiness::Readiness;
use had::model::status::{Liveness, Status};
use had::model::{Generation, GroupName, LinkName, NodeName, Sequence, Term, Time};
use had::sim::World;

use crate::{ms, secs};

const KEEPALIVE: Duration = Duration::from_millis(200);

/// What a peer says of itself and of the one group.
#[derive(Clone)]
pub struct Voice {
    /// Its generation.
    pub life: u64,
    /// Whether it reports the group at all.
    pub tells: bool,
    sequence: u64,
    pub report: GroupReport,
    /// The newest heartbeat of ours that it has heard. `None`: it hears every one.
    pub heard: Option<Sequence>,
    /// The generation of ours that it has heard.
    pub heard_life: u64,
    pub silent: bool,
    /// A restart that it announces.
    pub back_within: Option<Duration>,
    /// The hardware addresses that it publishes.
    pub hardware: Vec<HardwareAddress>,
    /// What it says of its readiness.
    pub readiness: Readiness,
    /// Its configuration; 1 is ours.
    pub digest: u64,
    /// Who its life is.
    pub identity: Identity,
    /// The life that it takes for the member of our name. Then it says that ours is the second of two that live.
    pub first: Option<Instance>,
}

/// Who the life of node `a` is.
pub const OURS: Instance = Instance(7);

/// Which calls on this node never end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    Nothing,
    Disk,
    Looks,
    Starts,
    Stops,
}

/// The engine of node `a`, with made-up peers.
pub struct Alone {
    engine: Engine,
    pub now: Time,
    pub voices: BTreeMap<&'static str, Voice>,
    pub sent: Vec<(Time, Heartbeat)>,
    renewed: Vec<Time>,
    pub saves: Vec<u64>,
    pub broken: Broken,
    /// The calls that have not ended.
    hung: Vec<(GroupName, OrderId)>,
    steps: usize,
    /// Whether a look finds it running.
    runs: bool,
    /// Whether the ping node answers, at once.
    pub gateway: bool,
    pub started: bool,
    /// The calls that the agents got.
    pub calls: Vec<Call>,
    /// How often the addresses were announced.
    pub announced: u32,
    /// How often a power switch was told or asked something.
    pub fenced: u32,
    /// The answers to commands.
    pub replies: Vec<Result<String, String>>,
}

pub fn g() -> GroupName {
    GroupName::new("g")
}

pub fn recognition(node: &str, generation: u64, term: u64, held: bool) -> Recognition {
    Recognition {
        node: NodeName::new(node),
        generation: Generation(generation),
        term: Term(term),
        held,
    }
}

pub fn report(state: GroupState, term: u64) -> GroupReport {
    GroupReport {
        group: g(),
        state,
        term: Term(term),
        can: true,
        offer: None,
        to: None,
    }
}

/// What a node says of ours as the second life of its name, both of which it hears.
fn second_life(heard: Sequence) -> Namesake {
    Namesake {
        node: NodeName::new("a"),
        instance: OURS,
        generation: Generation(2),
        sequence: heard,
        first: FirstLife::Lives,
        first_address: None,
        address: None,
    }
}

/// A group that no address probe holds up.
pub fn without_addresses(mut cluster: Cluster) -> Cluster {
    for step in &mut cluster.groups[0].steps {
        step.addresses = false;
    }
    cluster
}

pub fn cluster(names: &[&str]) -> Cluster {
    let mut cluster = World::new(names).group("g", "a", 0).cluster;
    cluster.me = NodeName::new("a");
    cluster.quorum = QuorumPolicy::Stop;
    cluster
}

/// Two nodes and a ping node.
pub fn pair(preferred: &str) -> Cluster {
    let world = World::new(&["a", "b"]).group("g", preferred, 0);
    let mut cluster = world.ping("gateway").cluster;
    cluster.me = NodeName::new("a");
    cluster
}

impl Alone {
    /// The peers are up, and nobody has the group. Our generation is 2.
    pub fn among(names: &[&'static str]) -> Alone {
        Alone::with(names, Broken::Nothing)
    }

    /// The same, with calls that hang.
    pub fn with(names: &[&'static str], broken: Broken) -> Alone {
        let mut all = vec!["a"];
        all.extend(names);
        Alone::in_cluster(cluster(&all), names, broken)
    }

    pub fn in_cluster(cluster: Cluster, names: &[&'static str], broken: Broken) -> Alone {
        Alone::after(PersistentState::default(), cluster, names, broken)
    }

    /// The same, with a life that has an identity.
    pub fn identified(cluster: Cluster, names: &[&'static str]) -> Alone {
        let mut kept = PersistentState::default();
        kept.identity.instance = Some(OURS);
        Alone::after(kept, cluster, names, Broken::Nothing)
    }

    /// After a restart: what it held is found running, with a right that was stored until then.
    pub fn restarted(cluster: Cluster, names: &[&'static str], right: Time) -> Alone {
        let kept = PersistentState {
            leases: BTreeMap::from([(g(), right)]),
            ..PersistentState::default()
        };
        Alone::after(kept, cluster, names, Broken::Nothing)
    }

    fn after(
        mut kept: PersistentState,
        cluster: Cluster,
        names: &[&'static str],
        broken: Broken,
    ) -> Alone {
        kept.generation = Generation(2);
        let runs = !kept.leases.is_empty();
        let begin = World::BEGIN;
        let steps = cluster.groups.iter().map(|g| g.steps.len()).sum();
        let (engine, actions) = Engine::new(cluster, kept, begin);
        let voice = Voice {
            life: 1,
            tells: true,
            sequence: 0,
            report: report(GroupState::Offline, 0),
            heard: None,
            heard_life: 2,
            silent: false,
            back_within: None,
            hardware: Vec::new(),
            readiness: Readiness::default(),
            digest: 1,
            identity: Identity::default(),
            first: None,
        };
        let mut alone = Alone {
            engine,
            now: begin,
            voices: names.iter().map(|n| (*n, voice.clone())).collect(),
            sent: Vec::new(),
            renewed: Vec::new(),
            saves: Vec::new(),
            broken,
            hung: Vec::new(),
            steps,
            runs,
            gateway: true,
            started: false,
            calls: Vec::new(),
            announced: 0,
            fenced: 0,
            replies: Vec::new(),
        };
        alone.perform(actions);
        alone
    }

    pub fn tell(&mut self, event: Event) {
        let actions = self.engine.handle(self.now, event);
        self.perform(actions);
    }

    /// More has arrived with it.
    pub fn take(&mut self, event: Event) {
        self.engine.take(self.now, event);
    }

    fn hangs(&self, call: Call) -> bool {
        match call {
            Call::Probe => self.broken == Broken::Looks,
            Call::Start(_) => self.broken == Broken::Starts,
            Call::Stop(_) => self.broken == Broken::Stops,
        }
    }

    /// What hung ends well, and nothing hangs any more.
    pub fn mend(&mut self) {
        self.broken = Broken::Nothing;
        for (group, order) in std::mem::take(&mut self.hung) {
            self.tell(Event::Done {
                group,
                order,
                outcome: Outcome::Succeeded,
            });
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        let mut answers = Vec::new();
        for action in actions {
            match action {
                Action::Send(heartbeat) => self.sent.push((self.now, *heartbeat)),
                Action::Renew { until, .. } => self.renewed.push(until),
                Action::Save { version, .. } if self.broken != Broken::Disk => {
                    answers.push(Event::Saved { version });
                }
                Action::Save { version, .. } => self.saves.push(version),
                Action::Run { group, order, call } if self.hangs(call) => {
                    self.hung.push((group, order));
                }
                Action::Run { group, order, call } => {
                    self.calls.push(call);
                    self.started |= matches!(call, Call::Start(_));
                    let outcome = match call {
                        Call::Probe => Outcome::Seen(vec![Some(self.runs); self.steps]),
                        Call::Start(_) | Call::Stop(_) => Outcome::Succeeded,
                    };
                    answers.push(Event::Done {
                        group,
                        order,
                        outcome,
                    });
                }
                Action::Ping if self.gateway => {
                    let sent = self.now;
                    answers.push(Event::Pong { ping: 0, sent });
                }
                Action::Announce(_) => self.announced += 1,
                Action::Fence { .. } => self.fenced += 1,
                Action::Reply { result, .. } => self.replies.push(result),
                _ => {}
            }
        }
        for event in answers {
            self.tell(event);
        }
    }

    fn speak(&mut self, name: &'static str) {
        let ours = self.sent.last().map_or(Sequence(0), |(_, h)| h.sequence);
        let others = self.voices.iter().filter(|(n, v)| **n != name && !v.silent);
        let others: Vec<&str> = others.map(|(n, _)| *n).collect();
        let voice = self.voices.get_mut(name).unwrap();
        voice.sequence += 1;
        let mut heard = vec![Heard {
            instance: voice.first,
            node: NodeName::new("a"),
            generation: Generation(voice.heard_life),
            sequence: voice.heard.unwrap_or(ours),
            loss: 0,
            links: vec![LinkName::new("eth0")],
        }];
        heard.extend(others.iter().map(|n| Heard {
            instance: None,
            node: NodeName::new(n),
            generation: Generation(1),
            sequence: Sequence(1),
            loss: 0,
            links: vec![LinkName::new("eth0")],
        }));
        let heartbeat = Heartbeat {
            deadtime: secs(2),
            heard,
            groups: voice
                .tells
                .then(|| voice.report.clone())
                .into_iter()
                .collect(),
            intent: Intent {
                back_within: voice.back_within,
                ..Intent::default()
            },
            hardware: voice.hardware.clone(),
            readiness: voice.readiness.clone(),
            identity: voice.identity,
            namesakes: voice.first.map(|_| second_life(ours)).into_iter().collect(),
            digest: voice.digest,
            ..Heartbeat::new(
                NodeName::new(name),
                Generation(voice.life),
                Sequence(voice.sequence),
            )
        };
        let link = LinkName::new("eth0");
        self.tell(Event::Heard {
            from: None,
            link,
            heartbeat: Box::new(heartbeat),
        });
    }

    /// Time passes, and each peer sends its heartbeats.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        let mut next = self.now;
        while self.now < end {
            if self.now >= next {
                let names: Vec<_> = self.voices.iter().filter(|(_, v)| !v.silent).collect();
                let names: Vec<&'static str> = names.into_iter().map(|(n, _)| *n).collect();
                for name in names {
                    self.speak(name);
                }
                next = next + KEEPALIVE;
            }
            self.now = self.engine.next_deadline().max(self.now).min(next).min(end);
            if self.engine.next_deadline() <= self.now {
                self.tell(Event::DeadlineReached);
            }
        }
    }

    pub fn says(&mut self, name: &str, report: GroupReport) {
        self.voice(name).report = report;
    }

    pub fn voice(&mut self, name: &str) -> &mut Voice {
        self.voices.get_mut(name).unwrap()
    }

    /// From now on it says that it does not hear us.
    pub fn deafen(&mut self, name: &str) {
        let (_, last) = self.sent.last().unwrap();
        let last = last.sequence;
        self.voice(name).heard = Some(last);
    }

    /// It recognises us for our present claim, and for what we hold.
    pub fn agrees(&mut self, name: &str) {
        let ours = self.ours();
        let to = recognition("a", 2, ours.term.0, ours.state.holds());
        self.voice(name).report.to = Some(to);
    }

    pub fn believes_dead(&self, name: &str) -> bool {
        let status = self.engine.status(self.now);
        let mut nodes = status.nodes.iter();
        nodes.any(|n| n.name.as_str() == name && n.liveness == Liveness::Dead)
    }

    pub fn status(&self) -> Status {
        self.engine.status(self.now)
    }

    pub fn burden(&self) -> Burden {
        self.engine.burden()
    }

    pub fn command(&mut self, command: Command) {
        let asker = Asker::default();
        self.tell(Event::Command {
            id: 1,
            command,
            asker,
        });
    }

    /// What we published last of the group.
    pub fn ours(&self) -> GroupReport {
        let mut reports = self.sent.iter().rev().filter_map(|(_, h)| h.groups.first());
        reports.next().unwrap().clone()
    }

    /// The end of the right as last told to the runtime.
    pub fn right(&self) -> Time {
        let ends = self.renewed.iter().filter(|u| **u != Time::NEVER);
        *ends.max().unwrap()
    }

    /// Claims the group and starts it with the agreement of all.
    pub fn holding(names: &[&'static str]) -> Alone {
        let mut all = vec!["a"];
        all.extend(names);
        Alone::holding_in(cluster(&all), names)
    }

    /// The same in this cluster.
    pub fn holding_in(cluster: Cluster, names: &[&'static str]) -> Alone {
        let mut alone = Alone::in_cluster(cluster, names, Broken::Nothing);
        alone.run_for(secs(1));
        for name in names {
            alone.agrees(name);
        }
        alone.run_for(ms(600));
        assert_eq!(alone.ours().state, GroupState::Online);
        for name in names {
            alone.agrees(name);
        }
        alone
    }

    /// Lets these agree with whatever is claimed, for so long.
    pub fn run_with_agreement(&mut self, names: &[&str], time: Duration) {
        let end = self.now + time;
        while self.now < end {
            for name in names {
                self.agrees(name);
            }
            self.run_for(KEEPALIVE);
        }
    }
}
