//! Notices that the way from an interface to the network has changed, so that the network may send frames for its addresses
//! to a wrong place: it has another hardware address, its carrier is back, its bond uses another member, a bridge has another
//! port.

use std::collections::{HashMap, HashSet};

use crate::sys::netlink::Link;

/// All interfaces by number, as last seen.
#[derive(Default)]
pub(super) struct LinkPaths {
    known: HashMap<u32, Link>,
    /// Whether all interfaces were seen.
    complete: bool,
}

impl LinkPaths {
    /// An interface has changed. Returns the working interfaces whose way to the network goes through it, by name.
    pub fn update(&mut self, link: &Link) -> HashSet<String> {
        let index = link.index;
        let before = self.known.insert(index, link.clone());
        let same = before.as_ref().is_some_and(|b| way(b) == way(link));
        if same || !self.complete {
            return HashSet::new();
        }
        let old_master = before.and_then(|b| b.master);
        self.above([Some(index), old_master].into_iter().flatten().collect())
    }

    /// An interface is gone.
    pub fn remove(&mut self, link: &Link) -> HashSet<String> {
        let before = self.known.remove(&link.index);
        let master = before.and_then(|b| b.master);
        self.above(master.into_iter().collect())
    }

    /// These are all interfaces. The first time there is nothing to compare them with.
    pub fn replace_all(&mut self, links: &[Link]) -> HashSet<String> {
        let present: HashSet<u32> = links.iter().map(|l| l.index).collect();
        self.known.retain(|index, _| present.contains(index));
        let changed = links.iter().flat_map(|l| self.update(l));
        let changed = changed.collect();
        self.complete = true;
        changed
    }

    /// The working ones of these interfaces and of those that stand on them: bonds, bridges, VLANs.
    fn above(&self, mut indexes: HashSet<u32>) -> HashSet<String> {
        loop {
            let stands = |l: &&Link| l.lower.is_some_and(|i| indexes.contains(&i));
            let upper = self.known.values().filter(stands).map(|l| l.index);
            let members = indexes.iter().filter_map(|i| self.known.get(i)?.master);
            let more: HashSet<u32> = upper.chain(members).collect();
            if more.is_subset(&indexes) {
                break;
            }
            indexes.extend(more);
        }
        let all = indexes.iter().filter_map(|i| self.known.get(i));
        let working = all.filter(|l| l.up && l.carrier);
        working.map(|l| l.name.clone()).collect()
    }
}

/// What the network sees of an interface.
fn way(link: &Link) -> impl PartialEq + use<> {
    let works = link.up && link.carrier;
    (link.mac, works, link.master, link.active)
}

#[cfg(test)]
mod tests {
    use pnet::util::MacAddr;

    use super::*;

    /// eth1 and eth2 are members of bond3; vlan4 is on it; eth5 is alone.
    fn paths() -> LinkPaths {
        let mut paths = LinkPaths::default();
        let of_bond = |link: Link| Link {
            master: Some(3),
            ..link
        };
        let links = [
            of_bond(Link::sample(1, "eth1")),
            of_bond(Link::sample(2, "eth2")),
            Link {
                active: Some(1),
                ..Link::sample(3, "bond3")
            },
            Link {
                lower: Some(3),
                ..Link::sample(4, "vlan4")
            },
            Link::sample(5, "eth5"),
        ];
        assert_eq!(paths.replace_all(&links), HashSet::new());
        paths
    }

    fn sorted(names: HashSet<String>) -> String {
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort();
        names.join(" ")
    }

    #[test]
    fn each_change_concerns_what_stands_on_the_interface() {
        let changed = |index: u32, change: fn(&mut Link)| {
            let mut paths = paths();
            let mut link = paths.known[&index].clone();
            change(&mut link);
            sorted(paths.update(&link))
        };
        let mac = |l: &mut Link| l.mac = Some(MacAddr(2, 0, 0, 0, 0, 9));
        assert_eq!(changed(5, mac), "eth5");
        assert_eq!(changed(3, mac), "bond3 vlan4");
        assert_eq!(changed(5, |_| {}), "");
        assert_eq!(changed(3, |l| l.active = Some(2)), "bond3 vlan4");
        assert_eq!(changed(1, |l| l.carrier = false), "bond3 vlan4");
        assert_eq!(changed(1, |l| l.master = None), "bond3 eth1 vlan4");
        // Nothing can be announced through a dead one.
        assert_eq!(changed(5, |l| l.up = false), "");
    }

    #[test]
    fn a_carrier_that_is_back_and_a_port_that_goes_are_changes() {
        let mut paths = paths();
        let eth5 = Link::sample(5, "eth5");
        paths.update(&Link {
            carrier: false,
            ..eth5.clone()
        });
        assert_eq!(sorted(paths.update(&eth5)), "eth5");
        assert_eq!(
            sorted(paths.remove(&Link::sample(1, "eth1"))),
            "bond3 vlan4"
        );
        let missed: Vec<Link> = paths
            .known
            .values()
            .cloned()
            .map(|l| Link {
                mac: Some(MacAddr::broadcast()),
                ..l
            })
            .collect();
        assert_eq!(sorted(paths.replace_all(&missed)), "bond3 eth2 eth5 vlan4");
    }
}
