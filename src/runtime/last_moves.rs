//! Keeps when each group moved last and was drilled last, for status.

use std::path::Path;

use tokio::sync::watch;

use crate::model::NodeName;
use crate::model::decision::{Decision, What};
use crate::model::status::Status;
use crate::store::move_file::{LastMoves, MoveFile};

/// What is known, and the way to the disk.
#[derive(Debug)]
pub struct KnownMoves {
    me: NodeName,
    moves: LastMoves,
    saver: watch::Sender<LastMoves>,
}

impl KnownMoves {
    /// Reads what the last daemon left, and saves from now on. A file that cannot be read or written is logged.
    pub fn start(folder: &Path, me: NodeName) -> Self {
        let file = MoveFile::new(folder);
        let moves = file.load().unwrap_or_else(|why| {
            tracing::warn!("{why}");
            LastMoves::new()
        });
        let (saver, wanted) = watch::channel(moves.clone());
        tokio::spawn(keep_saving(file, wanted));
        KnownMoves { me, moves, saver }
    }

    /// Notes what a decision says about the place of a group; `at_ms` is its wall-clock time.
    pub fn note(&mut self, decision: &Decision, at_ms: u64) {
        if note(&mut self.moves, &self.me, decision, at_ms) {
            self.saver.send_replace(self.moves.clone());
        }
    }

    /// Adds the times to a status.
    pub fn add_to(&self, status: &mut Status) {
        for group in &mut status.groups {
            if let Some(known) = self.moves.get(&group.name) {
                group.last_switch_ms = known.switched_ms;
                group.last_drill_ms = known.drilled_ms;
            }
        }
    }
}

/// Whether something changed.
fn note(moves: &mut LastMoves, me: &NodeName, decision: &Decision, at_ms: u64) -> bool {
    let Some(group) = &decision.group else {
        return false;
    };
    let owner = match &decision.what {
        What::Online | What::Adopt(_) => me,
        What::RunsAt(node) => node,
        What::Drilled { .. } => {
            moves.entry(group.clone()).or_default().drilled_ms = Some(at_ms);
            return true;
        }
        _ => return false,
    };
    let known = moves.entry(group.clone()).or_default();
    let before = known.owner.replace(owner.clone());
    // The first owner that this node ever saw has not come from another node.
    if before.as_ref().is_some_and(|before| before != owner) {
        known.switched_ms = Some(at_ms);
    }
    before.as_ref() != Some(owner)
}

/// Saves the newest version. A disk that is slow or full delays nothing; the next change tries again.
async fn keep_saving(file: MoveFile, mut wanted: watch::Receiver<LastMoves>) {
    let mut failing = false;
    while wanted.changed().await.is_ok() {
        let moves = wanted.borrow_and_update().clone();
        let file = file.clone();
        let saved = tokio::task::spawn_blocking(move || file.save(&moves)).await;
        let failed = matches!(saved, Ok(Err(_)));
        if let Ok(Err(error)) = saved
            && !failing
        {
            tracing::warn!(
                "cannot save when groups moved: {error}; status does not know it after the next start of had"
            );
        }
        failing = failed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decision::Because;
    use crate::model::{GroupName, Term};

    #[test]
    fn a_switch_is_another_owner_than_before() {
        let (me, group) = (NodeName::new("alice"), GroupName::new("web"));
        let bob = || NodeName::new("bob");
        let mut moves = LastMoves::new();
        let drilled = What::Drilled {
            to: bob(),
            gap: None,
            returned: false,
            back: None,
        };
        for (at, what, changes, switched) in [
            (1, What::Online, true, None),
            (2, What::Stop, false, None),
            (3, What::Adopt(Term(2)), false, None),
            (4, What::RunsAt(bob()), true, Some(4)),
            (5, What::RunsAt(bob()), false, Some(4)),
            (6, What::Online, true, Some(6)),
            (7, drilled, true, Some(6)),
        ] {
            let decision = Decision::group(&group, what, Because::SaidSo);
            assert_eq!(note(&mut moves, &me, &decision, at), changes, "{at}");
            assert_eq!(moves[&group].switched_ms, switched, "{at}");
        }
        assert_eq!(moves[&group].drilled_ms, Some(7));
    }
}
