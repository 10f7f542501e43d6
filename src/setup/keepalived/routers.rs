//! Puts the instances of all nodes together: those of one name, or of one virtual_router_id, are one virtual router; those of one
//! sync group move together.

use super::model::{Instance, Manager, SyncGroup};
use super::nodes::Node;
use crate::text::Problems;

/// One virtual router, as each node has it.
#[derive(Debug)]
pub struct Router<'m> {
    /// By node.
    pub instances: Vec<Option<&'m Instance>>,
}

/// Virtual routers that move together: a line of haresources.
#[derive(Debug)]
pub struct RouterGroup<'m> {
    /// The name of the sync group, or of the only instance.
    pub name: String,
    /// The sync group.
    pub sync: Option<&'m SyncGroup>,
    /// At least one.
    pub routers: Vec<Router<'m>>,
}

impl<'m> Router<'m> {
    /// What each node that has it says of it.
    pub fn present(&self) -> impl Iterator<Item = (usize, &'m Instance)> {
        let all = self.instances.iter().enumerate();
        all.filter_map(|(node, instance)| Some((node, (*instance)?)))
    }

    /// What the first node says of it.
    pub fn first(&self) -> Option<&'m Instance> {
        self.present().next().map(|(_, instance)| instance)
    }

    /// The node that had it as long as all is well: the highest priority; of equal ones the one that began as MASTER.
    pub fn preferred(&self) -> Option<(usize, &'m Instance)> {
        let rank = |(node, i): &(usize, &Instance)| {
            (i.priority, i.state_master.is_some(), usize::MAX - node)
        };
        self.present().max_by_key(rank)
    }

    /// The highest priority of the other nodes.
    pub fn second(&self) -> Option<(usize, &'m Instance)> {
        let (preferred, _) = self.preferred()?;
        let others = self.present().filter(|(node, _)| *node != preferred);
        others.max_by_key(|(node, i)| (i.priority, usize::MAX - node))
    }

    /// Whether it went back to the preferred node when that returned.
    pub fn goes_back(&self) -> bool {
        let (Some((_, first)), Some((_, second))) = (self.preferred(), self.second()) else {
            return false;
        };
        let stays = first.nopreempt.is_some() && first.state_master.is_none();
        !stays && first.priority > second.priority
    }
}

/// Every instance of every group, with its node.
pub fn all_instances<'g, 'm>(
    groups: &'g [RouterGroup<'m>],
) -> impl Iterator<Item = (usize, &'m Instance)> + use<'g, 'm> {
    groups
        .iter()
        .flat_map(|g| &g.routers)
        .flat_map(Router::present)
}

/// The virtual routers that have addresses, in the order of the files.
pub fn put_together<'m>(
    managers: &'m [Manager],
    nodes: &[Node],
    report: &mut Problems,
) -> Vec<RouterGroup<'m>> {
    let mut routers: Vec<Router<'m>> = Vec::new();
    for (node, manager) in managers.iter().enumerate() {
        for instance in &manager.instances {
            if instance.addresses.is_empty() {
                let message = "this instance has no address that could be used";
                report.warning(&instance.name.place, message, "it is left out");
                continue;
            }
            if let Some(router) = find(&routers, node, instance, manager) {
                router_slot(&mut routers, router, node, instance);
            } else {
                let mut instances = vec![None; nodes.len()];
                if let Some(slot) = instances.get_mut(node) {
                    *slot = Some(instance);
                }
                routers.push(Router { instances });
            }
        }
    }
    group(routers, managers, nodes, report)
}

fn router_slot<'m>(routers: &mut [Router<'m>], router: usize, node: usize, instance: &'m Instance) {
    let slot = routers
        .get_mut(router)
        .and_then(|r| r.instances.get_mut(node));
    if let Some(slot) = slot {
        *slot = Some(instance);
    }
}

/// The router that an instance of this node belongs to.
fn find(
    routers: &[Router<'_>],
    node: usize,
    instance: &Instance,
    manager: &Manager,
) -> Option<usize> {
    let free = |r: &Router<'_>| r.instances.get(node).is_some_and(Option::is_none);
    let name = |i: &Instance| i.name.text == instance.name.text;
    let by_name = routers
        .iter()
        .position(|r| free(r) && r.first().is_some_and(name));
    let number = |i: &Instance| i.router_id.as_ref().map(|w| w.text.clone());
    let by_number = || {
        let own = number(instance)?;
        routers.iter().position(|r| {
            free(r)
                && r.first().is_some_and(|i| {
                    number(i).as_ref() == Some(&own) && manager.instance(&i.name.text).is_none()
                })
        })
    };
    by_name.or_else(by_number)
}

/// Routers of one sync group move together.
fn group<'m>(
    routers: Vec<Router<'m>>,
    managers: &'m [Manager],
    nodes: &[Node],
    report: &mut Problems,
) -> Vec<RouterGroup<'m>> {
    let mut groups: Vec<RouterGroup<'m>> = Vec::new();
    for router in routers {
        let sync = router
            .present()
            .find_map(|(node, instance)| managers.get(node)?.sync_group_of(&instance.name.text));
        if let Some(sync) = sync {
            remark_on_lonely(&router, sync, managers, nodes, report);
        }
        let name = sync.map_or_else(
            || {
                router
                    .first()
                    .map_or(String::new(), |i| i.name.text.clone())
            },
            |sync| sync.name.text.clone(),
        );
        let same = groups
            .iter_mut()
            .find(|g| sync.is_some() && g.sync.is_some_and(|s| s.name.text == name));
        match same {
            Some(group) => group.routers.push(router),
            None => groups.push(RouterGroup {
                name,
                sync,
                routers: vec![router],
            }),
        }
    }
    groups
}

/// A node on which the instance is in no group.
fn remark_on_lonely(
    router: &Router<'_>,
    sync: &SyncGroup,
    managers: &[Manager],
    nodes: &[Node],
    report: &mut Problems,
) {
    for (node, instance) in router.present() {
        let (Some(manager), Some(here)) = (managers.get(node), nodes.get(node)) else {
            continue;
        };
        if manager.sync_group_of(&instance.name.text).is_none() {
            let message = format!(
                "on {} this instance is not in the group {}: there its addresses moved alone",
                here.name,
                crate::text::quote(&sync.name.text)
            );
            let help = "here the whole group moves, on every node";
            report.warning(&instance.name.place, message, help);
        }
    }
}
