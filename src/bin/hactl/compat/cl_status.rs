//! `cl_status`: one fact per call, for scripts.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use had::control::api::{ControlAnswer, Request};
use had::control::client::{ClientError, ControlClient};
use had::model::heartbeat::{GroupState, Phase};
use had::model::status::{LinkStatus, Liveness, NodeStatus, Status};

use crate::commands;
use crate::screen::print;

const USAGE: &str = "usage: cl_status SUBCOMMAND [OPTIONS] [PARAMETERS]
  hbstatus [-v]                 whether heartbeat runs on this machine
  listnodes [-p|-n] [-v]        all nodes; only ping nodes; only members
  nodestatus NODE               init, up, active, dead or ping
  nodetype NODE                 normal or ping
  nodeweight NODE               its weight
  nodesite NODE                 its site
  listhblinks NODE [-v]         the links to it
  hblinkstatus NODE LINK        up or dead
  clientstatus NODE CLIENT [MS] online, offline, join or leave
  rscstatus                     none, local, foreign, all or transition
  hbparameter -p NAME           the value of a directive
  -m with any of them: print sentences instead of single words
";

/// heartbeat's tool gave up after 5 s.
const TIMEOUT: Duration = Duration::from_secs(5);
const BAD_PARAMETER: u8 = 11;
const TIMED_OUT: u8 = 12;
const UNKNOWN: u8 = 13;

/// What to print, and the exit code.
struct Fact {
    text: String,
    code: u8,
}

/// Why there is nothing to print.
enum Trouble {
    /// Wrong usage.
    Usage,
    /// The daemon does not run, or it refused the request.
    ControlClient(ClientError),
    /// The daemon sent an answer of another kind.
    UnexpectedAnswer,
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        Trouble::ControlClient(error)
    }
}

/// The command line after the subcommand.
struct Words<'a> {
    parameters: Vec<&'a str>,
    flags: Vec<char>,
}

impl<'a> Words<'a> {
    /// Parses the words after the subcommand. The only options are `-v -m -p -n`, together or apart.
    fn parse(words: &'a [String]) -> Result<Self, Trouble> {
        let mut parsed = Words {
            parameters: Vec::new(),
            flags: Vec::new(),
        };
        for word in words {
            match word.strip_prefix('-') {
                Some(flags) if flags.chars().all(|c| "vmpn".contains(c)) => {
                    parsed.flags.extend(flags.chars());
                }
                Some(_) => return Err(Trouble::Usage),
                None => parsed.parameters.push(word),
            }
        }
        Ok(parsed)
    }

    fn has(&self, flag: char) -> bool {
        self.flags.contains(&flag)
    }
}

pub fn run(words: &[String], socket: &Path) -> ExitCode {
    let Some((command, rest)) = words.split_first() else {
        return print_fact(&success(USAGE));
    };
    if matches!(command.as_str(), "-h" | "--help") {
        return print_fact(&success(USAGE));
    }
    match Words::parse(rest).and_then(|words| run_subcommand(command, &words, socket)) {
        Ok(fact) => print_fact(&fact),
        Err(trouble) => print_trouble(&trouble),
    }
}

fn run_subcommand(command: &str, words: &Words<'_>, socket: &Path) -> Result<Fact, Trouble> {
    match (command, words.parameters.as_slice()) {
        ("hbstatus", []) => hbstatus(words, socket),
        ("listnodes", []) => Ok(listnodes(&status(socket)?, words)),
        ("nodestatus", [node]) => Ok(nodestatus(&status(socket)?, node, words)),
        ("nodetype", [node]) => Ok(nodetype(&status(socket)?, node)),
        // This implementation has neither. These are heartbeat's answers where none is set.
        ("nodeweight", [node]) => Ok(if_known(&status(socket)?, node, "100\n")),
        ("nodesite", [node]) => Ok(if_known(&status(socket)?, node, "\n")),
        ("listhblinks", [node]) => Ok(listhblinks(&status(socket)?, node, words)),
        ("hblinkstatus", [node, link]) => Ok(hblinkstatus(&status(socket)?, node, link)),
        ("clientstatus", [_, _] | [_, _, _]) => status(socket).map(|_| Fact {
            // No process registers with this daemon: it does ipfail's work itself.
            text: "offline\n".to_owned(),
            code: 1,
        }),
        ("rscstatus", []) => Ok(rscstatus(&status(socket)?, words)),
        ("hbparameter", [name]) if words.has('p') => hbparameter(name, socket),
        _ => Err(Trouble::Usage),
    }
}

fn request(socket: &Path, request: &Request) -> Result<ControlAnswer, Trouble> {
    Ok(ControlClient::connect(socket)?.ask(request, TIMEOUT)?)
}

fn status(socket: &Path) -> Result<Status, Trouble> {
    let ControlAnswer::Status(status) = request(socket, &Request::Status)? else {
        return Err(Trouble::UnexpectedAnswer);
    };
    Ok(*status)
}

fn hbstatus(words: &Words<'_>, socket: &Path) -> Result<Fact, Trouble> {
    let status = match status(socket) {
        Ok(status) => status,
        Err(Trouble::ControlClient(ClientError::NoDaemon { .. } | ClientError::Closed)) => {
            return Ok(Fact {
                text: "Heartbeat is stopped on this machine.\n".to_owned(),
                code: 1,
            });
        }
        Err(trouble) => return Err(trouble),
    };
    let mut text = "Heartbeat is running on this machine.\n".to_owned();
    if words.has('v') {
        let version = env!("CARGO_PKG_VERSION");
        text += &format!("version:\t{version}\nmanaged by:\t\"haresources\"\n");
        for node in &status.nodes {
            text += &format!("{}\t{}\n", node.name, node_word(node, &status));
            text += &links_text(&status, node, true);
        }
        for ping in &status.pings {
            text += &format!("{}\t{}\n", ping.name, ping_word(ping.up));
        }
    }
    Ok(success(text))
}

fn listnodes(status: &Status, words: &Words<'_>) -> Fact {
    let mut text = String::new();
    for node in status.nodes.iter().filter(|_| !words.has('p')) {
        text += node.name.as_str();
        if words.has('v') {
            let word = node_word(node, status);
            text += &format!("\t{word}\t(nodetype: normal)\n");
            text += &links_text(status, node, true);
        } else {
            text.push('\n');
        }
    }
    for ping in status.pings.iter().filter(|_| !words.has('n')) {
        text += &ping.name;
        if words.has('v') {
            text += &format!("\t{}\t(nodetype: ping)", ping_word(ping.up));
        }
        text.push('\n');
    }
    success(text)
}

fn nodestatus(status: &Status, name: &str, words: &Words<'_>) -> Fact {
    let word = if let Some(node) = find_member(status, name) {
        node_word(node, status)
    } else if let Some(ping) = status.pings.iter().find(|ping| ping.name == name) {
        ping_word(ping.up)
    } else {
        return unknown_node(name);
    };
    let text = if words.has('m') {
        format!("The cluster node {name} is {word}.\n")
    } else {
        format!("{word}\n")
    };
    let good = matches!(word, "active" | "up" | "ping");
    Fact {
        text,
        code: u8::from(!good),
    }
}

fn nodetype(status: &Status, name: &str) -> Fact {
    let normal = find_member(status, name).is_some();
    if_known(status, name, if normal { "normal\n" } else { "ping\n" })
}

fn listhblinks(status: &Status, name: &str, words: &Words<'_>) -> Fact {
    match find_member(status, name) {
        Some(node) => success(links_text(status, node, words.has('v'))),
        // heartbeat counts a ping node as a link of its own.
        None => if_known(status, name, &format!("\t{name}\n")),
    }
}

fn hblinkstatus(status: &Status, name: &str, link: &str) -> Fact {
    let up = match find_member(status, name) {
        Some(node) => links_of(status, node)
            .iter()
            .find(|known| known.link.as_str() == link)
            .map(|known| known.hears),
        None => status
            .pings
            .iter()
            .find(|ping| ping.name == name && link == name)
            .map(|ping| ping.up),
    };
    match up {
        Some(up) => Fact {
            text: link_word(up).to_owned() + "\n",
            code: u8::from(!up),
        },
        None => unknown_node(&format!("{name} with link {link}")),
    }
}

/// Which classes of groups this node runs; `transition` while one of them is starting or stopping.
fn rscstatus(status: &Status, words: &Words<'_>) -> Fact {
    let (mut local, mut foreign, mut moving) = (false, false, status.phase == Phase::Init);
    for group in &status.groups {
        let here = group.states.iter().find(|(node, _)| *node == status.node);
        match here.map(|(_, state)| *state) {
            Some(GroupState::Online | GroupState::Stuck) if group.preferred == status.node => {
                local = true;
            }
            Some(GroupState::Online | GroupState::Stuck) => foreign = true,
            Some(
                GroupState::Unknown
                | GroupState::Claiming
                | GroupState::Starting
                | GroupState::Stopping,
            ) => moving = true,
            Some(GroupState::Offline | GroupState::Failed) | None => {}
        }
    }
    let word = match (moving, local, foreign) {
        (true, ..) => "transition",
        (_, true, true) => "all",
        (_, true, false) => "local",
        (_, false, true) => "foreign",
        (_, false, false) => "none",
    };
    if words.has('m') {
        return success(format!("This node is holding {word} resources.\n"));
    }
    success(format!("{word}\n"))
}

fn hbparameter(name: &str, socket: &Path) -> Result<Fact, Trouble> {
    if name == "hbversion" {
        status(socket)?;
        return Ok(success(concat!(env!("CARGO_PKG_VERSION"), "\n")));
    }
    let name = name.to_owned();
    let ControlAnswer::Done(value) = request(socket, &Request::Parameter { name })? else {
        return Err(Trouble::UnexpectedAnswer);
    };
    Ok(success(value + "\n"))
}

fn find_member<'a>(status: &'a Status, name: &str) -> Option<&'a NodeStatus> {
    let name = name.to_lowercase();
    status.nodes.iter().find(|node| node.name.as_str() == name)
}

/// heartbeat's word for the state of a member.
fn node_word(node: &NodeStatus, status: &Status) -> &'static str {
    match node.liveness {
        Liveness::Here if status.phase == Phase::Init => "up",
        Liveness::Here | Liveness::Active | Liveness::Late => "active",
        Liveness::Init => "init",
        Liveness::Dead | Liveness::Left => "dead",
    }
}

fn ping_word(up: bool) -> &'static str {
    if up { "ping" } else { "dead" }
}

fn link_word(up: bool) -> &'static str {
    if up { "up" } else { "dead" }
}

/// A node's links. This node's own links are all those that its peers have.
fn links_of(status: &Status, node: &NodeStatus) -> Vec<LinkStatus> {
    if node.liveness != Liveness::Here {
        return node.links.clone();
    }
    let mut own: Vec<LinkStatus> = Vec::new();
    for link in status.nodes.iter().flat_map(|peer| &peer.links) {
        if own.iter().all(|known| known.link != link.link) {
            own.push(LinkStatus {
                hears: true,
                ..link.clone()
            });
        }
    }
    own
}

fn links_text(status: &Status, node: &NodeStatus, verbose: bool) -> String {
    let line = |link: LinkStatus| {
        if verbose {
            format!("\t{}\t{}\n", link.link, link_word(link.hears))
        } else {
            format!("\t{}\n", link.link)
        }
    };
    links_of(status, node).into_iter().map(line).collect()
}

/// The text, if ha.cf has this node.
fn if_known(status: &Status, name: &str, text: &str) -> Fact {
    let ping = status.pings.iter().any(|ping| ping.name == name);
    if ping || find_member(status, name).is_some() {
        return success(text);
    }
    unknown_node(name)
}

fn unknown_node(name: &str) -> Fact {
    eprintln!("cl_status: there is no node {name} in ha.cf");
    Fact {
        text: String::new(),
        code: 1,
    }
}

fn success(text: impl Into<String>) -> Fact {
    Fact {
        text: text.into(),
        code: 0,
    }
}

fn print_fact(fact: &Fact) -> ExitCode {
    match print(&fact.text) {
        Ok(()) => ExitCode::from(fact.code),
        Err(error) => {
            eprintln!("cl_status: {error}");
            ExitCode::from(UNKNOWN)
        }
    }
}

fn print_trouble(trouble: &Trouble) -> ExitCode {
    let code = match trouble {
        Trouble::Usage => {
            eprint!("{USAGE}");
            BAD_PARAMETER
        }
        Trouble::ControlClient(error) => {
            eprintln!("cl_status: {error}");
            match error {
                ClientError::TimedOut { .. } => TIMED_OUT,
                ClientError::NoDaemon { .. }
                | ClientError::NotAllowed { .. }
                | ClientError::Closed
                | ClientError::Refused(_) => 1,
                ClientError::Version(_) | ClientError::Garbled(_) | ClientError::Io(_) => UNKNOWN,
            }
        }
        Trouble::UnexpectedAnswer => {
            eprintln!("cl_status: {}", commands::UNEXPECTED_ANSWER);
            UNKNOWN
        }
    };
    ExitCode::from(code)
}

#[cfg(test)]
mod tests;
