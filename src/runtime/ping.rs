//! Sends echo requests to the ping nodes and reports their replies.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::receive::Authenticator;
use crate::model::Time;
use crate::model::cluster::Cluster;
use crate::model::decision::Level;
use crate::sys::clock;
use crate::sys::icmp::Pinger;
use crate::sys::own_address::is_own;

/// Requests that can still be answered; a reply to an older one comes too late to matter.
const MAX_OPEN_REQUESTS: usize = 4096;
/// Pause after an error of the socket.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(20);

type OpenRequests = Arc<Mutex<VecDeque<(u16, Time)>>>;

/// The ping nodes and the echo requests under way to them.
pub(super) struct PingNodes {
    pinger: Arc<Pinger>,
    last_sequence: u16,
    open_requests: OpenRequests,
    receiving: JoinHandle<()>,
}

impl PingNodes {
    /// Opens the socket and starts to listen for replies; none when ha.cf names no ping node.
    ///
    /// # Errors
    /// A sentence that says which right is missing.
    pub fn open(
        cluster: &Cluster,
        replies: &Arc<Authenticator>,
    ) -> Result<Option<PingNodes>, String> {
        if cluster.pings.is_empty() {
            return Ok(None);
        }
        let nodes = cluster.pings.iter().enumerate();
        let (node_of_target, targets): (Vec<usize>, Vec<_>) = nodes
            .flat_map(|(node, ping)| ping.addresses.iter().map(move |a| (node, *a)))
            .unzip();
        let pinger = Pinger::open(targets)
            .map_err(|e| format!("cannot ping: {e}; the daemon needs root or CAP_NET_RAW. Ping nodes count as not answering"))?;
        let pinger = Arc::new(pinger);
        let open_requests = OpenRequests::default();
        let receiving = tokio::spawn(receive_replies(
            Arc::clone(&pinger),
            Arc::clone(&open_requests),
            node_of_target,
            Arc::clone(replies),
        ));
        Ok(Some(PingNodes {
            pinger,
            last_sequence: 0,
            open_requests,
            receiving,
        }))
    }

    /// Sends an echo request to every ping node.
    pub fn send_requests(&mut self) {
        self.last_sequence = self.last_sequence.wrapping_add(1);
        let open = self.open_requests.lock();
        let mut open = open.unwrap_or_else(PoisonError::into_inner);
        open.push_back((self.last_sequence, clock::now()));
        if open.len() > MAX_OPEN_REQUESTS {
            open.pop_front();
        }
        drop(open);
        // A request that cannot be sent is not answered, and status shows the node as silent.
        drop(self.pinger.ping_all(self.last_sequence));
    }
}

impl Drop for PingNodes {
    fn drop(&mut self) {
        self.receiving.abort();
    }
}

async fn receive_replies(
    pinger: Arc<Pinger>,
    open_requests: OpenRequests,
    node_of_target: Vec<usize>,
    replies: Arc<Authenticator>,
) {
    let mut own_logged = BTreeSet::new();
    loop {
        let Ok(reply) = pinger.next_reply().await else {
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            continue;
        };
        if let Some(address) = pinger.target(reply.target).filter(|a| is_own(*a)) {
            if own_logged.insert(address) {
                let text = format!(
                    "ping node {address} is an address of this node, which always reaches itself: its answers do not count"
                );
                replies.out.log(Level::Error, text);
            }
            continue;
        }
        let sent_at = {
            let open = open_requests.lock().unwrap_or_else(PoisonError::into_inner);
            let request = open.iter().rev().find(|(s, _)| *s == reply.sequence);
            request.map(|(_, at)| *at)
        };
        if let (Some(sent_at), Some(node)) = (sent_at, node_of_target.get(reply.target)) {
            replies.pass_on_pong(*node, sent_at);
        }
    }
}
