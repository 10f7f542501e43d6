use super::*;
use crate::model::LinkName;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn medium(interface: &str, peer: Option<&str>) -> Medium {
    Medium {
        link: LinkName::new(interface),
        interface: interface.to_owned(),
        port: 694,
        target: peer.map_or(Target::Broadcast, |p| Target::Unicast(ip(p))),
    }
}

fn vip(text: &str, prefix: Option<u8>, interface: Option<&str>) -> PlannedAddress {
    PlannedAddress {
        address: ip(text),
        prefix,
        interface: interface.map(str::to_owned),
    }
}

fn derive(
    here: Option<&str>,
    media: &[Medium],
    pings: &[&str],
    addresses: &[PlannedAddress],
) -> Result<LabPlan, LabError> {
    let nodes = [NodeName::new("alice"), NodeName::new("bob")];
    let pings: Vec<IpAddr> = pings.iter().map(|p| ip(p)).collect();
    plan(&PlanBuilder {
        name: "d".into(),
        nodes: &nodes,
        here: here.map(NodeName::new),
        media,
        pings: &pings,
        addresses,
        config_dir: "/c".into(),
        had: "had".into(),
        hactl: "hactl".into(),
    })
}

/// `alice eth0 10.0.0.1/24 ...` for each node and card.
fn cards_of(plan: &LabPlan) -> Vec<String> {
    let mut all = Vec::new();
    for node in &plan.nodes {
        for card in &node.interfaces {
            let addresses: Vec<String> = card
                .addresses
                .iter()
                .map(|(a, p)| format!("{a}/{p}"))
                .collect();
            all.push(format!(
                "{} {} {}",
                node.name,
                card.name,
                addresses.join(" ")
            ));
        }
    }
    all
}

#[test]
fn a_ucast_line_per_node_says_it_all() {
    let media = [
        medium("eth0", Some("192.168.1.1")),
        medium("eth0", Some("192.168.1.2")),
    ];
    let p = derive(
        None,
        &media,
        &["192.168.1.254"],
        &[vip("192.168.1.100", Some(24), Some("eth0:0"))],
    )
    .unwrap();
    assert_eq!(
        cards_of(&p),
        ["alice eth0 192.168.1.1/24", "bob eth0 192.168.1.2/24"]
    );
    assert_eq!(p.nodes[0].ha_cf_lines, [] as [String; 0]);
    assert_eq!(p.pings.len(), 1);
    assert_eq!(
        (p.pings[0].segment.as_str(), p.pings[0].prefix),
        ("eth0", 24)
    );
    assert_eq!(p.client, [("eth0".to_owned(), ip("192.168.1.11"), 24)]);
}

#[test]
fn a_single_ucast_line_is_the_peers_and_is_mirrored() {
    let media = [medium("eth1", Some("10.1.1.2"))];
    let p = derive(None, &media, &[], &[]).unwrap();
    assert_eq!(
        cards_of(&p),
        ["alice eth1 10.1.1.11/24", "bob eth1 10.1.1.2/24"]
    );
    assert_eq!(p.nodes[1].ha_cf_lines, ["ucast eth1 10.1.1.11"]);
    let p = derive(Some("bob"), &media, &[], &[]).unwrap();
    assert_eq!(
        cards_of(&p),
        ["alice eth1 10.1.1.2/24", "bob eth1 10.1.1.11/24"]
    );
}

#[test]
fn more_ucast_lines_than_nodes_are_refused() {
    let media = [
        medium("eth0", Some("10.0.0.1")),
        medium("eth0", Some("10.0.0.2")),
        medium("eth0", Some("10.0.0.3")),
    ];
    let error = derive(None, &media, &[], &[]).unwrap_err().to_string();
    assert!(error.contains("3 addresses on eth0"), "{error}");
}

#[test]
fn broadcast_takes_the_subnet_of_the_virtual_addresses() {
    let media = [medium("eth0", None), medium("eth1", None)];
    let p = derive(
        None,
        &media,
        &[],
        &[
            vip("172.16.0.5", Some(32), None),
            vip("172.16.0.6", None, None),
        ],
    )
    .unwrap();
    assert_eq!(
        cards_of(&p),
        [
            "alice eth0 172.16.0.11/24",
            "alice eth1 198.18.1.11/24",
            "bob eth0 172.16.0.12/24",
            "bob eth1 198.18.1.12/24"
        ]
    );
}

#[test]
fn nothing_is_given_twice_and_a_wider_subnet_swallows_a_narrower() {
    let media = [medium("eth0", None)];
    let vips: Vec<PlannedAddress> = (11..=20)
        .map(|n| vip(&format!("10.0.0.{n}"), None, None))
        .collect();
    let wide = vip("10.0.9.9", Some(16), Some("eth0"));
    let all: Vec<PlannedAddress> = vips.into_iter().chain([wide]).collect();
    let p = derive(None, &media, &["10.0.0.21"], &all).unwrap();
    assert_eq!(
        cards_of(&p),
        ["alice eth0 10.0.0.22/16", "bob eth0 10.0.0.23/16"]
    );
}

#[test]
fn addresses_of_both_families_share_a_card() {
    let media = [
        medium("eth0", Some("fd00::1")),
        medium("eth0", Some("fd00::2")),
    ];
    let p = derive(
        None,
        &media,
        &["10.0.0.254"],
        &[
            vip("10.0.0.100", None, Some("eth0")),
            vip("127.0.0.5", None, Some("lo")),
        ],
    )
    .unwrap();
    assert_eq!(
        cards_of(&p),
        [
            "alice eth0 fd00::1/64 10.0.0.11/24",
            "bob eth0 fd00::2/64 10.0.0.12/24"
        ]
    );
}

#[test]
fn a_full_subnet_is_an_error() {
    let media = [medium("eth0", None)];
    let vips: Vec<PlannedAddress> = (1..=2)
        .map(|n| vip(&format!("10.0.0.{n}"), Some(30), None))
        .collect();
    let error = derive(None, &media, &[], &vips).unwrap_err().to_string();
    assert!(error.contains("10.0.0.0/30"), "{error}");
}

#[test]
fn without_any_medium_there_is_still_a_network() {
    let p = derive(None, &[], &[], &[]).unwrap();
    assert_eq!(
        cards_of(&p),
        ["alice eth0 198.18.0.11/24", "bob eth0 198.18.0.12/24"]
    );
}
