//! What external agents say of themselves: the meta-data of OCF agents, and the properties of systemd's units. They are asked
//! before words are resolved: all at the same time, each agent once, and each with a deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;

use crate::agent::exec::environment::ScriptEnv;
use crate::agent::external::ocf::metadata::MetaData;
use crate::agent::external::ocf::notation::{self, Plan};
use crate::agent::external::ocf::{judge, read_metadata};
use crate::agent::external::systemd::{self, unit};
use crate::agent::{Abort, Limits};
use crate::model::cluster::Timeouts;
use crate::model::token::Token;
use crate::text::Mistake;

/// The deadline of each answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How much later than systemd's deadline ours is, so that systemd can report its own timeout.
const AFTER_SYSTEMD: Duration = Duration::from_secs(5);

/// The answers, by agent and unit, and the OCF agent of each word.
#[derive(Default)]
pub struct Catalog {
    plans: BTreeMap<String, Option<Result<Plan, Mistake>>>,
    agents: BTreeMap<PathBuf, Result<MetaData, String>>,
    units: BTreeMap<String, Result<unit::Unit, String>>,
}

impl Catalog {
    /// Asks every agent and unit that these words name. Mistakes in words are left for the resolver to report.
    pub async fn ask<'t>(tokens: impl IntoIterator<Item = &'t Token>, env: &ScriptEnv) -> Self {
        let mut plans = BTreeMap::new();
        let mut paths = BTreeSet::new();
        let mut names = BTreeSet::new();
        for token in tokens {
            let plan = notation::plan(token, env);
            if let Some(Ok(plan)) = &plan {
                paths.insert(plan.path.clone());
            }
            plans.insert(token.text.clone(), plan);
            if let Some(Ok(name)) = unit::unit_name(token) {
                names.insert(name);
            }
        }
        let limits = Limits::within(ANSWER_TIMEOUT, &Abort::new());
        let limits = &limits;
        let agents = paths.into_iter().map(|path| async move {
            let meta = read_metadata(&path, env, limits).await;
            (path, meta)
        });
        let units = names.into_iter().map(|name| async move {
            let unit = systemd::query_unit(&name, env, limits).await;
            (name, unit.map_err(|e| e.to_string()))
        });
        Catalog {
            plans,
            agents: join_all(agents).await.into_iter().collect(),
            units: join_all(units).await.into_iter().collect(),
        }
    }

    /// The OCF agent that a word names; `None` for other words. A word that was not asked for is looked up now.
    pub fn plan(&self, token: &Token, env: &ScriptEnv) -> Option<Result<Plan, Mistake>> {
        match self.plans.get(&token.text) {
            Some(known) => known.clone(),
            None => notation::plan(token, env),
        }
    }

    /// The meta-data of an OCF agent, if it could be read.
    pub fn metadata(&self, path: &Path) -> Option<&MetaData> {
        self.agents.get(path)?.as_ref().ok()
    }

    /// Checks that a unit can be a resource. Returns its deadlines: systemd's own, or `usual`.
    pub fn unit_timeouts(&self, name: &str, usual: Timeouts) -> Result<Timeouts, Mistake> {
        let unit = match self.units.get(name) {
            Some(Ok(unit)) => unit,
            Some(Err(why)) => return Err(Mistake::new(why)),
            None => {
                return Err(Mistake::new(format!(
                    "internal error: unit {name} was not looked up; please report it"
                )));
            }
        };
        unit.check_usable(name)?;
        let (start, stop) = unit.timeouts();
        let later = |time: Duration| time.saturating_add(AFTER_SYSTEMD);
        Ok(Timeouts {
            start: start.map_or(usual.start, later),
            stop: stop.map_or(usual.stop, later),
            ..usual
        })
    }

    /// The deadlines that an OCF agent advises, or `usual`.
    pub fn advised_timeouts(&self, path: &Path, usual: Timeouts) -> Timeouts {
        let Some(meta) = self.metadata(path) else {
            return usual;
        };
        Timeouts {
            start: meta.timeout("start").unwrap_or(usual.start),
            stop: meta.timeout("stop").unwrap_or(usual.stop),
            monitor: meta.timeout("monitor").unwrap_or(usual.monitor),
        }
    }

    /// Remarks about a word that can be used all the same.
    pub fn remarks(&self, token: &Token, env: &ScriptEnv) -> Vec<Mistake> {
        if let Some(Ok(plan)) = self.plan(token, env) {
            return match self.agents.get(&plan.path) {
                Some(Ok(meta)) => judge::remarks(&plan, meta),
                Some(Err(why)) => vec![Mistake::new(format!(
                    "{why}; its parameters cannot be checked"
                ))],
                None => Vec::new(),
            };
        }
        let Some(Ok(name)) = unit::unit_name(token) else {
            return Vec::new();
        };
        match self.units.get(&name) {
            Some(Ok(unit)) if unit.is_enabled() => vec![
                Mistake::new(format!(
                    "systemd starts {name} at each boot, even if the cluster has it on another node"
                ))
                .help(format!("systemctl disable {name}")),
            ],
            _ => Vec::new(),
        }
    }
}
