//! How far the fencing of each node has come.

use had::model::fencing::{FencingState, FencingStatus};
use had::model::status::Status;

use super::{Families, label, number};

const STATES: [FencingState; 6] = [
    FencingState::Idle,
    FencingState::Waits,
    FencingState::Runs,
    FencingState::Fenced,
    FencingState::Confirmed,
    FencingState::Held,
];

/// Adds what is known of the nodes that ha.cf has `fence` lines for.
pub(super) fn add(to: &mut Families, status: &Status) {
    let node = |f: &FencingStatus| label("node", &f.node);
    to.gauge(
        "fencing_state",
        "How far the fencing of a node has come, as this node sees it: 1 for the state that it is in.",
        status.fencing.iter().flat_map(|f| {
            let labels = move |state: FencingState| vec![node(f), label("state", state.as_str())];
            STATES
                .into_iter()
                .map(move |state| (labels(state), number(f.state == state)))
        }),
    );
    let of_node = || status.fencing.iter().map(|f| (vec![node(f)], f));
    to.gauge(
        "fencing_failed_attempts",
        "Attempts of this node to fence a node that failed in a row.",
        of_node().map(|(labels, f)| (labels, f64::from(f.failed))),
    );
    to.gauge(
        "fencing_device_works",
        "Whether the power switch of a node did or answered what this node last told or asked it; 1 also before that.",
        of_node().map(|(labels, f)| (labels, number(f.error.is_none()))),
    );
}
