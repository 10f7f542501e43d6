//! `hactl init`: the three files of a new cluster, from options or from answers on the terminal.

mod next_steps;
mod questions;

use std::io::{self, IsTerminal as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use had::setup::draft::{Draft, DraftGroup, DraftTimes};
use had::setup::{answers, folder};
use had::sys::own_address::interface_towards;
use had::text::count;

use crate::Failure;
use crate::commands::print_text;
pub use next_steps::next_steps;
use questions::Questions;

/// The options of `hactl init`.
#[derive(Args)]
pub struct Init {
    /// A node: the name that `uname -n` prints on it, and its address. Give it once for each node
    #[arg(long = "node", value_name = "NAME=ADDRESS", value_parser = one_node)]
    nodes: Vec<(String, IpAddr)>,
    /// A machine that answers pings and is none of the nodes, best the gateway: its vote decides when two nodes do not hear each other
    #[arg(long = "ping", value_name = "ADDRESS", value_parser = answers::machine_address)]
    pings: Vec<IpAddr>,
    /// A virtual address that moves between the nodes, with the prefix length of its network
    #[arg(long = "address", value_name = "ADDRESS/PREFIX")]
    addresses: Vec<String>,
    /// The interface of the nodes' addresses [default: the one of this machine in their network]
    #[arg(long, value_name = "NAME", value_parser = answers::interface)]
    interface: Option<String>,
    /// What runs with the address, from left to right, as in haresources: such as nginx or systemd::nginx
    #[arg(long = "resource", value_name = "WORD", num_args = 1.., value_parser = answers::resource_word)]
    resources: Vec<String>,
    /// Where to write the files
    #[arg(long, value_name = "DIR", default_value = "/etc/ha.d")]
    out: PathBuf,
    /// Replace ha.cf, haresources and authkeys if they are there
    #[arg(long)]
    force: bool,
}

/// What was answered, by options or on the terminal.
struct Answers {
    nodes: Vec<(String, IpAddr)>,
    pings: Vec<IpAddr>,
    /// The words of the addresses, with interfaces.
    addresses: Vec<String>,
    interface: String,
    resources: Vec<String>,
}

const NODE_MISSING: &str =
    "--node is missing: give it for each node, such as --node alice=10.0.0.1 --node bob=10.0.0.2";
const ADDRESS_MISSING: &str = "--address is missing: the address that moves between the nodes, such as --address 10.0.0.100/24";
const ONE_NODE: &str =
    "a cluster needs at least two nodes: with one there is nobody who could take over";

/// What it means that a pair has no ping node.
const NO_PING: &str = "warning: there is no ping node. When the two nodes do not hear each other, each takes the other for dead, and both run \
    everything. Add --ping with an address that both reach, best the gateway: then only the side that reaches it goes on.\n";

fn one_node(text: &str) -> Result<(String, IpAddr), String> {
    match answers::node(text)? {
        (name, addresses) if addresses.len() == 1 => {
            let first = addresses.first().copied();
            first.map(|a| (name, a)).ok_or_else(String::new)
        }
        _ => Err("a node has one address here; ha.cf can have more links".to_owned()),
    }
}

/// Runs it.
pub fn run(args: Init) -> Result<(), Failure> {
    let out = args.out.clone();
    if !args.force {
        refuse_existing(&out)?;
    }
    let force = args.force;
    let on_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let answers = if on_terminal {
        let mut questions = Questions::new(io::stdin().lock(), io::stdout());
        ask_for_missing(args, &mut questions).map_err(Failure::failed)?
    } else {
        take_options(args)?
    };
    judge(&answers).map_err(usage)?;
    let draft = draft_of(&answers);
    let files = folder::files(&draft).map_err(Failure::failed)?;
    if !force {
        folder::refuse_existing(&out, &files).map_err(Failure::failed)?;
    }
    folder::write(&out, &files).map_err(Failure::failed)?;
    print_text(&report(&out, &answers))
}

/// Before anything is asked.
fn refuse_existing(out: &Path) -> Result<(), Failure> {
    let names = ["ha.cf", "haresources", "authkeys"];
    let files = names.map(|name| folder::NewFile::script(name, String::new()));
    folder::refuse_existing(out, &files).map_err(Failure::failed)
}

fn usage(text: impl Into<String>) -> Failure {
    Failure {
        code: Failure::USAGE,
        text: text.into(),
    }
}

/// Nothing can be asked: what has no default must be there.
fn take_options(args: Init) -> Result<Answers, Failure> {
    if args.nodes.is_empty() {
        return Err(usage(NODE_MISSING));
    }
    judge_nodes(&args.nodes).map_err(usage)?;
    if args.addresses.is_empty() {
        return Err(usage(ADDRESS_MISSING));
    }
    let interface = match args.interface {
        Some(name) => name,
        None => nearby_interface(&args.nodes).ok_or_else(|| {
            usage("--interface is missing: this machine has no interface in the network of the nodes; write the name that it has there, such as --interface eth0")
        })?,
    };
    let words = args.addresses.iter();
    let addresses: Result<_, String> = words
        .map(|text| answers::virtual_address(text, &interface))
        .collect();
    Ok(Answers {
        nodes: args.nodes,
        pings: args.pings,
        addresses: addresses.map_err(|e| usage(format!("--address: {e}")))?,
        interface,
        resources: args.resources,
    })
}

fn ask_for_missing<R: io::BufRead, W: io::Write>(
    args: Init,
    questions: &mut Questions<R, W>,
) -> Result<Answers, String> {
    let asks_all = args.nodes.len() < 2 && args.addresses.is_empty();
    let nodes = questions.nodes(args.nodes)?;
    judge_nodes(&nodes)?;
    let interface = match args.interface {
        Some(name) => name,
        None => questions.interface(nearby_interface(&nodes).as_deref())?,
    };
    let addresses = if args.addresses.is_empty() {
        vec![questions.address(&interface, &nodes)?]
    } else {
        let words = args.addresses.iter();
        words
            .map(|text| answers::virtual_address(text, &interface))
            .collect::<Result<_, _>>()?
    };
    let pings = if args.pings.is_empty() && nodes.len() == 2 {
        questions.ping()?.into_iter().collect()
    } else {
        args.pings
    };
    let resources = if args.resources.is_empty() && asks_all {
        questions.resources()?
    } else {
        args.resources
    };
    Ok(Answers {
        nodes,
        pings,
        addresses,
        interface,
        resources,
    })
}

fn nearby_interface(nodes: &[(String, IpAddr)]) -> Option<String> {
    nodes
        .iter()
        .find_map(|(_, address)| interface_towards(*address))
}

/// Refuses nodes that are one.
fn judge_nodes(nodes: &[(String, IpAddr)]) -> Result<(), String> {
    for (nth, (name, address)) in nodes.iter().enumerate() {
        let before = nodes.iter().take(nth);
        for (other, taken) in before {
            if other == name {
                return Err(format!("the node {name} is named twice"));
            }
            if taken == address {
                return Err(format!(
                    "{other} and {name} have the same address, {address}"
                ));
            }
        }
    }
    if nodes.len() < 2 {
        Err(ONE_NODE.to_owned())
    } else {
        Ok(())
    }
}

/// Refuses an address with two meanings.
fn judge(answers: &Answers) -> Result<(), String> {
    judge_nodes(&answers.nodes)?;
    let virtuals: Vec<IpAddr> = answers
        .addresses
        .iter()
        .filter_map(|word| answers::address_of(word))
        .collect();
    for (name, address) in &answers.nodes {
        if virtuals.contains(address) {
            return Err(format!(
                "{address} is the address of {name}, which never moves; a virtual address is one more"
            ));
        }
        if answers.pings.contains(address) {
            return Err(format!(
                "{address} is the address of {name}; a ping node is a machine outside the cluster"
            ));
        }
    }
    match answers.pings.iter().find(|ping| virtuals.contains(ping)) {
        Some(ping) => Err(format!(
            "{ping} is a virtual address; a ping node is a machine outside the cluster"
        )),
        None => Ok(()),
    }
}

fn draft_of(answers: &Answers) -> Draft {
    let first = answers.nodes.first().map(|(name, _)| name.clone());
    let preferred = first.unwrap_or_default();
    let words = answers.addresses.iter().chain(&answers.resources);
    Draft {
        origin: "Made by `hactl init`.".to_owned(),
        nodes: answers.nodes.iter().map(|(name, _)| name.clone()).collect(),
        paths: answers
            .nodes
            .iter()
            .map(|(_, address)| (answers.interface.clone(), *address))
            .collect(),
        pings: answers.pings.clone(),
        times: DraftTimes::USUAL,
        auto_failback: false,
        failback_delay: Duration::ZERO,
        more: vec![(
            "What runs is watched: what dies is started again in place; if that does not help, its group moves.".to_owned(),
            "monitor * every 10s".to_owned(),
        )],
        groups: vec![DraftGroup {
            comment: format!("{preferred} is preferred; the others take over from it."),
            preferred,
            words: words.cloned().collect(),
        }],
    }
}

/// What was written, and what to do with it.
fn report(out: &Path, answers: &Answers) -> String {
    let names: Vec<&str> = answers
        .nodes
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let words: Vec<&str> = answers
        .addresses
        .iter()
        .chain(&answers.resources)
        .map(String::as_str)
        .collect();
    let pings = match answers.pings.len() {
        0 => "no ping node".to_owned(),
        number => count(number, "ping node"),
    };
    let mut text = format!(
        "Written to {}:\n  ha.cf        the nodes {}; heartbeats over {}; {pings}\n  haresources  {}\n  authkeys     a new random key, the same for all nodes\n",
        out.display(),
        names.join(", "),
        answers.interface,
        words.join(" "),
    );
    if answers.pings.is_empty() && answers.nodes.len() == 2 {
        text += NO_PING;
    }
    let files = ["ha.cf", "haresources", "authkeys"];
    text + &next_steps(out, &answers.nodes, &files, &services(&answers.resources))
}

/// The services among the resources, which nobody else may start. What else begins with a capital letter is an address, a disk
/// or the like.
fn services(resources: &[String]) -> Vec<&str> {
    const OTHERS: [&str; 4] = ["drbd", "drbddisk", "haproxy_backend", "rsync_push"];
    let mut found: Vec<&str> = Vec::new();
    for word in resources {
        let name = word.strip_prefix("systemd::").unwrap_or(word);
        let name = name.split("::").next().unwrap_or("");
        let name = name.rsplit(':').next().unwrap_or("");
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
        if name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(plain)
            && !OTHERS.contains(&name)
            && !found.contains(&name)
        {
            found.push(name);
        }
    }
    found
}

#[cfg(test)]
mod tests;
