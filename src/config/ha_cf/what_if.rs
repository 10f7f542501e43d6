//! Settings of ha.cf given one by one, to see what would have come of them (`hactl replay --set`).

use std::time::Duration;

use super::timing::usual_initdead;
use crate::config::values::{boolean, time};
use crate::model::cluster::{Cluster, QuorumPolicy, Timing};
use crate::text::{did_you_mean, duration_in_files};

/// What can be set.
const NAMES: [&str; 9] = [
    "keepalive",
    "warntime",
    "deadtime",
    "initdead",
    "deadping",
    "margin",
    "failback_delay",
    "auto_failback",
    "quorum",
];

/// Other settings than those that were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    times: Vec<(String, Duration)>,
    failback: Option<bool>,
    quorum: Option<QuorumPolicy>,
}

impl Settings {
    /// Reads `NAME=VALUE` words.
    ///
    /// # Errors
    /// The first that cannot be read, and what is wrong with it.
    pub fn read<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Settings, String> {
        let mut settings = Settings::default();
        for word in words {
            settings
                .take(word)
                .map_err(|why| format!("{word}: {why}"))?;
        }
        Ok(settings)
    }

    fn take(&mut self, word: &str) -> Result<(), String> {
        let (name, value) = word
            .split_once('=')
            .ok_or("write NAME=VALUE, for example deadtime=6s")?;
        match name {
            "auto_failback" => {
                self.failback = Some(boolean(value).ok_or("it is on or off")?);
            }
            "quorum" => self.quorum = Some(policy(value)?),
            "failback_delay" if ["0", "0s"].contains(&value) => {
                self.times.push((name.to_owned(), Duration::ZERO));
            }
            known if NAMES.contains(&known) => {
                self.times.push((name.to_owned(), time(value)?.time));
            }
            unknown => {
                let near = did_you_mean(unknown, NAMES);
                let all = NAMES.join(", ");
                return Err(format!("`{unknown}` cannot be set, only {all}; {near}")
                    .trim_end_matches([' ', ';'])
                    .to_owned());
            }
        }
        Ok(())
    }

    /// That cluster with these settings. Times that stood at their default follow the times they come from.
    ///
    /// # Errors
    /// When ha.cf would refuse them.
    pub fn apply(&self, cluster: &Cluster) -> Result<Cluster, String> {
        let mut new = cluster.clone();
        let was = cluster.timing;
        let of = |name: &str| {
            let set = self.times.iter().rev().find(|(n, _)| n == name);
            set.map(|(_, time)| *time)
        };
        // As set, or as the default would now be where it was the default, or as it was.
        let or = |name: &str, old: Duration, default_was: Duration, default: Duration| {
            let kept = if old == default_was { default } else { old };
            of(name).unwrap_or(kept)
        };
        let keepalive = of("keepalive").unwrap_or(was.keepalive);
        let deadtime = of("deadtime").unwrap_or(was.deadtime);
        let margin = |keep, dead| Timing::usual_margin(keep, dead);
        let initdead = usual_initdead;
        new.timing = Timing {
            keepalive,
            deadtime,
            warntime: or("warntime", was.warntime, was.deadtime / 2, deadtime / 2),
            initdead: or(
                "initdead",
                was.initdead,
                initdead(was.deadtime),
                initdead(deadtime),
            ),
            deadping: or("deadping", was.deadping, was.deadtime, deadtime),
            margin: or(
                "margin",
                was.margin,
                margin(was.keepalive, was.deadtime),
                margin(keepalive, deadtime),
            ),
        };
        new.failback_delay = of("failback_delay").unwrap_or(cluster.failback_delay);
        new.auto_failback = self.failback.unwrap_or(cluster.auto_failback);
        new.quorum = self.quorum.unwrap_or(cluster.quorum);
        judge(&new.timing)?;
        Ok(new)
    }
}

/// What is other than it was, in words.
pub fn differences(was: &Cluster, is: &Cluster) -> Vec<String> {
    let (a, b) = (&was.timing, &is.timing);
    let on = |on: bool| if on { "on" } else { "off" }.to_owned();
    let policy = |quorum: QuorumPolicy| format!("{quorum:?}").to_lowercase();
    let all = [
        (
            "keepalive",
            duration_in_files(a.keepalive),
            duration_in_files(b.keepalive),
        ),
        (
            "warntime",
            duration_in_files(a.warntime),
            duration_in_files(b.warntime),
        ),
        (
            "deadtime",
            duration_in_files(a.deadtime),
            duration_in_files(b.deadtime),
        ),
        (
            "initdead",
            duration_in_files(a.initdead),
            duration_in_files(b.initdead),
        ),
        (
            "deadping",
            duration_in_files(a.deadping),
            duration_in_files(b.deadping),
        ),
        (
            "margin",
            duration_in_files(a.margin),
            duration_in_files(b.margin),
        ),
        (
            "failback_delay",
            duration_in_files(was.failback_delay),
            duration_in_files(is.failback_delay),
        ),
        ("auto_failback", on(was.auto_failback), on(is.auto_failback)),
        ("quorum", policy(was.quorum), policy(is.quorum)),
    ];
    let differ = all.into_iter().filter(|(_, a, b)| a != b);
    differ
        .map(|(name, a, b)| format!("{name} {b} (it was {a})"))
        .collect()
}

fn policy(word: &str) -> Result<QuorumPolicy, String> {
    match word {
        "stop" => Ok(QuorumPolicy::Stop),
        "freeze" => Ok(QuorumPolicy::Freeze),
        "ignore" => Ok(QuorumPolicy::Ignore),
        "off" => Ok(QuorumPolicy::Off),
        _ => Err("it is one of stop, freeze, ignore, off".to_owned()),
    }
}

/// What ha.cf refuses.
fn judge(timing: &Timing) -> Result<(), String> {
    let Timing {
        keepalive,
        warntime,
        deadtime,
        initdead,
        deadping,
        margin,
    } = *timing;
    let named = |name: &str, time: Duration| format!("{name} ({})", duration_in_files(time));
    let (dead, keep) = (named("deadtime", deadtime), named("keepalive", keepalive));
    let refused = [
        (
            deadtime <= keepalive * 2,
            format!("{dead} must be more than twice {keep}"),
        ),
        (
            deadping <= keepalive * 2,
            format!(
                "{} must be more than twice {keep}",
                named("deadping", deadping)
            ),
        ),
        (
            warntime >= deadtime,
            format!("{dead} must exceed {}", named("warntime", warntime)),
        ),
        (
            initdead < deadtime,
            format!(
                "{} must not be less than {dead}",
                named("initdead", initdead)
            ),
        ),
        (
            margin + keepalive >= deadtime,
            format!("{} leaves nothing of {dead}", named("margin", margin)),
        ),
    ];
    match refused.into_iter().find(|(is, _)| *is) {
        Some((_, why)) => Err(format!("{why}: set the other one too")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeName;

    fn cluster() -> Cluster {
        let second = Duration::from_secs(1);
        let (keepalive, deadtime) = (second, second * 10);
        Cluster {
            me: NodeName::new("alice"),
            nodes: vec![NodeName::new("alice")],
            links: vec![],
            pings: vec![],
            timing: Timing {
                keepalive,
                warntime: deadtime / 2,
                deadtime,
                initdead: second * 60,
                deadping: deadtime,
                margin: Timing::usual_margin(keepalive, deadtime),
            },
            quorum: QuorumPolicy::Off,
            auto_failback: false,
            failback_delay: Duration::ZERO,
            follow_connectivity: false,
            health: crate::model::health::Health::default(),
            groups: vec![],
            digest: 7,
        }
    }

    #[test]
    fn what_was_the_default_follows_and_what_was_set_stays() {
        let settings = Settings::read(["deadtime=6s", "quorum=stop", "auto_failback=on"]).unwrap();
        let new = settings.apply(&cluster()).unwrap();
        assert_eq!(
            differences(&cluster(), &new),
            [
                "warntime 3s (it was 5s)",
                "deadtime 6s (it was 10s)",
                "deadping 6s (it was 10s)",
                "auto_failback on (it was off)",
                "quorum stop (it was off)",
            ]
        );
        assert_eq!(new.timing.margin, Duration::from_secs(2));
        assert_eq!(new.digest, 7, "the peers' files are as they were");
        let none = Settings::default().apply(&cluster()).unwrap();
        assert_eq!(none, cluster());
    }

    #[test]
    fn what_cannot_be_set_is_refused_with_the_reason() {
        for (word, why) in [
            ("deadtime", "write NAME=VALUE"),
            ("deadtime=", "a time is a number"),
            ("deadtime=soon", "a time is a number"),
            ("deadtme=6s", "did you mean `deadtime`?"),
            ("node=carol", "cannot be set"),
            ("quorum=maybe", "one of stop"),
            ("auto_failback=perhaps", "on or off"),
        ] {
            let error = Settings::read([word]).unwrap_err();
            assert!(
                error.contains(why) && error.starts_with(word),
                "{word}: {error}"
            );
        }
    }

    #[test]
    fn what_a_file_would_refuse_is_refused() {
        for (words, why) in [
            (vec!["deadtime=2s"], "more than twice keepalive (1s)"),
            (vec!["deadtime=70s"], "initdead (60s)"),
            (vec!["warntime=10s"], "must exceed warntime"),
            (vec!["margin=9s"], "leaves nothing"),
            (vec!["deadping=1s"], "deadping (1s)"),
        ] {
            let error = Settings::read(words)
                .unwrap()
                .apply(&cluster())
                .unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
