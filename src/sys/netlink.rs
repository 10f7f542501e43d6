//! Addresses, links and routes over rtnetlink.
//!
//! Three habits, each with its reason:
//! * An answer counts only when the kernel's own acknowledgement came. When the connection's task ends with a request
//!   queued, its stream of answers just ends, which plain callers take for success.
//! * Every round has a timeout, and a connection that let one pass is thrown away.
//! * What was added or deleted is looked up afterwards.

mod change;
mod rows;
mod watch;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use std::{fs, io};

use futures::StreamExt;
use rtnetlink::Handle;
use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::route::RouteMessage;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub use rows::{Address, Link, Route};
pub use watch::{Change, watch};

use super::packet::FrameSender;
use change::Changer;

/// How long the kernel may take for one round of requests. It answers in microseconds; seconds mean that
/// something holds its lock.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests in flight at once. Each acknowledgement takes a place in the socket's receive buffer, which has room
/// for a few hundred.
const WINDOW: usize = 64;

/// How often a table is asked for, when it changes all the time, and the pause in between.
const DUMPS: u32 = 100;
const DUMP_PAUSE: Duration = Duration::from_millis(2);
/// Set on the rows of a table that changed while it was read.
const NLM_F_DUMP_INTR: u16 = 0x10;

/// Why netlink did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket. Nothing changed.
    #[error("cannot open a netlink socket: {0}")]
    Open(#[source] io::Error),
    /// No answer in time. What was asked may or may not have been done.
    #[error("the kernel did not answer a netlink request within {PATIENCE:?} ({0})")]
    Timeout(String),
    /// The connection ended first. What was asked may or may not have been done.
    #[error("the netlink connection ended before the kernel answered ({0})")]
    Ended(String),
    /// The kernel refused. That request changed nothing; others of the same batch may have been done.
    #[error("cannot {what}: {source}")]
    Refused {
        /// What was asked, for a person.
        what: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel said yes, and the look afterwards says no.
    #[error("the kernel accepted the request to {0}, but a look shows that it did not happen")]
    NotSeen(String),
}

/// A handle to the kernel's tables of the network namespace in which it first connects. Cheap to clone.
#[derive(Clone, Default)]
pub struct Netlink(Arc<Shared>);

#[derive(Default)]
struct Shared {
    connected: Mutex<Option<Connected>>,
    /// Held for a dump: the kernel knows one at a time on a connection, and calls the next one "busy".
    dumping: tokio::sync::Mutex<()>,
    frames: OnceLock<FrameSender>,
}

/// The handle and the task that moves its bytes.
struct Connected {
    handle: Handle,
    task: JoinHandle<()>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Netlink {
    /// Connects at the first request.
    pub fn new() -> Self {
        Netlink::default()
    }

    /// All addresses, of both families.
    pub async fn addresses(&self) -> Result<Vec<Address>, NetlinkError> {
        let ask = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let found = self.dump(ask, "list the addresses").await?;
        Ok(found.iter().filter_map(rows::address_of_message).collect())
    }

    /// All interfaces.
    pub async fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let ask = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let found = self.dump(ask, "list the interfaces").await?;
        Ok(found
            .iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewLink(link) => rows::link_of(link),
                _ => None,
            })
            .collect())
    }

    /// The unicast routes of the main table, of both families.
    pub async fn routes(&self) -> Result<Vec<Route>, NetlinkError> {
        let ask = RouteNetlinkMessage::GetRoute(RouteMessage::default());
        let found = self.dump(ask, "list the routes").await?;
        Ok(found
            .iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewRoute(route) => rows::route_of(route),
                _ => None,
            })
            .collect())
    }

    /// Adds all, or gives those already there their new lifetime, and looks whether they are there.
    pub async fn add_addresses(&self, batch: &[Address]) -> Result<(), NetlinkError> {
        let requests = batch.iter().map(rows::add_request).collect();
        for (address, answer) in batch.iter().zip(self.change(requests).await?) {
            if let Some(source) = answer {
                let what = format!("add the address {address}");
                return Err(NetlinkError::Refused { what, source });
            }
        }
        let present = self.addresses().await?;
        match batch
            .iter()
            .find(|a| !present.iter().any(|p| p.same_place(a)))
        {
            Some(missing) => Err(NetlinkError::NotSeen(format!("add the address {missing}"))),
            None => Ok(()),
        }
    }

    /// Deletes all, and looks whether they are gone. Absent ones are no error. Other addresses of the same network
    /// stay: the kernel would take them along when the first of a network goes, unless told to promote the next.
    /// Returns those that it took nevertheless and that were put back.
    pub async fn delete_addresses(&self, batch: &[Address]) -> Result<Vec<Address>, NetlinkError> {
        let before = self.addresses().await?;
        let names = self.links().await?;
        let touched = names
            .iter()
            .filter(|l| batch.iter().any(|a| a.index == l.index));
        let mut promoted = true;
        for link in touched {
            promoted &= promote_secondaries(&link.name);
        }
        let requests = batch.iter().map(rows::delete_request).collect();
        for (address, answer) in batch.iter().zip(self.change(requests).await?) {
            if let Some(source) = answer.filter(|e| !is_absent(e)) {
                let what = format!("delete the address {address}");
                return Err(NetlinkError::Refused { what, source });
            }
        }
        let after = self.addresses().await?;
        if let Some(left) = batch.iter().find(|a| after.iter().any(|p| p.same_place(a))) {
            return Err(NetlinkError::NotSeen(format!("delete the address {left}")));
        }
        if promoted {
            return Ok(Vec::new());
        }
        self.restore(innocents(&before, &after, batch)).await
    }

    async fn restore(&self, lost: Vec<Address>) -> Result<Vec<Address>, NetlinkError> {
        if !lost.is_empty() {
            self.add_addresses(&lost).await?;
        }
        Ok(lost)
    }

    /// What sends raw frames into the same network namespace: opened at the first call and then kept, because to close
    /// such a socket takes the kernel some ten milliseconds.
    pub fn frames(&self) -> io::Result<&FrameSender> {
        if let Some(open) = self.0.frames.get() {
            return Ok(open);
        }
        let new = FrameSender::open()?;
        Ok(self.0.frames.get_or_init(|| new))
    }

    /// The living connection, or a new one.
    fn handle(&self) -> Result<Handle, NetlinkError> {
        let mut slot = self
            .0
            .connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(connected) = slot.as_ref().filter(|c| !c.task.is_finished()) {
            return Ok(connected.handle.clone());
        }
        let (mut connection, handle, _) =
            rtnetlink::new_connection().map_err(NetlinkError::Open)?;
        connection.set_forward_ack(true);
        connection.set_forward_done(true);
        let task = tokio::spawn(connection);
        *slot = Some(Connected {
            handle: handle.clone(),
            task,
        });
        Ok(handle)
    }

    fn forget_connection(&self) {
        *self
            .0
            .connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Runs one round under the timeout; a round that failed for want of an answer takes its connection with it.
    async fn round<T>(
        &self,
        what: &str,
        work: impl Future<Output = Option<T>>,
    ) -> Result<T, NetlinkError> {
        let error = match timeout(PATIENCE, work).await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => NetlinkError::Ended(what.to_owned()),
            Err(_elapsed) => NetlinkError::Timeout(what.to_owned()),
        };
        self.forget_connection();
        Err(error)
    }

    /// Sends changes, a window at a time, and returns for each the kernel's refusal, if any.
    async fn change(
        &self,
        requests: Vec<RouteNetlinkMessage>,
    ) -> Result<Vec<Option<io::Error>>, NetlinkError> {
        let mut changer = Changer::open().map_err(NetlinkError::Open)?;
        let mut answers = Vec::with_capacity(requests.len());
        for window in requests.chunks(WINDOW) {
            let what = "a change of addresses".to_owned();
            answers.extend(changer.change(window).map_err(|e| match e.kind() {
                io::ErrorKind::WouldBlock => NetlinkError::Timeout(what),
                _ => NetlinkError::Ended(format!("{what}: {e}")),
            })?);
            // Those who watch addresses have only so much room for what they are told.
            tokio::task::yield_now().await;
        }
        Ok(answers)
    }

    /// A whole table. Taken again when it changed underneath, or while the kernel is still busy with a dump whose
    /// asker went away.
    async fn dump(
        &self,
        ask: RouteNetlinkMessage,
        what: &str,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let _one_at_a_time = self.0.dumping.lock().await;
        for _ in 0..DUMPS {
            match self.round(what, dump_once(self.handle()?, &ask)).await? {
                Ok(Some(rows)) => return Ok(rows),
                Ok(None) => {}
                Err(source) if source.raw_os_error() == Some(libc::EBUSY) => {}
                Err(source) => {
                    let what = what.to_owned();
                    return Err(NetlinkError::Refused { what, source });
                }
            }
            sleep(DUMP_PAUSE).await;
        }
        Err(NetlinkError::Timeout(what.to_owned()))
    }
}

/// Asks for a table once: its rows, nothing when it changed underneath, or the kernel's refusal. `None` is that the
/// connection ended first.
async fn dump_once(
    mut handle: Handle,
    ask: &RouteNetlinkMessage,
) -> Option<io::Result<Option<Vec<RouteNetlinkMessage>>>> {
    let mut message = NetlinkMessage::from(ask.clone());
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut stream = Box::pin(handle.request(message).ok()?);
    let mut rows = Vec::new();
    let mut whole = true;
    while let Some(answer) = stream.next().await {
        whole &= answer.header.flags & NLM_F_DUMP_INTR == 0;
        match answer.payload {
            NetlinkPayload::InnerMessage(row) => rows.push(row),
            NetlinkPayload::Done(_) => return Some(Ok(whole.then_some(rows))),
            NetlinkPayload::Error(e) if e.code.is_some() => return Some(Err(e.to_io())),
            _ => {}
        }
    }
    None
}

/// "It is not there" and "its interface is not there": for a deletion both are what was wanted.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EADDRNOTAVAIL | libc::ENODEV)
    )
}

/// Addresses that vanished beside those that were to go.
fn innocents(before: &[Address], after: &[Address], batch: &[Address]) -> Vec<Address> {
    let is_in = |set: &[Address], a: &Address| set.iter().any(|b| b.same_place(a));
    before
        .iter()
        .filter(|a| batch.iter().any(|b| b.index == a.index && b.ip.is_ipv4()))
        .filter(|a| a.ip.is_ipv4() && !is_in(after, a) && !is_in(batch, a))
        .cloned()
        .collect()
}

/// Lets the next address of a network take the place of the first when that is deleted or its lifetime ends; else
/// the kernel removes them all. False when that cannot be set.
pub fn promote_secondaries(interface: &str) -> bool {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/promote_secondaries");
    match fs::read_to_string(&path) {
        Ok(text) if text.trim() == "1" => true,
        _ => fs::write(&path, "1").is_ok(),
    }
}

#[cfg(test)]
mod tests;
