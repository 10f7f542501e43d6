//! Rules 36 and 38: whom a node fences, and who may take it for fenced.

use had::model::NodeName;
use had::model::Sequence;
use had::model::cluster::Cluster;
use had::model::fencing::Fencing;
use had::model::heartbeat::GroupState;

use super::alone::{Alone, Broken, cluster, pair, without_addresses};
use crate::{ms, secs};

/// Every group waits until these nodes are fenced.
fn with_fencing(nodes: &[&str], cluster: Cluster) -> Cluster {
    let fencing = Fencing {
        nodes: nodes.iter().map(|n| NodeName::new(n)).collect(),
        for_all: true,
        ..Fencing::default()
    };
    without_addresses(Cluster { fencing, ..cluster })
}

#[test]
fn rule_36_quorum_of_a_moment_ago_is_not_enough() {
    for (cut_off, fences) in [(true, false), (false, true)] {
        let three = with_fencing(&["b", "c"], cluster(&["a", "b", "c"]));
        let mut a = Alone::in_cluster(three, &["b", "c"], Broken::Nothing);
        a.run_for(secs(1));
        a.voice("b").silent = true;
        a.run_for(ms(1400));
        // c counts as living for a while when b is dead.
        a.voice("c").silent = cut_off;
        a.run_for(ms(1600));
        assert!(a.believes_dead("b") && !a.believes_dead("c"));
        assert_eq!(a.fenced > 0, fences);
    }
}

#[test]
fn rule_38_who_may_take_us_for_fenced_is_waited_for_without_end() {
    for (fencing, starts) in [(vec!["b"], false), (vec![], true)] {
        let two = with_fencing(&fencing, pair("a"));
        let mut a = Alone::in_cluster(two, &["b"], Broken::Nothing);
        a.run_for(secs(1));
        assert_eq!(a.ours().state, GroupState::Claiming);
        // b is heard and hears nobody. After initdead it holds up nothing else.
        a.voice("b").heard = Some(Sequence(1));
        a.run_for(secs(20));
        assert_eq!(a.started, starts);
    }
}
