//! The built-in `IPaddr`, `IPaddr2` and `IPv6addr`: a run of addresses that are started and stopped as one.
//!
//! Whether the addresses should be up here is kept under one lock, and whoever adds or deletes one holds it. So a
//! renewal or a restoration that comes late can never bring an address back after its stop.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::address::{VirtualAddress, network_of};
use super::announce::Announcement;
use super::{Agent, AgentError, Limits, Status, now};
use crate::model::Time;
use crate::sys::netlink::{self, Address, Link, Netlink, NetlinkError};

/// The shortest lifetime that the kernel takes; it counts in whole seconds.
const SHORTEST: Duration = Duration::from_secs(1);
/// How much sooner than its lifetime says the kernel may remove an address.
const EARLY: Duration = Duration::from_millis(100);

/// Consecutive addresses of a group.
pub struct Addresses {
    list: Vec<VirtualAddress>,
    netlink: Netlink,
    /// When the right to hold them ends; the kernel removes them then, if we do not.
    until: AtomicU64,
    /// Whether a task is on its way to tell the kernel of a new end.
    telling: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Started or adopted, and not stopped since.
    up: bool,
    /// When the kernel removes them, as last told.
    expires: Time,
    /// Found missing, and not yet known to be back and announced.
    missed: Vec<VirtualAddress>,
    announcement: Announcement,
}

impl Addresses {
    /// Touches nothing yet.
    pub fn new(list: Vec<VirtualAddress>, netlink: Netlink) -> Self {
        Addresses {
            list,
            netlink,
            until: AtomicU64::new(Time::NEVER.0),
            telling: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// The addresses in order.
    pub fn list(&self) -> &[VirtualAddress] {
        &self.list
    }

    /// When the right to hold them ends.
    pub fn until(&self) -> Time {
        Time(self.until.load(Ordering::Relaxed))
    }

    /// Sets when the right to hold them ends: at once for a start or a restoration to come, and soon, in the background,
    /// in the kernel for addresses that are up. Cheap enough for every heartbeat.
    pub fn renew(self: &Arc<Self>, until: Time) {
        self.until.store(until.0, Ordering::Relaxed);
        if self.telling.swap(true, Ordering::Relaxed) {
            return; // the task that is under way will see it
        }
        let addresses = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = addresses.tell_kernel().await {
                tracing::warn!(%error, "cannot renew the lifetime of addresses");
            }
        });
    }

    /// Gives addresses that are up the lifetime that their right has. The kernel is told only what moves its end by a
    /// useful step, and its end is a little earlier than that of the right; only a right that ends within a second
    /// does it outlast.
    async fn tell_kernel(&self) -> Result<(), AgentError> {
        let mut state = self.state.lock().await;
        self.telling.store(false, Ordering::Relaxed);
        let until = self.until();
        let now = now();
        if !state.up || until <= now {
            return Ok(());
        }
        let valid = lifetime(until, now);
        let end = valid.map_or(Time::NEVER, |valid| now + valid);
        if end >= state.expires && end.since(state.expires) <= self.step(valid) {
            return Ok(());
        }
        state.expires = self.add().await?;
        Ok(())
    }

    /// Announces them again, if they are up.
    pub async fn announce(&self) {
        let mut state = self.state.lock().await;
        if state.up {
            state.announcement.end().await;
            state.announcement = Announcement::begin(&self.netlink, &self.list).await;
        }
    }

    /// Puts back those that should be up and are not, and announces them. Returns them. After the end of their
    /// lifetime nothing is put back: then it was the kernel that rightly took them.
    pub async fn restore(&self) -> Result<Vec<VirtualAddress>, AgentError> {
        let mut state = self.state.lock().await;
        if !state.up || now() + EARLY >= state.expires.min(self.until()) {
            return Ok(Vec::new());
        }
        for missing in self.missing().await? {
            if !state.missed.contains(&missing) {
                state.missed.push(missing);
            }
        }
        if state.missed.is_empty() {
            return Ok(Vec::new());
        }
        // An error leaves them noted: part of them may be back, and nobody has heard of it.
        state.expires = self.add().await?;
        let restored = std::mem::take(&mut state.missed);
        state.announcement.end().await;
        state.announcement = Announcement::begin(&self.netlink, &restored).await;
        Ok(restored)
    }

    /// How far the end in the kernel must move to be worth telling: for many addresses that costs the kernel some
    /// milliseconds. Never more than half of the lifetime, or it would come too late.
    fn step(&self, valid: Option<Duration>) -> Duration {
        let cost = Duration::from_millis(u64::try_from(self.list.len()).unwrap_or(u64::MAX));
        let half = valid.map_or(Duration::ZERO, |valid| valid / 2);
        cost.max(SHORTEST / 2).min(half)
    }

    async fn missing(&self) -> Result<Vec<VirtualAddress>, AgentError> {
        let links = self.by_name().await?;
        let found = self.netlink.addresses().await.map_err(failed)?;
        let found: HashSet<(u32, IpAddr)> = found.iter().map(|a| (a.index, a.ip)).collect();
        let is_there = |a: &VirtualAddress| {
            links
                .get(&a.interface)
                .is_some_and(|l| found.contains(&(l.index, a.ip)))
        };
        Ok(self.list.iter().filter(|a| !is_there(a)).cloned().collect())
    }

    /// Adds all in one batch, with the lifetime that is left, and returns its end. Those that are there get the new
    /// lifetime.
    async fn add(&self) -> Result<Time, AgentError> {
        let links = self.by_name().await?;
        let now = now();
        let valid = lifetime(self.until(), now);
        let others = self.others().await?;
        let mut batch = Vec::with_capacity(self.list.len());
        for address in &self.list {
            let link = usable(address, &links)?;
            batch.push(Address {
                prefix_route: !others
                    .contains(&(link.index, network_of(address.ip, address.prefix))),
                broadcast: address.broadcast,
                label: address.label.clone(),
                valid,
                ..Address::new(link.index, address.ip, address.prefix)
            });
        }
        for name in self.interfaces() {
            netlink::promote_secondaries(name);
        }
        self.netlink.add_addresses(&batch).await.map_err(failed)?;
        Ok(valid.map_or(Time::NEVER, |valid| now + valid))
    }

    fn interfaces(&self) -> HashSet<&str> {
        self.list.iter().map(|a| a.interface.as_str()).collect()
    }

    /// The IPv6 networks in which this node has addresses of its own. Ours then need no route to that network, and
    /// must have none: the kernel would give the shared route the lifetime of ours.
    async fn others(&self) -> Result<HashSet<(u32, IpAddr)>, AgentError> {
        if !self.list.iter().any(|a| a.ip.is_ipv6()) {
            return Ok(HashSet::new());
        }
        let mut all = self.netlink.addresses().await.map_err(failed)?;
        all.retain(|a| a.ip.is_ipv6() && !a.ours && !self.list.iter().any(|o| o.ip == a.ip));
        let networks = all.iter().map(|a| (a.index, network_of(a.ip, a.prefix)));
        Ok(networks.collect())
    }

    async fn by_name(&self) -> Result<HashMap<String, Link>, AgentError> {
        let links = self.netlink.links().await.map_err(failed)?;
        Ok(links.into_iter().map(|l| (l.name.clone(), l)).collect())
    }

    /// What of ours is on its interface now, whatever its prefix.
    async fn present(&self, links: &HashMap<String, Link>) -> Result<Vec<Address>, AgentError> {
        let wanted: HashSet<(u32, IpAddr)> = self
            .list
            .iter()
            .filter_map(|a| Some((links.get(&a.interface)?.index, a.ip)))
            .collect();
        let mut all = self.netlink.addresses().await.map_err(failed)?;
        all.retain(|a| wanted.contains(&(a.index, a.ip)));
        Ok(all)
    }
}

#[async_trait]
impl Agent for Addresses {
    async fn start(&self, _limits: &Limits) -> Result<(), AgentError> {
        let mut state = self.state.lock().await;
        state.announcement.end().await;
        // Before the first is added: a start that fails half-way is then still undone by a stop, and kept by nobody.
        state.up = false;
        state.missed.clear();
        state.expires = self.add().await?;
        state.up = true;
        state.announcement = Announcement::begin(&self.netlink, &self.list).await;
        Ok(())
    }

    async fn stop(&self, _limits: &Limits) -> Result<(), AgentError> {
        let mut state = self.state.lock().await;
        state.up = false;
        state.missed.clear();
        state.announcement.end().await;
        let links = self.by_name().await?;
        let present = self.present(&links).await?;
        if present.is_empty() {
            return Ok(());
        }
        let restored = self.netlink.delete_addresses(&present).await;
        for innocent in restored.map_err(failed)? {
            tracing::warn!(%innocent, "the kernel took another address of the same network along; it was put back");
        }
        Ok(())
    }

    async fn monitor(&self, _limits: &Limits) -> Result<Status, AgentError> {
        let mut state = self.state.lock().await;
        let links = self.by_name().await?;
        let present = self.present(&links).await?;
        if present.is_empty() {
            return Ok(Status::Stopped);
        }
        for address in &self.list {
            let link = usable(address, &links)?;
            let found = present
                .iter()
                .find(|p| p.index == link.index && p.ip == address.ip);
            well(address, found)?;
        }
        if !state.up {
            // Found after our own start: adopted, from now on renewed and kept.
            state.up = true;
            let lifetimes = present.iter().filter_map(|a| a.valid);
            state.expires = lifetimes.min().map_or(Time::NEVER, |valid| now() + valid);
        }
        Ok(Status::Running)
    }
}

/// What the kernel is told of a right: whole seconds, rounded down, and none for one without end.
fn lifetime(until: Time, now: Time) -> Option<Duration> {
    match until {
        Time::NEVER => None,
        until => Some(Duration::from_secs(until.since(now).as_secs()).max(SHORTEST)),
    }
}

fn well(address: &VirtualAddress, found: Option<&Address>) -> Result<(), AgentError> {
    let problem = match found {
        None => "is missing, while others of its run are there",
        Some(a) if a.duplicate => "is in use by another machine (duplicate address detection)",
        Some(a) if a.tentative => "is not usable yet (duplicate address detection runs)",
        Some(_) => return Ok(()),
    };
    Err(AgentError::Failed(format!("{address} {problem}")))
}

/// The interface of an address, if it can carry one now.
fn usable<'l>(
    address: &VirtualAddress,
    links: &'l HashMap<String, Link>,
) -> Result<&'l Link, AgentError> {
    let name = &address.interface;
    let problem = match links.get(name) {
        None => format!("there is no interface {name}"),
        Some(link) if !link.up => format!("{name} is down (`ip link set {name} up`)"),
        Some(link) if !link.carrier => {
            format!("{name} has no carrier (is its cable plugged in and the switch on?)")
        }
        Some(link) => return Ok(link),
    };
    Err(AgentError::Failed(format!("{}: {problem}", address.ip)))
}

#[allow(clippy::needless_pass_by_value)] // for `map_err`
fn failed(error: NetlinkError) -> AgentError {
    AgentError::Failed(error.to_string())
}

#[cfg(test)]
mod tests;
