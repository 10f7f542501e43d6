//! Answers `hactl`: looks at the state, turns words into groups, hands commands to the engine and brings their outcome.

use std::collections::HashMap;
use std::time::Duration;

use super::daemon::Daemon;
use super::drbd;
use super::fencing::Loss;
use crate::control::api::{Answer, Code, HISTORY_MAX, Refusal, Request};
use crate::control::select::{Direction, select, select_one};
use crate::control::server::Call;
use crate::engine::{Command, Event};
use crate::model::{GroupName, NodeName};
use crate::store::journal::Query;

/// Entries that `why` shows.
const WHY: usize = 30;
/// How long the peers wait for us when no better time is known.
const BACK_WITHIN: Duration = Duration::from_secs(30);

type Reply = tokio::sync::oneshot::Sender<Result<Answer, Refusal>>;

/// Commands whose outcome is awaited by a client.
#[derive(Debug, Default)]
pub struct Waiting {
    next: u64,
    clients: HashMap<u64, Reply>,
}

impl Waiting {
    fn add(&mut self, reply: Reply) -> u64 {
        self.next += 1;
        self.clients.insert(self.next, reply);
        self.next
    }

    /// Brings the outcome of a command to who waits for it.
    pub fn answer(&mut self, id: u64, result: Result<String, String>) {
        if let Some(reply) = self.clients.remove(&id) {
            let result = result
                .map(Answer::Done)
                .map_err(|text| Refusal::new(Code::Failed, text));
            send(reply, result);
        }
    }
}

fn send(reply: Reply, result: Result<Answer, Refusal>) {
    // A client that went away does not need its answer.
    drop(reply.send(result));
}

impl Daemon {
    /// Answers one request.
    pub(super) async fn serve(&mut self, call: Call) {
        if !call.request.only_looks() {
            let pid = call
                .caller
                .pid
                .map_or_else(String::new, |pid| format!(" (pid {pid})"));
            tracing::info!("user {}{pid} asks: {:?}", call.caller.uid, call.request);
        }
        match call.request {
            Request::Status | Request::Subscribe => {
                let mut status = self.engine.status().await;
                if let Some(status) = &mut status {
                    status.counters.extend(self.log.lost());
                }
                send(
                    call.reply,
                    status
                        .map(|s| Answer::Status(Box::new(s)))
                        .ok_or_else(ending),
                );
            }
            Request::Why { group, at_ms } => self.why(group, at_ms, call.reply),
            Request::History { limit } => {
                let limit = limit.min(HISTORY_MAX);
                self.look_up(
                    Query {
                        limit,
                        group: None,
                        until_ms: None,
                    },
                    call.reply,
                );
            }
            Request::Parameter { name } => {
                let found = self.config.directives.iter().find(|(n, _)| *n == name);
                let value = found.map(|(_, value)| Answer::Done(value.clone()));
                send(
                    call.reply,
                    value.ok_or_else(|| Refusal::new(Code::Refused, format!("{name} is not set"))),
                );
            }
            Request::Reload { dry_run } => {
                let result = self.reload(dry_run).await;
                send(
                    call.reply,
                    result.map_err(|text| Refusal::new(Code::Refused, text)),
                );
            }
            Request::Drbd { resource } => {
                let resources = match resource {
                    Some(one) => vec![one],
                    None => drbd::configured(&self.config.groups),
                };
                let (peer_client, me) = (
                    self.peer_requests.peer_client.clone(),
                    self.config.node.clone(),
                );
                tokio::spawn(async move {
                    send(
                        call.reply,
                        Ok(drbd::view(&peer_client, &me, resources).await),
                    );
                });
            }
            Request::FencePeer {
                resource,
                timeout_ms,
            } => {
                let loss = Loss::of(
                    resource,
                    &self.peer_requests.peer_client,
                    &self.config.groups,
                );
                tokio::spawn(async move {
                    let answer = match loss {
                        Ok(loss) => loss.answer(Duration::from_millis(timeout_ms)).await,
                        Err(refusal) => Err(refusal),
                    };
                    send(call.reply, answer);
                });
            }
            other => self.command(other, call.reply).await,
        }
    }

    fn why(&mut self, group: Option<String>, until_ms: Option<u64>, reply: Reply) {
        let group = match group
            .map(|word| select_one(&word, &self.names()))
            .transpose()
        {
            Ok(group) => group,
            Err(text) => return send(reply, Err(Refusal::new(Code::NoSuchGroup, text))),
        };
        self.look_up(
            Query {
                limit: WHY,
                group,
                until_ms,
            },
            reply,
        );
    }

    fn look_up(&mut self, query: Query, reply: Reply) {
        let answer = self.journal.as_ref().map(|j| j.last(query));
        tokio::spawn(async move {
            let entries = match answer {
                Some(answer) => answer.await.ok(),
                None => None,
            };
            let missing =
                || Refusal::new(Code::Failed, "the journal is not available; see the log");
            send(reply, entries.map(Answer::Decisions).ok_or_else(missing));
        });
    }

    fn names(&self) -> Vec<(GroupName, NodeName)> {
        self.cluster
            .groups
            .iter()
            .map(|g| (g.name.clone(), g.preferred.clone()))
            .collect()
    }

    /// The configured groups, and those that are configured away but still here, because a stop failed: whoever has
    /// seen to it must be able to say so.
    async fn names_still_here(&self) -> Vec<(GroupName, NodeName)> {
        let mut names = self.names();
        let status = self.engine.status().await;
        for group in status.into_iter().flat_map(|s| s.groups) {
            if !names.iter().any(|(name, _)| *name == group.name) {
                names.push((group.name, group.preferred));
            }
        }
        names
    }

    async fn command(&mut self, request: Request, reply: Reply) {
        let names = match request {
            Request::Clear { .. } => self.names_still_here().await,
            _ => self.names(),
        };
        match self.understand(request, &names) {
            Ok((command, true)) => {
                let id = self.waiting.add(reply);
                self.engine.event(Event::Command { id, command });
            }
            Ok((command, false)) => {
                send(reply, Ok(Answer::Done("accepted".to_owned())));
                self.engine.event(Event::Command { id: 0, command });
            }
            Err(text) => send(reply, Err(Refusal::new(Code::NoSuchGroup, text))),
        }
    }

    /// The command for the engine, and whether its outcome is awaited.
    fn understand(
        &self,
        request: Request,
        names: &[(GroupName, NodeName)],
    ) -> Result<(Command, bool), String> {
        let chosen = |words: &[String], way| select(words, names, &self.config.node, way);
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
            Request::Clear { group } => (Command::Clear(select_one(&group, names)?), true),
            Request::Restart => (
                Command::Restart {
                    back_within: BACK_WITHIN,
                },
                true,
            ),
            Request::Status
            | Request::Subscribe
            | Request::Why { .. }
            | Request::History { .. }
            | Request::Parameter { .. }
            | Request::Drbd { .. }
            | Request::FencePeer { .. }
            | Request::Reload { .. } => return Err("this request is no command".to_owned()),
        })
    }
}

fn ending() -> Refusal {
    Refusal::new(Code::Busy, "the daemon is ending")
}
