//! Answers `hactl`: reads the state, turns words into groups, gives commands to the engine and returns their outcome.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::daemon::Daemon;
use super::drbd;
use super::fencing::{self, PeerLoss};
use super::reload::ReloadReply;
use crate::assembly::reload_plan::ReloadWish;
use crate::control::api::{ControlAnswer, HISTORY_MAX, Refusal, RefusalCode, Request};
use crate::control::select::{Direction, select_group, select_groups};
use crate::control::server::ControlCall;
use crate::engine::{Asker, Command, Event};
use crate::model::decision::{Because, Decision, What};
use crate::model::status::{Note, Status};
use crate::model::{GroupName, NodeName};
use crate::store::journal::JournalQuery;
use crate::sys::clock;

/// Journal entries in an answer to `hactl why`.
const WHY_ENTRIES: usize = 30;
/// Where the outcome of a command goes.
pub(super) type ReplySender = tokio::sync::oneshot::Sender<Result<ControlAnswer, Refusal>>;

/// The clients that wait for the outcome of a command.
#[derive(Debug, Default)]
pub struct WaitingClients {
    last_id: u64,
    clients: HashMap<u64, ReplySender>,
    stops: HashSet<u64>,
    stop_accepted: bool,
}

impl WaitingClients {
    fn add(&mut self, reply: ReplySender) -> u64 {
        self.last_id += 1;
        self.clients.insert(self.last_id, reply);
        self.last_id
    }

    /// As `add`, for a client that asks the daemon to stop.
    fn add_stop(&mut self, reply: ReplySender) -> u64 {
        let id = self.add(reply);
        self.stops.insert(id);
        id
    }

    /// Whether a stop that a client asked for is under way: the service manager shall not start the daemon again.
    pub fn has_accepted_stop(&self) -> bool {
        self.stop_accepted
    }

    /// Sends the outcome of a command to the client that waits for it.
    pub fn reply(&mut self, id: u64, result: Result<String, String>) {
        self.stop_accepted |= self.stops.remove(&id) && result.is_ok();
        if let Some(reply) = self.clients.remove(&id) {
            let result = result
                .map(ControlAnswer::Done)
                .map_err(|text| Refusal::new(RefusalCode::Failed, text));
            send_reply(reply, result);
        }
    }
}

fn send_reply(reply: ReplySender, result: Result<ControlAnswer, Refusal>) {
    // The client may have gone away.
    drop(reply.send(result));
}

impl Daemon {
    /// Answers one request.
    pub(super) async fn serve(&mut self, call: ControlCall) {
        let mut asker = Asker {
            waits: true,
            ..Asker::default()
        };
        if !call.request.is_read_only() {
            asker.who = call.caller.user();
            let pid = call
                .caller
                .pid
                .map_or_else(String::new, |pid| format!(" (pid {pid})"));
            tracing::info!("user {}{pid} runs: {}", call.caller.uid, call.request);
        }
        match call.request {
            Request::Status | Request::Subscribe => self.send_status(call.reply).await,
            Request::Why { group, at_ms } => self.send_reasons(group, at_ms, call.reply).await,
            Request::History { limit } => {
                let limit = limit.min(HISTORY_MAX);
                self.send_journal_entries(
                    JournalQuery {
                        limit,
                        group: None,
                        until_ms: None,
                    },
                    call.reply,
                );
            }
            Request::Parameter { name } => {
                let found = self.config.directives.iter().find(|(n, _)| *n == name);
                let value = found.map(|(_, value)| ControlAnswer::Done(value.clone()));
                send_reply(
                    call.reply,
                    value.ok_or_else(|| {
                        Refusal::new(RefusalCode::Refused, format!("{name} is not set"))
                    }),
                );
            }
            Request::Reload { dry_run, force } => {
                if !dry_run {
                    let what = What::Commanded(asker.asks(&call.request.to_string()));
                    self.record(Decision::node(what, Because::Administrator));
                }
                let wish = ReloadWish { dry_run, force };
                self.begin_reload(wish, ReloadReply::Client(call.reply));
            }
            Request::Restart { force } => self.begin_restart(force, asker, call.reply),
            Request::Drilled { .. } => self.note_drill(call.request, call.reply).await,
            Request::Stop { force } => {
                let command = if force { Command::Leave } else { Command::Stop };
                let id = self.waiting.add_stop(call.reply);
                let event = Event::Command { id, command, asker };
                self.engine.send_event(event);
            }
            Request::Drbd { resource } => {
                let resources = match resource {
                    Some(one) => vec![one],
                    None => drbd::configured_resources(&self.config.groups),
                };
                let (peer_client, me) = (
                    self.peer_requests.peer_client.clone(),
                    self.config.node.clone(),
                );
                tokio::spawn(async move {
                    send_reply(
                        call.reply,
                        Ok(drbd::ask_all_nodes(&peer_client, &me, resources).await),
                    );
                });
            }
            Request::FenceTest { node } => {
                let test = self.fencer.test(&NodeName::new(&node));
                tokio::spawn(async move { send_reply(call.reply, test.await) });
            }
            Request::FencePeer {
                resource,
                timeout_ms,
            } => {
                let loss = PeerLoss::new(
                    resource,
                    &self.peer_requests.peer_client,
                    &self.config.groups,
                );
                tokio::spawn(async move {
                    let answer = match loss {
                        Ok(loss) => {
                            fencing::fence_peer(loss, Duration::from_millis(timeout_ms)).await
                        }
                        Err(refusal) => Err(refusal),
                    };
                    send_reply(call.reply, answer);
                });
            }
            other => self.run_command(other, asker, call.reply).await,
        }
    }

    /// Writes the result of a drill to the journal.
    async fn note_drill(&mut self, request: Request, reply: ReplySender) {
        let Request::Drilled {
            group,
            to,
            gap_us,
            returned,
            back_us,
        } = request
        else {
            return;
        };
        let what = What::Drilled {
            to,
            gap: gap_us.map(Duration::from_micros),
            returned,
            back: back_us.map(Duration::from_micros),
        };
        match select_group(&group, &self.known_groups().await) {
            Ok(group) => {
                self.record(Decision::group(&group, what, Because::Administrator));
                send_reply(reply, Ok(ControlAnswer::Done("noted".to_owned())));
            }
            Err(text) => send_reply(reply, Err(Refusal::new(RefusalCode::NoSuchGroup, text))),
        }
    }

    async fn send_status(&mut self, reply: ReplySender) {
        let mut status = self.engine.status().await;
        if let Some(status) = &mut status {
            status.counters.extend(self.log.lost());
            self.add_not_saved(status);
            self.activity
                .add_to(status, clock::now(), self.cluster.timing.deadtime);
            self.moves.add_to(status);
            self.performer.add_lags(&mut status.checks);
        }
        let answer = status.map(|s| ControlAnswer::Status(Box::new(s)));
        send_reply(reply, answer.ok_or_else(daemon_is_ending));
    }

    /// Says that nothing can be saved, if that is so.
    fn add_not_saved(&self, status: &mut Status) {
        let error = self.not_saved.borrow().clone();
        let me = status.nodes.iter_mut().find(|n| n.name == status.node);
        if let (Some(error), Some(me)) = (error, me) {
            let folder = self.folders.state.display();
            me.notes.push(Note::new(
                "not-saved",
                format!(
                    "cannot write to {folder}: {error}; the next start of had knows neither standby nor maintenance of now"
                ),
            ));
        }
    }

    async fn send_reasons(
        &mut self,
        group: Option<String>,
        until_ms: Option<u64>,
        reply: ReplySender,
    ) {
        let names = self.known_groups().await;
        let group = match group.map(|word| select_group(&word, &names)).transpose() {
            Ok(group) => group,
            Err(text) => {
                return send_reply(reply, Err(Refusal::new(RefusalCode::NoSuchGroup, text)));
            }
        };
        self.send_journal_entries(
            JournalQuery {
                limit: WHY_ENTRIES,
                group,
                until_ms,
            },
            reply,
        );
    }

    fn send_journal_entries(&mut self, query: JournalQuery, reply: ReplySender) {
        let answer = self.journal.as_ref().map(|j| j.last(query));
        tokio::spawn(async move {
            let entries = match answer {
                Some(answer) => answer.await.ok(),
                None => None,
            };
            let missing = || {
                Refusal::new(
                    RefusalCode::Failed,
                    "the journal is not available; the log of had says why",
                )
            };
            send_reply(
                reply,
                entries.map(ControlAnswer::Decisions).ok_or_else(missing),
            );
        });
    }

    /// The groups that words may mean: the configured ones, and those that the configuration no longer has and that still run
    /// here, or are stuck, or in maintenance.
    async fn known_groups(&self) -> Vec<(GroupName, NodeName)> {
        let configured = self.cluster.groups.iter();
        let mut names: Vec<(GroupName, NodeName)> = configured
            .map(|g| (g.name.clone(), g.preferred.clone()))
            .collect();
        let status = self.engine.status().await;
        for group in status.into_iter().flat_map(|s| s.groups) {
            if !names.iter().any(|(name, _)| *name == group.name) {
                names.push((group.name, group.preferred));
            }
        }
        names
    }

    /// Gives the engine a command whose outcome the client waits for.
    pub(super) fn give_command(&mut self, command: Command, asker: Asker, reply: ReplySender) {
        let id = self.waiting.add(reply);
        let event = Event::Command { id, command, asker };
        self.engine.send_event(event);
    }

    async fn run_command(&mut self, request: Request, mut asker: Asker, reply: ReplySender) {
        let about_nodes = matches!(
            request,
            Request::Forget { .. } | Request::ConfirmDead { .. } | Request::Fence { .. }
        );
        let refusal = self.cluster.refuse_as_witness();
        if let Some(text) = refusal.filter(|_| !about_nodes) {
            return send_reply(reply, Err(Refusal::new(RefusalCode::Refused, text)));
        }
        let names = self.known_groups().await;
        match self.engine_command(request, &names) {
            Ok((command, waits)) => {
                asker.waits = waits;
                self.give_command(command, asker, reply);
            }
            Err(text) => send_reply(reply, Err(Refusal::new(RefusalCode::NoSuchGroup, text))),
        }
    }

    /// The command for the engine, and whether the client waits for its outcome.
    fn engine_command(
        &self,
        request: Request,
        names: &[(GroupName, NodeName)],
    ) -> Result<(Command, bool), String> {
        let chosen = |words: &[String], way| select_groups(words, names, &self.config.node, way);
        Ok(match request {
            Request::Standby {
                words,
                lasting,
                wait,
            } => (
                Command::Standby {
                    groups: chosen(&words, Direction::Away)?,
                    lasting,
                },
                wait,
            ),
            Request::Unstandby { words } => {
                (Command::Unstandby(chosen(&words, Direction::Away)?), true)
            }
            Request::Takeover { words, force, wait } => (
                Command::Takeover {
                    groups: chosen(&words, Direction::Here)?,
                    force,
                },
                wait,
            ),
            Request::Maintenance { words, on } => (
                Command::Maintenance {
                    groups: chosen(&words, Direction::Away)?,
                    on,
                },
                true,
            ),
            Request::Clear { group } => (Command::Clear(select_group(&group, names)?), true),
            Request::Forget { node } => (Command::Forget(NodeName::new(&node)), true),
            Request::ConfirmDead { node } => (Command::ConfirmDead(NodeName::new(&node)), true),
            Request::Fence { node } => (Command::Fence(NodeName::new(&node)), true),
            Request::FenceTest { .. }
            | Request::Drilled { .. }
            | Request::Status
            | Request::Subscribe
            | Request::Why { .. }
            | Request::History { .. }
            | Request::Parameter { .. }
            | Request::Drbd { .. }
            | Request::FencePeer { .. }
            | Request::Restart { .. }
            | Request::Stop { .. }
            | Request::Reload { .. } => return Err("this request is not a command".to_owned()),
        })
    }
}

fn daemon_is_ending() -> Refusal {
    Refusal::new(RefusalCode::Busy, "the daemon is ending")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stop_that_is_accepted_keeps_the_daemon_down() {
        let mut waiting = WaitingClients::default();
        let reply = || tokio::sync::oneshot::channel().0;
        let refused = waiting.add_stop(reply());
        waiting.reply(refused, Err("quorum".to_owned()));
        let other = waiting.add(reply());
        waiting.reply(other, Ok("done".to_owned()));
        assert!(!waiting.has_accepted_stop());
        let accepted = waiting.add_stop(reply());
        assert!(!waiting.has_accepted_stop());
        waiting.reply(accepted, Ok("stopping all groups".to_owned()));
        assert!(waiting.has_accepted_stop());
    }
}
