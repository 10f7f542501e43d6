use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::model::drbd::Standing;
use crate::model::hardware_address::HardwareAddress;
use crate::model::health::FailedCheck;
use crate::model::heartbeat::GoneNode;
use crate::model::heartbeat::LeftNode;
use crate::model::heartbeat::{GroupReport, GroupState, Heard, Recognition, Withheld};
use crate::model::identity::{FirstLife, Namesake};
use crate::model::keys::{Key, Method};
use crate::model::peer_message::{Fenced, PeerMessage, PeerMessageBody, PeerQuestion, PeerReply};
use crate::model::readiness::{ComparedTree, DefaultRoutes, Lack, Readiness};
use crate::model::{GroupName, LinkName, Term};
use crate::wire::decode;

fn keys() -> Keys {
    keyed(Method::Sha256, "a secret")
}

fn keyed(method: Method, secret: &str) -> Keys {
    let key = Key {
        method,
        secret: secret.into(),
    };
    Keys {
        signing: 1,
        keys: [(1, key)].into(),
    }
}

fn envelope() -> Envelope {
    Envelope {
        uuid: *b"\x2f\x71\x1c\xca\x48\xb1\x44\xdd\xb4\x8a\xaf\x83\xf2\x6a\x83\x02",
        wall_seconds: 0x6b00_e19a,
        loadavg: "1.78 1.27 0.65 2/115 18342".into(),
        ttl: 3,
        cluster: "ha".into(),
    }
}

/// Two nodes with so many groups, all online at alice, as bob tells it after some months.
fn usual(groups: usize) -> Heartbeat {
    let alice = NodeName::new("alice");
    let report = |n| GroupReport {
        group: GroupName::new(&format!("IPaddr::192.168.10.{n}/24/eth0")),
        state: GroupState::Offline,
        term: Term(0x21),
        can: true,
        offer: None,
        to: Some(Recognition {
            node: alice.clone(),
            generation: Generation(0x6b00_e19b),
            term: Term(0x22),
            held: true,
        }),
    };
    Heartbeat {
        deadtime: Duration::from_secs(8),
        heard: vec![Heard {
            instance: None,
            node: alice.clone(),
            generation: Generation(0x6b00_e19b),
            sequence: Sequence(0x23_4568),
            loss: 0,
            links: vec![LinkName::new("eth0"), LinkName::new("eth1")],
        }],
        groups: (0..groups).map(report).collect(),
        reach: Reach {
            answering: 1,
            configured: 1,
        },
        digest: 0x9f86_d081_884c_7d65,
        voters: VotersReport {
            current: 0x1f2e_3d4c_5b6a_7988,
            ..VotersReport::default()
        },
        ..Heartbeat::new(
            NodeName::new("bob"),
            Generation(0x6b00_e1a0),
            Sequence(0x23_4567),
        )
    }
}

fn gone(node: &str, list: u64) -> GoneNode {
    GoneNode {
        node: NodeName::new(node),
        list,
    }
}

fn left(node: &str, generation: u64) -> LeftNode {
    LeftNode {
        node: NodeName::new(node),
        generation: Generation(generation),
    }
}

fn withheld(group: &str, answers: bool) -> Withheld {
    Withheld {
        group: GroupName::new(group),
        node: NodeName::new("alice"),
        answers,
    }
}

fn readiness() -> Readiness {
    let lack = |group: Option<&str>, text: &str| Lack {
        group: group.map(GroupName::new),
        text: text.to_owned(),
    };
    let tree = |key, digest| ComparedTree {
        path: None,
        key,
        digest,
    };
    Readiness {
        version: "0.1.0".to_owned(),
        routes: DefaultRoutes {
            v4: true,
            v6: false,
        },
        usual_routes: DefaultRoutes { v4: true, v6: true },
        lacks: vec![lack(None, "disk full"), lack(Some("a b"), "no /mnt")],
        trees: vec![tree(7, Some(0x9f)), tree(0x18, None)],
    }
}

/// What is for people only never costs a heartbeat.
#[test]
fn readiness_that_cannot_be_read_is_not_said() {
    let hb = usual(1);
    let env = envelope();
    let mut message = write(&hb, &env);
    for (name, bad) in [("ry", "0.1.0,x"), ("la", "%zz,a b"), ("ct", "a,zz")] {
        message.string(name, bad);
    }
    assert_eq!(read(&message, "ha"), Ok(hb));
}

#[test]
fn it_looks_as_the_table_says() {
    let mut hb = usual(2);
    hb.groups[0].offer = Some(NodeName::new("carol"));
    hb.groups[1].to = Some(Recognition {
        node: NodeName::new("bob"),
        generation: Generation(7),
        term: Term(0x21),
        held: false,
    });
    hb.intent.standby = vec![GroupName::new("a b"), GroupName::new("50%")];
    hb.failed_checks = [
        ("web", None, false, "no answer, 50%"),
        ("sql", Some("a b"), true, ""),
    ]
    .map(|(check, group, pending, text)| FailedCheck {
        check: check.to_owned(),
        group: group.map(GroupName::new),
        pending,
        text: text.to_owned(),
    })
    .to_vec();
    hb.intent.back_within = Some(Duration::from_secs(30));
    hb.hardware = ["525400aabb0c", "0a0000000001"]
        .map(|digits| HardwareAddress::from_digits(digits).unwrap())
        .to_vec();
    hb.withheld = vec![withheld("a b", true), withheld("db", false)];
    hb.heard[0].loss = 200;
    hb.voters.former = vec![7];
    hb.voters.gone = vec![gone("dave", 7)];
    hb.left = vec![left("da ve", 31)];
    hb.readiness = readiness();
    let env = envelope();
    let text = String::from_utf8(write(&hb, &env).to_text()).unwrap();
    let expected = "t=status\nst=active\ndt=1f40\nprotocol=1\nsrc=bob\n(1)srcuuid=L3EcykixRN20iq+D8mqDAg==\n\
        seq=234567\nhg=6b00e1a0\nts=6b00e19a\nld=1.78 1.27 0.65 2/115 18342\nttl=3\n\
        had=1\npv=1-1\ncn=ha\ncd=9f86d081884c7d65\nme=active + 1/1\nh=alice@6b00e19b#234568,eth0,eth1\n\
        lo=c8\nsb=a%20b 50%25\nai=web,-,no%20answer%2c%2050%25 sql@a%20b,?\nwh=a%20b,alice db,alice,?\nhw=525400aabb0c 0a0000000001\nbk=7530\n\
        vo=1f2e3d4c5b6a7988 7\nfo=dave,7\ngb=da%20ve@1f\n\
        ry=0.1.0,4,46\nla=,disk%20full a%20b,no%20/mnt\nct=7,9f 18,-\n\
        g=IPaddr::192.168.10.0/24/eth0,f+21,>carol,=alice#22 IPaddr::192.168.10.1/24/eth0,f+21,~@7\n";
    assert_eq!(text, expected);
}

#[test]
fn it_is_small() {
    let size = |groups| encode(&usual(groups), &envelope(), &keys()).len();
    assert!(size(1) < 520, "{}", size(1));
    assert!(size(10) < 1024, "{}", size(10));
}

#[test]
fn every_truncation_and_every_flipped_bit_is_refused() {
    for method in [Method::Crc, Method::Md5, Method::Sha1, Method::Sha256] {
        let keys = keyed(method, "a secret");
        let whole = encode(&usual(2), &envelope(), &keys);
        assert_eq!(decode(&whole, &keys, "ha"), Ok(usual(2)));
        for end in 0..whole.len() {
            assert!(decode(&whole[..end], &keys, "ha").is_err(), "cut at {end}");
        }
        for bit in 0..whole.len() * 8 {
            let mut bent = whole.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bent, &keys, "ha").is_err(), "{method:?} bit {bit}");
        }
    }
}

#[test]
fn a_cluster_without_a_name_is_a_cluster_too() {
    let env = Envelope {
        cluster: String::new(),
        ..envelope()
    };
    let bytes = encode(&usual(1), &env, &keys());
    assert_eq!(decode(&bytes, &keys(), ""), Ok(usual(1)));
    assert_eq!(decode(&bytes, &keys(), "ha"), Err(Refused::OtherCluster));
}

#[test]
fn strangers_are_told_apart() {
    let env = envelope();
    let verdict = |keys: &Keys, cluster: &str, change: &dyn Fn(&mut Message<'_>)| {
        let hb = usual(1);
        let mut m = write(&hb, &env);
        change(&mut m);
        let signed = m.to_netstrings();
        let (index, digest) = auth::sign(keys, &signed);
        decode(
            &message::close(signed, index, &digest),
            &self::keys(),
            cluster,
        )
        .map(|_| ())
    };
    let drop = |name: &'static str| {
        move |m: &mut Message<'_>| m.fields.retain(|f| *f.name != *name.as_bytes())
    };
    let put = |name: &'static str, value: &'static str| {
        move |m: &mut Message<'_>| {
            m.fields.retain(|f| *f.name != *name.as_bytes());
            m.string(name, value);
        }
    };
    let (ours, same) = (keys(), |_: &mut Message<'_>| {});
    assert_eq!(verdict(&ours, "ha", &same), Ok(()));
    assert_eq!(verdict(&ours, "other", &same), Err(Refused::OtherCluster));
    assert_eq!(
        verdict(&keyed(Method::Sha256, "x"), "ha", &same),
        Err(Refused::BadDigest)
    );
    assert_eq!(
        verdict(&keyed(Method::Sha1, "a secret"), "ha", &same),
        Err(Refused::BadDigest)
    );
    assert_eq!(
        verdict(&ours, "ha", &drop("had")),
        Err(Refused::ForeignHeartbeat)
    );
    assert_eq!(
        verdict(&ours, "ha", &put("t", "reqnodes")),
        Err(Refused::ForeignHeartbeat)
    );
    assert_eq!(
        verdict(&ours, "ha", &put("had", "2")),
        Err(Refused::OtherVersion)
    );
    assert_eq!(verdict(&ours, "ha", &put("new", "field")), Ok(()));
    for name in ["src", "seq", "hg", "dt", "cd", "me"] {
        assert!(
            matches!(
                verdict(&ours, "ha", &drop(name)),
                Err(Refused::Malformed(_))
            ),
            "{name}"
        );
        assert!(
            matches!(
                verdict(&ours, "ha", &put(name, "\u{7}")),
                Err(Refused::Malformed(_))
            ) || name == "src"
        );
    }
    let mut two = ours.clone();
    two.signing = 2;
    two.keys.insert(2, ours.keys[&1].clone());
    assert_eq!(verdict(&two, "ha", &same), Err(Refused::UnknownKey(2)));
}

fn node() -> impl Strategy<Value = NodeName> {
    "[a-c]|\\PC{1,12}|[ -~\n\u{1}]{1,6}".prop_map(|s| NodeName::new(&s))
}

#[test]
fn of_a_heartbeat_of_another_version_its_sender_and_its_versions_are_read() {
    let read = |change: &[(&str, &str)]| {
        let (hb, env) = (usual(1), envelope());
        let mut m = write(&hb, &env);
        for (name, value) in change {
            for field in m.fields.iter_mut().filter(|f| *f.name == *name.as_bytes()) {
                field.value = value.as_bytes().to_vec().into();
            }
        }
        let signed = m.to_netstrings();
        let (index, digest) = auth::sign(&keys(), &signed);
        let bytes = message::close(signed, index, &digest);
        assert!(decode(&bytes, &keys(), "ha").is_err());
        let other_key = keyed(Method::Sha256, "another");
        assert_eq!(
            crate::wire::decode_unreadable(&bytes, &other_key, "ha", 5),
            None
        );
        assert_eq!(
            crate::wire::decode_unreadable(&bytes, &keys(), "hb", 5),
            None
        );
        let read = crate::wire::decode_unreadable(&bytes, &keys(), "ha", 5)?;
        assert_eq!(read.src, NodeName::new("bob"));
        Some((read.generation.0, read.sequence.0, read.in_words()))
    };
    let upgrade = "bob speaks version 2 to 3 of the protocol, this node speaks version 1: upgrade one of them";
    let unread =
        "bob sends heartbeats that this node cannot read: run the same version of had on both";
    let (generation, sequence) = (0x6b00_e1a0, 0x23_4567);
    for (change, expected) in [
        (
            &[("had", "3"), ("pv", "2-3")][..],
            (generation, sequence, upgrade),
        ),
        (
            &[("had", "new"), ("pv", "?")],
            (generation, sequence, unread),
        ),
        (&[("me", "asleep")], (generation, sequence, unread)),
        (
            &[("had", "3"), ("pv", "2-3"), ("seq", "none")],
            (u64::MAX, 5, upgrade),
        ),
    ] {
        let (generation, sequence, words) = expected;
        assert_eq!(read(change), Some((generation, sequence, words.to_owned())));
    }
    assert_eq!(read(&[("had", "3"), ("src", "")]), None);
}

fn group_name() -> impl Strategy<Value = GroupName> {
    "[ -~]{1,20}|\\PC{1,20}".prop_map(|s| GroupName::new(&s))
}

fn group_names() -> impl Strategy<Value = Vec<GroupName>> {
    vec(group_name(), 0..3)
}

fn heard() -> impl Strategy<Value = Heard> {
    let link = "[ -~]{1,8}".prop_map(|s| LinkName::new(&s));
    let numbers = (0..3_u64, any::<u64>(), any::<u16>());
    (node(), numbers, vec(link, 0..3)).prop_map(|(node, (g, s, loss), links)| Heard {
        instance: None,
        node,
        loss,
        generation: Generation(g),
        sequence: Sequence(s),
        links,
    })
}

fn recognition() -> impl Strategy<Value = Recognition> {
    (node(), 0..3_u64, 0..3_u64, any::<bool>()).prop_map(|(node, g, t, held)| Recognition {
        node,
        generation: Generation(g),
        term: Term(t),
        held,
    })
}

fn state() -> impl Strategy<Value = GroupState> {
    prop::sample::select(vec![
        GroupState::Unknown,
        GroupState::Offline,
        GroupState::Claiming,
        GroupState::Starting,
        GroupState::Online,
        GroupState::Stopping,
        GroupState::Failed,
        GroupState::Stuck,
    ])
}

fn report() -> impl Strategy<Value = GroupReport> {
    let term = prop_oneof![0..3_u64, any::<u64>()];
    let names = (option::of(node()), option::of(recognition()));
    (group_name(), state(), term, any::<bool>(), names).prop_map(
        |(group, state, term, can, (offer, to))| GroupReport {
            group,
            state,
            term: Term(term),
            can,
            offer,
            to,
        },
    )
}

fn any_withheld() -> impl Strategy<Value = Withheld> {
    (group_name(), node(), any::<bool>()).prop_map(|(group, node, answers)| Withheld {
        group,
        node,
        answers,
    })
}

fn intent() -> impl Strategy<Value = Intent> {
    let back = option::of((0..1_u64 << 40).prop_map(Duration::from_millis));
    (
        group_names(),
        group_names(),
        group_names(),
        group_names(),
        group_names(),
        back,
    )
        .prop_map(
            |(standby, yielding, wanted, forced, maintenance, back_within)| Intent {
                standby,
                yielding,
                wanted,
                forced,
                maintenance,
                back_within,
            },
        )
}

fn failed_check() -> impl Strategy<Value = FailedCheck> {
    let text = "[ -~\u{e0}-\u{17f}]{0,20}";
    let group = prop::option::of("[a-z#@,% ]{1,8}");
    ("[a-z#@,% ]{1,8}", group, any::<bool>(), text).prop_map(|(check, group, pending, text)| {
        FailedCheck {
            check,
            group: group.map(|g| GroupName::new(&g)),
            pending,
            text,
        }
    })
}

fn peer_message() -> impl Strategy<Value = PeerMessage> {
    let body = prop_oneof![
        ".{0,9}".prop_map(|r| PeerMessageBody::Ask(PeerQuestion::Drbd(r))),
        (".{0,9}", any::<bool>()).prop_map(|(resource, primary)| PeerMessageBody::Ask(
            PeerQuestion::Outdate { resource, primary }
        )),
        ".{0,9}".prop_map(|why| PeerMessageBody::Reply(Err(why))),
        Just(PeerMessageBody::Reply(Ok(PeerReply::Outdate(
            Fenced::Ahead
        )))),
        any::<u64>().prop_map(|ago| PeerMessageBody::Reply(Ok(PeerReply::Drbd(Standing {
            ahead_for: Some(ago),
            ..Standing::default()
        })))),
    ];
    (node(), any::<u64>(), body).prop_map(|(to, id, body)| PeerMessage { to, id, body })
}

fn voters() -> impl Strategy<Value = VotersReport> {
    let lists = (1..=u64::MAX, vec(any::<u64>(), 0..3));
    let gone = (node(), any::<u64>()).prop_map(|(node, list)| GoneNode { node, list });
    (lists, vec(gone, 0..3)).prop_map(|((current, former), gone)| VotersReport {
        current,
        former,
        gone,
    })
}

fn any_heartbeat() -> impl Strategy<Value = Heartbeat> {
    let phase = prop::sample::select(vec![
        Phase::Init,
        Phase::Active,
        Phase::Leaving,
        Phase::Left,
    ]);
    let numbers = (0..3_u64, any::<u64>(), 0..1_u64 << 40, any::<u64>());
    let state = (phase, any::<bool>(), any::<(u16, u16)>());
    (
        node(),
        numbers,
        state,
        vec(heard(), 0..4),
        vec(report(), 0..6),
        (
            intent(),
            vec(any_withheld(), 0..3),
            vec(any::<[u8; 6]>(), 0..3),
            vec(failed_check(), 0..3),
            vec(peer_message(), 0..3),
            (voters(), vec((node(), any::<u64>()), 0..3)),
        ),
    )
        .prop_map(
            |(
                src,
                (generation, sequence, dt, digest),
                (phase, quorate, reach),
                heard,
                groups,
                (intent, withheld, hardware, failed_checks, peer_messages, (voters, gone)),
            )| Heartbeat {
                src,
                generation: Generation(generation),
                sequence: Sequence(sequence),
                phase,
                deadtime: Duration::from_millis(dt),
                heard,
                groups,
                reach: Reach {
                    answering: reach.0,
                    configured: reach.1,
                },
                quorate,
                intent,
                withheld,
                hardware: hardware.into_iter().map(HardwareAddress).collect(),
                failed_checks,
                peer_messages,
                readiness: if digest % 2 == 0 {
                    readiness()
                } else {
                    Readiness::default()
                },
                digest,
                identity: Identity {
                    instance: (digest % 3 > 0).then_some(Instance(digest)),
                    succeeds: (digest % 3 > 1).then_some(Instance(sequence)),
                },
                namesakes: Vec::new(),
                voters,
                left: gone.into_iter().map(|(n, g)| left(n.as_str(), g)).collect(),
            },
        )
}

proptest! {
    #[test]
    fn every_heartbeat_round_trips(hb in any_heartbeat()) {
        let bytes = encode(&hb, &envelope(), &keys());
        prop_assert_eq!(decode(&bytes, &keys(), "ha"), Ok(hb));
    }

    #[test]
    fn every_namesake_round_trips(
        node in node(),
        numbers in any::<(u64, u64, u64)>(),
        first in prop::sample::select(vec![FirstLife::MayLive, FirstLife::Lives, FirstLife::Gone]),
        addresses in any::<(Option<std::net::IpAddr>, Option<std::net::IpAddr>)>(),
    ) {
        let mut hb = usual(0);
        hb.heard[0].instance = Some(Instance(numbers.2));
        hb.namesakes = vec![Namesake {
            node,
            instance: Instance(numbers.0),
            generation: Generation(numbers.1),
            sequence: Sequence(numbers.2),
            first,
            first_address: addresses.0,
            address: addresses.1,
        }];
        let bytes = encode(&hb, &envelope(), &keys());
        prop_assert_eq!(decode(&bytes, &keys(), "ha"), Ok(hb));
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(decode(&bytes, &keys(), "ha").is_err());
    }

    /// What a holder of the key may send: our fields with anything in them.
    #[test]
    fn signed_nonsense_does_not_panic(
        name in prop::sample::select(vec!["src", "dt", "seq", "hg", "cd", "me", "h", "sb", "ai", "bk", "vo", "fo", "gb", "g", "had", "cn", "t"]),
        value in "[a-c@#,=~>+%f0-9 /-]{0,30}|\\PC{0,20}",
    ) {
        let (hb, env) = (usual(1), envelope());
        let mut m = write(&hb, &env);
        for field in &mut m.fields {
            if *field.name == *name.as_bytes() {
                field.value = value.as_bytes().into();
            }
        }
        let signed = m.to_netstrings();
        let (index, digest) = auth::sign(&keys(), &signed);
        if let Ok(hb) = decode(&message::close(signed, index, &digest), &keys(), "ha") {
            let again = encode(&hb, &env, &keys());
            prop_assert_eq!(decode(&again, &keys(), "ha"), Ok(hb));
        }
    }
}
