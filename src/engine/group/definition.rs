//! What the configuration says of a group, and what a new configuration makes of one that runs.

use super::Group;
use super::right::Right;
use super::stack::{ProbeResult, Stack};
use super::state::LocalState;
use crate::engine::round::Round;
use crate::engine::{Action, PersistentState};
use crate::model::cluster::{GroupSpec, Timing};
use crate::model::{Term, Time};

impl Group {
    /// A group at the start of the daemon, with what outlived the last one. It begins with a probe (rule 11).
    pub fn restored(
        spec: &GroupSpec,
        kept: &PersistentState,
        timing: &Timing,
        now: Time,
        round: &mut Round,
    ) -> Self {
        let name = &spec.name;
        // A lease that ran out while no daemon was here is not the end yet. The peers may have waited for us, because we
        // announced the restart or the network held them back; then they confirm us in their next heartbeat. Or one of
        // them has the group, and says so in its next heartbeat.
        //
        // A lease that was stretched for an announced restart ends no later than what the peers grant to a new life: they
        // count deadtime from its first heartbeat.
        let stored = kept.leases.get(name).copied().filter(|at| *at > Time::ZERO);
        let usual = now + timing.lease();
        let lease = stored.map_or(Time::ZERO, |at| {
            if at > now {
                at.min(usual)
            } else {
                now + timing.warntime
            }
        });
        let mut group = Group::new(
            spec.clone(),
            kept.terms.get(name).copied().unwrap_or_default(),
            Right::from_before(lease),
        );
        group.see_term(kept.ceilings.get(name).copied().unwrap_or_default());
        group.wishes.standby = kept.standby.contains(name);
        group.wishes.yielding = kept.yielding.contains(name);
        group.wishes.maintenance = kept.maintenance.contains(name);
        group.begin_probe(round);
        group
    }

    /// A group that the configuration did not have before, or not lately: its terms go on above the ceiling.
    pub fn added(spec: &GroupSpec, round: &mut Round) -> Self {
        let ceiling = round.ceilings.get(&spec.name).copied();
        let mut group = Group::new(spec.clone(), Term(0), Right::default());
        group.see_term(ceiling.unwrap_or_default());
        group.awaits_agreement = true;
        group.begin_probe(round);
        group
    }

    /// It is new, and all that it may have been made of was held here until then.
    pub fn was_held_until(&mut self, time: Time) {
        self.held_until = time;
    }

    /// It is not what ran before: it is started only when no living node has another configuration.
    pub fn await_agreement(&mut self) {
        self.awaits_agreement = true;
    }

    /// Whether something of it may still run that the present configuration does not have.
    pub fn runs_former_definition(&self) -> bool {
        (self.removed && !self.is_down()) || self.replaced_by.is_some()
    }

    /// The configuration no longer has it.
    pub fn mark_removed(&mut self) {
        self.removed = true;
    }

    /// Whether the configuration no longer has it.
    pub fn is_removed(&self) -> bool {
        self.removed
    }

    /// Whether it can be forgotten: configured away, and nothing of it runs here any more. While it is in maintenance by this
    /// node's word, that word is needed.
    pub fn is_gone(&self) -> bool {
        self.removed && self.is_down() && !self.wishes.maintenance
    }

    fn is_down(&self) -> bool {
        let unknown = matches!(self.state, LocalState::Unknown { .. });
        !self.state().holds() && !self.stack.is_busy() && !unknown
    }

    /// Rule 25. Takes a new definition: at once if that changes nothing that runs, otherwise when the old one is down.
    pub fn redefine(&mut self, spec: &GroupSpec, round: &mut Round) {
        self.removed = false;
        // Times may be others now, so the runtime is told anew how long the right lasts.
        self.right.forget_renewal();
        let members = |g: &GroupSpec| {
            g.steps
                .iter()
                .map(|s| s.members.clone())
                .collect::<Vec<_>>()
        };
        self.replaced_by = None;
        if members(&self.spec) == members(spec) {
            self.spec = spec.clone();
            return;
        }
        self.replaced_by = Some(Box::new(spec.clone()));
        self.awaits_agreement = true;
        if self.state().holds() || self.stack.is_busy() || self.found_something() {
            return;
        }
        self.take_definition(round);
        if matches!(self.state, LocalState::Unknown { .. } | LocalState::Offline) {
            self.begin_probe(round);
        }
    }

    /// The probe has found that something of it runs, and what becomes of that is not decided yet.
    fn found_something(&self) -> bool {
        matches!(
            self.state,
            LocalState::Unknown {
                probe_result: Some(ProbeResult::AllRun | ProbeResult::SomeRun(_))
            }
        )
    }

    /// Nothing of the old definition runs: the newer one counts, for the agents too. Whether there was one.
    pub(super) fn take_definition(&mut self, round: &mut Round) -> bool {
        let Some(spec) = self.replaced_by.take() else {
            return false;
        };
        self.spec = *spec;
        self.stack = Stack::new(&self.spec);
        round.out.push(Action::Redefined(self.spec.name.clone()));
        true
    }
}
