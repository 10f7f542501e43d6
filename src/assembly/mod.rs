//! From configuration files to runnable things, for the daemon, `hactl check`, `hactl agent` and the simulator alike.
//!
//! * [`mod@assemble`]: the configuration, the agent behind each resource word, and what the engine needs;
//! * [`watch_plan`]: which resources and checks are probed, and how often;
//! * [`hooks`]: the programs that are notified;
//! * [`reload_plan`]: what a reload would change;
//! * [`agents`]: one agent alone, for `hactl agent`;
//! * [`adoption`]: what another manager left running, for `hactl adopt`.

pub mod adoption;
pub mod agents;
pub mod assemble;
mod describe;
pub mod hooks;
pub mod reload_plan;
mod takeover;
mod trust;
pub mod watch_plan;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use assemble::{assemble, counts, simulated_cluster};

use crate::agent::address::virtual_address;
use crate::agent::builtin::drbd::arguments;
use crate::agent::builtin::drbd::fence::{NoPeers, Peers};
use crate::agent::resolve::DRBD_NAMES;
use crate::config::haresources::address_argument;
use crate::config::{self, GroupLine, HostFacts};
use crate::model::NodeName;
use crate::model::token::Token;
use crate::sys::netlink::Netlink;
use crate::text::Problems;

/// The folders of the daemon; the command line may change them.
#[derive(Clone, Debug)]
pub struct Folders {
    /// `ha.cf`, `haresources`, `authkeys`, `resource.d`.
    pub config: PathBuf,
    /// What outlives a boot.
    pub state: PathBuf,
    /// What outlives the daemon until the next boot.
    pub run: PathBuf,
}

impl Folders {
    /// The usual folders, with the configuration in that one.
    pub fn usual(config: &Path) -> Self {
        Folders {
            config: config.to_owned(),
            state: "/var/lib/had".into(),
            run: "/run/had".into(),
        }
    }
}

/// The name of this node, as heartbeat has it: `uname -n` in lower case.
pub fn own_name() -> NodeName {
    let name = nix::unistd::gethostname()
        .map_or_else(|_| String::new(), |n| n.to_string_lossy().into_owned());
    NodeName::new(&name)
}

/// Reads the configuration as a start of the daemon does, and does nothing else.
///
/// # Errors
/// Why the daemon would not start, as a page.
pub fn check_start(folders: &Folders) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("cannot check: {e}\n"))?;
    let netlink = Netlink::new();
    let assembled = runtime.block_on(async {
        let nobody: Arc<dyn Peers> = Arc::new(NoPeers);
        assemble(folders, &own_name(), &netlink, &nobody).await
    });
    assembled
        .map(drop)
        .map_err(|problems| problems.page("had would not start"))
}

/// The output of `hactl check`, and whether the daemon would start.
pub fn check(dir: &Path, node: &NodeName) -> (String, bool) {
    let folders = Folders::usual(dir);
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => return (format!("cannot check: {e}\n"), false),
    };
    let netlink = Netlink::new();
    runtime.block_on(async {
        let nobody: Arc<dyn Peers> = Arc::new(NoPeers);
        match assemble(&folders, node, &netlink, &nobody).await {
            Ok(mut assembled) => {
                assembled.validate().await;
                (assembled.describe(), true)
            }
            Err(problems) => (problems.page("had would not start"), false),
        }
    })
}

/// What `hactl check --elsewhere` prints, and whether the files have no errors. Nothing of this machine matters: neither its
/// interfaces, users and programs nor the modes of the files. Without a node the files are read for the first member.
pub fn check_elsewhere(dir: &Path, node: Option<&NodeName>) -> (String, bool) {
    let refused = |problems: Problems| (problems.page("had would not start"), false);
    let (config, mut problems) = match config::load_on(&HostFacts::elsewhere(), dir, node) {
        Ok(loaded) => (loaded.config, loaded.warnings),
        Err(problems) => return refused(problems),
    };
    for (token, place) in config.groups.iter().flat_map(|g| &g.tokens) {
        if let Some(argument) = address_argument(token)
            && let Err(mistake) = virtual_address::check_form(argument)
        {
            let place = place.part(mistake.at);
            problems.error(&place, mistake.message, mistake.help.unwrap_or_default());
        }
    }
    problems.sort();
    if problems.has_errors() {
        return refused(problems);
    }
    let mut text = problems.to_string();
    for group in &config.groups {
        let words: Vec<&str> = group.tokens.iter().map(|(t, _)| t.text.as_str()).collect();
        text += &format!("group on {}: {}\n", group.preferred, words.join(", "));
    }
    (text + &counts(&simulated_cluster(&config), &problems), true)
}

/// The words of a line that stand for DRBD resources, each with the name in drbd.conf.
pub fn drbd_words(line: &GroupLine) -> impl Iterator<Item = (&Token, &str)> {
    let tokens = line.tokens.iter().map(|(token, _)| token);
    let of_drbd = tokens.filter(|t| DRBD_NAMES.contains(&t.name.as_str()));
    let named = of_drbd.filter_map(|t| Some((t, t.args.first()?.as_str())));
    named.filter(|(_, name)| *name != "all")
}

/// The word of a line that stands for this DRBD resource: by its name, or for all.
pub fn drbd_word_for<'l>(line: &'l GroupLine, resource: &str) -> Option<&'l Token> {
    let mut tokens = line.tokens.iter().map(|(token, _)| token);
    tokens.find(|token| {
        let name = arguments::parse_resource(&token.name, &token.args);
        let named = name.is_ok_and(|name| name.is_none_or(|name| name == resource));
        named && DRBD_NAMES.contains(&token.name.as_str())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_look_shows_what_is_wrong_with_files_and_resources() {
        expect_problems(
            "keepaliv 1\nnode a b\nbcast lo\n",
            "a 127.0.0.300/8/lo nosuchscript\n",
            &[
                "ha.cf:1:1: unknown directive",
                "haresources:1:3:",
                "haresources:1:20:",
                "\n3 errors",
                ": had would not start\n",
            ],
        );
    }

    /// The check of these files refuses them and has all these texts.
    fn expect_problems(ha_cf: &str, haresources: &str, problems: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("ha.cf"), ha_cf).unwrap();
        fs::write(at("haresources"), haresources).unwrap();
        fs::write(at("authkeys"), "auth 1\n1 sha1 a-long-enough-key\n").unwrap();
        fs::set_permissions(at("authkeys"), fs::Permissions::from_mode(0o600)).unwrap();
        let (text, good) = check(dir.path(), &NodeName::new("a"));
        assert!(!good);
        for problem in problems {
            assert!(text.contains(problem), "{problem} is missing in\n{text}");
        }
    }

    #[test]
    fn programs_that_are_missing_are_not_hidden_by_another_mistake() {
        expect_problems(
            "keepaliv 1\nnode a b\nbcast lo\nnotify /nonexistent/hook\ncheck x exec /nonexistent/check\n",
            "a 127.0.0.3/8/lo\n",
            &[
                "ha.cf:1:1: unknown directive",
                "ha.cf:4:8: cannot read /nonexistent/hook",
                "ha.cf:5:14: `/nonexistent/check` is not an executable file",
                "\n3 errors",
            ],
        );
    }

    #[test]
    fn what_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let child = at("child");
        let ha_cf = format!("node a b\nbcast lo\nrespawn root {}\n", child.display());
        fs::write(at("ha.cf"), ha_cf).unwrap();
        fs::write(at("haresources"), "a 127.0.0.3/8/lo\n").unwrap();
        fs::write(at("authkeys"), "auth 1\n1 sha1 a-long-enough-key\n").unwrap();
        fs::write(&child, "#!/bin/sh\n").unwrap();
        for (name, mode) in [
            ("authkeys", 0o600),
            ("haresources", 0o664),
            ("child", 0o775),
        ] {
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let (text, good) = check(dir.path(), &NodeName::new("a"));
        assert!(!good);
        for wrong in [
            "/haresources can be written by users other than root (mode 0664)",
            "ha.cf:3:14: ",
            "/child can be written by users other than root (mode 0775)",
            "\n2 errors",
        ] {
            assert!(text.contains(wrong), "{wrong} is missing in\n{text}");
        }
    }

    #[test]
    fn elsewhere_only_the_files_matter() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let ha_cf = "node a b\nbcast ens9\nping 10.0.0.254\nauto_failback off\nrespawn x /opt/x\n";
        fs::write(at("ha.cf"), ha_cf).unwrap();
        fs::write(at("haresources"), "a 10.0.0.1/24/ens8 nosuchscript\n").unwrap();
        fs::write(at("authkeys"), "auth 1\n1 sha1 a-long-enough-key\n").unwrap();
        let (text, good) = check_elsewhere(dir.path(), None);
        assert!(text.starts_with(
            "group on a: 10.0.0.1/24/ens8, nosuchscript\none owner for each group (two nodes and a ping node): always"
        ));
        let end = "\na: 2 nodes, 1 link, 1 ping node, 1 group\nno errors\n";
        assert!(good && text.ends_with(end), "{text}");
        fs::write(at("haresources"), "a 10.0.0.300/24/ens8\n").unwrap();
        let (text, good) = check_elsewhere(dir.path(), None);
        assert!(!good && text.contains("300 is greater than 255"), "{text}");
        assert!(text.ends_with("1 error: had would not start\n"), "{text}");
    }
}
