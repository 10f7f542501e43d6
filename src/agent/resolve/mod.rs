//! Decides which agent each resource word of a group becomes, before anything of the group is started or stopped.
//!
//! The first match counts: a built-in; an OCF agent or a unit of systemd by its notation; a script by its absolute path;
//! `resource.d/NAME`; the OCF agent behind one of heartbeat's names; `/etc/init.d/NAME`.
//!
//! * [`catalog`] asks agents that are not ours what they know of themselves, before words are resolved.
//! * [`heartbeat_names`] knows the names of heartbeat's own scripts; [`own_script`] finds scripts of the administrator with the
//!   name of a built-in; [`storage_order`] is what a name alone tells.

pub mod catalog;
pub mod heartbeat_names;
pub mod own_script;
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
use crate::agent::builtin::drbd::all::AllDrbd;
use crate::agent::builtin::drbd::fence::Peers;
use crate::agent::builtin::drbd::{self, Drbd};
use crate::agent::builtin::filesystem::{self, Filesystem};
use crate::agent::builtin::mysqld::{self, Mysqld};
use crate::agent::builtin::pseudo::Delay;
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::safe_path;
use crate::agent::external::ocf::{Ocf, judge, notation};
use crate::agent::external::script::{self, Script};
use crate::agent::external::systemd::{Systemd, unit};
use crate::agent::resolve::catalog::Catalog;
use crate::agent::resolve::storage_order::StepWord;
use crate::model::cluster::{Step, Timeouts};
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
/// The built-ins for DRBD: the name of DRBD's own script for heartbeat, and the common name.
pub const DRBD_NAMES: [&str; 2] = ["drbddisk", "drbd"];
/// Added to the length of a `Delay`, so that its deadline does not end it.
const DELAY_MARGIN: Duration = Duration::from_secs(10);

/// Asks what is missing on this machine; none if nothing is. May block.
pub type AskMissing = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// One step of a group, ready to be run.
#[derive(Clone)]
pub struct ResolvedStep {
    /// What the engine knows of the step.
    pub step: Step,
    /// Starts, stops and monitors it.
    pub agent: Arc<dyn Agent>,
    /// The same agent, if the step consists of addresses.
    pub addresses: Option<Arc<Addresses>>,
    /// Of a step that lacked something of this machine when it was resolved: asks whether it still does.
    pub missing: Option<AskMissing>,
    /// A description of each member, for an administrator.
    pub what: Vec<String>,
}

/// What is wrong with one member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberProblem {
    /// Which member, from 0.
    pub member: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The wrong characters of the word: the first, from 0, and how many. `None` means the whole word.
    pub at: Option<(usize, usize)>,
}

/// Resolves words on this node.
pub struct Resolver<'a> {
    /// The folders and the environment of scripts.
    pub env: Arc<ScriptEnv>,
    /// This node's interfaces and routes.
    pub network: &'a Network,
    /// For the agents of addresses.
    pub netlink: &'a Netlink,
    /// The other nodes.
    pub peers: &'a Arc<dyn Peers>,
    /// What external agents say of themselves.
    pub catalog: &'a Catalog,
    /// The deadlines of a word: those of the configuration, or else the given ones.
    pub timeouts: &'a dyn Fn(&Token, Timeouts) -> Timeouts,
    /// Whether a takeover waits for a word, if the configuration says so.
    pub takeover_waits: &'a dyn Fn(&Token) -> Option<bool>,
}

/// What a word became.
struct Member {
    runs: Runs,
    /// A description for an administrator.
    what: String,
    timeouts: Timeouts,
    /// Of a DRBD resource: its configuration.
    drbd: Option<String>,
    missing: Option<AskMissing>,
}

enum Runs {
    Address(VirtualAddress),
    Agent(Arc<dyn Agent>),
}

impl Member {
    fn new(agent: impl Agent + 'static, what: String, timeouts: Timeouts) -> Self {
        Member {
            runs: Runs::Agent(Arc::new(agent)),
            what,
            timeouts,
            drbd: None,
            missing: None,
        }
    }
}

impl Resolver<'_> {
    /// All steps of a group, or everything that is wrong with its members.
    pub fn resolve_group(&self, tokens: &[Token]) -> Result<Vec<ResolvedStep>, Vec<MemberProblem>> {
        let mut members = Vec::new();
        let mut problems = Vec::new();
        for (member, token) in tokens.iter().enumerate() {
            let earlier = tokens.get(..member).unwrap_or_default();
            match self.resolve_member(token, earlier) {
                Ok(found) => members.push((token, found)),
                Err(Mistake { message, help, at }) => problems.push(MemberProblem {
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

    /// Remarks about a word that can be used all the same. Whether it fits the machine is remarked only if this machine is the
    /// node of the configuration (`here`). `earlier` are the members before it, which may provide what it needs.
    pub fn remarks(&self, token: &Token, earlier: &[Token], here: bool) -> Vec<Mistake> {
        let mut remarks = self.catalog.remarks(token, &self.env);
        remarks.extend(own_script::remark(token, &self.env));
        remarks.extend(self.remark_on_script(token));
        if DRBD_NAMES.contains(&token.name.as_str()) && !own_script::is_used(token, &self.env) {
            remarks.extend(drbd::validate::remark_on_all(token));
        }
        if here && token.name == "Filesystem" {
            remarks.extend(filesystem::validate::remarks(&token.args, earlier));
        }
        if let [argument] = token.args.as_slice()
            && here
            && ADDRESS_NAMES.contains(&token.name.as_str())
        {
            let made = earlier.iter().any(is_program);
            remarks.extend(virtual_address::remark(argument, made, self.network));
        }
        remarks
    }

    /// `earlier` are the members before it, which may provide what it needs.
    fn resolve_member(&self, token: &Token, earlier: &[Token]) -> Result<Member, Mistake> {
        let name = token.name.as_str();
        let timeouts = (self.timeouts)(token, Timeouts::default());
        match name {
            _ if ADDRESS_NAMES.contains(&name) => return self.address(token, timeouts),
            _ if own_script::is_used(token, &self.env) => {}
            _ if DRBD_NAMES.contains(&name) => return self.drbd(token, timeouts),
            "Delay" => return self.delay(token, timeouts),
            "SendArp" => return self.send_arp(token, timeouts),
            "Filesystem" => return Self::filesystem(token, earlier, timeouts),
            "mysqld" => return self.mysqld(token, earlier, timeouts),
            _ => {}
        }
        if let Some(plan) = self.catalog.plan(token, &self.env) {
            return self.ocf(token, plan?);
        }
        if let Some(unit) = unit::unit_name(token) {
            return self.unit(token, &unit?);
        }
        let path = self.find_script(name)?;
        safe_path::check(&path)?;
        script::check_runnable(&path, &self.env)?;
        let script = Script {
            path,
            args: token.args.clone(),
            env: self.env.clone(),
            monitor_timeout: timeouts.monitor,
        };
        let what = script.describe();
        Ok(Member::new(script, what, timeouts))
    }

    fn ocf(&self, token: &Token, plan: notation::Plan) -> Result<Member, Mistake> {
        if let Some(meta) = self.catalog.metadata(&plan.path) {
            judge::check_parameters(&plan, meta)?;
        }
        let advised = self
            .catalog
            .advised_timeouts(&plan.path, Timeouts::default());
        let timeouts = (self.timeouts)(token, advised);
        let agent = Ocf::new(plan, self.env.clone(), timeouts.monitor);
        let what = agent.describe();
        Ok(Member::new(agent, what, timeouts))
    }

    fn unit(&self, token: &Token, name: &str) -> Result<Member, Mistake> {
        let usual = self.catalog.unit_timeouts(name, Timeouts::default())?;
        let agent = Systemd::new(name, self.env.clone());
        let timeouts = (self.timeouts)(token, usual);
        Ok(Member::new(agent, format!("systemd unit {name}"), timeouts))
    }

    fn address(&self, token: &Token, timeouts: Timeouts) -> Result<Member, Mistake> {
        let address = match token.args.as_slice() {
            [argument] => virtual_address::resolve(argument, self.network)?,
            [] => {
                return Err(Mistake::new(format!("{} names no address", token.name))
                    .help(format!("write {}::10.0.0.1/24/eth0", token.name)));
            }
            several => return Err(too_many_arguments(token, several)),
        };
        Ok(Member {
            what: format!("built-in {}: {address}", token.name),
            runs: Runs::Address(address),
            timeouts,
            drbd: None,
            missing: None,
        })
    }

    fn delay(&self, token: &Token, mut timeouts: Timeouts) -> Result<Member, Mistake> {
        let delay = Delay::new(&token.args, &token.text, &self.env.run_dir)?;
        timeouts.start = timeouts.start.max(delay.start + DELAY_MARGIN);
        timeouts.stop = timeouts.stop.max(delay.stop + DELAY_MARGIN);
        let what = format!(
            "built-in Delay: {} s at start, {} s at stop",
            delay.start.as_secs(),
            delay.stop.as_secs()
        );
        Ok(Member::new(delay, what, timeouts))
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
        let what = format!("built-in SendArp: {}", agent.describe());
        Ok(Member::new(agent, what, timeouts))
    }

    fn filesystem(token: &Token, earlier: &[Token], timeouts: Timeouts) -> Result<Member, Mistake> {
        let args = filesystem::arguments::MountArguments::parse(&token.args)?;
        let note = filesystem::validate::check_machine(&args, earlier)?;
        let what = describe_built_in(&token.name, &args.to_string(), note);
        let (asked, before) = (args.clone(), earlier.to_vec());
        let ask = move || filesystem::validate::find_missing(&asked, &before).map(|m| m.message);
        let missing = ask().map(|_| Arc::new(ask) as AskMissing);
        Ok(Member {
            missing,
            ..Member::new(Filesystem::new(args), what, timeouts)
        })
    }

    fn drbd(&self, token: &Token, timeouts: Timeouts) -> Result<Member, Mistake> {
        let Some(resource) = drbd::arguments::parse_resource(&token.name, &token.args)? else {
            return self.all_drbd(token, timeouts);
        };
        let config = drbd::validate::read_config(&resource)?;
        let note = drbd::validate::remark(&resource, &config);
        let what = describe_built_in(&token.name, &format!("DRBD resource {resource}"), note);
        Ok(Member {
            drbd: Some(config),
            ..Member::new(Drbd::new(&resource, self.peers), what, timeouts)
        })
    }

    fn all_drbd(&self, token: &Token, timeouts: Timeouts) -> Result<Member, Mistake> {
        let names = drbd::validate::all_resources()?;
        let what = format!("all DRBD resources: {}", names.join(" "));
        let each = names.into_iter().map(|name| {
            let agent = Drbd::new(&name, self.peers);
            (name, agent)
        });
        let agent = AllDrbd(each.collect());
        let what = describe_built_in(&token.name, &what, None);
        Ok(Member::new(agent, what, timeouts))
    }

    fn mysqld(
        &self,
        token: &Token,
        earlier: &[Token],
        timeouts: Timeouts,
    ) -> Result<Member, Mistake> {
        let args = mysqld::arguments::ServerArguments::parse(&token.args)?;
        let login = self.env.config_dir.join(mysqld::LOGIN);
        let note = mysqld::validate::check_machine(&args, &login, earlier)?;
        let what = describe_built_in(&token.name, "database server", note);
        Ok(Member::new(Mysqld::new(args, login), what, timeouts))
    }

    /// What is worth knowing of the script that a word names.
    fn remark_on_script(&self, token: &Token) -> Option<Mistake> {
        let built_in = BUILT_INS.contains(&token.name.as_str());
        if built_in && !own_script::is_used(token, &self.env) {
            return None;
        }
        let path = self.find_script(&token.name).ok()?;
        script::remark(&path, &self.env)
    }

    /// The file of a script: the first executable one, in heartbeat's order.
    fn find_script(&self, name: &str) -> Result<PathBuf, Mistake> {
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
        first
            .cloned()
            .ok_or_else(|| not_found(name, &folders, &self.env.unit_dirs))
    }

    /// Gathers the members into steps and gives each step its agent.
    fn steps<'t>(&self, members: Vec<(&'t Token, Member)>) -> Vec<ResolvedStep> {
        let word = |(token, member): &(&'t Token, Member)| StepWord {
            token,
            timeouts: member.timeouts,
            waits: (self.takeover_waits)(token),
        };
        let words: Vec<_> = members.iter().map(word).collect();
        let configs = members.iter().map(|(t, m)| (*t, m.drbd.as_deref()));
        let guarded = drbd::validate::guarded_words(configs);
        let steps = storage_order::steps(&words, &guarded);
        let mut members = members.into_iter();
        let mut after_programs = false;
        let resolved = steps.into_iter().filter_map(|step| {
            let of_step: Vec<_> = members.by_ref().take(step.members.len()).collect();
            let made = after_programs;
            after_programs |= of_step.iter().any(|(token, _)| is_program(token));
            self.assign_agent(step, of_step.into_iter().map(|(_, member)| member), made)
        });
        resolved.collect()
    }

    /// `after_programs`: an earlier member may make the interfaces of this one.
    fn assign_agent(
        &self,
        step: Step,
        members: impl Iterator<Item = Member>,
        after_programs: bool,
    ) -> Option<ResolvedStep> {
        let (mut what, mut list, mut agent) = (Vec::new(), Vec::new(), None);
        let mut missing = None;
        for member in members {
            what.push(member.what);
            missing = missing.or(member.missing);
            match member.runs {
                Runs::Address(address) => list.push(address),
                Runs::Agent(found) => agent = Some(found),
            }
        }
        let addresses = step
            .addresses
            .then(|| Arc::new(Addresses::new(list, self.netlink.clone(), after_programs)));
        let agent = match &addresses {
            Some(addresses) => Arc::clone(addresses) as Arc<dyn Agent>,
            None => agent?,
        };
        Some(ResolvedStep {
            step,
            agent,
            addresses,
            missing,
            what,
        })
    }
}

fn describe_built_in(name: &str, what: &str, note: Option<String>) -> String {
    let note = note.map_or_else(String::new, |note| format!("; note: {note}"));
    format!("built-in {name}: {what}{note}")
}

/// Whether a word is none of our own, so that nobody knows what it makes.
fn is_program(token: &Token) -> bool {
    !BUILT_INS.contains(&token.name.as_str())
}

/// An argument too many. `::` separates arguments, so this may be a shortened IPv6 address.
fn too_many_arguments(token: &Token, args: &[String]) -> Mistake {
    let name = &token.name;
    let mistake = Mistake::new(format!("{name} takes one argument, not {}", args.len()));
    let joined = args.join("::");
    let (ip, rest) = joined.split_once('/').unwrap_or((&joined, ""));
    let Ok(ip) = ip.parse::<std::net::Ipv6Addr>() else {
        return mistake.help(format!("write a separate {name} for each address"));
    };
    let full: Vec<String> = ip.segments().iter().map(|s| format!("{s:x}")).collect();
    let slash = if rest.is_empty() { "" } else { "/" };
    mistake.help(format!(
        "`::` separates arguments, so an IPv6 address must be written in full: {name}::{}{slash}{rest}",
        full.join(":")
    ))
}

pub(in crate::agent::resolve) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

fn not_found(name: &str, folders: &[PathBuf], units: &[PathBuf]) -> Mistake {
    let looked: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
    let mistake = Mistake::new(format!(
        "there is no resource `{name}`: neither a built-in nor a script in {}",
        looked.join(" or ")
    ));
    if unit::has_service(name, units) {
        return mistake.help(format!(
            "to use the systemd unit {name}.service, write systemd::{name}"
        ));
    }
    if let Some(origin) = heartbeat_names::origin(name) {
        return mistake.help(origin);
    }
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
