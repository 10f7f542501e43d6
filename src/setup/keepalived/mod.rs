//! Reads the files of keepalived, one of each node, and makes one configuration of them.
//!
//! * [`source`]: files, and what they include;
//! * `lexer`: lines to words, as keepalived splits them;
//! * `blocks`: words to nested blocks;
//! * `model`: what the files of one node say; `keywords` and `server_keywords` are what is only remarked;
//! * `reader`, `instance`, `tracked`, `servers`: blocks to the model;
//! * `nodes`: which node has which file, name and addresses;
//! * `routers`: the instances of all nodes, put together, and `truth`: what they really did;
//! * `command`: a command of keepalived as a probe or a script;
//! * `checks` with `check_remarks`, `notify`, `paths`, `convert`: the model to a draft.

mod blocks;
mod check_remarks;
mod checks;
mod command;
mod convert;
mod instance;
mod keywords;
mod lexer;
mod model;
mod nodes;
mod notify;
mod paths;
mod reader;
mod routers;
mod server_keywords;
mod servers;
pub mod source;
mod tracked;
mod truth;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use self::model::Manager;
use self::source::Files;
use super::draft::Draft;
use super::folder::NewFile;
use crate::text::{Place, Problems};

/// What to import.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The file of each node.
    pub files: Vec<PathBuf>,
    /// The nodes in the same order, each with its addresses. Empty: the files tell.
    pub nodes: Vec<(String, Vec<IpAddr>)>,
    /// The ping nodes.
    pub pings: Vec<IpAddr>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The configuration. `None` where nothing could be made of the files.
    pub draft: Option<Draft>,
    /// Scripts beside it.
    pub scripts: Vec<NewFile>,
    /// The nodes, each with its first address.
    pub nodes: Vec<(String, IpAddr)>,
    /// What has no counterpart, and what the files really did.
    pub problems: Problems,
}

/// Reads the files and makes a configuration of them.
pub fn import(wanted: &Wanted, files: &dyn Files) -> Imported {
    let mut report = Problems::default();
    let mut imported = Imported {
        draft: None,
        scripts: Vec::new(),
        nodes: Vec::new(),
        problems: Problems::default(),
    };
    if let Some(managers) = read_all(wanted, files, &mut report)
        && let Some(nodes) = nodes::find_nodes(wanted, &managers, &mut report)
    {
        let routers = routers::put_together(&managers, &nodes, &mut report);
        truth::remark_on_all(&routers, &managers, &nodes, files, &mut report);
        if routers.is_empty() {
            let message = "no vrrp_instance with an address: there is nothing to convert";
            report.error(&Place::whole(first_file(wanted)), message, "");
        } else {
            imported.scripts = notify::scripts(&routers, &managers, &nodes);
            let made = checks::checks(&routers, &managers, &nodes, &mut report);
            imported.scripts.extend(made.scripts.iter().cloned());
            let draft = convert::draft(wanted, &managers, &nodes, &routers, &made, &mut report);
            let hook = imported.scripts.iter().any(|s| s.name == notify::SCRIPT);
            imported.draft = draft.map(|draft| convert::with_hook(draft, hook));
            imported.nodes = nodes
                .iter()
                .map(|n| (n.name.clone(), n.address()))
                .collect();
        }
    }
    report.sort();
    drop_repeated(&mut report);
    if report.has_errors() {
        imported.draft = None;
    }
    imported.problems = report;
    imported
}

/// One file that is read for several nodes says the same of each.
fn drop_repeated(report: &mut Problems) {
    for problem in std::mem::take(&mut report.list) {
        if !report.list.contains(&problem) {
            report.list.push(problem);
        }
    }
}

fn first_file(wanted: &Wanted) -> &Path {
    wanted.files.first().map_or(Path::new(""), PathBuf::as_path)
}

/// What each node's file says. One file with several nodes is read once for each, because its lines may be for one only.
fn read_all(wanted: &Wanted, files: &dyn Files, report: &mut Problems) -> Option<Vec<Manager>> {
    let (paths, nodes) = (&wanted.files, &wanted.nodes);
    let shared = paths.len() == 1 && nodes.len() > 1;
    if !nodes.is_empty() && nodes.len() != paths.len() && !shared {
        let message = format!(
            "{} files and {} nodes: give --node once for each file, in the same order",
            paths.len(),
            nodes.len()
        );
        report.error(&Place::whole(first_file(wanted)), message, "");
        return None;
    }
    let number = paths.len().max(nodes.len());
    let mut managers = Vec::new();
    for nth in 0..number {
        let path = paths.get(nth).or(paths.first())?;
        let name = nodes.get(nth).map_or("", |(name, _)| name.as_str());
        let text = files.read(path).map_err(|why| {
            report.error(&Place::whole(path), format!("cannot be read: {why}"), "");
        });
        let Ok(text) = text else { continue };
        let lines = source::read_lines(&text, path, name, files, report);
        let entries = blocks::build(lines, report);
        managers.push(reader::read(&entries, path, report));
    }
    (managers.len() == number).then_some(managers)
}
