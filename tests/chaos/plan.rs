//! Which faults come next: drawn from the seed alone, so that the same seed makes the same plan.

use std::time::Duration;

use crate::class::{ADDRESSES, Class, Config, EXTRA, PLAIN, WEB};
use crate::random::Random;
use crate::step::{Mood, Node, Step};

/// A step and when it is done, counted from the begin of its burst.
type Timed = (Duration, Step);

/// Draws bursts of faults for a class.
pub struct Planner {
    class: &'static Class,
    random: Random,
    config: Config,
}

impl Planner {
    pub fn new(class: &'static Class, mut random: Random) -> Planner {
        let config = Config::draw(&mut random);
        Planner {
            class,
            random,
            config,
        }
    }

    /// What the cluster is configured with after all bursts so far.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The next burst. It ends with a wait for everything to be whole, or, where faults may overlap, goes straight on.
    pub fn burst(&mut self) -> Vec<Step> {
        let many = *self.random.pick(&[1, 1, 2, 3]);
        let mut timed: Vec<Timed> = Vec::new();
        for _ in 0..many {
            // The first soon after all was whole, the others while it lasts.
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
                steps.push(Step::Wait(time));
                now = at;
            }
            if !matches!(step, Step::Wait(_)) {
                steps.push(step);
            }
        }
        if !self.class.overlap || self.random.percent(60) {
            steps.push(Step::Settle);
        } else {
            steps.push(Step::Wait(self.some_time()));
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
    fn lasting(&mut self, begin: Step, end: Step) -> Vec<Timed> {
        vec![(Duration::ZERO, begin), (self.some_time(), end)]
    }

    fn fault(&mut self) -> Vec<Timed> {
        match self.random.between(0, 22) {
            0 | 1 => self.crash(),
            2 | 3 => self.kill(),
            4 | 5 => {
                let n = self.node();
                self.lasting(Step::Freeze(n), Step::Thaw(n))
            }
            6 => {
                let n = self.node();
                self.lasting(Step::Stop(n), Step::Start(n))
            }
            7..=10 => self.network(),
            11 => self.cable(),
            12 => self.lasting(Step::GatewayDown, Step::GatewayUp),
            13 => {
                let n = self.node();
                self.lasting(Step::Cut(n, "gateway", None), Step::Heal)
            }
            14 => {
                let n = self.node();
                self.lasting(Step::Suspend(n), Step::Thaw(n))
            }
            _ => self.meddling(),
        }
    }

    /// What people, scripts and disks do.
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
            Step::BootEmpty(n)
        } else {
            Step::Boot(n)
        };
        self.lasting(Step::Crash(n), boot)
    }

    fn kill(&mut self) -> Vec<Timed> {
        let n = self.node();
        let mut steps = self.lasting(Step::Kill(n), Step::Start(n));
        if self.random.percent(30) {
            // Not started again: until everything is made whole.
            steps.pop();
            steps.push((self.some_time(), Step::Wait(Duration::ZERO)));
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
            0 if free => Step::Cut(a, b, link),
            1 if free => Step::CutOneWay(a, b, link),
            2 | 3 if self.class.isolation => Step::Isolate(a),
            4 if self.class.isolation => Step::Mute(a),
            5 => {
                let most = *self.random.pick(if self.class.any_cut {
                    &[5, 50, 300]
                } else {
                    &[1, 5, 50]
                });
                Step::Delay(a, b, Duration::from_millis(most))
            }
            _ => Step::Lose(a, b, link, percent),
        };
        self.lasting(step, Step::Heal)
    }

    fn cable(&mut self) -> Vec<Timed> {
        let n = self.node();
        let links = if self.class.isolation {
            self.class.links
        } else {
            &["eth1"]
        };
        let link = self.random.pick(links);
        self.lasting(Step::Unplug(n, link), Step::Plug(n, link))
    }

    fn command(&mut self) -> Vec<Timed> {
        let n = self.node();
        let group = *self.random.pick(&["all", "local", "foreign", WEB, PLAIN]);
        let say = |words: String| Step::Command(n, words);
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
                (self.some_time(), Step::Start(n)),
            ],
        }
    }

    /// A script that misbehaves is nothing until it is called; so somebody soon does what calls it, or perhaps not.
    fn script(&mut self) -> Vec<Timed> {
        let (n, other) = self.two();
        let action = *self.random.pick(&["start", "stop"]);
        let mood = *self.random.pick(&[Mood::Fails, Mood::Hangs, Mood::Dawdles]);
        let taker = if action == "start" { n } else { other };
        let mut steps = vec![
            (Duration::ZERO, Step::Script(n, action, mood)),
            (Duration::from_millis(2600), Step::Mend(n)),
        ];
        if self.random.percent(70) {
            let words = format!("takeover {WEB} --no-wait");
            steps.push((Duration::from_millis(50), Step::Command(taker, words)));
        }
        steps
    }

    fn disk(&mut self) -> Vec<Timed> {
        match self.class.small_disk {
            Some(n) => self.lasting(Step::Fill(n), Step::Free(n)),
            None => self.reload(),
        }
    }

    fn by_hand(&mut self) -> Vec<Timed> {
        let n = self.node();
        let address = *self.random.pick(&ADDRESSES);
        vec![(Duration::ZERO, Step::Remove(n, address))]
    }

    fn reload(&mut self) -> Vec<Timed> {
        let step = if self.random.percent(50) {
            let other = Config::draw(&mut self.random);
            self.config.deadtime = other.deadtime;
            Step::Deadtime(other.deadtime)
        } else {
            self.config.extra = !self.config.extra;
            Step::Group(self.config.extra)
        };
        let mut steps = vec![(Duration::ZERO, step.clone())];
        if self.random.percent(40) {
            // One node alone hears of it; the others somewhat later.
            let first = self.node();
            steps = vec![
                (Duration::ZERO, Step::Only(first, Box::new(step))),
                (self.some_time(), Step::Rest),
            ];
        }
        steps
    }
}

/// Its address is asked only while it is there.
pub fn is_extra(address: &str) -> bool {
    EXTRA.starts_with(address)
}
