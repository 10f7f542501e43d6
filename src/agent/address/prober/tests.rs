use super::*;
use crate::agent::address::virtual_address::{Network, resolve};
use crate::sys::machine::{Machine, ip};

const PATIENCE: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_millis(50);

async fn placed(arguments: &[&str]) -> Vec<VirtualAddress> {
    let network = Network::read(&Netlink::new()).await.unwrap();
    arguments
        .iter()
        .map(|a| resolve(a, &network).unwrap())
        .collect()
}

async fn next(events: &mut mpsc::Receiver<ProbeEvent>) -> ProbeEvent {
    let event = tokio::time::timeout(PATIENCE, events.recv()).await;
    event.expect("an event in time").unwrap()
}

fn group() -> GroupName {
    GroupName::new("web")
}

/// The next answer. A machine under load may need more than one round to give it.
async fn answer(events: &mut mpsc::Receiver<ProbeEvent>) -> String {
    loop {
        if let ProbeEvent::Answered { who, .. } = next(events).await {
            return who;
        }
    }
}

fn who(event: &ProbeEvent) -> &str {
    match event {
        ProbeEvent::Answered { who, .. } => who,
        ProbeEvent::Silent { .. } => "silent",
    }
}

#[test]
fn who_has_an_address_is_named_with_its_hardware_address() {
    for address in ["10.0.0.50", "fd00::50"] {
        let (a, b) = Machine::pair();
        let prefix = if address.contains(':') { "64" } else { "24" };
        let nodad = if prefix == "64" { "nodad" } else { "" };
        b.ip(&format!("addr add {address}/{prefix} dev eth0 {nodad}"));
        let mac = b.ip("-br link show dev eth0");
        let mac = mac.split_whitespace().nth(2).unwrap().to_owned();
        a.run(move || async move {
            let (prober, mut events) = AddressProber::new(Netlink::new());
            prober.watch(&group(), placed(&[address]).await, EVERY);
            assert_eq!(
                answer(&mut events).await,
                format!("{address} is answered by {mac}")
            );
        });
    }
}

#[test]
fn silence_is_reported_with_the_time_of_its_round() {
    let (a, _b) = Machine::pair();
    a.run(|| async {
        let (prober, mut events) = AddressProber::new(Netlink::new());
        let began = now();
        prober.watch(&group(), placed(&["10.0.0.50", "fd00::50"]).await, EVERY);
        let mut last = began;
        for _ in 0..3 {
            let ProbeEvent::Silent { sent, .. } = next(&mut events).await else {
                panic!("nobody is there to answer")
            };
            assert!(sent > last && sent < now());
            last = sent;
        }
    });
}

#[test]
fn silence_begins_when_the_owner_is_gone() {
    let (a, b) = Machine::pair();
    b.ip("addr add 10.0.0.50/24 dev eth0");
    let (told, tell) = std::sync::mpsc::channel();
    let done = a.begin(move || async move {
        let (prober, mut events) = AddressProber::new(Netlink::new());
        prober.watch(&group(), placed(&["10.0.0.50"]).await, EVERY);
        answer(&mut events).await;
        told.send(()).unwrap();
        while who(&next(&mut events).await) != "silent" {}
    });
    tell.recv().unwrap();
    b.ip("addr del 10.0.0.50/24 dev eth0");
    done.recv().unwrap();
}

/// Each round gets an answer for each address. None may be left for the rounds after the owner is gone.
#[test]
fn the_answers_of_an_owner_of_several_addresses_end_with_it() {
    let (a, b) = Machine::pair();
    let all = ["10.0.0.50", "10.0.0.51", "10.0.0.52"];
    for address in all {
        b.ip(&format!("addr add {address}/24 dev eth0"));
    }
    let (told, tell) = std::sync::mpsc::channel();
    let (gone, is_gone) = std::sync::mpsc::channel();
    let done = a.begin(move || async move {
        let (prober, mut events) = AddressProber::new(Netlink::new());
        prober.watch(&group(), placed(&all).await, EVERY);
        for _ in 0..20 {
            answer(&mut events).await;
        }
        told.send(()).unwrap();
        while is_gone.try_recv().is_err() {
            next(&mut events).await;
        }
        // What was on its way, or in the channel, when the last address went.
        let late = std::iter::from_fn(|| events.try_recv().ok()).count();
        let mut answers = 0;
        while who(&next(&mut events).await) != "silent" {
            answers += 1;
        }
        assert!(
            answers <= 2,
            "{answers} rounds were answered by nobody, after {late}"
        );
    });
    tell.recv().unwrap();
    for address in all {
        b.ip(&format!("addr del {address}/24 dev eth0"));
    }
    gone.send(()).unwrap();
    done.recv().unwrap();
}

#[test]
fn our_own_address_is_no_answer() {
    Machine::with_eth0().run(|| async {
        // `port` is the other end of the cable, on this machine: it answers with one of our own hardware addresses.
        ip("addr add 10.0.0.50/24 dev port");
        let (prober, mut events) = AddressProber::new(Netlink::new());
        prober.watch(&group(), placed(&["10.0.0.50/24/eth0"]).await, EVERY);
        assert_eq!(who(&next(&mut events).await), "silent");
    });
}

#[test]
fn a_dead_cable_proves_nothing() {
    let (a, b) = Machine::pair();
    b.ip("link set eth0 down");
    let addresses = a.run(|| placed(&["10.0.0.50"]));
    let (told, tell) = std::sync::mpsc::channel();
    let done = a.begin(move || async move {
        let (prober, mut events) = AddressProber::new(Netlink::new());
        let began = now();
        prober.watch(&group(), addresses, EVERY);
        let quiet = tokio::time::timeout(Duration::from_millis(300), events.recv()).await;
        assert!(quiet.is_err(), "{quiet:?}");
        told.send(()).unwrap();
        let ProbeEvent::Silent { sent, .. } = next(&mut events).await else {
            panic!("nobody is there to answer")
        };
        assert!(sent > began);
    });
    tell.recv().unwrap();
    b.ip("link set eth0 up");
    done.recv().unwrap();
}

#[test]
fn a_watch_that_ended_reports_nothing_more() {
    let (a, _b) = Machine::pair();
    a.run(|| async {
        let (prober, mut events) = AddressProber::new(Netlink::new());
        prober.watch(&group(), placed(&["10.0.0.50"]).await, EVERY);
        next(&mut events).await;
        prober.unwatch(&group());
        drop(prober);
        while events.recv().await.is_some() {}
    });
}
