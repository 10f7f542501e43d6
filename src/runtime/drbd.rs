//! Answers `hactl drbd`: the state of DRBD resources on every node.

use std::time::Duration;

use super::peer_requests::PeerClient;
use crate::agent::builtin::drbd::fence::{self, PeerAnswer, Peers};
use crate::agent::{Abort, Limits};
use crate::assembly::drbd_words;
use crate::config::GroupLine;
use crate::control::api::{ControlAnswer, Replicated};
use crate::model::NodeName;
use crate::model::drbd::Standing;
use crate::model::peer_message::{PeerQuestion, PeerReply};

/// Time to ask all nodes.
const ASK_TIMEOUT: Duration = Duration::from_secs(15);

/// The DRBD resources in haresources.
pub fn configured_resources(groups: &[GroupLine]) -> Vec<String> {
    let all = groups.iter().flat_map(drbd_words);
    all.map(|(_, resource)| resource.to_owned()).collect()
}

/// The state of each resource on every node that has it, this node first.
pub async fn ask_all_nodes(
    peer_client: &PeerClient,
    me: &NodeName,
    resources: Vec<String>,
) -> ControlAnswer {
    let limits = Limits::within(ASK_TIMEOUT, &Abort::new());
    let mut all = Vec::new();
    for resource in resources {
        let question = PeerQuestion::Drbd(resource.clone());
        let ours = fence::answer_peer(&question, &limits).await;
        let others = peer_client.ask(question, &limits).await;
        let ours = (me.clone(), PeerAnswer::Said(ours));
        let sides = [ours].into_iter().chain(others).filter_map(side).collect();
        all.push(Replicated { resource, sides });
    }
    ControlAnswer::Drbd(all)
}

/// The state on one node; none when it does not have the resource.
fn side((node, answer): (NodeName, PeerAnswer)) -> Option<(NodeName, Result<Standing, String>)> {
    let state = match answer {
        PeerAnswer::Gone => Err("the node is dead or has left".to_owned()),
        PeerAnswer::Silent => Err("the node is alive but did not answer".to_owned()),
        PeerAnswer::Said(Err(why)) => Err(why),
        PeerAnswer::Said(Ok(PeerReply::Drbd(standing))) => Ok(standing),
        PeerAnswer::Said(Ok(PeerReply::NotConfigured | PeerReply::Outdate(_))) => return None,
    };
    Some((node, state))
}
