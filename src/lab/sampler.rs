//! Samples who holds an address, and whether two hosts ever held one at the same time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use serde::{Deserialize, Serialize};

use super::host::Host;
use super::net::{self, LabNetlink};
use super::{LabError, now};
use crate::model::Time;

/// The result of sampling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplerReport {
    /// The number of samples.
    pub samples: u64,
    /// Every time an address had two owners.
    pub double: Vec<DuplicateAddress>,
    /// Every change of owners: (when first seen, address, all its owners by name). The first entry of an address is
    /// what held when the sampler began.
    pub owners: Vec<(Time, IpAddr, Vec<String>)>,
}

/// Two owners at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicateAddress {
    /// First seen.
    pub from: Time,
    /// Until it was no longer so; the sampling interval is its error.
    pub lasted: Duration,
    /// Of which address.
    pub address: IpAddr,
    /// By whom.
    pub nodes: Vec<String>,
}

/// Samples hosts again and again.
pub struct AddressSampler {
    views: Vec<HostView>,
    addresses: Vec<IpAddr>,
    record: OwnersAt,
}

impl AddressSampler {
    /// Starts with a first sample: whatever happens after this returns is seen.
    pub fn start(hosts: &[Arc<Host>], addresses: Vec<IpAddr>) -> Result<AddressSampler, LabError> {
        let views = hosts.iter().map(|h| HostView {
            host: Arc::clone(h),
            open: None,
        });
        let mut watch = AddressSampler {
            views: views.collect(),
            addresses,
            record: OwnersAt::default(),
        };
        watch.sample()?;
        Ok(watch)
    }

    /// Goes on until `stop` becomes readable.
    pub fn run(mut self, every: Duration, stop: BorrowedFd<'_>) -> Result<SamplerReport, LabError> {
        let mut next = now();
        loop {
            next = std::cmp::max(next + every, now());
            let mut polled = [PollFd::new(stop, PollFlags::POLLIN)];
            let timeout = TimeSpec::from(next.since(now()));
            // An interrupted wait only makes the next sample come early.
            let ends = ppoll(&mut polled, Some(timeout), None).is_ok_and(|n| n > 0);
            self.sample()?;
            if ends {
                return Ok(self.record.finish(now()));
            }
        }
    }

    fn sample(&mut self) -> Result<(), LabError> {
        sample_hosts(&mut self.views, &self.addresses, &mut self.record)
    }
}

/// One sample of all hosts. If an address seems to have two owners, the hosts are sampled again: they are not read at the
/// same instant, and an address that moved in between was never on both. Both held it at once only if an earlier owner
/// still holds it *after* the last one was seen with it.
fn sample_hosts(
    views: &mut [HostView],
    addresses: &[IpAddr],
    record: &mut OwnersAt,
) -> Result<(), LabError> {
    let mut first = owners(views, addresses)?;
    let at = now();
    if first.values().any(|names| names.len() > 1) {
        let again = owners(views, addresses)?;
        for (address, names) in &mut first {
            keep_simultaneous_owners(names, again.get(address).map_or(&[], Vec::as_slice));
        }
    }
    record.note(at, first);
    Ok(())
}

/// Of owners seen one after the other, keeps the last, and of the earlier ones those that were owners afterwards too.
fn keep_simultaneous_owners(names: &mut Vec<String>, afterwards: &[String]) {
    let last = names.last().cloned();
    names.retain(|n| Some(n) == last.as_ref() || afterwards.contains(n));
}

fn owners(
    views: &mut [HostView],
    addresses: &[IpAddr],
) -> Result<BTreeMap<IpAddr, Vec<String>>, LabError> {
    let mut owners: BTreeMap<IpAddr, Vec<String>> =
        addresses.iter().map(|a| (*a, Vec::new())).collect();
    for view in views {
        for held in view.held_addresses()? {
            if let Some(names) = owners.get_mut(&held)
                && names.last() != Some(&view.host.plan.name)
            {
                names.push(view.host.plan.name.clone());
            }
        }
    }
    Ok(owners)
}

/// A view into one host, renewed when it boots again.
struct HostView {
    host: Arc<Host>,
    open: Option<(u64, LabNetlink)>,
}

impl HostView {
    /// What the host holds; nothing while it is off.
    fn held_addresses(&mut self) -> Result<Vec<IpAddr>, LabError> {
        let Some(running) = self.host.running() else {
            self.open = None;
            return Ok(Vec::new());
        };
        if self
            .open
            .as_ref()
            .is_none_or(|(boot, _)| *boot != running.boot)
        {
            self.open = Some((
                running.boot,
                net::in_namespace(&running.netns, LabNetlink::open)?,
            ));
        }
        let held = self
            .open
            .as_ref()
            .map_or(Ok(Vec::new()), |(_, netlink)| netlink.held_addresses())?;
        // The host may have been powered off meanwhile; then what it held does not count.
        let on = self.host.running().is_some_and(|r| r.boot == running.boot);
        Ok(if on { held } else { Vec::new() })
    }
}

#[derive(Default)]
struct OwnersAt {
    report: SamplerReport,
    last: BTreeMap<IpAddr, (Time, Vec<String>)>,
}

impl OwnersAt {
    fn note(&mut self, at: Time, owners: BTreeMap<IpAddr, Vec<String>>) {
        self.report.samples = self.report.samples.saturating_add(1);
        for (address, names) in owners {
            if self
                .last
                .get(&address)
                .is_some_and(|(_, before)| *before == names)
            {
                continue;
            }
            self.report.owners.push((at, address, names.clone()));
            if let Some((from, before)) = self.last.insert(address, (at, names)) {
                self.ended(address, from, before, at);
            }
        }
    }

    fn ended(&mut self, address: IpAddr, from: Time, nodes: Vec<String>, at: Time) {
        if nodes.len() > 1 {
            self.report.double.push(DuplicateAddress {
                from,
                lasted: at.since(from),
                address,
                nodes,
            });
        }
    }

    fn finish(mut self, at: Time) -> SamplerReport {
        for (address, (from, names)) in std::mem::take(&mut self.last) {
            self.ended(address, from, names, at);
        }
        self.report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_become_a_timeline_and_doubles_have_a_length() {
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let mut record = OwnersAt::default();
        for (at, names) in [
            (1, vec!["a"]),
            (2, vec!["a"]),
            (3, vec!["a", "b"]),
            (4, vec!["a", "b"]),
            (5, vec!["b"]),
        ] {
            let names = names.into_iter().map(String::from).collect();
            record.note(Time(at), BTreeMap::from([(address, names)]));
        }
        let report = record.finish(Time(9));
        assert_eq!(report.samples, 5);
        let times: Vec<u64> = report.owners.iter().map(|o| o.0.0).collect();
        assert_eq!(times, [1, 3, 5]);
        let nodes = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(
            report.double,
            [DuplicateAddress {
                from: Time(3),
                lasted: Duration::from_nanos(2),
                address,
                nodes
            }]
        );
    }

    #[test]
    fn an_address_that_moved_while_being_looked_for_is_not_doubled() {
        let confirmed = |first: &[&str], afterwards: &[&str]| {
            let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
            let mut names = own(first);
            keep_simultaneous_owners(&mut names, &own(afterwards));
            names
        };
        assert_eq!(confirmed(&["a", "b"], &["b"]), ["b"]);
        assert_eq!(confirmed(&["a", "b"], &["a", "b"]), ["a", "b"]);
        assert_eq!(confirmed(&["a", "b"], &["a"]), ["a", "b"]);
    }

    #[test]
    fn a_double_that_never_ended_is_reported() {
        let address: IpAddr = "::1".parse().unwrap();
        let mut record = OwnersAt::default();
        record.note(
            Time(3),
            BTreeMap::from([(address, vec!["a".into(), "b".into()])]),
        );
        assert_eq!(record.finish(Time(9)).double.len(), 1);
    }
}
