//! Scripts in `resource.d` with the name of a built-in. Those of heartbeat's and DRBD's packages do what the built-in does.
//! One that the administrator wrote may do something else, so it is not passed over without a word.

use std::path::PathBuf;

use super::{BUILT_INS, is_executable};
use crate::agent::exec::environment::ScriptEnv;
use crate::model::token::Token;
use crate::sys::foreign_file::read_regular;
use crate::text::Mistake;

/// A longer script is the administrator's own.
const MAX_SCRIPT_BYTES: u64 = 1 << 18;
/// What only the scripts of the packages contain: heartbeat's call its OCF agents with that function; the other is in the head
/// of DRBD's.
const OF_PACKAGES: [&str; 3] = ["ra_execocf", "hto-mapfuncs", "resource script by heartbeat"];
/// A built-in name that heartbeat did not know. A script of that name was always somebody's own.
const OUR_NAME: &str = "drbd";

/// Whether a word with the name of a built-in is a script of `resource.d` all the same.
pub fn is_used(token: &Token, env: &ScriptEnv) -> bool {
    token.name == OUR_NAME && find(token, env).is_some()
}

/// What becomes of a script of the administrator with the name of a built-in.
pub fn remark(token: &Token, env: &ScriptEnv) -> Option<Mistake> {
    let path = find(token, env)?;
    let (name, path) = (&token.name, path.display());
    let words: Vec<&str> = std::iter::once("")
        .chain(token.args.iter().map(String::as_str))
        .collect();
    let arguments = words.join("::");
    if is_used(token, env) {
        let message = format!("{name} is the script {path}, not the built-in {name}");
        let help = "the built-in, which does not start outdated data, is drbddisk::RESOURCE";
        return Some(Mistake::new(message).help(help));
    }
    let message = format!("{name} is the built-in; the script {path} is not used");
    Some(Mistake::new(message).help(format!(
        "to use the script, write {path}{arguments}; if you do not need it, remove it"
    )))
}

fn find(token: &Token, env: &ScriptEnv) -> Option<PathBuf> {
    if !BUILT_INS.contains(&token.name.as_str()) {
        return None;
    }
    let path = env.resource_dir().join(&token.name);
    let own = is_executable(&path)
        && read_regular(&path, MAX_SCRIPT_BYTES).map_or(true, |text| {
            !OF_PACKAGES.iter().any(|mark| text.contains(mark))
        });
    own.then_some(path)
}
