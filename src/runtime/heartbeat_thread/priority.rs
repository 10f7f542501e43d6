//! The priority of the heartbeat thread.

use crate::model::decision::Level;
use crate::runtime::engine_handle::OutputSender;
use crate::sys::realtime;

/// Gets real-time priority and locks memory, as far as allowed; logs a warning for each that is refused.
pub(super) fn raise_priority(priority: Option<i32>, out: &OutputSender) {
    let Some(priority) = priority else { return };
    for (what, result) in [
        ("real-time priority", realtime::raise_priority(priority)),
        ("locked memory", realtime::lock_memory()),
    ] {
        if let Err(e) = result {
            let text = format!(
                "cannot get {what}: {e}; heartbeats may be late on a busy machine (`realtime off` in ha.cf ends this warning)"
            );
            out.log(Level::Warning, text);
        }
    }
}
