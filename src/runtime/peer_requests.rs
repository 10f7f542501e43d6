//! PeerMessages between daemons: what one asks another beside all that decides who owns a group. They travel with the
//! heartbeats, in each until the answer is there; so none is lost, and none is forged more easily than those.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, sleep_until};

use super::heartbeat_thread::EngineHandle;
use crate::agent::builtin::drbd::fence::{self, PeerAnswer, Peers};
use crate::agent::{Abort, Limits};
use crate::engine::Event;
use crate::model::NodeName;
use crate::model::peer_message::{
    MAX_PEER_MESSAGES, PeerMessage, PeerMessageBody, Question, Reply,
};
use crate::model::status::{Liveness, Status};
use crate::sys::clock;

/// How often it is looked whether the one who was asked still lives.
const LOOK: Duration = Duration::from_millis(250);
/// How long an answer may take to be found.
const FINDING: Duration = Duration::from_secs(50);
/// An answer that nobody has taken by then is not wanted any more.
const KEPT: Duration = Duration::from_secs(120);

type Answered = Result<Reply, String>;

/// What agents and clients have of it: they ask.
#[derive(Clone, Debug)]
pub struct PeerClient {
    orders: mpsc::UnboundedSender<Order>,
    engine: Arc<OnceLock<EngineHandle>>,
    next: Arc<AtomicU64>,
}

/// What the peer_requests is told.
#[derive(Debug)]
pub enum Order {
    /// This is to be sent until it is answered.
    Write(PeerMessage, oneshot::Sender<Answered>),
    /// No longer.
    Withdraw(u64),
    /// The answer to a message of this node was found.
    PeerAnswer(NodeName, u64, Answered),
    /// It was offered for long enough.
    Forget(NodeName, u64),
}

impl PeerClient {
    /// With the orders that a [`PeerRequests`] takes.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Order>) {
        let (orders, receiver) = mpsc::unbounded_channel();
        let peer_client = PeerClient {
            orders,
            engine: Arc::default(),
            // No answer to a question of an earlier daemon is taken for one of ours.
            next: Arc::new(AtomicU64::new(clock::now().0)),
        };
        (peer_client, receiver)
    }

    /// From now on it is known who lives.
    pub fn connect(&self, engine: &EngineHandle) {
        drop(self.engine.set(engine.clone()));
    }

    /// How this node sees the cluster; nothing at the very beginning and end.
    pub async fn status(&self) -> Option<Status> {
        self.engine.get()?.status().await
    }

    /// The other nodes, and whether each lives.
    async fn others(&self) -> Vec<(NodeName, bool)> {
        let nodes = self.status().await.map(|s| s.nodes).unwrap_or_default();
        let others = nodes.into_iter().filter(|n| n.liveness != Liveness::Here);
        let lives = |l: Liveness| !matches!(l, Liveness::Dead | Liveness::Left);
        others.map(|n| (n.name, lives(n.liveness))).collect()
    }

    async fn ask_one(&self, node: NodeName, question: Question, limits: &Limits) -> PeerAnswer {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, mut answered) = oneshot::channel();
        let message = PeerMessage {
            to: node.clone(),
            id,
            body: PeerMessageBody::Ask(question),
        };
        self.order(Order::Write(message, sender));
        let _withdrawn = Withdrawn(self, id);
        loop {
            tokio::select! {
                answer = &mut answered => return answer.map_or(PeerAnswer::Silent, PeerAnswer::Said),
                () = sleep_until(limits.until) => return PeerAnswer::Silent,
                () = limits.abort.aborted() => return PeerAnswer::Silent,
                () = sleep(LOOK) => {}
            }
            let others = self.others().await;
            if others.iter().any(|(name, lives)| *name == node && !lives) {
                return PeerAnswer::Gone;
            }
        }
    }

    /// Tells the engine a fact.
    pub fn event(&self, event: Event) {
        if let Some(engine) = self.engine.get() {
            engine.event(event);
        }
    }

    fn order(&self, order: Order) {
        // The daemon is ending otherwise, and nobody waits.
        drop(self.orders.send(order));
    }
}

/// Withdraws a message, however the wait for its answer ends.
struct Withdrawn<'a>(&'a PeerClient, u64);

impl Drop for Withdrawn<'_> {
    fn drop(&mut self) {
        self.0.order(Order::Withdraw(self.1));
    }
}

#[async_trait]
impl Peers for PeerClient {
    async fn any_alive(&self) -> bool {
        self.others().await.iter().any(|(_, lives)| *lives)
    }

    async fn in_minority(&self) -> bool {
        let status = self.status().await;
        status.is_some_and(|s| s.quorum.counted && !s.quorum.held)
    }

    async fn ask(&self, question: Question, limits: &Limits) -> Vec<(NodeName, PeerAnswer)> {
        let others = self.others().await;
        let ask = |(node, lives): (NodeName, bool)| {
            let question = question.clone();
            async move {
                let answer = if lives {
                    self.ask_one(node.clone(), question, limits).await
                } else {
                    PeerAnswer::Gone
                };
                (node, answer)
            }
        };
        join_all(others.into_iter().map(ask)).await
    }
}

/// What is under way.
#[derive(Debug)]
pub struct PeerRequests {
    me: NodeName,
    /// For whoever has something to ask.
    pub peer_client: PeerClient,
    /// Ours, until answered.
    mine: BTreeMap<u64, (PeerMessage, oneshot::Sender<Answered>)>,
    /// Questions of others; each with its answer as soon as that is found.
    theirs: BTreeMap<(NodeName, u64), Option<Answered>>,
}

impl PeerRequests {
    /// Empty.
    pub fn new(me: NodeName, peer_client: PeerClient) -> Self {
        PeerRequests {
            me,
            peer_client,
            mine: BTreeMap::new(),
            theirs: BTreeMap::new(),
        }
    }

    /// Takes an order.
    pub fn take(&mut self, order: Order, engine: &EngineHandle) {
        match order {
            Order::Write(message, answered) => {
                self.mine.insert(message.id, (message, answered));
            }
            Order::Withdraw(id) => {
                if self.mine.remove(&id).is_none() {
                    return;
                }
            }
            Order::PeerAnswer(from, id, answer) => match self.theirs.get_mut(&(from, id)) {
                Some(place) => *place = Some(answer),
                None => return,
            },
            Order::Forget(from, id) => {
                if self.theirs.remove(&(from, id)).is_none() {
                    return;
                }
            }
        }
        self.send(engine);
    }

    /// All peer_messages of the newest heartbeat of a node, also where there are none any more.
    pub fn hear(
        &mut self,
        from: &NodeName,
        peer_messages: Vec<PeerMessage>,
        engine: &EngineHandle,
    ) {
        let before = (self.mine.len(), self.theirs.len());
        let asked = |id: u64| {
            let is = |l: &PeerMessage| {
                l.id == id && l.to == self.me && matches!(l.body, PeerMessageBody::Ask(_))
            };
            peer_messages.iter().any(is)
        };
        self.theirs.retain(|(who, id), _| who != from || asked(*id));
        let me = self.me.clone();
        for message in peer_messages.into_iter().filter(|l| l.to == me) {
            match message.body {
                PeerMessageBody::Ask(question) => self.look_for_answer(from, message.id, question),
                PeerMessageBody::Reply(answer) => {
                    let ours = self
                        .mine
                        .get(&message.id)
                        .is_some_and(|(l, _)| l.to == *from);
                    if ours && let Some((_, answered)) = self.mine.remove(&message.id) {
                        // Whoever asked may have given up a moment ago.
                        drop(answered.send(answer));
                    }
                }
            }
        }
        if before != (self.mine.len(), self.theirs.len()) {
            self.send(engine);
        }
    }

    fn look_for_answer(&mut self, from: &NodeName, id: u64, question: Question) {
        let place = (from.clone(), id);
        let many = self.theirs.keys().filter(|(who, _)| who == from).count();
        if self.theirs.contains_key(&place) || many >= MAX_PEER_MESSAGES {
            return;
        }
        self.theirs.insert(place, None);
        let (peer_client, from) = (self.peer_client.clone(), from.clone());
        tokio::spawn(async move {
            let limits = Limits::within(FINDING, &Abort::new());
            let answer = fence::answer_peer(&question, &limits).await;
            if let Question::Outdate { resource, .. } = &question {
                let said = match &answer {
                    Ok(Reply::Outdate(fenced)) => fenced.to_string(),
                    Ok(_) => "this node does not have it".to_owned(),
                    Err(why) => why.clone(),
                };
                tracing::warn!(
                    "{from} is not connected to the data of {resource} here, and asked to have it outdated: {said}"
                );
            }
            peer_client.order(Order::PeerAnswer(from.clone(), id, answer));
            sleep(KEPT).await;
            peer_client.order(Order::Forget(from, id));
        });
    }

    fn send(&self, engine: &EngineHandle) {
        let answer = |((to, id), answer): (&(NodeName, u64), &Option<Answered>)| {
            Some(PeerMessage {
                to: to.clone(),
                id: *id,
                body: PeerMessageBody::Reply(answer.clone()?),
            })
        };
        let mine = self.mine.values().map(|(message, _)| message.clone());
        let peer_messages = mine.chain(self.theirs.iter().filter_map(answer));
        engine.event(Event::PeerMessages(
            peer_messages.take(MAX_PEER_MESSAGES).collect(),
        ));
    }
}
