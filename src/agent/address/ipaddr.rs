//! The built-in `IPaddr`, `IPaddr2` and `IPv6addr`: consecutive addresses that are started and stopped as one step.
//!
//! One lock guards whether the addresses should be up. Whoever adds or deletes an address holds it, so a late renewal or
//! restoration can never bring an address back after its stop.
//!
//! The kernel gets each address with a lifetime (its TTL) that is renewed while this node holds the lease of the group. If
//! the daemon is killed or stopped, the kernel removes the addresses by itself. It counts in whole seconds and acts up to
//! 1.25 s late, so the TTL is at least two seconds and may outlast a shorter lease. That is safe: a peer does not take over
//! an address that still answers, and an expired address is put back only under a lease that is still valid.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::agent::address::announce::Announcement;
use crate::agent::address::carrier::{
    check_usable, find_foreign, foreign_among, is_reached_by, renewable_link, usable_link,
};
use crate::agent::address::virtual_address::{Network, VirtualAddress, resolve_now};
use crate::agent::{Agent, AgentError, Limits, Status};
use crate::model::Time;
use crate::sys::clock::now;
use crate::sys::netlink::{self, Address, Link, Netlink, NetlinkError};

/// The shortest TTL in the kernel. With it a renewal may be more than a second late, as on a very busy machine.
pub const MIN_KERNEL_TTL: Duration = Duration::from_secs(2);
/// How long the kernel may take to renew one address; a generous guess.
const RENEWAL_COST: Duration = Duration::from_millis(1);
/// How often a start whose lease has run out checks for a renewed one.
const LEASE_POLL: Duration = Duration::from_millis(5);
/// The kernel may remove an address this much before its TTL ends.
const EARLY_EXPIRY: Duration = Duration::from_millis(100);

/// Consecutive addresses of a group: one step.
pub struct Addresses {
    /// Some may be open until this machine tells where they belong.
    list: std::sync::Mutex<Arc<Vec<VirtualAddress>>>,
    /// Whether a program that is an earlier member of the group may make their interfaces.
    after_programs: bool,
    netlink: Netlink,
    /// The end of the lease. The kernel removes the addresses then, if this node does not.
    lease_end: AtomicU64,
    /// The shortest TTL in the kernel, in seconds.
    min_ttl: AtomicU64,
    /// Whether a task is about to renew the TTL in the kernel.
    renewal_pending: AtomicBool,
    state: Mutex<AddressState>,
}

#[derive(Default)]
struct AddressState {
    /// Whether they were started or adopted, and not stopped since.
    up: bool,
    /// When their TTL in the kernel ends.
    ttl_end: Time,
    /// Addresses that were missing, and are not yet known to be back and announced.
    missing: Vec<VirtualAddress>,
    /// Whether an address was removed while the lease had run out: the next renewal puts it back.
    restore_on_renewal: bool,
    /// Why the last renewal failed, as last logged.
    renewal_problem: Option<String>,
    announcement: Announcement,
}

impl Addresses {
    /// The addresses; nothing is changed yet. `after_programs`: an earlier member of the group may make their interfaces.
    pub fn new(list: Vec<VirtualAddress>, netlink: Netlink, after_programs: bool) -> Self {
        Addresses {
            list: std::sync::Mutex::new(Arc::new(list)),
            after_programs,
            netlink,
            lease_end: AtomicU64::new(Time::NEVER.0),
            min_ttl: AtomicU64::new(0),
            renewal_pending: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// The addresses in order.
    pub fn list(&self) -> Arc<Vec<VirtualAddress>> {
        Arc::clone(&self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether an earlier member of the group may make their interfaces.
    pub fn come_after_programs(&self) -> bool {
        self.after_programs
    }

    /// Asks this machine for what was not known of them yet.
    async fn complete(&self) -> Result<Arc<Vec<VirtualAddress>>, AgentError> {
        let list = self.list();
        if list.iter().all(|a| a.open.is_none()) {
            return Ok(list);
        }
        let network = Network::read(&self.netlink).await.map_err(netlink_failed)?;
        let completed = list.iter().map(|address| match &address.open {
            Some(argument) => resolve_now(argument, &network),
            None => Ok(address.clone()),
        });
        let completed: Result<Vec<_>, _> = completed.collect();
        let completed = completed.map_err(|mistake| AgentError::Failed(mistake.message))?;
        *self.list.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(completed);
        Ok(self.list())
    }

    /// What keeps them from working on this node now; none if nothing does.
    pub async fn find_obstacle(
        &self,
        links: &HashMap<String, Link>,
        present: &[Address],
    ) -> Option<String> {
        let list = match self.complete().await {
            Ok(list) => list,
            Err(error) => return Some(error.to_string()),
        };
        let made = |a: &&VirtualAddress| self.may_be_made(links.get(&a.interface));
        let obstacle = |a| Some(usable_link(a, links).err()?.to_string());
        if let Some(text) = list.iter().filter(|a| !made(a)).find_map(obstacle) {
            return Some(text);
        }
        let up = self.state.try_lock().is_ok_and(|state| state.up);
        find_foreign(&list, links, present).filter(|_| !up)
    }

    /// Fails if one is a lasting address of this node that had did not add: with a lifetime, and deleted by a stop, it would take
    /// this node off its network.
    async fn refuse_foreign(&self) -> Result<(), AgentError> {
        let (list, links) = (self.complete().await?, self.links_by_name().await?);
        let all = self.netlink.addresses().await.map_err(netlink_failed)?;
        match find_foreign(&list, &links, &all) {
            Some(text) => Err(AgentError::Failed(text)),
            None => Ok(()),
        }
    }

    /// Whether an earlier member of the group may still bring this interface up.
    fn may_be_made(&self, link: Option<&Link>) -> bool {
        self.after_programs && link.is_none_or(|l| !l.up || l.mac.is_none())
    }

    /// The end of the lease.
    pub fn lease_end(&self) -> Time {
        Time(self.lease_end.load(Ordering::Relaxed))
    }

    /// Renews the lease: at once for later starts and restorations, and soon after, in the background, in the kernel if the
    /// addresses are up. The TTL is never shorter than `min_ttl`. Cheap enough for every heartbeat.
    pub fn renew(self: &Arc<Self>, lease_end: Time, min_ttl: Duration) {
        self.set_lease(lease_end, min_ttl);
        if self.renewal_pending.swap(true, Ordering::Relaxed) {
            return; // the pending task will use the new end
        }
        let addresses = Arc::clone(self);
        tokio::spawn(async move {
            let problem = addresses.renew_in_kernel().await.err();
            addresses.log_renewal(problem.map(|e| e.to_string())).await;
        });
    }

    /// Logs a failed renewal once, and not with each heartbeat.
    async fn log_renewal(&self, problem: Option<String>) {
        let mut state = self.state.lock().await;
        if state.renewal_problem == problem {
            return;
        }
        let first = self.list().first().map(ToString::to_string);
        let first = first.unwrap_or_default();
        if let Some(error) = &problem {
            tracing::warn!(
                "cannot renew the lifetime of {first}, after which the kernel removes it: {error}"
            );
        } else {
            tracing::info!("the lifetime of {first} is renewed again");
        }
        state.renewal_problem = problem;
    }

    /// Extends the TTL of addresses that are up, for a daemon that ends and will be back before that time.
    pub async fn extend_to(&self, lease_end: Time) -> Result<(), AgentError> {
        let mut state = self.state.lock().await;
        if state.up && state.ttl_end != Time::NEVER {
            self.set_lease(lease_end, MIN_KERNEL_TTL);
            state.ttl_end = self.renew_all().await?;
        }
        Ok(())
    }

    fn set_lease(&self, lease_end: Time, min_ttl: Duration) {
        let count = u32::try_from(self.list().len()).unwrap_or(u32::MAX / 4);
        let margin = RENEWAL_COST.saturating_mul(4 * count);
        let min_ttl = min_ttl.max(MIN_KERNEL_TTL).saturating_add(margin);
        self.min_ttl.store(min_ttl.as_secs(), Ordering::Relaxed);
        self.lease_end.store(lease_end.0, Ordering::Relaxed);
    }

    /// Whether the addresses may be here now. Addresses that the kernel still has may outlast a lease that is shorter than
    /// the TTL. Addresses that it has removed need a lease that is still valid.
    fn may_be_up(&self, state: &AddressState, now: Time) -> bool {
        let lease_end = self.lease_end();
        let in_kernel = now + EARLY_EXPIRY < state.ttl_end;
        lease_end == Time::NEVER
            || now < lease_end
            || (in_kernel && now < lease_end + self.min_ttl())
    }

    /// Waits for a lease that is valid now. On a very busy machine that is the next renewal. A start that was ordered before
    /// this machine was suspended gets none, and is aborted by the engine.
    async fn wait_for_lease(&self, limits: &Limits) -> Result<(), AgentError> {
        let renewed = async {
            while now() >= self.lease_end() {
                tokio::time::sleep(LEASE_POLL).await;
            }
        };
        tokio::select! {
            biased;
            () = renewed => Ok(()),
            () = limits.abort.aborted() => Err(AgentError::Failed("the start was aborted".into())),
            () = tokio::time::sleep_until(limits.until) => {
                Err(AgentError::TimedOut("the lease of the address was not renewed".into()))
            }
        }
    }

    fn min_ttl(&self) -> Duration {
        Duration::from_secs(self.min_ttl.load(Ordering::Relaxed))
    }

    /// The TTL for the kernel, in whole seconds: the lease rounded down, but at least the shortest TTL. `None` if the lease
    /// never ends.
    fn kernel_ttl(&self, now: Time) -> Option<Duration> {
        match self.lease_end() {
            Time::NEVER => None,
            end => Some(Duration::from_secs(end.since(now).as_secs()).max(self.min_ttl())),
        }
    }

    /// Renews the TTL of addresses that are up, if that moves its end far enough.
    async fn renew_in_kernel(&self) -> Result<(), AgentError> {
        let mut state = self.state.lock().await;
        self.renewal_pending.store(false, Ordering::Relaxed);
        let now = now();
        if !state.up || !self.may_be_up(&state, now) {
            return Ok(());
        }
        if state.restore_on_renewal && now < self.lease_end() {
            state.restore_on_renewal = false;
            let why = "which something else had removed";
            return self.restore_missing(&mut state, why).await;
        }
        let valid = self.kernel_ttl(now);
        let end = valid.map_or(Time::NEVER, |valid| now + valid);
        if end >= state.ttl_end && end.since(state.ttl_end) <= self.min_extension(valid) {
            return Ok(());
        }
        if now + EARLY_EXPIRY >= state.ttl_end {
            // The TTL may have ended before this renewal, though the lease is valid.
            let why = "which the kernel had removed because this daemon renewed it too late; find what blocks or slows \
                       this machine, or set a longer deadtime";
            return self.restore_missing(&mut state, why).await;
        }
        state.ttl_end = self.renew_all().await?;
        Ok(())
    }

    /// Renews all addresses, and announces those that were missing.
    async fn restore_missing(&self, state: &mut AddressState, why: &str) -> Result<(), AgentError> {
        let missing = self.find_missing().await?;
        state.ttl_end = self.renew_all().await?;
        if let Some(first) = missing.first() {
            tracing::warn!("restored {first}, {why}");
            state.announcement.end().await;
            state.announcement = Announcement::start(&self.netlink, &missing).await;
        }
        Ok(())
    }

    /// Announces them to the network again, if they are up.
    pub async fn announce_addresses(&self) {
        let mut state = self.state.lock().await;
        if state.up {
            state.announcement.end().await;
            state.announcement = Announcement::start(&self.netlink, &self.list()).await;
        }
    }

    /// The same for those on interfaces whose way to the network has changed. Not while the lease has run out: another node
    /// may have them.
    pub async fn announce_on(&self, interfaces: &HashSet<String>) {
        let list = self.list();
        let moved = list.iter().any(|a| interfaces.contains(&a.interface));
        if moved && now() < self.lease_end() {
            self.announce_addresses().await;
        }
    }

    /// Puts back and announces the addresses that should be up and are missing, and returns them. Does nothing after the end
    /// of their TTL: then the kernel was right to remove them. Does nothing either while the lease has run out: this machine
    /// may have been suspended, and another node may have the addresses. The next renewal restores them. An address whose
    /// interface cannot carry it comes back with the interface.
    pub async fn restore_removed(&self) -> Result<Vec<VirtualAddress>, AgentError> {
        let mut state = self.state.lock().await;
        let now = now();
        if !state.up || now + EARLY_EXPIRY >= state.ttl_end {
            return Ok(Vec::new());
        }
        if now >= self.lease_end() {
            state.restore_on_renewal = true;
            return Ok(Vec::new());
        }
        for missing in self.find_missing().await? {
            if !state.missing.contains(&missing) {
                state.missing.push(missing);
            }
        }
        if state.missing.is_empty() {
            return Ok(Vec::new());
        }
        // After an error they stay noted: some may be back, and must still be announced.
        state.ttl_end = self.renew_all().await?;
        let restored = std::mem::take(&mut state.missing);
        state.announcement.end().await;
        state.announcement = Announcement::start(&self.netlink, &restored).await;
        Ok(restored)
    }

    /// How far a renewal must move the end of the TTL to be worth it: a fifth of the TTL, and more for many addresses, which
    /// cost the kernel some milliseconds. At most half of the TTL, or it would come too late.
    fn min_extension(&self, valid: Option<Duration>) -> Duration {
        let cost =
            RENEWAL_COST.saturating_mul(u32::try_from(self.list().len()).unwrap_or(u32::MAX));
        let valid = valid.unwrap_or_default();
        cost.max(valid / 5).min(valid / 2)
    }

    /// Addresses that are missing and could be here.
    async fn find_missing(&self) -> Result<Vec<VirtualAddress>, AgentError> {
        let (list, links) = (self.list(), self.links_by_name().await?);
        let found = self.netlink.addresses().await.map_err(netlink_failed)?;
        let found: HashSet<(u32, IpAddr)> = found.iter().map(|a| (a.index, a.ip)).collect();
        let is_missing = |a: &&VirtualAddress| {
            let link = renewable_link(a, &links);
            link.is_some_and(|l| !found.contains(&(l.index, a.ip)))
        };
        if let Some(gone) = list
            .iter()
            .find(|a| self.may_be_made(links.get(&a.interface)))
        {
            usable_link(gone, &links)?;
        }
        Ok(list.iter().filter(is_missing).cloned().collect())
    }

    /// Adds all addresses in one batch, with a TTL, and returns its end. Those that are present get the new TTL.
    async fn add_all(&self) -> Result<Time, AgentError> {
        let (list, links) = (self.complete().await?, self.links_by_name().await?);
        let place = |address| Ok((address, usable_link(address, &links)?));
        let placed: Result<Vec<_>, _> = list.iter().map(place).collect();
        self.add(&placed?).await
    }

    /// The same for addresses that are up. One whose interface is gone, or down, does not keep the others from being renewed.
    async fn renew_all(&self) -> Result<Time, AgentError> {
        let (list, links) = (self.list(), self.links_by_name().await?);
        let place = |address| Some((address, renewable_link(address, &links)?));
        let placed: Vec<_> = list.iter().filter_map(place).collect();
        self.add(&placed).await
    }

    async fn add(&self, placed: &[(&VirtualAddress, &Link)]) -> Result<Time, AgentError> {
        let now = now();
        let valid = self.kernel_ttl(now);
        let own = self.own_addresses().await?;
        let mut batch = Vec::with_capacity(placed.len());
        for (address, link) in placed {
            batch.push(Address {
                prefix_route: !own.iter().any(|o| is_reached_by(address, link.index, o)),
                deprecated: address.ip.is_ipv6(),
                broadcast: address.broadcast,
                label: address.label.clone(),
                valid,
                ..Address::new(link.index, address.ip, address.prefix)
            });
        }
        let interfaces: HashSet<&str> = placed.iter().map(|(_, l)| l.name.as_str()).collect();
        for name in interfaces {
            netlink::promote_secondaries(name);
        }
        self.netlink
            .add_addresses(&batch)
            .await
            .map_err(netlink_failed)?;
        Ok(valid.map_or(Time::NEVER, |valid| now + valid))
    }

    /// The addresses of this node that are not virtual.
    async fn own_addresses(&self) -> Result<Vec<Address>, AgentError> {
        let list = self.list();
        let mut all = self.netlink.addresses().await.map_err(netlink_failed)?;
        all.retain(|a| !a.ours && !list.iter().any(|o| o.ip == a.ip));
        Ok(all)
    }

    async fn links_by_name(&self) -> Result<HashMap<String, Link>, AgentError> {
        let links = self.netlink.links().await.map_err(netlink_failed)?;
        Ok(links.into_iter().map(|l| (l.name.clone(), l)).collect())
    }

    /// Our addresses that are on their interface now, with any prefix. A lasting address that had did not add is not ours.
    async fn find_present(
        &self,
        links: &HashMap<String, Link>,
    ) -> Result<Vec<Address>, AgentError> {
        let list = self.list();
        let wanted: HashSet<(u32, IpAddr)> = list
            .iter()
            .filter_map(|a| Some((links.get(&a.interface)?.index, a.ip)))
            .collect();
        let all = self.netlink.addresses().await.map_err(netlink_failed)?;
        let foreign = foreign_among(&all);
        let ours = |a: &Address| wanted.contains(&(a.index, a.ip)) && !foreign.contains(&a);
        Ok(all.iter().filter(|a| ours(a)).cloned().collect())
    }
}

#[async_trait]
impl Agent for Addresses {
    async fn start(&self, limits: &Limits) -> Result<(), AgentError> {
        self.wait_for_lease(limits).await?;
        let mut state = self.state.lock().await;
        state.announcement.end().await;
        // Not up until all are added: after a start that failed half-way nobody restores or renews them before the stop.
        state.up = false;
        state.restore_on_renewal = false;
        state.missing.clear();
        self.refuse_foreign().await?;
        state.ttl_end = self.add_all().await?;
        state.up = true;
        state.announcement = Announcement::start(&self.netlink, &self.list()).await;
        Ok(())
    }

    async fn stop(&self, _limits: &Limits) -> Result<(), AgentError> {
        let mut state = self.state.lock().await;
        state.up = false;
        state.restore_on_renewal = false;
        state.missing.clear();
        state.announcement.end().await;
        let links = self.links_by_name().await?;
        let present = self.find_present(&links).await?;
        if present.is_empty() {
            return Ok(());
        }
        let restored = self.netlink.delete_addresses(&present).await;
        for innocent in restored.map_err(netlink_failed)? {
            tracing::warn!(%innocent, "the kernel removed another address of the same network too; it was restored");
        }
        Ok(())
    }

    async fn monitor(&self, _limits: &Limits) -> Result<Status, AgentError> {
        let mut state = self.state.lock().await;
        let Ok(list) = self.complete().await else {
            return Ok(Status::Stopped); // it has no place here
        };
        let links = self.links_by_name().await?;
        let present = self.find_present(&links).await?;
        if present.is_empty() {
            return Ok(Status::Stopped);
        }
        for address in list.iter() {
            let link = usable_link(address, &links)?;
            let found = present
                .iter()
                .find(|p| p.index == link.index && p.ip == address.ip);
            check_usable(address, found)?;
        }
        if !state.up {
            // Started by an earlier daemon: adopted, and renewed from now on.
            state.up = true;
            let lifetimes = present.iter().filter_map(|a| a.valid);
            state.ttl_end = lifetimes.min().map_or(Time::NEVER, |valid| now() + valid);
        }
        Ok(Status::Running)
    }
}

#[allow(clippy::needless_pass_by_value)] // for `map_err`
fn netlink_failed(error: NetlinkError) -> AgentError {
    AgentError::Failed(error.to_string())
}

#[cfg(test)]
mod tests;
