//! `hactl fence`: switching the machine of a node off, by hand too.

use std::time::Duration;

use had::control::api::Request;
use had::model::fencing::FencingStatus;
use serde::Serialize;

use crate::Failure;
use crate::args::{Fence, FenceCommand};
use crate::commands::{ANSWER_TIMEOUT, Tool, print_text};
use crate::screen::json_page;

/// How long a client waits for a power switch.
const FENCE_TIMEOUT: Duration = Duration::from_secs(600);

/// How far fencing is, for programs.
#[derive(Serialize)]
struct FencingPage {
    fencing: Vec<FencingStatus>,
}

impl Tool<'_> {
    pub fn fence(&self, fence: Fence) -> Result<(), Failure> {
        match (fence.command, fence.node) {
            (None, None) => self.show_fencing(false),
            (Some(FenceCommand::Status { json }), None) => self.show_fencing(json),
            (Some(FenceCommand::Test { node }), _) => {
                self.run_long_request(&Request::FenceTest { node }, FENCE_TIMEOUT)
            }
            (Some(FenceCommand::Confirm { node, yes: false }), _) => {
                Err(Failure::failed(meaning_of_confirm(&node)))
            }
            (Some(FenceCommand::Confirm { node, yes: true }), _) => {
                self.run_request(&Request::ConfirmDead { node })
            }
            (_, Some(node)) if !fence.yes => Err(Failure::failed(meaning_of_fence(&node))),
            (_, Some(node)) => self.run_long_request(&Request::Fence { node }, FENCE_TIMEOUT),
        }
    }

    fn show_fencing(&self, json: bool) -> Result<(), Failure> {
        let status = self.request_status(ANSWER_TIMEOUT)?;
        if json {
            let fencing = status.fencing;
            return print_text(&json_page(&FencingPage { fencing })?);
        }
        if status.fencing.is_empty() {
            return print_text("no node can be fenced: ha.cf has no fence line\n");
        }
        let lines: Vec<String> = status.fencing.iter().map(fencing_line).collect();
        print_text(&lines.concat())
    }
}

fn fencing_line(of: &FencingStatus) -> String {
    let (node, state) = (&of.node, of.state.as_str());
    let failed = match of.failed {
        0 => String::new(),
        1 => ", failed once".to_owned(),
        many => format!(", failed {many} times in a row"),
    };
    let error = of.error.as_ref().map(|e| format!(": {e}"));
    format!("{node}: {state}{failed}{}\n", error.unwrap_or_default())
}

/// What an administrator orders with `hactl fence NODE`.
fn meaning_of_fence(node: &str) -> String {
    format!(
        "`hactl fence {node}` switches the machine {node} off at once, as a power failure does, whatever runs there; where ha.cf \
         says `fence_action reboot`, it is switched on again afterwards. Nothing was done; if you are sure: hactl fence {node} --yes"
    )
}

/// What an administrator says with `hactl fence confirm`.
fn meaning_of_confirm(node: &str) -> String {
    format!(
        "`hactl fence confirm {node}` says that the machine {node} is off, and that it is not switched on again before this node \
         can hear it. Then nothing waits for {node} any more, and when every silent node is confirmed, this side has quorum. If \
         {node} still runs, two nodes may run the same group, and data can be destroyed. Nothing was done; if you are sure: \
         hactl fence confirm {node} --yes"
    )
}
