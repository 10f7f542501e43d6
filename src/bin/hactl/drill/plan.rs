//! What a drill does, and whether it may.

use std::net::IpAddr;

use had::control::api::Request;
use had::control::select::select_group;
use had::model::status::{GroupStatus, Status};
use had::model::{GroupName, NodeName};

/// Agents whose first argument is an address.
const ADDRESSES: [&str; 4] = ["IPaddr", "IPaddr2", "IPv6addr", "IPsrcaddr"];

/// How this node moves a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It gives it away.
    Away,
    /// It takes it.
    Here,
}

impl Direction {
    /// The command for the daemon.
    pub fn order(self, group: &GroupName) -> Request {
        let words = vec![group.to_string()];
        match self {
            Self::Away => Request::Standby {
                words,
                lasting: false,
                wait: true,
            },
            Self::Here => Request::Takeover {
                words,
                force: false,
                wait: true,
            },
        }
    }
}

/// A drill that may begin.
#[derive(Debug)]
pub struct Plan {
    /// The group.
    pub group: GroupName,
    /// The first move.
    pub direction: Direction,
    /// The address of the group that is measured.
    pub address: Option<IpAddr>,
    /// Its preferred node.
    pub preferred: NodeName,
    owner: NodeName,
    to: Option<NodeName>,
}

impl Plan {
    /// Refuses with all reasons if the group could not be moved now.
    pub fn make(word: &str, to: Option<&str>, back: bool, status: &Status) -> Result<Plan, String> {
        let names = status
            .groups
            .iter()
            .map(|g| (g.name.clone(), g.preferred.clone()));
        let name = select_group(word, &names.collect::<Vec<_>>())?;
        let group = status.groups.iter().find(|g| g.name == name);
        let group = group.ok_or_else(|| format!("there is no group {name}"))?;
        let here = group.owners.contains(&status.node);
        let target = match to {
            Some(node) => Some(NodeName::new(node)),
            None if here => None,
            None => Some(status.node.clone()),
        };
        let mut reasons = status.not_ready_to_move(group, target.as_ref());
        reasons.extend(cannot_aim(status, group, target.as_ref(), here));
        if let (true, false, [owner]) = (back, here, group.owners.as_slice()) {
            reasons.push(format!(
                "--back needs the node that it comes back to, which knows when it is ready again: \
                 run hactl drill {name} --back on {owner}"
            ));
        }
        if !reasons.is_empty() {
            return Err(format!(
                "{name} is not ready for a drill, so nothing was done:\n  {}",
                reasons.join("\n  ")
            ));
        }
        Ok(Plan {
            group: name,
            direction: if here {
                Direction::Away
            } else {
                Direction::Here
            },
            preferred: group.preferred.clone(),
            address: group.resources.iter().find_map(|r| address_of(&r.token)),
            owner: group
                .owners
                .first()
                .cloned()
                .unwrap_or_else(|| status.node.clone()),
            to: target,
        })
    }

    /// What the administrator orders.
    pub fn meaning(&self, back: bool) -> String {
        let to = self.to.as_ref().map_or("another node", NodeName::as_str);
        let (owner, preferred) = (&self.owner, &self.preferred);
        let back_words = if back { ", and back afterwards" } else { "" };
        let again = if !back && self.direction == Direction::Away && owner == preferred {
            format!(
                " With auto_failback on it then moves back to {preferred} by itself, a second interruption."
            )
        } else {
            String::new()
        };
        format!(
            "`hactl drill` really moves {} from {owner} to {to}{back_words}: its services are stopped and started, and clients notice.{again}",
            self.group
        )
    }
}

/// A node gives its groups to the node that the cluster chooses, or takes one itself.
fn cannot_aim(
    status: &Status,
    group: &GroupStatus,
    target: Option<&NodeName>,
    here: bool,
) -> Option<String> {
    let target = target.filter(|t| **t != status.node && !group.owners.contains(t))?;
    let name = &group.name;
    if !here {
        return Some(format!(
            "only {target} can take it to {target}: run hactl drill {name} there"
        ));
    }
    let other = group.candidates().find(|node| *node != target)?;
    Some(format!(
        "{other} could take it too, and the cluster chooses: run hactl drill {name} on {target}, which takes it there"
    ))
}

/// The address of a resource, if it is one.
fn address_of(token: &str) -> Option<IpAddr> {
    let mut parts = token.split("::");
    let first = parts.next()?;
    let agent = first.rsplit(':').next().unwrap_or(first);
    let argument = if ADDRESSES.contains(&agent) {
        parts.next()?
    } else {
        first
    };
    let argument = argument.strip_prefix("ip=").unwrap_or(argument);
    argument.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_each_way_of_writing() {
        let address = "10.0.0.1".parse().ok();
        for token in [
            "10.0.0.1",
            "10.0.0.1/24/eth0",
            "IPaddr::10.0.0.1/24/eth0:1",
            "IPaddr2::10.0.0.1/24",
            "ocf:heartbeat:IPaddr2::ip=10.0.0.1::nic=eth0",
        ] {
            assert_eq!(address_of(token), address, "{token}");
        }
        assert_eq!(address_of("fd00::1/64"), None);
        assert_eq!(address_of("IPv6addr::fd00::1/64"), None);
        for token in ["nginx", "drbddisk::10.0.0.1", "Filesystem::/dev/x::/y", ""] {
            assert_eq!(address_of(token), None, "{token}");
        }
    }
}
