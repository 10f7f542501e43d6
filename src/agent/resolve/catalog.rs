//! What agents outside of us know of themselves: the meta-data of OCF agents, and what systemd knows of units. Asked before
//! words are resolved, all at the same time, each agent once, and each with a deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;

use crate::agent::exec::environment::ScriptEnv;
use crate::agent::external::ocf::metadata::MetaData;
use crate::agent::external::ocf::{self, describe_itself, judge};
use crate::agent::external::systemd::{self, unit};
use crate::agent::resolve::Timeouts;
use crate::agent::{Abort, Limits};
use crate::model::token::Token;
use crate::text::Mistake;

/// For each answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// So much later than systemd's own deadline is ours, so that systemd's words are heard.
const AFTER_SYSTEMD: Duration = Duration::from_secs(5);

/// The answers.
#[derive(Default)]
pub struct Catalog {
    agents: BTreeMap<PathBuf, Result<MetaData, String>>,
    units: BTreeMap<String, Result<unit::Unit, String>>,
}

impl Catalog {
    /// Asks all that these words name. What a word does wrong is left for the resolver to say.
    pub async fn ask<'t>(tokens: impl IntoIterator<Item = &'t Token>, env: &ScriptEnv) -> Self {
        let mut paths = BTreeSet::new();
        let mut names = BTreeSet::new();
        for token in tokens {
            if let Some(Ok(plan)) = ocf::notation::plan(token, env) {
                paths.insert(plan.path);
            }
            if let Some(Ok(name)) = unit::named(token) {
                names.insert(name);
            }
        }
        let limits = Limits::within(DEADLINE, &Abort::new());
        let limits = &limits;
        let agents = paths.into_iter().map(|path| async move {
            let meta = describe_itself(&path, env, limits).await;
            (path, meta)
        });
        let units = names.into_iter().map(|name| async move {
            let unit = systemd::ask(&name, env, limits).await;
            (name, unit.map_err(|e| e.to_string()))
        });
        Catalog {
            agents: join_all(agents).await.into_iter().collect(),
            units: join_all(units).await.into_iter().collect(),
        }
    }

    /// What an OCF agent says of itself, where it could be heard.
    pub fn agent(&self, path: &Path) -> Option<&MetaData> {
        self.agents.get(path)?.as_ref().ok()
    }

    /// Whether a unit can be a resource, and its deadlines: `usual`, or systemd's own.
    pub fn unit(&self, name: &str, usual: Timeouts) -> Result<Timeouts, Mistake> {
        let unit = match self.units.get(name) {
            Some(Ok(unit)) => unit,
            Some(Err(why)) => return Err(Mistake::new(why)),
            None => return Err(Mistake::new(format!("systemd was not asked for {name}"))),
        };
        unit.mistake(name)?;
        let (start, stop) = unit.timeouts();
        let later = |time: Duration| time.saturating_add(AFTER_SYSTEMD);
        Ok(Timeouts {
            start: start.map_or(usual.start, later),
            stop: stop.map_or(usual.stop, later),
            ..usual
        })
    }

    /// The deadlines that an OCF agent advises, `usual` where it advises none.
    pub fn advised(&self, path: &Path, usual: Timeouts) -> Timeouts {
        let Some(meta) = self.agent(path) else {
            return usual;
        };
        Timeouts {
            start: meta.timeout("start").unwrap_or(usual.start),
            stop: meta.timeout("stop").unwrap_or(usual.stop),
            monitor: meta.timeout("monitor").unwrap_or(usual.monitor),
        }
    }

    /// What is worth knowing of a word although it can be run.
    pub fn remarks(&self, token: &Token, env: &ScriptEnv) -> Vec<Mistake> {
        if let Some(Ok(plan)) = ocf::notation::plan(token, env) {
            return match self.agents.get(&plan.path) {
                Some(Ok(meta)) => judge::remarks(&plan, meta),
                Some(Err(why)) => vec![Mistake::new(format!(
                    "{why}; so its parameters cannot be checked"
                ))],
                None => Vec::new(),
            };
        }
        let Some(Ok(name)) = unit::named(token) else {
            return Vec::new();
        };
        match self.units.get(&name) {
            Some(Ok(unit)) if unit.is_enabled() => vec![
                Mistake::new(format!(
                    "systemd starts {name} at each boot, also where the cluster does not want it"
                ))
                .help(format!("systemctl disable {name}")),
            ],
            _ => Vec::new(),
        }
    }
}
