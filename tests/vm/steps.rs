//! When each part of the stack went up or down, on both guests, on this side's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::command::until_so;
use crate::network::NAMES;
use crate::pair::Pair;

const LOG: &str = "/var/log/steps";

/// A part of the stack that went up or down.
#[derive(Debug)]
pub struct Step {
    /// In seconds, from the beginning of the watch.
    pub at: f64,
    pub node: &'static str,
    /// `address`, `drbd`, `mount` or `server`, and `up` or `down`.
    pub what: String,
}

/// Looks at both guests four times a second, as far as they are quick enough.
pub struct Watch {
    begun: f64,
    /// How far the clock of each guest is ahead of ours, in seconds.
    ahead: [f64; 2],
}

impl Watch {
    pub fn start(pair: &Pair) -> Watch {
        let ahead = NAMES.map(|name| {
            pair.on(name).sh(&format!(
                "setsid bash /usr/lib/guest/steps >{LOG} </dev/null 2>&1 & echo $! >/run/steps.pid"
            ));
            ahead(pair, name)
        });
        until_so("the steps are watched", || {
            NAMES.iter().all(|name| has_seen(pair, name, "server"))
        });
        Watch {
            begun: since_epoch(),
            ahead,
        }
    }

    /// What happened on the guests that are still on, in order.
    pub fn finish(self, pair: &mut Pair) -> Vec<Step> {
        let mut steps = Vec::new();
        for (node, ahead) in NAMES.into_iter().zip(self.ahead) {
            if pair.rig.machine_mut(node).is_on() {
                let text = pair
                    .on(node)
                    .sh(&format!("kill $(cat /run/steps.pid); cat {LOG}"));
                let begun = self.begun + ahead;
                steps.extend(text.lines().map(|line| step(node, line, begun)));
            }
        }
        // Before: how it was when the watch began.
        steps.retain(|step| step.at > 0.0);
        steps.sort_by(|a, b| a.at.total_cmp(&b.at));
        steps
    }
}

/// Waits until a part of a node was seen so.
pub fn until_seen(pair: &Pair, name: &str, what: &str) {
    until_so(&format!("{what} at {name}"), || has_seen(pair, name, what));
}

/// On a node these happened, each not before the one to its left.
pub fn in_order(steps: &[Step], node: &str, wanted: &[&str]) {
    let time = |what: &&str| {
        let mut found = steps.iter().filter(|s| s.node == node && s.what == **what);
        found.next().map_or(f64::NAN, |s| s.at)
    };
    let times: Vec<f64> = wanted.iter().map(time).collect();
    assert!(times.is_sorted(), "{node}: not {wanted:?}: {steps:#?}");
}

fn has_seen(pair: &Pair, name: &str, what: &str) -> bool {
    let found = pair.on(name).run(&format!("grep '{what}' {LOG}"));
    found.code == 0
}

fn step(node: &'static str, line: &str, begun: f64) -> Step {
    let (time, what) = line.split_once(' ').unwrap();
    Step {
        at: time.parse::<f64>().unwrap() - begun,
        node,
        what: what.to_owned(),
    }
}

fn ahead(pair: &Pair, name: &str) -> f64 {
    let before = since_epoch();
    let theirs = pair.on(name).sh("echo $EPOCHREALTIME");
    let theirs: f64 = theirs.trim().parse().unwrap();
    theirs - f64::midpoint(before, since_epoch())
}

fn since_epoch() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs_f64()
}
