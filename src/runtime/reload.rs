//! Reads and checks the configuration again and takes it over.
//!
//! The reading asks agents, disks and name services, any of which may hang. So it happens apart from the loop of the slow
//! half, which goes on meanwhile, one at a time, and with a deadline.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::daemon::{DISK_CLOSE_TIMEOUT, Daemon, start_recording};
use super::engine_handle::{Input, NewConfiguration};
use super::perform::min_address_lifetime;
use super::serve::ReplySender;
use crate::agent::builtin::drbd::fence::Peers;
use crate::agent::exec::blocking::run_apart;
use crate::agent::{Abort, AgentError, Limits};
use crate::assembly::assemble::{Assembled, assemble};
use crate::assembly::reload_plan::{ReloadWish, plan_reload};
use crate::control::api::{ControlAnswer, Refusal, RefusalCode};
use crate::engine::Asker;
use crate::model::decision::{Because, Decision, What};
use crate::store::recording_writer::{RecordingFeed, RecordingWriter};
use crate::text::{Problems, duration_for_people};

/// Time to read and check a configuration. An agent's meta-data has ten seconds of its own, and all are asked at once.
const READ_TIMEOUT: Duration = Duration::from_secs(25);

/// A new configuration with the reasons against it, or why there is none.
pub(super) type Judged = Result<(Box<Assembled>, Vec<String>), String>;

/// Who is told of the result.
pub enum ReloadReply {
    /// A client.
    Client(oneshot::Sender<Result<ControlAnswer, Refusal>>),
    /// A signal asked for it: the log.
    Log,
}

impl ReloadReply {
    fn send(self, result: Result<ControlAnswer, String>) {
        match (self, result) {
            (ReloadReply::Client(reply), result) => {
                let result = result.map_err(|text| Refusal::new(RefusalCode::Refused, text));
                // The client may have gone away.
                drop(reply.send(result));
            }
            (ReloadReply::Log, Ok(_)) => {}
            (ReloadReply::Log, Err(text)) => {
                tracing::error!(
                    "reload refused, the running configuration stays in force:\n{text}"
                );
            }
        }
    }
}

/// A part of a reload that has ended elsewhere.
pub enum ReloadProgress {
    /// The files were read.
    Read {
        /// What is wanted.
        wish: ReloadWish,
        /// Who is told.
        reply: ReloadReply,
        /// What was read.
        result: Judged,
    },
    /// The recording has its new size; none when it could not be closed in time.
    RecordingRestarted {
        /// What was changed.
        plan: String,
        /// Who is told.
        reply: ReloadReply,
        /// The new recording, where there is one.
        recording: Option<(Option<RecordingWriter>, Option<RecordingFeed>)>,
    },
    /// The program that a restart would start has read the configuration, or refuses it.
    RestartChecked {
        /// Who asked for it.
        asker: Asker,
        /// Who is told.
        reply: ReplySender,
        /// Why it would not start, or should not.
        result: Result<(), String>,
    },
}

/// The reload that is under way, if there is one, and where its progress is reported.
pub(super) struct Reload {
    since: Option<Instant>,
    progress: mpsc::UnboundedSender<ReloadProgress>,
}

impl Reload {
    /// None is under way. The receiver is for [`Daemon::continue_reload`].
    pub(super) fn new() -> (Reload, mpsc::UnboundedReceiver<ReloadProgress>) {
        let (progress, reported) = mpsc::unbounded_channel();
        let since = None;
        (Reload { since, progress }, reported)
    }

    /// Where progress is reported.
    pub(super) fn progress(&self) -> mpsc::UnboundedSender<ReloadProgress> {
        self.progress.clone()
    }
}

impl Daemon {
    /// Starts to read and check the configuration again.
    pub(super) fn begin_reload(&mut self, wish: ReloadWish, reply: ReloadReply) {
        if let Some(since) = self.reload.since {
            let text = format!(
                "another reload has been under way for {}; it ends within {}. Nothing was changed; try again then",
                duration_for_people(since.elapsed()),
                duration_for_people(READ_TIMEOUT + DISK_CLOSE_TIMEOUT)
            );
            return reply.send(Err(text));
        }
        self.reload.since = Some(Instant::now());
        let progress = self.reload.progress.clone();
        let read = self.read_and_judge();
        tokio::spawn(async move {
            let result = read.await;
            drop(progress.send(ReloadProgress::Read {
                wish,
                reply,
                result,
            }));
        });
    }

    /// Reads the configuration again, with the reasons against it.
    pub(super) fn read_and_judge(&self) -> impl Future<Output = Judged> + Send + use<> {
        let peers: Arc<dyn Peers> = Arc::new(self.peer_requests.peer_client.clone());
        let (folders, netlink) = (self.folders.clone(), self.netlink.clone());
        let node = self.config.node.clone();
        let engine = self.engine.clone();
        async move {
            let read = move || async move { assemble(&folders, &node, &netlink, &peers).await };
            let new = read_within(READ_TIMEOUT, read).await?;
            let against = engine.judge_configuration(new.cluster.clone()).await;
            Ok((Box::new(new), against))
        }
    }

    /// Goes on with the reload that is under way.
    pub(super) fn continue_reload(&mut self, progress: ReloadProgress) {
        match progress {
            ReloadProgress::Read {
                wish,
                reply,
                result,
            } => {
                self.reload.since = None;
                let planned = result.and_then(|(new, against)| {
                    let plan = plan_reload(&self.config, &self.cluster, &new, &against, wish)?;
                    Ok((plan, *new))
                });
                match planned {
                    Err(text) => reply.send(Err(text)),
                    Ok((plan, _)) if wish.dry_run => reply.send(Ok(ControlAnswer::Plan(plan))),
                    Ok((plan, new)) => self.take_over_configuration(plan, new, reply),
                }
            }
            ReloadProgress::RecordingRestarted {
                plan,
                reply,
                recording,
            } => {
                self.reload.since = None;
                if let Some((writer, feed)) = recording {
                    self.recording_writer = writer;
                    self.engine.send(Input::Record(feed));
                } else {
                    tracing::warn!(
                        "the recording could not be closed in time (slow disk?); recording is off until had is restarted"
                    );
                }
                reply.send(Ok(ControlAnswer::Done(plan)));
            }
            ReloadProgress::RestartChecked {
                asker,
                reply,
                result,
            } => {
                self.restart_if_good(asker, reply, result);
            }
        }
    }

    fn take_over_configuration(&mut self, plan: String, new: Assembled, reply: ReloadReply) {
        self.record(Decision::node(
            What::Reloaded(plan.replace('\n', "; ")),
            Because::SaidSo,
        ));
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
        let min_lifetime = min_address_lifetime(config.lease, &cluster.timing);
        self.performer.reconfigure(groups, watch_plan, min_lifetime);
        self.fencer.reconfigure(&config.fence_devices);
        self.notifier.reconfigure(hooks);
        self.respawn.reconfigure(&config.respawn);
        self.cluster = cluster.clone();
        let new = NewConfiguration {
            cluster,
            keys: config.keys.clone(),
            hopfudge: config.hopfudge,
            log_bad_packets: config.log_badpack,
        };
        let record = config.record;
        let other_recording = record != self.config.record;
        self.config = config;
        self.engine.send(Input::Reconfigure(Box::new(new)));
        if other_recording {
            self.restart_recording(record, plan, reply);
        } else {
            reply.send(Ok(ControlAnswer::Done(plan)));
        }
    }

    /// Ends the recording and starts another one of that size. Two writers must not share the files, so the reload is under
    /// way until then.
    fn restart_recording(&mut self, size: Option<u64>, plan: String, reply: ReloadReply) {
        self.reload.since = Some(Instant::now());
        self.engine.send(Input::Record(None));
        let old = self.recording_writer.take();
        let (state, progress) = (self.folders.state.clone(), self.reload.progress.clone());
        tokio::task::spawn_blocking(move || {
            let closed = old.is_none_or(|writer| writer.close(DISK_CLOSE_TIMEOUT));
            let recording = closed.then(|| start_recording(&state, size));
            drop(progress.send(ReloadProgress::RecordingRestarted {
                plan,
                reply,
                recording,
            }));
        });
    }
}

/// Has the files read, apart from the caller and with a deadline.
async fn read_within<T, F>(
    time: Duration,
    read: impl FnOnce() -> F + Send + 'static,
) -> Result<T, String>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Problems>>,
{
    let limits = Limits::within(time, &Abort::new());
    match tokio::time::timeout(time, run_apart(&limits, "the reload", read)).await {
        Ok(Ok(Ok(new))) => Ok(new),
        Ok(Ok(Err(problems))) => Err(problems.page("nothing was changed")),
        Ok(Err(AgentError::Failed(text) | AgentError::NotExecuted(text))) => {
            Err(format!("{text}; nothing was changed"))
        }
        Ok(Err(AgentError::TimedOut(_))) | Err(_) => Err(format!(
            "the new configuration could not be checked within {}: a disk, a name service or a program that it names does \
             not answer; nothing was changed",
            duration_for_people(time)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_configuration_that_cannot_be_read_is_given_up_at_the_deadline() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let hangs = move || async move {
            let _ended = held.recv();
            Ok(())
        };
        let error = read_within(Duration::from_millis(30), hangs)
            .await
            .unwrap_err();
        assert!(
            error.contains("could not be checked within 30 ms"),
            "{error}"
        );
        assert!(error.ends_with("nothing was changed"), "{error}");
        drop(release);
        let reads = || async { Ok(7) };
        assert_eq!(read_within(Duration::from_secs(60), reads).await, Ok(7));
    }
}
