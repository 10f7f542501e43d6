//! Rule 32: a group on shared storage is not started while the machine of a silent node answers that may still run it.

use std::time::Duration;

use super::Group;
use crate::engine::machine_probe::MachineVerdict;
use crate::engine::peer::Peer;
use crate::engine::view::View;
use crate::model::decision::Because;
use crate::model::heartbeat::{GroupState, Phase, Withheld};
use crate::model::status::Liveness;
use crate::model::{NodeName, Term, Time};

impl Group {
    /// Whether it stands on shared storage that does not guard itself. A witness cannot know that, and watches for all.
    pub fn needs_machines(&self) -> bool {
        self.is_witnessed() || self.stands_on_shared_storage()
    }

    /// By the present definition, or by the one that comes when nothing of that runs.
    pub(super) fn stands_on_shared_storage(&self) -> bool {
        let next = self.replaced_by.iter().flat_map(|spec| &spec.steps);
        self.spec.steps.iter().chain(next).any(|s| s.shared_storage)
    }

    /// The newest term under which this node or a living one holds it, by the present configuration.
    pub fn newest_holder(&self, view: &View) -> Option<Term> {
        let name = &self.spec.name;
        let others = view.living().filter(|p| p.holds(name) && !view.differs(p));
        let others = others.filter_map(|p| Some(p.groups.get(name)?.term));
        let here = self.state().holds() && !self.runs_former_definition();
        let here = here.then_some(self.term);
        others.chain(here).max()
    }

    /// Whether a node that is not heard may still run it: its machine may, by what is known here or at another node, its stop
    /// had failed, or its stop may not be over.
    pub fn may_run_at_silent(&self, peer: &Peer, now: Time, view: &View) -> bool {
        let silent = matches!(peer.liveness, Liveness::Dead | Liveness::Init);
        if self.wishes.forced || !silent || peer.is_confirmed_dead() {
            return false;
        }
        let name = &self.spec.name;
        let told = |w: &Withheld| w.node == peer.name;
        let told = view.living().filter_map(|p| p.withheld.get(name)).any(told);
        let machine = self.needs_machines() && self.is_withheld_for(peer, now, view);
        let stops = peer.holds(name) && now < self.stopped_by(peer, view);
        let fenced = self.awaits_fencing_of(peer, view).is_some();
        told || machine || stops || fenced || peer.state(name) == GroupState::Stuck
    }

    /// What is published: the silent node that may still run it. While we leave we ask nobody, and say nothing.
    pub fn withheld(&self, now: Time, view: &View) -> Option<Withheld> {
        if view.leaving {
            return None;
        }
        let former = |wanted| self.former_machine(wanted, now, view).map(|(node, _)| node);
        let answers = |wanted| {
            self.silent_node(wanted, now, view)
                .or_else(|| former(wanted))
        };
        let (node, answers) = match answers(MachineVerdict::Answers) {
            Some(node) => (node, true),
            None => (answers(MachineVerdict::Pending)?, false),
        };
        Some(Withheld {
            group: self.spec.name.clone(),
            node,
            answers,
        })
    }

    /// A silent node whose machine answers, here or where another node asks it; or a machine whose name another one has.
    pub fn held_by_machine(&self, now: Time, view: &View) -> Option<Because> {
        let wanted = MachineVerdict::Answers;
        let node = self.withheld_by_machine(wanted, now, view);
        node.map(Because::MachineAnswers).or_else(|| {
            let (node, address) = self.former_machine(wanted, now, view)?;
            Some(Because::FormerMachineAnswers(node, address))
        })
    }

    /// A silent node of whose machine it is not known yet whether it answers.
    pub(super) fn waits_for_machine(&self, now: Time, view: &View) -> Option<NodeName> {
        let wanted = MachineVerdict::Pending;
        self.withheld_by_machine(wanted, now, view)
            .or_else(|| Some(self.former_machine(wanted, now, view)?.0))
    }

    fn former_machine(
        &self,
        wanted: MachineVerdict,
        now: Time,
        view: &View,
    ) -> Option<(NodeName, String)> {
        if !self.may_be_withheld(view) {
            return None;
        }
        let (name, alone) = (&self.spec.name, self.stop_deadlines() * 2);
        let asked = view.machines.former_machine(wanted, name, now, alone);
        let asked = asked.map(|(node, address)| {
            let unknown = || "its address is not known here".to_owned();
            (
                node.clone(),
                address.map_or_else(unknown, |a| a.to_string()),
            )
        });
        let answers = wanted == MachineVerdict::Answers;
        // A node that hears us can only mean the machine that had our name before.
        let means_us = |p: &&Peer| {
            let said = p.withheld.get(name);
            p.fresh && said.is_some_and(|w| w.node == *view.me() && w.answers == answers)
        };
        let told = || view.living().find(means_us);
        asked.or_else(|| Some((view.me().clone(), format!("{} asks it", told()?.name))))
    }

    /// Who holds it now has more to say than who held it before.
    fn may_be_withheld(&self, view: &View) -> bool {
        !self.wishes.forced
            && self.stands_on_shared_storage()
            && !view.living().any(|p| p.holds(&self.spec.name))
    }

    fn withheld_by_machine(
        &self,
        wanted: MachineVerdict,
        now: Time,
        view: &View,
    ) -> Option<NodeName> {
        if !self.may_be_withheld(view) {
            return None;
        }
        let answers = wanted == MachineVerdict::Answers;
        let peers = view
            .living()
            .filter(|p| !p.blocks_no_longer(now, &view.cluster.timing));
        let told = peers.filter_map(|p| p.withheld.get(&self.spec.name));
        // Rule 35. Where fencing is waited for, no answer of a machine is needed.
        let fenced = |p: &Peer| self.awaits_fencing_of(p, view).is_some();
        let silent = |node: &NodeName| {
            let peer = view.peer(node);
            peer.is_some_and(|p| !p.is_living() && !p.is_confirmed_dead() && !fenced(p))
        };
        let mut told = told.filter(|w| w.answers == answers && silent(&w.node));
        self.silent_node(wanted, now, view)
            .filter(silent)
            .or_else(|| told.next().map(|w| w.node.clone()))
    }

    /// A node that is not heard, may run the group, and of whose machine our own questions say this.
    fn silent_node(&self, wanted: MachineVerdict, now: Time, view: &View) -> Option<NodeName> {
        let is_so = |p: &&Peer| self.machine_verdict(p, now, view) == Some(wanted);
        view.peer_nodes().find(is_so).map(|p| p.name.clone())
    }

    /// Whether our own questions do not say yet that its machine is silent.
    fn is_withheld_for(&self, peer: &Peer, now: Time, view: &View) -> bool {
        let verdict = self.machine_verdict(peer, now, view);
        verdict.is_some_and(|v| v != MachineVerdict::Silent)
    }

    /// What our own questions say of the machine of a node that is not heard and may run the group.
    fn machine_verdict(&self, peer: &Peer, now: Time, view: &View) -> Option<MachineVerdict> {
        let name = &self.spec.name;
        let silent = matches!(peer.liveness, Liveness::Dead | Liveness::Init);
        let silent = silent && !peer.is_confirmed_dead();
        let may_run = view.machines.may_run(&peer.name, name);
        let died = peer.last_heard + peer.dead_after(&view.cluster.timing);
        let alone = self.stop_deadlines() * 2;
        (silent && may_run).then(|| view.machines.verdict(peer, died, now, alone))
    }

    /// The term under which a dead peer that had nothing of it may have started it since, with nobody but the arbiter: not where
    /// the arbiter has answered this node without a gap since the peer heard us, or since we had the right to the group. Had the
    /// peer reached it too, we would have heard the peer through it (rule 27).
    pub fn may_have_started(&self, peer: &Peer, now: Time, view: &View) -> Option<Term> {
        let name = &self.spec.name;
        let able = match peer.groups.get(name) {
            Some(report) => report.can && !report.state.holds(),
            None => view.differs(peer),
        };
        let heard = peer.acked.unwrap_or_default();
        let may = peer.liveness == Liveness::Dead
            && peer.phase == Phase::Active
            && view.counts_votes()
            && view.cluster.vote_shares().has_arbiter()
            && !peer.intent.standby.contains(name)
            && able
            && !self.holds_by_right(now, view)
            && !view.arbiter_answers_since(heard.max(self.held_until), now);
        may.then_some(self.highest_term)
    }

    /// How long the stop of what stands on shared storage may take.
    fn stop_deadlines(&self) -> Duration {
        let shared = self.spec.steps.iter().filter(|s| s.shared_storage);
        shared.map(|s| s.removal).sum()
    }
}
