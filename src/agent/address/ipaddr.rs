//! The built-in `IPaddr`, `IPaddr2` and `IPv6addr`: a run of addresses that are started and stopped as one.
//!
//! Whether the addresses should be up here is kept under one lock, and whoever adds or deletes one holds it. So a
//! renewal or a restoration that comes late can never bring an address back after its stop.
//!
//! The kernel has them on loan: with a lifetime, renewed while we move and are entitled. When we are killed or stand
//! still it takes them away by itself. It counts in whole seconds and looks late, up to 1.25 s after the end; so a loan
//! is at least two seconds, and where the right is shorter it outlasts the right. That harms nobody: an address that
//! still answers is not taken over, and one whose loan has run out is put back only under a right that lasts.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::agent::address::announce::Announcement;
use crate::agent::address::virtual_address::{VirtualAddress, network_of};
use crate::agent::{Agent, AgentError, Limits, Status, now};
use crate::model::Time;
use crate::sys::netlink::{self, Address, Link, Netlink, NetlinkError};

/// The shortest loan: a renewal may then be more than a second late, on a machine that is very busy.
pub const LEAST_LOAN: Duration = Duration::from_secs(2);
/// What each address costs the kernel of the time to renew them all, as a generous guess.
const EACH: Duration = Duration::from_millis(1);
/// How often a start that came too late for its right looks for a new one.
const RIGHT_SOON: Duration = Duration::from_millis(5);
/// How much sooner than its lifetime says the kernel may remove an address.
const EARLY: Duration = Duration::from_millis(100);

/// Consecutive addresses of a group.
pub struct Addresses {
    list: Vec<VirtualAddress>,
    netlink: Netlink,
    /// When the right to hold them ends; the kernel removes them then, if we do not.
    until: AtomicU64,
    /// The shortest loan, in seconds.
    least: AtomicU64,
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
    /// Removed when our right was not sure to last: to be put back when it is renewed.
    owed: bool,
    announcement: Announcement,
}

impl Addresses {
    /// Touches nothing yet.
    pub fn new(list: Vec<VirtualAddress>, netlink: Netlink) -> Self {
        Addresses {
            list,
            netlink,
            until: AtomicU64::new(Time::NEVER.0),
            least: AtomicU64::new(0),
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
    /// in the kernel for addresses that are up. The kernel gets no loan shorter than `least`. Cheap enough for every
    /// heartbeat.
    pub fn renew(self: &Arc<Self>, until: Time, least: Duration) {
        self.grant(until, least);
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

    /// Leaves them, where they are up and on loan, to the kernel until then: we go, and will be back.
    pub async fn lend(&self, until: Time) -> Result<(), AgentError> {
        let mut state = self.state.lock().await;
        if state.up && state.expires != Time::NEVER {
            self.grant(until, LEAST_LOAN);
            state.expires = self.add().await?;
        }
        Ok(())
    }

    fn grant(&self, until: Time, least: Duration) {
        let slow = EACH.saturating_mul(4 * u32::try_from(self.list.len()).unwrap_or(u32::MAX / 4));
        let least = least.max(LEAST_LOAN).saturating_add(slow);
        self.least.store(least.as_secs(), Ordering::Relaxed);
        self.until.store(until.0, Ordering::Relaxed);
    }

    /// Whether they may be here now. What the kernel still has may stay a little longer than a right that is shorter
    /// than the loan; what it has taken is put back only under a right that lasts.
    fn entitled(&self, state: &State, now: Time) -> bool {
        let until = self.until();
        let lent = now + EARLY < state.expires;
        until == Time::NEVER || now < until || (lent && now < until + self.least())
    }

    /// Waits for a right that lasts now. An order that was given before this machine stood still comes without one, and
    /// is ended by who gave it; a very busy machine gets its next renewal.
    async fn right(&self, limits: &Limits) -> Result<(), AgentError> {
        let renewed = async {
            while now() >= self.until() {
                tokio::time::sleep(RIGHT_SOON).await;
            }
        };
        tokio::select! {
            biased;
            () = renewed => Ok(()),
            () = limits.abort.aborted() => Err(AgentError::Failed("the start was called off".into())),
            () = tokio::time::sleep_until(limits.until) => {
                Err(AgentError::TimedOut("the right to the address was not renewed".into()))
            }
        }
    }

    fn least(&self) -> Duration {
        Duration::from_secs(self.least.load(Ordering::Relaxed))
    }

    /// How long the kernel shall keep them by itself: whole seconds, the right rounded down but no less than the least
    /// loan; none for a right without end.
    fn lifetime(&self, now: Time) -> Option<Duration> {
        match self.until() {
            Time::NEVER => None,
            until => Some(Duration::from_secs(until.since(now).as_secs()).max(self.least())),
        }
    }

    /// Gives addresses that are up the lifetime that their right has. The kernel is told only what moves its end by a
    /// useful step.
    async fn tell_kernel(&self) -> Result<(), AgentError> {
        let mut state = self.state.lock().await;
        self.telling.store(false, Ordering::Relaxed);
        let now = now();
        if !state.up || !self.entitled(&state, now) {
            return Ok(());
        }
        if state.owed && now < self.until() {
            state.owed = false;
            let why = "something else had removed it";
            return self.put_back(&mut state, why).await;
        }
        let valid = self.lifetime(now);
        let end = valid.map_or(Time::NEVER, |valid| now + valid);
        if end >= state.expires && end.since(state.expires) <= self.step(valid) {
            return Ok(());
        }
        if now + EARLY >= state.expires {
            // The loan may have run out before this renewal, though the right lasts.
            let why = "had was too slow to renew its lease; find what blocks or slows this machine, or set a longer \
                       deadtime";
            return self.put_back(&mut state, why).await;
        }
        state.expires = self.add().await?;
        Ok(())
    }

    /// Renews them, and puts back and announces what is missing.
    async fn put_back(&self, state: &mut State, why: &str) -> Result<(), AgentError> {
        let missing = self.missing().await?;
        state.expires = self.add().await?;
        if let Some(first) = missing.first() {
            tracing::warn!("{first} was away for a moment and is back: {why}");
            state.announcement.end().await;
            state.announcement = Announcement::begin(&self.netlink, &missing).await;
        }
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
    /// lifetime nothing is put back: then it was the kernel that rightly took them. Nor is anything while our right is
    /// not renewed: whoever stood still hears of the removal before he knows for how long, and another node may have
    /// them; the next renewal puts them back.
    pub async fn restore(&self) -> Result<Vec<VirtualAddress>, AgentError> {
        let mut state = self.state.lock().await;
        let now = now();
        if !state.up || now + EARLY >= state.expires {
            return Ok(Vec::new());
        }
        if now >= self.until() {
            state.owed = true;
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

    /// How far the end in the kernel must move to be worth telling: a fifth of the lifetime, more for many addresses,
    /// which cost the kernel some milliseconds. Never more than half, or it would come too late.
    fn step(&self, valid: Option<Duration>) -> Duration {
        let cost = EACH.saturating_mul(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
        let valid = valid.unwrap_or_default();
        cost.max(valid / 5).min(valid / 2)
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
        let valid = self.lifetime(now);
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
    async fn start(&self, limits: &Limits) -> Result<(), AgentError> {
        self.right(limits).await?;
        let mut state = self.state.lock().await;
        state.announcement.end().await;
        // Before the first is added: a start that fails half-way is then still undone by a stop, and kept by nobody.
        state.up = false;
        state.owed = false;
        state.missed.clear();
        state.expires = self.add().await?;
        state.up = true;
        state.announcement = Announcement::begin(&self.netlink, &self.list).await;
        Ok(())
    }

    async fn stop(&self, _limits: &Limits) -> Result<(), AgentError> {
        let mut state = self.state.lock().await;
        state.up = false;
        state.owed = false;
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
