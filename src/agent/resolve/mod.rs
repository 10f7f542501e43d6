//! Decides what each resource word of a group becomes, before anything of the group is touched.
//!
//! The first match counts: a built-in; an OCF agent or a unit of systemd by its notation; a script by its absolute path;
//! `resource.d/NAME`; the OCF agent that one of heartbeat's names stands for; `/etc/init.d/NAME`.
//!
//! * [`catalog`] asks agents that are not ours what they know of themselves, before words are resolved.
//! * [`heartbeat_names`] knows the names of heartbeat's own scripts; [`storage_order`] is what a name alone tells.

pub mod catalog;
pub mod heartbeat_names;
pub mod storage_order;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::agent::Agent;
use crate::agent::address::ipaddr::Addresses;
use crate::agent::address::send_arp::SendArp;
use crate::agent::address::virtual_address::{self, Network, VirtualAddress};
use crate::agent::builtin::drbd::fence::Peers;
use crate::agent::builtin::drbd::{self, Drbd};
use crate::agent::builtin::filesystem::{self, Filesystem};
use crate::agent::builtin::mysqld::{self, Mysqld};
use crate::agent::builtin::pseudo::Delay;
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::safe_path;
use crate::agent::external::ocf::{Ocf, judge, notation};
use crate::agent::external::script::Script;
use crate::agent::external::systemd::{Systemd, unit};
use crate::agent::resolve::catalog::Catalog;
use crate::agent::resolve::storage_order::wait_for_storage;
use crate::model::cluster::Step;
use crate::model::token::Token;
use crate::sys::netlink::Netlink;
use crate::text::Mistake;
use crate::text::nearest;

/// The built-ins for addresses.
pub const ADDRESS_NAMES: [&str; 3] = ["IPaddr", "IPaddr2", "IPv6addr"];
/// All built-ins.
pub const BUILT_INS: [&str; 9] = [
    "IPaddr",
    "IPaddr2",
    "IPv6addr",
    "SendArp",
    "Delay",
    "Filesystem",
    "drbddisk",
    "drbd",
    "mysqld",
];
/// The built-ins for DRBD: what DRBD's own script for heartbeat was called, and what everybody calls it.
pub const DRBD_NAMES: [&str; 2] = ["drbddisk", "drbd"];
/// Added to the length of a `Delay`, whose own deadline would otherwise always end it.
const DELAY_MARGIN: Duration = Duration::from_secs(10);

/// The deadlines of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Of a start.
    pub start: Duration,
    /// Of a stop.
    pub stop: Duration,
    /// Of a look.
    pub monitor: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            start: Duration::from_secs(60),
            stop: Duration::from_secs(60),
            monitor: Duration::from_secs(20),
        }
    }
}

/// One step of a group, ready to be run.
#[derive(Clone)]
pub struct ResolvedStep {
    /// What the engine knows of it.
    pub step: Step,
    /// Starts, stops and looks.
    pub agent: Arc<dyn Agent>,
    /// The same agent, where the step is a run of addresses.
    pub addresses: Option<Arc<Addresses>>,
    /// What each member became, for an administrator.
    pub what: Vec<String>,
}

/// What is wrong with one member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which member, from 0.
    pub member: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Which characters of the word, where not all of it: the first (from 0) and how many.
    pub at: Option<(usize, usize)>,
}

/// What is needed to know what a word means on this node.
pub struct Resolver<'a> {
    /// Where scripts are and what they are told.
    pub env: Arc<ScriptEnv>,
    /// This node's interfaces and routes.
    pub network: &'a Network,
    /// Given to the agents of addresses.
    pub netlink: &'a Netlink,
    /// The other nodes.
    pub peers: &'a Arc<dyn Peers>,
    /// What agents outside of us know of themselves.
    pub catalog: &'a Catalog,
    /// The deadlines of a word: those that the configuration sets, else those given.
    pub timeouts: &'a dyn Fn(&Token, Timeouts) -> Timeouts,
}

/// What a word became.
enum Member {
    Address(VirtualAddress),
    Other {
        agent: Arc<dyn Agent>,
        what: String,
        timeouts: Timeouts,
    },
}

impl Resolver<'_> {
    /// All steps of a group, or all that is wrong with its members.
    pub fn group(&self, tokens: &[Token]) -> Result<Vec<ResolvedStep>, Vec<Problem>> {
        let mut members = Vec::new();
        let mut problems = Vec::new();
        for (member, token) in tokens.iter().enumerate() {
            let earlier = tokens.get(..member).unwrap_or_default();
            match self.member(token, earlier) {
                Ok(found) => members.push((token, found)),
                Err(Mistake { message, help, at }) => problems.push(Problem {
                    member,
                    message,
                    help,
                    at,
                }),
            }
        }
        if problems.is_empty() {
            Ok(self.steps(members))
        } else {
            Err(problems)
        }
    }

    /// What is worth knowing of a word although it can be run; of its place only where this machine is the node.
    pub fn remarks(&self, token: &Token, here: bool) -> Vec<Mistake> {
        let mut remarks = self.catalog.remarks(token, &self.env);
        if let [argument] = token.args.as_slice()
            && here
            && ADDRESS_NAMES.contains(&token.name.as_str())
        {
            remarks.extend(virtual_address::remark(argument, self.network));
        }
        remarks
    }

    /// `earlier` are the members before it, which may make what it needs.
    fn member(&self, token: &Token, earlier: &[Token]) -> Result<Member, Mistake> {
        let name = token.name.as_str();
        let timeouts = (self.timeouts)(token, Timeouts::default());
        if ADDRESS_NAMES.contains(&name) {
            return self.address(token).map(Member::Address);
        }
        if name == "Delay" {
            return self.delay(token, timeouts);
        }
        if name == "SendArp" {
            return self.send_arp(token, timeouts);
        }
        if name == "Filesystem" {
            return self.filesystem(token, earlier, timeouts);
        }
        if DRBD_NAMES.contains(&name) {
            return self.drbd(token, timeouts);
        }
        if name == "mysqld" {
            return self.mysqld(token, earlier, timeouts);
        }
        if let Some(plan) = notation::plan(token, &self.env) {
            return self.ocf(token, plan?);
        }
        if let Some(unit) = unit::named(token) {
            return self.unit(token, &unit?);
        }
        let path = self.script(name)?;
        safe_path::check(&path)?;
        let script = Script {
            path,
            args: token.args.clone(),
            env: self.env.clone(),
            look: timeouts.monitor,
        };
        Ok(Member::Other {
            what: script.describe(),
            agent: Arc::new(script),
            timeouts,
        })
    }

    fn ocf(&self, token: &Token, plan: notation::Plan) -> Result<Member, Mistake> {
        if let Some(meta) = self.catalog.agent(&plan.path) {
            judge::mistake(&plan, meta)?;
        }
        let advised = self.catalog.advised(&plan.path, Timeouts::default());
        let timeouts = (self.timeouts)(token, advised);
        let agent = Ocf::new(plan, self.env.clone(), timeouts.monitor);
        Ok(Member::Other {
            what: agent.describe(),
            agent: Arc::new(agent),
            timeouts,
        })
    }

    fn unit(&self, token: &Token, name: &str) -> Result<Member, Mistake> {
        let systemds = self.catalog.unit(name, Timeouts::default())?;
        Ok(Member::Other {
            what: format!("systemd unit {name}"),
            agent: Arc::new(Systemd::new(name, self.env.clone())),
            timeouts: (self.timeouts)(token, systemds),
        })
    }

    fn address(&self, token: &Token) -> Result<VirtualAddress, Mistake> {
        match token.args.as_slice() {
            [argument] => virtual_address::resolve(argument, self.network),
            [] => Err(Mistake::new(format!("{} names no address", token.name))
                .help(format!("write {}::10.0.0.1/24/eth0", token.name))),
            several => Err(too_many(token, several)),
        }
    }

    fn delay(&self, token: &Token, mut timeouts: Timeouts) -> Result<Member, Mistake> {
        let delay = Delay::new(&token.args, &token.text, &self.env.run_dir)?;
        timeouts.start = timeouts.start.max(delay.start + DELAY_MARGIN);
        timeouts.stop = timeouts.stop.max(delay.stop + DELAY_MARGIN);
        Ok(Member::Other {
            what: format!(
                "built-in Delay: {} s at start, {} s at stop",
                delay.start.as_secs(),
                delay.stop.as_secs()
            ),
            agent: Arc::new(delay),
            timeouts,
        })
    }

    fn send_arp(&self, token: &Token, timeouts: Timeouts) -> Result<Member, Mistake> {
        let run_dir = &self.env.run_dir;
        let agent = SendArp::new(
            &token.args,
            &token.text,
            run_dir,
            self.network,
            self.netlink,
        )?;
        Ok(Member::Other {
            what: format!("built-in SendArp: {}", agent.describe()),
            agent: Arc::new(agent),
            timeouts,
        })
    }

    fn filesystem(
        &self,
        token: &Token,
        earlier: &[Token],
        timeouts: Timeouts,
    ) -> Result<Member, Mistake> {
        let args = filesystem::arguments::Arguments::parse(&token.args)?;
        let note = filesystem::validate::machine(&args, earlier)?;
        Ok(Member::Other {
            what: self.built_in(&token.name, &args.to_string(), note),
            agent: Arc::new(Filesystem::new(args)),
            timeouts,
        })
    }

    fn drbd(&self, token: &Token, timeouts: Timeouts) -> Result<Member, Mistake> {
        let resource = drbd::arguments::resource(&token.name, &token.args)?;
        let note = drbd::validate::machine(&resource)?;
        Ok(Member::Other {
            what: self.built_in(&token.name, &format!("DRBD resource {resource}"), note),
            agent: Arc::new(Drbd::new(&resource, self.peers)),
            timeouts,
        })
    }

    fn mysqld(
        &self,
        token: &Token,
        earlier: &[Token],
        timeouts: Timeouts,
    ) -> Result<Member, Mistake> {
        let args = mysqld::arguments::Arguments::parse(&token.args)?;
        let login = self.env.config_dir.join(mysqld::LOGIN);
        let note = mysqld::validate::machine(&args, &login, earlier)?;
        Ok(Member::Other {
            what: self.built_in(&token.name, "database server", note),
            agent: Arc::new(Mysqld::new(args, login)),
            timeouts,
        })
    }

    /// For an administrator. Somebody may have expected a script of that name to be run.
    fn built_in(&self, name: &str, what: &str, note: Option<String>) -> String {
        let mut text = format!("built-in {name}: {what}");
        let script = self.env.resource_dir().join(name);
        let unused = is_executable(&script).then(|| {
            let path = script.display();
            format!("{path} is not used; to run it, write its path in haresources")
        });
        for note in note.into_iter().chain(unused) {
            text += "; note: ";
            text += &note;
        }
        text
    }

    /// The file of a script: the first executable one, as heartbeat looked for it.
    fn script(&self, name: &str) -> Result<PathBuf, Mistake> {
        if name.starts_with('/') {
            let path = PathBuf::from(name);
            return if path.is_file() {
                Ok(path)
            } else {
                Err(Mistake::new(format!("there is no script {name}")))
            };
        }
        if name.is_empty() || name.contains('/') {
            return Err(
                Mistake::new(format!("`{name}` is not the name of a resource"))
                    .help("write a name, or the absolute path of a script"),
            );
        }
        let folders = [self.env.resource_dir(), self.env.init_dir.clone()];
        let candidates = folders.iter().map(|f| f.join(name));
        let files: Vec<PathBuf> = candidates.filter(|p| p.is_file()).collect();
        let first = files.iter().find(|p| is_executable(p)).or(files.first());
        first.cloned().ok_or_else(|| not_found(name, &folders))
    }

    /// Gathers runs of addresses into one step each.
    fn steps(&self, members: Vec<(&Token, Member)>) -> Vec<ResolvedStep> {
        let tokens: Vec<&Token> = members.iter().map(|(token, _)| *token).collect();
        let guarded = drbd::validate::guarded(&tokens);
        let mut steps = Vec::new();
        let mut run: Vec<(&Token, VirtualAddress)> = Vec::new();
        for (token, member) in members {
            match member {
                Member::Address(address) => run.push((token, address)),
                Member::Other {
                    agent,
                    what,
                    timeouts,
                } => {
                    steps.extend(self.addresses(std::mem::take(&mut run)));
                    steps.push(one_step(token, agent, what, timeouts));
                }
            }
        }
        steps.extend(self.addresses(run));
        wait_for_storage(steps.iter_mut().map(|s| &mut s.step), &guarded);
        steps
    }

    /// The step of a run; its deadlines are the longest of its members.
    fn addresses(&self, run: Vec<(&Token, VirtualAddress)>) -> Option<ResolvedStep> {
        let timeouts = run
            .iter()
            .map(|(token, _)| (self.timeouts)(token, Timeouts::default()))
            .reduce(|a, b| Timeouts {
                start: a.start.max(b.start),
                stop: a.stop.max(b.stop),
                monitor: a.monitor.max(b.monitor),
            })?;
        let what = run
            .iter()
            .map(|(token, address)| format!("built-in {}: {address}", token.name))
            .collect();
        let members = run.iter().map(|(token, _)| token.text.clone()).collect();
        let list = run.into_iter().map(|(_, address)| address).collect();
        let agent = Arc::new(Addresses::new(list, self.netlink.clone()));
        Some(ResolvedStep {
            step: Step {
                members,
                addresses: true,
                start: timeouts.start,
                stop: timeouts.stop,
                monitor: timeouts.monitor,
                removal: Duration::ZERO,
                policy: None,
            },
            agent: agent.clone(),
            addresses: Some(agent),
            what,
        })
    }
}

fn one_step(
    token: &Token,
    agent: Arc<dyn Agent>,
    what: String,
    timeouts: Timeouts,
) -> ResolvedStep {
    ResolvedStep {
        step: Step {
            members: vec![token.text.clone()],
            addresses: false,
            start: timeouts.start,
            stop: timeouts.stop,
            monitor: timeouts.monitor,
            removal: Duration::ZERO,
            policy: None,
        },
        agent,
        addresses: None,
        what: vec![what],
    }
}

/// `::` separates arguments, so a shortened IPv6 address falls apart.
fn too_many(token: &Token, args: &[String]) -> Mistake {
    let name = &token.name;
    let mistake = Mistake::new(format!(
        "{name} takes exactly one argument, and here are {}",
        args.len()
    ));
    let joined = args.join("::");
    let (ip, rest) = joined.split_once('/').unwrap_or((&joined, ""));
    let Ok(ip) = ip.parse::<std::net::Ipv6Addr>() else {
        return mistake.help(format!("write one {name} for each address"));
    };
    let full: Vec<String> = ip.segments().iter().map(|s| format!("{s:x}")).collect();
    let slash = if rest.is_empty() { "" } else { "/" };
    mistake.help(format!(
        "`::` separates arguments, so an IPv6 address must be written in full: {name}::{}{slash}{rest}",
        full.join(":")
    ))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

fn not_found(name: &str, folders: &[PathBuf]) -> Mistake {
    let looked: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
    let mistake = Mistake::new(format!(
        "there is no resource `{name}`: it is no built-in, and no script in {}",
        looked.join(" or ")
    ));
    let mut known: Vec<String> = BUILT_INS.iter().map(ToString::to_string).collect();
    known.extend(heartbeat_names::names().map(str::to_owned));
    for folder in folders {
        known.extend(scripts_in(folder));
    }
    match nearest(name, known.iter().map(String::as_str)) {
        Some(guess) => mistake.help(format!("did you mean {guess}?")),
        None => mistake,
    }
}

/// The names of a folder's scripts.
pub fn scripts_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter(|e| is_executable(&e.path()));
    let mut names: Vec<String> = names
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests;
