//! Whether an address is one of this machine, or in one of its networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nix::sys::socket::SockaddrStorage;

/// Any port: nothing is sent.
const PORT: u16 = 9;

/// Whether this machine has the address now. To itself the kernel sends from the address that it sends to.
pub fn is_own(address: IpAddr) -> bool {
    let any = match address {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let source = UdpSocket::bind(SocketAddr::new(any, 0)).and_then(|socket| {
        socket.connect(SocketAddr::new(address, PORT))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address)
}

/// The interface of this machine that is in the network of the address, or has it.
pub fn interface_towards(address: IpAddr) -> Option<String> {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let near = all.filter_map(|row| {
        let (own, mask) = (ip_of(row.address?)?, ip_of(row.netmask?)?);
        let same_kind = own.is_ipv4() == address.is_ipv4();
        let same_network = bits(own) & bits(mask) == bits(address) & bits(mask);
        let near = same_kind && same_network && !own.is_loopback();
        near.then(|| (bits(mask), row.interface_name))
    });
    // The smallest network is the one that the kernel uses.
    near.max_by_key(|(mask, _)| *mask).map(|(_, name)| name)
}

fn ip_of(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    v4.or_else(|| Some(IpAddr::V6(address.as_sockaddr_in6()?.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::machine::Machine;

    #[test]
    fn the_interface_of_a_network_is_found() {
        let machine = Machine::with_eth0();
        let found = |text: &'static str| {
            machine.run(move || async move { interface_towards(text.parse().unwrap()) })
        };
        assert_eq!(found("10.0.0.77").as_deref(), Some("eth0"));
        assert_eq!(found("fd00::77").as_deref(), Some("eth0"));
        assert_eq!(found("10.0.1.77"), None);
        assert_eq!(found("127.0.0.1"), None);
    }

    #[test]
    fn the_loopback_is_our_own_and_a_documentation_address_is_not() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(!is_own("192.0.2.1".parse().unwrap()));
        assert!(!is_own("2001:db8::1".parse().unwrap()));
    }
}
