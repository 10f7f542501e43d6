//! Settings of ha.cf given one by one, for a replay with other settings (`hactl replay --set`).

use std::time::Duration;

use super::timing::default_initdead;
use crate::config::values::{boolean, delay, time};
use crate::model::cluster::{Cluster, QuorumPolicy, Timing};
use crate::model::cluster_setting::{
    CLUSTER_SETTINGS, ClusterSetting, SettingValue, change_setting, changed_settings,
};
use crate::text::{did_you_mean, duration_for_people};

/// Settings that replace those of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingOverrides(Vec<(&'static str, SettingValue)>);

impl SettingOverrides {
    /// Reads `NAME=VALUE` words.
    ///
    /// # Errors
    /// The first word that cannot be read, and what is wrong with it.
    pub fn read<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<SettingOverrides, String> {
        let read = |word| read_setting(word).map_err(|why| format!("{word}: {why}"));
        words
            .into_iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(SettingOverrides)
    }

    /// The cluster with these settings. Times that stood at their default follow the times they are derived from.
    ///
    /// # Errors
    /// When ha.cf would refuse them.
    pub fn apply(&self, cluster: &Cluster) -> Result<Cluster, String> {
        let mut new = cluster.clone();
        let was = cluster.timing;
        let set = |new: &mut Cluster| {
            for (name, value) in &self.0 {
                change_setting(new, name, *value);
            }
        };
        set(&mut new);
        let (old, now) = (default_times(&was), default_times(&new.timing));
        let follow = |was, old, now| if was == old { now } else { was };
        new.timing.warntime = follow(was.warntime, old.warntime, now.warntime);
        new.timing.initdead = follow(was.initdead, old.initdead, now.initdead);
        new.timing.deadping = follow(was.deadping, old.deadping, now.deadping);
        new.timing.margin = follow(was.margin, old.margin, now.margin);
        // Once more: a time that was set itself does not follow.
        set(&mut new);
        refuse_bad_times(&new.timing)?;
        Ok(new)
    }
}

fn read_setting(word: &str) -> Result<(&'static str, SettingValue), String> {
    let (name, value) = word
        .split_once('=')
        .ok_or("write NAME=VALUE, for example deadtime=6s")?;
    match name {
        "auto_failback" => {
            let on = boolean(value).ok_or("it is on or off")?;
            Ok(("auto_failback", SettingValue::Switch(on)))
        }
        "quorum" => {
            let policy =
                QuorumPolicy::parse(value).ok_or("it is one of stop, freeze, ignore, off")?;
            Ok(("quorum", SettingValue::Quorum(policy)))
        }
        "failback_delay" => Ok(("failback_delay", SettingValue::Time(delay(value)?))),
        _ => {
            let names = CLUSTER_SETTINGS.map(|s: ClusterSetting| s.name);
            let known = names.into_iter().find(|known| *known == name);
            let known = known.ok_or_else(|| {
                let (near, all) = (did_you_mean(name, names), names.join(", "));
                format!("`{name}` cannot be set, only {all}; {near}")
                    .trim_end_matches([' ', ';'])
                    .to_owned()
            })?;
            Ok((known, SettingValue::Time(time(value)?)))
        }
    }
}

/// All times as they are when only keepalive and deadtime are set.
fn default_times(timing: &Timing) -> Timing {
    let Timing {
        keepalive,
        deadtime,
        ..
    } = *timing;
    Timing {
        keepalive,
        deadtime,
        warntime: deadtime / 2,
        initdead: default_initdead(deadtime),
        deadping: deadtime,
        margin: Timing::usual_margin(keepalive, deadtime),
    }
}

/// The differences in words.
pub fn differences(was: &Cluster, is: &Cluster) -> Vec<String> {
    changed_settings(was, is)
        .map(|(name, old, new)| format!("{name} {new} (it was {old})"))
        .collect()
}

/// Refuses times as ha.cf would.
fn refuse_bad_times(timing: &Timing) -> Result<(), String> {
    let Timing {
        keepalive,
        warntime,
        deadtime,
        initdead,
        deadping,
        margin,
    } = *timing;
    let named = |name: &str, time: Duration| format!("{name} ({})", duration_for_people(time));
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
        let timing = Timing {
            initdead: second * 60,
            ..Timing::usual(keepalive, deadtime)
        };
        Cluster::new(&[NodeName::new("alice")], timing)
    }

    #[test]
    fn what_was_the_default_follows_and_what_was_set_stays() {
        let settings =
            SettingOverrides::read(["deadtime=6s", "quorum=stop", "auto_failback=on"]).unwrap();
        let new = settings.apply(&cluster()).unwrap();
        assert_eq!(
            differences(&cluster(), &new),
            [
                "warntime 3s (it was 5s)",
                "deadtime 6s (it was 10s)",
                "deadping 6s (it was 10s)",
                "quorum stop (it was off)",
                "auto_failback on (it was off)",
            ]
        );
        assert_eq!(new.timing.margin, Duration::from_secs(2));
        assert_eq!(
            new.digest,
            cluster().digest,
            "the peers' files are as they were"
        );
        let none = SettingOverrides::default().apply(&cluster()).unwrap();
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
            let error = SettingOverrides::read([word]).unwrap_err();
            assert!(
                error.contains(why) && error.starts_with(word),
                "{word}: {error}"
            );
        }
    }

    #[test]
    fn what_a_file_would_refuse_is_refused() {
        for (words, why) in [
            (vec!["deadtime=2s"], "more than twice keepalive (1 s)"),
            (vec!["deadtime=70s"], "initdead (60 s)"),
            (vec!["warntime=10s"], "must exceed warntime"),
            (vec!["margin=9s"], "leaves nothing"),
            (vec!["deadping=1s"], "deadping (1 s)"),
        ] {
            let error = SettingOverrides::read(words)
                .unwrap()
                .apply(&cluster())
                .unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
