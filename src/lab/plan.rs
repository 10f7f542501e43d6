//! The plan of a lab, as plain data.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::LabError;

/// A lab before it is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabPlan {
    /// The name, unique among the labs of a user. All paths derive from it.
    pub name: String,
    /// The cluster's members.
    pub nodes: Vec<NodePlan>,
    /// Hosts that do nothing but answer: ping nodes.
    pub pings: Vec<PingPlan>,
    /// Where the client is attached: (segment, address, prefix). Empty for a lab without a client.
    pub client: Vec<(String, IpAddr, u8)>,
    /// The daemon to run on every node.
    pub had: PathBuf,
    /// This program: the lab runs it as supervisor and as the first process of each host.
    pub hactl: PathBuf,
    /// Whether nodes start the daemon when they boot.
    pub start: bool,
    /// Whether a daemon that has ended is started again, as systemd does.
    #[serde(default)]
    pub restart: bool,
    /// Scripts for the `resource.d` of each node, where its configuration has none of that name.
    #[serde(default)]
    pub scripts: Option<PathBuf>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlan {
    /// Its name; also its hostname.
    pub name: String,
    /// A copy of this folder becomes its `/etc/ha.d`.
    pub config_dir: PathBuf,
    /// Lines appended to `ha.cf` in that copy (the `ucast` line that only this node needs).
    pub ha_cf_lines: Vec<String>,
    /// Its network cards.
    pub interfaces: Vec<Iface>,
}

/// One network card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Iface {
    /// Its name in the node, such as `eth0`.
    pub name: String,
    /// The segment it is plugged into.
    pub segment: String,
    /// Its own addresses with their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// One ping node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingPlan {
    /// Its name.
    pub name: String,
    /// Its segment.
    pub segment: String,
    /// Its address.
    pub address: IpAddr,
    /// The prefix of that address.
    pub prefix: u8,
}

/// The client's name as a host.
pub const CLIENT: &str = "client";

/// A host of any kind, as the supervisor boots it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlan {
    /// Its name.
    pub name: String,
    /// The folder for `/etc/ha.d` and the lines for its `ha.cf`; members only.
    pub config: Option<(PathBuf, Vec<String>)>,
    /// Its network cards.
    pub interfaces: Vec<Iface>,
}

impl LabPlan {
    /// All hosts: members first, then ping nodes, then the client. The index of a host is its number.
    pub fn hosts(&self) -> Vec<HostPlan> {
        let members = self.nodes.iter().map(|n| HostPlan {
            name: n.name.clone(),
            config: Some((n.config_dir.clone(), n.ha_cf_lines.clone())),
            interfaces: n.interfaces.clone(),
        });
        let pings = self.pings.iter().map(|p| HostPlan {
            name: p.name.clone(),
            config: None,
            interfaces: plug(&[(p.segment.clone(), p.address, p.prefix)]),
        });
        let client = HostPlan {
            name: CLIENT.to_owned(),
            config: None,
            interfaces: plug(&self.client),
        };
        let client = (!self.client.is_empty()).then_some(client);
        members.chain(pings).chain(client).collect()
    }

    /// All segments in the order of their first mention. The index of a segment is its number.
    pub fn segments(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        self.hosts()
            .into_iter()
            .flat_map(|h| h.interfaces)
            .map(|i| i.segment)
            .filter(|s| seen.insert(s.clone()))
            .collect()
    }

    /// Checks the plan before anything is built.
    pub fn check(&self) -> Result<(), LabError> {
        name_is_plain("lab", &self.name)?;
        let mut names = BTreeSet::new();
        for host in self.hosts() {
            name_is_plain("host", &host.name)?;
            if !names.insert(host.name.clone()) {
                return Err(LabError::Plan(format!(
                    "two hosts are called {}",
                    host.name
                )));
            }
            let mut cards = BTreeSet::new();
            for card in &host.interfaces {
                interface_name_fits(&host.name, &card.name)?;
                if !cards.insert(&card.name) {
                    let text = format!("{} has two interfaces called {}", host.name, card.name);
                    return Err(LabError::Plan(text));
                }
                prefixes_fit(&host.name, &card.addresses)?;
            }
        }
        Ok(())
    }
}

/// A host without cards of its own gets one per segment: `eth0`, `eth1`, ...
fn plug(places: &[(String, IpAddr, u8)]) -> Vec<Iface> {
    let mut cards: Vec<Iface> = Vec::new();
    for (segment, address, prefix) in places {
        if let Some(card) = cards.iter_mut().find(|c| c.segment == *segment) {
            card.addresses.push((*address, *prefix));
        } else {
            cards.push(Iface {
                name: format!("eth{}", cards.len()),
                segment: segment.clone(),
                addresses: vec![(*address, *prefix)],
            });
        }
    }
    cards
}

/// Names become file names and hostnames.
fn name_is_plain(what: &str, name: &str) -> Result<(), LabError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if name.is_empty() || name.len() > 63 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(LabError::Plan(format!(
            "\"{name}\" cannot be the name of a {what}: use 1 to 63 letters, digits, dashes, underscores, colons and dots; the first must not be a dot"
        )));
    }
    Ok(())
}

fn interface_name_fits(host: &str, name: &str) -> Result<(), LabError> {
    let fits = (1..=15).contains(&name.len())
        && name != "lo"
        && !name.contains(|c: char| c == '/' || c == ':' || c == '%' || c.is_whitespace());
    if fits {
        return Ok(());
    }
    Err(LabError::Plan(format!(
        "\"{name}\" cannot be an interface of {host}: 1 to 15 bytes, no space, slash, colon or percent sign, and not lo"
    )))
}

fn prefixes_fit(host: &str, addresses: &[(IpAddr, u8)]) -> Result<(), LabError> {
    for (address, prefix) in addresses {
        let most = if address.is_ipv4() { 32 } else { 128 };
        if *prefix > most {
            let text = format!("{address}/{prefix} of {host}: the prefix is at most {most}");
            return Err(LabError::Plan(text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> LabPlan {
        LabPlan {
            name: "p".into(),
            nodes: vec![NodePlan {
                name: "alice".into(),
                config_dir: "/nowhere".into(),
                ha_cf_lines: vec![],
                interfaces: vec![Iface {
                    name: "eth0".into(),
                    segment: "s0".into(),
                    addresses: vec![("10.0.0.1".parse().unwrap(), 24)],
                }],
            }],
            pings: vec![],
            client: vec![
                ("s0".into(), "10.0.0.9".parse().unwrap(), 24),
                ("s1".into(), "10.0.1.9".parse().unwrap(), 24),
                ("s0".into(), "10.0.2.9".parse().unwrap(), 24),
            ],
            had: "had".into(),
            hactl: "hactl".into(),
            start: false,
            restart: false,
            scripts: None,
        }
    }

    #[test]
    fn a_client_has_one_card_per_segment() {
        let client = plan().hosts().pop().unwrap();
        let cards: Vec<_> = client
            .interfaces
            .iter()
            .map(|i| (i.name.as_str(), i.addresses.len()))
            .collect();
        assert_eq!(cards, [("eth0", 2), ("eth1", 1)]);
        assert_eq!(plan().segments(), ["s0", "s1"]);
    }

    #[test]
    fn what_cannot_be_built_is_named() {
        assert!(plan().check().is_ok());
        let refused = |change: fn(&mut LabPlan)| {
            let mut p = plan();
            change(&mut p);
            p.check().unwrap_err().to_string()
        };
        assert!(refused(|p| p.name = "../x".into()).contains("../x"));
        assert!(refused(|p| p.nodes[0].name = "client".into()).contains("two hosts"));
        assert!(
            refused(|p| p.nodes[0].interfaces[0].name = "a-very-long-name".into())
                .contains("15 bytes")
        );
        assert!(refused(|p| p.nodes[0].interfaces[0].addresses[0].1 = 33).contains("at most 32"));
    }
}
