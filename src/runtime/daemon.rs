//! The daemon's slow half: one loop over what the heartbeat thread orders, what clients ask and what signals say.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::heartbeat_thread::{EngineHandle, Input, Output, Reconfigured};
use super::logging::Log;
use super::notify::Notifier;
use super::peer_requests::{Order, PeerRequests};
use super::perform::{Performer, min_kernel_ttl};
use super::serve::Waiting;
use super::signals::{Signal, Signals};
use crate::agent::builtin::drbd::fence::Peers;
use crate::assembly::assemble::{Assembled, assemble};
use crate::assembly::{Folders, reload_plan};
use crate::config::Config;
use crate::control::api::Answer;
use crate::control::server::Call;
use crate::engine::{Action, Command, Event, PersistentState};
use crate::model::cluster::Cluster;
use crate::model::decision::Level;
use crate::model::journal::Entry;
use crate::store::journal::Journal;
use crate::store::recording_writer::{RecordingFeed, RecordingWriter};
use crate::store::state_file::StateFile;
use crate::sys::clock;
use crate::sys::netlink::Netlink;

/// How long the journal, and the recording, may take to bring the last of it to the disk.
const DISK_ENDS: Duration = Duration::from_secs(2);

/// How long what is still to be told may take when the daemon ends; and when another one follows at once, for which the
/// peers wait.
const TOLD_ENDS: Duration = Duration::from_secs(60);
const TOLD_BREAKS: Duration = Duration::from_secs(5);

/// Everything that the slow half holds.
pub struct Daemon {
    pub(super) folders: Folders,
    pub(super) config: Config,
    pub(super) cluster: Cluster,
    pub(super) engine: EngineHandle,
    pub(super) performer: Performer,
    pub(super) notifier: Notifier,
    pub(super) peer_requests: PeerRequests,
    pub(super) netlink: Netlink,
    pub(super) journal: Option<Journal>,
    pub(super) log: Arc<Log>,
    pub(super) recording_writer: Option<RecordingWriter>,
    pub(super) waiting: Waiting,
    pub(super) saver: watch::Sender<(u64, PersistentState)>,
    pub(super) changed: watch::Sender<()>,
    pub(super) leaving: bool,
}

impl Daemon {
    /// Runs until the engine has given up everything and said goodbye (true), or until the heartbeat thread has ended by
    /// itself (false): then what runs goes on running, for the next daemon to find.
    pub async fn run(
        mut self,
        mut outputs: mpsc::UnboundedReceiver<Output>,
        mut calls: mpsc::Receiver<Call>,
        mut orders: mpsc::UnboundedReceiver<Order>,
        mut signals: Signals,
    ) -> bool {
        let told = loop {
            tokio::select! {
                // The engine's orders before anybody's wishes.
                biased;
                output = outputs.recv() => match output {
                    Some(Output::Action(Action::Exit)) => break true,
                    Some(output) => self.carry_out(output),
                    None => break false,
                },
                Some(order) = orders.recv() => self.peer_requests.take(order, &self.engine),
                Some(call) = calls.recv() => self.serve(call).await,
                signal = signals.next() => self.signalled(signal).await,
            }
        };
        if told {
            // After a goodbye nothing is up any more; after `hactl restart` everything is, and shall be found so.
            self.performer.extend_leases().await;
        }
        self.notifier
            .finish(if self.leaving { TOLD_ENDS } else { TOLD_BREAKS })
            .await;
        if let Some(journal) = self.journal.take()
            && !journal.close(DISK_ENDS)
        {
            tracing::warn!("the last journal entries may be missing");
        }
        if let Some(recording_writer) = self.recording_writer.take()
            && !recording_writer.close(DISK_ENDS)
        {
            tracing::warn!("the end of the recording may be missing");
        }
        told
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Action(action) => self.perform(action),
            Output::Note(level, text) => note(level, &text),
            Output::Changed => {
                self.changed.send_replace(());
            }
            Output::PeerMessages(from, messages) => {
                self.peer_requests.hear(&from, messages, &self.engine);
            }
            Output::Alive(asked) => asked.store(false, Ordering::Relaxed),
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Run { group, order, call } => self.performer.run(group, order, call),
            Action::Abort(group) => self.performer.abort(&group),
            Action::WatchAddresses { group, on } => self.performer.watch(&group, on),
            Action::Monitor { group, on } => self.performer.monitor(&group, on),
            Action::Announce(group) => self.performer.announce(&group),
            Action::Redefined(group) => self.performer.redefine(&group),
            Action::Renew { group, until } => self.performer.renew(group, until),
            Action::Save { version, kept } => {
                self.saver.send_replace((version, kept));
            }
            Action::Record(decision) => {
                self.notifier.hear(&decision);
                let entry = Entry::new(clock::wall_milliseconds(), decision);
                note(entry.level, &entry.text);
                if let Some(journal) = &self.journal {
                    journal.append(entry);
                }
            }
            Action::Reply { id, result } => self.waiting.answer(id, result),
            // The heartbeat thread does these itself.
            Action::Send(_) | Action::Ping | Action::Exit => {}
        }
    }

    async fn signalled(&mut self, signal: Signal) {
        match signal {
            Signal::Leave if self.leaving => {
                tracing::warn!(
                    "already giving up; wait for the stops to end (hactl status shows them)"
                );
            }
            Signal::Leave => {
                self.leaving = true;
                tracing::info!("told to end: giving up all groups in order");
                drop(sd_notify::notify(&[sd_notify::NotifyState::Stopping]));
                self.engine.event(Event::Command {
                    id: 0,
                    command: Command::Leave,
                });
            }
            Signal::Reload => match self.reload(false).await {
                Ok(_) => {}
                Err(text) => tracing::error!(
                    "the configuration was not taken; the running one stays:\n{text}"
                ),
            },
        }
    }

    /// Reads the configuration anew, judges it, says what would change, and takes it unless it is a dry run.
    pub(super) async fn reload(&mut self, dry_run: bool) -> Result<Answer, String> {
        let peers: Arc<dyn Peers> = Arc::new(self.peer_requests.peer_client.clone());
        let new = assemble(&self.folders, &self.config.node, &self.netlink, &peers)
            .await
            .map_err(|problems| problems.page("nothing was changed"))?;
        let plan = reload_plan::of(&self.config, &self.cluster, &new)?;
        if dry_run {
            return Ok(Answer::Plan(plan));
        }
        tracing::info!("reloading: {plan}");
        let Assembled {
            config,
            cluster,
            groups,
            watch_plan,
            hooks,
            warnings,
        } = new;
        if !warnings.is_empty() {
            tracing::warn!("{warnings}");
        }
        if config.record != self.config.record {
            self.record_anew(config.record).await;
        }
        let min_ttl = min_kernel_ttl(config.lease, &cluster.timing);
        self.performer.reconfigure(groups, watch_plan, min_ttl);
        self.notifier.reconfigure(hooks);
        self.cluster = cluster.clone();
        let keys = config.keys.clone();
        self.config = config;
        self.engine
            .tell(Input::Reconfigure(Box::new(Reconfigured { cluster, keys })));
        Ok(Answer::Done(plan))
    }

    /// Ends what is being recorded, and begins again in another size. Two must not write the same files.
    async fn record_anew(&mut self, size: Option<u64>) {
        self.engine.tell(Input::Record(None));
        if let Some(recording_writer) = self.recording_writer.take() {
            let closed =
                tokio::task::spawn_blocking(move || recording_writer.close(DISK_ENDS)).await;
            if !closed.is_ok_and(|closed| closed) {
                return tracing::warn!(
                    "the disk takes too long to end the recording: nothing is recorded until the daemon is restarted"
                );
            }
        }
        let (recording_writer, feed) = record(&self.folders.state, size);
        self.recording_writer = recording_writer;
        self.engine.tell(Input::Record(feed));
    }
}

/// Begins to record, when that is wanted and possible.
pub(super) fn record(
    folder: &Path,
    size: Option<u64>,
) -> (Option<RecordingWriter>, Option<RecordingFeed>) {
    let say = |level, text: String| note(level, &text);
    match size.map(|size| RecordingWriter::open(folder, size, say)) {
        None => (None, None),
        Some(Ok((recording_writer, feed))) => (Some(recording_writer), Some(feed)),
        Some(Err(e)) => {
            tracing::warn!("nothing is recorded: {e}");
            (None, None)
        }
    }
}

/// Writes to the log.
pub(super) fn note(level: Level, text: &str) {
    match level {
        Level::Info => tracing::info!("{text}"),
        Level::Warning => tracing::warn!("{text}"),
        Level::Error => tracing::error!("{text}"),
    }
}

/// Brings to the disk what must outlive us. Only the newest matters, so a slow disk piles nothing up; a disk that
/// refuses is told once and does not keep the engine from going on.
pub(super) async fn save_always(
    file: Arc<StateFile>,
    mut wanted: watch::Receiver<(u64, PersistentState)>,
    engine: EngineHandle,
) {
    let mut told = false;
    while wanted.changed().await.is_ok() {
        let (version, kept) = wanted.borrow_and_update().clone();
        let file = Arc::clone(&file);
        let saved = tokio::task::spawn_blocking(move || file.save(&kept)).await;
        match saved {
            Ok(Ok(())) => told = false,
            Ok(Err(e)) if !told => {
                told = true;
                tracing::error!(
                    "cannot save generation, terms and standby: {e}; had goes on without, mend the disk"
                );
            }
            Ok(Err(_)) | Err(_) => {}
        }
        engine.event(Event::Saved { version });
    }
}
