use super::*;

fn route(network: &str, prefix: u8, index: u32, metric: u32) -> Route {
    Route {
        destination: network.parse().unwrap(),
        prefix,
        index,
        metric,
        connected: prefix > 0,
    }
}

/// eth0: 10.1.88.0/24 and the default route; eth1: 10.1.0.0/16 and fd00::/64; eth2: 10.1.88.0/24 with a worse metric.
fn network() -> Network {
    Network {
        links: vec![
            Link::sample(1, "lo"),
            Link::sample(2, "eth0"),
            Link::sample(3, "eth1"),
            Link::sample(4, "eth2"),
        ],
        routes: vec![
            route("0.0.0.0", 0, 2, 0),
            route("10.1.0.0", 16, 3, 0),
            route("10.1.88.0", 24, 4, 100),
            route("10.1.88.0", 24, 2, 0),
            route("fd00::", 64, 3, 256),
        ],
        addresses: vec![],
    }
}

fn shown(argument: &str) -> String {
    let found = resolve(argument, &network()).and_then(|address| match &address.open {
        Some(argument) => resolve_now(argument, &network()),
        None => Ok(address),
    });
    match found {
        Ok(address) => match address.broadcast {
            Some(broadcast) => format!("{address} brd {broadcast}"),
            None => address.to_string(),
        },
        Err(mistake) => format!("error: {}", mistake.message),
    }
}

/// It may appear later; what its word leaves out is found then.
#[test]
fn a_missing_interface_leaves_open_what_its_word_leaves_out() {
    let remarked = |argument: &str| remark(argument, false, &network()).map(|m| m.message);
    assert_eq!(
        shown("10.9.9.9/24/eth7"),
        "10.9.9.9/24 on eth7 brd 10.9.9.255"
    );
    for (open, mistake) in [
        ("10.9.9.9//eth7", "there is no interface `eth7`"),
        ("10.9.9.9", "10.9.9.9 belongs to no connected network"),
        (
            "10.9.9.9//eth1",
            "10.9.9.9 belongs to no network that is connected to eth1",
        ),
    ] {
        let address = resolve(open, &network()).unwrap();
        assert_eq!(address.open.as_deref(), Some(open));
        let now = shown(open);
        assert!(now.starts_with(&format!("error: {mistake}")), "{now}");
        assert!(remarked(open).unwrap().starts_with(mistake), "{open}");
    }
    assert!(
        remarked("10.9.9.9/24/eth7")
            .unwrap()
            .starts_with("there is no interface `eth7`")
    );
    assert_eq!(remarked("10.1.88.9/24/eth0"), None);
    let mut later = network();
    later.links.push(Link::sample(9, "eth7"));
    later.routes.push(route("10.9.9.0", 24, 9, 0));
    for open in ["10.9.9.9//eth7", "10.9.9.9"] {
        let found = resolve_now(open, &later).unwrap();
        assert_eq!(found.to_string(), "10.9.9.9/24 on eth7");
    }
}

#[test]
fn what_each_form_means() {
    let table = [
        ("10.1.88.199", "10.1.88.199/24 on eth0 brd 10.1.88.255"),
        ("10.1.7.9", "10.1.7.9/16 on eth1 brd 10.1.255.255"),
        (
            "10.1.88.199/24/eth0:1",
            "10.1.88.199/24 on eth0 label eth0:1 brd 10.1.88.255",
        ),
        ("10.1.88.199/25", "10.1.88.199/25 on eth0 brd 10.1.88.255"),
        ("10.1.88.99/25", "10.1.88.99/25 on eth0 brd 10.1.88.127"),
        (
            "10.1.88.199/255.255.255.0/eth1",
            "10.1.88.199/24 on eth1 brd 10.1.88.255",
        ),
        (
            "10.1.88.199/24/10.1.88.250",
            "10.1.88.199/24 on eth0 brd 10.1.88.250",
        ),
        (
            "10.1.88.199/24/eth2/10.1.88.250",
            "10.1.88.199/24 on eth2 brd 10.1.88.250",
        ),
        (
            "10.1.88.199//eth2",
            "10.1.88.199/24 on eth2 brd 10.1.88.255",
        ),
        ("192.168.5.5/24", "192.168.5.5/24 on eth0 brd 192.168.5.255"),
        ("10.1.88.199/32/eth0", "10.1.88.199/32 on eth0"),
        ("127.0.0.9", "127.0.0.9/8 on lo brd 127.255.255.255"),
        ("fd00::9", "fd00::9/64 on eth1"),
        ("fd00:0:0:0:0:0:0:9/128/eth0", "fd00::9/128 on eth0"),
    ];
    for (argument, meaning) in table {
        assert_eq!(shown(argument), meaning, "{argument}");
    }
}

#[test]
fn what_each_mistake_earns() {
    let table = [
        (
            "10.1.88.256",
            "`10.1.88.256` is not an IPv4 address: 256 is greater than 255",
        ),
        (
            "10.1.88",
            "`10.1.88` is not an IPv4 address: it has 3 numbers instead of 4",
        ),
        (
            "10.1.88.010",
            "`10.1.88.010` is not an IPv4 address: `010` has a leading zero",
        ),
        (
            "10.1..5",
            "`10.1..5` is not an IPv4 address: a number is missing",
        ),
        ("web", "`web` is not an IP address"),
        ("", "`` is not an IP address"),
        (
            "10.1.88.9/33",
            "`33` is not a prefix length: it must be a number from 1 to 32",
        ),
        (
            "10.1.88.9/0",
            "`0` is not a prefix length: it must be a number from 1 to 32",
        ),
        (
            "fd00::9/129",
            "`129` is not a prefix length: it must be a number from 1 to 128",
        ),
        (
            "10.1.88.9/255.0.255.0",
            "`255.0.255.0` is not a netmask: a zero bit comes before a one bit",
        ),
        (
            "10.1.88.9/24/an-interface-of-a-dream",
            "no interface can have the name `an-interface-of-a-dream`: it has 23 characters, and the kernel takes at most 15",
        ),
        (
            "10.1.88.9/24/eth0:loadbalancer1",
            "the label `eth0:loadbalancer1` has 18 characters; the kernel takes at most 15",
        ),
        ("10.1.88.9/24/eth0:", "the label after `eth0:` is empty"),
        ("10.1.88.9/24/:1", "`:1` names no interface"),
        (
            "fd00::9/64/eth1:1",
            "`eth1:1` is a label, and IPv6 addresses have no labels",
        ),
        (
            "fd00::9/64/eth1/10.0.0.1",
            "`10.0.0.1` is in the place of a broadcast address, and IPv6 has none",
        ),
        (
            "10.1.88.9/24/eth0/10.1.88.255/x",
            "`x` is one part too many in `10.1.88.9/24/eth0/10.1.88.255/x`",
        ),
        (
            "10.1.88.9/24/eth0/eth1",
            "`eth1` is not a broadcast address",
        ),
        (
            "10.1.88.0/24/eth0",
            "10.1.88.0 is the network address of its network (/24); no node can have it",
        ),
        (
            "10.1.88.255",
            "10.1.88.255 is the broadcast address of its network (/24); no node can have it",
        ),
        (
            "224.0.0.1/24",
            "224.0.0.1 is a multicast address; no node can have it",
        ),
        (
            "192.168.5.5",
            "192.168.5.5 belongs to no connected network of this node, so neither its interface nor its prefix length is known",
        ),
        (
            "192.168.5.5//eth1",
            "192.168.5.5 belongs to no network that is connected to eth1, so its prefix length is not known",
        ),
    ];
    for (argument, error) in table {
        assert_eq!(shown(argument), format!("error: {error}"), "{argument}");
    }
}

#[test]
fn what_is_in_no_network_here_is_remarked_unless_its_interface_is_written() {
    let remarked = |argument: &str| remark(argument, false, &network()).map(|m| m.message);
    for usual in [
        "10.1.88.199",
        "10.1.88.199/32",
        "10.1.7.9/24",
        "fd00::9/128",
        "127.0.0.9/8",
        "192.168.5.5/24/eth1",
        "192.168.5.5/24/eth0:1",
        // An error of its own.
        "web",
    ] {
        assert_eq!(remarked(usual), None, "{usual}");
    }
    assert_eq!(
        remarked("192.168.5.5/24").unwrap(),
        "192.168.5.5 is in no network of this node; it would be put on eth0, which reaches it only through a gateway"
    );
}

proptest::proptest! {
    #[test]
    fn no_argument_makes_the_reader_fall(argument in "[0-9a-f:./et ]{0,40}") {
        let _meaning = resolve(&argument, &network());
    }
}
