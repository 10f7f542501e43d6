//! The words of a heartbeat that say whether its sender could take groups over.

use super::fields::{self, escape, unescape};
use super::message::Message;
use crate::model::readiness::{ComparedTree, DefaultRoutes, Lack, Readiness};

/// `VERSION,ROUTES,USUAL ROUTES`, or nothing before the first look.
pub(super) fn version_word(readiness: &Readiness) -> String {
    if readiness.version.is_empty() {
        return String::new();
    }
    let [now, usual] = [readiness.routes, readiness.usual_routes].map(routes_word);
    format!("{},{now},{usual}", escape(&readiness.version))
}

fn routes_word(routes: DefaultRoutes) -> &'static str {
    match (routes.v4, routes.v6) {
        (true, true) => "46",
        (true, false) => "4",
        (false, true) => "6",
        (false, false) => "-",
    }
}

/// `GROUP,TEXT`; without a group the text concerns all.
pub(super) fn lack_word(lack: &Lack) -> String {
    let group = lack.group.as_ref().map(|g| escape(g.as_str()));
    format!("{},{}", group.unwrap_or_default(), escape(&lack.text))
}

/// `KEY,DIGEST`, or `-` where it cannot be read.
pub(super) fn tree_word(tree: &ComparedTree) -> String {
    let digest = tree.digest.map(|d| format!("{d:x}"));
    let digest = digest.unwrap_or_else(|| "-".to_owned());
    format!("{:x},{digest}", tree.key)
}

/// Reads all of it. A sender of an earlier version says nothing. What cannot be read counts as not said: it is for people
/// only, and no reason to refuse a heartbeat.
pub(super) fn read(m: &Message<'_>) -> Readiness {
    let text = |name| m.text(name).ok().flatten();
    let said = text("ry").and_then(read_version);
    let (version, routes, usual_routes) = said.unwrap_or_default();
    let readiness = Readiness {
        version,
        routes,
        usual_routes,
        lacks: words(text("la")).filter_map(read_lack).collect(),
        trees: words(text("ct")).filter_map(read_tree).collect(),
    };
    readiness.limited()
}

fn words(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.into_iter().flat_map(|text| text.split(' '))
}

fn read_version(word: &str) -> Option<(String, DefaultRoutes, DefaultRoutes)> {
    let mut parts = word.splitn(3, ',');
    let version = unescape(parts.next()?)?;
    Some((
        version,
        read_routes(parts.next()?)?,
        read_routes(parts.next()?)?,
    ))
}

fn read_routes(word: &str) -> Option<DefaultRoutes> {
    let (v4, v6) = match word {
        "46" => (true, true),
        "4" => (true, false),
        "6" => (false, true),
        "-" => (false, false),
        _ => return None,
    };
    Some(DefaultRoutes { v4, v6 })
}

fn read_lack(word: &str) -> Option<Lack> {
    let (group, text) = word.split_once(',')?;
    let group = match group {
        "" => None,
        name => Some(fields::read_group_name(name)?),
    };
    let text = unescape(text)?;
    Some(Lack { group, text })
}

fn read_tree(word: &str) -> Option<ComparedTree> {
    let (key, digest) = word.split_once(',')?;
    let number = |word| u32::try_from(fields::number(word)?).ok();
    let digest = match digest {
        "-" => None,
        digest => Some(number(digest)?),
    };
    Some(ComparedTree {
        path: None,
        key: number(key)?,
        digest,
    })
}
