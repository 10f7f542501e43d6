//! What `hactl drbd` asks: how DRBD resources stand on every node, and that a peer's data be outdated.

use std::time::Duration;

use super::post::Post;
use crate::agent::drbd::fence::{self, Answer as Answered, Peers, Verdict};
use crate::agent::drbd::{arguments, kernel};
use crate::agent::resolve::DRBD_NAMES;
use crate::agent::{Abort, Limits};
use crate::config::GroupLine;
use crate::control::api::{Answer, Code, Refusal, Replicated};
use crate::model::NodeName;
use crate::model::drbd::{Role, Standing};
use crate::model::letter::{Fenced, Question, Reply};

/// How long a look at all nodes may take.
const LOOK: Duration = Duration::from_secs(15);

/// The resources of haresources.
pub fn configured(groups: &[GroupLine]) -> Vec<String> {
    let tokens = groups
        .iter()
        .flat_map(|g| &g.tokens)
        .map(|(token, _)| token);
    let of_drbd = tokens.filter(|t| DRBD_NAMES.contains(&t.name.as_str()));
    of_drbd.filter_map(|t| t.args.first().cloned()).collect()
}

/// Every resource on every node that has it, this node first.
pub async fn view(post: &Post, me: &NodeName, resources: Vec<String>) -> Answer {
    let limits = Limits::within(LOOK, &Abort::new());
    let mut all = Vec::new();
    for resource in resources {
        let question = Question::Drbd(resource.clone());
        let ours = fence::answer(&question, &limits).await;
        let others = post.ask(question, &limits).await;
        let ours = (me.clone(), Answered::Said(ours));
        let sides = [ours].into_iter().chain(others).filter_map(side).collect();
        all.push(Replicated { resource, sides });
    }
    Answer::Drbd(all)
}

/// Nothing of a node that does not have it.
fn side((node, answer): (NodeName, Answered)) -> Option<(NodeName, Result<Standing, String>)> {
    let known = match answer {
        Answered::Gone => Err("this node is gone".to_owned()),
        Answered::Silent => Err("this node lives and did not answer".to_owned()),
        Answered::Said(Err(why)) => Err(why),
        Answered::Said(Ok(Reply::Drbd(standing))) => Ok(standing),
        Answered::Said(Ok(Reply::NotConfigured | Reply::Outdate(_))) => return None,
    };
    Some((node, known))
}

/// Has the peers' data of a resource outdated.
///
/// # Errors
/// When it is not known what this side does.
pub async fn fence_peer(post: &Post, resource: &str, timeout_ms: u64) -> Result<Answer, Refusal> {
    if !arguments::is_name(resource) {
        let text = format!("`{resource}` cannot be the name of a DRBD resource");
        return Err(Refusal::new(Code::Refused, text));
    }
    let limits = Limits::within(Duration::from_millis(timeout_ms), &Abort::new());
    let looked = kernel::look(resource, &limits).await;
    let state = looked.map_err(|e| Refusal::new(Code::Failed, e.to_string()))?;
    let primary = state.is_some_and(|s| s.role == Role::Primary);
    let question = Question::Outdate {
        resource: resource.to_owned(),
        primary,
    };
    tracing::warn!(
        "DRBD lost the peer of {resource}; the other nodes are asked to outdate their data"
    );
    let verdict = Verdict::of(resource, &post.ask(question, &limits).await);
    let (code, text) = (verdict.exit_code(primary), sentence(resource, &verdict));
    tracing::warn!("{text} (exit code {code} for DRBD)");
    Ok(Answer::Fenced { code, text })
}

fn sentence(resource: &str, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Outdated(node) => format!(
            "the data of {resource} on {node} is outdated; it will not be used before it is synchronised"
        ),
        Verdict::Inconsistent(node) => format!("{node} has no usable data of {resource}"),
        Verdict::Gone => format!("no other node with {resource} lives"),
        Verdict::Newer(node, Fenced::Primary) => {
            format!("{node} is Primary of {resource} and goes on: this side must not")
        }
        Verdict::Newer(node, _) => {
            format!("{node} has newer data of {resource} than this side, which must not go on")
        }
        Verdict::Unknown(why) => {
            format!("what a peer's data of {resource} is worth is not known: {why}")
        }
    }
}
