//! Agents without a cluster: one word tried out, those that there are, what one can be told. For `hactl agent`.

use std::path::Path;
use std::sync::Arc;

use super::assemble::{environment, timeouts};
use super::{Folders, own_name};
use crate::agent::address::virtual_address::Network;
use crate::agent::builtin::drbd::fence::{NoPeers, Peers};
use crate::agent::contract::{self, TestResult};
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::external::ocf::metadata::MetaData;
use crate::agent::external::ocf::{notation, read_metadata};
use crate::agent::resolve::catalog::Catalog;
use crate::agent::resolve::heartbeat_names;
use crate::agent::resolve::{BUILT_INS, ResolvedStep, Resolver, scripts_in};
use crate::agent::{Abort, Limits};
use crate::config::{self, Config};
use crate::model::cluster::Timeouts;
use crate::model::token::Token;
use crate::sys::netlink::Netlink;
use crate::text::{Mistake, Problems};

/// Tells of each step of a test.
pub type Tell<'t> = &'t mut dyn FnMut(&str, &TestResult);

/// Walks the agent of a word through its contract, as this node with the configuration in `dir`. How many steps broke it.
///
/// # Errors
/// Why the word is no resource here.
pub fn test(dir: &Path, word: &str, tell: Tell<'_>) -> Result<usize, String> {
    let token = token(word)?;
    runtime()?.block_on(async {
        let step = resolve(dir, &token, tell).await?;
        let abort = Abort::new();
        let interrupted = async {
            tokio::signal::ctrl_c().await.ok();
            abort.abort(); // the walk goes on to its end, which leaves nothing running
            std::future::pending::<()>().await;
        };
        tokio::select! {
            broken = contract::run_tests(&step, &abort, tell) => Ok(broken),
            () = interrupted => Ok(1),
        }
    })
}

/// What there is, a line for each kind.
pub fn list(dir: &Path) -> Vec<(String, Vec<String>)> {
    let env = script_env(dir).0;
    let words = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut kinds = vec![("built-in".to_owned(), words(&BUILT_INS))];
    for folder in [env.resource_dir(), env.init_dir.clone()] {
        kinds.push((folder.display().to_string(), scripts_in(&folder)));
    }
    let agents = notation::all_agents(&env);
    let there = |name: &&str| agents.contains(&format!("ocf:heartbeat:{name}"));
    let old: Vec<&str> = heartbeat_names::names().filter(there).collect();
    kinds.push(("heartbeat's names for OCF agents".to_owned(), words(&old)));
    kinds.push(("OCF agents".to_owned(), agents));
    kinds
}

/// What stands at the head of a resource script, which is its manual; none where there is no such script.
pub fn manual(dir: &Path, word: &str) -> Option<String> {
    let folder = script_env(dir).0.resource_dir();
    let name = scripts_in(&folder).into_iter().find(|name| name == word)?;
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).ok()?;
    let head = text.lines().skip(1).map_while(|l| l.strip_prefix('#'));
    let head = head.map(|l| format!("{}\n", l.strip_prefix(' ').unwrap_or(l)));
    Some(format!(
        "{}\n\n{}",
        path.display(),
        head.collect::<String>()
    ))
}

/// What an OCF agent says of itself. It may be named without `ocf:heartbeat:`.
///
/// # Errors
/// Why nothing can be shown.
pub fn show(dir: &Path, word: &str) -> Result<(String, MetaData), String> {
    let mut token = token(word)?;
    if notation::parse_word(&token).is_none() {
        token.text = format!("ocf::{word}");
    }
    let env = script_env(dir).0;
    let plan = notation::plan(&token, &env).ok_or("this is no OCF agent")?;
    let plan = plan.map_err(|m| sentence(&m))?;
    let limits = Limits::within(Timeouts::default().monitor, &Abort::new());
    let meta = runtime()?.block_on(read_metadata(&plan.path, &env, &limits))?;
    Ok((format!("ocf:{}:{}", plan.provider, plan.kind), meta))
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().map_err(|e| e.to_string())
}

/// The word as the reader of haresources takes it apart.
fn token(word: &str) -> Result<Token, String> {
    let mut report = Problems::default();
    let text = format!("node {word}\n");
    let groups = config::haresources::parse(&text, Path::new("word"), None, &mut report);
    if let Some(problem) = report.list.first() {
        return Err(problem.message.clone());
    }
    let mut tokens = groups.into_iter().flat_map(|g| g.tokens);
    match (tokens.next(), tokens.next()) {
        (Some((token, _)), None) => Ok(token),
        _ => Err(format!("`{word}` is not one word of haresources")),
    }
}

async fn resolve(dir: &Path, token: &Token, tell: Tell<'_>) -> Result<ResolvedStep, String> {
    let (env, config) = script_env(dir);
    let netlink = Netlink::new();
    let network = Network::read(&netlink).await.map_err(|e| e.to_string())?;
    let catalog = Catalog::ask([token], &env).await;
    let resolver = Resolver {
        env,
        network: &network,
        netlink: &netlink,
        peers: &(Arc::new(NoPeers) as Arc<dyn Peers>),
        catalog: &catalog,
        timeouts: &|token, usual| match &config {
            Some(config) => timeouts(config, token, usual),
            None => usual,
        },
    };
    for remark in resolver.remarks(token, true) {
        tell("nothing to remark", &TestResult::Remark(sentence(&remark)));
    }
    let steps = resolver.resolve_group(std::slice::from_ref(token));
    let steps = steps.map_err(|problems| {
        let first = problems.into_iter().next();
        first.map_or_else(String::new, |p| with_help(&p.message, p.help.as_deref()))
    })?;
    let step = steps.into_iter().next();
    step.ok_or_else(|| format!("{} is no resource", token.text))
}

/// What scripts are told: by the configuration where it is good, else only where it is.
fn script_env(dir: &Path) -> (Arc<ScriptEnv>, Option<Config>) {
    let node = own_name();
    let folders = Folders::usual(dir);
    match config::load(dir, &node) {
        Ok(loaded) => {
            let env = environment(&loaded.config, &folders);
            (Arc::new(env), Some(loaded.config))
        }
        Err(_) => (Arc::new(ScriptEnv::new(node, dir)), None),
    }
}

fn sentence(mistake: &Mistake) -> String {
    with_help(&mistake.message, mistake.help.as_deref())
}

fn with_help(message: &str, help: Option<&str>) -> String {
    match help {
        Some(help) if !help.is_empty() => format!("{message}\n  = {help}"),
        _ => message.to_owned(),
    }
}
