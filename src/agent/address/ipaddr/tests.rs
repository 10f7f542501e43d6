use super::*;
use crate::agent::Abort;
use crate::agent::address::virtual_address::{Network, remark, resolve};
use crate::sys::arp;
use crate::sys::machine::{Machine, ip};
use crate::sys::packet::{AnswerReceiver, FrameSender, OutgoingFrame};

fn limits() -> Limits {
    Limits::within(Duration::from_secs(60), &Abort::new())
}

async fn addresses(arguments: &[&str]) -> Addresses {
    let netlink = Netlink::new();
    let network = Network::read(&netlink).await.unwrap();
    let list = arguments.iter().map(|a| resolve(a, &network).unwrap());
    Addresses::new(list.collect(), netlink, false)
}

/// Renews and waits until the kernel knows.
async fn renewed(run: &Addresses, until: Time) {
    run.set_lease(until, MIN_KERNEL_TTL);
    run.renew_in_kernel().await.unwrap();
}

#[test]
fn a_renewal_reaches_the_kernel_in_the_background() {
    Machine::with_eth0().run(|| async {
        let run = Arc::new(addresses(&["10.0.0.50"]).await);
        run.start(&limits()).await.unwrap();
        for seconds in [100, 200, 300] {
            run.renew(now() + Duration::from_secs(seconds), MIN_KERNEL_TTL);
        }
        while !ip("-o addr show to 10.0.0.50").contains("valid_lft 2") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn start_monitor_and_stop_are_idempotent() {
    Machine::with_eth0().run(|| async {
        let run = addresses(&["10.0.0.50/24/eth0:1", "fd00::50"]).await;
        assert_eq!(run.monitor(&limits()).await, Ok(Status::Stopped));
        run.stop(&limits()).await.unwrap();
        run.start(&limits()).await.unwrap();
        run.start(&limits()).await.unwrap();
        assert_eq!(run.monitor(&limits()).await, Ok(Status::Running));
        let shown = ip("-o addr show dev eth0");
        let labelled = "inet 10.0.0.50/24 brd 10.0.0.255 scope global secondary eth0:1";
        assert!(shown.contains(labelled), "{shown}");
        let found = Netlink::new().addresses().await.unwrap();
        for (address, ours) in [("10.0.0.50", true), ("fd00::50", true), ("10.0.0.1", false)] {
            let ip: IpAddr = address.parse().unwrap();
            let found = found.iter().find(|a| a.ip == ip).unwrap();
            assert_eq!(found.ours, ours, "{found:?}");
            assert!(!found.tentative, "{found:?}");
        }
        run.stop(&limits()).await.unwrap();
        run.stop(&limits()).await.unwrap();
        assert_eq!(run.monitor(&limits()).await, Ok(Status::Stopped));
    });
}

/// It may be the address by which this node is reached.
#[test]
fn a_lasting_address_of_the_node_is_left_alone() {
    for prefix in [24, 32] {
        Machine::with_eth0().run(move || async move {
            ip(&format!("addr add 10.0.0.50/{prefix} dev eth0"));
            let run = addresses(&["10.0.0.50/24/eth0"]).await;
            let remedy = format!("ip address del 10.0.0.50/{prefix} dev eth0");
            let remark = remark(
                "10.0.0.50",
                false,
                &Network::read(&Netlink::new()).await.unwrap(),
            );
            assert!(remark.unwrap().message.contains(&remedy));
            assert_eq!(run.monitor(&limits()).await, Ok(Status::Stopped));
            let error = run.start(&limits()).await.unwrap_err().to_string();
            assert!(error.contains(&remedy), "{error}");
            run.stop(&limits()).await.unwrap();
            let shown = ip("-o addr show dev eth0 to 10.0.0.50");
            assert!(shown.contains("valid_lft forever"), "{shown}");
            ip(&format!("addr del 10.0.0.50/{prefix} dev eth0"));
            run.start(&limits()).await.unwrap();
        });
    }
}

/// A connection of the node itself would break when the address moves.
#[test]
fn a_virtual_address_is_not_the_source_of_own_connections() {
    Machine::with_bare_eth0().run(|| async {
        ip("addr add 10.0.0.1/16 dev eth0");
        ip("addr add fd00::1/64 dev eth0 nodad");
        let run = addresses(&["10.0.0.50/24/eth0", "fd00::50/64/eth0"]).await;
        run.start(&limits()).await.unwrap();
        for (to, source) in [("10.0.0.77", "src 10.0.0.1 "), ("fd00::77", "src fd00::1 ")] {
            let shown = ip(&format!("route get {to}"));
            assert!(shown.contains(source), "{shown}");
        }
        renewed(&run, now() + Duration::from_secs(60)).await;
        assert!(ip("-o addr show to fd00::50").contains("deprecated"));
    });
}

#[test]
fn a_stop_takes_no_other_address_of_its_network_along() {
    Machine::with_bare_eth0().run(|| async {
        let run = Addresses::new(
            vec![
                resolve(
                    "10.0.0.50/24/eth0",
                    &Network::read(&Netlink::new()).await.unwrap(),
                )
                .unwrap(),
            ],
            Netlink::new(),
            false,
        );
        run.start(&limits()).await.unwrap();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add 10.0.0.2/24 dev eth0 label eth0:x");
        run.stop(&limits()).await.unwrap();
        let shown = ip("-o addr show dev eth0");
        assert!(shown.contains("10.0.0.1/24"), "{shown}");
        assert!(shown.contains("eth0:x"), "{shown}");
        assert!(!shown.contains("10.0.0.50"), "{shown}");
    });
}

#[test]
fn a_thousand_addresses_go_up_and_down_as_one() {
    Machine::with_eth0().run(|| async {
        let arguments: Vec<String> = (0..1000)
            .map(|n| format!("10.9.{}.{}/32/eth0", n / 250, n % 250 + 1))
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let run = addresses(&arguments).await;
        let began = std::time::Instant::now();
        run.start(&limits()).await.unwrap();
        println!("1000 addresses started in {:?}", began.elapsed());
        assert_eq!(run.monitor(&limits()).await, Ok(Status::Running));
        let began = std::time::Instant::now();
        run.stop(&limits()).await.unwrap();
        println!("1000 addresses stopped in {:?}", began.elapsed());
        assert_eq!(run.monitor(&limits()).await, Ok(Status::Stopped));
    });
}

#[test]
fn a_partial_step_or_a_link_that_is_down_is_not_well() {
    Machine::with_eth0().run(|| async {
        let run = addresses(&["10.0.0.50", "10.0.0.51"]).await;
        run.start(&limits()).await.unwrap();
        ip("addr del 10.0.0.51/24 dev eth0");
        let error = run.monitor(&limits()).await.unwrap_err().to_string();
        assert!(error.contains("10.0.0.51/24 on eth0 is missing"), "{error}");
        ip("link set eth0 down");
        let error = run.monitor(&limits()).await.unwrap_err().to_string();
        assert!(error.contains("eth0 is down"), "{error}");
        let error = run.start(&limits()).await.unwrap_err().to_string();
        assert!(error.contains("eth0 is down"), "{error}");
        run.stop(&limits()).await.unwrap();
        ip("link del eth0");
        run.stop(&limits()).await.unwrap();
    });
}

#[test]
fn the_kernel_removes_an_address_whose_lease_ends_and_nobody_restores_it() {
    Machine::with_eth0().run(|| async {
        let run = addresses(&["10.0.0.50", "fd00::50"]).await;
        renewed(&run, now() + Duration::from_secs(3)).await;
        assert!(
            !ip("addr show").contains("10.0.0.50"),
            "a renewal starts nothing"
        );
        run.start(&limits()).await.unwrap();
        assert!(ip("addr show dev eth0").contains("dynamic"));
        renewed(&run, now() + Duration::from_secs(2)).await;
        while run.monitor(&limits()).await != Ok(Status::Stopped) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(run.restore_removed().await, Ok(Vec::new()));
        assert!(!ip("addr show").contains("10.0.0.50"));
    });
}

#[test]
fn a_lease_without_end_makes_a_permanent_address() {
    Machine::with_eth0().run(|| async {
        let run = addresses(&["10.0.0.50"]).await;
        renewed(&run, now() + Duration::from_secs(30)).await;
        run.start(&limits()).await.unwrap();
        renewed(&run, Time::NEVER).await;
        let shown = ip("-o addr show dev eth0 to 10.0.0.50");
        assert!(shown.contains("valid_lft forever"), "{shown}");
    });
}

#[test]
fn a_late_renewal_or_restoration_brings_no_address_back_after_its_stop() {
    Machine::with_eth0().run(|| async {
        let run = addresses(&["10.0.0.50"]).await;
        run.start(&limits()).await.unwrap();
        run.stop(&limits()).await.unwrap();
        renewed(&run, now() + Duration::from_secs(60)).await;
        assert_eq!(run.restore_removed().await, Ok(Vec::new()));
        assert!(!ip("addr show").contains("10.0.0.50"));
    });
}

#[test]
fn the_route_of_a_network_outlives_an_address_whose_lease_ended() {
    Machine::with_eth0().run(|| async {
        let connected = |ip: &str| ip.contains("dev eth0") && !ip.contains("expires");
        let run = addresses(&["fd00::50", "10.0.0.50"]).await;
        ip("addr add fd00::50/64 dev eth0 nodad valid_lft 600 preferred_lft 600");
        run.start(&limits()).await.unwrap();
        renewed(&run, now() + Duration::from_millis(1500)).await;
        assert!(connected(&ip("-6 route show fd00::/64")));
        while run.monitor(&limits()).await != Ok(Status::Stopped) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(connected(&ip("-6 route show fd00::/64")));
        assert!(connected(&ip("route show 10.0.0.0/24")));
    });
}

#[test]
fn an_address_that_is_first_in_its_network_ends_alone() {
    Machine::with_bare_eth0().run(|| async {
        let run = addresses(&["10.0.0.50/24/eth0", "fd00::50/64/eth0"]).await;
        renewed(&run, now() + Duration::from_secs(3)).await;
        run.start(&limits()).await.unwrap();
        assert!(
            ip("-6 route show fd00::/64").contains("eth0"),
            "its own network needs a route"
        );
        ip("addr add 10.0.0.1/24 dev eth0");
        while run.monitor(&limits()).await != Ok(Status::Stopped) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(ip("addr show dev eth0").contains("10.0.0.1/24"));
    });
}

/// Renews rights of that length for a while: nothing may ever be missing.
fn never_ends(right: Duration, every: Duration) {
    Machine::with_eth0().run(move || async move {
        let run = addresses(&["10.0.0.50", "fd00::50"]).await;
        run.start(&limits()).await.unwrap();
        renewed(&run, now() + right).await;
        let mut changes = netlink::watch();
        let end = now() + Duration::from_millis(3500);
        let mut held_up = false;
        let mut last = now();
        while now() < end {
            tokio::time::sleep(every).await;
            // On a machine that stands still the kernel is right to take the addresses.
            held_up |= now().since(last) > Duration::from_secs(1);
            last = now();
            renewed(&run, now() + right).await;
        }
        while let Ok(change) = changes.try_recv() {
            let removed = matches!(change, netlink::Change::AddressRemoved(_));
            assert!(!removed || held_up, "{change:?}");
        }
    });
}

#[test]
fn a_renewed_lease_never_ends() {
    never_ends(Duration::from_millis(2600), Duration::from_millis(100));
}

#[test]
fn a_lease_shorter_than_the_kernel_counts_is_renewed_without_a_gap() {
    never_ends(Duration::from_millis(50), Duration::from_millis(20));
}

/// What is built upon: the kernel never takes an address before its lifetime, less [`EARLY_EXPIRY`], is over.
#[test]
fn the_kernel_ends_a_ttl_late_but_not_early() {
    Machine::with_eth0().run(|| async {
        let run = addresses(&["10.0.0.50"]).await;
        run.start(&limits()).await.unwrap();
        let before = now();
        renewed(&run, before + Duration::from_millis(1)).await;
        let told = now();
        while run.monitor(&limits()).await != Ok(Status::Stopped) {
            // Other changes make the kernel look at lifetimes sooner than it would.
            ip("addr replace 10.0.0.77/24 dev eth0 valid_lft 100 preferred_lft 100");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let lasted = now().since(before);
        println!("a loan of 2 s lasted {lasted:?}");
        assert!(
            lasted + EARLY_EXPIRY >= MIN_KERNEL_TTL,
            "{lasted:?} {told:?}"
        );
    });
}

#[test]
fn an_expired_address_is_restored_only_under_a_valid_lease() {
    Machine::with_eth0().run(|| async {
        let run = addresses(&["10.0.0.50"]).await;
        run.start(&limits()).await.unwrap();
        let right = now() + Duration::from_millis(100);
        renewed(&run, right).await;
        while ip("addr show").contains("10.0.0.50") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // As after a freeze: the orders from before it are carried out late.
        renewed(&run, right).await;
        assert_eq!(run.restore_removed().await, Ok(Vec::new()));
        assert!(!ip("addr show").contains("10.0.0.50"));
        renewed(&run, now() + Duration::from_secs(60)).await;
        assert!(ip("addr show").contains("10.0.0.50"));
    });
}

#[test]
fn a_deletion_by_hand_is_restored_at_once_or_by_the_next_renewal() {
    Machine::with_eth0().run(|| async {
        let run = addresses(&["10.0.0.50"]).await;
        run.start(&limits()).await.unwrap();
        renewed(&run, now() + Duration::from_secs(60)).await;
        ip("addr del 10.0.0.50/24 dev eth0");
        assert_eq!(run.restore_removed().await.unwrap().len(), 1);
        // As of a daemon that stood still: the kernel has the address on loan, and nobody knows whose it is.
        run.set_lease(now(), Duration::from_secs(60));
        ip("addr del 10.0.0.50/24 dev eth0");
        assert_eq!(run.restore_removed().await, Ok(Vec::new()));
        assert!(!ip("addr show").contains("10.0.0.50"));
        renewed(&run, now() + Duration::from_secs(60)).await;
        assert!(ip("addr show").contains("10.0.0.50"));
    });
}

#[test]
fn an_extended_ttl_outlasts_a_restart_of_the_daemon() {
    Machine::with_eth0().run(|| async {
        let run = addresses(&["10.0.0.50", "fd00::50"]).await;
        run.extend_to(now() + Duration::from_secs(30))
            .await
            .unwrap();
        assert!(!ip("addr show").contains("10.0.0.50"), "nothing is started");
        run.start(&limits()).await.unwrap();
        renewed(&run, now() + Duration::from_millis(200)).await;
        run.extend_to(now() + Duration::from_secs(30))
            .await
            .unwrap();
        let left = Netlink::new().addresses().await.unwrap();
        let ours = left.iter().filter(|a| a.ours).collect::<Vec<_>>();
        assert_eq!(ours.len(), 2);
        for address in ours {
            let valid = address.valid.unwrap();
            assert!(valid > Duration::from_secs(20), "{address:?}");
        }
    });
}

#[test]
fn a_neighbour_hears_the_announcement_and_its_repeats() {
    let (a, b) = Machine::pair();
    let (ready_tx, ready_rx) = std::sync::mpsc::channel();
    let heard = b.begin(move || async move {
        let index = eth0().await.index;
        let v4 = AnswerReceiver::arp(index).unwrap();
        let v6 = AnswerReceiver::neighbours(index).unwrap();
        ready_tx.send(()).unwrap();
        let wanted = |ip: &str| ip.parse::<IpAddr>().unwrap();
        // Request, reply, and at least one repeat.
        let mut times = 0;
        while times < 3 {
            let answer = v4.next().await.unwrap();
            times += usize::from(answer.ip == wanted("10.0.0.50"));
        }
        while v6.next().await.unwrap().ip != wanted("fd00::50") {}
    });
    ready_rx.recv().unwrap();
    a.run(move || async move {
        let run = addresses(&["10.0.0.50", "fd00::50"]).await;
        run.start(&limits()).await.unwrap();
        while heard.try_recv().is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

async fn eth0() -> Link {
    let links = Netlink::new().links().await.unwrap();
    links.into_iter().find(|l| l.name == "eth0").unwrap()
}

/// Announces an address that nobody has: a mark between the frames on the wire.
async fn mark(ip: &str) {
    let link = eth0().await;
    let frames = arp::announcement(link.mac.unwrap(), ip.parse().unwrap(), false);
    let frames: Vec<OutgoingFrame> = frames
        .into_iter()
        .map(|frame| OutgoingFrame {
            index: link.index,
            frame,
        })
        .collect();
    FrameSender::open().unwrap().send(&frames).await.unwrap();
}

#[test]
fn nothing_is_announced_after_a_stop() {
    let (a, b) = Machine::pair();
    let (ready_tx, ready_rx) = std::sync::mpsc::channel();
    let heard = b.begin(move || async move {
        let ears = AnswerReceiver::arp(eth0().await.index).unwrap();
        ready_tx.send(()).unwrap();
        let mut heard = Vec::new();
        while heard.last().map(String::as_str) != Some("10.0.0.99") {
            heard.push(ears.next().await.unwrap().ip.to_string());
        }
        heard
    });
    ready_rx.recv().unwrap();
    a.run(|| async {
        let run = addresses(&["10.0.0.50"]).await;
        run.start(&limits()).await.unwrap();
        run.stop(&limits()).await.unwrap();
        mark("10.0.0.98").await;
        // Longer than from one repeat to the next.
        tokio::time::sleep(Duration::from_millis(300)).await;
        mark("10.0.0.99").await;
    });
    let heard = heard.recv().unwrap();
    let stopped = heard.iter().position(|ip| ip == "10.0.0.98").unwrap();
    assert!(
        heard[..stopped].contains(&"10.0.0.50".to_owned()),
        "{heard:?}"
    );
    assert!(
        !heard[stopped..].contains(&"10.0.0.50".to_owned()),
        "{heard:?}"
    );
}

#[test]
fn a_start_waits_for_a_valid_lease() {
    Machine::with_eth0().run(|| async {
        let run = Arc::new(addresses(&["10.0.0.50"]).await);
        renewed(&run, Time(1)).await;
        let abort = Abort::new();
        let limits = Limits::within(Duration::from_secs(60), &abort);
        let starting = {
            let (run, limits) = (Arc::clone(&run), limits.clone());
            tokio::spawn(async move { run.start(&limits).await })
        };
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!ip("addr show").contains("10.0.0.50"));
        renewed(&run, now() + Duration::from_secs(60)).await;
        starting.await.unwrap().unwrap();
        assert!(ip("addr show").contains("10.0.0.50"));
        run.stop(&limits).await.unwrap();
        renewed(&run, Time(1)).await;
        abort.abort();
        let error = run.start(&limits).await.unwrap_err().to_string();
        assert!(error.contains("was aborted"), "{error}");
        assert!(!ip("addr show").contains("10.0.0.50"));
    });
}
