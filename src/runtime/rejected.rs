//! Packets that were rejected, summed up for the journal: anybody on the network decides how many there are.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::engine_handle::EngineHandle;
use crate::model::decision::What;
use crate::model::status::OLD_HEARTBEATS;

/// They are summed up over so long.
const EVERY: Duration = Duration::from_secs(600);
/// What is counted in normal operation too.
const USUAL: [&str; 3] = ["heartbeats sent", "heartbeats believed", OLD_HEARTBEATS];

/// Records every ten minutes what was rejected in them.
pub(super) async fn report_rejected(engine: EngineHandle) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = BTreeMap::new();
    loop {
        ticks.tick().await;
        let Some(status) = engine.status().await else {
            return;
        };
        if let Some(text) = growth(&before, &status.counters) {
            engine.note(None, What::PacketsRejected(text));
        }
        before = status.counters;
    }
}

/// What was counted since, in words; none if that is nothing.
fn growth(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> Option<String> {
    let unusual = now
        .iter()
        .filter(|(name, _)| !USUAL.contains(&name.as_str()));
    let grown: Vec<String> = unusual
        .filter_map(|(name, count)| {
            let more = count - before.get(name).copied().unwrap_or_default().min(*count);
            (more > 0).then(|| format!("{more} {name}"))
        })
        .collect();
    (!grown.is_empty()).then(|| grown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_and_unusual_is_told() {
        let counts = |list: &[(&str, u64)]| -> BTreeMap<String, u64> {
            let owned = list.iter().map(|(name, n)| ((*name).to_owned(), *n));
            owned.collect()
        };
        let before = counts(&[("heartbeats sent", 5), ("datagrams refused: no key", 3)]);
        let now = counts(&[
            ("heartbeats sent", 900),
            ("datagrams refused: no key", 10),
            ("errors while receiving", 1),
        ]);
        let text = growth(&before, &now).unwrap();
        assert_eq!(
            text,
            "7 datagrams refused: no key, 1 errors while receiving"
        );
        assert_eq!(growth(&now, &now), None);
    }
}
