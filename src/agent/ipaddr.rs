//! The built-in `IPaddr`, `IPaddr2` and `IPv6addr`: a run of addresses that are started and stopped as one.
//!
//! Whether the addresses should be up here is kept under one lock, and whoever adds or deletes one holds it. So a
//! renewal or a restoration that comes late can never bring an address back after its stop.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::address::VirtualAddress;
use super::announce::Announcement;
use super::{Agent, AgentError, Limits, Status, now};
use crate::model::Time;
use crate::sys::netlink::{Address, Link, Netlink, NetlinkError};

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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Started or adopted, and not stopped since.
    up: bool,
    /// When the kernel removes them, as last told.
    expires: Time,
    announcement: Announcement,
}

impl Addresses {
    /// Touches nothing yet.
    pub fn new(list: Vec<VirtualAddress>, netlink: Netlink) -> Self {
        Addresses {
            list,
            netlink,
            until: AtomicU64::new(Time::NEVER.0),
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

    /// Sets when the right to hold them ends: for a start to come, and in the kernel for addresses that are up. The
    /// kernel's end is earlier by a part of a second; only a right that ends within a second does it outlast.
    pub async fn renew(&self, until: Time) -> Result<(), AgentError> {
        self.until.store(until.0, Ordering::Relaxed);
        let mut state = self.state.lock().await;
        if !state.up || until <= now() {
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
        let missing = self.missing().await?;
        if missing.is_empty() {
            return Ok(missing);
        }
        state.expires = self.add().await?;
        state.announcement.end().await;
        state.announcement = Announcement::begin(&self.netlink, &missing).await;
        Ok(missing)
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
        let valid = match self.until() {
            Time::NEVER => None,
            until => Some(Duration::from_secs(until.since(now).as_secs()).max(SHORTEST)),
        };
        let mut batch = Vec::with_capacity(self.list.len());
        for address in &self.list {
            let link = usable(address, &links)?;
            batch.push(Address {
                broadcast: address.broadcast,
                label: address.label.clone(),
                valid,
                ..Address::new(link.index, address.ip, address.prefix)
            });
        }
        self.netlink.add_addresses(&batch).await.map_err(failed)?;
        Ok(valid.map_or(Time::NEVER, |valid| now + valid))
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
        state.expires = self.add().await?;
        state.up = true;
        state.announcement = Announcement::begin(&self.netlink, &self.list).await;
        Ok(())
    }

    async fn stop(&self, _limits: &Limits) -> Result<(), AgentError> {
        let mut state = self.state.lock().await;
        state.up = false;
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
