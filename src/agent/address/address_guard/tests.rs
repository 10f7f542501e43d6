use super::*;
use crate::agent::address::virtual_address::{Network, resolve};
use crate::agent::{Abort, Agent, Limits};
use crate::sys::clock::now;
use crate::sys::machine::{Machine, ip};
use crate::sys::packet::AnswerReceiver;

const PATIENCE: Duration = Duration::from_secs(30);

async fn started(arguments: &[&str]) -> Arc<Addresses> {
    started_after(arguments, false).await
}

async fn started_after(arguments: &[&str], programs: bool) -> Arc<Addresses> {
    let netlink = Netlink::new();
    let network = Network::read(&netlink).await.unwrap();
    let list = arguments.iter().map(|a| resolve(a, &network).unwrap());
    let run = Arc::new(Addresses::new(list.collect(), netlink, programs));
    run.start(&limits()).await.unwrap();
    run
}

fn limits() -> Limits {
    Limits::within(PATIENCE, &Abort::new())
}

async fn next(events: &mut mpsc::UnboundedReceiver<GuardEvent>) -> GuardEvent {
    let event = tokio::time::timeout(PATIENCE, events.recv()).await;
    event.expect("an event in time").unwrap()
}

fn group() -> GroupName {
    GroupName::new("IPaddr::10.0.0.50")
}

#[test]
fn a_removed_address_is_restored_and_one_removed_too_often_is_lost() {
    Machine::with_eth0().run(|| async {
        let run = started(&["10.0.0.50", "10.0.0.51", "fd00::50"]).await;
        let (guard, mut events) = AddressGuard::new();
        guard.guard(&group(), 2, run.clone());
        for n in 1..=3 {
            ip("addr del 10.0.0.51/24 dev eth0");
            let GuardEvent::Restored {
                step,
                addresses,
                times,
                ..
            } = next(&mut events).await
            else {
                panic!("lost after {n}")
            };
            assert_eq!((step, times), (2, n));
            assert_eq!(addresses[0].ip, "10.0.0.51".parse::<IpAddr>().unwrap());
            assert!(ip("addr show").contains("10.0.0.51/24"));
        }
        let text = loop {
            ip("addr del 10.0.0.51/24 dev eth0");
            if let GuardEvent::Lost { text, .. } = next(&mut events).await {
                break text;
            }
        };
        assert!(
            text.contains("removed 10.0.0.51/24 on eth0 more than 3 times"),
            "{text}"
        );
    });
}

/// In maintenance a person works on the addresses.
#[test]
fn nothing_is_restored_while_the_group_is_in_maintenance() {
    Machine::with_eth0().run(|| async {
        let run = started(&["10.0.0.50"]).await;
        let (guard, mut events) = AddressGuard::new();
        guard.guard(&group(), 0, run.clone());
        guard.pause(&group(), true);
        ip("addr del 10.0.0.50/24 dev eth0");
        // What follows is noticed, so this one was seen too.
        let other = started(&["10.0.0.51"]).await;
        guard.guard(&GroupName::new("other"), 0, other);
        ip("addr del 10.0.0.51/24 dev eth0");
        let GuardEvent::Restored { addresses, .. } = next(&mut events).await else {
            panic!("lost")
        };
        assert_eq!(addresses[0].ip, "10.0.0.51".parse::<IpAddr>().unwrap());
        assert!(!ip("addr show").contains("10.0.0.50/24"));
        guard.pause(&group(), false);
        run.start(&limits()).await.unwrap();
        ip("addr del 10.0.0.50/24 dev eth0");
        let GuardEvent::Restored { addresses, .. } = next(&mut events).await else {
            panic!("lost")
        };
        assert_eq!(addresses[0].ip, "10.0.0.50".parse::<IpAddr>().unwrap());
    });
}

#[test]
fn removals_close_together_count_as_one() {
    Machine::with_eth0().run(|| async {
        let mut run = GuardedStep {
            addresses: started(&["10.0.0.50"]).await,
            recent: VecDeque::new(),
            times: 0,
            failing: None,
        };
        let begin = Instant::now();
        let mut count =
            |milliseconds| run.count_removals(begin + Duration::from_millis(milliseconds));
        assert_eq!([0, 2, 4, 499].map(&mut count), [1, 1, 1, 1]);
        // One that never ends is counted on.
        assert_eq!([500, 900, 1000, 1500].map(&mut count), [2, 2, 3, 4]);
        assert_eq!(run.times, 8);
    });
}

#[test]
fn ipv6_addresses_come_back_after_the_link_was_down() {
    Machine::with_eth0().run(|| async {
        let run = started(&["fd00::50/64/eth0"]).await;
        let (guard, mut events) = AddressGuard::new();
        guard.guard(&group(), 0, run.clone());
        ip("link set eth0 down");
        assert!(!ip("addr show").contains("fd00::50"));
        ip("link set eth0 up");
        let event = next(&mut events).await;
        assert!(matches!(event, GuardEvent::Restored { .. }), "{event:?}");
        assert!(ip("addr show").contains("fd00::50"));
    });
}

#[test]
fn an_interface_of_an_earlier_member_that_stays_away_loses_its_addresses() {
    for command in ["link del eth0", "link set eth0 down"] {
        lost_after(command);
    }
}

fn lost_after(command: &'static str) {
    Machine::with_eth0().run(move || async move {
        let run = started_after(&["10.0.0.50"], true).await;
        let (guard, mut events) = AddressGuard::new();
        guard.guard(&group(), 0, run);
        ip(command);
        let GuardEvent::Lost { text, .. } = next(&mut events).await else {
            panic!("not lost")
        };
        let wanted = ["there is no interface eth0", "eth0 is down"];
        assert!(wanted.iter().any(|w| text.contains(w)), "{text}");
    });
}

fn add_eth1() {
    ip("link add eth1 type veth peer name other1");
    ip("link set eth1 up");
    ip("link set other1 up");
}

#[test]
fn an_address_without_an_interface_is_missed_by_no_other_and_comes_back_with_it() {
    Machine::with_eth0().run(|| async {
        add_eth1();
        let run = started(&["10.0.1.50/24/eth1", "10.0.0.50/24/eth0"]).await;
        let (guard, mut events) = AddressGuard::new();
        guard.guard(&group(), 0, run.clone());
        ip("link del eth1");
        run.renew(now() + PATIENCE * 10, Duration::from_secs(2));
        while !ip("-o addr show to 10.0.0.50").contains("valid_lft 2") {
            sleep(Duration::from_millis(5)).await;
        }
        add_eth1();
        let event = next(&mut events).await;
        assert!(matches!(event, GuardEvent::Restored { .. }), "{event:?}");
        assert!(ip("addr show").contains("10.0.1.50"));
    });
}

#[test]
fn a_stopped_address_is_not_restored_though_it_is_still_guarded() {
    Machine::with_eth0().run(|| async {
        let stopped = started(&["10.0.0.50"]).await;
        let witness = started(&["10.0.0.60"]).await;
        let (guard, mut events) = AddressGuard::new();
        guard.guard(&group(), 0, stopped.clone());
        guard.guard(&GroupName::new("witness"), 0, witness);
        stopped.stop(&limits()).await.unwrap();
        // The guard sees both removals in order: once it has restored the second it has handled the first.
        ip("addr del 10.0.0.60/24 dev eth0");
        let event = next(&mut events).await;
        assert!(
            matches!(&event, GuardEvent::Restored { group, .. } if group.as_str() == "witness"),
            "{event:?}"
        );
        assert!(!ip("addr show").contains("10.0.0.50"));
        guard.forget(&group(), 0);
    });
}

#[test]
fn a_flushed_interface_gets_a_thousand_addresses_back_at_once() {
    Machine::with_eth0().run(|| async {
        let arguments: Vec<String> = (0..1000)
            .map(|n| format!("10.9.{}.{}/32/eth0", n / 250, n % 250 + 1))
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let run = started(&arguments).await;
        let (guard, mut events) = AddressGuard::new();
        guard.guard(&group(), 0, run.clone());
        ip("addr flush dev eth0");
        let mut back = 0;
        while back < 1000 {
            match next(&mut events).await {
                GuardEvent::Restored { addresses, .. } => back += addresses.len(),
                GuardEvent::Lost { text, .. } => panic!("{text}"),
            }
        }
        assert!(ip("addr show").contains("10.9.3.250/32"));
    });
}

#[test]
fn another_hardware_address_is_announced() {
    const NEW: &str = "02:00:00:00:77:77";
    let (a, b) = Machine::pair();
    let (ready_tx, ready_rx) = std::sync::mpsc::channel();
    let heard = b.begin(move || async move {
        let links = Netlink::new().links().await.unwrap();
        let eth0 = links.iter().find(|l| l.name == "eth0").unwrap().index;
        let v4 = AnswerReceiver::arp(eth0).unwrap();
        let v6 = AnswerReceiver::neighbours(eth0).unwrap();
        ready_tx.send(()).unwrap();
        for (receiver, ip) in [(v4, "10.0.0.50"), (v6, "fd00::50")] {
            let wanted = (ip.parse().unwrap(), NEW.to_owned());
            while {
                let answer = receiver.next().await.unwrap();
                (answer.ip, answer.mac.to_string()) != wanted
            } {}
        }
    });
    ready_rx.recv().unwrap();
    a.run(move || async move {
        let run = started(&["10.0.0.50", "fd00::50"]).await;
        let (guard, _events) = AddressGuard::new();
        guard.guard(&group(), 0, run);
        // Before the guard has seen the interface there is nothing to compare.
        for last in 0..100u8 {
            ip(&format!("link set eth0 address 02:00:00:00:66:{last:02x}"));
            ip(&format!("link set eth0 address {NEW}"));
            sleep(Duration::from_millis(100)).await;
            if heard.try_recv().is_ok() {
                return;
            }
        }
        panic!("not announced");
    });
}
