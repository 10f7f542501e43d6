//! What `hactl drbd` asks: how DRBD resources stand on every node.

use std::time::Duration;

use super::peer_requests::PeerClient;
use crate::agent::builtin::drbd::fence::{self, PeerAnswer, Peers};
use crate::agent::{Abort, Limits};
use crate::assembly::drbd_words;
use crate::config::GroupLine;
use crate::control::api::{Answer, Replicated};
use crate::model::NodeName;
use crate::model::drbd::Standing;
use crate::model::peer_message::{Question, Reply};

/// How long a look at all nodes may take.
const LOOK: Duration = Duration::from_secs(15);

/// The resources of haresources.
pub fn configured(groups: &[GroupLine]) -> Vec<String> {
    let all = groups.iter().flat_map(drbd_words);
    all.map(|(_, resource)| resource.to_owned()).collect()
}

/// Every resource on every node that has it, this node first.
pub async fn view(peer_client: &PeerClient, me: &NodeName, resources: Vec<String>) -> Answer {
    let limits = Limits::within(LOOK, &Abort::new());
    let mut all = Vec::new();
    for resource in resources {
        let question = Question::Drbd(resource.clone());
        let ours = fence::answer_peer(&question, &limits).await;
        let others = peer_client.ask(question, &limits).await;
        let ours = (me.clone(), PeerAnswer::Said(ours));
        let sides = [ours].into_iter().chain(others).filter_map(side).collect();
        all.push(Replicated { resource, sides });
    }
    Answer::Drbd(all)
}

/// Nothing of a node that does not have it.
fn side((node, answer): (NodeName, PeerAnswer)) -> Option<(NodeName, Result<Standing, String>)> {
    let known = match answer {
        PeerAnswer::Gone => Err("this node is gone".to_owned()),
        PeerAnswer::Silent => Err("this node lives and did not answer".to_owned()),
        PeerAnswer::Said(Err(why)) => Err(why),
        PeerAnswer::Said(Ok(Reply::Drbd(standing))) => Ok(standing),
        PeerAnswer::Said(Ok(Reply::NotConfigured | Reply::Outdate(_))) => return None,
    };
    Some((node, known))
}
