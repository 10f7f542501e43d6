//! Agents without a cluster, for `hactl agent`: test one, list them, show what one accepts.

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
use crate::agent::resolve::own_script;
use crate::agent::resolve::{BUILT_INS, ResolvedStep, Resolver, scripts_in};
use crate::agent::{Abort, Limits};
use crate::config::{self, Config};
use crate::model::cluster::Timeouts;
use crate::model::token::Token;
use crate::sys::foreign_file::read_regular;
use crate::sys::netlink::Netlink;
use crate::text::{Mistake, Problems};

/// A longer script shows no manual.
const MAX_SCRIPT_BYTES: u64 = 1 << 20;

/// The built-ins: the name, the arguments, and what it does.
const BUILT_IN_FORMS: [(&str, &str, &str); BUILT_INS.len()] = [
    ("IPaddr", ADDRESS_FORM, "a virtual address"),
    ("IPaddr2", ADDRESS_FORM, "a virtual address"),
    ("IPv6addr", ADDRESS_FORM, "a virtual address"),
    (
        "SendArp",
        "::address/interface[::seconds[::gateway]]",
        "announces an address that something else has added",
    ),
    ("Delay", "[::start[::stop]]", "waits that many seconds"),
    (
        "Filesystem",
        "::device::directory[::type[::options]]",
        "mounts a file system, and frees it before it is unmounted",
    ),
    (
        "drbddisk",
        "[::resource]",
        "makes this side of a DRBD resource Primary; without a name all of them",
    ),
    (
        "drbd",
        "[::resource]",
        "makes this side of a DRBD resource Primary; without a name all of them",
    ),
    (
        "mysqld",
        "[::defaults-file[::datadir[::socket[::user]]]]",
        "runs a MariaDB or MySQL server",
    ),
];
const ADDRESS_FORM: &str = "::address[/prefix[/interface[:label]][/broadcast]]";

/// Gets the result of each step of a test.
pub type StepReporter<'t> = &'t mut dyn FnMut(&str, &TestResult);

/// Tests the agent of a resource word on this node with the configuration in `dir`: runs all its actions and returns how many
/// of them broke the contract for agents.
///
/// # Errors
/// Why the word cannot be used as a resource here.
pub fn test_agent(dir: &Path, word: &str, report: StepReporter<'_>) -> Result<usize, String> {
    let token = parse_word(word)?;
    runtime()?.block_on(async {
        let step = resolve_word(dir, &token, report).await?;
        let abort = Abort::new();
        let interrupted = async {
            tokio::signal::ctrl_c().await.ok();
            abort.abort(); // the test still runs to its end, which leaves nothing running
            std::future::pending::<()>().await;
        };
        tokio::select! {
            broken = contract::run_tests(&step, &abort, report) => Ok(broken),
            () = interrupted => Ok(1),
        }
    })
}

/// All agents on this machine, by kind.
pub fn list_agents(dir: &Path) -> Vec<(String, Vec<String>)> {
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

/// What a built-in is for and how it is written; none for other words.
pub fn built_in_manual(dir: &Path, word: &str) -> Option<String> {
    let token = parse_word(word).ok()?;
    let (name, form, does) = BUILT_IN_FORMS
        .iter()
        .find(|(name, ..)| *name == token.name)?;
    let env = script_env(dir).0;
    if own_script::is_used(&token, &env) {
        return None;
    }
    let mut text =
        format!("built-in {name}: {does}\n    {name}{form}\nharesources(5) explains it\n");
    if let Some(mistake) = own_script::remark(&token, &env) {
        text += &format!("note: {}\n", mistake.message);
    }
    Some(text)
}

/// The comment at the head of a resource script, which is its manual; none when there is no such script.
pub fn script_manual(dir: &Path, word: &str) -> Option<String> {
    let folder = script_env(dir).0.resource_dir();
    let name = scripts_in(&folder).into_iter().find(|name| name == word)?;
    let path = folder.join(name);
    let text = read_regular(&path, MAX_SCRIPT_BYTES).ok()?;
    let head = text.lines().skip(1).map_while(|l| l.strip_prefix('#'));
    let head = head.map(|l| format!("{}\n", l.strip_prefix(' ').unwrap_or(l)));
    Some(format!(
        "{}\n\n{}",
        path.display(),
        head.collect::<String>()
    ))
}

/// The meta-data of an OCF agent. `ocf:heartbeat:` may be left out of its name.
///
/// # Errors
/// Why nothing can be shown.
pub fn ocf_metadata(dir: &Path, word: &str) -> Result<(String, MetaData), String> {
    let mut token = parse_word(word)?;
    if notation::parse_word(&token).is_none() {
        token.text = format!("ocf::{word}");
    }
    let env = script_env(dir).0;
    let plan =
        notation::plan(&token, &env).ok_or_else(|| format!("`{word}` is not an OCF agent"))?;
    let plan = plan.map_err(|m| mistake_text(&m))?;
    let limits = Limits::within(Timeouts::default().monitor, &Abort::new());
    let meta = runtime()?.block_on(read_metadata(&plan.path, &env, &limits))?;
    Ok((format!("ocf:{}:{}", plan.provider, plan.kind), meta))
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().map_err(|e| e.to_string())
}

/// Parses a word as in haresources.
fn parse_word(word: &str) -> Result<Token, String> {
    let mut report = Problems::default();
    let text = format!("node {word}\n");
    let groups = config::haresources::parse(&text, Path::new("word"), None, &mut report);
    if let Some(problem) = report.list.first() {
        return Err(problem.message.clone());
    }
    let mut tokens = groups.into_iter().flat_map(|g| g.tokens);
    match (tokens.next(), tokens.next()) {
        (Some((token, _)), None) => Ok(token),
        _ => Err(format!("`{word}` is not one resource word")),
    }
}

async fn resolve_word(
    dir: &Path,
    token: &Token,
    report: StepReporter<'_>,
) -> Result<ResolvedStep, String> {
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
        takeover_waits: &|_| None,
    };
    for remark in resolver.remarks(token, &[], true) {
        report(
            "nothing to remark",
            &TestResult::Remark(mistake_text(&remark)),
        );
    }
    let steps = resolver.resolve_group(std::slice::from_ref(token));
    let steps = steps.map_err(|problems| {
        let first = problems.into_iter().next();
        first.map_or_else(String::new, |p| with_help(&p.message, p.help.as_deref()))
    })?;
    let step = steps.into_iter().next();
    step.ok_or_else(|| format!("{} is not a resource", token.text))
}

/// The environment of scripts, from the configuration if that has no errors.
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

fn mistake_text(mistake: &Mistake) -> String {
    with_help(&mistake.message, mistake.help.as_deref())
}

fn with_help(message: &str, help: Option<&str>) -> String {
    match help {
        Some(help) if !help.is_empty() => format!("{message}\n  = {help}"),
        _ => message.to_owned(),
    }
}
