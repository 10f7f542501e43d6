use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::config::TakeoverWaitRule;
use crate::model::cluster::QuorumPolicy;
use crate::model::keys::{Key, Method};

#[test]
fn a_change_of_the_key_in_three_steps_separates_nobody() {
    let keys = |signing: u8, secrets: &[(u8, &str)]| {
        let key = |(index, secret): &(u8, &str)| {
            let (method, secret) = (Method::Sha256, secret.as_bytes().to_vec());
            (*index, Key { method, secret })
        };
        let keys: BTreeMap<u8, Key> = secrets.iter().map(key).collect();
        Keys { signing, keys }
    };
    let steps = [
        keys(1, &[(1, "old")]),
        keys(1, &[(1, "old"), (2, "new")]),
        keys(2, &[(1, "old"), (2, "new")]),
        keys(2, &[(2, "new")]),
    ];
    for (from, to) in steps.iter().zip(&steps[1..]) {
        let text = key_change(from, to);
        assert!(
            text.ends_with("nodes with the new one hear each other"),
            "{text}"
        );
    }
    for (from, to) in [
        (&steps[0], &steps[2]),
        (&steps[0], &steps[3]),
        (&steps[0], &keys(1, &[(1, "new")])),
    ] {
        assert!(key_change(from, to).contains("do not hear each other"));
    }
}

fn example() -> Config {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("ha.d");
    let loaded = crate::config::load_on(&crate::config::HostFacts::elsewhere(), &dir, None);
    loaded.unwrap().config
}

type Change = fn(&mut Config);

/// A new field must be compared too, and have a row in the test below.
#[test]
fn no_field_is_missing_here() {
    let Config {
        dir: _,
        node: _,
        directives: _,
        nodes: _,
        witnesses: _,
        media: _,
        links: _,
        pings: _,
        timing: _,
        quorum: _,
        auto_failback: _,
        failback_delay: _,
        follow_connectivity: _,
        relay: _,
        udpport: _,
        cluster_name: _,
        logging: _,
        respawn: _,
        notify: _,
        compare: _,
        env: _,
        lease: _,
        realtime: _,
        rtprio: _,
        uuid_from_name: _,
        log_badpack: _,
        record: _,
        hopfudge: _,
        timeouts: _,
        takeover_waits: _,
        health: _,
        fence_devices: _,
        fencing: _,
        groups: _,
        keys: _,
        digest: _,
    } = example();
}

/// A change of the configuration is never "nothing changes". The groups are compared by the plan.
#[test]
fn every_field_is_compared() {
    let second = Duration::from_secs(1);
    let child = || Respawn {
        user: "root".to_owned(),
        command: vec!["/bin/child".to_owned()],
        failfast: false,
        place: Place::whole(Path::new("ha.cf")),
    };
    let live: [(Change, &str); 17] = [
        (
            |c| c.directives.push(("baud".into(), "1".into())),
            "HA_baud",
        ),
        (
            |c| c.nodes.push(NodeName::new("zoe")),
            "the nodes change from",
        ),
        (|c| c.witnesses = c.nodes.clone(), "(witness)"),
        (|c| c.pings.clear(), "to none"),
        (|c| c.timing.warntime *= 2, "warntime changes from"),
        (|c| c.quorum = QuorumPolicy::Ignore, "quorum changes from"),
        (
            |c| c.auto_failback = !c.auto_failback,
            "auto_failback changes",
        ),
        (|c| c.failback_delay *= 2, ""),
        (
            |c| c.follow_connectivity = !c.follow_connectivity,
            "follow_connectivity",
        ),
        (|c| c.relay = !c.relay, "relay changes from"),
        (|c| c.env.push(("ZONE".into(), "1".into())), "HA_ZONE"),
        (|c| c.lease = !c.lease, "lease of addresses"),
        (|c| c.log_badpack = !c.log_badpack, "log_badpack"),
        (|c| c.record = Some(1 << 30), "record changes from"),
        (|c| c.hopfudge += 1, "hopfudge"),
        (|c| c.fencing.for_all = true, "how nodes are fenced"),
        (
            |c| {
                c.takeover_waits.push(TakeoverWaitRule {
                    name: "script".to_owned(),
                    waits: true,
                });
            },
            "takeover_waits",
        ),
    ];
    let old = Config {
        failback_delay: second,
        ..example()
    };
    for (change, said) in live {
        let mut new = old.clone();
        change(&mut new);
        let lines = live_changes(&old, &new).join("\n");
        assert!(!lines.is_empty() && lines.contains(said), "{said}: {lines}");
    }
    let mut with_child = old.clone();
    with_child.respawn.push(child());
    for (from, to, said) in [
        (&old, &with_child, "the child is started"),
        (&with_child, &old, "is killed"),
    ] {
        let lines = live_changes(from, to).join("\n");
        assert!(
            lines.contains("/bin/child") && lines.contains(said),
            "{lines}"
        );
    }
    let fixed: [Change; 8] = [
        |c| c.media.clear(),
        |c| c.cluster_name.push('x'),
        |c| c.logging.debug += 1,
        |c| c.logging.logfile = Some("/log".into()),
        |c| c.realtime = !c.realtime,
        |c| c.rtprio = Some(7),
        |c| c.uuid_from_name = !c.uuid_from_name,
        |c| c.logging.logfacility = Some("local7".into()),
    ];
    for (number, change) in fixed.iter().enumerate() {
        let mut new = old.clone();
        change(&mut new);
        assert_eq!(needs_restart(&old, &new).len(), 1, "{number}");
    }
    assert!(live_changes(&old, &old).is_empty());
}

#[test]
fn the_manual_names_what_needs_a_restart() {
    let page = include_str!("../../../packaging/man/hactl.8");
    let list = page.split("So is a change that needs").nth(1).unwrap();
    let list = list.split("A child of").next().unwrap();
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_ascii_lowercase())
            .filter(|word| word.len() > 2)
            .map(str::to_owned)
            .collect()
    };
    let named = FIXED.map(|(name, _)| name.replace("media", "").replace("and", ""));
    let mut expected = words(&named.join(" "));
    let prose = ["hactl", "restart", "the", "links", "and"];
    let mut manual = words(list);
    manual.retain(|word| !prose.contains(&word.as_str()));
    expected.sort();
    manual.sort();
    assert_eq!(manual, expected);
}
