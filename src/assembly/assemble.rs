//! From the three files to what can be run: the configuration, the agent behind each resource word, and what the engine
//! needs. The daemon, `hactl check` and a reload all use this, so they report the same problems.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::describe::{
    describe_check, describe_drbd_check, describe_failback_when, describe_fence_device,
    describe_interfaces, describe_monitor,
};
use super::hooks::Hooks;
use super::takeover::describe_takeover;
use super::watch_plan::{self, WatchPlan, plan_watches};
use super::{Folders, own_name, trust};
use crate::agent::address::virtual_address::Network;
use crate::agent::builtin::drbd::fence::Peers;
use crate::agent::builtin::filesystem;
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::resolve::catalog::Catalog;
use crate::agent::resolve::storage_order::{self, StepWord};
use crate::agent::resolve::{ResolvedStep, Resolver};
use crate::agent::{Abort, Limits};
use crate::config::{self, Config, GroupLine, HostFacts};
use crate::model::GroupName;
use crate::model::NodeName;
use crate::model::cluster::{Cluster, GroupSpec, Timeouts};
use crate::model::promise::ClusterShape;
use crate::model::token::Token;
use crate::sys::foreign_file::read_regular;
use crate::sys::netlink::Netlink;
use crate::text::{Mistake, Place, Problems, count};

/// A longer haresources is not read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A configuration that can be run.
pub struct Assembled {
    /// What the files say.
    pub config: Config,
    /// What the engine needs of it.
    pub cluster: Cluster,
    /// Each group's steps with their agents.
    pub groups: Vec<(GroupName, Vec<ResolvedStep>)>,
    /// The monitors and checks.
    pub watch_plan: WatchPlan,
    /// The programs to notify.
    pub hooks: Hooks,
    /// Warnings and notes.
    pub warnings: Problems,
}

/// Reads and checks the files and resolves every resource.
///
/// # Errors
/// Every problem at once, warnings included.
pub async fn assemble(
    folders: &Folders,
    node: &NodeName,
    netlink: &Netlink,
    peers: &Arc<dyn Peers>,
) -> Result<Assembled, Problems> {
    let network = Network::read(netlink)
        .await
        .map_err(|e| problem_without_line(&folders.config, &e.to_string()))?;
    let loaded = match config::load(&folders.config, node) {
        Ok(loaded) => loaded,
        Err(mut report) => {
            trust::judge_files(&folders.config, &mut report);
            return Err(
                with_resource_problems(report, folders, node, &network, netlink, peers).await,
            );
        }
    };
    let (config, mut report) = (loaded.config, loaded.warnings);
    trust::judge_files(&folders.config, &mut report);
    trust::judge_children(&config.respawn, &mut report);
    if !config.witnesses.contains(node) {
        trust::judge_fencing(&config.fence_devices, &mut report);
    }
    let env = Arc::new(environment(&config, folders));
    let timeouts = |token: &Token, usual| timeouts(&config, token, usual);
    let catalog = Catalog::ask(resource_words(&config.groups), &env).await;
    let resolver = Resolver {
        env,
        network: &network,
        netlink,
        peers,
        catalog: &catalog,
        timeouts: &timeouts,
        takeover_waits: &|token| takeover_waits(&config, token),
    };
    let mut groups = Vec::new();
    for line in &config.groups {
        if let Some(group) = resolve_line(&resolver, line, &mut report) {
            groups.push(group);
        }
    }
    report_clashes(&config.groups, &mut report);
    let watch_plan = plan_watches(&config, &mut groups, &resolver, &mut report);
    let hooks = Hooks::new(&config, &resolver.env, &mut report);
    report.sort();
    if report.has_errors() {
        return Err(report);
    }
    let cluster = engine_cluster(&config, &groups);
    Ok(Assembled {
        config,
        cluster,
        groups,
        watch_plan,
        hooks,
        warnings: report,
    })
}

/// A problem that no line of a file has.
fn problem_without_line(dir: &Path, message: &str) -> Problems {
    let mut report = Problems::default();
    report.error(&Place::whole(dir), message, "");
    report
}

/// Adds the problems of the resources, and of the programs that ha.cf names, to those of bad files, so that one run reports
/// everything.
async fn with_resource_problems(
    mut report: Problems,
    folders: &Folders,
    node: &NodeName,
    network: &Network,
    netlink: &Netlink,
    peers: &Arc<dyn Peers>,
) -> Problems {
    let path = folders.config.join("haresources");
    let text = read_regular(&path, MAX_FILE_BYTES).unwrap_or_default();
    let lines = config::haresources::parse(&text, &path, None, &mut Problems::default());
    let env = Arc::new(ScriptEnv::new(node.clone(), folders.config.clone()));
    let catalog = Catalog::ask(resource_words(&lines), &env).await;
    let resolver = Resolver {
        env,
        network,
        netlink,
        peers,
        catalog: &catalog,
        timeouts: &|_, usual| usual,
        takeover_waits: &|_| None,
    };
    for line in &lines {
        resolve_line(&resolver, line, &mut report);
    }
    report_clashes(&lines, &mut report);
    report_programs(folders, node, &resolver.env, &mut report);
    report.sort();
    report
}

/// Reports what is wrong with the programs of a ha.cf that has other mistakes. Those are already reported.
fn report_programs(
    folders: &Folders,
    node: &NodeName,
    env: &Arc<ScriptEnv>,
    report: &mut Problems,
) {
    let path = folders.config.join("ha.cf");
    let text = read_regular(&path, MAX_FILE_BYTES).unwrap_or_default();
    let facts = HostFacts::here();
    let config = config::ha_cf::parse(&text, &path, &facts, &mut Problems::default()).config;
    if config.witnesses.contains(node) {
        return;
    }
    trust::judge_children(&config.respawn, report);
    trust::judge_fencing(&config.fence_devices, report);
    watch_plan::check_probes(&config, report);
    drop(Hooks::new(&config, env, report));
}

/// All resource words.
fn resource_words(groups: &[GroupLine]) -> impl Iterator<Item = &Token> {
    groups
        .iter()
        .flat_map(|g| &g.tokens)
        .map(|(token, _)| token)
}

/// Reports resources that cannot run together although their words differ.
fn report_clashes(lines: &[GroupLine], report: &mut Problems) {
    let words: Vec<&(Token, Place)> = lines.iter().flat_map(|l| &l.tokens).collect();
    let tokens: Vec<&Token> = words.iter().map(|(token, _)| token).collect();
    for (nth, mistake) in filesystem::validate::find_clashes(&tokens) {
        if let Some((_, place)) = words.get(nth) {
            report.error(place, mistake.message, mistake.help.unwrap_or_default());
        }
    }
}

fn resolve_line(
    resolver: &Resolver<'_>,
    line: &GroupLine,
    report: &mut Problems,
) -> Option<(GroupName, Vec<ResolvedStep>)> {
    let tokens: Vec<Token> = line.tokens.iter().map(|(token, _)| token.clone()).collect();
    let name = GroupName::new(tokens.first().map_or("", |t| t.text.as_str()));
    let here = resolver.env.node == own_name();
    for ((token, place), nth) in line.tokens.iter().zip(0..) {
        let earlier = tokens.get(..nth).unwrap_or_default();
        for Mistake { message, help, at } in resolver.remarks(token, earlier, here) {
            report.warning(&place.part(at), message, help.unwrap_or_default());
        }
    }
    match resolver.resolve_group(&tokens) {
        Ok(steps) => Some((name, steps)),
        Err(problems) => {
            for problem in problems {
                if let Some((_, place)) = line.tokens.get(problem.member) {
                    let place = place.part(problem.at);
                    report.error(&place, problem.message, problem.help.unwrap_or_default());
                }
            }
            None
        }
    }
}

/// The timeouts of a resource. A rule for its whole word wins over one for its name, that over `*`, and that over the usual ones.
pub(super) fn timeouts(config: &Config, token: &Token, usual: Timeouts) -> Timeouts {
    let mut timeouts = usual;
    for wanted in ["*", token.name.as_str(), token.text.as_str()] {
        for rule in config.timeouts.iter().filter(|r| r.name == wanted) {
            timeouts.start = rule.start.unwrap_or(timeouts.start);
            timeouts.stop = rule.stop.unwrap_or(timeouts.stop);
            timeouts.monitor = rule.monitor.unwrap_or(timeouts.monitor);
        }
    }
    timeouts
}

/// `takeover_waits` for a resource. A rule for its whole word wins over one for its name.
fn takeover_waits(config: &Config, token: &Token) -> Option<bool> {
    let rule = |name: &str| config.takeover_waits.iter().find(|rule| rule.name == name);
    let rule = rule(&token.text).or_else(|| rule(&token.name))?;
    Some(rule.waits)
}

pub(super) fn environment(config: &Config, folders: &Folders) -> ScriptEnv {
    let text = |path: &Option<PathBuf>| path.as_ref().map(|p| p.to_string_lossy().into_owned());
    ScriptEnv {
        run_dir: folders.run.clone(),
        work_dir: folders.state.clone(),
        directives: config.directives.clone(),
        env: config.env.clone(),
        logfile: text(&config.logging.logfile),
        debugfile: text(&config.logging.debugfile),
        logfacility: config.logging.logfacility.clone(),
        debug: u32::from(config.logging.debug),
        ..ScriptEnv::new(config.node.clone(), folders.config.clone())
    }
}

fn engine_cluster(config: &Config, groups: &[(GroupName, Vec<ResolvedStep>)]) -> Cluster {
    let group = |(line, (name, steps)): (&GroupLine, &(GroupName, Vec<ResolvedStep>))| GroupSpec {
        name: name.clone(),
        preferred: line.preferred.clone(),
        steps: steps.iter().map(|s| s.step.clone()).collect(),
    };
    cluster_of(
        config,
        config.groups.iter().zip(groups).map(group).collect(),
    )
}

/// The cluster that the files describe, for the simulator. It needs no resource of this machine, so drbd.conf is not read, and
/// a takeover of a group on DRBD waits for every stop.
pub fn simulated_cluster(config: &Config) -> Cluster {
    let group = |line: &GroupLine| {
        let tokens: Vec<Token> = line.tokens.iter().map(|(token, _)| token.clone()).collect();
        GroupSpec {
            name: GroupName::new(tokens.first().map_or("", |t| t.text.as_str())),
            preferred: line.preferred.clone(),
            steps: {
                let word = |token| StepWord {
                    token,
                    timeouts: timeouts(config, token, Timeouts::default()),
                    waits: takeover_waits(config, token),
                };
                let words: Vec<_> = tokens.iter().map(word).collect();
                let mut steps = storage_order::steps(&words, &[]);
                watch_plan::set_policies(&config.health.monitors, &mut steps);
                steps
            },
        }
    };
    cluster_of(config, config.groups.iter().map(group).collect())
}

fn cluster_of(config: &Config, groups: Vec<GroupSpec>) -> Cluster {
    let mut cluster = config.cluster(groups);
    let of_drbd = watch_plan::drbd_checks(&config.groups).map(|(policy, _)| policy);
    cluster.health.checks.extend(of_drbd);
    if !cluster.this_node_is_witness() {
        let needs = watch_plan::needs_checks(&config.groups);
        cluster.health.checks.extend(needs);
    }
    cluster
}

impl Assembled {
    /// Lets agents validate their configuration. Failures are only warnings, because an earlier member of the group may provide
    /// what an agent lacks: a file on a disk that is not mounted now.
    pub(super) async fn validate(&mut self) {
        let lines = self.config.groups.iter();
        for (line, (_, steps)) in lines.zip(&self.groups) {
            for step in steps {
                let Some(agent) = step.agent.raw_actions() else {
                    continue;
                };
                let limits = Limits::within(step.step.monitor, &Abort::new());
                let Err(error) = agent.validate(&limits).await else {
                    continue;
                };
                let mut places = line.tokens.iter();
                let place = places.find(|(t, _)| step.step.members.contains(&t.text));
                if let Some((_, place)) = place {
                    let help =
                        "ignore this if an earlier member of the group provides what is missing";
                    self.warnings.warning(place, error.to_string(), help);
                }
            }
        }
        self.warnings.sort();
    }

    /// The output of `hactl check`: warnings, then each group with the agent behind every word.
    // The text is made once, so its allocations do not matter.
    #[allow(clippy::format_push_string)]
    pub fn describe(&self) -> String {
        let mut text = self.warnings.to_string();
        for (group, (name, steps)) in self.cluster.groups.iter().zip(&self.groups) {
            text += &format!("group {name}, preferred node {}\n", group.preferred);
            for (member, what) in steps
                .iter()
                .flat_map(|s| s.step.members.iter().zip(&s.what))
            {
                text += &format!("    {member}: {what}\n");
            }
            let plain: Vec<_> = steps.iter().map(|s| &s.step).collect();
            text += &describe_takeover(&self.cluster, &plain);
            let addresses = steps.iter().filter_map(|s| s.addresses.as_ref());
            text += &describe_interfaces(addresses.flat_map(|a| a.list().to_vec()));
            let monitors = self.watch_plan.monitors.get(name).into_iter().flatten();
            for (monitor, step) in monitors.filter_map(|m| Some((m, steps.get(m.step)?))) {
                text += &describe_monitor(monitor, &step.step, self.cluster.nodes.len() > 1);
            }
        }
        for device in &self.config.fence_devices {
            text += &describe_fence_device(device, self.cluster.fencing.reboot);
        }
        for check in &self.config.health.checks {
            text += &describe_check(check);
        }
        for (policy, probe) in watch_plan::drbd_checks(&self.config.groups) {
            text += &describe_drbd_check(&policy, &probe);
        }
        if let Some(when) = &self.config.health.failback_when {
            text += &describe_failback_when(when, watch_plan::is_preferred(&self.config));
        }
        text += &self.hooks.describe();
        text + &counts(&self.cluster, &self.warnings)
    }
}

/// The last lines of a check that found no error: the size of the cluster, and the number of problems.
pub(super) fn counts(cluster: &Cluster, problems: &Problems) -> String {
    let shape = ClusterShape::of(cluster);
    format!(
        "one owner for each group ({}): {}\n{}: {}, {}, {}, {}\n{}\n",
        shape.name(),
        shape.one_owner().replace("**", ""),
        cluster.me,
        cluster.members_in_words(),
        count(cluster.links.len(), "link"),
        count(cluster.pings.len(), "ping node"),
        count(cluster.groups.len(), "group"),
        problems.summary()
    )
}
