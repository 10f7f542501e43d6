//! The built-in `drbddisk`, also called `drbd`: makes one side of a DRBD resource Primary, and Secondary again. It never
//! forces, and brings nothing up that the boot of the machine did not.
//!
//! * [`kernel`]: how the resource stands here; `history`: what the kernel's log still tells; [`advice`]: what a state
//!   allows, and the sentence where it does not.
//! * [`fence`]: what the peer's data is worth, asked over the cluster's own links.
//! * `validate`: what `hactl check` can tell beforehand.

pub mod advice;
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

use self::advice::Next;
use self::fence::{Peers, Verdict};
use self::history::History;
use crate::agent::builtin::filesystem::mountinfo::Table;
use crate::agent::exec::system_tool;
use crate::agent::{Agent, AgentError, Limits, Status};
use crate::model::drbd::{Role, State};
use crate::model::peer_message::{Fenced, Question};

/// Between two looks while something is waited for.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a handshake with a living peer is waited for: DRBD tries every ten seconds by default.
const HANDSHAKE: Duration = Duration::from_secs(12);
/// How long a peer that is connected and Primary may take to be found dead by DRBD: its `ping-timeout` is half a second by
/// default, its `timeout` six.
const PEER_DIES: Duration = Duration::from_secs(20);
/// The device number of `/dev/drbdN` (Documentation/admin-guide/devices.txt).
const MAJOR: u64 = 147;

/// One resource of drbd.conf.
pub struct Drbd {
    resource: String,
    peers: Arc<dyn Peers>,
}

impl Drbd {
    /// Touches nothing yet.
    pub fn new(resource: &str, peers: &Arc<dyn Peers>) -> Self {
        Drbd {
            resource: resource.to_owned(),
            peers: Arc::clone(peers),
        }
    }

    /// Why it cannot become Primary at once, though it may soon; nothing when it is.
    async fn go_on(&self, begun: Instant, limits: &Limits) -> Result<Option<String>, AgentError> {
        let resource = &self.resource;
        let failed = AgentError::Failed;
        let Some(state) = kernel::look(resource, limits).await? else {
            return Err(failed(advice::not_up(resource)));
        };
        let met = why_alone(resource, &state, limits).await?;
        match advice::next(resource, &state, met.split_brain) {
            Next::Done => Ok(None),
            Next::Refuse(why) => Err(failed(format!("{resource}: {why}"))),
            Next::Wait(why) => Ok(Some(why)),
            Next::PeerWrites => self.take_from_a_dying_peer(&state, begun, limits).await,
            Next::Promote => {
                let early = begun.elapsed() < HANDSHAKE && advice::may_connect(&state);
                if early && self.peers.any_lives().await {
                    return Ok(Some("it is not connected to its peer yet".to_owned()));
                }
                if !state.connected() {
                    self.go_on_alone(&state, limits).await?;
                }
                self.promote(limits).await
            }
        }
    }

    /// DRBD itself asks a peer that seems to be Primary whether it still lives.
    async fn take_from_a_dying_peer(
        &self,
        state: &State,
        begun: Instant,
        limits: &Limits,
    ) -> Result<Option<String>, AgentError> {
        let left = self.promote(limits).await?;
        if left.is_some() && begun.elapsed() > PEER_DIES {
            return Err(AgentError::Failed(format!(
                "{}: {} ({state}); nothing is taken from a side that writes",
                self.resource,
                advice::WRITES_UNHEARD
            )));
        }
        Ok(left)
    }

    /// Not connected: what the peer's data is worth is asked over the cluster's links, so that nobody begins with old data.
    async fn go_on_alone(&self, state: &State, limits: &Limits) -> Result<(), AgentError> {
        let resource = &self.resource;
        let question = Question::Outdate {
            resource: resource.clone(),
            primary: false,
        };
        let answers = self.peers.ask(question, limits).await;
        let why = match Verdict::of(resource, &answers) {
            Verdict::Outdated(node) | Verdict::Inconsistent(node) => {
                tracing::warn!(
                    "{resource} goes on without a connection ({state}); the data on {node} is outdated and will not be used before it is synchronised"
                );
                return Ok(());
            }
            Verdict::Gone => {
                tracing::warn!("{resource} goes on without its peer, which is gone ({state})");
                return Ok(());
            }
            Verdict::Newer(node, Fenced::Primary) => {
                format!("{node} is Primary and goes on writing")
            }
            Verdict::Newer(node, _) if kernel::ahead(resource, limits).await? => {
                let both = advice::split_brain(resource);
                format!("{node} has what this side lacks, and this side what {node} lacks; {both}")
            }
            Verdict::Newer(node, _) => format!("{node} has newer data than this side"),
            // Whoever wrote alone has the newest data that there is, whatever the peer's is worth.
            Verdict::Unknown(_) if kernel::ahead(resource, limits).await? => return Ok(()),
            Verdict::Unknown(why) => format!("whether its peer has newer data is not known: {why}"),
        };
        Err(AgentError::Failed(format!(
            "{resource} is not connected to its peer ({state}), and {why}; mend the replication link (hactl drbd {resource} shows both sides), then it goes on by itself"
        )))
    }

    /// Tries it. Why not, where that may change by itself.
    async fn promote(&self, limits: &Limits) -> Result<Option<String>, AgentError> {
        let done = system_tool::run("drbdadm", &["primary", &self.resource], limits).await?;
        match done.code {
            Some(0) => Ok(None),
            // SS_TWO_PRIMARIES of linux/drbd.h
            _ if done.said.contains("(-1)") => Ok(Some("its peer is still Primary".to_owned())),
            _ => Err(kernel::failed("drbdadm primary", &done)),
        }
    }
}

/// Who keeps it from becoming Secondary, as far as mounts tell.
fn used_by(state: &State) -> String {
    let minors: Vec<u64> = state.volumes.iter().map(|v| v.minor.into()).collect();
    let ours = |(major, minor): (u64, u64)| major == MAJOR && minors.contains(&minor);
    let table = Table::read().unwrap_or_default();
    let mounts = table.0.iter().filter(|m| ours(m.device));
    let points: Vec<String> = mounts.map(|m| m.point.display().to_string()).collect();
    if points.is_empty() {
        return format!(
            "something has its device open: fuser -v /dev/drbd{}",
            minors.first().unwrap_or(&0)
        );
    }
    format!("it is mounted on {}", points.join(", "))
}

/// Why the link was given up, if it was.
async fn why_alone(resource: &str, state: &State, limits: &Limits) -> Result<History, AgentError> {
    if !state.stands_alone() {
        return Ok(History::default());
    }
    kernel::history(resource, state, limits).await
}

/// Looks again and again whether this node is fit to run what stands on a resource.
pub struct Fitness {
    resource: String,
    peers: Arc<dyn Peers>,
    /// When last connected, the peer was Primary.
    followed: AtomicBool,
    /// Since when a connected peer is Primary whose node no heartbeat comes from.
    unheard: Mutex<Option<Instant>>,
}

impl Fitness {
    /// Nothing was seen yet.
    pub fn new(resource: &str, peers: &Arc<dyn Peers>) -> Self {
        Fitness {
            resource: resource.to_owned(),
            peers: Arc::clone(peers),
            followed: AtomicBool::new(false),
            unheard: Mutex::new(None),
        }
    }

    /// What is seen, else why this node is not fit.
    pub async fn look(&self, limits: &Limits) -> Result<String, String> {
        let looked = async {
            let Some(state) = kernel::look(&self.resource, limits).await? else {
                return Ok(advice::fitness(&self.resource, None, false));
            };
            let unheard = self.writes_unheard(&state).await;
            if self.left_behind(&state).await {
                return self.outdate(limits).await.map(Err);
            }
            if unheard {
                return Ok(Err(advice::WRITES_UNHEARD.to_owned()));
            }
            let met = why_alone(&self.resource, &state, limits).await?;
            if met.both_primary && !met.split_brain && state.role == Role::Primary {
                self.meet_again(limits).await?;
            }
            let split = met.split_brain;
            Ok(advice::fitness(&self.resource, Some(&state), split))
        };
        looked
            .await
            .unwrap_or_else(|e: AgentError| Err(e.to_string()))
    }

    /// Whether the peer is Primary, and answers for longer than a dead one could, although its node is not heard: a start
    /// here would be tried in vain again and again, the address first. With more than two nodes that is not known: another one
    /// that lives may be the peer.
    async fn writes_unheard(&self, state: &State) -> bool {
        let now = state.connected() && state.peer_is_primary() && !self.peers.any_lives().await;
        let mut unheard = self.unheard.lock().unwrap_or_else(PoisonError::into_inner);
        if !now {
            *unheard = None;
        }
        now && unheard.get_or_insert_with(Instant::now).elapsed() > PEER_DIES
    }

    /// Whether the peer wrote when its connection was lost, and may go on writing: with too few votes nobody here can know.
    async fn left_behind(&self, state: &State) -> bool {
        if state.connected() {
            self.followed
                .store(state.peer_is_primary(), Ordering::Relaxed);
            return false;
        }
        let usable = state.role == Role::Secondary && state.up_to_date();
        usable && self.followed.load(Ordering::Relaxed) && self.peers.in_minority().await
    }

    /// An owner whose link was given up because a side that had stood still was Primary too tries it again, until that one is
    /// Secondary: else it would go on alone for ever. What is at odds DRBD finds by itself then, and gives the link up anew.
    async fn meet_again(&self, limits: &Limits) -> Result<(), AgentError> {
        let resource = &self.resource;
        tracing::warn!(
            "{resource}: the link was given up because both sides were Primary; it is tried again"
        );
        let done = system_tool::run("drbdadm", &["connect", resource], limits).await?;
        if done.code != Some(0) {
            return Err(kernel::failed("drbdadm connect", &done));
        }
        Ok(())
    }

    /// Nobody may begin with this data when the votes return and the peer does not.
    async fn outdate(&self, limits: &Limits) -> Result<String, AgentError> {
        let resource = &self.resource;
        let done = system_tool::run("drbdadm", &["outdate", resource], limits).await?;
        if done.code != Some(0) {
            return Err(kernel::failed("drbdadm outdate", &done));
        }
        tracing::warn!(
            "{resource}: cut off from a peer that writes, and this side has too few votes to be sure that it ended: the data here counts as outdated until the two are connected again"
        );
        Ok("Outdated: cut off from a peer that may write on".to_owned())
    }
}

/// Waits a moment, or no longer when ended by order or at the deadline; `why` is then the reason.
async fn pause(what: &str, why: &str, limits: &Limits) -> Result<(), AgentError> {
    if Instant::now() + PAUSE >= limits.until {
        return Err(AgentError::TimedOut(format!("{what}: {why}")));
    }
    tokio::select! {
        () = sleep(PAUSE) => Ok(()),
        () = limits.abort.aborted() => Err(AgentError::Failed(format!("{what} was ended by order"))),
    }
}

#[async_trait]
impl Agent for Drbd {
    async fn start(&self, limits: &Limits) -> Result<(), AgentError> {
        let begun = Instant::now();
        let what = format!("{} cannot become Primary yet", self.resource);
        while let Some(why) = self.go_on(begun, limits).await? {
            pause(&what, &why, limits).await?;
        }
        Ok(())
    }

    async fn stop(&self, limits: &Limits) -> Result<(), AgentError> {
        let resource = &self.resource;
        loop {
            let Some(state) = kernel::look(resource, limits).await? else {
                return Ok(());
            };
            if state.role == Role::Secondary {
                return Ok(());
            }
            let done = system_tool::run("drbdadm", &["secondary", resource], limits).await?;
            if done.code == Some(0) {
                return Ok(());
            }
            let why = format!("{}; {}", used_by(&state), done.said);
            pause(&format!("{resource} cannot become Secondary"), &why, limits).await?;
        }
    }

    async fn monitor(&self, limits: &Limits) -> Result<Status, AgentError> {
        let state = kernel::look(&self.resource, limits).await?;
        let primary = state.is_some_and(|s| s.role == Role::Primary);
        Ok(if primary {
            Status::Running
        } else {
            Status::Stopped
        })
    }
}
