//! How a word of haresources names an OCF agent: `ocf:provider:type::name=value...`, `ocf::provider:type::...`, and
//! heartbeat's `OCF::type::instance` with the parameters in `conf/OCF/TYPE/INSTANCE`.
//!
//! `::` separates arguments, and there is no quoting. A value with blanks or `::` has to be in an instance file, which can be
//! the first argument in every notation.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::instance;
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::safe_path;
use crate::agent::resolve::heartbeat_names;
use crate::model::token::Token;
use crate::text::{Mistake, did_you_mean, mask_secrets};

/// The provider of heartbeat's own agents.
const USUAL_PROVIDER: &str = "heartbeat";
/// How many characters of a word an instance name keeps. Agents make file names of it.
const MAX_INSTANCE_CHARS: usize = 60;
/// The help of mistakes.
const USAGE: &str = "the form is ocf:heartbeat:Dummy::name=value::name=value";

/// The agent that a word names, before its file is looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The provider; any in heartbeat's notation.
    pub provider: Option<String>,
    /// The type of the agent.
    pub kind: String,
    /// The file with parameters in `conf/OCF/TYPE`.
    pub file: Option<String>,
    /// The parameters in the word.
    pub given: Vec<Given>,
}

/// A parameter with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its name, without `OCF_RESKEY_`.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The characters of the name in the word: the first and how many; none if it is not in the word.
    pub at: Option<(usize, usize)>,
}

/// An installed agent with all parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The agent's file.
    pub path: PathBuf,
    /// The provider of the agent.
    pub provider: String,
    /// The type of the agent.
    pub kind: String,
    /// The name of the resource, for the agent.
    pub instance: String,
    /// All parameters.
    pub given: Vec<Given>,
}

/// The OCF agent that a word names, by its notation or by one of heartbeat's names. `None` for other words.
pub fn plan(token: &Token, env: &ScriptEnv) -> Option<Result<Plan, Mistake>> {
    let wanted = match parse_word(token) {
        Some(wanted) => wanted,
        None if heartbeat_names::is_script(token, env) => return None,
        None => heartbeat_names::ocf_agent(token)?,
    };
    Some(wanted.and_then(|wanted| complete(wanted, token, env)))
}

/// The type of agent in a word with a notation of OCF.
pub fn agent_type(text: &str) -> Option<String> {
    let token = Token {
        text: text.to_owned(),
        name: String::new(),
        args: Vec::new(),
    };
    Some(parse_word(&token)?.ok()?.kind)
}

/// Parses a word. `None` if it has no notation of OCF.
pub fn parse_word(token: &Token) -> Option<Result<Wanted, Mistake>> {
    let mut pieces = pieces(&token.text).into_iter();
    let (_, first) = pieces.next()?;
    if first.eq_ignore_ascii_case("ocf") {
        let Some((_, agent)) = pieces.next() else {
            let message = format!("`{}` names no agent", token.text);
            return Some(Err(Mistake::new(message).help(USAGE)));
        };
        return Some(parse_agent(agent, pieces.collect()));
    }
    let (class, agent) = first.split_once(':')?;
    class
        .eq_ignore_ascii_case("ocf")
        .then(|| parse_agent(agent, pieces.collect()))
}

fn parse_agent(agent: &str, arguments: Vec<(usize, &str)>) -> Result<Wanted, Mistake> {
    let (provider, kind) = match agent.split_once(':') {
        Some((provider, kind)) => (Some(provider), kind),
        None => (None, agent),
    };
    for name in provider.iter().chain([&kind]) {
        if !is_name(name) {
            let message = format!("`{agent}` is not the provider:type of an OCF agent");
            return Err(Mistake::new(message).help(USAGE));
        }
    }
    let mut wanted = Wanted {
        provider: provider.map(str::to_owned),
        kind: kind.to_owned(),
        ..Wanted::default()
    };
    for (at, argument) in arguments {
        wanted.add_argument(at, argument)?;
    }
    Ok(wanted)
}

impl Wanted {
    fn add_argument(&mut self, at: usize, argument: &str) -> Result<(), Mistake> {
        if let Some((name, value)) = argument.split_once('=') {
            let at = Some((at, name.chars().count()));
            if name.is_empty() {
                let message = format!("`{argument}` has no name before its `=`");
                return Err(Mistake::new(message).help(USAGE).at(at));
            }
            self.given.push(Given {
                name: name.to_owned(),
                value: value.to_owned(),
                at,
            });
            return Ok(());
        }
        if self.continues_address(argument) || argument.is_empty() {
            return Ok(());
        }
        if self.file.is_none() && self.given.is_empty() && is_name(argument) {
            self.file = Some(argument.to_owned());
            return Ok(());
        }
        let message = format!("`{argument}` is not name=value");
        let place = (at, argument.chars().count());
        Err(Mistake::new(message).help(USAGE).at(Some(place)))
    }

    /// Joins a shortened IPv6 address, whose `::` looks like the end of an argument.
    fn continues_address(&mut self, piece: &str) -> bool {
        let Some(last) = self.given.last_mut() else {
            return false;
        };
        let joined = format!("{}::{piece}", last.value);
        let ip = joined.split('/').next().unwrap_or_default();
        if ip.parse::<std::net::Ipv6Addr>().is_err() {
            return false;
        }
        last.value = joined;
        true
    }
}

/// The parts between `::`, each with the position of its first character.
fn pieces(text: &str) -> Vec<(usize, &str)> {
    let mut at = 0;
    let mut pieces = Vec::new();
    for piece in text.split("::") {
        pieces.push((at, piece));
        at += piece.chars().count() + 2;
    }
    pieces
}

/// Whether a text can be a file name.
fn is_name(text: &str) -> bool {
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
    !text.is_empty() && text.len() < 200 && !text.starts_with('.') && text.chars().all(usual)
}

/// Finds the file of the agent and reads the parameters of the instance file.
fn complete(wanted: Wanted, token: &Token, env: &ScriptEnv) -> Result<Plan, Mistake> {
    let (provider, path) = locate(&wanted, env)?;
    safe_path::check(&path)?;
    let mut given = Vec::new();
    if let Some(name) = &wanted.file {
        let folder = env.config_dir.join("conf/OCF").join(&wanted.kind);
        given = instance::read(&folder.join(name)).map_err(|m| no_file(m, name, &folder))?;
    }
    given.extend(wanted.given);
    Ok(Plan {
        path,
        provider,
        instance: instance_name(&wanted.kind, token),
        kind: wanted.kind,
        given,
    })
}

fn no_file(mistake: Mistake, name: &str, folder: &Path) -> Mistake {
    if folder.join(name).exists() {
        return mistake;
    }
    let message = format!(
        "`{name}` is neither name=value nor a file with parameters in {}",
        folder.display()
    );
    Mistake::new(message).help(USAGE)
}

/// The folders of agents, heartbeat's first.
fn providers(env: &ScriptEnv) -> Vec<String> {
    let entries = fs::read_dir(env.ocf_root.join("resource.d"));
    let entries = entries.into_iter().flatten().flatten();
    let folders = entries.filter(|e| e.path().is_dir());
    let mut names: Vec<String> = folders
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort_by_key(|name| (name != USUAL_PROVIDER, name.clone()));
    names
}

/// All agents of a provider.
fn agents_of(provider: &str, env: &ScriptEnv) -> Vec<String> {
    let folder = env.ocf_root.join("resource.d").join(provider);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries
        .filter(|e| safe_path::check(&e.path()).is_ok())
        .filter_map(|e| e.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|n| is_name(n)).collect();
    names.sort();
    names
}

/// All agents as `ocf:provider:type`.
pub fn all_agents(env: &ScriptEnv) -> Vec<String> {
    let mut all = Vec::new();
    for provider in providers(env) {
        let names = agents_of(&provider, env);
        all.extend(names.iter().map(|n| format!("ocf:{provider}:{n}")));
    }
    all
}

fn locate(wanted: &Wanted, env: &ScriptEnv) -> Result<(String, PathBuf), Mistake> {
    let providers = match &wanted.provider {
        Some(one) => vec![one.clone()],
        None => providers(env),
    };
    let root = env.ocf_root.join("resource.d");
    for provider in providers {
        let path = root.join(&provider).join(&wanted.kind);
        if path.is_file() {
            return Ok((provider, path));
        }
    }
    let shown = wanted.provider.as_deref().unwrap_or(USUAL_PROVIDER);
    let path = root.join(shown).join(&wanted.kind);
    let message = format!(
        "there is no OCF agent {shown}:{}: no file {}",
        wanted.kind,
        path.display()
    );
    Err(Mistake::new(message).help(suggestion(wanted, env)))
}

/// A suggestion for an agent that does not exist.
fn suggestion(wanted: &Wanted, env: &ScriptEnv) -> String {
    let all = all_agents(env);
    if all.is_empty() {
        return "install the package resource-agents, on every node".to_owned();
    }
    let ending = format!(":{}", wanted.kind);
    if let Some(found) = all.iter().find(|a| a.ends_with(&ending)) {
        return format!("did you mean `{found}`?");
    }
    let kinds = all.iter().filter_map(|a| a.rsplit(':').next());
    did_you_mean(&wanted.kind, kinds)
}

/// The name of a resource for its agent, which makes file names of it. It is the same at each start and on each node, and
/// differs for each word. A secret is not part of it.
fn instance_name(kind: &str, token: &Token) -> String {
    let apart = token.text.split("::").next();
    let agent = if apart.is_some_and(|first| first.eq_ignore_ascii_case("ocf")) {
        2
    } else {
        1
    };
    let pieces = token.text.split("::").skip(agent);
    let arguments: Vec<&str> = pieces.filter(|piece| !piece.is_empty()).collect();
    if arguments.is_empty() {
        return kind.to_owned();
    }
    let arguments = mask_secrets(&arguments.join("::")).replace("::", "_");
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let name: String = arguments
        .chars()
        .map(|c| if usual(c) { c } else { '_' })
        .take(MAX_INSTANCE_CHARS)
        .collect();
    if name == arguments {
        return format!("{kind}_{name}");
    }
    let hash = Sha256::digest(mask_secrets(&token.text));
    let short = hash
        .iter()
        .take(3)
        .fold(0_u32, |sum, b| (sum << 8) | u32::from(*b));
    format!("{kind}_{name}-{short:06x}")
}

#[cfg(test)]
mod tests;
