//! The slow half of the daemon: one loop over the orders of the heartbeat thread, the requests of clients, and signals.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::activity::Activity;
use super::engine_handle::{EngineHandle, Output};
use super::last_moves::KnownMoves;
use super::logging::Log;
use super::node_fencing::NodeFencer;
use super::notify::Notifier;
use super::peer_requests::{MessageOrder, PeerRequests};
use super::perform::Performer;
use super::reload::{Reload, ReloadProgress, ReloadReply};
use super::respawn::RespawnChildren;
use super::serve::WaitingClients;
use super::service_manager;
use super::signals::{Signal, Signals};
use crate::assembly::Folders;
use crate::assembly::reload_plan::ReloadWish;
use crate::config::Config;
use crate::control::server::ControlCall;
use crate::engine::{Action, Asker, Command, Event, PersistentState};
use crate::model::cluster::Cluster;
use crate::model::decision::{Because, Decision, Level, What};
use crate::model::identity::Instance;
use crate::model::journal::Entry;
use crate::store::journal::Journal;
use crate::store::life;
use crate::store::recording_writer::{RecordingFeed, RecordingWriter};
use crate::store::state_file::StateFile;
use crate::sys::clock;
use crate::sys::netlink::Netlink;

/// Time to write the end of the journal, and of the recording, to the disk.
pub(super) const DISK_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Outputs of the heartbeat thread that are handled before requests are looked at.
const OUTPUT_BATCH: usize = 256;
/// After an error, saving is tried again after so long.
const SAVE_AGAIN: Duration = Duration::from_secs(5);
/// Time for pending notifications when the daemon ends.
const NOTIFY_STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// The same when a new daemon follows at once: the peers wait for it.
const NOTIFY_RESTART_TIMEOUT: Duration = Duration::from_secs(5);

/// The slow half and all that it owns.
pub struct Daemon {
    pub(super) folders: Folders,
    pub(super) config: Config,
    pub(super) cluster: Cluster,
    pub(super) engine: EngineHandle,
    pub(super) performer: Performer,
    pub(super) fencer: NodeFencer,
    pub(super) notifier: Notifier,
    pub(super) peer_requests: PeerRequests,
    pub(super) netlink: Netlink,
    pub(super) journal: Option<Journal>,
    pub(super) log: Arc<Log>,
    pub(super) recording_writer: Option<RecordingWriter>,
    pub(super) respawn: RespawnChildren,
    pub(super) waiting: WaitingClients,
    pub(super) saver: watch::Sender<(u64, PersistentState)>,
    /// Why the state cannot be saved at present.
    pub(super) not_saved: watch::Receiver<Option<String>>,
    pub(super) status_changed: watch::Sender<()>,
    pub(super) reload: Reload,
    pub(super) leaving: bool,
    pub(super) activity: Activity,
    pub(super) moves: KnownMoves,
}

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonEnd {
    /// In order; what started it may start it again.
    InOrder,
    /// In order, to stay down until somebody starts it.
    Stopped,
    /// The heartbeat thread has failed.
    Failed,
}

impl Daemon {
    /// Runs until the engine has ended, or the heartbeat thread has failed. After a failure, resources stay up for the next
    /// daemon to find.
    pub async fn run(
        mut self,
        mut outputs: mpsc::UnboundedReceiver<Output>,
        mut calls: mpsc::Receiver<ControlCall>,
        mut orders: mpsc::UnboundedReceiver<MessageOrder>,
        mut reloads: mpsc::UnboundedReceiver<ReloadProgress>,
        mut signals: Signals,
    ) -> DaemonEnd {
        // The log has a longer line of it.
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.append_to_journal(of_daemon(What::DaemonStarted(version)));
        let mut batch = Vec::new();
        let ended_in_order = loop {
            tokio::select! {
                // Orders of the engine go before requests.
                biased;
                count = outputs.recv_many(&mut batch, OUTPUT_BATCH) => {
                    if count == 0 {
                        break false;
                    }
                    if self.handle_outputs(&mut batch) {
                        break true;
                    }
                }
                Some(order) = orders.recv() => self.peer_requests.carry_out(order, &self.engine),
                Some(progress) = reloads.recv() => self.continue_reload(progress),
                Some(call) = calls.recv() => self.serve(call).await,
                signal = signals.next() => self.handle_signal(signal),
            }
        };
        if ended_in_order {
            // After `hactl restart` everything is still up, and the next daemon takes it over.
            self.performer.extend_all_leases().await;
        }
        let how = match ended_in_order {
            true if self.leaving => "it leaves the cluster",
            true => "it restarts, its groups run on",
            false => "the heartbeat thread has failed, its groups run on",
        };
        self.record(of_daemon(What::DaemonEnded(how.to_owned())));
        self.notifier
            .finish(if self.leaving {
                NOTIFY_STOP_TIMEOUT
            } else {
                NOTIFY_RESTART_TIMEOUT
            })
            .await;
        if let Some(journal) = self.journal.take()
            && !journal.close(DISK_CLOSE_TIMEOUT)
        {
            tracing::warn!(
                "the last entries of the journal may be missing: the disk did not finish writing in time"
            );
        }
        if let Some(recording_writer) = self.recording_writer.take()
            && !recording_writer.close(DISK_CLOSE_TIMEOUT)
        {
            tracing::warn!(
                "the end of the recording may be missing: the disk did not finish writing in time"
            );
        }
        match ended_in_order {
            true if self.leaving && self.waiting.has_accepted_stop() => DaemonEnd::Stopped,
            true => DaemonEnd::InOrder,
            false => DaemonEnd::Failed,
        }
    }

    /// Whether the engine has ended. The leases of many groups are renewed together, and saved once.
    fn handle_outputs(&mut self, batch: &mut Vec<Output>) -> bool {
        let mut ended = false;
        for output in batch.drain(..) {
            match output {
                Output::Action(Action::Exit) => ended = true,
                output => self.handle_output(output),
            }
        }
        self.performer.save_leases();
        ended
    }

    fn handle_output(&mut self, output: Output) {
        match output {
            Output::Action(action) => self.perform(action),
            Output::Log(level, text) => log_line(level, &text),
            Output::StatusChanged => {
                self.status_changed.send_replace(());
            }
            Output::PeerMessages(from, messages) => {
                self.peer_requests.receive(&from, messages, &self.engine);
            }
            Output::AreYouAlive(asked) => asked.store(false, Ordering::Relaxed),
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Run { group, order, call } => self.performer.run_call(group, order, call),
            Action::Abort(group) => self.performer.abort_run(&group),
            Action::WatchAddresses { group, every } => {
                self.performer.probe_addresses(&group, every);
            }
            Action::WatchMachine { node, addresses } => {
                self.performer.watch_machine(&node, addresses);
            }
            Action::UnwatchMachine(node) => self.performer.unwatch_machine(&node),
            Action::Monitor { group, on } => self.performer.monitor_group(&group, on),
            Action::Announce(group) => self.performer.announce_addresses(&group),
            Action::Redefined(group) => self.performer.use_new_definition(&group),
            Action::Renew { group, until } => self.performer.renew_lease(group, until),
            Action::Fence { node, order, call } => self.fencer.call(node, order, call),
            Action::AbortFence(node) => self.fencer.abort(&node),
            Action::Save { version, kept } => {
                self.saver.send_replace((version, kept));
            }
            Action::Record(decision) => self.record(decision),
            Action::Reply { id, result } => {
                let warning = self.not_saved_warning();
                let result = result.map(|text| text + &warning.unwrap_or_default());
                self.waiting.reply(id, result);
            }
            // The heartbeat thread does these itself.
            Action::Send(_)
            | Action::Relay { .. }
            | Action::PeerMessages { .. }
            | Action::Ping
            | Action::Exit => {}
        }
    }

    /// Writes to the log and the journal.
    pub(super) fn record(&mut self, decision: Decision) {
        if decision.what == What::Leaving {
            self.leaving = true;
            service_manager::notify_stopping();
        }
        self.notifier.add_decision(&decision);
        self.activity.count(&decision, clock::now());
        let entry = self.append_to_journal(decision);
        self.moves.note(&entry.decision, entry.at_ms);
        log_line(entry.level, &entry.text);
    }

    fn append_to_journal(&self, decision: Decision) -> Entry {
        let entry = Entry::new(clock::wall_milliseconds(), decision);
        if let Some(journal) = &self.journal {
            journal.append(entry.clone());
        }
        entry
    }

    /// What follows the answer to a command while nothing can be saved.
    fn not_saved_warning(&self) -> Option<String> {
        let error = self.not_saved.borrow().clone()?;
        Some(format!(
            "; but the disk does not take it ({error}), so the next start of had does not know of it"
        ))
    }

    fn handle_signal(&mut self, signal: Signal) {
        match signal {
            Signal::Leave if self.leaving => {
                tracing::warn!(
                    "already stopping: waiting for the resources to stop (see hactl status)"
                );
            }
            Signal::Leave => {
                tracing::info!("stop requested: giving up all groups");
                self.engine.send_event(Event::Command {
                    id: 0,
                    command: Command::Leave,
                    asker: Asker::default(),
                });
            }
            Signal::Reload => self.begin_reload(ReloadWish::default(), ReloadReply::Log),
        }
    }
}

/// Starts the recording, if it is configured. A failure is logged: the daemon runs without.
pub(super) fn start_recording(
    folder: &Path,
    size: Option<u64>,
) -> (Option<RecordingWriter>, Option<RecordingFeed>) {
    let log = |level, text: String| log_line(level, &text);
    match size.map(|size| RecordingWriter::open(folder, size, log)) {
        None => (None, None),
        Some(Ok((recording_writer, feed))) => (Some(recording_writer), Some(feed)),
        Some(Err(e)) => {
            tracing::warn!("recording is off: {e}");
            (None, None)
        }
    }
}

/// Writes a line to the log.
pub(super) fn log_line(level: Level, text: &str) {
    match level {
        Level::Info => tracing::info!("{text}"),
        Level::Warning => tracing::warn!("{text}"),
        Level::Error => tracing::error!("{text}"),
    }
}

/// What the daemon itself has to say.
fn of_daemon(what: What) -> Decision {
    Decision::node(what, Because::SaidSo)
}

/// Saves the engine's state to the disk whenever it changes. Only the newest version matters, so a slow disk queues nothing
/// up. An error is logged once, is kept for status, and does not stop the engine; it is tried again.
pub(super) async fn keep_saving(
    file: Arc<StateFile>,
    mut wanted: watch::Receiver<(u64, PersistentState)>,
    not_saved: watch::Sender<Option<String>>,
    engine: EngineHandle,
    (run, instance): (PathBuf, Option<Instance>),
) {
    loop {
        let failing = not_saved.borrow().is_some();
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = sleep(SAVE_AGAIN), if failing => {}
        }
        let (version, kept) = wanted.borrow_and_update().clone();
        if kept.identity.instance != instance {
            // Another machine has this life too: what the next daemon finds here proves nothing.
            life::forget(&run);
        }
        let file = Arc::clone(&file);
        let saved = tokio::task::spawn_blocking(move || file.save(&kept)).await;
        match saved {
            Ok(Ok(())) => drop(not_saved.send_replace(None)),
            Ok(Err(e)) if not_saved.send_replace(Some(e.to_string())).is_none() => {
                tracing::error!(
                    "cannot save terms, generation and standby: {e}; the daemon continues, but loses them when it restarts. Check the disk"
                );
            }
            Ok(Err(_)) | Err(_) => {}
        }
        engine.send_event(Event::Saved { version });
    }
}
