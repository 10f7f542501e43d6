//! Where the heartbeat thread listens: a socket and a task for each interface and port.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::engine_handle::OutputSender;
use super::receive::Authenticator;
use super::send::REOPEN_AFTER;
use crate::model::Time;
use crate::model::decision::Level;
use crate::model::medium::Medium;
use crate::sys::clock;
use crate::sys::udp;

/// Opens a socket for each interface and port of these media. What cannot be opened, as on an interface that is still
/// missing, is logged and tried again.
///
/// # Errors
/// None of them can be opened, or another program has a port.
pub fn open_listeners(
    media: &[Medium],
    authenticator: &Arc<Authenticator>,
    out: &OutputSender,
) -> Result<Vec<Listener>, String> {
    let mut listeners = Vec::new();
    let mut failures = Vec::new();
    for place in udp::listen_points(media) {
        let interface_index = interface_index(&place);
        let (task, problem) = match udp::UdpReceiver::open(&place) {
            Ok(receiver) => (Some(authenticator.listen(receiver)), None),
            Err(e) if matches!(e.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) => {
                return Err(e.to_string());
            }
            Err(e) => (None, Some(e.to_string())),
        };
        failures.extend(problem.clone());
        listeners.push(Listener {
            place,
            interface_index,
            task,
            failed_at: problem.is_some().then(clock::now),
            problem,
        });
    }
    if failures.len() == listeners.len()
        && let Some(first) = failures.into_iter().next()
    {
        return Err(first);
    }
    for text in listeners.iter().filter_map(|l| l.problem.as_deref()) {
        let text =
            format!("{text}; had uses the other links, and tries this one again every second");
        out.log(Level::Warning, text);
    }
    Ok(listeners)
}

/// A socket that heartbeats arrive on, and the task that reads it.
pub struct Listener {
    place: udp::ListenPoint,
    /// The kernel's number of the interface: another one means that the interface was replaced.
    interface_index: Option<u32>,
    /// None if it could not be opened yet.
    task: Option<JoinHandle<()>>,
    /// When opening it failed last; none while it is open.
    failed_at: Option<Time>,
    /// Why it is not open.
    problem: Option<String>,
}

impl Listener {
    /// The interface.
    pub fn interface(&self) -> &str {
        self.place.interface()
    }

    /// Why nothing is received there, if it is not open; for status.
    pub fn problem(&self) -> Option<String> {
        let problem = self.problem.as_ref()?;
        Some(format!("{problem}; it is tried again every second"))
    }

    /// Opens the socket again when the interface was replaced by another one of that name: the old socket would never
    /// receive anything again.
    pub async fn reopen_if_replaced(
        &mut self,
        authenticator: &Arc<Authenticator>,
    ) -> Result<(), String> {
        let index = interface_index(&self.place);
        if index == self.interface_index || index.is_none() {
            return Ok(());
        }
        if let Some(task) = self.task.take() {
            task.abort();
            // The port is free only after the old socket is closed.
            drop(task.await);
        }
        self.reopen(authenticator)
    }

    fn reopen(&mut self, authenticator: &Arc<Authenticator>) -> Result<(), String> {
        let interface_index = interface_index(&self.place);
        match udp::UdpReceiver::open(&self.place) {
            Ok(receiver) => {
                self.task = Some(authenticator.listen(receiver));
                self.interface_index = interface_index;
                (self.failed_at, self.problem) = (None, None);
                Ok(())
            }
            Err(e) => {
                self.failed_at = Some(clock::now());
                self.problem = Some(e.to_string());
                Err(e.to_string())
            }
        }
    }

    /// Tries a second later to open what could not be opened, because no further change of the interface need ever come.
    /// True when that succeeded.
    pub fn retry(&mut self, authenticator: &Arc<Authenticator>) -> bool {
        let due = |at: Time| clock::now().since(at) >= REOPEN_AFTER;
        self.failed_at.is_some_and(due) && self.reopen(authenticator).is_ok()
    }
}

fn interface_index(place: &udp::ListenPoint) -> Option<u32> {
    nix::net::if_::if_nametoindex(place.interface()).ok()
}
