//! Where the heartbeat thread listens: a socket and a task for each interface and port.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::engine_handle::OutputSender;
use super::receive::Authenticator;
use super::send::REOPEN_AFTER;
use super::socket_opener::{OpenedReceiver, OpenedSocket, SocketOpener};
use crate::model::Time;
use crate::model::decision::Level;
use crate::model::medium::Medium;
use crate::model::status::Note;
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
    pub fn problem(&self) -> Option<Note> {
        let problem = self.problem.as_ref()?;
        let text = format!("{problem}; it is tried again every second");
        Some(Note::new("not-listening", text))
    }

    /// Whether it listens there.
    pub fn is_at(&self, place: &udp::ListenPoint) -> bool {
        self.place == *place
    }

    /// Has the socket opened again when the interface was replaced by another one of that name: the old socket would never
    /// receive anything again. The new one is bound to another interface, so the old one is not in its way.
    pub fn reopen_if_replaced(&self, opener: &SocketOpener) {
        let (place, known) = (self.place.clone(), self.interface_index);
        opener.open(move || {
            let index = interface_index(&place).filter(|index| Some(*index) != known);
            let opened = index.map(|index| (Some(index), udp::UdpReceiver::open(&place)));
            OpenedSocket::Receiver(place, opened)
        });
    }

    /// Has what could not be opened tried again a second later, because no further change of the interface need ever come.
    pub fn retry(&mut self, opener: &SocketOpener) {
        let due = |at: Time| clock::now().since(at) >= REOPEN_AFTER;
        if self.failed_at.is_some_and(due) {
            self.failed_at = Some(clock::now());
            let place = self.place.clone();
            opener.open(move || {
                let opened = (interface_index(&place), udp::UdpReceiver::open(&place));
                OpenedSocket::Receiver(place, Some(opened))
            });
        }
    }

    /// Reads what was opened from now on, and no longer the old socket. True when it had failed before.
    ///
    /// # Errors
    /// Why it could not be opened, the first time.
    pub fn use_opened(
        &mut self,
        (index, opened): OpenedReceiver,
        authenticator: &Arc<Authenticator>,
    ) -> Result<bool, String> {
        if opened.is_err() && self.failed_at.is_none() && index == self.interface_index {
            return Ok(false); // We have the port on this very interface ourselves, since another change of it.
        }
        if let Some(task) = self.task.take() {
            task.abort();
        }
        let receiver = match opened {
            Ok(receiver) => receiver,
            Err(e) => {
                let text = e.to_string();
                self.problem = Some(text.clone());
                let first = self.failed_at.replace(clock::now()).is_none();
                return if first { Err(text) } else { Ok(false) };
            }
        };
        self.task = Some(authenticator.listen(receiver));
        self.interface_index = index;
        self.problem = None;
        Ok(self.failed_at.take().is_some())
    }
}

fn interface_index(place: &udp::ListenPoint) -> Option<u32> {
    nix::net::if_::if_nametoindex(place.interface()).ok()
}
