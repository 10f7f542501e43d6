//! The probe `dns` with a real name server.

use std::net::{IpAddr, SocketAddr};

use had::model::health::{DnsProbe, Probe};
use nix::sys::signal::Signal;

use crate::common::{Process, alone, within};
use crate::probes::{active, own_network, run, until};

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 53);

fn dns(name: &str, expect: Option<&str>) -> Probe {
    Probe::Dns(DnsProbe {
        name: name.to_owned(),
        server: SERVER,
        expect: expect.map(|address| address.parse().unwrap()),
    })
}

#[test]
fn a_name_server_is_asked_for_both_kinds_of_addresses() {
    alone(async {
        own_network();
        let www = dns("www.example.org", None);
        let refused = Err("127.0.0.1:53: Connection refused".to_owned());
        assert_eq!(run(&www).await, refused);
        let server = Process::start(
            "exec dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= --no-resolv --no-hosts \
             --listen-address=127.0.0.1 --bind-interfaces --local=/example.org/ \
             --host-record=www.example.org,10.0.0.100 --host-record=six.example.org,fd00::1 \
             --host-record=both.example.org,10.0.0.7,fd00::7 --cname=shop.example.org,www.example.org",
        );
        until(&www, true).await;
        let ok = |text: &str| Ok(text.to_owned());
        let bad = |text: &str| Err(text.to_owned());
        for (probe, wanted) in [
            (
                dns("www.example.org", None),
                ok("www.example.org is 10.0.0.100"),
            ),
            (
                dns("WWW.example.org.", Some("10.0.0.100")),
                ok("WWW.example.org. is 10.0.0.100"),
            ),
            (
                dns("www.example.org", Some("10.0.0.101")),
                bad("www.example.org is 10.0.0.100, not 10.0.0.101"),
            ),
            (
                dns("www.example.org", Some("fd00::1")),
                bad("www.example.org has no address"),
            ),
            (
                dns("six.example.org", None),
                ok("six.example.org is fd00::1"),
            ),
            (
                dns("both.example.org", None),
                ok("both.example.org is 10.0.0.7"),
            ),
            (
                dns("both.example.org", Some("fd00::7")),
                ok("both.example.org is fd00::7"),
            ),
            (
                dns("shop.example.org", None),
                ok("shop.example.org is 10.0.0.100"),
            ),
            (
                dns("none.example.org", None),
                bad("127.0.0.1:53: there is no name none.example.org (NXDOMAIN)"),
            ),
            (
                dns("www.example.com", None),
                bad("127.0.0.1:53: it refuses to tell about www.example.com (REFUSED)"),
            ),
        ] {
            assert_eq!(run(&probe).await, wanted, "{probe}");
        }
        server.signal(Signal::SIGSTOP);
        let late = active(&www).run(&within(1)).await;
        assert_eq!(late, bad("no answer in time"));
    });
}
