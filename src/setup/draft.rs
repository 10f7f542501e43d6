//! What a first configuration says, and the texts of its files, commented for somebody who reads them for the first time.

use std::net::IpAddr;
use std::time::Duration;

use crate::text::duration_in_files;

/// Longer lines of haresources are continued on the next.
const MAX_WIDTH: usize = 110;

/// A configuration that is not written yet.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Where it comes from: the first lines of each file, without their `#`.
    pub origin: String,
    /// The nodes, by name.
    pub nodes: Vec<String>,
    /// The paths of heartbeats: an interface, and the address of a node on it.
    pub paths: Vec<(String, IpAddr)>,
    /// The ping nodes.
    pub pings: Vec<IpAddr>,
    /// The times.
    pub times: DraftTimes,
    /// Whether a group goes back to its preferred node.
    pub auto_failback: bool,
    /// How long after the return of that node.
    pub failback_delay: Duration,
    /// Further lines of ha.cf: a comment, which may be empty, and the line.
    pub more: Vec<(String, String)>,
    /// The groups.
    pub groups: Vec<DraftGroup>,
}

/// The times of ha.cf.
#[derive(Clone, Copy, Debug)]
pub struct DraftTimes {
    /// From one heartbeat to the next.
    pub keepalive: Duration,
    /// After which a silent node is late.
    pub warntime: Duration,
    /// After which it is dead.
    pub deadtime: Duration,
    /// The same at the start of the daemon.
    pub initdead: Duration,
}

/// A line of haresources.
#[derive(Clone, Debug)]
pub struct DraftGroup {
    /// What stands above it.
    pub comment: String,
    /// The node that it prefers.
    pub preferred: String,
    /// The resources.
    pub words: Vec<String>,
}

impl DraftTimes {
    /// Those of the commented files in `ha.d`.
    pub const USUAL: DraftTimes = DraftTimes {
        keepalive: Duration::from_secs(1),
        warntime: Duration::from_secs(5),
        deadtime: Duration::from_secs(15),
        initdead: Duration::from_secs(60),
    };
}

impl Draft {
    /// The text of ha.cf.
    pub fn ha_cf(&self) -> String {
        let mut text =
            "# ha.cf: who is in the cluster, how heartbeats travel, how long silence may last.\n"
                .to_owned();
        text += &comment(&self.origin);
        text += "# The same on every node. ha.cf(5) explains every directive.\n\n";
        text += "# The members, by the names that `uname -n` prints on them.\n";
        text += &format!("node {}\n\n", self.nodes.join(" "));
        text += "# How heartbeats travel: an interface, and the address of a node. A line with this node's own address does no harm.\n\
             # A second network makes the cluster safer: add the same lines with the interface and the addresses there.\n";
        for (interface, address) in &self.paths {
            text += &format!("{} {interface} {address}\n", directive("ucast", address));
        }
        text += &self.pings_text();
        text += &self.times_text();
        text += &self.failback_text();
        for (above, line) in &self.more {
            text += &format!("\n{}{line}\n", comment(above));
        }
        text
    }

    fn pings_text(&self) -> String {
        let mut text = match (self.pings.is_empty(), self.nodes.len()) {
            (true, 2) => {
                "\n# There is no ping node, so nothing decides when the nodes do not hear each other: both then run everything.\n\
                 # Better: ping, and the address of the gateway.\n"
            }
            (true, _) => "\n# Groups can follow ping nodes; here there is none.\n",
            (false, 2) => {
                "\n# A ping node has a vote when the nodes do not hear each other: the side that reaches it goes on.\n"
            }
            (false, _) => "\n# A ping node shows whether a node still reaches the network. Here the nodes alone vote.\n",
        }
        .to_owned();
        for address in &self.pings {
            text += &format!("{} {address}\n", directive("ping", address));
        }
        text
    }

    fn times_text(&self) -> String {
        let DraftTimes {
            keepalive,
            warntime,
            deadtime,
            initdead,
        } = self.times;
        let rows = [
            ("keepalive", keepalive, "from one heartbeat to the next"),
            ("warntime", warntime, "silent for this long: late"),
            (
                "deadtime",
                deadtime,
                "silent for this long: dead, and its groups are taken over",
            ),
            (
                "initdead",
                initdead,
                "the same while the machines boot and the network comes up",
            ),
        ];
        let mut text = "\n".to_owned();
        for (name, time, what) in rows {
            let line = format!("{name} {}", duration_in_files(time));
            text += &format!("{line:20} # {what}\n");
        }
        text
    }

    fn failback_text(&self) -> String {
        let (word, what) = if self.auto_failback {
            ("on", "A group goes back to its preferred node")
        } else {
            ("off", "A group stays where it is")
        };
        let mut text = format!("\n# {what} when that node returns.\nauto_failback {word}\n");
        if !self.failback_delay.is_zero() && self.auto_failback {
            let delay = duration_in_files(self.failback_delay);
            text += &format!("failback_delay {delay}\n");
        }
        text
    }

    /// The text of haresources.
    pub fn haresources(&self) -> String {
        let mut text =
            "# haresources: the groups, one on each line: the preferred node, then what runs there, started from left to right.\n"
                .to_owned();
        text += &comment(&self.origin);
        text += "# The same on every node. haresources(5) explains what can stand here.\n";
        for group in &self.groups {
            let line = continued(&group.preferred, &group.words);
            text += &format!("\n{}{line}\n", comment(&group.comment));
        }
        text
    }

    /// The text of authkeys with this secret.
    pub fn authkeys(&self, secret: &str) -> String {
        format!(
            "# authkeys: the secret with which the nodes sign their heartbeats.\n{}\
             # The same on every node. Whoever can read it can pose as a node, so only root may: chmod 600 authkeys\n\
             auth 1\n1 sha256 {secret}\n",
            comment(&self.origin)
        )
    }
}

/// The words of a group, on lines that continue each other if it is too long for one.
fn continued(first: &str, words: &[String]) -> String {
    let mut text = first.to_owned();
    let mut width = first.len();
    for word in words {
        width += word.len() + 1;
        if width > MAX_WIDTH {
            text += " \\\n   ";
            width = word.len() + 4;
        }
        text.push(' ');
        text += word;
    }
    text
}

/// `name` for IPv4 and `name6` for IPv6.
fn directive(name: &str, address: &IpAddr) -> String {
    let six = if address.is_ipv6() { "6" } else { "" };
    format!("{name}{six}")
}

/// Each line with `# ` before it; nothing for nothing.
fn comment(text: &str) -> String {
    text.lines()
        .fold(String::new(), |all, line| all + "# " + line + "\n")
}
