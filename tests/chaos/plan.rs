//! Plans the next faults, from the seed alone: the same seed gives the same plan.

use std::time::Duration;

use crate::class::{ADDRESSES, ChaosClass, ChaosConfig, EXTRA, PLAIN, WEB};
use crate::random::PlanRandom;
use crate::step::{ChaosStep, Node, ScriptMood};

/// A step and its time from the beginning of its burst.
type Timed = (Duration, ChaosStep);

/// Draws bursts of faults for a class.
pub struct Planner {
    class: &'static ChaosClass,
    random: PlanRandom,
    config: ChaosConfig,
}

impl Planner {
    pub fn new(class: &'static ChaosClass, mut random: PlanRandom) -> Planner {
        let config = ChaosConfig::draw(&mut random);
        Planner {
            class,
            random,
            config,
        }
    }

    /// The configuration after all bursts so far.
    pub fn config(&self) -> &ChaosConfig {
        &self.config
    }

    /// The next burst. It ends with a wait until the cluster has settled, or goes straight on if faults may overlap.
    pub fn burst(&mut self) -> Vec<ChaosStep> {
        let many = *self.random.pick(&[1, 1, 2, 3]);
        let mut timed: Vec<Timed> = Vec::new();
        for _ in 0..many {
            // The first soon after the cluster has settled, the others while it lasts.
            let latest = if timed.is_empty() { 300 } else { 2000 };
            let begin = Duration::from_millis(self.random.between(0, latest));
            let fault = if timed.is_empty() || self.class.overlap {
                self.fault()
            } else {
                self.meddling()
            };
            timed.extend(fault.into_iter().map(|(at, s)| (begin + at, s)));
        }
        timed.sort_by_key(|(at, _)| *at);
        let mut steps = Vec::new();
        let mut now = Duration::ZERO;
        for (at, step) in timed {
            if let Some(time) = at.checked_sub(now).filter(|t| !t.is_zero()) {
                steps.push(ChaosStep::Wait(time));
                now = at;
            }
            if !matches!(step, ChaosStep::Wait(_)) {
                steps.push(step);
            }
        }
        if !self.class.overlap || self.random.percent(60) {
            steps.push(ChaosStep::Settle);
        } else {
            steps.push(ChaosStep::Wait(self.some_time()));
        }
        steps
    }

    fn node(&mut self) -> Node {
        self.random.pick::<Node>(self.class.nodes)
    }

    fn two(&mut self) -> (Node, Node) {
        let a = self.node();
        let others: Vec<Node> = self
            .class
            .nodes
            .iter()
            .copied()
            .filter(|n| *n != a)
            .collect();
        (a, self.random.pick::<Node>(&others))
    }

    /// From far below deadtime to far above it.
    fn some_time(&mut self) -> Duration {
        let dead = u64::try_from(self.config.deadtime.as_millis()).unwrap();
        let most = *self.random.pick(&[dead / 3, dead, dead * 2, dead * 4]);
        Duration::from_millis(self.random.between(50, most))
    }

    /// A fault that begins at once, lasts, and ends.
    fn lasting(&mut self, begin: ChaosStep, end: ChaosStep) -> Vec<Timed> {
        vec![(Duration::ZERO, begin), (self.some_time(), end)]
    }

    fn fault(&mut self) -> Vec<Timed> {
        match self.random.between(0, 22) {
            0 | 1 => self.crash(),
            2 | 3 => self.kill(),
            4 | 5 => {
                let n = self.node();
                self.lasting(ChaosStep::FreezeAll(n), ChaosStep::Thaw(n))
            }
            6 => {
                let n = self.node();
                self.lasting(ChaosStep::Stop(n), ChaosStep::Start(n))
            }
            7..=10 => self.network(),
            11 => self.cable(),
            12 => self.lasting(ChaosStep::GatewayDown, ChaosStep::GatewayUp),
            13 => {
                let n = self.node();
                self.lasting(ChaosStep::Cut(n, "gateway", None), ChaosStep::Heal)
            }
            14 => {
                let n = self.node();
                self.lasting(ChaosStep::Freeze(n), ChaosStep::Thaw(n))
            }
            _ => self.meddling(),
        }
    }

    /// Commands, failing scripts, full disks.
    fn meddling(&mut self) -> Vec<Timed> {
        match self.random.between(0, 6) {
            0..=2 => self.command(),
            3 => self.script(),
            4 => self.disk(),
            5 => self.by_hand(),
            _ => self.reload(),
        }
    }

    fn crash(&mut self) -> Vec<Timed> {
        let n = self.node();
        let boot = if self.random.percent(25) {
            ChaosStep::BootEmpty(n)
        } else {
            ChaosStep::Boot(n)
        };
        self.lasting(ChaosStep::Crash(n), boot)
    }

    fn kill(&mut self) -> Vec<Timed> {
        let n = self.node();
        let mut steps = self.lasting(ChaosStep::Kill(n), ChaosStep::Start(n));
        if self.random.percent(30) {
            // Not started again until the cluster is settled.
            steps.pop();
            steps.push((self.some_time(), ChaosStep::Wait(Duration::ZERO)));
        }
        steps
    }

    fn network(&mut self) -> Vec<Timed> {
        let (a, b) = self.two();
        let spare = (self.class.links.len() > 1).then_some("eth1");
        let link = if self.class.any_cut && self.random.percent(50) {
            None
        } else {
            spare
        };
        let free = self.class.any_cut || link.is_some();
        let percent = *self.random.pick(&[10, 30, 60, 90]);
        let step = match self.random.between(0, 5) {
            0 if free => ChaosStep::Cut(a, b, link),
            1 if free => ChaosStep::CutOneWay(a, b, link),
            2 | 3 if self.class.isolation => ChaosStep::Isolate(a),
            4 if self.class.isolation => ChaosStep::Mute(a),
            5 => {
                let most = *self.random.pick(if self.class.any_cut {
                    &[5, 50, 300]
                } else {
                    &[1, 5, 50]
                });
                ChaosStep::Delay(a, b, Duration::from_millis(most))
            }
            _ => ChaosStep::Lose(a, b, link, percent),
        };
        self.lasting(step, ChaosStep::Heal)
    }

    fn cable(&mut self) -> Vec<Timed> {
        let n = self.node();
        let links = if self.class.isolation {
            self.class.links
        } else {
            &["eth1"]
        };
        let link = self.random.pick(links);
        self.lasting(ChaosStep::Unplug(n, link), ChaosStep::Plug(n, link))
    }

    fn command(&mut self) -> Vec<Timed> {
        let n = self.node();
        let group = *self.random.pick(&["all", "local", "foreign", WEB, PLAIN]);
        let say = |words: String| ChaosStep::Command(n, words);
        match self.random.between(0, 5) {
            0 | 1 => self.lasting(
                say(format!("standby {group} --no-wait")),
                say("standby off --no-wait".into()),
            ),
            2 | 3 => vec![(Duration::ZERO, say(format!("takeover {group} --no-wait")))],
            4 => self.lasting(
                say(format!("maintenance on {group}")),
                say("maintenance off".into()),
            ),
            _ => vec![
                (Duration::ZERO, say("restart --no-wait".into())),
                (self.some_time(), ChaosStep::Start(n)),
            ],
        }
    }

    /// A misbehaving script matters only when it is called, so often a command that calls it follows soon.
    fn script(&mut self) -> Vec<Timed> {
        let (n, other) = self.two();
        let action = *self.random.pick(&["start", "stop"]);
        let mood = *self
            .random
            .pick(&[ScriptMood::Fails, ScriptMood::Hangs, ScriptMood::Dawdles]);
        let taker = if action == "start" { n } else { other };
        let mut steps = vec![
            (Duration::ZERO, ChaosStep::Script(n, action, mood)),
            (Duration::from_millis(2600), ChaosStep::Mend(n)),
        ];
        if self.random.percent(70) {
            let words = format!("takeover {WEB} --no-wait");
            steps.push((Duration::from_millis(50), ChaosStep::Command(taker, words)));
        }
        steps
    }

    fn disk(&mut self) -> Vec<Timed> {
        match self.class.small_disk {
            Some(n) => self.lasting(ChaosStep::Fill(n), ChaosStep::Free(n)),
            None => self.reload(),
        }
    }

    fn by_hand(&mut self) -> Vec<Timed> {
        let n = self.node();
        let address = *self.random.pick(&ADDRESSES);
        vec![(Duration::ZERO, ChaosStep::Remove(n, address))]
    }

    fn reload(&mut self) -> Vec<Timed> {
        let step = if self.random.percent(50) {
            let other = ChaosConfig::draw(&mut self.random);
            self.config.deadtime = other.deadtime;
            ChaosStep::Deadtime(other.deadtime)
        } else {
            self.config.extra = !self.config.extra;
            ChaosStep::Group(self.config.extra)
        };
        let mut steps = vec![(Duration::ZERO, step.clone())];
        if self.random.percent(40) {
            // One node reloads first, the others somewhat later.
            let first = self.node();
            steps = vec![
                (Duration::ZERO, ChaosStep::Only(first, Box::new(step))),
                (self.some_time(), ChaosStep::Rest),
            ];
        }
        steps
    }
}

/// Its address is asked only while it is there.
pub fn is_extra(address: &str) -> bool {
    EXTRA.starts_with(address)
}
