//! Whether a group could be moved to another node now, on purpose: what a drill asks before it begins.

use super::{GroupStatus, Liveness, NodeStatus, Note, READINESS_UNKNOWN, Status};
use crate::model::NodeName;
use crate::model::heartbeat::{GroupState, Phase};

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
            (false, None) => reasons.extend(choice_reasons(group, &wanted, &each)),
            (false, Some(_)) => reasons.extend(each.concat()),
        }
        reasons
    }

    /// Whether `failback_when` runs on this node. Where no group prefers it, that has no result for ever.
    pub fn is_asked_failback_when(&self, node: &NodeName) -> bool {
        self.groups.iter().any(|group| group.preferred == *node)
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
        if !matches!(node.liveness, Liveness::Here | Liveness::Active) && problems.is_empty() {
            reasons.push(format!("{name} is {}", node.liveness.as_str()));
        }
        let told = |id: &str| problems.iter().any(|problem| problem.id == id);
        let asked = self.is_asked_failback_when(name);
        let counts = |reason: &&Note| match &*reason.id {
            // A daemon that has just started, or is of an earlier version, may be ready all the same.
            READINESS_UNKNOWN => false,
            "failback-waits" => asked,
            id => !told(id),
        };
        let standbys = group.standbys.iter().filter(|s| s.node == *name);
        let lacks = standbys.flat_map(|s| s.reasons.iter()).filter(counts);
        reasons.extend(lacks.map(|reason| format!("{name}: {reason}")));
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

impl GroupStatus {
    /// The nodes to which the cluster may move the group when it leaves its owner, ready or not.
    pub fn candidates(&self) -> impl Iterator<Item = &NodeName> {
        let standbys = self.standbys.iter().filter(|s| s.candidate);
        standbys.map(|s| &s.node)
    }

    fn may_move_to(&self, node: &NodeName) -> bool {
        self.candidates().any(|name| name == node)
    }
}

/// Why the choice cannot be left to the cluster.
fn choice_reasons(
    group: &GroupStatus,
    nodes: &[&NodeStatus],
    reasons: &[Vec<String>],
) -> Vec<String> {
    let mut pairs = nodes.iter().zip(reasons);
    let Some((ready, _)) = pairs.find(|(_, reasons)| reasons.is_empty()) else {
        return reasons.concat();
    };
    let (name, ready) = (&group.name, &ready.name);
    let unready = nodes.iter().zip(reasons);
    let unready = unready.filter(|(node, why)| !why.is_empty() && group.may_move_to(&node.name));
    let sentence = |(node, reasons): (&&NodeStatus, &Vec<String>)| {
        format!(
            "{} is not ready and the cluster may choose it ({}); run hactl drill {name} on {ready}, which takes it there",
            node.name,
            reasons.join("; ")
        )
    };
    unready.map(sentence).collect()
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
/// the group came where it is.
fn is_of_one_node(note: &Note) -> bool {
    ["standby", "given-away", "failure-elsewhere"].contains(&&*note.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::status::{QuorumStatus, STANDBY_LACKS, StandbyStatus};
    use crate::model::{Generation, GroupName, Term};

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

    /// A candidate.
    fn standby(node: &str, reasons: Vec<Note>) -> StandbyStatus {
        StandbyStatus {
            node: name(node),
            candidate: true,
            ready: reasons.is_empty(),
            reasons,
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
            standbys: vec![standby("bob", Vec::new()), standby("carol", Vec::new())],
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
        let fails = |text| vec![Note::new("check-failed", text)];
        status.nodes[1].notes = fails("its check disk fails, so it takes no groups");
        status.groups[0].standbys[0] = standby("bob", fails("its check disk fails"));
        status.groups[0].standbys[0].candidate = false;
        assert_eq!(reasons(&status, None), "");
        let once = "bob: its check disk fails, so it takes no groups";
        assert_eq!(reasons(&status, Some("bob")), once);
        status.nodes[2].liveness = Liveness::Dead;
        assert!(reasons(&status, None).contains("carol: silent for longer than deadtime"));
        assert_eq!(reasons(&status, Some("alice")), "alice runs it already");
        let nobody = "there is no node wit that could run it";
        assert_eq!(reasons(&status, Some("wit")), nobody);
    }

    #[test]
    fn a_node_that_is_not_ready_is_not_drilled() {
        let mut status = trio();
        let full = Note::new("node-lacks", "the disk is full");
        let reasons_of = [
            Note::new(STANDBY_LACKS, "no script nginx"),
            // Told with the node already, or not known.
            full.clone(),
            Note::new("readiness-unknown", "has not said yet"),
        ];
        status.groups[0].standbys[0] = standby("bob", reasons_of.into());
        status.nodes[1].notes = vec![full];
        let both = "bob: the disk is full; bob: no script nginx";
        assert_eq!(reasons(&status, Some("bob")), both);
        // carol is ready, but the engine looks at other things.
        let chosen = "bob is not ready and the cluster may choose it (bob: the disk is full; bob: no script nginx); run hactl drill web on carol, which takes it there";
        assert_eq!(reasons(&status, None), chosen);
        status.groups[0].standbys[0].candidate = false;
        assert_eq!(reasons(&status, None), "", "bob cannot be chosen");
        let possible = status.groups[0].candidates();
        let names: Vec<&str> = possible.map(NodeName::as_str).collect();
        assert_eq!(names, ["carol"]);
    }

    #[test]
    fn failback_when_counts_where_it_is_asked() {
        let mut status = trio();
        let waits = Note::new("failback-waits", "does not fulfil failback_when ()");
        status.groups[0].standbys[0] = standby("bob", vec![waits]);
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
        let note = Note::new("standby", "is in standby");
        status.groups[0].standbys[0] = standby("bob", vec![note]);
        status.groups[0].standbys[0].candidate = false;
        assert_eq!(reasons(&status, Some("bob")), "bob: is in standby");
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
        // This node tells of its checks by themselves, not in its notes.
        let mut status = trio();
        status.node = name("bob");
        let fails = Note::new("check-failed", "fails check disk (it is full)");
        status.groups[0].standbys[0] = standby("bob", vec![fails]);
        let check = "bob: fails check disk (it is full)";
        assert_eq!(reasons(&status, Some("bob")), check);
        assert_eq!(reasons(&status, Some("carol")), "");
    }
}
