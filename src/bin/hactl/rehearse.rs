//! From a folder of configuration to the plan of a lab.

use std::path::{Path, PathBuf};

use had::config::{self, HostFacts, Loaded};
use had::lab::LabPlan;
use had::lab::derive::{PlanBuilder, PlannedAddress, plan};
use had::model::token::Token;

/// The lab that rehearses the configuration of a folder.
pub fn of(dir: &Path, name: &str) -> Result<LabPlan, String> {
    let (had, hactl) = programs()?;
    with(dir, name, had, hactl)
}

/// The same with these programs.
pub fn with(dir: &Path, name: &str, had: PathBuf, hactl: PathBuf) -> Result<LabPlan, String> {
    let dir = dir
        .canonicalize()
        .map_err(|e| format!("{}: {e}", dir.display()))?;
    let config = load(&dir)?.config;
    let scripts = scripts_for(&dir);
    let pings: Vec<std::net::IpAddr> = config
        .pings
        .iter()
        .flat_map(|p| p.addresses.iter().copied())
        .collect();
    let tokens = config
        .groups
        .iter()
        .flat_map(|g| g.tokens.iter().map(|(token, _)| token));
    let addresses: Vec<PlannedAddress> = tokens.filter_map(virtual_address).collect();
    let here = had::assembly::own_name();
    plan(&PlanBuilder {
        name: name.to_owned(),
        nodes: &config.nodes,
        here: config.nodes.contains(&here).then_some(here),
        media: &config.media,
        pings: &pings,
        addresses: &addresses,
        config_dir: dir,
        had,
        hactl,
    })
    .map(|plan| LabPlan { scripts, ..plan })
    .map_err(|e| e.to_string())
}

/// The scripts that the examples name: `resource.d` of the source tree that a folder lies in, or what a package installed.
fn scripts_for(dir: &Path) -> Option<PathBuf> {
    let installed = || Some(PathBuf::from("/etc/ha.d/resource.d")).filter(|dir| dir.is_dir());
    scripts_of_tree(dir).or_else(installed)
}

fn scripts_of_tree(dir: &Path) -> Option<PathBuf> {
    let is_tree =
        |dir: &&Path| dir.join("ha.d/examples").is_dir() && dir.join("resource.d").is_dir();
    let tree = dir.ancestors().find(is_tree)?;
    Some(tree.join("resource.d"))
}

/// Reads a folder for machines that do not exist yet, so nothing of this machine matters.
pub fn load(dir: &Path) -> Result<Loaded, String> {
    let machine = HostFacts::elsewhere();
    config::load_on(&machine, dir, None).map_err(|problems| problems.page("cannot be run"))
}

fn virtual_address(token: &Token) -> Option<PlannedAddress> {
    let is_address = matches!(token.name.as_str(), "IPaddr" | "IPaddr2" | "IPv6addr");
    let mut parts = token.args.first().filter(|_| is_address)?.split('/');
    let address = parts.next()?.parse().ok()?;
    let prefix = parts.next().and_then(|p| p.parse().ok());
    let interface = parts
        .next()
        .filter(|p| !p.starts_with(|c: char| c.is_ascii_digit()));
    Some(PlannedAddress {
        address,
        prefix,
        interface: interface.map(str::to_owned),
    })
}

/// The daemon beside this very tool, and the tool.
fn programs() -> Result<(PathBuf, PathBuf), String> {
    let hactl = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    let had = hactl.with_file_name("had");
    if had.exists() {
        Ok((had, hactl))
    } else {
        Err(format!(
            "{} is missing: it must be in the same folder as hactl",
            had.display()
        ))
    }
}
