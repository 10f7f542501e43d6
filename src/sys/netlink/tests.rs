use std::net::IpAddr;

use super::*;
use crate::sys::machine::{Machine, ip};

const LONG: Duration = Duration::from_secs(30);

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

async fn index(netlink: &Netlink, name: &str) -> u32 {
    let links = netlink.links().await.unwrap();
    links.iter().find(|l| l.name == name).unwrap().index
}

#[test]
fn links_show_name_hardware_address_and_carrier() {
    Machine::with_eth0().run(|| async {
        let links = Netlink::new().links().await.unwrap();
        let lo = links.iter().find(|l| l.name == "lo").unwrap();
        assert!(lo.up && lo.carrier && !lo.arp && lo.mac.is_none());
        let eth0 = links.iter().find(|l| l.name == "eth0").unwrap();
        assert!(eth0.up && eth0.carrier && eth0.arp);
        assert!(ip("link show eth0").contains(&eth0.mac.unwrap().to_string()));
    });
}

#[test]
fn routes_show_what_is_connected() {
    Machine::with_eth0().run(|| async {
        ip("route add default via 10.0.0.254 metric 7");
        let netlink = Netlink::new();
        let eth0 = index(&netlink, "eth0").await;
        let routes = netlink.routes().await.unwrap();
        let expected = [
            ("10.0.0.0", 24, 0, true),
            ("0.0.0.0", 0, 7, false),
            ("fd00::", 64, 256, true),
        ];
        for (destination, prefix, metric, connected) in expected {
            let route = Route {
                destination: addr(destination),
                prefix,
                index: eth0,
                metric,
                connected,
            };
            assert!(routes.contains(&route), "{route:?} in {routes:?}");
        }
    });
}

#[test]
fn a_refusal_names_the_address_and_the_reason() {
    Machine::with_eth0().run(|| async {
        let address = Address::new(4711, addr("10.0.0.9"), 24);
        let error = Netlink::new().add_addresses(&[address]).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("cannot add the address 10.0.0.9/24 on interface 4711: "),
            "{text}"
        );
    });
}

#[test]
fn deleting_what_is_absent_is_no_error() {
    Machine::with_eth0().run(|| async {
        let netlink = Netlink::new();
        let eth0 = index(&netlink, "eth0").await;
        let absent = [
            Address::new(eth0, addr("10.0.0.9"), 24),
            Address::new(eth0, addr("fd00::9"), 64),
            Address::new(4711, addr("10.0.0.9"), 24),
        ];
        assert_eq!(netlink.delete_addresses(&absent).await.unwrap(), []);
    });
}

#[test]
fn many_may_ask_at_once() {
    Machine::with_eth0().run(|| async {
        let netlink = Netlink::new();
        let eth0 = index(&netlink, "eth0").await;
        let batch: Vec<Address> = (0..=250)
            .map(|n| Address::new(eth0, IpAddr::from([10, 7, 0, n]), 32))
            .collect();
        netlink.add_addresses(&batch).await.unwrap();
        // One goes away in the middle; the next must not suffer for it.
        let asking = netlink.clone();
        let gone = tokio::spawn(async move { asking.addresses().await });
        tokio::task::yield_now().await;
        gone.abort();
        let all = (0..20).map(|_| netlink.addresses());
        for found in futures::future::join_all(all).await {
            assert!(found.unwrap().len() > batch.len());
        }
    });
}

fn end_connection(netlink: &Netlink) -> tokio::task::AbortHandle {
    let connected = netlink.0.connected.lock().unwrap();
    let task = connected.as_ref().unwrap().task.abort_handle();
    task.abort();
    task
}

#[test]
fn a_connection_that_ended_is_made_anew() {
    Machine::with_eth0().run(|| async {
        let netlink = Netlink::new();
        let before = netlink.addresses().await.unwrap();
        let task = end_connection(&netlink);
        while !task.is_finished() {
            tokio::task::yield_now().await;
        }
        assert_eq!(netlink.addresses().await.unwrap(), before);
    });
}

#[test]
fn a_connection_that_ends_under_a_request_is_an_error_and_never_a_success() {
    Machine::with_eth0().run(|| async {
        let netlink = Netlink::new();
        let eth0 = index(&netlink, "eth0").await;
        // Cancelled, but not yet run: the request is still queued on it.
        end_connection(&netlink);
        let address = [Address::new(eth0, addr("10.0.0.9"), 24)];
        let result = netlink.add_addresses(&address).await;
        let there = ip("addr show").contains("10.0.0.9");
        assert_eq!(result.is_ok(), there, "{result:?}");
    });
}

#[test]
fn innocents_are_those_that_vanished_with_the_first_of_their_network() {
    let address = |ip: &str| Address::new(2, addr(ip), 24);
    let before = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"].map(address);
    let after = ["10.0.0.3"].map(address);
    let batch = ["10.0.0.1"].map(address);
    assert_eq!(
        deleted_by_kernel(&before, &after, &batch),
        ["10.0.0.2"].map(address)
    );
}

#[test]
fn a_watch_first_says_resync_and_then_what_happens() {
    Machine::with_eth0().run(|| async {
        let mut changes = watch();
        assert_eq!(changes.recv().await, Some(Change::Resync));
        let mut until = async |is: fn(&Change) -> bool| {
            let wanted = async { while !is(&changes.recv().await.unwrap()) {} };
            tokio::time::timeout(LONG, wanted).await.expect("in time");
        };
        ip("addr add 10.0.0.9/24 dev eth0");
        until(|c| matches!(c, Change::AddressAdded(a) if a.ip == addr("10.0.0.9"))).await;
        ip("addr del 10.0.0.9/24 dev eth0");
        until(|c| matches!(c, Change::AddressRemoved(a) if a.ip == addr("10.0.0.9"))).await;
        ip("link set port down");
        until(|c| matches!(c, Change::Link(l) if l.name == "eth0" && !l.carrier)).await;
    });
}

#[test]
fn a_slow_watcher_gets_a_resync_for_what_it_missed() {
    Machine::with_eth0().run(|| async {
        let mut changes = watch();
        assert_eq!(changes.recv().await, Some(Change::Resync));
        let netlink = Netlink::new();
        let eth0 = index(&netlink, "eth0").await;
        let batch: Vec<Address> = (1..=250_u8)
            .flat_map(|n| (0..8).map(move |m| IpAddr::from([10, 7, m, n])))
            .map(|ip| Address::new(eth0, ip, 32))
            .collect();
        netlink.add_addresses(&batch).await.unwrap();
        let mut seen = 0;
        while tokio::time::timeout(LONG, changes.recv()).await.unwrap() != Some(Change::Resync) {
            seen += 1;
        }
        assert!(seen < batch.len());
    });
}
