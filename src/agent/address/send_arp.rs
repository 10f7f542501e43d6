//! `SendArp::address/interface[::seconds[::gateway...]]`: announces an address that another resource manages, at each start
//! and then periodically while it runs and this machine has the address.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::agent::address::announce::{self, Announcement};
use crate::agent::address::virtual_address::{self, Network, VirtualAddress};
use crate::agent::builtin::pseudo::RunMarker;
use crate::agent::{Agent, AgentError, Limits, Status};
use crate::sys::netlink::Netlink;
use crate::text::Mistake;

const USAGE: &str =
    "the form is SendArp::address/interface, or SendArp::address/interface::seconds::gateway";

/// Announces an address; does not manage it.
pub struct SendArp {
    address: VirtualAddress,
    /// The interval of further announcements, if any.
    every: Option<Duration>,
    /// Gateways that get an ARP request from the address each time, because they ignore gratuitous ARP.
    gateways: Vec<Ipv4Addr>,
    netlink: Netlink,
    marker: RunMarker,
    sending: Mutex<RunningAnnouncements>,
}

#[derive(Default)]
struct RunningAnnouncements {
    at_start: Announcement,
    periodic: Option<Announcement>,
}

impl SendArp {
    /// Reads the arguments; `token` names the marker file.
    pub fn new(
        args: &[String],
        token: &str,
        run_dir: &Path,
        network: &Network,
        netlink: &Netlink,
    ) -> Result<Self, Mistake> {
        let (argument, rest) = args
            .split_first()
            .ok_or_else(|| Mistake::new("SendArp names no address").help(USAGE))?;
        let Some((ip, interface)) = argument.split_once('/') else {
            return Err(Mistake::new(format!("`{argument}` names no interface")).help(USAGE));
        };
        let whole = if ip.contains(':') { 128 } else { 32 };
        let address = virtual_address::resolve(&format!("{ip}/{whole}/{interface}"), network)?;
        let every = rest.first().map(|text| parse_interval(text)).transpose()?;
        let gateways = rest
            .iter()
            .skip(1)
            .map(|text| parse_gateway(text, &address));
        let gateways = gateways.collect::<Result<_, _>>()?;
        Ok(SendArp {
            address,
            every,
            gateways,
            netlink: netlink.clone(),
            marker: RunMarker::new(run_dir, token),
            sending: Mutex::default(),
        })
    }

    /// A description for an administrator.
    pub fn describe(&self) -> String {
        let mut text = format!("{} on {}", self.address.ip, self.address.interface);
        if let Some(every) = self.every {
            text += &format!(", again every {} s", every.as_secs());
        }
        let gateways: Vec<String> = self.gateways.iter().map(ToString::to_string).collect();
        if !gateways.is_empty() {
            text += &format!(", also to {}", gateways.join(", "));
        }
        text
    }

    fn start_periodic(&self) -> Option<Announcement> {
        let (netlink, address) = (&self.netlink, &self.address);
        let every = self.every?;
        Some(Announcement::repeat_every(
            netlink,
            address,
            &self.gateways,
            every,
        ))
    }
}

fn parse_interval(text: &str) -> Result<Duration, Mistake> {
    match text.parse() {
        Ok(seconds @ 1..=86400) => Ok(Duration::from_secs(seconds)),
        _ => Err(Mistake::new(format!(
            "`{text}` is not a number of seconds from 1 to 86400"
        ))
        .help(USAGE)),
    }
}

fn parse_gateway(text: &str, address: &VirtualAddress) -> Result<Ipv4Addr, Mistake> {
    if address.ip.is_ipv6() {
        return Err(Mistake::new(format!(
            "`{text}` is one argument too many: IPv6 addresses are announced to all at once"
        )));
    }
    let mistake = || Mistake::new(format!("`{text}` is not the IPv4 address of a gateway"));
    text.parse().map_err(|_| mistake().help(USAGE))
}

#[async_trait]
impl Agent for SendArp {
    async fn start(&self, _limits: &Limits) -> Result<(), AgentError> {
        let (interface, links) = (&self.address.interface, self.netlink.links().await);
        if links.is_ok_and(|links| links.iter().all(|l| l.name != *interface)) {
            return Err(AgentError::Failed(format!(
                "{}: there is no interface {interface}",
                self.address.ip
            )));
        }
        let mut sending = self.sending.lock().await;
        sending.at_start.end().await;
        let addresses = std::slice::from_ref(&self.address);
        sending.at_start = Announcement::start(&self.netlink, addresses).await;
        announce::update_gateways(&self.netlink, &self.address, &self.gateways).await;
        if sending.periodic.is_none() {
            sending.periodic = self.start_periodic();
        }
        self.marker.set()
    }

    async fn stop(&self, _limits: &Limits) -> Result<(), AgentError> {
        let mut sending = self.sending.lock().await;
        sending.at_start.end().await;
        if let Some(mut again) = sending.periodic.take() {
            again.end().await;
        }
        self.marker.clear()
    }

    async fn monitor(&self, _limits: &Limits) -> Result<Status, AgentError> {
        let mut sending = self.sending.lock().await;
        let status = self.marker.status();
        if status == Status::Running && sending.periodic.is_none() {
            // An earlier daemon started it.
            sending.periodic = self.start_periodic();
        }
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netlink::Link;

    fn described(args: &[&str]) -> String {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let network = Network {
            links: vec![Link::sample(1, "lo"), Link::sample(2, "eth0")],
            routes: vec![],
            addresses: vec![],
        };
        let agent = SendArp::new(&args, "t", Path::new("/x"), &network, &Netlink::new());
        agent.map_or_else(|m| format!("error: {}", m.message), |a| a.describe())
    }

    #[tokio::test]
    async fn what_each_form_means() {
        for (args, meaning) in [
            (&["10.0.0.5/eth0"][..], "10.0.0.5 on eth0"),
            (
                &["fd00:0:0:0:0:0:0:5/eth0", "9"],
                "fd00::5 on eth0, again every 9 s",
            ),
            (
                &["10.0.0.5/eth0", "20", "10.0.0.254", "10.0.0.253"],
                "10.0.0.5 on eth0, again every 20 s, also to 10.0.0.254, 10.0.0.253",
            ),
            (&[], "error: SendArp names no address"),
            (&["10.0.0.5"], "error: `10.0.0.5` names no interface"),
            (
                &["10.0.0.5/eth0", "0"],
                "error: `0` is not a number of seconds from 1 to 86400",
            ),
            (
                &["10.0.0.5/eth0", "20s"],
                "error: `20s` is not a number of seconds from 1 to 86400",
            ),
            (
                &["10.0.0.5/eth0", "20", "router"],
                "error: `router` is not the IPv4 address of a gateway",
            ),
            (
                &["fd00:0:0:0:0:0:0:5/eth0", "20", "10.0.0.254"],
                "error: `10.0.0.254` is one argument too many: IPv6 addresses are announced to all at once",
            ),
        ] {
            assert_eq!(described(args), meaning, "{args:?}");
        }
    }
}
