//! Addresses, links and routes over rtnetlink.
//!
//! Three rules:
//! * An answer counts only with the kernel's acknowledgement. If the task of the connection ends while a request is queued, the
//!   stream of answers just ends, which looks like success.
//! * Every request has a timeout. After a timeout the connection is replaced.
//! * After a change the table is read again to see whether it worked.

mod change;
mod rows;
mod watch;

use std::sync::atomic::{AtomicU64, Ordering};
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

/// How long the kernel may take for one round of requests. Normally it answers in microseconds; it takes seconds only if something
/// holds its lock.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How many requests are sent at once. Their acknowledgements must fit into the socket's receive buffer, which has room for a few
/// hundred.
const MAX_REQUESTS: usize = 64;

/// How often a table that changes all the time is read again.
const MAX_DUMPS: u32 = 100;
/// The pause before that.
const DUMP_PAUSE: Duration = Duration::from_millis(2);
/// The flag of rows of a table that changed while it was read.
const NLM_F_DUMP_INTR: u16 = 0x10;

/// Why a netlink request failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket. Nothing changed.
    #[error("cannot open a netlink socket: {0}")]
    Open(#[source] io::Error),
    /// No answer in time. The change may or may not have been made.
    #[error("the kernel did not answer a netlink request within {timeout} s ({0})", timeout = ANSWER_TIMEOUT.as_secs())]
    Timeout(String),
    /// The connection ended first. The change may or may not have been made.
    #[error("the netlink connection ended before the kernel answered ({0})")]
    Ended(String),
    /// The kernel refused the request. Others of the same batch may have been done.
    #[error("cannot {what}: {source}")]
    Refused {
        /// The request, for a message.
        what: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel accepted the change, but it is not in the table.
    #[error("the kernel accepted the request to {0}, but did not do it")]
    NotSeen(String),
}

/// A handle to the kernel's tables of the network namespace in which it first connects. Cheap to clone.
#[derive(Clone, Default)]
pub struct Netlink(Arc<Shared>);

#[derive(Default)]
struct Shared {
    connected: Mutex<Option<Connected>>,
    /// Held during a dump: the kernel allows one at a time on a connection.
    dumping: tokio::sync::Mutex<()>,
    /// How many readings of the addresses have begun.
    readings: AtomicU64,
    addresses: tokio::sync::Mutex<AddressTable>,
    frames: OnceLock<FrameSender>,
}

/// The addresses as they were last read.
#[derive(Default)]
struct AddressTable {
    /// Which reading it was; 0 is none.
    number: u64,
    rows: Vec<Address>,
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

    /// All addresses, of both families. Callers that wait at the same time share one reading of the table: with a thousand
    /// groups that are renewed together, a thousand readings would take seconds.
    pub async fn addresses(&self) -> Result<Vec<Address>, NetlinkError> {
        let begun = self.0.readings.load(Ordering::SeqCst);
        let mut last = self.0.addresses.lock().await;
        // A reading that began after this call shows all that this call must see.
        if last.number > begun {
            return Ok(last.rows.clone());
        }
        let number = self.0.readings.fetch_add(1, Ordering::SeqCst) + 1;
        let ask = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let found = self.dump(ask, "list the addresses").await?;
        let rows: Vec<Address> = found.iter().filter_map(rows::address_of_message).collect();
        *last = AddressTable {
            number,
            rows: rows.clone(),
        };
        Ok(rows)
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

    /// Adds addresses, or sets the new lifetime of those that exist, and checks that they are there.
    pub async fn add_addresses(&self, batch: &[Address]) -> Result<(), NetlinkError> {
        let requests = batch.iter().map(rows::add_request).collect();
        for (address, answer) in batch.iter().zip(self.send_changes(requests).await?) {
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

    /// Deletes addresses, and checks that they are gone. It is no error if they do not exist. With the first address of a network
    /// the kernel would delete the others too, unless it is told to promote the next. Returns addresses that it deleted
    /// nevertheless, and that were restored.
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
        for (address, answer) in batch.iter().zip(self.send_changes(requests).await?) {
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
        self.restore(deleted_by_kernel(&before, &after, batch))
            .await
    }

    async fn restore(&self, lost: Vec<Address>) -> Result<Vec<Address>, NetlinkError> {
        if !lost.is_empty() {
            self.add_addresses(&lost).await?;
        }
        Ok(lost)
    }

    /// The sender of raw frames in the same network namespace. It is opened by the first call and kept open, because closing such
    /// a socket takes about ten milliseconds.
    pub fn frames(&self) -> io::Result<&FrameSender> {
        if let Some(open) = self.0.frames.get() {
            return Ok(open);
        }
        let new = FrameSender::open()?;
        Ok(self.0.frames.get_or_init(|| new))
    }

    /// The current connection, or a new one.
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

    /// Runs one request with a timeout. Without an answer the connection is dropped.
    async fn with_timeout<T>(
        &self,
        what: &str,
        work: impl Future<Output = Option<T>>,
    ) -> Result<T, NetlinkError> {
        let error = match timeout(ANSWER_TIMEOUT, work).await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => NetlinkError::Ended(what.to_owned()),
            Err(_elapsed) => NetlinkError::Timeout(what.to_owned()),
        };
        self.forget_connection();
        Err(error)
    }

    /// Sends changes in batches. Returns the kernel's error for each, if any.
    async fn send_changes(
        &self,
        requests: Vec<RouteNetlinkMessage>,
    ) -> Result<Vec<Option<io::Error>>, NetlinkError> {
        let mut changer = Changer::open().map_err(NetlinkError::Open)?;
        let mut answers = Vec::with_capacity(requests.len());
        for window in requests.chunks(MAX_REQUESTS) {
            let what = "a change of addresses".to_owned();
            answers.extend(changer.change(window).map_err(|e| match e.kind() {
                io::ErrorKind::WouldBlock => NetlinkError::Timeout(what),
                _ => NetlinkError::Ended(format!("{what}: {e}")),
            })?);
            // Lets watchers read their events: their buffers are limited.
            tokio::task::yield_now().await;
        }
        Ok(answers)
    }

    /// Reads a whole table. Repeats that if the table changed meanwhile, or while the kernel is busy with an abandoned dump.
    async fn dump(
        &self,
        ask: RouteNetlinkMessage,
        what: &str,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let _one_at_a_time = self.0.dumping.lock().await;
        for _ in 0..MAX_DUMPS {
            match self
                .with_timeout(what, dump_once(self.handle()?, &ask))
                .await?
            {
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

/// Reads a table once: its rows, nothing if it changed meanwhile, or the kernel's error. `None` if the connection ended first.
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

/// Whether a deletion failed because the address or its interface does not exist, which is fine.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EADDRNOTAVAIL | libc::ENODEV)
    )
}

/// Addresses that the kernel deleted together with those of the batch.
fn deleted_by_kernel(before: &[Address], after: &[Address], batch: &[Address]) -> Vec<Address> {
    let is_in = |set: &[Address], a: &Address| set.iter().any(|b| b.same_place(a));
    before
        .iter()
        .filter(|a| batch.iter().any(|b| b.index == a.index && b.ip.is_ipv4()))
        .filter(|a| a.ip.is_ipv4() && !is_in(after, a) && !is_in(batch, a))
        .cloned()
        .collect()
}

/// Makes the kernel promote the next address of a network when the first is deleted or expires. Otherwise it removes them all.
/// Returns false if that cannot be set.
pub fn promote_secondaries(interface: &str) -> bool {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/promote_secondaries");
    match fs::read_to_string(&path) {
        Ok(text) if text.trim() == "1" => true,
        _ => fs::write(&path, "1").is_ok(),
    }
}

#[cfg(test)]
mod tests;
