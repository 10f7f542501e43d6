//! The hardware addresses from which this node may answer for the addresses of its groups. The peers tell them from those of
//! machines that are no nodes.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::engine_handle::EngineHandle;
use super::needs::Definitions;
use crate::engine::Event;
use crate::model::hardware_address::{HardwareAddress, MAX_HARDWARE_ADDRESSES};
use crate::sys::netlink::{Link, Netlink};

/// How often the interfaces are read again.
const READ_EVERY: Duration = Duration::from_secs(10);

/// Reports them whenever they change, for the interfaces of these groups, until nobody defines groups any more.
pub async fn report_own_hardware(
    netlink: Netlink,
    mut definitions: watch::Receiver<Definitions>,
    engine: EngineHandle,
) {
    let mut last = Vec::new();
    loop {
        let wanted = interfaces_of(&definitions.borrow_and_update());
        // A list that cannot be read is read again.
        if let Ok(links) = netlink.links().await {
            let present = hardware_of(&links, &wanted);
            if present != last {
                last.clone_from(&present);
                engine.send_event(Event::OwnHardware(present));
            }
        }
        if let Ok(Err(_gone)) = timeout(READ_EVERY, definitions.changed()).await {
            return;
        }
    }
}

/// The interfaces of the addresses of all groups.
fn interfaces_of(definitions: &Definitions) -> BTreeSet<String> {
    let steps = definitions.iter().flat_map(|(_, steps)| steps.iter());
    let lists = steps.filter_map(|s| s.addresses.as_ref());
    let all = lists.flat_map(|a| a.list().to_vec());
    all.map(|address| address.interface).collect()
}

/// Those of the named interfaces, and then of the interfaces below and above them: members of a bond, macvlans, VLANs. A bridge
/// may have more of these than a heartbeat has room for.
fn hardware_of(links: &[Link], names: &BTreeSet<String>) -> Vec<HardwareAddress> {
    let named = links.iter().filter(|l| names.contains(&l.name));
    let named: HashSet<u32> = named.map(|l| l.index).collect();
    let is_in = |index: Option<u32>| index.is_some_and(|i| named.contains(&i));
    let below = links.iter().filter(|l| named.contains(&l.index));
    let below: HashSet<u32> = below.filter_map(|l| l.lower).collect();
    let related = |l: &&Link| {
        named.contains(&l.index) || is_in(l.master) || is_in(l.lower) || below.contains(&l.index)
    };
    let all = links.iter().filter(related);
    let all = all.filter_map(|l| Some((!named.contains(&l.index), l.mac?.octets())));
    let all: BTreeSet<_> = all.collect();
    let mut found = Vec::new();
    for (_, mac) in all {
        let mac = HardwareAddress(mac);
        if !found.contains(&mac) && found.len() < MAX_HARDWARE_ADDRESSES {
            found.push(mac);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet::util::MacAddr;

    fn link(index: u32, name: &str, master: Option<u32>, lower: Option<u32>) -> Link {
        let last = u8::try_from(index).unwrap();
        Link {
            mac: Some(MacAddr(2, 0, 0, 0, 0, last)),
            master,
            lower,
            ..Link::sample(index, name)
        }
    }

    #[test]
    fn members_of_a_bond_macvlans_and_what_is_below_a_vlan_belong_to_it() {
        let links = [
            link(1, "eth0", Some(3), None),
            link(2, "eth1", Some(3), None),
            link(3, "bond0", None, None),
            link(4, "vlan7", None, Some(3)),
            link(5, "macvlan0", None, Some(4)),
            link(6, "other", None, None),
        ];
        let last = |names: &[&str]| -> Vec<u8> {
            let names = names.iter().map(ToString::to_string).collect();
            let all = hardware_of(&links, &names);
            all.iter().map(|a| a.0[5]).collect()
        };
        assert_eq!(last(&["bond0"]), [3, 1, 2, 4]);
        assert_eq!(last(&["vlan7"]), [4, 3, 5]);
        assert_eq!(last(&["other"]), [6]);
        assert_eq!(last(&[]), [0_u8; 0]);
    }
}
