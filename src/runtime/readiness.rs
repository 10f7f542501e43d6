//! Looks now and then at what this node would need to take groups over, and tells the engine, which publishes it.
//!
//! The look is what a start of the daemon does with the files as they are now, and what no start does: agents check their
//! configuration, file systems must have room, the trees of `compare` are read. It runs in a thread of its own, because a
//! disk may hang, and the next one waits for it.

mod disk;
mod tree;

use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::engine_handle::EngineHandle;
use super::needs::Definitions;
use crate::agent::builtin::drbd::fence::Peers;
use crate::agent::exec::blocking::run_apart;
use crate::agent::resolve::ResolvedStep;
use crate::agent::{Abort, AgentError, Limits, RawActions};
use crate::assembly::Folders;
use crate::assembly::assemble::{Assembled, assemble};
use crate::config::haresources;
use crate::engine::Event;
use crate::model::readiness::{ComparedTree, DefaultRoutes, LOOK_EVERY, Lack, Readiness};
use crate::model::{GroupName, NodeName};
use crate::sys::foreign_file::read_regular;
use crate::sys::netlink::Netlink;
use crate::text::{Problem, Problems, Severity};
use tree::TreeReader;

/// A start has more urgent things to do.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(3);
/// What is new is looked at again after so long before it is told: a file may just be replaced, and systemd be started anew.
const CONFIRM_AFTER: Duration = Duration::from_secs(3);
/// A look that takes longer hangs. The first one may read many files.
const PATIENCE: Duration = Duration::from_secs(60);
/// All agents together may take so long to check their configuration; what has not ended by then is looked at next time.
const VALIDATION_TIMEOUT: Duration = Duration::from_secs(20);
/// A route of which nothing is known is not missed.
const UNKNOWN_ROUTES: DefaultRoutes = DefaultRoutes { v4: true, v6: true };
/// A longer haresources is not read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What the looks of a daemon have in common.
#[derive(Clone)]
pub struct Looker {
    folders: Folders,
    node: NodeName,
    /// Interfaces and routes.
    pub netlink: Netlink,
    peers: Arc<dyn Peers>,
}

/// What one look leaves to the next.
#[derive(Default)]
struct Memory {
    /// What the configuration compares that could be read last.
    compared: Vec<PathBuf>,
    reader: TreeReader,
    /// The routes that could be read last; none before that.
    routes: Option<DefaultRoutes>,
}

/// Reports what this node lacks, until nobody defines groups any more.
pub async fn report_readiness(
    looker: Looker,
    mut definitions: watch::Receiver<Definitions>,
    engine: EngineHandle,
) {
    let memory = Arc::new(Mutex::new(Memory::default()));
    let (mut last, mut unconfirmed) = (None::<Readiness>, false);
    let mut pause = FIRST_LOOK_AFTER;
    loop {
        if let Ok(Err(_gone)) = timeout(pause, definitions.changed()).await {
            return;
        }
        let groups = definitions.borrow_and_update().clone();
        let (looker, kept) = (looker.clone(), Arc::clone(&memory));
        let look = move || async move { looker.look(&groups, &kept).await };
        let limits = Limits::within(PATIENCE, &Abort::new()).patient();
        let mut look = pin!(run_apart(&limits, "the look at what this node lacks", look));
        let found = match timeout(PATIENCE, &mut look).await {
            Ok(found) => found,
            Err(_late) => {
                let text = "its files cannot be read: that hangs (is a disk gone? see dmesg)";
                send(&engine, with_lack(last.as_ref(), text), false);
                look.await
            }
        };
        let found = match found {
            Ok(found) => found.limited(),
            Err(error) => with_lack(last.as_ref(), &error.to_string()).limited(),
        };
        let is_known = |lack: &Lack| last.as_ref().is_some_and(|l| l.lacks.contains(lack));
        if !unconfirmed && !found.lacks.iter().all(is_known) {
            (unconfirmed, pause) = (true, CONFIRM_AFTER);
            continue;
        }
        (unconfirmed, pause) = (false, LOOK_EVERY);
        send(&engine, found.clone(), lock(&memory).routes.is_some());
        last = Some(found);
    }
}

fn send(engine: &EngineHandle, found: Readiness, complete: bool) {
    engine.send_event(Event::OwnReadiness {
        readiness: Box::new(found),
        complete,
    });
}

/// The last findings with this lack instead.
fn with_lack(last: Option<&Readiness>, text: &str) -> Readiness {
    let nothing = Readiness {
        routes: UNKNOWN_ROUTES,
        ..Readiness::default()
    };
    Readiness {
        version: version(),
        lacks: vec![Lack {
            group: None,
            text: text.to_owned(),
        }],
        ..last.cloned().unwrap_or(nothing)
    }
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

impl Looker {
    /// It reads the files of these folders as a daemon of this node would.
    pub fn new(
        folders: &Folders,
        node: &NodeName,
        netlink: &Netlink,
        peers: Arc<dyn Peers>,
    ) -> Looker {
        Looker {
            folders: folders.clone(),
            node: node.clone(),
            netlink: netlink.clone(),
            peers,
        }
    }

    async fn look(&self, groups: &Definitions, memory: &Mutex<Memory>) -> Readiness {
        let mut lacks = Vec::new();
        match assemble(&self.folders, &self.node, &self.netlink, &self.peers).await {
            Ok(Assembled { config, .. }) => lock(memory).compared = config.compare,
            Err(problems) => lacks.extend(self.reasons_against_start(&problems, groups)),
        }
        let trees = read_trees(&mut lock(memory), &mut lacks);
        let needed = [&self.folders.config, &self.folders.state, &self.folders.run];
        let full = disk::full_file_systems(needed.map(PathBuf::as_path));
        lacks.extend(full.into_iter().map(|text| Lack { group: None, text }));
        let until = Limits::within(VALIDATION_TIMEOUT, &Abort::new());
        for (group, steps) in groups {
            lacks.extend(validate(group, steps, &until).await);
        }
        lacks.sort();
        lacks.dedup();
        Readiness {
            version: version(),
            routes: self.default_routes(memory).await.unwrap_or(UNKNOWN_ROUTES),
            usual_routes: DefaultRoutes::default(),
            lacks,
            trees,
        }
    }

    /// The errors for which the daemon would not start with the files as they are now. Only their places are told: a line may
    /// have a secret. One that belongs to no group of the running configuration concerns all.
    fn reasons_against_start(&self, problems: &Problems, groups: &Definitions) -> Vec<Lack> {
        let path = self.folders.config.join("haresources");
        let text = read_regular(&path, MAX_FILE_BYTES).unwrap_or_default();
        let lines = haresources::parse(&text, &path, None, &mut Problems::default());
        let group_at = |problem: &Problem| {
            let mut lines = lines.iter();
            let is_there = problem.place.file.as_ref() == path.as_path();
            let line = lines.find(|line| {
                let mut places = line.tokens.iter();
                is_there && places.any(|(_, place)| place.line == problem.place.line)
            })?;
            let name = GroupName::new(&line.tokens.first()?.0.text);
            groups.iter().any(|(g, _)| *g == name).then_some(name)
        };
        let errors = problems.list.iter();
        let errors = errors.filter(|p| p.severity == Severity::Error);
        errors
            .map(|problem| Lack {
                group: group_at(problem),
                text: format!(
                    "had would not start: {}; run hactl check there",
                    place_of(problem)
                ),
            })
            .collect()
    }

    /// Those that were read last, if the kernel does not tell.
    async fn default_routes(&self, memory: &Mutex<Memory>) -> Option<DefaultRoutes> {
        if let Ok(routes) = self.netlink.routes().await {
            let mut defaults = routes.iter().filter(|r| r.prefix == 0);
            lock(memory).routes = Some(DefaultRoutes {
                v4: defaults.clone().any(|r| r.destination.is_ipv4()),
                v6: defaults.any(|r| r.destination.is_ipv6()),
            });
        }
        lock(memory).routes
    }
}

/// `error in haresources, line 3`
fn place_of(problem: &Problem) -> String {
    let file = problem.place.file.file_name().unwrap_or_default();
    let file = file.to_string_lossy();
    match problem.place.line {
        0 => format!("error in {file}"),
        line => format!("error in {file}, line {line}"),
    }
}

/// Lets agents check their configuration. What stands behind another kind of member is left out: an address, a file or a
/// module that it brings may be needed, and only the owner of the group has that.
async fn validate(group: &GroupName, steps: &[ResolvedStep], until: &Limits) -> Vec<Lack> {
    let checks_itself = |step: &ResolvedStep| {
        let raw = step.agent.raw_actions();
        raw.is_some_and(RawActions::checks_itself) && !step.step.shared_storage
    };
    let mut lacks = Vec::new();
    for step in steps.iter().take_while(|step| checks_itself(step)) {
        let Some(agent) = step.agent.raw_actions() else {
            continue;
        };
        let limits = until.at_most(step.step.monitor);
        let ended = Instant::now() < until.until;
        if ended && matches!(agent.validate(&limits).await, Err(AgentError::Failed(_))) {
            let names: Vec<&str> = step.step.members.iter().map(|m| name_of(m)).collect();
            lacks.push(Lack {
                group: Some(group.clone()),
                text: format!(
                    "{} refuses its configuration; run hactl check there",
                    names.join(", ")
                ),
            });
        }
    }
    lacks
}

/// The agent of a word, without its arguments: they may have a secret.
fn name_of(member: &str) -> &str {
    let mut ends = member.match_indices("::");
    let end = ends.next().map_or(member.len(), |(at, _)| at);
    member.get(..end).unwrap_or_default()
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_trees(memory: &mut Memory, lacks: &mut Vec<Lack>) -> Vec<ComparedTree> {
    let Memory {
        compared, reader, ..
    } = memory;
    reader.keep_only(compared);
    let mut trees = Vec::new();
    for path in compared {
        let found = reader.read(path);
        lacks.extend(found.as_ref().err().map(|why| Lack {
            group: None,
            text: format!("compare: {why}"),
        }));
        trees.push(ComparedTree::of(&path.display().to_string(), found.ok()));
    }
    trees
}
