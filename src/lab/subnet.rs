//! Address ranges, and free addresses in them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::LabError;

/// An address range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Its first address.
    pub network: IpAddr,
    /// Its prefix.
    pub prefix: u8,
}

impl Subnet {
    /// The subnet of an address. Without a prefix, or with one for a single host, it has the default size.
    pub fn around(address: IpAddr, prefix: Option<u8>) -> Subnet {
        let (usual, most) = if address.is_ipv4() {
            (24, 30)
        } else {
            (64, 126)
        };
        let prefix = prefix.filter(|p| (1..=most).contains(p)).unwrap_or(usual);
        Subnet {
            network: network(address, prefix),
            prefix,
        }
    }

    /// Whether the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.network.is_ipv4() && network(address, self.prefix) == self.network
    }

    /// Takes the first free host address after the first ten, which are left to gateways.
    pub fn free(&self, taken: &mut BTreeSet<IpAddr>) -> Result<IpAddr, LabError> {
        let hosts = self.hosts();
        let found = (11..hosts)
            .chain(1..11.min(hosts))
            .map(|n| self.host(n))
            .find(|a| !taken.contains(a));
        let Some(address) = found else {
            let (network, prefix) = (self.network, self.prefix);
            return Err(LabError::Plan(format!(
                "no address is free in {network}/{prefix} for a node of the lab"
            )));
        };
        taken.insert(address);
        Ok(address)
    }

    /// One more than the last usable host number, limited to far more than a lab needs.
    fn hosts(&self) -> u32 {
        let bits = if self.network.is_ipv4() { 32 } else { 128 } - u32::from(self.prefix);
        (1u32 << bits.min(20)) - 1
    }

    fn host(&self, number: u32) -> IpAddr {
        match self.network {
            IpAddr::V4(a) => Ipv4Addr::from_bits(a.to_bits() | number).into(),
            IpAddr::V6(a) => Ipv6Addr::from_bits(a.to_bits() | u128::from(number)).into(),
        }
    }
}

/// The first address of the range; prefixes are in bounds here.
fn network(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX
                .checked_shl(32u32.saturating_sub(prefix))
                .unwrap_or(0);
            Ipv4Addr::from_bits(a.to_bits() & mask).into()
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX
                .checked_shl(128u32.saturating_sub(prefix))
                .unwrap_or(0);
            Ipv6Addr::from_bits(a.to_bits() & mask).into()
        }
    }
}
