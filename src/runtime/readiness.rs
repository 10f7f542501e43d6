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
use tokio::time::timeout;

use super::engine_handle::EngineHandle;
use super::needs::Definitions;
use crate::agent::builtin::drbd::fence::Peers;
use crate::agent::exec::blocking::run_apart;
use crate::agent::resolve::ResolvedStep;
use crate::agent::{Abort, Limits};
use crate::assembly::Folders;
use crate::assembly::assemble::{Assembled, assemble};
use crate::config::haresources;
use crate::engine::Event;
use crate::model::readiness::{ComparedTree, DefaultRoutes, Lack, Readiness};
use crate::model::{GroupName, NodeName};
use crate::sys::foreign_file::read_regular;
use crate::sys::netlink::Netlink;
use crate::text::{Problem, Problems, Severity};
use tree::TreeReader;

/// The pause between two looks. What a person does to a standby is seen within a minute.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// A start has more urgent things to do.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(3);
/// A look that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);
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
}

/// Reports what this node lacks whenever that changes, until nobody defines groups any more.
pub async fn report_readiness(
    looker: Looker,
    mut definitions: watch::Receiver<Definitions>,
    engine: EngineHandle,
) {
    let memory = Arc::new(Mutex::new(Memory::default()));
    let mut last = Readiness::default();
    let mut pause = FIRST_LOOK_AFTER;
    loop {
        if let Ok(Err(_gone)) = timeout(pause, definitions.changed()).await {
            return;
        }
        pause = LOOK_EVERY;
        let groups = definitions.borrow_and_update().clone();
        let (looker, memory) = (looker.clone(), Arc::clone(&memory));
        let look = move || async move { looker.look(&groups, &memory).await };
        let limits = Limits::within(PATIENCE, &Abort::new()).patient();
        let mut look = pin!(run_apart(&limits, "the look at what this node lacks", look));
        let found = match timeout(PATIENCE, &mut look).await {
            Ok(found) => found,
            Err(_late) => {
                let hangs = hanging(&last);
                report(&mut last, &hangs, &engine);
                look.await
            }
        };
        let found = found.unwrap_or_else(|error| with_lack(&last, error.to_string()));
        report(&mut last, &found, &engine);
    }
}

fn report(last: &mut Readiness, found: &Readiness, engine: &EngineHandle) {
    let found = found.limited();
    if found != *last {
        engine.send_event(Event::OwnReadiness(Box::new(found.clone())));
        *last = found;
    }
}

fn hanging(last: &Readiness) -> Readiness {
    let text =
        "its files cannot be read: that hangs (a dead disk or network file system? see dmesg)";
    with_lack(last, text.to_owned())
}

/// The last findings, and this one.
fn with_lack(last: &Readiness, text: String) -> Readiness {
    Readiness {
        version: version(),
        lacks: vec![Lack { group: None, text }],
        ..last.clone()
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
            Err(problems) => lacks.extend(self.reasons_against_start(&problems)),
        }
        let trees = read_trees(&mut lock(memory), &mut lacks);
        let needed = [&self.folders.config, &self.folders.state, &self.folders.run];
        let full = disk::full_file_systems(needed.map(PathBuf::as_path));
        lacks.extend(full.into_iter().map(|text| Lack { group: None, text }));
        for (group, steps) in groups {
            lacks.extend(validate(group, steps).await);
        }
        lacks.sort();
        lacks.dedup();
        Readiness {
            version: version(),
            routes: self.default_routes().await,
            usual_routes: DefaultRoutes::default(),
            lacks,
            trees,
        }
    }

    /// The errors for which the daemon would not start with the files as they are now.
    fn reasons_against_start(&self, problems: &Problems) -> Vec<Lack> {
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
            let (first, _) = line.tokens.first()?;
            Some(GroupName::new(&first.text))
        };
        let errors = problems.list.iter();
        let errors = errors.filter(|p| p.severity == Severity::Error);
        errors
            .map(|problem| Lack {
                group: group_at(problem),
                text: format!("had would not start: {}", in_words(problem)),
            })
            .collect()
    }

    async fn default_routes(&self) -> DefaultRoutes {
        let routes = self.netlink.routes().await.unwrap_or_default();
        let mut defaults = routes.iter().filter(|r| r.prefix == 0);
        DefaultRoutes {
            v4: defaults.clone().any(|r| r.destination.is_ipv4()),
            v6: defaults.any(|r| r.destination.is_ipv6()),
        }
    }
}

/// `haresources line 3: there is no script ...; write ...`
fn in_words(problem: &Problem) -> String {
    let file = problem.place.file.file_name().unwrap_or_default();
    let file = file.to_string_lossy();
    let place = match problem.place.line {
        0 => file.into_owned(),
        line => format!("{file} line {line}"),
    };
    match &problem.help {
        Some(help) => format!("{place}: {}; {help}", problem.message),
        None => format!("{place}: {}", problem.message),
    }
}

/// Lets agents check their configuration. What stands behind a member with storage is left out: its files may be there, and
/// only the owner of the group has them.
async fn validate(group: &GroupName, steps: &[ResolvedStep]) -> Vec<Lack> {
    let mut lacks = Vec::new();
    for step in steps.iter().take_while(|s| !brings_files(s)) {
        let Some(agent) = step.agent.raw_actions() else {
            continue;
        };
        let limits = Limits::within(step.step.monitor, &Abort::new());
        if let Err(error) = agent.validate(&limits).await {
            lacks.push(Lack {
                group: Some(group.clone()),
                text: error.to_string(),
            });
        }
    }
    lacks
}

fn brings_files(step: &ResolvedStep) -> bool {
    let mounts = |member: &String| member.contains("Filesystem");
    step.step.shared_storage || step.step.members.iter().any(mounts)
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_trees(memory: &mut Memory, lacks: &mut Vec<Lack>) -> Vec<ComparedTree> {
    let Memory { compared, reader } = memory;
    reader.keep_only(compared);
    let mut trees = Vec::new();
    for path in compared {
        let found = reader.read(path);
        if let Err(why) = &found {
            let text = format!("`compare {}` in ha.cf: {why}", path.display());
            lacks.push(Lack { group: None, text });
        }
        trees.push(ComparedTree {
            path: path.display().to_string(),
            digest: found.ok(),
        });
    }
    trees
}
