//! What a takeover from a dead node waits for, and what it does not wait for, as sentences for `hactl check`.

use std::time::Duration;

use crate::model::NodeName;
use crate::model::cluster::{Cluster, QuorumPolicy, Step};
use crate::text::duration_for_people;

/// Of one group, with these steps.
pub(super) fn describe_takeover(cluster: &Cluster, steps: &[&Step]) -> String {
    if cluster.nodes.len() < 2 {
        return String::new();
    }
    let fenced = describe_fencing(cluster, steps);
    if !fenced.is_empty() && every_node_is_fenced(cluster) {
        return fenced;
    }
    describe_wait(cluster, steps) + &describe_machine(steps) + &fenced
}

/// The group waits until the machine of a dead node is off.
fn describe_fencing(cluster: &Cluster, steps: &[&Step]) -> String {
    let guarded = cluster.fencing.for_all || steps.iter().any(|s| s.shared_storage);
    let others = cluster.fencing.nodes.iter().filter(|n| **n != cluster.me);
    let others: Vec<&str> = others.map(NodeName::as_str).collect();
    if !guarded || others.is_empty() {
        return String::new();
    }
    format!(
        "    after deadtime a takeover from {} waits until its machine was switched off (fence in ha.cf), however long that takes\n",
        others.join(" or ")
    )
}

fn every_node_is_fenced(cluster: &Cluster) -> bool {
    let others = cluster.nodes.iter().filter(|n| **n != cluster.me);
    let mut others = others.filter(|n| !cluster.is_witness(n));
    others.all(|n| cluster.fencing.covers(n))
}

/// What stands on storage that a silent node may still have open.
fn describe_machine(steps: &[&Step]) -> String {
    let shared: Vec<&Step> = steps.iter().copied().filter(|s| s.shared_storage).collect();
    if shared.is_empty() {
        return String::new();
    }
    format!(
        "    while the machine of a node whose daemon is silent answers, nothing is started that it may run, because of {}\n",
        names(shared.into_iter())
    )
}

fn describe_wait(cluster: &Cluster, steps: &[&Step]) -> String {
    if cluster.quorum != QuorumPolicy::Stop {
        return "    after deadtime a takeover from a dead node waits for nothing, and a node that is cut off stops nothing\n"
            .to_owned();
    }
    let waited: Vec<&Step> = steps.iter().copied().filter(|s| is_waited_for(s)).collect();
    let time: Duration = waited.iter().map(|s| s.removal).sum();
    let waits = if waited.is_empty() {
        "waits for nothing".to_owned()
    } else {
        let waited = names(waited.into_iter());
        format!("waits {} for {waited}", duration_for_people(time))
    };
    format!(
        "    after deadtime a takeover from a dead node {waits}\n{}",
        describe_rest(steps, time)
    )
}

/// What may still be stopping where a takeover has waited for `waited`. Steps are stopped from the last to the first.
fn describe_rest(steps: &[&Step], waited: Duration) -> String {
    let is_other = |s: &&Step| !s.addresses && !is_waited_for(s);
    let from_first = steps.iter().skip_while(|s| !is_other(s));
    let at_most: Duration = from_first
        .filter(|s| !s.addresses)
        .map(|s| s.stop)
        .sum::<Duration>()
        .saturating_sub(waited);
    let others = steps.iter().copied().filter(is_other);
    if at_most.is_zero() {
        return String::new();
    }
    format!(
        "    it does not wait for {}: on a node that is cut off this may run until its stop has ended, {} at most; \
         `takeover_waits` in ha.cf makes it wait\n",
        names(others),
        duration_for_people(at_most)
    )
}

fn is_waited_for(step: &Step) -> bool {
    !step.removal.is_zero()
}

fn names<'a>(steps: impl Iterator<Item = &'a Step>) -> String {
    let words: Vec<&str> = steps
        .flat_map(|s| s.members.iter().map(String::as_str))
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cluster::{Timeouts, Timing};

    fn step(word: &str, removal: u64) -> Step {
        let timeouts = Timeouts {
            stop: Duration::from_secs(60),
            ..Timeouts::default()
        };
        let addresses = word.starts_with("10.");
        let mut step = Step::new(vec![word.to_owned()], addresses, timeouts);
        step.removal = Duration::from_secs(removal);
        step
    }

    fn described(quorum: QuorumPolicy, steps: &[Step]) -> String {
        let nodes = ["alice", "bob", "carol"].map(NodeName::new);
        let timing = Timing::usual(Duration::from_secs(1), Duration::from_secs(10));
        let mut cluster = Cluster::new(&nodes, timing);
        cluster.quorum = quorum;
        describe_takeover(&cluster, &steps.iter().collect::<Vec<_>>())
    }

    #[test]
    fn what_is_waited_for_and_what_is_not_is_named_with_its_time() {
        let table = [
            (vec![step("10.0.0.1", 0)], "waits for nothing\n", ""),
            (
                vec![step("script", 0), step("10.0.0.1", 0)],
                "waits for nothing\n",
                "it does not wait for script: on a node that is cut off this may run until its stop has ended, 60 s at most",
            ),
            (
                vec![step("drbddisk::r0", 10), step("mysqld", 0)],
                "waits 10 s for drbddisk::r0\n",
                "it does not wait for mysqld: on a node that is cut off this may run until its stop has ended, 50 s at most",
            ),
            (
                vec![step("script", 0), step("LVM::x", 60), step("db", 60)],
                "waits 120 s for LVM::x, db\n",
                "it does not wait for script: on a node that is cut off this may run until its stop has ended, 60 s at most",
            ),
        ];
        for (steps, waits, not) in table {
            let text = described(QuorumPolicy::Stop, &steps);
            assert!(text.contains(waits), "{text}");
            assert!(text.contains(not), "{text}");
            assert_eq!(text.contains("does not wait"), !not.is_empty(), "{text}");
        }
    }

    #[test]
    fn shared_storage_waits_for_a_machine_that_answers() {
        let mut storage = step("LVM::x", 60);
        storage.shared_storage = true;
        for quorum in [QuorumPolicy::Stop, QuorumPolicy::Off] {
            let text = described(quorum, &[step("10.0.0.1", 0), storage.clone()]);
            assert!(
                text.ends_with("that it may run, because of LVM::x\n"),
                "{text}"
            );
        }
        let text = described(QuorumPolicy::Stop, &[step("drbddisk::r0", 10)]);
        assert!(!text.contains("answers"), "{text}");
    }

    #[test]
    fn without_votes_nothing_is_waited_for() {
        let text = described(QuorumPolicy::Off, &[step("LVM::x", 60)]);
        assert!(text.contains("waits for nothing, and a node that is cut off stops nothing"));
    }
}
