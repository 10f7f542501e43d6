//! Which resources and checks are probed and how often, and warnings about rules without effect.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::agent::builtin::drbd::fence::Peers;
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::resolve::{ADDRESS_NAMES, ResolvedStep, Resolver};
use crate::config::{Config, GroupLine, MonitorRule};
use crate::model::GroupName;
use crate::model::cluster::{GroupSpec, Step};
use crate::model::health::{CheckPolicy, FAILBACK_WHEN, Pace, Probe, needs_check};
use crate::probe;
use crate::sys::netlink::Netlink;
use crate::text::{Place, Problems};

/// The monitors and checks of a configuration.
pub struct WatchPlan {
    /// The monitored steps of each group.
    pub monitors: HashMap<GroupName, Vec<Monitor>>,
    /// The checks of this node: name, probe, and how often.
    pub checks: Vec<(String, Probe, Pace)>,
    /// The environment of programs.
    pub env: Arc<ScriptEnv>,
    /// Gives the state of links.
    pub netlink: Netlink,
    /// Asks the other nodes.
    pub peers: Arc<dyn Peers>,
}

/// The monitor of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// The number of the step in its group.
    pub step: usize,
    /// How to probe it; none for its own agent.
    pub probe: Option<Probe>,
    /// How often, and for how long at most.
    pub pace: Pace,
}

/// Makes the plan and gives each monitored step its policy. Problems go to the report.
pub fn plan_watches(
    config: &Config,
    groups: &mut [(GroupName, Vec<ResolvedStep>)],
    resolver: &Resolver<'_>,
    report: &mut Problems,
) -> WatchPlan {
    let rules = &config.health;
    check_probes(config, report);
    let checks = rules.checks.iter().chain(&rules.failback_when);
    let mut named = Vec::new();
    for rule in checks {
        // Only a preferred node gets groups back.
        let wanted = is_preferred(config) || rule.policy.name != FAILBACK_WHEN;
        if wanted {
            named.push((rule.policy.name.clone(), rule.probe.clone(), rule.pace));
        }
    }
    let of_drbd = drbd_checks(&config.groups);
    named.extend(of_drbd.map(|(policy, probe)| (policy.name, probe, DRBD_PACE)));
    warn_of_overridden(&rules.monitors, groups, report);
    note_unwatched(config, groups, report);
    let mut monitors = HashMap::new();
    for (name, steps) in groups {
        warn_of_constant_status(&rules.monitors, steps, report);
        monitors.insert(name.clone(), monitors_of(&rules.monitors, steps));
    }
    WatchPlan {
        monitors,
        checks: named,
        env: resolver.env.clone(),
        netlink: resolver.netlink.clone(),
        peers: resolver.peers.clone(),
    }
}

/// Reports probes that cannot be run.
pub(super) fn check_probes(config: &Config, report: &mut Problems) {
    let rules = &config.health;
    for rule in &rules.monitors {
        if let Some(probe) = &rule.probe {
            check_probe(probe, &rule.place, report);
        }
    }
    for rule in rules.checks.iter().chain(&rules.failback_when) {
        check_probe(&rule.probe, &rule.place, report);
    }
}

/// How often to check whether this node has the newest data.
const DRBD_PACE: Pace = Pace {
    every: Duration::from_secs(2),
    timeout: Duration::from_secs(20),
};

/// The checks that every DRBD resource gets: a node without the newest data is no candidate for the group of the resource.
/// An owner keeps the group, because its service runs.
pub(super) fn drbd_checks(groups: &[GroupLine]) -> impl Iterator<Item = (CheckPolicy, Probe)> {
    groups.iter().flat_map(|line| {
        let group = line.tokens.first().map_or("", |(t, _)| t.text.as_str());
        super::drbd_words(line).map(move |(token, resource)| {
            let policy = CheckPolicy {
                name: token.text.clone(),
                fall: 1,
                rise: 1,
                stays: true,
                group: Some(GroupName::new(group)),
            };
            (policy, Probe::Drbd(resource.to_owned()))
        })
    })
}

/// The check that a group with addresses or file systems gets: a node that lacks what they need is no candidate for the group,
/// and gives it to one that is.
pub(super) fn needs_checks(groups: &[GroupLine]) -> impl Iterator<Item = CheckPolicy> {
    let needs = |name: &str| name == "Filesystem" || ADDRESS_NAMES.contains(&name);
    let with_needs = move |line: &&GroupLine| line.tokens.iter().any(|(t, _)| needs(&t.name));
    groups.iter().filter(with_needs).map(|line| {
        let group = GroupName::new(line.tokens.first().map_or("", |(t, _)| t.text.as_str()));
        CheckPolicy {
            name: needs_check(&group),
            fall: 1,
            rise: 1,
            stays: false,
            group: Some(group),
        }
    })
}

/// Whether a group prefers this node.
pub(super) fn is_preferred(config: &Config) -> bool {
    config.groups.iter().any(|g| g.preferred == config.node)
}

/// Gives steps that are only simulated their policies.
pub fn set_policies(rules: &[MonitorRule], steps: &mut [Step]) {
    for step in steps {
        step.policy = rule_of(rules, &step.members).map(|rule| rule.policy);
    }
}

/// How often the resources of these groups are monitored and the checks of a node are run, for the simulator: by the words
/// of the resource, or `check` and the name.
pub fn intervals(config: &Config, groups: &[GroupSpec]) -> BTreeMap<String, Duration> {
    let rules = &config.health;
    let steps = groups.iter().flat_map(|group| &group.steps);
    let monitors = steps.filter_map(|step| {
        let rule = rule_of(&rules.monitors, &step.members)?;
        Some((step.members.join(" "), rule.every))
    });
    let checks = rules.checks.iter().chain(&rules.failback_when);
    let checks = checks.map(|rule| (rule.policy.name.clone(), rule.pace.every));
    let of_drbd = drbd_checks(&config.groups).map(|(policy, _)| (policy.name, DRBD_PACE.every));
    let checks = checks.chain(of_drbd);
    let checks = checks.map(|(name, every)| (format!("check {name}"), every));
    monitors.chain(checks).collect()
}

/// Warns of a rule whose resources all have a more specific one. Rules that name no resource are reported with the files.
fn warn_of_overridden(
    rules: &[MonitorRule],
    groups: &[(GroupName, Vec<ResolvedStep>)],
    report: &mut Problems,
) {
    let steps = || groups.iter().flat_map(|(_, steps)| steps);
    for rule in rules {
        let taken = |step: &ResolvedStep| {
            rule_of(rules, &step.step.members).filter(|_| rule_names(rule, &step.step.members))
        };
        let takers: Vec<&MonitorRule> = steps().filter_map(taken).collect();
        let Some(first) = takers.first() else {
            continue;
        };
        if takers.iter().all(|taker| taker.place != rule.place) {
            let message = format!(
                "line {} already covers every resource of `{}`: this rule has no effect",
                first.place.line, rule.name
            );
            let help = "consecutive addresses are one resource: the first line that names one of them is used for all";
            let addresses = rule.name.parse::<std::net::IpAddr>().is_ok();
            report.warning(&rule.place, message, if addresses { help } else { "" });
        }
    }
}

/// Names the resources that no rule covers: nobody notices when one of them dies. Addresses are watched by themselves.
fn note_unwatched(
    config: &Config,
    groups: &[(GroupName, Vec<ResolvedStep>)],
    report: &mut Problems,
) {
    let steps = groups.iter().flat_map(|(_, steps)| steps);
    let unwatched = steps.filter(|step| {
        let name = names_of(&step.step.members).into_iter().next();
        let holds = !name.is_some_and(|name| WITHOUT_STATUS.contains(&name.as_str()));
        let rule = rule_of(&config.health.monitors, &step.step.members);
        !step.step.addresses && holds && rule.is_none()
    });
    let words: Vec<&str> = unwatched
        .flat_map(|step| step.step.members.iter().map(String::as_str))
        .collect();
    let Some(first) = words.first() else {
        return;
    };
    let mut tokens = config.groups.iter().flat_map(|line| &line.tokens);
    let Some((token, place)) = tokens.find(|(token, _)| token.text == *first) else {
        return;
    };
    let message = format!(
        "not watched, so nobody notices when it dies: {}",
        words.join(", ")
    );
    let help = format!(
        "write into ha.cf `monitor {} every 10s`, or `monitor * every 10s` for all",
        token.name
    );
    report.note(place, message, help);
}

fn check_probe(probe: &Probe, place: &Place, report: &mut Problems) {
    if let Err(mistake) = probe::validate(probe) {
        report.error(place, mistake.message, mistake.help.unwrap_or_default());
    }
}

/// Resources that only remember whether they were started, so their status proves nothing.
pub const WITHOUT_STATUS: [&str; 2] = ["Delay", "SendArp"];

/// Warns of a rule for a resource whose status never fails.
fn warn_of_constant_status(rules: &[MonitorRule], steps: &[ResolvedStep], report: &mut Problems) {
    for step in steps {
        let Some(rule) = rule_of(rules, &step.step.members) else {
            continue;
        };
        let name = rule.name.split("::").next().unwrap_or_default();
        if rule.probe.is_none() && WITHOUT_STATUS.contains(&name) {
            let message = format!(
                "{name} only remembers whether it was started, so its monitor can never fail: this rule has no effect"
            );
            report.warning(&rule.place, message, "");
        }
    }
}

/// The monitors of the steps that a rule names; each of these steps gets its policy.
fn monitors_of(rules: &[MonitorRule], steps: &mut [ResolvedStep]) -> Vec<Monitor> {
    let mut found = Vec::new();
    for (step, resolved) in steps.iter_mut().enumerate() {
        let Some(rule) = rule_of(rules, &resolved.step.members) else {
            continue;
        };
        resolved.step.policy = Some(rule.policy);
        found.push(Monitor {
            step,
            probe: rule.probe.clone(),
            pace: Pace {
                every: rule.every,
                timeout: rule.timeout.unwrap_or(resolved.step.monitor),
            },
        });
    }
    found
}

/// The most specific rule for one of these words: first the whole word, then the name, then `*`.
fn rule_of<'r>(rules: &'r [MonitorRule], members: &[String]) -> Option<&'r MonitorRule> {
    let names = names_of(members);
    let called = |wanted: &[String]| rules.iter().find(|r| wanted.contains(&r.name));
    called(members)
        .or_else(|| called(&names))
        .or_else(|| rules.iter().find(|r| r.name == "*"))
}

/// Whether a rule names one of these words.
fn rule_names(rule: &MonitorRule, members: &[String]) -> bool {
    rule.name == "*" || members.contains(&rule.name) || names_of(members).contains(&rule.name)
}

fn names_of(members: &[String]) -> Vec<String> {
    let name = |word: &String| match word.split("::").next() {
        Some(name) if !name.starts_with(|c: char| c.is_ascii_digit()) => name.to_owned(),
        _ => "IPaddr".to_owned(),
    };
    members.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use crate::assembly::check;
    use crate::model::NodeName;

    /// The output of `hactl check` for these lines, with an address and a delay.
    fn checked(lines: &str, me: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let ha_cf = format!("node a b\nbcast lo\nauto_failback on\nquorum off\n{lines}");
        fs::write(at("ha.cf"), ha_cf).unwrap();
        fs::write(at("haresources"), "a 127.0.0.3/8/lo Delay::1\n").unwrap();
        fs::write(at("authkeys"), "auth 1\n1 sha1 a-long-enough-key\n").unwrap();
        fs::set_permissions(at("authkeys"), fs::Permissions::from_mode(0o600)).unwrap();
        let (text, good) = check(dir.path(), &NodeName::new(me));
        assert!(good, "{text}");
        text
    }

    fn expect(text: &str, wanted: &[&str]) {
        for part in wanted {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn what_follows_from_a_monitor_and_a_check_is_described() {
        let text = checked(
            "monitor * every 5s fall 2 restart 3\nmonitor IPaddr every 1s restart 0\n\
             check up link lo every 1s\nfailback_when tcp 127.0.0.1:9 every 5s\n",
            "a",
        );
        expect(
            &text,
            &[
                "127.0.0.3/8/lo: its own status every 1 s, timeout 20 s; after 1 failure it fails here and the group moves",
                "Delay::1: its own status every 5 s, timeout 20 s; after 2 failures in a row it is restarted in place",
                "at most 3 times within 10 min; after that it fails here and the group moves",
                "check up: link lo every 1 s, timeout 1 s; before the first success and after 2 failures in a row this node takes no groups",
                "failback_when: tcp 127.0.0.1:9 every 5 s, timeout 5 s; groups that prefer this node come back only while it succeeds here",
            ],
        );
        let text = checked("failback_when tcp 127.0.0.1:9\n", "b");
        expect(
            &text,
            &["failback_when: not checked here, because no group prefers this node"],
        );
    }

    #[test]
    fn a_script_without_a_monitor_is_remarked() {
        let with = |lines: &str| {
            let dir = tempfile::tempdir().unwrap();
            let at = |name: &str| dir.path().join(name);
            let script = at("web");
            fs::write(&script, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
            let ha_cf = format!("node a b\nbcast lo\nauto_failback on\nquorum off\n{lines}");
            fs::write(at("ha.cf"), ha_cf).unwrap();
            let groups = format!("a 127.0.0.3/8/lo Delay::1 {}\n", script.display());
            fs::write(at("haresources"), groups).unwrap();
            fs::write(at("authkeys"), "auth 1\n1 sha1 a-long-enough-key\n").unwrap();
            fs::set_permissions(at("authkeys"), fs::Permissions::from_mode(0o600)).unwrap();
            let (text, good) = check(dir.path(), &NodeName::new("a"));
            assert!(good, "{text}");
            text.replace(&dir.path().display().to_string(), "DIR")
        };
        expect(
            &with(""),
            &[
                "note: DIR/haresources:1:27: not watched, so nobody notices when it dies: DIR/web\n",
                "= write into ha.cf `monitor DIR/web every 10s`, or `monitor * every 10s` for all",
            ],
        );
        let watched = with("monitor *\n");
        assert!(!watched.contains("not watched"), "{watched}");
    }

    #[test]
    fn a_monitor_without_effect_is_reported() {
        let text = checked(
            "monitor Delay every 5s\nmonitor * every 5s\nmonitor 127.0.0.3/8/lo every 1s\nmonitor IPaddr every 2s\n",
            "a",
        );
        expect(
            &text,
            &[
                "ha.cf:5:9: Delay only remembers whether it was started",
                "ha.cf:6:9: line 7 already covers every resource of `*`: this rule has no effect",
                "ha.cf:8:9: line 7 already covers every resource of `IPaddr`: this rule has no effect",
            ],
        );
    }

    #[test]
    fn a_program_that_cannot_be_trusted_is_refused_before_it_is_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("check");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let probe = crate::model::health::Probe::Exec(path, Vec::new());
        assert!(crate::probe::validate(&probe).is_err());
    }
}
