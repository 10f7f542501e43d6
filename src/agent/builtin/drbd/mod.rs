//! The built-in `drbddisk`, also called `drbd`: makes one side of a DRBD resource Primary, and Secondary again. It never uses
//! force, and it does not bring a resource up: the boot of the machine does that.
//!
//! * [`kernel`]: the state of the resource here; `history`: what the kernel's log tells; [`advice`]: what a state allows, and the
//!   text for an administrator if it does not.
//! * [`fence`]: asks the other nodes, over the cluster's own links, for the state of the peer's data.
//! * [`all`]: all resources together.
//! * `validate`: the checks of `hactl check`.

pub mod advice;
pub mod all;
pub mod arguments;
pub mod fence;
mod history;
pub mod kernel;
pub mod validate;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use self::advice::NextStep;
use self::fence::{PeerVerdict, Peers};
use self::history::DrbdHistory;
use crate::agent::builtin::filesystem::mountinfo::MountTable;
use crate::agent::exec::system_tool;
use crate::agent::{Agent, AgentError, Limits, Status};
use crate::model::drbd::{Role, State};
use crate::model::peer_message::{Fenced, PeerQuestion};

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a start waits for a connection to a live peer. DRBD tries every ten seconds by default.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(12);
/// How long DRBD may take to notice that a connected Primary peer is dead. By default its `ping-timeout` is half a second and its
/// `timeout` six seconds.
const PEER_DEATH_WAIT: Duration = Duration::from_secs(20);
/// The device number of `/dev/drbdN` (Documentation/admin-guide/devices.txt).
const MAJOR: u64 = 147;

/// One resource of drbd.conf.
pub struct Drbd {
    resource: String,
    peers: Arc<dyn Peers>,
}

impl Drbd {
    /// The resource; nothing is changed yet.
    pub fn new(resource: &str, peers: &Arc<dyn Peers>) -> Self {
        Drbd {
            resource: resource.to_owned(),
            peers: Arc::clone(peers),
        }
    }

    /// Makes one attempt to become Primary. Returns why that has to wait; `None` when this side is Primary.
    async fn try_start(
        &self,
        begun: Instant,
        limits: &Limits,
    ) -> Result<Option<String>, AgentError> {
        let resource = &self.resource;
        let failed = AgentError::Failed;
        let Some(state) = kernel::read_state(resource, limits).await? else {
            return Err(failed(advice::not_up(resource)));
        };
        let history = history_if_alone(resource, &state, limits).await?;
        match advice::next_step(resource, &state, history.split_brain) {
            NextStep::Done => Ok(None),
            NextStep::Refuse(why) => Err(failed(format!("{resource}: {why}"))),
            NextStep::Wait(why) => Ok(Some(why)),
            NextStep::PeerIsPrimary => self.take_from_dying_peer(&state, begun, limits).await,
            NextStep::Promote => {
                let early = begun.elapsed() < HANDSHAKE_WAIT && advice::may_connect(&state);
                if early && self.peers.any_alive().await {
                    return Ok(Some("it is not connected to its peer yet".to_owned()));
                }
                if !state.connected() {
                    self.check_peer_data(&state, limits).await?;
                }
                self.promote(limits).await
            }
        }
    }

    /// Tries while a connected peer is Primary: DRBD itself then checks whether that peer is alive.
    async fn take_from_dying_peer(
        &self,
        state: &State,
        begun: Instant,
        limits: &Limits,
    ) -> Result<Option<String>, AgentError> {
        let left = self.promote(limits).await?;
        if left.is_some() && begun.elapsed() > PEER_DEATH_WAIT {
            return Err(AgentError::Failed(format!(
                "{}: {} ({state}); this node does not become Primary while the peer may still write",
                self.resource,
                advice::UNHEARD_PRIMARY
            )));
        }
        Ok(left)
    }

    /// Without a connection: asks the other nodes for the state of the peer's data, so that no side starts with outdated data.
    async fn check_peer_data(&self, state: &State, limits: &Limits) -> Result<(), AgentError> {
        let resource = &self.resource;
        let question = PeerQuestion::Outdate {
            resource: resource.clone(),
            primary: false,
        };
        let answers = self.peers.ask(question, limits).await;
        let why = match PeerVerdict::from_answers(resource, &answers) {
            PeerVerdict::Outdated(node) | PeerVerdict::Inconsistent(node) => {
                tracing::warn!(
                    "{resource} starts without a connection ({state}); the data on {node} is outdated and is not used until it is synchronised"
                );
                return Ok(());
            }
            PeerVerdict::Gone => {
                tracing::warn!("{resource} starts without its peer, which is down ({state})");
                return Ok(());
            }
            PeerVerdict::Newer(node, Fenced::Primary) => {
                format!("{node} is Primary and may write")
            }
            PeerVerdict::Newer(node, _) if kernel::is_ahead(resource, limits).await? => {
                let both = advice::split_brain(resource);
                format!("{node} and this side both have data that the other lacks; {both}")
            }
            PeerVerdict::Newer(node, _) => format!("{node} has newer data than this side"),
            // This side wrote alone, so it has the newest data, whatever the state of the peer.
            PeerVerdict::Unknown(_) if kernel::is_ahead(resource, limits).await? => return Ok(()),
            PeerVerdict::Unknown(why) => {
                format!("it is not known whether its peer has newer data: {why}")
            }
        };
        Err(AgentError::Failed(format!(
            "{resource} is not connected to its peer ({state}), and {why}; repair the replication link (hactl drbd {resource} shows both sides); the start then continues automatically"
        )))
    }

    /// Tries to become Primary. Returns why not, if that may change by itself.
    async fn promote(&self, limits: &Limits) -> Result<Option<String>, AgentError> {
        let done = system_tool::run("drbdadm", &["primary", &self.resource], limits).await?;
        match done.code {
            Some(0) => Ok(None),
            // SS_TWO_PRIMARIES of linux/drbd.h
            _ if done.message.contains("(-1)") => Ok(Some("its peer is still Primary".to_owned())),
            _ => Err(done.failure("drbdadm primary")),
        }
    }
}

/// What keeps the device open, as far as mounts tell.
fn describe_users(state: &State) -> String {
    let minors: Vec<u64> = state.volumes.iter().map(|v| v.minor.into()).collect();
    let ours = |(major, minor): (u64, u64)| major == MAJOR && minors.contains(&minor);
    let table = MountTable::read().unwrap_or_default();
    let mounts = table.0.iter().filter(|m| ours(m.device));
    let points: Vec<String> = mounts.map(|m| m.point.display().to_string()).collect();
    if points.is_empty() {
        return format!(
            "something has its device open (fuser -v /dev/drbd{} shows what)",
            minors.first().unwrap_or(&0)
        );
    }
    format!("it is mounted on {}", points.join(", "))
}

/// The history of the resource, if its connection was given up.
async fn history_if_alone(
    resource: &str,
    state: &State,
    limits: &Limits,
) -> Result<DrbdHistory, AgentError> {
    if !state.stands_alone() {
        return Ok(DrbdHistory::default());
    }
    kernel::read_history(resource, state, limits).await
}

/// Checks again and again whether this node can run what uses a resource.
pub struct DrbdFitness {
    resource: String,
    peers: Arc<dyn Peers>,
    /// Whether the peer was Primary when it was last connected.
    peer_was_primary: AtomicBool,
    /// Since when a connected peer is Primary although no heartbeat arrives from its node.
    unheard_since: Mutex<Option<Instant>>,
}

impl DrbdFitness {
    /// A check that has not run yet.
    pub fn new(resource: &str, peers: &Arc<dyn Peers>) -> Self {
        DrbdFitness {
            resource: resource.to_owned(),
            peers: Arc::clone(peers),
            peer_was_primary: AtomicBool::new(false),
            unheard_since: Mutex::new(None),
        }
    }

    /// Runs the check. Returns the state, or why this node is not fit.
    pub async fn run(&self, limits: &Limits) -> Result<String, String> {
        let check = async {
            let Some(state) = kernel::read_state(&self.resource, limits).await? else {
                return Ok(advice::fitness(&self.resource, None, false));
            };
            let unheard = self.is_unheard_primary(&state).await;
            if self.may_be_outdated(&state).await {
                return self.outdate(limits).await.map(Err);
            }
            if unheard {
                return Ok(Err(advice::UNHEARD_PRIMARY.to_owned()));
            }
            let history = history_if_alone(&self.resource, &state, limits).await?;
            if history.both_primary && !history.split_brain && state.role == Role::Primary {
                self.reconnect(limits).await?;
            }
            let split = history.split_brain;
            Ok(advice::fitness(&self.resource, Some(&state), split))
        };
        check
            .await
            .unwrap_or_else(|e: AgentError| Err(e.to_string()))
    }

    /// Whether the peer has been Primary and connected for longer than a dead peer could be, although its node is not heard. Then
    /// every start here would fail. With more than two nodes this is not known: another live node may be the peer.
    async fn is_unheard_primary(&self, state: &State) -> bool {
        let now = state.connected() && state.peer_is_primary() && !self.peers.any_alive().await;
        let mut unheard = self
            .unheard_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !now {
            *unheard = None;
        }
        now && unheard.get_or_insert_with(Instant::now).elapsed() > PEER_DEATH_WAIT
    }

    /// Whether the connection was lost to a Primary peer that may still write. Without quorum this side cannot know.
    async fn may_be_outdated(&self, state: &State) -> bool {
        if state.connected() {
            self.peer_was_primary
                .store(state.peer_is_primary(), Ordering::Relaxed);
            return false;
        }
        let usable = state.role == Role::Secondary && state.up_to_date();
        usable && self.peer_was_primary.load(Ordering::Relaxed) && self.peers.in_minority().await
    }

    /// Reconnects an owner whose connection was given up because the other side, after a suspend, was Primary too. Without this
    /// the owner would stay alone for ever. If the data differs, DRBD notices and gives the connection up again.
    async fn reconnect(&self, limits: &Limits) -> Result<(), AgentError> {
        let resource = &self.resource;
        tracing::warn!(
            "{resource}: DRBD gave up the connection because both sides were Primary; trying to connect again"
        );
        let done = system_tool::run("drbdadm", &["connect", resource], limits).await?;
        if done.code != Some(0) {
            return Err(done.failure("drbdadm connect"));
        }
        Ok(())
    }

    /// Marks this side as outdated, so that it is not used if quorum returns and the peer does not.
    async fn outdate(&self, limits: &Limits) -> Result<String, AgentError> {
        let resource = &self.resource;
        let done = system_tool::run("drbdadm", &["outdate", resource], limits).await?;
        if done.code != Some(0) {
            return Err(done.failure("drbdadm outdate"));
        }
        tracing::warn!(
            "{resource}: cut off from a Primary peer, and without quorum it is not known whether that peer still writes: the data here counts as outdated until the two are connected again"
        );
        Ok("Outdated: cut off from a peer that may still write".to_owned())
    }
}

/// Waits before the next attempt. An error at the deadline, with the reason `why`, or when aborted.
async fn pause(what: &str, why: &str, limits: &Limits) -> Result<(), AgentError> {
    if Instant::now() + PAUSE >= limits.until {
        return Err(AgentError::TimedOut(format!("{what}: {why}")));
    }
    tokio::select! {
        () = sleep(PAUSE) => Ok(()),
        () = limits.abort.aborted() => Err(AgentError::Failed(format!("{what}: aborted"))),
    }
}

#[async_trait]
impl Agent for Drbd {
    async fn start(&self, limits: &Limits) -> Result<(), AgentError> {
        let begun = Instant::now();
        let what = format!("{} cannot become Primary yet", self.resource);
        while let Some(why) = self.try_start(begun, limits).await? {
            pause(&what, &why, limits).await?;
        }
        Ok(())
    }

    async fn stop(&self, limits: &Limits) -> Result<(), AgentError> {
        let resource = &self.resource;
        loop {
            let Some(state) = kernel::read_state(resource, limits).await? else {
                return Ok(());
            };
            if state.role == Role::Secondary {
                return Ok(());
            }
            let done = system_tool::run("drbdadm", &["secondary", resource], limits).await?;
            if done.code == Some(0) {
                return Ok(());
            }
            let why = format!("{}; {}", describe_users(&state), done.message);
            pause(&format!("{resource} cannot become Secondary"), &why, limits).await?;
        }
    }

    async fn monitor(&self, limits: &Limits) -> Result<Status, AgentError> {
        let state = kernel::read_state(&self.resource, limits).await?;
        let primary = state.is_some_and(|s| s.role == Role::Primary);
        Ok(if primary {
            Status::Running
        } else {
            Status::Stopped
        })
    }
}
