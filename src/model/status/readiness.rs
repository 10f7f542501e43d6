//! Whether a group could be moved to another node now, on purpose: what a drill asks before it begins.

use super::{CheckState, GroupStatus, Liveness, NodeStatus, Note, STANDBY_LACKS, Status};
use crate::model::NodeName;
use crate::model::health::FAILBACK_WHEN;
use crate::model::heartbeat::{GroupState, Phase};

/// What keeps the engine from choosing a node for a group; other things make the node no less a candidate.
const BARS: [&str; 4] = ["check-failed", "standby", "group-failed", "cannot-run"];
/// The same of what is said about the node.
const BARS_OF_NODE: [&str; 4] = [
    "config-differs",
    "not-heard-by",
    "node-leaving",
    "node-not-joined",
];

impl Status {
    /// Why a group should not be moved now, one sentence each. Without a target the cluster chooses, so each node that it may
    /// choose must be ready.
    pub fn not_ready_to_move(&self, group: &GroupStatus, target: Option<&NodeName>) -> Vec<String> {
        let mut reasons = self.cluster_reasons();
        reasons.extend(group_reasons(group));
        let [owner] = group.owners.as_slice() else {
            return reasons;
        };
        if target == Some(owner) {
            reasons.push(format!("{owner} runs it already"));
            return reasons;
        }
        let others = self.nodes.iter().filter(|n| !n.witness && n.name != *owner);
        let wanted: Vec<&NodeStatus> = others
            .filter(|n| target.is_none_or(|t| *t == n.name))
            .collect();
        let each: Vec<Vec<String>> = wanted.iter().map(|n| self.node_reasons(n, group)).collect();
        match (wanted.is_empty(), target) {
            (true, Some(target)) => {
                reasons.push(format!("there is no node {target} that could run it"));
            }
            (true, None) => reasons.push("there is no other node that could run it".to_owned()),
            (false, None) => reasons.extend(self.choice_reasons(group, &wanted, &each)),
            (false, Some(_)) => reasons.extend(each.concat()),
        }
        reasons
    }

    /// The nodes to which the cluster may move a group that leaves its owner, ready or not. It does not look at all that makes a
    /// node ready, and chooses by its own rules.
    pub fn may_choose(&self, group: &GroupStatus) -> Vec<&NodeStatus> {
        let others = self.nodes.iter().filter(|n| !n.witness);
        let others = others.filter(|n| !group.owners.contains(&n.name));
        others.filter(|n| !is_barred(n, group)).collect()
    }

    /// Whether `failback_when` runs on this node. Where no group prefers it, that has no result for ever.
    pub fn is_asked_failback_when(&self, node: &NodeName) -> bool {
        self.groups.iter().any(|group| group.preferred == *node)
    }

    /// Why the choice cannot be left to the cluster.
    fn choice_reasons(
        &self,
        group: &GroupStatus,
        nodes: &[&NodeStatus],
        reasons: &[Vec<String>],
    ) -> Vec<String> {
        let mut pairs = nodes.iter().zip(reasons);
        let Some((ready, _)) = pairs.find(|(_, reasons)| reasons.is_empty()) else {
            return reasons.concat();
        };
        let (name, ready) = (&group.name, &ready.name);
        let possible = self.may_choose(group);
        let chosen = |node: &NodeName| possible.iter().any(|p| p.name == *node);
        let unready = nodes.iter().zip(reasons);
        let unready = unready.filter(|(node, reasons)| !reasons.is_empty() && chosen(&node.name));
        let sentence = |(node, reasons): (&&NodeStatus, &Vec<String>)| {
            format!(
                "{} is not ready and the cluster may choose it ({}); run hactl drill {name} on {ready}, which takes it there",
                node.name,
                reasons.join("; ")
            )
        };
        unready.map(sentence).collect()
    }

    fn cluster_reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.phase != Phase::Active {
            reasons.push(format!("{} does not take part in the cluster", self.node));
        }
        reasons.extend(
            self.quorum_problem()
                .map(|note| format!("quorum is {note}")),
        );
        reasons
    }

    /// Why a node is not ready to take the group.
    fn node_reasons(&self, node: &NodeStatus, group: &GroupStatus) -> Vec<String> {
        let name = &node.name;
        let problems = node.problems();
        let mut reasons: Vec<String> = problems.iter().map(|p| format!("{name}: {p}")).collect();
        let here = *name == self.node;
        if !matches!(node.liveness, Liveness::Here | Liveness::Active) && problems.is_empty() {
            reasons.push(format!("{name} is {}", node.liveness.as_str()));
        }
        let failed =
            |c: &&super::CheckStatus| c.state == CheckState::Failed && c.name != FAILBACK_WHEN;
        for check in self.checks.iter().filter(|_| here).filter(failed) {
            reasons.push(format!(
                "{name}: its check {} fails: {}",
                check.name, check.text
            ));
        }
        // What concerns one group only; the rest is told with the node.
        let own = ["cannot-run", "failback-waits", STANDBY_LACKS];
        let asked = self.is_asked_failback_when(name);
        let standbys = group.standbys.iter().filter(|s| s.node == *name);
        let lacks = standbys.flat_map(|s| s.reasons.iter());
        let lacks = lacks.filter(|reason| own.contains(&&*reason.id));
        let lacks = lacks.filter(|reason| asked || reason.id != "failback-waits");
        reasons.extend(lacks.map(|reason| format!("{name}: {reason}")));
        let begins = format!("{name} ");
        let standby = group.notes.iter().filter(|note| note.id == "standby");
        let about = standby.filter(|note| note.text.starts_with(&begins));
        reasons.extend(about.map(ToString::to_string));
        let state = group.states.iter().find(|(node, _)| node == name);
        match state.map(|(_, state)| *state) {
            Some(GroupState::Offline) => {}
            Some(state) => reasons.push(format!("{name}: the group is {} there", state.as_str())),
            None if reasons.is_empty() => {
                reasons.push(format!("{name} has not said that it knows the group"));
            }
            None => {}
        }
        reasons
    }
}

/// Whether the engine would not move the group to this node. In doubt it would.
fn is_barred(node: &NodeStatus, group: &GroupStatus) -> bool {
    let name = &node.name;
    let living = matches!(node.liveness, Liveness::Here | Liveness::Active);
    let state = group.states.iter().find(|(n, _)| n == name);
    let rests = state.is_some_and(|(_, state)| *state == GroupState::Offline);
    let begins = format!("{name} ");
    let mut notes = group.notes.iter();
    let stands_by = notes.any(|n| n.id == "standby" && n.text.starts_with(&begins));
    let bars = |notes: &[Note], ids: &[&str]| notes.iter().any(|n| ids.contains(&&*n.id));
    let fails = match group.standbys.iter().find(|s| s.node == *name) {
        Some(standby) => bars(&standby.reasons, &BARS),
        None => bars(&node.notes, &["check-failed"]),
    };
    !living || !rests || stands_by || fails || bars(&node.notes, &BARS_OF_NODE)
}

/// Why the group should stay, wherever it would go.
fn group_reasons(group: &GroupStatus) -> Vec<String> {
    let mut reasons = Vec::new();
    if !group.runs() {
        reasons.push("it does not run on exactly one node".to_owned());
    }
    let matters = group.notes.iter().filter(|note| !is_of_one_node(note));
    reasons.extend(matters.map(ToString::to_string));
    reasons
}

/// Whether a note keeps a group from one node alone: standby there, a failure there, or that it gave the group away, which is how
/// the group came where it is. While a stop of it has failed anywhere, the group may not be started elsewhere.
fn is_of_one_node(note: &Note) -> bool {
    match &*note.id {
        "standby" | "given-away" => true,
        "failure-elsewhere" => note.text.starts_with("failed on "),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::status::{CheckStatus, QuorumStatus, StandbyStatus};
    use crate::model::{Generation, GroupName, Term};
    use std::time::Duration;

    fn name(text: &str) -> NodeName {
        NodeName::new(text)
    }

    fn node(text: &str, liveness: Liveness) -> NodeStatus {
        NodeStatus {
            name: name(text),
            witness: text == "wit",
            liveness,
            silent_for: None,
            generation: Some(Generation(1)),
            reach: None,
            links: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// alice runs it, bob and carol could.
    fn trio() -> Status {
        let group = GroupStatus {
            name: GroupName::new("web"),
            preferred: name("alice"),
            owners: vec![name("alice")],
            states: vec![
                (name("alice"), GroupState::Online),
                (name("bob"), GroupState::Offline),
                (name("carol"), GroupState::Offline),
            ],
            term: Term(1),
            resources: Vec::new(),
            standbys: Vec::new(),
            notes: Vec::new(),
            takeover: None,
            last_switch_ms: None,
            last_drill_ms: None,
        };
        Status {
            node: name("alice"),
            generation: Generation(1),
            phase: Phase::Active,
            waiting: None,
            nodes: vec![
                node("alice", Liveness::Here),
                node("bob", Liveness::Active),
                node("carol", Liveness::Active),
                node("wit", Liveness::Active),
            ],
            pings: Vec::new(),
            quorum: QuorumStatus {
                held: true,
                counted: true,
                ignored: false,
                votes: 4,
                total: 4,
            },
            former_voters: Vec::new(),
            groups: vec![group],
            fencing: Vec::new(),
            checks: Vec::new(),
            counters: std::collections::BTreeMap::new(),
            lateness: None,
            activity: Vec::new(),
        }
    }

    fn reasons(status: &Status, target: Option<&str>) -> String {
        let target = target.map(name);
        status
            .not_ready_to_move(&status.groups[0], target.as_ref())
            .join("; ")
    }

    #[test]
    fn one_ready_node_is_enough_unless_another_is_wanted() {
        let mut status = trio();
        assert_eq!(reasons(&status, None), "");
        status.nodes[1].notes = vec![Note::new("check-failed", "its check disk fails")];
        assert_eq!(reasons(&status, None), "");
        assert_eq!(reasons(&status, Some("bob")), "bob: its check disk fails");
        status.nodes[2].liveness = Liveness::Dead;
        assert!(reasons(&status, None).contains("carol: silent for longer than deadtime"));
        assert_eq!(reasons(&status, Some("alice")), "alice runs it already");
        let nobody = "there is no node wit that could run it";
        assert_eq!(reasons(&status, Some("wit")), nobody);
    }

    #[test]
    fn a_node_that_is_not_ready_is_not_drilled() {
        let mut status = trio();
        let reasons_of = [
            Note::new(STANDBY_LACKS, "no script nginx"),
            // Told with the node already, or not known.
            Note::new("node-lacks", "the disk is full"),
            Note::new("readiness-unknown", "has not said yet"),
        ];
        status.groups[0].standbys = vec![StandbyStatus {
            node: name("bob"),
            ready: false,
            reasons: reasons_of.into(),
        }];
        assert_eq!(reasons(&status, Some("bob")), "bob: no script nginx");
        // carol is ready, but the engine looks at other things.
        let chosen = "bob is not ready and the cluster may choose it (bob: no script nginx); run hactl drill web on carol, which takes it there";
        assert_eq!(reasons(&status, None), chosen);
        let fails = Note::new("check-failed", "fails check disk");
        status.groups[0].standbys[0].reasons.push(fails);
        assert_eq!(reasons(&status, None), "", "bob cannot be chosen");
        let possible = status.may_choose(&status.groups[0]);
        let names: Vec<&str> = possible.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["carol"]);
    }

    #[test]
    fn failback_when_counts_where_it_is_asked() {
        let mut status = trio();
        let waits = Note::new("failback-waits", "does not fulfil failback_when ()");
        status.groups[0].standbys = vec![StandbyStatus {
            node: name("bob"),
            ready: false,
            reasons: vec![waits],
        }];
        assert_eq!(reasons(&status, Some("bob")), "");
        let mut other = status.groups[0].clone();
        (other.name, other.preferred) = (GroupName::new("db"), name("bob"));
        status.groups.push(other);
        let text = "bob: does not fulfil failback_when ()";
        assert_eq!(reasons(&status, Some("bob")), text);
    }

    #[test]
    fn what_is_wrong_with_the_group_or_the_cluster_is_in_the_way() {
        let mut status = trio();
        status.groups[0].notes = vec![
            Note::new("maintenance", "in maintenance"),
            Note::new("given-away", "alice gave it away"),
        ];
        assert_eq!(reasons(&status, None), "in maintenance");
        status.groups[0].notes = vec![Note::new("standby", "bob is in standby for it")];
        assert_eq!(reasons(&status, Some("bob")), "bob is in standby for it");
        assert_eq!(
            reasons(&status, Some("carol")) + &reasons(&status, None),
            ""
        );
        status.groups[0].owners.push(name("bob"));
        assert!(reasons(&status, None).contains("does not run on exactly one node"));
        let mut status = trio();
        status.quorum.held = false;
        assert!(reasons(&status, None).starts_with("quorum is lost"));
        status.phase = Phase::Leaving;
        assert!(reasons(&status, None).starts_with("alice does not take part"));
    }

    #[test]
    fn a_failure_and_a_failing_check_of_this_node_count() {
        let mut status = trio();
        status.groups[0].states[1].1 = GroupState::Failed;
        let note = "failed on bob: run hactl why web there";
        status.groups[0].notes = vec![Note::new("failure-elsewhere", note)];
        assert_eq!(reasons(&status, Some("carol")), "");
        let failed = "bob: the group is failed there";
        assert_eq!(reasons(&status, Some("bob")), failed);
        let mut status = trio();
        status.node = name("bob");
        status.checks = vec![CheckStatus {
            name: "disk".to_owned(),
            state: CheckState::Failed,
            lasts: Duration::ZERO,
            against: 0,
            looked: None,
            text: "it is full".to_owned(),
        }];
        let check = "bob: its check disk fails: it is full";
        assert_eq!(reasons(&status, Some("bob")), check);
        assert_eq!(reasons(&status, Some("carol")), "");
    }
}
