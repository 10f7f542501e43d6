//! What another manager left running on this node, for `hactl adopt`: how the daemon would find it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use futures::future::join_all;

use super::assemble::assemble;
use super::{Folders, own_name};
use crate::agent::address::virtual_address::VirtualAddress;
use crate::agent::builtin::drbd::fence::{NoPeers, Peers};
use crate::agent::exec::runner;
use crate::agent::resolve::ResolvedStep;
use crate::agent::{Abort, Status};
use crate::model::cluster::Cluster;
use crate::model::{GroupName, NodeName};
use crate::sys::netlink::{Address, Netlink};

/// What runs of one step of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// All of it.
    Running,
    /// Nothing.
    Stopped,
    /// It cannot be told, or only a part of it; with the reason.
    Unclear(String),
}

/// A group, and what was found of each of its steps: the resource words, and what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundGroup {
    /// Its name.
    pub name: GroupName,
    /// In their order.
    pub steps: Vec<(String, Found)>,
}

impl FoundGroup {
    /// Whether all of it runs here.
    pub fn runs(&self) -> bool {
        self.steps.iter().all(|(_, found)| *found == Found::Running)
    }

    /// Whether nothing of it runs here.
    pub fn is_down(&self) -> bool {
        self.steps.iter().all(|(_, found)| *found == Found::Stopped)
    }
}

/// What a look at this node found.
pub struct Findings {
    /// What the engine needs of the configuration: the nodes and the times among it.
    pub cluster: Cluster,
    /// All groups.
    pub groups: Vec<FoundGroup>,
    /// Lasting addresses of groups that had did not add. The daemon leaves such ones alone.
    pub unmarked: Vec<Address>,
}

/// Looks at what runs here of the groups in that configuration folder. Changes nothing.
///
/// # Errors
/// Why the daemon would not start, as a page; or why the node cannot be looked at.
pub fn find_running(config: &Path) -> Result<Findings, String> {
    runtime()?.block_on(async {
        let netlink = Netlink::new();
        let nobody: Arc<dyn Peers> = Arc::new(NoPeers);
        let folders = Folders::usual(config);
        let assembled = assemble(&folders, &own_name(), &netlink, &nobody)
            .await
            .map_err(|problems| problems.page("had would not start"))?;
        let present = Present::read(&netlink).await?;
        let mut groups = Vec::new();
        for (name, steps) in &assembled.groups {
            let found = join_all(steps.iter().map(|step| present.find_step(step))).await;
            let words = steps.iter().map(|s| s.step.members.join(" "));
            groups.push(FoundGroup {
                name: name.clone(),
                steps: words.zip(found).collect(),
            });
        }
        let steps = assembled.groups.iter().flat_map(|(_, steps)| steps);
        let unmarked = steps.flat_map(|step| present.unmarked(step)).collect();
        Ok(Findings {
            cluster: assembled.cluster,
            groups,
            unmarked,
        })
    })
}

/// Marks addresses that another manager added as had's own. Nothing else changes about them.
///
/// # Errors
/// The kernel refused it.
pub fn mark_addresses(unmarked: &[Address]) -> Result<(), String> {
    let marked: Vec<Address> = unmarked
        .iter()
        .map(|address| Address {
            ours: true,
            ..address.clone()
        })
        .collect();
    runtime()?
        .block_on(Netlink::new().add_addresses(&marked))
        .map_err(|e| e.to_string())
}

/// The other nodes of the cluster.
pub fn other_nodes(cluster: &Cluster) -> impl Iterator<Item = &NodeName> {
    cluster.nodes.iter().filter(|n| **n != cluster.me)
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("cannot look at this node: {e}"))
}

/// The interfaces and addresses of this node.
struct Present {
    indexes: HashMap<String, u32>,
    addresses: Vec<Address>,
}

impl Present {
    async fn read(netlink: &Netlink) -> Result<Present, String> {
        let links = netlink.links().await.map_err(|e| e.to_string())?;
        Ok(Present {
            indexes: links.into_iter().map(|l| (l.name, l.index)).collect(),
            addresses: netlink.addresses().await.map_err(|e| e.to_string())?,
        })
    }

    fn find(&self, wanted: &VirtualAddress) -> Option<&Address> {
        let index = self.indexes.get(&wanted.interface)?;
        let mut all = self.addresses.iter();
        all.find(|a| a.index == *index && a.ip == wanted.ip)
    }

    /// Addresses are looked for whoever added them; everything else is asked as the daemon asks it.
    async fn find_step(&self, step: &ResolvedStep) -> Found {
        if let Some(addresses) = &step.addresses {
            return self.find_addresses(&addresses.list());
        }
        match runner::monitor(step, &Abort::new()).await {
            Ok(Status::Running) => Found::Running,
            Ok(Status::Stopped) => Found::Stopped,
            Ok(Status::Unclear) => {
                Found::Unclear("its status says neither \"running\" nor \"stopped\"".to_owned())
            }
            Err(error) => Found::Unclear(error.to_string()),
        }
    }

    fn find_addresses(&self, wanted: &[VirtualAddress]) -> Found {
        let mut missing = wanted.iter().filter(|a| self.find(a).is_none());
        match (missing.next(), missing.count()) {
            (None, _) => Found::Running,
            (Some(_), more) if more + 1 == wanted.len() => Found::Stopped,
            (Some(first), _) => Found::Unclear(format!("{first} is missing")),
        }
    }

    fn unmarked(&self, step: &ResolvedStep) -> Vec<Address> {
        let wanted = step.addresses.iter().flat_map(|a| a.list().to_vec());
        let there = wanted.filter_map(|a| self.find(&a).cloned());
        there.filter(|a| !a.ours && a.valid.is_none()).collect()
    }
}
