use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::time::timeout;

use super::*;
use crate::model::LinkName;
use crate::model::medium::{Medium, Target};
use crate::sys::machine::{Wire, ip, on_a_wire};

const LONG: Duration = Duration::from_secs(30);
const PORT: u16 = 694;

/// A medium with a link of its own name.
fn medium(link: &str, interface: &str, target: Target) -> Medium {
    Medium {
        link: LinkName::new(link),
        interface: interface.to_owned(),
        port: PORT,
        target,
    }
}

fn unicast(address: &str) -> Target {
    Target::Unicast(address.parse().unwrap())
}

fn multicast(loopback: bool) -> Target {
    Target::Multicast4 {
        group: "225.0.0.1".parse().unwrap(),
        ttl: 1,
        loopback,
    }
}

fn multicast6(loopback: bool) -> Target {
    Target::Multicast6 {
        group: "ff02::1:694".parse().unwrap(),
        hops: 1,
        loopback,
    }
}

/// One line of each kind, as ha.cf has them on the interface that faces `peer`.
fn all_kinds(interface: &str, peer: u8) -> Vec<Medium> {
    let link = |kind: &str| format!("{interface}/{kind}");
    vec![
        medium(
            &link("ucast"),
            interface,
            unicast(&format!("10.0.0.{peer}")),
        ),
        medium(&link("bcast"), interface, Target::Broadcast),
        medium(&link("mcast"), interface, multicast(false)),
        medium(
            &link("ucast6"),
            interface,
            unicast(&format!("fd00::{peer}")),
        ),
        medium(&link("mcast6"), interface, multicast6(false)),
    ]
}

/// One receiver for these media, which must not need two.
fn receiver(media: &[Medium]) -> UdpReceiver {
    let ears = listen_points(media);
    let [ear] = ears.as_slice() else {
        panic!("{ears:?}")
    };
    UdpReceiver::open(ear).unwrap()
}

fn left_to_right(wire: &Wire) -> (UdpSender, UdpReceiver) {
    let sender = wire.left(|| UdpSender::open(&medium("l", "eth0", unicast("10.0.0.2"))));
    let receiver = wire.right(|| receiver(&[medium("r", "eth0", unicast("10.0.0.1"))]));
    (sender.unwrap(), receiver)
}

async fn hear(receiver: &UdpReceiver) -> (String, IpAddr, String) {
    let mut buffer = [0; 2000];
    let received = timeout(LONG, receiver.receive(&mut buffer)).await;
    let Arrival {
        length,
        from,
        link,
        to_all,
        ttl,
    } = received.unwrap().unwrap();
    assert!(to_all || ttl == 255, "{ttl}");
    let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
    (text, from.ip(), link.as_str().to_owned())
}

fn sent(sender: &UdpSender, text: &str) {
    let result = sender.send(text.as_bytes());
    assert!(matches!(result, SendOutcome::Ok), "{result:?}");
}

/// Waits until the kernel has an error for the sender.
fn await_error(sender: &UdpSender) {
    let mut fds = [PollFd::new(sender.socket.as_fd(), PollFlags::empty())];
    let ready = poll(&mut fds, PollTimeout::from(30_000_u16)).unwrap();
    assert_eq!(ready, 1, "no error came");
}

#[test]
fn every_kind_of_medium_arrives_on_its_own_link() {
    on_a_wire(async |wire| {
        let (here, there) = (all_kinds("eth0", 2), all_kinds("eth0", 1));
        let v4 = wire.right(|| receiver(&there[..3]));
        let v6 = wire.right(|| receiver(&there[3..]));
        for (ours, theirs) in here.iter().zip(&there) {
            let sender = wire.left(|| UdpSender::open(ours)).unwrap();
            sent(&sender, ours.link.as_str());
            let receiver = if theirs.link.as_str().ends_with('6') {
                &v6
            } else {
                &v4
            };
            let (text, from, link) = hear(receiver).await;
            assert_eq!(
                (text, link),
                (ours.link.to_string(), theirs.link.to_string())
            );
            if from.is_ipv4() {
                assert_eq!(from, IpAddr::from([10, 0, 0, 1]));
            }
        }
    });
}

#[test]
fn an_unexpected_kind_counts_for_the_link_there_is() {
    on_a_wire(async |wire| {
        let receiver = wire.right(|| receiver(&[medium("only", "eth0", Target::Broadcast)]));
        let sender = wire.left(|| UdpSender::open(&medium("l", "eth0", unicast("10.0.0.2"))));
        sent(&sender.unwrap(), "x");
        assert_eq!(hear(&receiver).await.2, "only");
    });
}

#[test]
fn an_interface_without_an_address_still_broadcasts() {
    on_a_wire(async |wire| {
        let medium = |interface| medium("b", interface, Target::Broadcast);
        let receiver = wire.right(|| receiver(&[medium("eth0")]));
        let sender = wire.left(|| {
            ip("-4 address flush dev eth0");
            UdpSender::open(&medium("eth0")).unwrap()
        });
        sent(&sender, "no address");
        let (text, from, _) = hear(&receiver).await;
        assert_eq!(
            (text.as_str(), from),
            ("no address", Ipv4Addr::UNSPECIFIED.into())
        );
        // The source follows the interface without opening anew.
        wire.left(|| ip("address add 10.0.0.7/24 dev eth0"));
        sent(&sender, "an address");
        assert_eq!(hear(&receiver).await.1, IpAddr::from([10, 0, 0, 7]));
    });
}

/// `ip address add` gives none by itself; the C library then shows the address itself in its place.
#[test]
fn an_address_without_a_broadcast_address_broadcasts_all_the_same() {
    on_a_wire(async |wire| {
        let medium = |interface| medium("b", interface, Target::Broadcast);
        let receiver = wire.right(|| receiver(&[medium("eth0")]));
        let sender = wire.left(|| {
            ip("-4 address flush dev eth0");
            ip("address add 10.0.0.7/24 dev eth0");
            UdpSender::open(&medium("eth0")).unwrap()
        });
        sent(&sender, "no broadcast");
        let (text, from, _) = hear(&receiver).await;
        assert_eq!(
            (text.as_str(), from),
            ("no broadcast", IpAddr::from([10, 0, 0, 7]))
        );
    });
}

#[test]
fn multicast_is_heard_by_the_sender_only_when_wanted() {
    on_a_wire(async |wire| {
        for target in [multicast as fn(bool) -> Target, multicast6] {
            let receiver = wire.left(|| receiver(&[medium("m", "eth0", target(false))]));
            for loopback in [false, true] {
                let medium = medium("m", "eth0", target(loopback));
                let sender = wire.left(|| UdpSender::open(&medium)).unwrap();
                sent(&sender, &format!("loop {loopback}"));
            }
            // The first did not come: the second is the first to be heard.
            assert_eq!(hear(&receiver).await.0, "loop true");
        }
    });
}

#[test]
fn a_refusal_is_told_and_the_datagram_that_met_it_still_goes_out() {
    on_a_wire(async |wire| {
        let sender = wire.left(|| UdpSender::open(&medium("l", "eth0", unicast("10.0.0.2"))));
        let sender = sender.unwrap();
        sent(&sender, "nobody is there");
        await_error(&sender);
        let receiver = wire.right(|| receiver(&[medium("r", "eth0", unicast("10.0.0.1"))]));
        let result = sender.send(b"somebody is there");
        assert!(matches!(result, SendOutcome::Refused), "{result:?}");
        assert_eq!(hear(&receiver).await.0, "somebody is there");
        sent(&sender, "all is well");
        assert_eq!(hear(&receiver).await.0, "all is well");
    });
}

#[test]
fn a_peer_that_stays_away_refuses_without_failing() {
    on_a_wire(async |wire| {
        let sender = wire.left(|| UdpSender::open(&medium("l", "eth0", unicast("10.0.0.2"))));
        let sender = sender.unwrap();
        sent(&sender, "1");
        await_error(&sender);
        let result = sender.send(b"2");
        assert!(matches!(result, SendOutcome::Refused), "{result:?}");
    });
}

#[test]
fn a_line_with_our_own_address_is_harmless() {
    on_a_wire(async |wire| {
        for own in ["10.0.0.1", "fd00::1"] {
            let sender = wire
                .left(|| UdpSender::open(&medium("l", "eth0", unicast(own))))
                .unwrap();
            for _ in 0..3 {
                sent(&sender, "to ourselves");
            }
        }
    });
}

#[test]
fn loopback_is_an_interface_too() {
    on_a_wire(async |wire| {
        let to_itself = medium("lo", "lo", unicast("127.0.0.1"));
        let receiver = wire.left(|| receiver(std::slice::from_ref(&to_itself)));
        let sender = wire.left(|| UdpSender::open(&to_itself)).unwrap();
        sent(&sender, "hello");
        assert_eq!(hear(&receiver).await.0, "hello");
    });
}

#[test]
fn what_has_arrived_is_read_without_waiting_for_the_runtime() {
    on_a_wire(async |wire| {
        let (sender, receiver) = left_to_right(wire);
        let mut buffer = [0; 100];
        assert_eq!(receiver.try_receive(&mut buffer).unwrap(), None);
        sent(&sender, "1");
        sent(&sender, "2");
        assert_eq!(hear(&receiver).await.0, "1");
        let second = receiver.try_receive(&mut buffer).unwrap().unwrap();
        assert_eq!((second.length, buffer[0]), (1, b'2'));
        assert_eq!(receiver.try_receive(&mut buffer).unwrap(), None);
        sent(&sender, "3");
        assert_eq!(hear(&receiver).await.0, "3");
    });
}

#[test]
fn an_interface_made_anew_is_taken_again() {
    on_a_wire(async |wire| {
        let (mut sender, mut receiver) = left_to_right(wire);
        // On another port than `receiver`.
        let group = |interface, target| Medium {
            port: 695,
            ..medium("m", interface, target)
        };
        let targets = [multicast(false), multicast6(false)];
        let mut hearing = targets.map(|t| wire.right(|| self::receiver(&[group("eth0", t)])));
        wire.left(|| ip("link delete eth0"));
        let text = wire.left(|| sender.reopen()).unwrap_err().to_string();
        assert!(text.contains("No such device"), "{text}");
        wire.join();
        let result = sender.send(b"into the void");
        assert!(
            matches!(&result, SendOutcome::Failed(e) if e.raw_os_error() == Some(libc::ENODEV)),
            "{result:?}"
        );
        wire.left(|| sender.reopen()).unwrap();
        // Twice: nothing has changed the second time.
        for _ in 0..2 {
            wire.right(|| receiver.reopen()).unwrap();
            for group in &mut hearing {
                wire.right(|| group.reopen()).unwrap();
            }
        }
        sent(&sender, "again");
        assert_eq!(hear(&receiver).await.0, "again");
        for (target, heard) in targets.into_iter().zip(&hearing) {
            let sender = wire.left(|| UdpSender::open(&group("eth0", target)));
            sent(&sender.unwrap(), "again");
            assert_eq!(hear(heard).await.0, "again");
        }
    });
}

#[test]
fn errors_name_the_medium_and_the_remedy() {
    on_a_wire(async |wire| {
        let missing = medium("x", "eth7", unicast("10.0.0.2"));
        let text = UdpSender::open(&missing).unwrap_err().to_string();
        assert!(text.contains("10.0.0.2 on eth7"), "{text}");
        let text = UdpReceiver::open(&listen_points(&[missing])[0])
            .unwrap_err()
            .to_string();
        assert!(text.contains("eth7, UDP port 694"), "{text}");

        let media = [medium("r", "eth0", unicast("10.0.0.1"))];
        let _first = wire.right(|| receiver(&media));
        let second = wire
            .right(|| UdpReceiver::open(&listen_points(&media)[0]))
            .unwrap_err();
        assert_eq!(second.kind(), ErrorKind::AddrInUse);
        assert!(second.to_string().contains("another had"), "{second}");

        let down = medium("l", "eth0", unicast("10.0.0.2"));
        let text = wire.left(|| {
            ip("link set eth0 down");
            UdpSender::open(&down).unwrap_err().to_string()
        });
        assert!(text.contains("is the interface up?"), "{text}");
    });
}

#[test]
fn lines_of_one_interface_share_a_receiver() {
    let mut media = all_kinds("eth0", 1);
    media.push(medium("eth0/ucast", "eth0", unicast("10.0.0.2")));
    media.push(medium("eth1", "eth1", unicast("10.9.1.2")));
    media.push(Medium {
        port: 695,
        ..medium("eth0/other", "eth0", multicast(false))
    });
    let places: Vec<_> = listen_points(&media)
        .iter()
        .map(|e| (e.interface().to_owned(), e.port(), e.is_v6()))
        .collect();
    let expected = [
        ("eth0", 694, false),
        ("eth0", 694, true),
        ("eth1", 694, false),
        ("eth0", 695, false),
    ];
    assert_eq!(places, expected.map(|(i, p, v6)| (i.to_owned(), p, v6)));
}

#[test]
fn a_burst_waits_until_it_is_read() {
    on_a_wire(async |wire| {
        let ear = &listen_points(&[medium("eth0", "eth0", unicast("10.0.0.2"))])[0];
        let receiver = wire.left(|| UdpReceiver::open(ear).unwrap());
        let sender = wire.right(|| std::net::UdpSocket::bind("10.0.0.2:0").unwrap());
        for _ in 0..500 {
            sender.send_to(&[7; 1000], ("10.0.0.1", PORT)).unwrap();
        }
        let mut buffer = [0; 2000];
        let mut heard = 0;
        while receiver.try_receive(&mut buffer).unwrap().is_some() {
            heard += 1;
        }
        assert_eq!(heard, 500);
    });
}
