//! How a word of haresources names an OCF agent: `ocf:provider:type::name=value...`, `ocf::provider:type::...`, and
//! heartbeat's `OCF::type::instance`, whose parameters stand in `conf/OCF/TYPE/INSTANCE`.
//!
//! `::` separates arguments, and there are no quotation marks. A value with blanks or `::` goes into an instance file, which
//! every notation may name as its first argument.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::instance;
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::safe_path;
use crate::agent::resolve::heartbeat_names;
use crate::model::token::Token;
use crate::text::Mistake;
use crate::text::did_you_mean;

/// The provider that heartbeat's own agents have.
const USUAL_PROVIDER: &str = "heartbeat";
/// Characters of a name made from a word; it becomes part of names of files.
const LONGEST_INSTANCE: usize = 60;
/// How a parameter is written.
const FORM: &str = "the form is ocf:heartbeat:Dummy::name=value::name=value";

/// What a word asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whose agent; of none in particular in heartbeat's notation.
    pub provider: Option<String>,
    /// Which agent.
    pub kind: String,
    /// The file in `conf/OCF/TYPE` with parameters.
    pub file: Option<String>,
    /// Parameters of the word itself.
    pub given: Vec<Given>,
}

/// A parameter with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its name, without `OCF_RESKEY_`.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where the name stands in the word, if it does.
    pub at: Option<(usize, usize)>,
}

/// An agent found, with all its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The file.
    pub path: PathBuf,
    /// Whose agent.
    pub provider: String,
    /// Which agent.
    pub kind: String,
    /// The name of this resource to the agent.
    pub instance: String,
    /// All parameters.
    pub given: Vec<Given>,
}

/// What a word becomes if it names an OCF agent, also one that heartbeat had a script of its own for.
pub fn plan(token: &Token, env: &ScriptEnv) -> Option<Result<Plan, Mistake>> {
    let wanted = match wanted(token) {
        Some(wanted) => wanted,
        None if heartbeat_names::is_script(token, env) => return None,
        None => heartbeat_names::wanted(token)?,
    };
    Some(wanted.and_then(|wanted| find(wanted, token, env)))
}

/// The provider and type that a word names, `ocf:heartbeat:Dummy` for each notation; for words of OCF alone.
pub fn kind(text: &str) -> Option<String> {
    let token = Token {
        text: text.to_owned(),
        name: String::new(),
        args: Vec::new(),
    };
    Some(wanted(&token)?.ok()?.kind)
}

/// Takes a word apart. None where it is no notation of OCF.
pub fn wanted(token: &Token) -> Option<Result<Wanted, Mistake>> {
    let mut pieces = pieces(&token.text).into_iter();
    let (_, first) = pieces.next()?;
    if first.eq_ignore_ascii_case("ocf") {
        let Some((_, agent)) = pieces.next() else {
            let message = format!("`{}` names no agent", token.text);
            return Some(Err(Mistake::new(message).help(FORM)));
        };
        return Some(parse(agent, pieces.collect()));
    }
    let (class, agent) = first.split_once(':')?;
    class
        .eq_ignore_ascii_case("ocf")
        .then(|| parse(agent, pieces.collect()))
}

fn parse(agent: &str, arguments: Vec<(usize, &str)>) -> Result<Wanted, Mistake> {
    let (provider, kind) = match agent.split_once(':') {
        Some((provider, kind)) => (Some(provider), kind),
        None => (None, agent),
    };
    for name in provider.iter().chain([&kind]) {
        if !is_name(name) {
            let message = format!("`{agent}` is not provider:type of an OCF agent");
            return Err(Mistake::new(message).help(FORM));
        }
    }
    let mut wanted = Wanted {
        provider: provider.map(str::to_owned),
        kind: kind.to_owned(),
        ..Wanted::default()
    };
    for (at, argument) in arguments {
        wanted.take(at, argument)?;
    }
    Ok(wanted)
}

impl Wanted {
    fn take(&mut self, at: usize, argument: &str) -> Result<(), Mistake> {
        if let Some((name, value)) = argument.split_once('=') {
            let at = Some((at, name.chars().count()));
            if name.is_empty() {
                let message = format!("`{argument}` has no name before its `=`");
                return Err(Mistake::new(message).help(FORM).at(at));
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
        Err(Mistake::new(message).help(FORM).at(Some(place)))
    }

    /// The `::` of a shortened IPv6 address looks like the end of an argument.
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

/// The parts between `::`, each with the number of its first character.
fn pieces(text: &str) -> Vec<(usize, &str)> {
    let mut at = 0;
    let mut pieces = Vec::new();
    for piece in text.split("::") {
        pieces.push((at, piece));
        at += piece.chars().count() + 2;
    }
    pieces
}

/// Whether it may be the name of a file in a folder.
fn is_name(text: &str) -> bool {
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
    !text.is_empty() && text.len() < 200 && !text.starts_with('.') && text.chars().all(usual)
}

/// Finds the agent's file and reads the parameters of its instance.
fn find(wanted: Wanted, token: &Token, env: &ScriptEnv) -> Result<Plan, Mistake> {
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
    Mistake::new(message).help(FORM)
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
pub fn agents_of(provider: &str, env: &ScriptEnv) -> Vec<String> {
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
    Err(Mistake::new(message).help(elsewhere(wanted, env)))
}

/// What might have been meant.
fn elsewhere(wanted: &Wanted, env: &ScriptEnv) -> String {
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

/// The name of a resource to its agent, which makes names of files from it: the same at each start and on each node,
/// and another one for each word.
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
    let arguments = arguments.join("_");
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let name: String = arguments
        .chars()
        .map(|c| if usual(c) { c } else { '_' })
        .take(LONGEST_INSTANCE)
        .collect();
    if name == arguments {
        return format!("{kind}_{name}");
    }
    let hash = Sha256::digest(token.text.as_bytes());
    let short = hash
        .iter()
        .take(3)
        .fold(0_u32, |sum, b| (sum << 8) | u32::from(*b));
    format!("{kind}_{name}-{short:06x}")
}

#[cfg(test)]
mod tests;
