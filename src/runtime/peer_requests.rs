//! Questions between daemons that have nothing to do with who owns a group, and their answers. They travel in the
//! heartbeats, in each one until the answer has come, so they arrive and are authenticated like those.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, sleep_until};

use super::engine_handle::EngineHandle;
use crate::agent::builtin::drbd::fence::{self, PeerAnswer, Peers};
use crate::agent::{Abort, Limits};
use crate::engine::Event;
use crate::model::NodeName;
use crate::model::peer_message::{
    MAX_PEER_MESSAGES, PeerMessage, PeerMessageBody, PeerQuestion, PeerReply,
};
use crate::model::status::{Liveness, Status};
use crate::sys::clock;

/// Time between two checks whether the asked node is still alive.
const ALIVE_CHECK_EVERY: Duration = Duration::from_millis(250);
/// Time to find the answer to a question of a peer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(50);
/// An answer is sent for this long, unless the peer takes its question back earlier.
const ANSWER_KEPT_FOR: Duration = Duration::from_secs(120);

type ReplyResult = Result<PeerReply, String>;

/// Asks other daemons, on behalf of agents and control clients.
#[derive(Clone, Debug)]
pub struct PeerClient {
    orders: mpsc::UnboundedSender<MessageOrder>,
    engine: Arc<OnceLock<EngineHandle>>,
    next: Arc<AtomicU64>,
}

/// A change to the messages under way.
#[derive(Debug)]
pub enum MessageOrder {
    /// Send this question until it is answered.
    Ask(PeerMessage, oneshot::Sender<ReplyResult>),
    /// Stop sending a question.
    Withdraw(u64),
    /// The answer to a question of that node was found.
    Answer(NodeName, u64, ReplyResult),
    /// Stop sending the answer to a question of that node.
    Forget(NodeName, u64),
}

impl PeerClient {
    /// The client, and the orders that [`PeerRequests`] carries out for it.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<MessageOrder>) {
        let (orders, receiver) = mpsc::unbounded_channel();
        let peer_client = PeerClient {
            orders,
            engine: Arc::default(),
            // Unique across restarts: an answer to a question of the last daemon is not taken for one of ours.
            next: Arc::new(AtomicU64::new(clock::now().0)),
        };
        (peer_client, receiver)
    }

    /// Connects the client to the engine. Before that, no peer is known to be alive.
    pub fn connect(&self, engine: &EngineHandle) {
        drop(self.engine.set(engine.clone()));
    }

    /// This node's view of the cluster; none before the engine runs and after it has ended.
    pub async fn status(&self) -> Option<Status> {
        self.engine.get()?.status().await
    }

    /// The other nodes, and whether each is alive.
    async fn others(&self) -> Vec<(NodeName, bool)> {
        let nodes = self.status().await.map(|s| s.nodes).unwrap_or_default();
        let others = nodes.into_iter().filter(|n| n.liveness != Liveness::Here);
        let lives = |l: Liveness| !matches!(l, Liveness::Dead | Liveness::Left);
        others.map(|n| (n.name, lives(n.liveness))).collect()
    }

    async fn ask_one(&self, node: NodeName, question: PeerQuestion, limits: &Limits) -> PeerAnswer {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, mut answered) = oneshot::channel();
        let message = PeerMessage {
            to: node.clone(),
            id,
            body: PeerMessageBody::Ask(question),
        };
        self.send_order(MessageOrder::Ask(message, sender));
        let _withdraw = WithdrawOnDrop(self, id);
        loop {
            tokio::select! {
                answer = &mut answered => return answer.map_or(PeerAnswer::Silent, PeerAnswer::Said),
                () = sleep_until(limits.until) => return PeerAnswer::Silent,
                () = limits.abort.aborted() => return PeerAnswer::Silent,
                () = sleep(ALIVE_CHECK_EVERY) => {}
            }
            let others = self.others().await;
            if others.iter().any(|(name, lives)| *name == node && !lives) {
                return PeerAnswer::Gone;
            }
        }
    }

    /// Sends an event to the engine.
    pub fn send_event(&self, event: Event) {
        if let Some(engine) = self.engine.get() {
            engine.send_event(event);
        }
    }

    fn send_order(&self, order: MessageOrder) {
        // It fails only while the daemon ends; then nobody waits.
        drop(self.orders.send(order));
    }
}

/// Withdraws a question when the wait for its answer ends, in whatever way.
struct WithdrawOnDrop<'a>(&'a PeerClient, u64);

impl Drop for WithdrawOnDrop<'_> {
    fn drop(&mut self) {
        self.0.send_order(MessageOrder::Withdraw(self.1));
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

    async fn ask(&self, question: PeerQuestion, limits: &Limits) -> Vec<(NodeName, PeerAnswer)> {
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

/// The questions and answers under way.
#[derive(Debug)]
pub struct PeerRequests {
    me: NodeName,
    /// Asks other daemons.
    pub peer_client: PeerClient,
    /// Our questions, until they are answered.
    our_questions: BTreeMap<u64, (PeerMessage, oneshot::Sender<ReplyResult>)>,
    /// Questions of peers, each with its answer once that is found.
    their_questions: BTreeMap<(NodeName, u64), Option<ReplyResult>>,
}

impl PeerRequests {
    /// Nothing is under way.
    pub fn new(me: NodeName, peer_client: PeerClient) -> Self {
        PeerRequests {
            me,
            peer_client,
            our_questions: BTreeMap::new(),
            their_questions: BTreeMap::new(),
        }
    }

    /// Carries out an order.
    pub fn carry_out(&mut self, order: MessageOrder, engine: &EngineHandle) {
        match order {
            MessageOrder::Ask(message, answered) => {
                self.our_questions.insert(message.id, (message, answered));
            }
            MessageOrder::Withdraw(id) => {
                if self.our_questions.remove(&id).is_none() {
                    return;
                }
            }
            MessageOrder::Answer(from, id, answer) => {
                match self.their_questions.get_mut(&(from, id)) {
                    Some(found) => *found = Some(answer),
                    None => return,
                }
            }
            MessageOrder::Forget(from, id) => {
                if self.their_questions.remove(&(from, id)).is_none() {
                    return;
                }
            }
        }
        self.publish(engine);
    }

    /// Handles all messages in the newest heartbeat of a node, which may be none.
    pub fn receive(&mut self, from: &NodeName, messages: Vec<PeerMessage>, engine: &EngineHandle) {
        let before = (self.our_questions.len(), self.their_questions.len());
        let asked = |id: u64| {
            let is = |l: &PeerMessage| {
                l.id == id && l.to == self.me && matches!(l.body, PeerMessageBody::Ask(_))
            };
            messages.iter().any(is)
        };
        self.their_questions
            .retain(|(who, id), _| who != from || asked(*id));
        let me = self.me.clone();
        for message in messages.into_iter().filter(|l| l.to == me) {
            match message.body {
                PeerMessageBody::Ask(question) => self.find_answer(from, message.id, question),
                PeerMessageBody::Reply(answer) => {
                    let ours = self
                        .our_questions
                        .get(&message.id)
                        .is_some_and(|(l, _)| l.to == *from);
                    if ours && let Some((_, answered)) = self.our_questions.remove(&message.id) {
                        // The one who asked may just have given up.
                        drop(answered.send(answer));
                    }
                }
            }
        }
        if before != (self.our_questions.len(), self.their_questions.len()) {
            self.publish(engine);
        }
    }

    fn find_answer(&mut self, from: &NodeName, id: u64, question: PeerQuestion) {
        let key = (from.clone(), id);
        let many = self
            .their_questions
            .keys()
            .filter(|(who, _)| who == from)
            .count();
        if self.their_questions.contains_key(&key) || many >= MAX_PEER_MESSAGES {
            return;
        }
        self.their_questions.insert(key, None);
        let (peer_client, from) = (self.peer_client.clone(), from.clone());
        tokio::spawn(async move {
            let limits = Limits::within(ANSWER_TIMEOUT, &Abort::new());
            let answer = fence::answer_peer(&question, &limits).await;
            if let PeerQuestion::Outdate { resource, .. } = &question {
                let result = match &answer {
                    Ok(PeerReply::Outdate(fenced)) => fenced.to_string(),
                    Ok(_) => "this node does not have the resource".to_owned(),
                    Err(why) => why.clone(),
                };
                tracing::warn!(
                    "{from} lost its DRBD connection to this node for {resource} and asked to outdate the data here: {result}"
                );
            }
            peer_client.send_order(MessageOrder::Answer(from.clone(), id, answer));
            sleep(ANSWER_KEPT_FOR).await;
            peer_client.send_order(MessageOrder::Forget(from, id));
        });
    }

    fn publish(&self, engine: &EngineHandle) {
        let answer = |((to, id), answer): (&(NodeName, u64), &Option<ReplyResult>)| {
            Some(PeerMessage {
                to: to.clone(),
                id: *id,
                body: PeerMessageBody::Reply(answer.clone()?),
            })
        };
        let mine = self
            .our_questions
            .values()
            .map(|(message, _)| message.clone());
        let messages = mine.chain(self.their_questions.iter().filter_map(answer));
        engine.send_event(Event::PeerMessages(
            messages.take(MAX_PEER_MESSAGES).collect(),
        ));
    }
}
