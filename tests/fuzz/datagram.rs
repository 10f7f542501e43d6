//! Datagrams: as a stranger sends them, and as one that knows the secret.

use std::time::Duration;

use had::model::hardware_address::HardwareAddress;
use had::model::health::FailedCheck;
use had::model::heartbeat::{
    GoneNode, GroupReport, GroupState, Heard, Heartbeat, Intent, LeftNode, Phase, Reach,
    Recognition, VotersReport, Withheld,
};
use had::model::identity::{FirstLife, Identity, Instance, Namesake};
use had::model::keys::{Key, Keys, Method};
use had::model::peer_message::{PeerMessage, PeerMessageBody, PeerQuestion};
use had::model::readiness::{ComparedTree, DefaultRoutes, Lack, Readiness};
use had::model::{Generation, GroupName, LinkName, NodeName, Sequence, Term};
use had::wire::{Envelope, Refused, auth, decode, encode, message};

use crate::harness::Target;

pub const CLUSTER: &str = "linux-ha";

/// Words of a heartbeat.
pub const WORDS: &[&str] = &[
    "t=status",
    "had=1",
    "src=alice",
    "src=bob",
    "seq=",
    "hg=ffffffffffffffff",
    "hg=1",
    "cn=linux-ha",
    "me=active + 1/2",
    "me=left - 0/0",
    "me=leaving + 65535/65535",
    "me=init - 0/0",
    "h=alice@1#1,eth0",
    "h=alice@ffffffffffffffff#ffffffffffffffff",
    "bk=ffffffffffffffff",
    "bk=1",
    "sb=g1",
    "wa=g1",
    "ma=g1 g2",
    "yi=g1",
    "g=g1,o+1,=",
    "ai=web,-,no%20answer sql,?",
    "ai=failback_when,-",
    "le=bob,1f,{}",
    "g=g1,c+ffffffffffffffff,~",
    "g1,k-0",
    "g1,u+5",
    "g1,o+fffffffffffffffe,>bob",
    ",=alice@1#1",
    ",~carol@5#9",
    "###\n",
    "%%%\n",
    ">>>\n",
    "<<<\n",
    "auth=1 ",
    "(0)",
    "(1)",
    "(2)",
    "(5)",
    "(9)",
    "0:",
    "999999:",
    "5:(0)a=,",
    ",",
    ":",
    " ",
    "@",
    "#",
    "%2",
    "%ff",
    "dt=0",
    "cd=1",
    "cd=0",
];

pub fn keys() -> Keys {
    let key = Key {
        method: Method::Sha1,
        secret: b"a-key-for-a-test".to_vec(),
    };
    Keys {
        signing: 1,
        keys: [(1, key)].into(),
    }
}

fn readiness() -> Readiness {
    Readiness {
        version: "0.1.0".to_owned(),
        routes: DefaultRoutes {
            v4: true,
            v6: false,
        },
        usual_routes: DefaultRoutes { v4: true, v6: true },
        lacks: vec![Lack {
            group: Some(GroupName::new("g1")),
            text: "no script".to_owned(),
        }],
        trees: vec![ComparedTree::of("/etc/nginx", Some(7))],
    }
}

/// A heartbeat with everything in it.
pub fn full(src: &str, peer: &str) -> Heartbeat {
    let report = |group: &str, state, term, node: &str| GroupReport {
        group: GroupName::new(group),
        state,
        term: Term(term),
        can: true,
        offer: Some(NodeName::new(peer)),
        to: Some(Recognition {
            node: NodeName::new(node),
            generation: Generation(1),
            term: Term(term),
            held: true,
        }),
    };
    let identity = Identity {
        instance: Some(Instance(7)),
        succeeds: Some(Instance(6)),
    };
    let namesake = Namesake {
        node: NodeName::new(peer),
        instance: Instance(9),
        generation: Generation(1),
        sequence: Sequence(5),
        first: FirstLife::Lives,
        first_address: Some([10, 0, 0, 1].into()),
        address: Some([10, 0, 0, 7].into()),
    };
    let left = LeftNode {
        node: NodeName::new(peer),
        generation: Generation(1),
    };
    Heartbeat {
        left: vec![left],
        identity,
        namesakes: vec![namesake],
        src: NodeName::new(src),
        generation: Generation(1),
        sequence: Sequence(1000),
        phase: Phase::Active,
        deadtime: Duration::from_secs(2),
        heard: vec![Heard {
            instance: None,
            node: NodeName::new(peer),
            generation: Generation(1),
            sequence: Sequence(3),
            loss: 0,
            links: vec![LinkName::new("eth0"), LinkName::new("eth1")],
        }],
        groups: vec![
            report("g1", GroupState::Online, 1, src),
            report("g2", GroupState::Claiming, 2, peer),
        ],
        reach: Reach {
            answering: 1,
            configured: 1,
        },
        quorate: true,
        intent: Intent {
            standby: vec![GroupName::new("g2")],
            wanted: vec![GroupName::new("g1")],
            back_within: Some(Duration::from_secs(3)),
            ..Intent::default()
        },
        hardware: vec![HardwareAddress([2, 0, 0, 0, 0, 7])],
        withheld: vec![Withheld {
            group: GroupName::new("g2"),
            node: NodeName::new("carol"),
            answers: true,
        }],
        failed_checks: [
            ("web", Some("g1"), false, "no answer"),
            ("failback_when", None, true, ""),
        ]
        .map(|(check, group, pending, text)| FailedCheck {
            check: check.to_owned(),
            group: group.map(GroupName::new),
            pending,
            text: text.to_owned(),
        })
        .into(),
        peer_messages: vec![PeerMessage {
            to: NodeName::new(peer),
            id: 7,
            body: PeerMessageBody::Ask(PeerQuestion::Drbd("db".into())),
        }],
        readiness: readiness(),
        digest: 1,
        voters: VotersReport {
            current: 2,
            former: vec![3],
            gone: vec![GoneNode {
                node: NodeName::new("carol"),
                list: 3,
            }],
        },
    }
}

pub fn envelope() -> Envelope {
    Envelope {
        uuid: [7; 16],
        wall_seconds: 1_700_000_000,
        loadavg: "0.00 0.01 0.05 1/100 99".into(),
        ttl: 3,
        cluster: CLUSTER.into(),
    }
}

/// What is signed of some heartbeats: an example of what one that knows the secret sends.
pub fn unsigned() -> Vec<Vec<u8>> {
    let bare = Heartbeat {
        groups: vec![],
        heard: vec![],
        intent: Intent::default(),
        withheld: Vec::new(),
        hardware: Vec::new(),
        failed_checks: Vec::new(),
        peer_messages: Vec::new(),
        phase: Phase::Init,
        ..full("alice", "bob")
    };
    [full("alice", "bob"), full("bob", "alice"), bare]
        .iter()
        .map(|heartbeat| {
            let whole = encode(heartbeat, &envelope(), &keys());
            message::split(&whole).unwrap().signed.to_vec()
        })
        .collect()
}

/// Signed as it stands, in the framing of netstrings.
pub fn signed(bytes: &[u8]) -> Vec<u8> {
    let (index, digest) = auth::sign(&keys(), bytes);
    message::close(bytes.to_vec(), index, &digest)
}

/// The lengths and frame set right and signed: what is wrong now is what the fields say.
pub fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    let body = bytes.strip_prefix(b"###\n").unwrap_or(bytes);
    for piece in body.split(|b| *b == b',') {
        let digits = piece.iter().take_while(|b| b.is_ascii_digit()).count();
        match (fields.last_mut(), piece.get(digits..)) {
            (_, Some([b':', field @ ..])) => fields.push(field.to_vec()),
            (Some(last), _) => last.extend([b",", piece].concat()),
            (None, _) => fields.push(piece.to_vec()),
        }
    }
    let mut whole = b"###\n".to_vec();
    for field in fields.iter().filter(|f| f.contains(&b'=')) {
        whole.extend(format!("{}:", field.len()).bytes());
        whole.extend([field, &b","[..]].concat());
    }
    whole.extend(b"%%%\n");
    signed(&whole)
}

/// In the text framing, signed.
fn as_text(bytes: &[u8]) -> Vec<u8> {
    let (index, digest) = auth::sign(&keys(), bytes);
    [
        b">>>\n",
        bytes,
        format!("auth={index} {digest}\n<<<\n").as_bytes(),
    ]
    .concat()
}

/// Whatever is believed and understood says the same when it is said again.
fn judged(bytes: &[u8]) {
    if let Ok(heartbeat) = decode(bytes, &keys(), CLUSTER) {
        let again = encode(&heartbeat, &envelope(), &keys());
        let read = decode(&again, &keys(), CLUSTER);
        // What is said with escapes takes more room, and may take too much.
        assert!(
            read.as_ref() == Ok(&heartbeat) || read == Err(Refused::TooLong),
            "{heartbeat:#?}\nbecame\n{read:#?}"
        );
    }
}

#[test]
fn no_datagram_does_harm() {
    let mut examples = unsigned();
    for fields in [
        "t=status\nst=active\ndt=7d0\nprotocol=1\nsrc=alice\nseq=1\nhg=1\nts=1\nld=n/a\nttl=3\nhad=1\ncn=linux-ha\ncd=1\nme=active + 1/2\n",
        "(1)srcuuid=BwcHBwcHBwcHBwcHBwcHBw==\nt=ack\n(4)z=x\n",
    ] {
        examples.push(fields.into());
    }
    let target = Target {
        name: "datagram",
        runs: 8_000,
        examples,
        words: WORDS,
    };
    target.fuzz(|bytes| {
        judged(bytes);
        judged(&signed(bytes));
        judged(&framed(bytes));
        judged(&as_text(bytes));
    });
}
